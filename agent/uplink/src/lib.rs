//! From rows to acknowledged batches: batching, spooling, sending, catching up, reconnecting.
//!
//! Two state machines without sockets, tasks and clocks, which the simulator drives as they are:
//! - [`Maker`] codes rows into numbered batches and puts each into the spool before anything else happens to it.
//! - [`Delivery`] brings what lies in the spool to one aggregator: hello, windows, acknowledgements, resends, the backlog beside
//!   what is live. Each aggregator has one of its own, and its own cursor in the spool.
//!
//! [`Uplink`] is the shell around them: one task that owns the spool and a connection.
//!
//! # Invariants
//! - A batch that was sent lies in the spool until its destination acknowledged it.
//! - A batch keeps its number on every stream, connection and destination.
//! - An aggregator that does not answer costs spool, nothing else.
//!
//! Never here: how rows come to be, what aggregators do with them.

#![forbid(unsafe_code)]

mod definition;
mod delivery;
mod lane;
mod maker;
mod quarantine;
mod uplink;

pub use delivery::{Delivery, DeliveryConfig, DeliveryError, DeliveryStats, Event, Introduction};
pub use maker::{Made, MakeError, Maker, MakerStats, Update};
pub use uplink::{Uplink, UplinkConfig, UplinkStats, UplinkView};
