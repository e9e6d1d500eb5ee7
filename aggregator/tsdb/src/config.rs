//! What a store is opened with.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use model::Matcher;
use rows::AgentId;
use storage::ProcessMemory;

use crate::progress::ReplayProgress;

const MIB: u64 = 1024 * 1024;

/// How a store is opened; [`TsdbConfig::at`] has every default.
#[derive(Clone, Debug)]
pub struct TsdbConfig {
    /// The data folder; made when it does not exist.
    pub folder: PathBuf,
    /// Shards of a *new* data folder (an existing one keeps its number); default: available parallelism.
    pub shards: Option<NonZeroU16>,
    /// How long samples are kept, by their timestamps; default 15 d. Older ones are refused when they come.
    pub retention: Duration,
    /// The bytes that partitions and log together may take before the oldest partitions go; default: no limit. What is not sealed yet, and
    /// what a merge writes beside its inputs, may take more for a while.
    pub retention_bytes: Option<u64>,
    /// Series that are kept for another time than `retention`: the first class that takes a series has it. Default: none.
    pub retention_classes: Vec<RetentionClass>,
    /// Downsampling tiers; default: none.
    pub tiers: TierRetention,
    /// When small partitions become larger ones.
    pub merge: MergeConfig,
    /// How far ahead of this machine's clock a sample may be; default 10 min.
    pub ahead_max: Duration,
    /// What agents may define.
    pub limits: Limits,
    /// The memory of the process that the store is part of; default: not measured, so not bounded.
    pub memory: Option<ProcessMemory>,
    /// Which rows count as late for [`Tsdb::take_late`](crate::Tsdb::take_late).
    pub late: LateConfig,
    /// Told how far opening has come.
    pub progress: ReplayProgress,
    /// How the log is written.
    pub log: LogConfig,
    /// When a shard's head becomes partitions.
    pub seal: SealConfig,
    /// Partition files held open at once; the least recently read is closed first. Default 256.
    pub open_partitions_max: usize,
    /// What all partitions together keep decoded for the next query; default 64 MiB.
    pub cache_bytes: usize,
}

/// Which rows are late.
#[derive(Clone, Debug)]
pub struct LateConfig {
    /// Those that come so long after their time on the lane for what is sampled now; default 2 s: more than rows take on their way, and not
    /// much more. All on the lane for backlogs are.
    pub after: Duration,
    /// Agents whose rows never are: writers inside the process that are late on purpose.
    pub except: Vec<AgentId>,
}

impl Default for LateConfig {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(2),
            except: Vec::new(),
        }
    }
}

/// Series that are kept for a time of their own.
#[derive(Clone, Debug)]
pub struct RetentionClass {
    /// Its name, 1 to 64 of `a-z`, `A-Z`, `0-9`, `_`, `-`; not `default`, which is what no class takes.
    pub name: String,
    /// A series satisfies all of them.
    pub matchers: Vec<Matcher>,
    /// How long its samples are kept, by their timestamps. Split at merges: until its span of two hours is merged, a sample may stay as
    /// long as the longest retention.
    pub retention: Duration,
}

/// How long summaries of samples are kept, by the times of the samples; `None`: the tier is not made, and what there is of it goes with the
/// samples. They are made of whole days when these are merged, for which samples wait, a day at most beyond their time. So a tier is worth
/// its space only when it is kept for much longer than samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierRetention {
    /// One summary per series and 5 minutes.
    pub five_minutes: Option<Duration>,
    /// One summary per series and hour.
    pub one_hour: Option<Duration>,
}

/// When small partitions become larger ones.
#[derive(Clone, Copy, Debug)]
pub struct MergeConfig {
    /// How often is looked for what can be merged; default 10 s.
    pub every: Duration,
    /// How long after the end of a span of two hours, or of a day, late samples are waited for before it is merged; default 10 min. A head
    /// that still has samples of it is waited for too, up to 4 h.
    pub slack: Duration,
    /// Rows of one series in a page of a daily partition; default 2,880: half a day at 15 s. More take less space (measured: 0.61 B/sample
    /// at 1,440, 0.58 at 2,880, 0.56 at 5,760), and whoever reads an hour decodes a whole page.
    pub day_rows: usize,
}

/// Limits on series, checked where a slot is defined, each slot singly, never per sample and never in replay.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Active series of one agent; default 50,000.
    pub series_per_agent: u64,
    /// Active series of one metric name over all agents; default: no limit.
    pub series_per_metric: Option<u64>,
    /// Active series of one tenant; default: no limit.
    pub series_per_tenant: Option<u64>,
    /// The label whose value is the tenant; default `tenant`.
    pub tenant_label: String,
    /// New series of one agent in a minute; default: no limit.
    pub new_series_per_minute: Option<u64>,
    /// Agents with a bound of their own on active series (`None`: no bound), for whom the limits of one agent above do not hold: parts of the
    /// aggregator that bring the series of many. Default: none.
    pub exceptions: BTreeMap<AgentId, Option<u64>>,
    /// Bytes that all heads together may hold; above half of it shards seal early, at it no new series is taken. Default 1 GiB.
    pub head_bytes_max: u64,
}

/// When a batch counts as durable, and is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced to the disk: no power cut loses it.
    #[default]
    Synced,
    /// When the operating system has it: the death of the process loses nothing, a power cut or a crash of the machine what had not
    /// reached the disk yet, some 30 s on Linux. For disks whose syncs take too long for the load.
    Written,
}

/// How the log is written.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// When a batch counts as durable; default [`Durability::Synced`].
    pub durability: Durability,
    /// The size at which a segment is closed; default 64 MiB. One record may be larger.
    pub segment_bytes: u64,
    /// Received bytes that may wait for their sync before intake says busy; default 8 MiB.
    pub unsynced_bytes_max: usize,
    /// The time from the start of one write and sync to that of the next, on average at least; default 25 ms. What comes meanwhile is one
    /// group, unless it fills half of what may wait: a thousand agents that each send once a second would otherwise cost a sync each. What
    /// came in a request waits a third of it, for its sender sends nothing meanwhile, and as long again at most for others that are being
    /// decoded. After a pause in what comes, nobody waits that is alone, nor who comes next.
    pub spacing: Duration,
    /// The pause after a failed write or sync, of a seal too, before the next attempt; default 1 s.
    pub retry_after: Duration,
}

/// When a shard's head becomes partitions: at whichever of these comes first. While the log is replayed, only at twice the bytes.
#[derive(Clone, Copy, Debug)]
pub struct SealConfig {
    /// Bytes of a shard's head, a third of them of closed rows at least; default 32 MiB. While one is sealed the next one fills: with 64 MiB,
    /// 100,000 series at 1 s took 311 MB. Shards take turns, so that two hold 48 MiB at most and what comes while one is sealed, as long as a
    /// third of each is closed rows. Heads are sealed somewhat smaller for that, the more so the more of a head its series take. Merges make
    /// up for partitions that come out smaller.
    pub head_bytes: u64,
    /// Bytes that a shard's unsealed rows take in the log; default 256 MiB.
    pub log_bytes: u64,
    /// Samples of a head that came one by one, once they are 128 for each of its series; default 6 Mi. To replay one takes some
    /// 70 ns of CPU, four times as much as one of a row: these take half a second of one of two processors. Where they compress well, neither
    /// their bytes in the head nor those in the log say how many they are.
    pub loose_samples: u64,
    /// Age of a head, from its first row; default 2 h.
    pub age: Duration,
}

/// A head with fewer samples for each series would become too many small pages.
pub(crate) const LOOSE_PER_SERIES: u64 = 128;

impl TsdbConfig {
    /// Returns the defaults for this data folder.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            shards: None,
            retention: Duration::from_hours(15 * 24),
            retention_bytes: None,
            retention_classes: Vec::new(),
            tiers: TierRetention::default(),
            merge: MergeConfig::default(),
            ahead_max: Duration::from_mins(10),
            limits: Limits::default(),
            memory: None,
            late: LateConfig::default(),
            progress: ReplayProgress::default(),
            log: LogConfig::default(),
            seal: SealConfig::default(),
            open_partitions_max: 256,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series_per_agent: 50_000,
            series_per_metric: None,
            series_per_tenant: None,
            tenant_label: "tenant".to_owned(),
            new_series_per_minute: None,
            exceptions: BTreeMap::new(),
            head_bytes_max: 1024 * MIB,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            segment_bytes: 64 * MIB,
            unsynced_bytes_max: 8 * 1024 * 1024,
            spacing: Duration::from_millis(25),
            retry_after: Duration::from_secs(1),
        }
    }
}

impl Default for SealConfig {
    fn default() -> Self {
        Self {
            head_bytes: 32 * MIB,
            log_bytes: 256 * MIB,
            loose_samples: 6 * 1024 * 1024,
            age: Duration::from_hours(2),
        }
    }
}

impl Default for MergeConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            slack: Duration::from_mins(10),
            day_rows: 2_880,
        }
    }
}
