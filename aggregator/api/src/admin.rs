//! What the API asks of the store beyond queries: what it holds, how far its recovery is, deletes and snapshots.

use std::fmt;

use model::{Matcher, TimeRange};

/// What the API may ask of the store itself. Every call but [`replay`](Self::replay) may take a while and is made on a thread.
pub trait Admin: Send + Sync {
    /// Returns how far the replay of the log is; asked also before the store is ready.
    fn replay(&self) -> Replay;

    /// Returns what the heads hold, with the `limit` largest of each list.
    fn head(&self, limit: usize) -> Result<HeadReport, AdminError>;

    /// Returns the partition files, the oldest first.
    fn partitions(&self) -> Result<Vec<PartitionReport>, AdminError>;

    /// Hides all samples in the range of all series that any of the sets selects, for good, whatever was stored before.
    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), AdminError>;

    /// Rewrites the files that still hold deleted samples.
    fn clean_deletes(&self) -> Result<(), AdminError>;

    /// Makes a snapshot, without what only the heads hold when `skip_head` says so, and returns its name.
    fn snapshot(&self, skip_head: bool) -> Result<String, AdminError>;
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// Whoever asks asked for something that cannot be.
    Invalid(String),
    /// It is not ready, or cannot do such a thing at all.
    Unavailable(String),
    /// It failed.
    Failed(String),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) | Self::Unavailable(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for AdminError {}

/// How far the replay of the log is, in segments of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The number of the first segment.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// The number up to which they are read.
    pub current: u64,
    /// `waiting`, `in progress` or `done`, as Prometheus has it.
    pub state: &'static str,
}

/// Names and counts, the largest first.
pub type Counts = Vec<(String, u64)>;

/// What the heads hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadReport {
    /// Series.
    pub series: u64,
    /// Distinct pairs of label name and value.
    pub label_pairs: u64,
    /// Columns of values.
    pub columns: u64,
    /// The times of the oldest and the newest sample.
    pub times: Option<TimeRange>,
    /// Series by metric name.
    pub series_by_metric: Counts,
    /// Values by label name.
    pub values_by_label: Counts,
    /// Memory in bytes by label name.
    pub bytes_by_label: Counts,
    /// Series by `name=value`.
    pub series_by_pair: Counts,
    /// Active series by who brings them: agents.
    pub active_by_agent: Counts,
    /// Active series by metric name over all agents.
    pub active_by_metric: Counts,
    /// Active series by tenant.
    pub active_by_tenant: Counts,
}

/// A partition file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// Its name.
    pub file: String,
    /// The shard whose samples it has.
    pub shard: u16,
    /// The times of its oldest and its newest sample.
    pub times: TimeRange,
    /// The size of the file.
    pub bytes: u64,
    /// Its samples.
    pub samples: u64,
    /// Its series; `None` when the file cannot be read.
    pub series: Option<u64>,
    /// How far it is merged: 1 as sealed.
    pub level: u8,
    /// How coarse its samples are: `raw`, or the distance between two.
    pub tier: String,
    /// Its retention class; empty: that of the store.
    pub class: String,
}
