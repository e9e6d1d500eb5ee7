//! Real processes for whole-system tests: both programs as they are shipped, on real ports, with folders of their own.
//!
//! - [`Aggregator`] and [`Agent`] start, stop, kill and restart the programs, and ask them.
//! - [`Relay`] stands between them and forwards UDP only while it is told to.
//! - [`Sender`] sends remote write that can be told right or wrong afterwards, [`Steady`] measures how long it takes.
//! - [`Receivers`] are the services that alerts are told to, and remember what they took.
//! - [`MemoryLimit`] holds an aggregator to a bound on its memory.
//! - [`ledger`] compares what agents wrote with what a store holds.
//!
//! Everything that was started ends with its value, whatever the test does. Whoever waits, waits for a condition, with
//! [`wait_until`]; whoever fails shows what the process said.

mod agent;
mod aggregator;
mod binaries;
mod http;
pub mod ledger;
mod memory_limit;
mod ports;
mod process;
mod prometheus;
mod receivers;
mod relay;
mod remote_write;
mod steady;
mod up;
mod waiting;

pub use agent::Agent;
pub use aggregator::Aggregator;
pub use binaries::{AGENT, PROMONTORY, binary, tool};
pub use http::{Answer, ask_only, get, metric, percent_encode, post, post_body, query};
pub use memory_limit::MemoryLimit;
pub use ports::free_port;
pub use process::{Outcome, Process, Signal};
pub use prometheus::Prometheus;
pub use receivers::{Moment, Receivers, Service, TakenRequest, Trap};
pub use relay::{Relay, Udp};
pub use remote_write::{
    FloatSeries, HistogramSeries, Sender, write_histograms, write_message, write_series,
};
pub use steady::{Steady, Waits};
pub use up::Up;
pub use waiting::{PATIENCE, now, pause, wait_until};
