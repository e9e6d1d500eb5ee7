//! What a spool tells about itself: at opening, as counters, and about what it had to drop.

use std::path::PathBuf;

use model::TimestampMs;
use rows::{BatchNumber, Epoch};

/// What opening a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The runs that left batches behind, oldest first.
    pub epochs: Vec<EpochRange>,
    /// Places where bytes could not be understood.
    pub damages: Vec<Damage>,
}

/// The batches of one run that lie in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRange {
    /// The run.
    pub epoch: Epoch,
    /// Its lowest number.
    pub first: BatchNumber,
    /// Its highest number.
    pub last: BatchNumber,
    /// How many batches there are from first to last.
    pub batches: u64,
}

/// Bytes of a segment that hold no readable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub file: PathBuf,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Which it is.
    pub kind: DamageKind,
}

/// The kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Records follow after it: it was passed over, the numbers in it are lost.
    Middle,
    /// The end of the segment, cut off: a write that a crash or power cut interrupted.
    TornTail,
    /// The segment's header; nothing is lost, for the file's name says the same.
    Header,
    /// The segment is of a later version of the format: left alone until the space is needed.
    UnknownVersion,
}

/// Numbers of an epoch that were dropped to make room before every destination had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The run.
    pub epoch: Epoch,
    /// The first dropped number.
    pub first: BatchNumber,
    /// The last dropped number.
    pub last: BatchNumber,
    /// How many batches were dropped in this range.
    pub batches: u64,
    /// How many samples were in them.
    pub samples: u64,
    /// When the first of them was made.
    pub from: TimestampMs,
    /// When the last of them was made.
    pub to: TimestampMs,
}

/// What a destination has still to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many batches it has not acknowledged.
    pub batches: u64,
    /// The oldest of them.
    pub oldest: Option<(Epoch, BatchNumber)>,
}

/// Counters and sizes; counters start at zero with each [`open`](crate::Spool::open).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of segments on disk.
    pub bytes: u64,
    /// The most that `bytes` may become, from the settings and the volume's size.
    pub bytes_max: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Batches on disk.
    pub batches: u64,
    /// When the oldest batch on disk was made.
    pub oldest: Option<TimestampMs>,
    /// Bytes written and not yet synced.
    pub unsynced_bytes: u64,
    /// Batches appended.
    pub appended_batches: u64,
    /// Samples appended.
    pub appended_samples: u64,
    /// Batches dropped to make room before every destination had them.
    pub dropped_batches: u64,
    /// Samples in those.
    pub dropped_samples: u64,
    /// Gap marks forgotten because there were too many of them.
    pub forgotten_gaps: u64,
    /// Damaged places found, at opening and while reading.
    pub damages: u64,
    /// Batches lost to damage while reading (at opening it is not known how many were there).
    pub damaged_batches: u64,
    /// Acknowledgements passed over because they would have split a cursor into too many intervals; those batches are sent again.
    pub ignored_acknowledgements: u64,
    /// Batches refused because the disk was full even after dropping the oldest segment.
    pub full_errors: u64,
    /// Other failures to write.
    pub write_errors: u64,
    /// Failed syncs; the segment was closed each time.
    pub sync_errors: u64,
    /// Failures to write a cursor or the gap marks, or to remove a segment; each is tried again.
    pub upkeep_errors: u64,
    /// Syncs done.
    pub syncs: u64,
}
