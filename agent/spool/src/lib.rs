//! The agent's disk queue: every batch is written here before it is sent, and leaves when every destination has acknowledged it.

#![forbid(unsafe_code)]

mod cursor;
mod error;
mod format;
mod index;
mod note;
mod numbers;
mod record;
mod report;
mod segment_reader;
mod settings;
mod spool;

pub use error::{AppendError, DestinationError, OpenError, ReadError};
pub use record::{BODY_BYTES_MAX, NewBatch, Record, SegmentId, StoredBatch};
pub use report::{Backlog, Damage, DamageKind, EpochRange, Gap, OpenReport, Stats};
pub use settings::Settings;
pub use spool::{DESTINATIONS_MAX, DestinationId, Offer, ReadFrom, Reader, Spool};
