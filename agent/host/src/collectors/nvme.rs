//! NVMe controllers and their namespaces: `class/nvme`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const NAMESPACE: &[&str] = &["device", "nsid"];

static INFO: Family = Family::gauge(
    "node_nvme_info",
    "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
    &[
        "device",
        "firmware_revision",
        "model",
        "serial",
        "state",
        "cntlid",
    ],
);
static NAMESPACE_INFO: Family = Family::gauge(
    "node_nvme_namespace_info",
    "Information about NVMe namespaces. Value is always 1",
    &["device", "nsid", "ana_state"],
);
static CAPACITY: Family = Family::gauge(
    "node_nvme_namespace_capacity_bytes",
    "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
    NAMESPACE,
);
static SIZE: Family = Family::gauge(
    "node_nvme_namespace_size_bytes",
    "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
    NAMESPACE,
);
static USED: Family = Family::gauge(
    "node_nvme_namespace_used_bytes",
    "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
    NAMESPACE,
);
static BLOCK_SIZE: Family = Family::gauge(
    "node_nvme_namespace_logical_block_size_bytes",
    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
    NAMESPACE,
);

#[derive(Debug)]
pub(super) struct Nvme {
    devices: Folder,
}

impl Nvme {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            devices: Folder::new(paths.sysfs.join("class/nvme")),
        }
    }
}

impl Collector for Nvme {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let devices = self
            .devices
            .folders()
            .map_err(|error| error.missing_as("there are no controllers"))?;
        for device in devices {
            let name = device.name();
            let (firmware, model) = (device.text("firmware_rev")?, device.text("model")?);
            let (serial, state) = (device.text("serial")?, device.text("state")?);
            let controller = device.text_or_empty("cntlid");
            let info = [&*name, &firmware, &model, &serial, &state, &controller];
            sink.sample(&INFO, &info, 1.0);
            for folder in device.folders()? {
                if let Some(id) = namespace_id(&folder.name()) {
                    sample_namespace(&name, id, &folder, sink)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the end of `nvmeXnY`, and of `nvmeXcZnY`, the path of one controller among several.
fn namespace_id(name: &str) -> Option<&str> {
    let (controller, id) = name.strip_prefix("nvme")?.rsplit_once('n')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = controller.split_once('c').unwrap_or((controller, "0"));
    (is_number(id) && is_number(numbers.0) && is_number(numbers.1)).then_some(id)
}

fn sample_namespace(
    device: &str,
    id: &str,
    folder: &Folder,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let labels = [device, id];
    let state = folder.text_or_empty("ana_state");
    let state = if state.is_empty() { "unknown" } else { &*state };
    sink.sample(&NAMESPACE_INFO, &[device, id, state], 1.0);
    let block = folder.number("queue/logical_block_size")?;
    let size = folder.number("size")? * block;
    sink.sample(&BLOCK_SIZE, &labels, block);
    sink.sample(&SIZE, &labels, size);
    sink.sample(&CAPACITY, &labels, size);
    if let Some(used) = folder.optional_number("nuse")? {
        sink.sample(&USED, &labels, used * block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_from_other_folders() {
        for (name, id) in [
            ("nvme0n1", Some("1")),
            ("nvme12c3n45", Some("45")),
            ("ng0n1", None),
            ("nvme0", None),
            ("nvmen1", None),
            ("nvme0n", None),
            ("nvme0n1p1", None),
        ] {
            assert_eq!(namespace_id(name), id, "{name}");
        }
    }
}
