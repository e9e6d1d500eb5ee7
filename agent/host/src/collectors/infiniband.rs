//! InfiniBand adapters and their ports: `class/infiniband`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, Scale};
use crate::host::Moment;
use crate::{Family, Paths, Sink, scan};

const PORT: &[&str] = &["device", "port"];

static INFO: Family = Family::gauge(
    "node_infiniband_info",
    "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
    &["device", "board_id", "firmware_version", "hca_type"],
);
static STATE: Family = Family::gauge(
    "node_infiniband_state_id",
    "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
    PORT,
);
static PHYSICAL_STATE: Family = Family::gauge(
    "node_infiniband_physical_state_id",
    "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)",
    PORT,
);
static RATE: Family = Family::gauge(
    "node_infiniband_rate_bytes_per_second",
    "Maximum signal transfer rate",
    PORT,
);

/// A counter of a port, by its file.
macro_rules! counter {
    ($file:literal, $scale:expr, $name:literal, $help:literal) => {
        (
            $file,
            $scale,
            Family::counter(concat!("node_infiniband_", $name, "_total"), $help, PORT),
        )
    };
}

/// Data is counted in words of four bytes: one per lane.
const WORDS: Scale = Scale::Times(4.0);

/// The folder `counters_ext` is that of kernels before 4.5.
static COUNTERS: [(&str, Scale, Family); 24] = [
    counter!(
        "counters_ext/port_multicast_rcv_packets",
        Scale::One,
        "legacy_multicast_packets_received",
        "Number of multicast packets received"
    ),
    counter!(
        "counters_ext/port_multicast_xmit_packets",
        Scale::One,
        "legacy_multicast_packets_transmitted",
        "Number of multicast packets transmitted"
    ),
    counter!(
        "counters_ext/port_rcv_data_64",
        WORDS,
        "legacy_data_received_bytes",
        "Number of data octets received on all links"
    ),
    counter!(
        "counters_ext/port_rcv_packets_64",
        Scale::One,
        "legacy_packets_received",
        "Number of data packets received on all links"
    ),
    counter!(
        "counters_ext/port_unicast_rcv_packets",
        Scale::One,
        "legacy_unicast_packets_received",
        "Number of unicast packets received"
    ),
    counter!(
        "counters_ext/port_unicast_xmit_packets",
        Scale::One,
        "legacy_unicast_packets_transmitted",
        "Number of unicast packets transmitted"
    ),
    counter!(
        "counters_ext/port_xmit_data_64",
        WORDS,
        "legacy_data_transmitted_bytes",
        "Number of data octets transmitted on all links"
    ),
    counter!(
        "counters_ext/port_xmit_packets_64",
        Scale::One,
        "legacy_packets_transmitted",
        "Number of data packets received on all links"
    ),
    counter!(
        "counters/link_downed",
        Scale::One,
        "link_downed",
        "Number of times the link failed to recover from an error state and went down"
    ),
    counter!(
        "counters/link_error_recovery",
        Scale::One,
        "link_error_recovery",
        "Number of times the link successfully recovered from an error state"
    ),
    counter!(
        "counters/multicast_rcv_packets",
        Scale::One,
        "multicast_packets_received",
        "Number of multicast packets received (including errors)"
    ),
    counter!(
        "counters/multicast_xmit_packets",
        Scale::One,
        "multicast_packets_transmitted",
        "Number of multicast packets transmitted (including errors)"
    ),
    counter!(
        "counters/port_rcv_constraint_errors",
        Scale::One,
        "port_constraint_errors_received",
        "Number of packets received on the switch physical port that are discarded"
    ),
    counter!(
        "counters/port_xmit_constraint_errors",
        Scale::One,
        "port_constraint_errors_transmitted",
        "Number of packets not transmitted from the switch physical port"
    ),
    counter!(
        "counters/port_rcv_data",
        WORDS,
        "port_data_received_bytes",
        "Number of data octets received on all links"
    ),
    counter!(
        "counters/port_xmit_data",
        WORDS,
        "port_data_transmitted_bytes",
        "Number of data octets transmitted on all links"
    ),
    counter!(
        "counters/port_rcv_discards",
        Scale::One,
        "port_discards_received",
        "Number of inbound packets discarded by the port because the port is down or congested"
    ),
    counter!(
        "counters/port_xmit_discards",
        Scale::One,
        "port_discards_transmitted",
        "Number of outbound packets discarded by the port because the port is down or congested"
    ),
    counter!(
        "counters/port_rcv_errors",
        Scale::One,
        "port_errors_received",
        "Number of packets containing an error that were received on this port"
    ),
    counter!(
        "counters/port_rcv_packets",
        Scale::One,
        "port_packets_received",
        "Number of packets received on all VLs by this port (including errors)"
    ),
    counter!(
        "counters/port_xmit_packets",
        Scale::One,
        "port_packets_transmitted",
        "Number of packets transmitted on all VLs from this port (including errors)"
    ),
    counter!(
        "counters/port_xmit_wait",
        Scale::One,
        "port_transmit_wait",
        "Number of ticks during which the port had data to transmit but no data was sent during the entire tick"
    ),
    counter!(
        "counters/unicast_rcv_packets",
        Scale::One,
        "unicast_packets_received",
        "Number of unicast packets received (including errors)"
    ),
    counter!(
        "counters/unicast_xmit_packets",
        Scale::One,
        "unicast_packets_transmitted",
        "Number of unicast packets transmitted (including errors)"
    ),
];

const BYTES_PER_GIGABIT: f64 = 125_000_000.0;

#[derive(Debug)]
pub(super) struct Infiniband {
    devices: Folder,
}

impl Infiniband {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            devices: Folder::new(paths.sysfs.join("class/infiniband")),
        }
    }
}

impl Collector for Infiniband {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let devices = self
            .devices
            .folders()
            .map_err(|error| error.missing_as("there are no adapters"))?;
        for device in devices {
            let name = device.name();
            let (board, firmware) = (device.text_or_empty("board_id"), device.text("fw_ver")?);
            let kind = device.text_or_empty("hca_type");
            sink.sample(&INFO, &[&name, &board, &firmware, &kind], 1.0);
            for port in device.folder("ports").folders()? {
                sample_port(&name, &port, sink)?;
            }
        }
        Ok(())
    }
}

fn sample_port(device: &str, port: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let labels = [device, &*port.name()];
    for (file, family, parse) in [
        ("state", &STATE, state as fn(&str) -> Option<f64>),
        ("phys_state", &PHYSICAL_STATE, state),
        ("rate", &RATE, rate),
    ] {
        let value = parse(&port.text(file)?).ok_or_else(|| {
            CollectError::parse(&port.path().join(file), "a number before its meaning")
        })?;
        sink.sample(family, &labels, value);
    }
    for (file, scale, family) in &COUNTERS {
        let Some(text) = port.optional_text(file)? else {
            continue;
        };
        match scan::number(text.as_bytes()) {
            Some(count) => sink.sample(family, &labels, scale.of(count as f64)),
            // A port without a performance management agent says so in words.
            None if text.starts_with("N/A") => {}
            None => {
                return Err(CollectError::parse(
                    &port.path().join(file),
                    "a whole number",
                ));
            }
        }
    }
    Ok(())
}

/// Reads `4: ACTIVE`.
fn state(text: &str) -> Option<f64> {
    let (id, _) = text.split_once(':')?;
    scan::integer(id.trim().as_bytes())
}

/// Reads `100 Gb/sec (4X EDR)` as whole bytes per second.
fn rate(text: &str) -> Option<f64> {
    let (gigabits, _) = text.split_once(' ')?;
    let gigabits = scan::float(gigabits.as_bytes())?;
    Some((gigabits * BYTES_PER_GIGABIT).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_read_is_read() {
        assert_eq!(state("4: ACTIVE"), Some(4.0));
        assert_eq!(rate("2.5 Gb/sec (1X SDR)"), Some(312_500_000.0));
        for bad in ["", "ACTIVE", "x: y", "4"] {
            assert_eq!(state(bad), None, "{bad}");
            assert_eq!(rate(bad), None, "{bad}");
        }
    }
}
