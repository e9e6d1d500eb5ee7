//! What sysfs says of each network device: `class/net`.

use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, HostConfig, HostConfigError, Sink, filter, scan};

const DEVICE: &[&str] = &["device"];

/// A property of a device, by its file.
macro_rules! property {
    ($file:literal, $kind:ident, $name:literal) => {
        Attribute {
            file: $file,
            scale: Scale::One,
            family: Family::$kind(
                concat!("node_network_", $name),
                concat!("Network device property: ", $name),
                DEVICE,
            ),
        }
    };
}

static PROPERTIES: [Attribute; 16] = [
    property!("addr_assign_type", gauge, "address_assign_type"),
    property!("carrier", gauge, "carrier"),
    property!("carrier_changes", counter, "carrier_changes_total"),
    property!("carrier_up_count", counter, "carrier_up_changes_total"),
    property!("carrier_down_count", counter, "carrier_down_changes_total"),
    property!("dev_id", gauge, "device_id"),
    property!("dormant", gauge, "dormant"),
    property!("flags", gauge, "flags"),
    property!("ifindex", gauge, "iface_id"),
    property!("iflink", gauge, "iface_link"),
    property!("link_mode", gauge, "iface_link_mode"),
    property!("mtu", gauge, "mtu_bytes"),
    property!("name_assign_type", gauge, "name_assign_type"),
    property!("netdev_group", gauge, "net_dev_group"),
    property!("tx_queue_len", gauge, "transmit_queue_length"),
    property!("type", gauge, "protocol_type"),
];
static SPEED: Family = Family::gauge(
    "node_network_speed_bytes",
    "Network device property: speed_bytes",
    DEVICE,
);
static UP: Family = Family::gauge(
    "node_network_up",
    "Value is 1 if operstate is 'up', 0 otherwise.",
    DEVICE,
);
static INFO: Family = Family::gauge(
    "node_network_info",
    "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
    &[
        "device",
        "address",
        "broadcast",
        "duplex",
        "operstate",
        "adminstate",
        "ifalias",
    ],
);

/// The kernel counts in Mbit/s.
const BYTES_PER_MEGABIT: f64 = 125_000.0;
/// The bit of `flags` that an administrator sets.
const IS_UP: u64 = 1;

#[derive(Debug)]
pub(super) struct Netclass {
    devices: Folder,
    ignored: Regex,
    ignore_invalid_speed: bool,
}

impl Netclass {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        Ok(Self {
            devices: Folder::new(config.paths.sysfs.join("class/net")),
            ignored: filter::pattern(
                "collector.netclass.ignored-devices",
                &config.netclass.ignored_devices,
            )?,
            ignore_invalid_speed: config.netclass.ignore_invalid_speed,
        })
    }

    fn sample(&self, device: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let name = device.name();
        let (address, broadcast) = (
            device.text_or_empty("address"),
            device.text_or_empty("broadcast"),
        );
        let (duplex, state) = (
            device.text_or_empty("duplex"),
            device.text_or_empty("operstate"),
        );
        let alias = device.text_or_empty("ifalias");
        let flags = device.parsed("flags", |text| {
            scan::hexadecimal(text.strip_prefix("0x")?.as_bytes())
        })?;
        let administered = match flags {
            Some(flags) if flags & IS_UP != 0 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let info = [
            &*name,
            &address,
            &broadcast,
            &duplex,
            &state,
            administered,
            &alias,
        ];
        sink.sample(&UP, &[&name], f64::from(u8::from(state == "up")));
        sink.sample(&INFO, &info, 1.0);
        device.sample(&PROPERTIES, &[&name], sink)?;
        // A device that is down, and one without a speed of its own, has -1 or refuses to say.
        if let Some(speed) = device.optional_number("speed")?
            && (speed >= 0.0 || !self.ignore_invalid_speed)
        {
            sink.sample(&SPEED, &[&name], speed * BYTES_PER_MEGABIT);
        }
        Ok(())
    }
}

impl Collector for Netclass {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let devices = self
            .devices
            .folders()
            .map_err(|error| error.missing_as("there are no network devices"))?;
        for device in devices {
            if !self.ignored.is_match(&device.name()) {
                self.sample(&device.opened(), sink)?;
            }
        }
        Ok(())
    }
}
