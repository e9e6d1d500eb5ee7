//! What is put into the spool and what is read from it.

use model::TimestampMs;
use rows::{BatchNumber, Epoch};

/// The most bytes that one record may hold.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// The number of a segment: rises from segment to segment over all runs of the agent, never used twice in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// A batch on its way into the spool.
#[derive(Clone, Copy, Debug)]
pub struct NewBatch<'a> {
    /// Its number within the epoch of this run; above all numbers given before. Numbers left out will never come.
    pub number: BatchNumber,
    /// When it was made, by the wall clock.
    pub created: TimestampMs,
    /// How many rows it holds, for the counters.
    pub rows: u32,
    /// How many samples it holds, for the counters.
    pub samples: u32,
    /// The batch as it goes over the wire; the spool does not look into it.
    pub body: &'a [u8],
}

/// One record read from the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A definition; the batches after it in the same segment may lean on it.
    Definition {
        /// The epoch of the run that wrote it.
        epoch: Epoch,
        /// Where it lies: definitions of a segment hold until that segment ends.
        segment: SegmentId,
        /// What the uplink gave.
        body: Vec<u8>,
    },
    /// A batch.
    Batch(StoredBatch),
}

/// A batch read from the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The epoch of the run that made it.
    pub epoch: Epoch,
    /// Its number within the epoch.
    pub number: BatchNumber,
    /// The segment in which it lies. The first batch of a segment has no base in an earlier one.
    pub segment: SegmentId,
    /// When it was made, by the wall clock of then.
    pub created: TimestampMs,
    /// How many rows it holds.
    pub rows: u32,
    /// How many samples it holds.
    pub samples: u32,
    /// The bytes as they were given.
    pub body: Vec<u8>,
}
