//! Agents without hosts: the client's side of sessions, fed with a workload.
//!
//! Each agent joins with a token, opens a session over QUIC as the real ones do, defines its cohort and sends batches as fast as its
//! window and its pace let it. It keeps no spool: what is refused, or sent back, ends the run with an error, since then the figures
//! mean nothing.

mod agent;
mod fleet;

pub(crate) use agent::{Pace, RowSource, now};
pub(crate) use fleet::Fleet;
