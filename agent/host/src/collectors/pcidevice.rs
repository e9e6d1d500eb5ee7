//! PCI devices and their links: `bus/pci/devices`.

use std::fs;

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, Paths, Sink, scan};

const DEVICE: &[&str] = &["segment", "bus", "device", "function"];

static INFO: Family = Family::gauge(
    "node_pcidevice_info",
    "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1.",
    &[
        "segment",
        "bus",
        "device",
        "function",
        "parent_segment",
        "parent_bus",
        "parent_device",
        "parent_function",
        "class_id",
        "vendor_id",
        "device_id",
        "subsystem_vendor_id",
        "subsystem_device_id",
        "revision",
    ],
);
/// By their files.
static SPEEDS: [(&str, Family); 2] = [
    (
        "max_link_speed",
        Family::gauge(
            "node_pcidevice_max_link_transfers_per_second",
            "Value of maximum link's transfers per second (T/s)",
            DEVICE,
        ),
    ),
    (
        "current_link_speed",
        Family::gauge(
            "node_pcidevice_current_link_transfers_per_second",
            "Value of current link's transfers per second (T/s)",
            DEVICE,
        ),
    ),
];
static NUMBERS: [Attribute; 7] = [
    Attribute {
        file: "max_link_width",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_max_link_width",
            "Value of maximum link's width (number of lanes)",
            DEVICE,
        ),
    },
    Attribute {
        file: "current_link_width",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_current_link_width",
            "Value of current link's width (number of lanes)",
            DEVICE,
        ),
    },
    Attribute {
        file: "d3cold_allowed",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_d3cold_allowed",
            "Whether the PCIe device supports D3cold power state (0/1).",
            DEVICE,
        ),
    },
    Attribute {
        file: "sriov_drivers_autoprobe",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_sriov_drivers_autoprobe",
            "Whether SR-IOV drivers autoprobe is enabled for the device (0/1).",
            DEVICE,
        ),
    },
    Attribute {
        file: "sriov_numvfs",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_sriov_numvfs",
            "Number of Virtual Functions (VFs) currently enabled for SR-IOV.",
            DEVICE,
        ),
    },
    Attribute {
        file: "sriov_totalvfs",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_sriov_totalvfs",
            "Total number of Virtual Functions (VFs) supported by the device.",
            DEVICE,
        ),
    },
    Attribute {
        file: "sriov_vf_total_msix",
        scale: Scale::One,
        family: Family::gauge(
            "node_pcidevice_sriov_vf_total_msix",
            "Total number of MSI-X vectors for Virtual Functions.",
            DEVICE,
        ),
    },
];
static NUMA_NODE: Family = Family::gauge(
    "node_pcidevice_numa_node",
    "NUMA node number for the PCI device. -1 indicates unknown or not available.",
    DEVICE,
);
static POWER_STATE: Family = Family::gauge(
    "node_pcidevice_power_state",
    "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error.",
    &["segment", "bus", "device", "function", "state"],
);
const POWER_STATES: [&str; 7] = ["D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"];

const TRANSFERS_PER_GIGATRANSFER: f64 = 1e9;
/// Stands for each part of the place of a device without a parent.
const NO_PARENT: [&str; 4] = ["*"; 4];

#[derive(Debug)]
pub(super) struct Pcidevice {
    devices: Folder,
}

impl Pcidevice {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            devices: Folder::new(paths.sysfs.join("bus/pci/devices")),
        }
    }
}

impl Collector for Pcidevice {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let devices = self
            .devices
            .folders()
            .map_err(|error| error.missing_as("there are no PCI devices"))?;
        for device in devices {
            sample(&device, sink)?;
        }
        Ok(())
    }
}

fn sample(device: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let name = device.name();
    let place = place(&name)
        .ok_or_else(|| CollectError::parse(device.path(), "segment:bus:device.function"))?;
    // The folder is a link into the tree of devices, where a device lies in its parent.
    let real = fs::canonicalize(device.path()).unwrap_or_default();
    let parent = real
        .parent()
        .and_then(|path| path.file_name())
        .unwrap_or_default();
    let parent = parent.to_string_lossy();
    let parent = self::place(&parent).unwrap_or(NO_PARENT);
    let identifiers = [
        "class",
        "vendor",
        "device",
        "subsystem_vendor",
        "subsystem_device",
        "revision",
    ]
    .map(|file| device.text_or_empty(file));
    let info: Vec<&str> = (place.into_iter().chain(parent))
        .chain(identifiers.iter().map(String::as_str))
        .collect();
    sink.sample(&INFO, &info, 1.0);
    device.sample(&NUMBERS, &place, sink)?;
    for (file, family) in &SPEEDS {
        if let Some(speed) = device.optional_text(file)?.as_deref().and_then(speed) {
            sink.sample(family, &place, speed);
        }
    }
    if let Some(node) = device
        .optional_number("numa_node")?
        .filter(|node| *node >= 0.0)
    {
        sink.sample(&NUMA_NODE, &place, node);
    }
    if let Some(current) = device.optional_text("power_state")? {
        let [segment, bus, slot, function] = place;
        for state in POWER_STATES {
            let labels = [segment, bus, slot, function, state];
            sink.sample(&POWER_STATE, &labels, f64::from(u8::from(state == current)));
        }
    }
    Ok(())
}

/// Splits `0000:01:00.0` into segment, bus, device and function.
fn place(name: &str) -> Option<[&str; 4]> {
    let mut parts = name.split([':', '.']);
    let place = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_hexadecimal =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (parts.next().is_none() && place.iter().all(is_hexadecimal)).then_some(place)
}

/// Reads `8.0 GT/s PCIe`; a link without a speed is `Unknown`.
fn speed(text: &str) -> Option<f64> {
    let (number, _) = text.split_once(" GT/s")?;
    Some(scan::float(number.as_bytes())? * TRANSFERS_PER_GIGATRANSFER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_speeds_are_read() {
        assert_eq!(place("0000:01:00.0"), Some(["0000", "01", "00", "0"]));
        for other in ["pci0000:00", "0000:01:00", "0000:01:00.0.1", "a:b:c.x", ""] {
            assert_eq!(place(other), None, "{other}");
        }
        assert_eq!(speed("2.5 GT/s PCIe"), Some(2.5e9));
        assert_eq!(speed("Unknown"), None);
    }
}
