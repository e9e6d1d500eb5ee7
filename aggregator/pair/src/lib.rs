//! The link between two aggregators that are a pair for alerting.
//!
//! One of the two listens ([`listen`]), the other dials ([`dial`]); so there is one connection, and no question of who is who: the one
//! that listens is the first of the pair (`alerting::PairPlace`). The connection is an agent's: QUIC, or TLS over TCP, with certificates
//! of an [`Authority`](transport::Authority) that whoever dials has joined with a token. It is an authority for this alone: no agent's
//! certificate opens this port, and no peer's an agent's.
//!
//! Over it go hellos, then whatever the two alertings share (`alerting::Pipeline::next_share`), then that each lives, every second or
//! so. A side that hears nothing for a third of `--cluster.peer-timeout` takes the link to be down; the one that dials then dials
//! again, with pauses that grow to 5 s. Nothing is lost by that: the next connection begins with all that is shared.
//!
//! Nothing waits here. What is to be sent stays in the pipeline until the connection takes it, as keys without values; a slow link
//! sends fewer versions.
//!
//! Never here: what is shared and how it is merged, HTTP, flags.

#![forbid(unsafe_code)]

mod dialling;
mod link;
mod listening;
mod status;

pub use dialling::{Dialling, dial};
pub use link::{Link, LinkConfig};
pub use listening::{Listening, listen};
pub use status::{LinkView, Side};

#[cfg(test)]
mod tests;
