//! Network devices: counters by rtnetlink, or from `net/dev`.

use super::Collector;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::netlink::{COUNTERS, LinkSocket};
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

/// The family of a statistic, `node_network_<key>_total`.
macro_rules! statistic {
    ($key:literal) => {
        Family::counter(
            concat!("node_network_", $key, "_total"),
            concat!("Network device statistic ", $key, "."),
            &["device"],
        )
    };
}

/// The families of `net/dev`, in the order of its columns; the last is known by rtnetlink only.
static USUAL: [Family; 17] = [
    statistic!("receive_bytes"),
    statistic!("receive_packets"),
    statistic!("receive_errs"),
    statistic!("receive_drop"),
    statistic!("receive_fifo"),
    statistic!("receive_frame"),
    statistic!("receive_compressed"),
    statistic!("receive_multicast"),
    statistic!("transmit_bytes"),
    statistic!("transmit_packets"),
    statistic!("transmit_errs"),
    statistic!("transmit_drop"),
    statistic!("transmit_fifo"),
    statistic!("transmit_colls"),
    statistic!("transmit_carrier"),
    statistic!("transmit_compressed"),
    statistic!("receive_nohandler"),
];

/// The number of columns of `net/dev`.
const COLUMNS: usize = 16;

/// The families of the kernel's own counters, in the order of `struct rtnl_link_stats64`.
static DETAILED: [Family; COUNTERS] = [
    statistic!("receive_packets"),
    statistic!("transmit_packets"),
    statistic!("receive_bytes"),
    statistic!("transmit_bytes"),
    statistic!("receive_errors"),
    statistic!("transmit_errors"),
    statistic!("receive_dropped"),
    statistic!("transmit_dropped"),
    statistic!("multicast"),
    statistic!("collisions"),
    statistic!("receive_length_errors"),
    statistic!("receive_over_errors"),
    statistic!("receive_crc_errors"),
    statistic!("receive_frame_errors"),
    statistic!("receive_fifo_errors"),
    statistic!("receive_missed_errors"),
    statistic!("transmit_aborted_errors"),
    statistic!("transmit_carrier_errors"),
    statistic!("transmit_fifo_errors"),
    statistic!("transmit_heartbeat_errors"),
    statistic!("transmit_window_errors"),
    statistic!("receive_compressed"),
    statistic!("transmit_compressed"),
    statistic!("receive_nohandler"),
];

#[derive(Debug)]
pub(super) struct Netdev {
    file: KeptFile,
    netlink: bool,
    socket: Option<LinkSocket>,
    view: View,
}

/// Which devices are shown, under which names.
#[derive(Debug)]
struct View {
    devices: Filter,
    detailed: bool,
}

impl Netdev {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.netdev.device-include",
            exclude: "collector.netdev.device-exclude",
        };
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("net/dev")),
            netlink: config.netdev.netlink,
            socket: None,
            view: View {
                devices: Filter::of_devices(names, &config.netdev.devices, None)?,
                detailed: config.netdev.detailed_metrics,
            },
        })
    }

    fn collect_from_file(&mut self, sink: &mut dyn Sink) -> Result<(), CollectError> {
        // Two lines of headings stand above the devices.
        let content = self.file.read()?;
        for line in content.lines().skip(2) {
            let Some((name, columns)) = parse_line(line) else {
                return Err(content.without("lines of `device: 16 numbers`"));
            };
            let name = scan::text(name);
            if self.view.devices.takes(&name) {
                sample(&USUAL, &name, &columns, sink);
            }
        }
        Ok(())
    }
}

impl Collector for Netdev {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if !self.netlink {
            return self.collect_from_file(sink);
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => match LinkSocket::open() {
                Ok(socket) => none.insert(socket),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        path = %self.file.path().display(),
                        "no rtnetlink; reading the file instead"
                    );
                    self.netlink = false;
                    return self.collect_from_file(sink);
                }
            },
        };
        let view = &self.view;
        let done = socket.links(|link| view.sample(link.name, &link.counters, sink));
        done.map_err(|source| {
            self.socket = None;
            CollectError::System {
                call: "ask rtnetlink for links",
                source,
            }
        })
    }
}

impl View {
    fn sample(&self, name: &[u8], counters: &[u64; COUNTERS], sink: &mut dyn Sink) {
        let name = scan::text(name);
        if !self.devices.takes(&name) {
            return;
        }
        if self.detailed {
            sample(&DETAILED, &name, counters, sink);
        } else {
            sample(&USUAL, &name, &usual(counters), sink);
        }
    }
}

fn sample(families: &[Family], device: &str, values: &[u64], sink: &mut dyn Sink) {
    for (family, value) in families.iter().zip(values) {
        sink.sample(family, &[device], *value as f64);
    }
}

/// Sums the kernel's counters into the columns of `net/dev`, as the kernel does, with `nohandler` after them.
fn usual(counters: &[u64; COUNTERS]) -> [u64; COLUMNS + 1] {
    let [
        receive_packets,
        transmit_packets,
        receive_bytes,
        transmit_bytes,
        receive_errors,
        transmit_errors,
        receive_dropped,
        transmit_dropped,
        multicast,
        collisions,
        receive_length,
        receive_over,
        receive_crc,
        receive_frame,
        receive_fifo,
        receive_missed,
        transmit_aborted,
        transmit_carrier,
        transmit_fifo,
        transmit_heartbeat,
        transmit_window,
        receive_compressed,
        transmit_compressed,
        receive_nohandler,
    ] = *counters;
    let sum = |parts: &[u64]| {
        parts
            .iter()
            .fold(0, |sum: u64, part| sum.wrapping_add(*part))
    };
    [
        receive_bytes,
        receive_packets,
        receive_errors,
        sum(&[receive_dropped, receive_missed]),
        receive_fifo,
        sum(&[receive_frame, receive_length, receive_over, receive_crc]),
        receive_compressed,
        multicast,
        transmit_bytes,
        transmit_packets,
        transmit_errors,
        transmit_dropped,
        transmit_fifo,
        collisions,
        sum(&[
            transmit_carrier,
            transmit_aborted,
            transmit_heartbeat,
            transmit_window,
        ]),
        transmit_compressed,
        receive_nohandler,
    ]
}

/// The name ends at the last colon: aliases (`eth0:1`) have one of their own.
pub(super) fn parse_line(line: &[u8]) -> Option<(&[u8], [u64; COLUMNS])> {
    let colon = line.iter().rposition(|b| *b == b':')?;
    let mut columns = [0; COLUMNS];
    let mut words = scan::words(line.get(colon + 1..)?);
    for column in &mut columns {
        *column = scan::number(words.next()?)?;
    }
    Some((line.get(..colon)?.trim_ascii(), columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_sum_up_to_the_columns() {
        let mut counters = [0; COUNTERS];
        for (bit, counter) in counters.iter_mut().enumerate() {
            *counter = 1 << bit;
        }
        let usual = usual(&counters);
        let bits = |bits: &[u64]| bits.iter().map(|bit| 1 << bit).sum::<u64>();
        assert_eq!(usual[0], bits(&[2]), "receive_bytes");
        assert_eq!(usual[3], bits(&[6, 15]), "receive_drop");
        assert_eq!(usual[5], bits(&[10, 11, 12, 13]), "receive_frame");
        assert_eq!(usual[14], bits(&[16, 17, 19, 20]), "transmit_carrier");
        assert_eq!(
            usual.iter().sum::<u64>(),
            bits(&(0..24).collect::<Vec<_>>())
        );
    }

    #[test]
    fn aliases_keep_their_colon() {
        let (name, columns) = parse_line(b"eth0:1:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!((name, columns[0], columns[15]), (&b"eth0:1"[..], 1, 16));
        for bad in [
            "eth0 1 2",
            "eth0: 1 2",
            "eth0: x 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        ] {
            assert!(parse_line(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
