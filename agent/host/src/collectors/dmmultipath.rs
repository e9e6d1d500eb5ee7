//! Devices of the device mapper that have several paths: `block/dm-*`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const DEVICE: &[&str] = &["device", "sysfs_name"];

static INFO: Family = Family::gauge(
    "node_dmmultipath_device_info",
    "Non-numeric information about a DM-multipath device.",
    &["device", "sysfs_name", "uuid"],
);
static ACTIVE: Family = Family::gauge(
    "node_dmmultipath_device_active",
    "Whether the multipath device-mapper device is active (1) or suspended (0).",
    DEVICE,
);
static SIZE: Family = Family::gauge(
    "node_dmmultipath_device_size_bytes",
    "Size of the multipath device in bytes, read from /sys/block/<dm>/size.",
    DEVICE,
);
static PATHS: Family = Family::gauge(
    "node_dmmultipath_device_paths",
    "Number of paths for a multipath device.",
    DEVICE,
);
static PATHS_ACTIVE: Family = Family::gauge(
    "node_dmmultipath_device_paths_active",
    "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
    DEVICE,
);
static PATHS_FAILED: Family = Family::gauge(
    "node_dmmultipath_device_paths_failed",
    "Number of paths not in active state for a multipath device.",
    DEVICE,
);
static PATH_STATE: Family = Family::gauge(
    "node_dmmultipath_path_state",
    "Reports the underlying device state for a multipath path, as read from /sys/block/<dev>/device/state.",
    &["device", "path", "state"],
);

/// The kernel counts sectors of 512 bytes, whatever the device's own.
const SECTOR_BYTES: f64 = 512.0;

#[derive(Debug)]
pub(super) struct Dmmultipath {
    blocks: Folder,
}

impl Dmmultipath {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            blocks: Folder::new(paths.sysfs.join("block")),
        }
    }

    fn sample(
        &self,
        sysfs_name: &str,
        uuid: &str,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let folder = self.blocks.folder(sysfs_name);
        let name = folder.text("dm/name")?;
        let device = [&*name, sysfs_name];
        let is_active = folder.number("dm/suspended")? != 1.0;
        sink.sample(&INFO, &[&name, sysfs_name, uuid], 1.0);
        sink.sample(&ACTIVE, &device, f64::from(u8::from(is_active)));
        sink.sample(&SIZE, &device, folder.number("size")? * SECTOR_BYTES);
        let (mut active, mut failed) = (0.0, 0.0);
        for path in optional(folder.folder("slaves").entries())?.unwrap_or_default() {
            let state = self.blocks.folder(&path).text("device/state")?;
            sink.sample(&PATH_STATE, &[&name, &path, &state], 1.0);
            match state.as_str() {
                "running" | "live" => active += 1.0,
                _ => failed += 1.0,
            }
        }
        sink.sample(&PATHS, &device, active + failed);
        sink.sample(&PATHS_ACTIVE, &device, active);
        sink.sample(&PATHS_FAILED, &device, failed);
        Ok(())
    }
}

impl Collector for Dmmultipath {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let names = optional(self.blocks.entries())?
            .ok_or(CollectError::NoData("there are no block devices"))?;
        for name in names.iter().filter(|name| name.starts_with("dm-")) {
            let uuid = self.blocks.folder(name).optional_text("dm/uuid")?;
            if let Some(uuid) = uuid.filter(|uuid| uuid.starts_with("mpath-")) {
                self.sample(name, &uuid, sink)?;
            }
        }
        Ok(())
    }
}
