//! Fibre Channel adapters: `class/fc_host`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink, scan};

const HOST: &[&str] = &["fc_host"];

static INFO: Family = Family::gauge(
    "node_fibrechannel_info",
    "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
    &[
        "fc_host",
        "speed",
        "port_state",
        "port_type",
        "port_id",
        "port_name",
        "fabric_name",
        "symbolic_name",
        "supported_classes",
        "supported_speeds",
        "dev_loss_tmo",
    ],
);

/// By their files in `statistics`.
static COUNTERS: [(&str, Family); 14] = [
    (
        "dumped_frames",
        Family::counter(
            "node_fibrechannel_dumped_frames_total",
            "Number of dumped frames",
            HOST,
        ),
    ),
    (
        "error_frames",
        Family::counter(
            "node_fibrechannel_error_frames_total",
            "Number of errors in frames",
            HOST,
        ),
    ),
    (
        "invalid_crc_count",
        Family::counter(
            "node_fibrechannel_invalid_crc_total",
            "Invalid Cyclic Redundancy Check count",
            HOST,
        ),
    ),
    (
        "rx_frames",
        Family::counter(
            "node_fibrechannel_rx_frames_total",
            "Number of frames received",
            HOST,
        ),
    ),
    (
        "rx_words",
        Family::counter(
            "node_fibrechannel_rx_words_total",
            "Number of words received by host port",
            HOST,
        ),
    ),
    (
        "tx_frames",
        Family::counter(
            "node_fibrechannel_tx_frames_total",
            "Number of frames transmitted by host port",
            HOST,
        ),
    ),
    (
        "tx_words",
        Family::counter(
            "node_fibrechannel_tx_words_total",
            "Number of words transmitted by host port",
            HOST,
        ),
    ),
    (
        "seconds_since_last_reset",
        Family::counter(
            "node_fibrechannel_seconds_since_last_reset_total",
            "Number of seconds since last host port reset",
            HOST,
        ),
    ),
    (
        "invalid_tx_word_count",
        Family::counter(
            "node_fibrechannel_invalid_tx_words_total",
            "Number of invalid words transmitted by host port",
            HOST,
        ),
    ),
    (
        "link_failure_count",
        Family::counter(
            "node_fibrechannel_link_failure_total",
            "Number of times the host port link has failed",
            HOST,
        ),
    ),
    (
        "loss_of_sync_count",
        Family::counter(
            "node_fibrechannel_loss_of_sync_total",
            "Number of failures on either bit or transmission word boundaries",
            HOST,
        ),
    ),
    (
        "loss_of_signal_count",
        Family::counter(
            "node_fibrechannel_loss_of_signal_total",
            "Number of times signal has been lost",
            HOST,
        ),
    ),
    (
        "nos_count",
        Family::counter(
            "node_fibrechannel_nos_total",
            "Number Not_Operational Primitive Sequence received by host port",
            HOST,
        ),
    ),
    (
        "fcp_packet_aborts",
        Family::counter(
            "node_fibrechannel_fcp_packet_aborts_total",
            "Number of aborted packets",
            HOST,
        ),
    ),
];

/// What a driver writes that does not count.
const NOT_COUNTED: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Fibrechannel {
    hosts: Folder,
}

impl Fibrechannel {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            hosts: Folder::new(paths.sysfs.join("class/fc_host")),
        }
    }
}

impl Collector for Fibrechannel {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let hosts = self
            .hosts
            .folders()
            .map_err(|error| error.missing_as("there are no adapters"))?;
        for host in hosts {
            sample(&host, sink)?;
        }
        Ok(())
    }
}

fn sample(host: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let name = host.name();
    let text = |file| host.text_or_empty(file);
    let number = |file| {
        let text = host.text_or_empty(file);
        text.strip_prefix("0x")
            .map_or_else(|| text.clone(), str::to_owned)
    };
    let texts = [
        text("speed"),
        text("port_state"),
        text("port_type"),
        number("port_id"),
        number("port_name"),
        number("fabric_name"),
        text("symbolic_name"),
        text("supported_classes"),
        text("supported_speeds"),
        text("dev_loss_tmo"),
    ];
    let values: Vec<&str> = std::iter::once(&*name)
        .chain(texts.iter().map(String::as_str))
        .collect();
    sink.sample(&INFO, &values, 1.0);
    let statistics = host.folder("statistics");
    for (file, family) in &COUNTERS {
        let Some(written) = statistics.optional_text(file)? else {
            continue;
        };
        let digits = written.strip_prefix("0x").unwrap_or(&written);
        let count = scan::hexadecimal(digits.as_bytes()).ok_or_else(|| {
            CollectError::parse(&statistics.path().join(file), "a hexadecimal number")
        })?;
        if count != NOT_COUNTED {
            sink.sample(family, &[&name], count as f64);
        }
    }
    Ok(())
}
