//! The Pushgateway's API: groups of pushed series, their rules, their rows and their file.
//!
//! ```text
//! path ─> GroupKey ─┐
//! body ─> Pushed ───┴─> Gateway ─> store ─┬─> rows (a cohort per group) ─> Harvest
//!                                         ├─> journal (--persistence.file)
//!                                         └─> text, JSON, page
//! ```
//!
//! What a Pushgateway 1.11 does, this does: PUT, POST, DELETE, base64 labels, three formats and two compressions, the check that what is
//! pushed fits to what is there, the times of pushes, its HTTP API and its own metrics. Beyond it: groups that end by themselves, counters
//! that add up, labels that the kernel vouches for, a file that loses nothing that was answered, and bounds.
//!
//! # Invariants
//! - A push is applied as a whole or changes nothing but its group's time of failure.
//! - No two series of all groups are equal, as Prometheus sees them: a label with an empty value is no label.
//! - What a push costs depends on what is pushed and on its group's size, not on what else is stored.
//! - Every series that ends, by whatever cause, has a staleness mark in the row of that moment.
//! - What is held is bounded in groups, in bytes and in rows that wait.
//!
//! # Where it differs from a Pushgateway
//! - Equal series in two groups are refused even with the consistency check off, and also when only empty labels tell them apart: they
//!   could not be stored.
//! - A sample that a histogram or summary cannot have is refused; a Pushgateway drops it.
//! - Series with native histograms lose their classic buckets, which say the same.
//!
//! Plain synchronous code: the caller brings the time. Never here: HTTP, sockets, tasks, clocks.

#![forbid(unsafe_code)]

mod body;
mod caller;
mod error;
mod expose;
mod gateway;
mod group;
mod journal;
mod json;
mod key;
mod metrics;
mod names;
mod outlet;
mod page;
mod path;
mod pushed;
mod store;

pub use body::Body;
pub use caller::Caller;
pub use error::{Full, Inconsistent, PushError};
pub use gateway::{Gateway, GatewayConfig, PushOptions, SYNC_INTERVAL, Upkeep};
pub use journal::JournalError;
pub use json::status_json;
pub use key::GroupKey;
pub use metrics::Metrics;
pub use names::Names;
pub use outlet::Harvest;
pub use path::{PathError, parse_path};
pub use pushed::Pushed;
pub use store::{Mode, Now, Part, StoreConfig, StoreStats, Ttl};
