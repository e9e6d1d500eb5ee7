//! The agent's disk queue: every batch is written here before it is sent, and leaves when every destination has acknowledged it.
//!
//! # Constraints
//!
//! * The death of the process loses nothing that [`append`](Spool::append) took; a power cut at most what was taken since the last sync
//!   (1 s or 1 MiB).
//! * It is bounded: 512 MiB and a tenth of the volume. When full, or when the disk is, the oldest segment is dropped, counted, and
//!   remembered durably as a [`Gap`] until the caller has reported it. No error stops the agent: a batch that cannot be spooled is counted
//!   by the caller, and the next one is tried anew.
//! * Damage costs the record it is in, is reported with file and offset, and never becomes a wrong batch.
//! * Memory does not grow with the backlog, other than by some 150 bytes per segment.
//!
//! # How it works
//!
//! The spool is a list of **segments**, files of 4 MiB to which one run of the agent appends (FORMAT.md draws them). Each segment is understood
//! without the others: the uplink gives the definitions for its start, and makes its first batch of key rows. So
//! [`will_rotate`](Spool::will_rotate) is asked before a batch is made, [`begin_segment`](Spool::begin_segment) called when it says yes.
//! Segments of earlier runs (epochs) lie before those of this one and are read in the same way.
//!
//! A **destination** is an aggregator to which the batches go; its **cursor** holds the numbers it has acknowledged, per epoch. A segment is removed
//! when all destinations have all of it. Cursors are written every 10 s: to lose one means to send again what the aggregator then
//! recognises by its number, so they need no syncs of their own in between; for the same reason batches that everyone has acknowledged are
//! not synced at all, and an agent with a healthy connection spares its disk.
//!
//! **Reading** goes by [`Reader`]s, places in the spool that borrow nothing, so that one task can append, read for the live stream and read for
//! the catch-up stream in turn. A number that a reader finds damaged is settled for everybody: nothing waits for it.
//!
//! **Opening** reads everything once, cuts torn tails, and finishes a drop that was under way. The caller then names all its destinations
//! before anything is removed on their account.
//!
//! A sync that fails is never repeated: the segment is closed, and what it had unsynced stays readable but may be lost in a power cut.
//!
//! Never here: what is in a batch, sockets, clocks (time is handed in), async.

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
