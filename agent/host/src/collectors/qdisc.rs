//! Queues of network devices: those at the root of each device.

use super::Collector;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::netlink::{self, QUEUE_NUMBERS};
use crate::{Family, HostConfig, HostConfigError, Sink};

const QUEUE: &[&str] = &["device", "kind"];

/// In the order of the numbers of a queue.
static NUMBERS: [Family; QUEUE_NUMBERS] = [
    Family::counter("node_qdisc_bytes_total", "Number of bytes sent.", QUEUE),
    Family::counter("node_qdisc_packets_total", "Number of packets sent.", QUEUE),
    Family::gauge(
        "node_qdisc_current_queue_length",
        "Number of packets currently in queue to be sent.",
        QUEUE,
    ),
    Family::gauge(
        "node_qdisc_backlog",
        "Number of bytes currently in queue to be sent.",
        QUEUE,
    ),
    Family::counter(
        "node_qdisc_drops_total",
        "Number of packets dropped.",
        QUEUE,
    ),
    Family::counter(
        "node_qdisc_requeues_total",
        "Number of packets dequeued, not transmitted, and requeued.",
        QUEUE,
    ),
    Family::counter(
        "node_qdisc_overlimits_total",
        "Number of overlimit packets.",
        QUEUE,
    ),
];

#[derive(Debug)]
pub(super) struct Qdisc {
    devices: Filter,
}

impl Qdisc {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.qdisc.device-include",
            exclude: "collector.qdisc.device-exclude",
        };
        Ok(Self {
            devices: Filter::of_devices(names, &config.qdisc, None)?,
        })
    }
}

impl Collector for Qdisc {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let queues = netlink::root_queues().map_err(|source| CollectError::System {
            call: "ask rtnetlink for queues",
            source,
        })?;
        for queue in queues
            .iter()
            .filter(|queue| self.devices.takes(&queue.device))
        {
            for (family, number) in NUMBERS.iter().zip(queue.numbers) {
                sink.sample(family, &[&queue.device, &queue.kind], number as f64);
            }
        }
        Ok(())
    }
}
