//! The neighbour table: entries by device, by rtnetlink or from `net/arp`.

use std::collections::BTreeMap;

use super::Collector;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::netlink::neighbours_by_device;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

static ENTRIES: Family = Family::gauge("node_arp_entries", "ARP entries by device", &["device"]);

/// The columns of `net/arp`; the last is the device.
const COLUMNS: usize = 6;

#[derive(Debug)]
pub(super) struct Arp {
    file: KeptFile,
    netlink: bool,
    devices: Filter,
}

impl Arp {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.arp.device-include",
            exclude: "collector.arp.device-exclude",
        };
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("net/arp")),
            netlink: config.arp.netlink,
            devices: Filter::of_devices(names, &config.arp.devices, None)?,
        })
    }

    fn count(&mut self) -> Result<BTreeMap<String, u64>, CollectError> {
        if self.netlink {
            neighbours_by_device().map_err(|source| CollectError::System {
                call: "ask rtnetlink for neighbours",
                source,
            })
        } else {
            parse(self.file.read()?)
        }
    }
}

impl Collector for Arp {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let entries = self.count()?;
        for (device, count) in entries
            .iter()
            .filter(|(device, _)| self.devices.takes(device))
        {
            sink.sample(&ENTRIES, &[device], *count as f64);
        }
        Ok(())
    }
}

/// A line of headings stands above the entries.
fn parse(content: Content<'_>) -> Result<BTreeMap<String, u64>, CollectError> {
    let mut entries = BTreeMap::new();
    for line in content.lines().skip(1) {
        let mut words = scan::words(line);
        let Some(device) = words.nth(COLUMNS - 1).filter(|_| words.next().is_none()) else {
            return Err(content.without("lines of six words"));
        };
        *entries.entry(scan::text(device).into_owned()).or_default() += 1;
    }
    Ok(entries)
}
