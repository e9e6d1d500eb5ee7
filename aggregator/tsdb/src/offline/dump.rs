//! All samples of a folder as they are stored: those in partitions, then those that only the log has.
//!
//! A downsampling tier holds samples, too, those of series with histograms: copies of what is in the day's own files, until these are gone. So
//! a sample of a tier counts when no finer file of its shard and time has one of its series at that time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use clock::Monotonic;
use model::{Labels, Matcher, TimeRange, TimestampMs, Value};
use rows::Row;
use storage::SegmentValues;

use super::log::{Found, LogWalk};
use super::{Damages, Offline};
use crate::admission::Admission;
use crate::catalogue::{Contents, PartitionEntry};
use crate::cohorts::Cohorts;
use crate::config::Limits;
use crate::deletes::Mask;
use crate::index;
use crate::layout::{Layout, SlotState};
use crate::merge_runs::Arrived;
use crate::partition::{Partition, PartitionError};
use crate::partitions::hitting;
use crate::querier::with_sources;
use crate::report::{Damage, DumpSummary, DumpedSample};
use crate::sequencer::shard_items;
use crate::shard::ShardItem;
use crate::tsdb::{LOG_FOLDER, OpenError};

/// Which samples are wanted.
struct Wanted<'a> {
    matcher_sets: &'a [Vec<Matcher>],
    range: TimeRange,
    visit: &'a mut dyn FnMut(DumpedSample<'_>),
    summary: DumpSummary,
    damages: Damages,
    layouts: Unpacked,
}

/// The slots of layouts met so far. Each is held, so that its address stays its own.
type Unpacked = HashMap<*const Layout, (Arc<Layout>, Vec<SlotState>)>;

impl Offline {
    /// Calls `visit` with every sample in the range of every series that any of the sets selects (no set: of all), as it is stored:
    /// repeats of a timestamp included and what deletes hide left out, by partition in order of labels, then those that only the log has.
    pub fn dump(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(DumpedSample<'_>),
    ) -> Result<DumpSummary, OpenError> {
        let contents = self.contents()?;
        let mut wanted = Wanted {
            matcher_sets,
            range,
            visit,
            summary: DumpSummary::default(),
            damages: Damages::default(),
            layouts: Unpacked::new(),
        };
        for (name, entry) in &contents.partitions {
            if !entry.times.overlaps(range) {
                continue;
            }
            let path = self.partition_path(name);
            let dumped = Partition::open(&*self.files, &path, &self.cache).and_then(|partition| {
                let deletes = hitting(entry, &contents.deletes);
                let mask = Mask::new(&partition, &deletes, entry.tier)?;
                let finer = self.finer(&contents, entry);
                wanted.partition(&partition, &mask, &finer)
            });
            if let Err(error) = dumped {
                wanted.damaged(&path, &error);
            }
        }
        self.dump_log(&contents, &mut wanted)?;
        let Wanted {
            mut summary,
            damages,
            ..
        } = wanted;
        summary.damages = damages.listed;
        let numbers = contents.numbers.into_iter();
        summary.numbers = numbers
            .map(|((agent, epoch), known)| (agent, epoch, known.numbers))
            .collect();
        Ok(summary)
    }

    /// Opens the files that a tier may hold copies of. Those that cannot be opened are told of in their own turn.
    fn finer(&self, contents: &Contents, tier: &PartitionEntry) -> Vec<Partition> {
        let of_its_time = |entry: &&PartitionEntry| {
            entry.shard == tier.shard && entry.tier < tier.tier && entry.times.overlaps(tier.times)
        };
        let files = contents.partitions.iter();
        files
            .filter(|(_, entry)| of_its_time(entry))
            .filter_map(|(name, _)| {
                Partition::open(&*self.files, &self.partition_path(name), &self.cache).ok()
            })
            .collect()
    }

    fn dump_log(&self, contents: &Contents, wanted: &mut Wanted<'_>) -> Result<(), OpenError> {
        let walk = LogWalk {
            files: &self.files,
            folder: self.folder.join(LOG_FOLDER),
            store_id: Some(contents.store_id),
        };
        let shards = u16::try_from(contents.sealed.len()).unwrap_or(u16::MAX);
        let admission = Admission::new(Limits::default(), Arc::default());
        let mut cohorts = Cohorts::new(shards, admission);
        let now = Monotonic::ORIGIN;
        walk.run(&mut |found| {
            match found {
                Found::Definition(definition) => cohorts.replay(definition, now),
                Found::Damage(damage) => wanted.damages.add(damage),
                Found::Batch {
                    source,
                    position,
                    taken,
                    batch,
                } => {
                    let key = (source.agent.clone(), source.epoch);
                    let (items, ..) =
                        shard_items(batch, (position, source.lane), taken, &mut |cohort| {
                            let cohort = cohorts.used(&key, cohort, now)?;
                            Some(Arc::clone(&cohort.layout))
                        });
                    for (shard, item) in items {
                        let sealed = contents.sealed.get(usize::from(shard));
                        if sealed.is_some_and(|sealed| position > *sealed) {
                            wanted.item(&item);
                        }
                    }
                }
                Found::Segment { .. } | Found::Torn(_) | Found::Other | Found::End(_) => {}
            }
            Ok(())
        })
    }
}

impl Wanted<'_> {
    /// Takes the samples of a file; of a tier, those that the `finer` ones do not have.
    fn partition(
        &mut self,
        partition: &Partition,
        mask: &Mask,
        finer: &[Partition],
    ) -> Result<(), PartitionError> {
        let mut labels = partition.labels_reader();
        for series in index::select_any(partition.index(), self.matcher_sets)? {
            let read = labels
                .labels(series)
                .and_then(|labels| Ok((labels, partition.read(series, self.range)?)));
            match read {
                Ok((Some(labels), runs)) => {
                    let mut runs = mask.apply(series, runs);
                    runs.retain(|run| !matches!(run.segment.values, SegmentValues::Rollup(_)));
                    let copied = match &runs[..] {
                        [] => BTreeSet::new(),
                        _ => times_in(finer, &labels, self.range),
                    };
                    for run in runs {
                        let times = run.segment.times.as_slice();
                        for (row, at) in times.iter().enumerate() {
                            if let Some(value) = run.segment.value(row)
                                && !copied.contains(at)
                            {
                                self.sample(&labels, *at, &value);
                            }
                        }
                    }
                }
                Ok((None, _)) => {}
                Err(error) => self.damaged(partition.path(), &error),
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &ShardItem) {
        match item {
            ShardItem::Row { layout, row, .. } => {
                for slot in row.presence.iter() {
                    if let Some(labels) = self.labels_of(layout, slot) {
                        self.sample(&labels, row.at, &value_of(row, slot));
                    }
                }
            }
            ShardItem::Samples {
                layout, samples, ..
            } => {
                for sample in samples.as_slice() {
                    if let Some(labels) = self.labels_of(layout, usize::from(sample.slot)) {
                        self.sample(&labels, sample.at, &sample.value);
                    }
                }
            }
            ShardItem::Exemplar { .. } | ShardItem::Metadata { .. } | ShardItem::Starts { .. } => {}
        }
    }

    fn labels_of(&mut self, layout: &Arc<Layout>, slot: usize) -> Option<Labels> {
        let (_, states) = self.layouts.entry(Arc::as_ptr(layout)).or_insert_with(|| {
            let states = layout.states_from(0).map(|(_, state)| state);
            (Arc::clone(layout), states.collect())
        });
        match states.get(slot)? {
            SlotState::Series(series) => Some(series.labels.clone()),
            SlotState::Undefined | SlotState::Refused(_) => None,
        }
    }

    fn sample(&mut self, labels: &Labels, at: TimestampMs, value: &Value) {
        let selected = self.matcher_sets.is_empty()
            || self.matcher_sets.iter().any(|set| {
                set.iter()
                    .all(|matcher| matcher.matches(labels.value_or_empty(matcher.name())))
            });
        if selected && self.range.contains(at) {
            self.summary.samples += 1;
            (self.visit)(DumpedSample { labels, at, value });
        }
    }

    fn damaged(&mut self, file: &std::path::Path, error: &PartitionError) {
        self.damages.add(Damage {
            file: file.to_owned(),
            offset: 0,
            what: with_sources(error),
        });
    }
}

/// Returns when these files have samples of a series, as far as they can be read.
fn times_in(files: &[Partition], labels: &Labels, range: TimeRange) -> BTreeSet<TimestampMs> {
    let mut times = BTreeSet::new();
    for partition in files {
        let read = runs_of(partition, labels, range);
        for run in read.unwrap_or_default() {
            let rows = run.segment.times.as_slice().iter().enumerate();
            let with_sample = rows.filter(|(row, _)| run.segment.value(*row).is_some());
            times.extend(with_sample.map(|(_, at)| *at));
        }
    }
    times
}

/// Returns what a file has of the series with exactly these labels.
fn runs_of(
    partition: &Partition,
    labels: &Labels,
    range: TimeRange,
) -> Result<Vec<Arrived>, PartitionError> {
    let pairs = labels.iter();
    let matchers: Vec<Matcher> = pairs
        .map(|(name, value)| Matcher::equal(name, value))
        .collect();
    for series in index::select(partition.index(), &matchers)? {
        if partition.labels(series)?.as_ref() == Some(labels) {
            return partition.read(series, range);
        }
    }
    Ok(Vec::new())
}

fn value_of(row: &Row, slot: usize) -> Value {
    let histogram = row
        .histograms
        .iter()
        .find(|(of, _)| usize::from(*of) == slot);
    histogram.map_or_else(
        || Value::Float(row.floats.get(slot).copied().unwrap_or_default()),
        |(_, histogram)| Value::Histogram(Arc::clone(histogram)),
    )
}
