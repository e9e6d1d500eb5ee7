//! The kernel's load balancer: totals from `net/ip_vs_stats`, backends from `net/ip_vs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

/// In the order of the columns of `net/ip_vs_stats`.
static TOTALS: [Family; 5] = [
    Family::counter(
        "node_ipvs_connections_total",
        "The total number of connections made.",
        &[],
    ),
    Family::counter(
        "node_ipvs_incoming_packets_total",
        "The total number of incoming packets.",
        &[],
    ),
    Family::counter(
        "node_ipvs_outgoing_packets_total",
        "The total number of outgoing packets.",
        &[],
    ),
    Family::counter(
        "node_ipvs_incoming_bytes_total",
        "The total amount of incoming data.",
        &[],
    ),
    Family::counter(
        "node_ipvs_outgoing_bytes_total",
        "The total amount of outgoing data.",
        &[],
    ),
];

const LABELS: [&str; 6] = [
    "local_address",
    "local_port",
    "remote_address",
    "remote_port",
    "proto",
    "local_mark",
];

#[derive(Debug)]
pub(super) struct Ipvs {
    totals: KeptFile,
    backends: KeptFile,
    /// Indices into [`LABELS`]; backends that differ in other labels only are summed.
    labels: Vec<usize>,
    /// In the order of the numbers of a [`Load`].
    families: [Family; 3],
}

/// Weight, active and inactive connections of backends.
type Load = [u64; 3];

impl Ipvs {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let asked: Vec<&str> = config
            .ipvs_backend_labels
            .split(',')
            .filter(|label| !label.is_empty())
            .collect();
        if let Some(unknown) = asked.iter().find(|label| !LABELS.contains(label)) {
            return Err(HostConfigError::Word {
                option: "collector.ipvs.backend-labels",
                word: (*unknown).to_owned(),
                accepted: LABELS.join(", "),
            });
        }
        let labels: Vec<usize> = (0..LABELS.len())
            .filter(|index| asked.contains(&LABELS[*index]))
            .collect();
        let names: Vec<String> = labels.iter().map(|at| LABELS[*at].to_owned()).collect();
        let family = |name: &str, help: &str| {
            let (name, help) = (format!("node_ipvs_backend_{name}"), help.to_owned());
            Family::dynamic(name, help, MetricType::Gauge).with_further_labels(names.clone())
        };
        Ok(Self {
            totals: KeptFile::new(config.paths.procfs.join("net/ip_vs_stats")),
            backends: KeptFile::new(config.paths.procfs.join("net/ip_vs")),
            families: [
                family(
                    "weight",
                    "The current backend weight by local and remote address.",
                ),
                family(
                    "connections_active",
                    "The current active connections by local and remote address.",
                ),
                family(
                    "connections_inactive",
                    "The current inactive connections by local and remote address.",
                ),
            ],
            labels,
        })
    }
}

impl Collector for Ipvs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .totals
            .read()
            .map_err(|error| error.missing_as("the kernel balances no load"))?;
        let totals = parse_totals(content)?;
        for (family, total) in TOTALS.iter().zip(totals) {
            sink.sample(family, &[], total as f64);
        }
        for (values, load) in sum_backends(self.backends.read()?, &self.labels)? {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            for (family, number) in self.families.iter().zip(load) {
                sink.sample(family, &values, number as f64);
            }
        }
        Ok(())
    }
}

/// Two lines of headings stand above hexadecimal totals.
fn parse_totals(content: Content<'_>) -> Result<[u64; 5], CollectError> {
    let totals = || {
        let mut words = scan::words(content.lines().nth(2)?);
        let mut total = || scan::hexadecimal(words.next()?);
        Some([total()?, total()?, total()?, total()?, total()?])
    };
    totals().ok_or_else(|| content.without("five hexadecimal totals in the third line"))
}

fn sum_backends(
    content: Content<'_>,
    labels: &[usize],
) -> Result<BTreeMap<Vec<String>, Load>, CollectError> {
    let wrong = || content.without("services and their backends");
    let mut sums: BTreeMap<Vec<String>, Load> = BTreeMap::new();
    let mut service = Service::default();
    for line in content.lines() {
        let mut words = scan::words(line);
        match (words.next(), words.next()) {
            (Some(b"->"), Some(b"RemoteAddress:Port")) => {}
            (Some(b"->"), Some(address)) => {
                let (address, port) = parse_address(address).ok_or_else(wrong)?;
                let mut numbers = words.skip(1).map(scan::number);
                let mut number = || numbers.next().flatten().ok_or_else(wrong);
                let load = [number()?, number()?, number()?];
                let values = [
                    &service.address,
                    &service.port,
                    &address,
                    &port,
                    &service.protocol,
                    &service.mark,
                ];
                let key = labels.iter().map(|at| values[*at].clone()).collect();
                for (sum, number) in sums.entry(key).or_default().iter_mut().zip(load) {
                    *sum = sum.saturating_add(number);
                }
            }
            (Some(protocol @ (b"TCP" | b"UDP" | b"SCTP")), Some(address)) => {
                let (address, port) = parse_address(address).ok_or_else(wrong)?;
                service = Service {
                    protocol: scan::text(protocol).into_owned(),
                    address,
                    port,
                    mark: String::new(),
                };
            }
            (Some(b"FWM"), Some(mark)) => {
                service = Service {
                    protocol: "FWM".to_owned(),
                    address: String::new(),
                    port: "0".to_owned(),
                    mark: scan::text(mark).into_owned(),
                };
            }
            _ => {}
        }
    }
    Ok(sums)
}

/// What stands above its backends: an address and port, or a mark of the firewall.
#[derive(Debug, Default)]
struct Service {
    protocol: String,
    address: String,
    port: String,
    mark: String,
}

/// Reads `ADDRESS:PORT` in hexadecimal; IPv6 addresses may also stand in brackets as people write them.
fn parse_address(word: &[u8]) -> Option<(String, String)> {
    let colon = word.iter().rposition(|byte| *byte == b':')?;
    let (address, port) = (word.get(..colon)?, word.get(colon + 1..)?);
    let port = u16::try_from(scan::hexadecimal(port)?).ok()?;
    let written = |bytes| std::str::from_utf8(bytes).ok();
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from_bits(
            u32::from_str_radix(written(address)?, 16).ok()?,
        )),
        32 => IpAddr::V6(Ipv6Addr::from_bits(
            u128::from_str_radix(written(address)?, 16).ok()?,
        )),
        _ => IpAddr::V6(
            written(address.strip_prefix(b"[")?.strip_suffix(b"]")?)?
                .parse()
                .ok()?,
        ),
    };
    Some((address.to_string(), port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal_or_in_brackets() {
        for (word, expected) in [
            ("C0A80016:0CEA", Some(("192.168.0.22", "3306"))),
            (
                "26200000000000000000000000000001:0050",
                Some(("2620::1", "80")),
            ),
            ("[2620:0:0:0:0:0:0:2]:0050", Some(("2620::2", "80"))),
            ("C0A80016", None),
            ("C0A8001:0CEA", None),
            ("C0A8001x:0CEA", None),
            ("C0A80016:10000", None),
        ] {
            let parsed = parse_address(word.as_bytes());
            let parsed = parsed.as_ref().map(|(address, port)| (&**address, &**port));
            assert_eq!(parsed, expected, "{word}");
        }
    }
}
