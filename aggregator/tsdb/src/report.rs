//! What a store says of itself: what opening found, what it counts, what it holds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use model::{Labels, TimestampMs, Value};
use rows::{AgentId, Epoch, NumberSet, StoreId};
use storage::RefusalCounts;

/// Damages listed singly; more are only counted.
pub(crate) const DAMAGES_LISTED_MAX: usize = 100;

/// A place where stored bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The byte in it; 0 when the file as a whole cannot be read.
    pub offset: u64,
    /// What is wrong and what it costs.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {}",
            self.file.display(),
            self.offset,
            self.what
        )
    }
}

/// What opening a data folder found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the folder was empty: a new store was made.
    pub created: bool,
    /// Log segments read.
    pub segments: u64,
    /// Batches found in them that no partition held yet.
    pub batches: u64,
    /// Samples of those batches.
    pub samples: u64,
    /// Files removed because the catalogue does not name them: a seal that did not happen.
    pub files_removed: u64,
    /// Bytes dropped from the log's end: written, but never synced nor acknowledged.
    pub torn_bytes: u64,
    /// The first hundred damages.
    pub damages: Vec<Damage>,
    /// All damages, listed or not.
    pub damage_count: u64,
    /// How long it took, by the monotonic clock.
    pub took: Duration,
}

impl RecoveryReport {
    pub(crate) fn damaged(&mut self, file: PathBuf, offset: u64, what: impl Into<String>) {
        self.damage_count += 1;
        let damage = Damage {
            file,
            offset,
            what: what.into(),
        };
        tracing::error!(%damage, "stored data is damaged");
        if self.damages.len() < DAMAGES_LISTED_MAX {
            self.damages.push(damage);
        }
    }
}

/// A store's counters and gauges at one moment.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The identity of the data folder.
    pub store_id: StoreId,
    /// Shards.
    pub shards: u16,
    /// Batches stored since the start.
    pub batches_stored: u64,
    /// Batches that came again since the start.
    pub batches_duplicate: u64,
    /// Batches answered "failed" since the start.
    pub batches_failed: u64,
    /// Samples stored since the start.
    pub samples_stored: u64,
    /// Samples refused since the start, by reason.
    pub samples_refused: RefusalCounts,
    /// Bytes that wait for their sync.
    pub unsynced_bytes: u64,
    /// Segments of the log, the open one included.
    pub log_segments: u64,
    /// Bytes that their files take.
    pub log_bytes: u64,
    /// Bytes written to the log since the start.
    pub log_bytes_written: u64,
    /// Syncs of the log since the start.
    pub log_syncs: u64,
    /// Writes or syncs of the log that failed since the start.
    pub log_failures: u64,
    /// Why the log cannot be written at the moment; `None`: it can.
    pub log_failing: Option<String>,
    /// How far limits on series are used.
    pub limits_used: LimitsUsed,
    /// Bytes that the process uses, and may use; `None`: it is not measured.
    pub memory: Option<(u64, u64)>,
    /// Series in the heads.
    pub head_series: u64,
    /// Bytes in the heads, frozen ones included.
    pub head_bytes: u64,
    /// Seals since the start.
    pub seals: u64,
    /// Seals that failed and will be tried again, since the start.
    pub seal_failures: u64,
    /// Partition files.
    pub partitions: u64,
    /// Their bytes.
    pub partition_bytes: u64,
    /// Partition files removed by retention since the start.
    pub partitions_expired: u64,
    /// Partition files that are downsampling tiers, and their bytes.
    pub tiers: (u64, u64),
    /// Tiers of days made since the start, or made anew.
    pub tiers_made: u64,
    /// Merges of partitions since the start.
    pub merges: u64,
    /// Merges that failed and will be tried again, since the start.
    pub merge_failures: u64,
    /// The time that merges took since the start.
    pub merge_time: Duration,
    /// Partition files that were merged into others since the start.
    pub merged_files: u64,
    /// Samples written by merges since the start.
    pub merged_samples: u64,
    /// Bytes of the files that were merged, and of those that came of it, since the start.
    pub merged_bytes: (u64, u64),
    /// Deletes since the start.
    pub deletes: u64,
    /// Partition files that hold samples which deletes hide.
    pub partitions_hit: u64,
    /// Damages met since the start, in recovery and in queries.
    pub damages: u64,
    /// The first of the latest damages, at most a hundred.
    pub damages_listed: Vec<Damage>,
    /// The time of the oldest and the newest stored sample, as far as known.
    pub time_range: Option<(TimestampMs, TimestampMs)>,
}

/// What all partition files together hold and take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSpace {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that are labels, postings and what finds them; the rest is samples and their directories.
    pub index_bytes: u64,
    /// Series, each counted in every file that has it.
    pub series: u64,
    /// Samples.
    pub samples: u64,
}

/// How far limits on series are used: of each limit, by whoever has most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsUsed {
    /// Active series of the agent with most of them, of those that have no bound of their own.
    pub series_per_agent: u64,
    /// Active series of each agent that has a bound of its own, or none.
    pub series_by_exception: Vec<(AgentId, u64)>,
    /// Active series of the metric name with most of them.
    pub series_per_metric: u64,
    /// Active series of the tenant with most of them.
    pub series_per_tenant: u64,
    /// New series of one agent in its present minute, at most, of those that have no bound of their own.
    pub new_series_per_minute: u64,
    /// Series refused since the start, each as often as it was defined, by reason.
    pub series_refused: RefusalCounts,
}

/// Who has most active series, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesOwners {
    /// By agent; a series that two agents have counts for both.
    pub agents: Vec<(String, u64)>,
    /// By metric name, over all agents.
    pub metrics: Vec<(String, u64)>,
    /// By tenant.
    pub tenants: Vec<(String, u64)>,
}

/// A sample as it is stored, before queries merge equal timestamps.
#[derive(Clone, Copy, Debug)]
pub struct DumpedSample<'a> {
    /// The series.
    pub labels: &'a Labels,
    /// When.
    pub at: TimestampMs,
    /// What.
    pub value: &'a Value,
}

/// What a dump found beside samples.
#[derive(Clone, Debug, Default)]
pub struct DumpSummary {
    /// The durable numbers of every epoch known, sorted by agent and epoch.
    pub numbers: Vec<(AgentId, Epoch, NumberSet)>,
    /// Samples visited.
    pub samples: u64,
    /// Damages that hid samples from the dump.
    pub damages: Vec<Damage>,
}
