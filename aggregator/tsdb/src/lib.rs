//! The store: one log, shards with a head and immutable partitions each, a catalogue that says what is true.
//!
//! # The way of a batch
//! 1. [`Appender::append`](storage::Appender::append) puts it into a bounded intake; when that is full it says `Busy`.
//! 2. The **log** thread takes all that has come, checks numbers and slots, writes one group of records and syncs it. What comes
//!    meanwhile is the next group.
//! 3. After the sync it hands the rows to the **shard** threads, in log order, and answers `done`. A cohort lives on one shard,
//!    chosen by a hash of agent and cohort name.
//! 4. A shard appends the rows to its **head**: written once, published by a position, read without locks or copies.
//! 5. The **keeper** thread freezes full heads, writes them into partition files and commits files, positions and number sets in one
//!    catalogue transaction: that is when a seal *happens*. Then log segments below every shard's position go.
//! 6. The **merge** thread makes of the small files of a span, and of those of a day, one per retention class. Deletes are carried out
//!    there; until then they mask what queries read. Retention removes whole files.
//!
//! # Invariants
//! - `done(Stored)` and [`Appender::known`](storage::Appender::known) speak of synced batches only.
//! - What the log refuses (limits, time bounds) is written beside the batch, so replay decides nothing.
//! - The log stands behind each row until a catalogue commit stands in for it; files that the catalogue does not name are removed.
//! - At equal timestamps the first in the log stands, unless its writer corrects it (the lane for corrections; see `merge_runs`): a batch of
//!   corrections is seen as a whole or not at all, in heads, files and summaries alike.
//! - A query sees the heads at one position per shard and the partitions of that moment: whole rows, fixed while it is held.
//!
//! Formats: FORMAT.md. Never here: tokio, sockets, HTTP, query languages.

#![forbid(unsafe_code)]

mod admission;
mod age_clock;
mod bytes;
mod cache;
mod catalogue;
mod cohorts;
mod config;
mod counters;
mod deletes;
#[doc(hidden)]
pub mod fuzzing;
mod hashing;
mod head;
mod import;
mod index;
mod intake;
mod keeper;
mod late;
mod layout;
mod log;
mod memory;
mod merge;
mod merge_runs;
mod merger;
mod occupancy;
mod offline;
mod pace;
mod page;
mod partition;
mod partitions;
mod plain;
mod progress;
mod querier;
mod random;
mod record;
mod replay;
mod report;
mod retention;
mod seal;
mod segment;
mod sequencer;
mod shard;
mod snapshot;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tier;
mod tsdb;
mod turns;
mod waiting;

pub use config::{
    Durability, LateConfig, Limits, LogConfig, MergeConfig, RetentionClass, SealConfig,
    TierRetention, TsdbConfig,
};
pub use deletes::DeleteError;
pub use import::{Import, ImportError, ImportSummary, Importer};
pub use offline::{CheckReport, CheckedFile, FileKind, Offline, RepairAction, RepairReport};
pub use progress::{ReplayProgress, ReplayStage, ReplayState};
pub use report::{
    Damage, DumpSummary, DumpedSample, LimitsUsed, PartitionSpace, RecoveryReport, SeriesOwners,
    Stats,
};
pub use snapshot::{Beside, SnapshotError, SnapshotRequest, SnapshotSummary};
pub use status::{HeadStatus, PartitionStatus};
pub use tsdb::{OpenError, Tsdb};
