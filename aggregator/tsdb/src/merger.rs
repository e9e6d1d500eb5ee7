//! The merge thread: looks for partitions that are better one, writes that one, and has the keeper commit it.
//!
//! A merge is like a seal: the new files are written and synced; one catalogue transaction, the keeper's, names them and no longer the old
//! ones; the view changes; and when the last query that reads the old ones has ended, they are removed. A merge that fails is given up and
//! something is tried again after a pause that grows: nothing waits for it, neither rows nor seals.
//!
//! A file that cannot be read is no reason to leave others as they are. What is readable of a damaged one takes its place, and it is set
//! aside ([`salvage`]); one that the disk does not give is left alone for a while, and its day with it.
//!
//! The thread has a partition cache of its own, so that a merge does not push out what queries read.

mod plan;
mod salvage;
#[cfg(test)]
mod tests;
mod tiers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use files::SharedFileSystem;
use model::{TimeRange, TimestampMs};

use self::plan::{Candidate, Moment, Plan, plan};
use crate::cache::Cache;
use crate::catalogue::{Level, PartitionEntry, Tier};
use crate::config::MergeConfig;
use crate::counters::Counters;
use crate::deletes::Mask;
use crate::keeper::{KeeperRequest, Replaced};
use crate::merge::{Input, Merge, MergeError, Merged};
use crate::page::ROWS_MAX;
use crate::partition::{Partition, PartitionError, PartitionKey};
use crate::partitions::{OpenPartitions, PartitionHandle, remove};
use crate::querier::with_sources;
use crate::retention::Retention;
use crate::shard::Shard;
use crate::tier::{day_of, untiered};

/// Requests that may wait for the thread.
pub(crate) const REQUESTS: usize = 4;
/// Rows of a page of a span's file, as seals write them.
const SPAN_ROWS: usize = 480;
/// What a merge keeps decoded, of all its inputs together.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Beside the bytes of its inputs a merge wants so many bytes free: for rows that come meanwhile.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// A file that cannot be read is left alone for so long.
const BARRED_FOR: Duration = Duration::from_mins(10);

/// What the thread is asked for.
#[derive(Debug)]
pub(crate) enum MergeRequest {
    /// Do at once whatever is due; with `clean`, carry out all deletes too. Says whether that succeeded.
    Now {
        clean: bool,
        answer: SyncSender<bool>,
    },
}

/// The merge thread's state.
pub(crate) struct Merger {
    pub(crate) files: SharedFileSystem,
    pub(crate) clock: SharedClock,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) partitions: Arc<OpenPartitions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) config: MergeConfig,
    pub(crate) retry_after: Duration,
    pub(crate) keeper: SyncSender<KeeperRequest>,
    pub(crate) closing: Arc<AtomicBool>,
    /// The number in the name of the next file.
    pub(crate) serial: AtomicU64,
    /// When each partition was first seen.
    pub(crate) seen: BTreeMap<String, TimestampMs>,
    /// Partitions that cannot be read, and until when they are left alone.
    pub(crate) barred: BTreeMap<String, Monotonic>,
    /// Partitions without anything that a tier could sum up.
    pub(crate) blank: BTreeSet<String>,
}

/// Why nothing was merged.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(
        "a merge needs {needed} bytes of free space and there are {free}; free some on the volume of the data folder"
    )]
    Space { needed: u64, free: u64 },
    #[error("the keeper cannot commit it")]
    Commit,
    /// All else is done.
    #[error("{0} partitions cannot be read, see above; they are tried again in some minutes")]
    Unreadable(usize),
    /// All else is done.
    #[error(
        "deletes are not carried out in {0} partitions, of days with files that cannot be read; check the disk, and repair the data folder with `promontory tsdb repair`"
    )]
    NotClean(usize),
}

impl Merger {
    /// Works until nobody can ask any more.
    pub(crate) fn run(mut self, requests: &Receiver<MergeRequest>) {
        let mut failures = 0u32;
        let mut resume: Option<Monotonic> = None;
        loop {
            let (clean, answer) = match requests.recv_timeout(self.config.every) {
                Ok(MergeRequest::Now { clean, answer }) => (clean, Some(answer)),
                Err(RecvTimeoutError::Timeout) => (false, None),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.clock.monotonic();
            let pausing = resume.is_some_and(|resume| now < resume);
            if pausing && answer.is_none() {
                continue;
            }
            let merged = self.merge_all(clean);
            resume = None;
            match &merged {
                Ok(()) => failures = 0,
                Err(StepError::Merge(MergeError::Closing)) => {}
                Err(error @ (StepError::Unreadable(_) | StepError::NotClean(_))) => {
                    self.counters.merge_failures.add(1);
                    tracing::warn!(%error, "not all partitions are merged");
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let pause = self.retry_after.saturating_mul(1 << failures.min(12));
                    resume = Some(now + pause.min(PAUSE_MAX));
                    self.counters.merge_failures.add(1);
                    tracing::warn!(%error, "partitions are not merged, tried again later");
                }
            }
            if let Some(answer) = answer {
                answer.send(merged.is_ok()).unwrap_or_default();
            }
        }
    }

    /// Merges until nothing is left to merge.
    fn merge_all(&mut self, clean: bool) -> Result<(), StepError> {
        let now = self.clock.monotonic();
        self.barred.retain(|_, until| now < *until);
        let barred = self.barred.len();
        let deletes = |merger: &Self| {
            let handles = merger.partitions();
            let hit = handles.iter().filter_map(|handle| handle.deletes().first());
            hit.map(|(position, _)| *position).collect::<Vec<_>>()
        };
        let last = deletes(self).into_iter().max().filter(|_| clean);
        for shard in self.shards.clone() {
            while self.step(&shard, clean)? {
                heap::give_back();
            }
        }
        // Those that were there at the beginning: others may come at any time.
        let left = deletes(self).into_iter().filter(|one| Some(*one) <= last);
        match (self.barred.len().saturating_sub(barred), left.count()) {
            (0, 0) => Ok(()),
            (unreadable, 0) => Err(StepError::Unreadable(unreadable)),
            (_, hit) => Err(StepError::NotClean(hit)),
        }
    }

    fn partitions(&self) -> Vec<Arc<PartitionHandle>> {
        let views = self.shards.iter().map(|shard| shard.view().0);
        views
            .flat_map(|view| view.partitions.iter().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Does one merge of a shard, if any is due.
    fn step(&mut self, shard: &Shard, clean: bool) -> Result<bool, StepError> {
        let (view, _) = shard.view();
        let now = TimestampMs::from(self.clock.wall());
        self.note(shard.number, &view.partitions, now);
        let files = view.partitions.iter();
        let untiered = untiered(
            files.map(|handle| (&handle.name, &handle.entry)),
            |tier, day| self.retention.keeps_tier(tier, day, now),
        );
        // Tiers are made of files in which deletes are carried out.
        let rewrite = |entry: &PartitionEntry| {
            let day = (shard.number, day_of(entry));
            clean || entry.level == Level::Day && untiered.contains(&day)
        };
        let candidates: Vec<Candidate<'_>> = view
            .partitions
            .iter()
            .map(|handle| Candidate {
                name: &handle.name,
                entry: &handle.entry,
                seen: self.seen.get(&handle.name).copied().unwrap_or(now),
                rewrite: handle.is_hit() && rewrite(&handle.entry),
                barred: self.barred.contains_key(&handle.name),
            })
            .collect();
        let frozen = view.frozen.iter().map(|frozen| &frozen.head);
        let heads = frozen.chain([&view.active]);
        let moment = Moment {
            now,
            head: heads.filter_map(|head| Some(head.times()?.start)).min(),
            slack_ms: i64::try_from(self.config.slack.as_millis()).unwrap_or(i64::MAX),
            split: !self.retention.classes.is_empty(),
        };
        let Some(plan) = plan(&candidates, moment) else {
            let partitions = &view.partitions;
            return Ok(self.tier_step(shard.number, partitions, clean)?
                || clean && self.clean_tier_step(shard.number, partitions)?);
        };
        let named = |name: &String| view.partitions.iter().find(|handle| handle.name == *name);
        let inputs: Vec<_> = plan.inputs.iter().filter_map(named).cloned().collect();
        let began = self.clock.monotonic();
        let merged = match self.write(shard.number, &plan, &inputs) {
            Ok(merged) => merged,
            Err(error) => return self.give_up(&inputs, error),
        };
        let took = self.clock.monotonic().saturating_since(began);
        let entries: Vec<_> = merged.iter().map(|(_, entry)| entry.clone()).collect();
        if self.replace(&inputs, merged)? {
            self.count(&plan, &inputs, &entries, took);
        }
        Ok(true)
    }

    /// Remembers when partitions were first seen, and forgets those that are gone.
    fn note(&mut self, shard: u16, partitions: &[Arc<PartitionHandle>], now: TimestampMs) {
        let prefix = format!("{shard:05}-");
        let names: BTreeSet<&String> = partitions.iter().map(|handle| &handle.name).collect();
        let stays = |name: &String| !name.starts_with(&prefix) || names.contains(name);
        self.seen.retain(|name, _| stays(name));
        self.barred.retain(|name, _| stays(name));
        self.blank.retain(|name| stays(name));
        for name in names {
            self.seen.entry(name.clone()).or_insert(now);
        }
    }

    /// Ends the attempt to make something of these files. When one of them is why, something is done about that one, so that the rest can
    /// go on; any other error is returned.
    fn give_up(
        &mut self,
        inputs: &[Arc<PartitionHandle>],
        error: StepError,
    ) -> Result<bool, StepError> {
        let StepError::Merge(MergeError::Input { input, source }) = &error else {
            return Err(error);
        };
        let Some(handle) = inputs.iter().find(|handle| handle.path() == *input) else {
            return Err(error);
        };
        if source.is_damage() {
            self.counters.partition_damaged(input, source);
        }
        if source.is_damage() && handle.entry.tier == Tier::Raw {
            match self.salvage(handle) {
                Err(StepError::Merge(MergeError::Input { source, .. })) => {
                    self.bar(handle, &source)
                }
                salvaged => salvaged?,
            }
        } else {
            self.bar(handle, source);
        }
        Ok(true)
    }

    fn bar(&mut self, handle: &PartitionHandle, error: &PartitionError) {
        let (file, what) = (handle.path(), with_sources(error));
        tracing::warn!(file = %file.display(), what, "a partition cannot be read, and is not merged for some minutes");
        let until = self.clock.monotonic() + BARRED_FOR;
        self.barred.insert(handle.name.clone(), until);
    }

    /// Returns a name for a new file that none had before.
    fn new_name(&self, shard: u16, span: TimeRange, until: u64, suffix: &str) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let start = span.start.0;
        format!("{shard:05}-{start}-{until:016}-{serial}{suffix}.redb")
    }

    /// Returns an error unless a file can be written beside these that is no larger.
    fn check_space(&self, handles: &[Arc<PartitionHandle>]) -> Result<(), StepError> {
        let needed: u64 = handles.iter().map(|handle| handle.entry.bytes).sum();
        let needed = needed.saturating_add(SPARE_BYTES);
        // A volume that does not tell is tried.
        match self.files.space(self.partitions.folder()) {
            Ok(space) if space.free_bytes < needed => {
                let free = space.free_bytes;
                Err(StepError::Space { needed, free })
            }
            _ => Ok(()),
        }
    }

    /// Opens files to be merged, with what deletes hide in them.
    fn open(&self, handles: &[Arc<PartitionHandle>]) -> Result<Vec<Input>, MergeError> {
        let cache = Arc::new(Cache::new(CACHE_BYTES));
        let open = |handle: &Arc<PartitionHandle>| {
            let path = handle.path();
            let opened = Partition::open_counted(&*self.files, &path, &cache, &self.counters);
            let opened = opened.and_then(|partition| {
                let mask = Mask::new(&partition, handle.deletes(), handle.entry.tier)?;
                let partition = Arc::new(partition);
                Ok(Input { partition, mask })
            });
            opened.map_err(|source| MergeError::Input {
                input: path,
                source,
            })
        };
        handles.iter().map(open).collect()
    }

    fn write(
        &self,
        shard: u16,
        plan: &Plan,
        handles: &[Arc<PartitionHandle>],
    ) -> Result<Vec<Merged>, StepError> {
        self.check_space(handles)?;
        // Deletes that hit none of the inputs have nothing to carry out in what is made of them.
        let deleted = |handle: &Arc<PartitionHandle>| {
            let last = handle.deletes().last().map_or(0, |(position, _)| *position);
            last.max(handle.entry.deleted)
        };
        let deleted = handles.iter().map(deleted).max();
        let until = handles.iter().map(|handle| handle.entry.until).max();
        let (deleted, until) = (deleted.unwrap_or(0), until.unwrap_or(0));
        let inputs = self.open(handles)?;
        let name = || self.new_name(shard, plan.span, until, "");
        let merge = Merge {
            files: &*self.files,
            folder: self.partitions.folder().to_owned(),
            key: PartitionKey {
                shard,
                span: plan.span,
            },
            level: plan.level,
            until,
            deleted,
            rows_max: match plan.level {
                Level::Day => self.config.day_rows.clamp(1, ROWS_MAX),
                Level::Sealed | Level::Span => SPAN_ROWS,
            },
            classes: &self.retention.classes,
            closing: &self.closing,
            name: &name,
        };
        Ok(merge.run(&inputs)?)
    }

    /// Has the keeper put new files in the place of old ones, with all that was in them; `false`: it is not to be, and the new ones are
    /// gone. While the keeper cannot tell whether that happened the files stay.
    fn replace(&self, old: &[Arc<PartitionHandle>], new: Vec<Merged>) -> Result<bool, StepError> {
        self.replace_with(old, new, false)
    }

    /// The same; `lossy`: not with all that was in them.
    fn replace_with(
        &self,
        old: &[Arc<PartitionHandle>],
        new: Vec<Merged>,
        lossy: bool,
    ) -> Result<bool, StepError> {
        let (answer, answered) = sync_channel(1);
        let request = KeeperRequest::Replace {
            old: old.iter().map(|handle| handle.as_read()).collect(),
            new: new.clone(),
            lossy,
            answer,
        };
        if self.keeper.send(request).is_err() {
            return Err(MergeError::Closing.into());
        }
        match answered.recv() {
            Ok(Replaced::Done) => Ok(true),
            Ok(Replaced::Gone) => {
                // Retention took an input meanwhile, or another delete hits it.
                for (name, _) in new {
                    remove(&*self.files, &self.partitions.folder().join(name));
                }
                Ok(false)
            }
            Ok(Replaced::Failed) => Err(StepError::Commit),
            Err(_) => Err(MergeError::Closing.into()),
        }
    }

    fn count(
        &self,
        plan: &Plan,
        inputs: &[Arc<PartitionHandle>],
        merged: &[PartitionEntry],
        took: Duration,
    ) {
        let read: u64 = inputs.iter().map(|handle| handle.entry.bytes).sum();
        let written: u64 = merged.iter().map(|entry| entry.bytes).sum();
        let samples: u64 = merged.iter().map(|entry| entry.samples).sum();
        self.counters.merges.add(1);
        self.counters.merged_files.add(inputs.len() as u64);
        self.counters.merged_bytes_read.add(read);
        self.counters.merged_bytes_written.add(written);
        self.counters.merged_samples.add(samples);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counters.merge_nanos.add(nanos);
        tracing::info!(files = inputs.len(), read, written, level = ?plan.level, "merged");
    }
}
