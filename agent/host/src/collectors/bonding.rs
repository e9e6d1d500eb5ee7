//! Bonded network devices: `class/net/bonding_masters` and the members of each.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

static MEMBERS: Family = Family::gauge(
    "node_bonding_slaves",
    "Number of configured slaves per bonding interface.",
    &["master"],
);
static ACTIVE: Family = Family::gauge(
    "node_bonding_active",
    "Number of active slaves per bonding interface.",
    &["master"],
);

#[derive(Debug)]
pub(super) struct Bonding {
    devices: Folder,
}

impl Bonding {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            devices: Folder::new(paths.sysfs.join("class/net")),
        }
    }
}

impl Collector for Bonding {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let masters = self
            .devices
            .text("bonding_masters")
            .map_err(|error| error.missing_as("no device is bonded"))?;
        for master in masters.split_ascii_whitespace() {
            let folder = self.devices.folder(master);
            let (mut members, mut active) = (0.0, 0.0);
            for member in folder.text("bonding/slaves")?.split_ascii_whitespace() {
                members += 1.0;
                if is_up(&folder, member)? {
                    active += 1.0;
                }
            }
            sink.sample(&MEMBERS, &[master], members);
            sink.sample(&ACTIVE, &[master], active);
        }
        Ok(())
    }
}

/// Older kernels link to a member as `slave_NAME`.
fn is_up(master: &Folder, member: &str) -> Result<bool, CollectError> {
    let status = |link: &str| master.text(&format!("{link}_{member}/bonding_slave/mii_status"));
    let status = match optional(status("lower"))? {
        Some(status) => status,
        None => status("slave")?,
    };
    Ok(status == "up")
}
