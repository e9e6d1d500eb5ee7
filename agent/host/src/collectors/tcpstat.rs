//! TCP connections by state, as the kernel lists its sockets.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::netlink::{self, TcpTotals};
use crate::{Family, Sink};

static STATES: Family = Family::gauge(
    "node_tcp_connection_states",
    "Number of connection states.",
    &["state"],
);

/// By the kernel's numbers, which begin with 1.
const NAMES: [&str; netlink::TCP_STATES] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

#[derive(Debug)]
pub(super) struct Tcpstat;

impl Collector for Tcpstat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let TcpTotals {
            by_state,
            received_bytes,
            unsent_bytes,
        } = netlink::tcp_totals().map_err(|source| CollectError::System {
            call: "ask the kernel for its TCP sockets",
            source,
        })?;
        for (name, count) in NAMES.iter().zip(by_state).filter(|(_, count)| *count > 0) {
            sink.sample(&STATES, &[name], count as f64);
        }
        sink.sample(&STATES, &["rx_queued_bytes"], received_bytes as f64);
        sink.sample(&STATES, &["tx_queued_bytes"], unsent_bytes as f64);
        Ok(())
    }
}
