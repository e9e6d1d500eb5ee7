//! Reading: a fixed view over the heads and partitions of all shards.

mod gathered;
mod selection;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use model::{Exemplar, Labels, Matcher, Metadata, TimeRange};
use roaring::RoaringBitmap;
use storage::{
    Budget, ExemplarSeries, FamilyMetadata, Names, Querier, QueryError, RollupColumn, Segment,
    SegmentValues, Select, Selection, SeriesData, Unlimited, WantedLabels,
};

use self::selection::Selected;
use crate::catalogue::Tier;
use crate::counters::Counters;
use crate::deletes::Mask;
use crate::head::{Head, ReadCache};
use crate::index::{self, HeadIndexView, IndexRead, SeriesId, Watched};
use crate::merge_runs::Arrived;
use crate::partition::{Partition, PartitionError};
use crate::partitions::PartitionHandle;
use crate::report::{Damage, DumpSummary, DumpedSample};
use crate::shard::Shard;
use crate::tier::{Source, choose};

/// Series between two looks at whether the query may go on.
const CHECK_EVERY: usize = 256;
/// What a sample takes beside its value: its place in a time column or a presence.
const SAMPLE_BYTES: u64 = 16;
const SERIES_BYTES: u64 = 256;
/// An exemplar this far from any sample of its partition may not be found.
const EXEMPLAR_DISTANCE: Duration = Duration::from_hours(24);

/// A store as it was at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    heads: Vec<HeadPart>,
    partitions: Vec<Arc<PartitionHandle>>,
    counters: Arc<Counters>,
}

/// A head, up to a position.
#[derive(Debug)]
struct HeadPart {
    shard: u16,
    head: Arc<Head>,
    index: HeadIndexView,
    until: u64,
}

impl HeadPart {
    fn new(shard: u16, head: &Arc<Head>, until: u64) -> Self {
        Self {
            shard,
            index: head.index.view(),
            head: Arc::clone(head),
            until,
        }
    }

    fn labels(&self, id: SeriesId) -> Option<Labels> {
        match self.index.labels(id) {
            Ok(labels) => labels,
            Err(never) => match never {},
        }
    }

    fn selected(
        &self,
        matchers: &[Matcher],
        budget: &dyn Budget,
    ) -> Result<RoaringBitmap, QueryError> {
        let found = match index::select(&Watched::new(&self.index, budget), matchers) {
            Ok(found) => found,
            Err(never) => match never {},
        };
        budget.check()?;
        Ok(found)
    }

    fn matching(
        &self,
        matcher_sets: &[Vec<Matcher>],
        budget: &dyn Budget,
    ) -> Result<RoaringBitmap, QueryError> {
        let found = match index::select_any(&Watched::new(&self.index, budget), matcher_sets) {
            Ok(found) => found,
            Err(never) => match never {},
        };
        budget.check()?;
        Ok(found)
    }
}

impl Snapshot {
    pub(crate) fn new(shards: &[Arc<Shard>], counters: Arc<Counters>) -> Self {
        let mut heads = Vec::new();
        let mut partitions = Vec::new();
        for shard in shards {
            let (view, applied) = shard.view();
            if let Some(frozen) = &view.frozen {
                heads.push(HeadPart::new(shard.number, &frozen.head, frozen.position));
            }
            heads.push(HeadPart::new(shard.number, &view.active, applied));
            partitions.extend(view.partitions.iter().cloned());
        }
        Self {
            heads,
            partitions,
            counters,
        }
    }

    /// Calls `read` for each partition that touches `range`. One that is damaged is left out, from where the damage is met, and reported;
    /// one that the operating system does not give fails the query.
    fn each_partition(
        &self,
        range: TimeRange,
        read: impl FnMut(&Partition, &Mask) -> Result<(), PartitionReadError>,
    ) -> Result<(), QueryError> {
        self.each_of(self.partitions.iter(), range, read)
    }

    /// The same for these partitions.
    fn each_of<'a>(
        &'a self,
        partitions: impl Iterator<Item = &'a Arc<PartitionHandle>>,
        range: TimeRange,
        mut read: impl FnMut(&Partition, &Mask) -> Result<(), PartitionReadError>,
    ) -> Result<(), QueryError> {
        for handle in partitions {
            if !handle.times().overlaps(range) {
                continue;
            }
            let opened = handle.get().and_then(|partition| {
                let mask = handle.mask(&partition)?;
                Ok((partition, mask))
            });
            let result = match opened {
                Ok((partition, mask)) => read(&partition, &mask),
                Err(error) => Err(PartitionReadError::Partition(error)),
            };
            match result {
                Ok(()) => {}
                Err(PartitionReadError::Query(error)) => return Err(error),
                Err(PartitionReadError::Partition(error)) => self.damaged(handle, &error)?,
            }
        }
        Ok(())
    }

    fn damaged(&self, handle: &PartitionHandle, error: &PartitionError) -> Result<(), QueryError> {
        let damage = damage_of(handle, error);
        if !error.is_damage() {
            return Err(QueryError::Damaged(damage.to_string()));
        }
        self.counters.damaged(damage);
        Ok(())
    }

    /// Returns for each partition whether a selection reads it; no tier in the place of samples of the days `exact`.
    fn choose(&self, select: &Select<'_>, exact: &BTreeSet<i64>) -> Vec<bool> {
        let files: Vec<Source<'_>> = self
            .partitions
            .iter()
            .map(|handle| Source {
                entry: &handle.entry,
                hit: handle.is_hit(),
            })
            .collect();
        let heads: Vec<(u16, TimeRange)> = self
            .heads
            .iter()
            .filter_map(|part| Some((part.shard, part.head.times()?)))
            .collect();
        let buckets = |at: usize| {
            let partition = self.partitions.get(at)?.get().ok()?;
            Some(partition.summary().samples)
        };
        choose(&files, &heads, (select, exact), buckets)
    }

    /// Notes damage that costs a series of a partition; returns any other error.
    fn series_damaged(
        &self,
        handle: &PartitionHandle,
        partition: &Partition,
        error: &PartitionError,
    ) -> Result<(), QueryError> {
        if error.is_damage() {
            self.note(partition, error);
            return Ok(());
        }
        self.damaged(handle, error)
    }

    fn note(&self, partition: &Partition, error: &PartitionError) {
        self.counters.damaged(Damage {
            file: partition.path().to_owned(),
            offset: 0,
            what: error.to_string(),
        });
    }

    /// Calls `visit` with the labels of each series that matches any of the sets and touches the range, repeats included. Those of a
    /// partition come in order of their labels, for as long as it says that greater ones are wanted; those of a head in no order, all.
    fn each_series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &dyn Budget,
        visit: &mut dyn FnMut(Labels) -> Result<bool, QueryError>,
    ) -> Result<(), QueryError> {
        for part in &self.heads {
            if !touches(part, range) {
                continue;
            }
            let mut cache = ReadCache::default();
            let matching = part.matching(matcher_sets, budget)?;
            for (count, id) in matching.into_iter().enumerate() {
                if count % CHECK_EVERY == 0 {
                    budget.check()?;
                }
                if part.head.touches(id, part.until, range, &mut cache)
                    && let Some(labels) = part.labels(id)
                {
                    visit(labels)?;
                }
            }
        }
        self.each_partition(range, |partition, mask| {
            let index = Watched::new(partition.index(), budget);
            let matching = index::select_any(&index, matcher_sets)? - mask.gone();
            budget.check().map_err(QueryError::from)?;
            let mut labels = partition.labels_reader();
            for (count, id) in matching.into_iter().enumerate() {
                if count % CHECK_EVERY == 0 {
                    budget.check().map_err(QueryError::from)?;
                }
                if let Some(labels) = labels.labels(id)?
                    && !visit(labels)?
                {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Calls `visit` with every stored sample, as it is stored.
    pub(crate) fn dump(
        &self,
        visit: &mut dyn FnMut(DumpedSample<'_>),
    ) -> Result<DumpSummary, QueryError> {
        let mut summary = DumpSummary::default();
        let mut visit_runs = |labels: &Labels, runs: &[Arrived]| {
            for run in runs {
                let segment = &run.segment;
                for (index, at) in segment.times.as_slice().iter().enumerate() {
                    if let Some(value) = segment.value(index) {
                        summary.samples += 1;
                        visit(DumpedSample {
                            labels,
                            at: *at,
                            value: &value,
                        });
                    }
                }
            }
        };
        for part in &self.heads {
            let mut cache = ReadCache::default();
            for id in part.matching(&[], &Unlimited)? {
                let runs = part.head.read(id, part.until, TimeRange::ALL, &mut cache);
                if let Some(labels) = part.labels(id) {
                    visit_runs(&labels, &runs);
                }
            }
        }
        let mut damages = Vec::new();
        let samples = |handle: &&Arc<PartitionHandle>| handle.entry.tier == Tier::Raw;
        for handle in self.partitions.iter().filter(samples) {
            let opened = handle.get().and_then(|partition| {
                let mask = handle.mask(&partition)?;
                Ok((partition, mask))
            });
            let (partition, mask) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    damages.push(damage_of(handle, &error));
                    continue;
                }
            };
            let ids = index::select_any(partition.index(), &[]);
            let ids = ids.unwrap_or_else(|error| {
                damages.push(damage_of(handle, &error));
                RoaringBitmap::new()
            });
            let mut labels = partition.labels_reader();
            for id in ids {
                let read = labels.labels(id).and_then(|labels| {
                    let runs = partition.read(id, TimeRange::ALL)?;
                    Ok((labels, mask.apply(id, runs)))
                });
                match read {
                    Ok((Some(labels), runs)) => visit_runs(&labels, &runs),
                    Ok((None, _)) => {}
                    Err(error) => damages.push(damage_of(handle, &error)),
                }
            }
        }
        summary.damages = damages;
        Ok(summary)
    }
}

/// Why a partition was not read to its end.
enum PartitionReadError {
    Query(QueryError),
    Partition(PartitionError),
}

impl From<QueryError> for PartitionReadError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<PartitionError> for PartitionReadError {
    fn from(error: PartitionError) -> Self {
        Self::Partition(error)
    }
}

fn damage_of(handle: &PartitionHandle, error: &PartitionError) -> Damage {
    Damage {
        file: handle.path(),
        offset: 0,
        what: with_sources(error),
    }
}

/// Returns an error's message with those of its sources.
pub(crate) fn with_sources(error: &PartitionError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn touches(part: &HeadPart, range: TimeRange) -> bool {
    part.head.times().is_some_and(|times| times.overlaps(range))
}

fn rows_of(runs: &[Arrived]) -> u64 {
    let rows = |run: &Arrived| run.segment.times.as_slice().len() as u64;
    runs.iter().map(rows).sum()
}

/// Returns what a run takes in memory, roughly.
fn bytes_of(run: &Arrived) -> u64 {
    let rows = run.segment.times.as_slice().len() as u64;
    match &run.segment.values {
        SegmentValues::Rollup(rollups) => {
            let columns = rollups.columns();
            let columns = RollupColumn::ALL
                .into_iter()
                .filter(|column| columns.contains(*column));
            rows * (SAMPLE_BYTES + 8 * columns.count() as u64)
        }
        _ => rows * SAMPLE_BYTES,
    }
}

/// Returns whether anything of these segments lies within the range.
fn any_within(segments: &[Segment], range: TimeRange) -> bool {
    segments.iter().any(|segment| {
        let times = segment.times.as_slice();
        let from = times.partition_point(|at| *at < range.start);
        let to = times.partition_point(|at| *at <= range.end);
        (from..to).any(|row| segment.is_present(row))
    })
}

fn has_rows(segment: &Segment) -> bool {
    match &segment.values {
        SegmentValues::Floats(values) => !values.is_empty(),
        SegmentValues::Histograms(values) => !values.is_empty(),
        SegmentValues::Mixed(values) => !values.is_empty(),
        SegmentValues::Rollup(values) => !values.is_empty(),
    }
}

impl Querier for Snapshot {
    fn select(
        &self,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        let mut out = Vec::new();
        if select.range.start <= select.range.end {
            let selected = Selected::gather(self, select, WantedLabels::All, (budget, true))?;
            let mut reader = selected.reader();
            reader.read(0..selected.len(), &mut |labels, samples| {
                let (labels, segments) = (labels.clone(), samples.to_segments());
                out.push(SeriesData { labels, segments });
                ControlFlow::Continue(())
            })?;
        }
        Ok(out)
    }

    fn selection<'a>(
        &'a self,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        budget: &'a dyn Budget,
    ) -> Result<Box<dyn Selection + 'a>, QueryError> {
        let selected = Selected::gather(self, select, wanted, (budget, false))?;
        Ok(Box::new(selected))
    }

    fn series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError> {
        // The first ones, and one more that tells whether there are others.
        let keep = if limit > 0 { limit } else { usize::MAX };
        let mut found = BTreeSet::new();
        self.each_series(matcher_sets, range, budget, &mut |labels| {
            let full = found.len() > keep;
            if full && found.last().is_some_and(|last| *last <= labels) {
                return Ok(false);
            }
            let bytes = SERIES_BYTES + labels.text_bytes() as u64;
            if found.insert(labels) {
                if full {
                    found.pop_last();
                } else {
                    budget.charge(0, bytes)?;
                }
            }
            Ok(true)
        })?;
        let truncated = found.len() > keep;
        Ok((found.into_iter().take(keep).collect(), truncated))
    }

    fn label_names(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        self.ask(&LabelNames { matcher_sets }, range, limit, budget)
    }

    fn label_values(
        &self,
        name: &str,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        // One more than the limit from each source tells whether it cut anything.
        let question = LabelValues {
            name,
            matcher_sets,
            limit: if limit > 0 { limit + 1 } else { 0 },
        };
        self.ask(&question, range, limit, budget)
    }

    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError> {
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        let mut take = |labels: Option<Labels>, exemplars: Vec<Exemplar>| {
            let Some(labels) = labels else { return Ok(()) };
            if exemplars.is_empty() {
                return Ok(());
            }
            budget.charge(0, exemplars.len() as u64 * SERIES_BYTES)?;
            found.entry(labels).or_default().extend(exemplars);
            Ok::<(), QueryError>(())
        };
        // An exemplar's time may lie beside those of the samples that it came with.
        let beside = TimeRange::new(
            range.start.saturating_sub(EXEMPLAR_DISTANCE),
            range.end.saturating_add(EXEMPLAR_DISTANCE),
        );
        self.each_partition(beside, |partition, mask| {
            let matching =
                index::select_any(&Watched::new(partition.index(), budget), matcher_sets)?;
            budget.check().map_err(QueryError::from)?;
            for (count, id) in matching.into_iter().enumerate() {
                if count % CHECK_EVERY == 0 {
                    budget.check().map_err(QueryError::from)?;
                }
                let mut exemplars = partition.exemplars(id, range)?;
                if !exemplars.is_empty() {
                    let hidden = mask.ranges(id);
                    exemplars.retain(|one| !hidden.iter().any(|range| range.contains(one.at)));
                }
                if !exemplars.is_empty() {
                    take(partition.labels(id)?, exemplars)?;
                }
            }
            Ok(())
        })?;
        for part in &self.heads {
            let matching = part.matching(matcher_sets, budget)?;
            for (count, id) in matching.into_iter().enumerate() {
                if count % CHECK_EVERY == 0 {
                    budget.check()?;
                }
                let exemplars = part.head.exemplars(id, range);
                if !exemplars.is_empty() {
                    take(part.labels(id), exemplars)?;
                }
            }
        }
        let sorted = |(labels, mut exemplars): (Labels, Vec<Exemplar>)| {
            exemplars.sort_by_key(|exemplar| exemplar.at);
            ExemplarSeries { labels, exemplars }
        };
        Ok(found.into_iter().map(sorted).collect())
    }

    fn metadata(
        &self,
        metric: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FamilyMetadata>, QueryError> {
        let mut found: BTreeMap<Arc<str>, Vec<Metadata>> = BTreeMap::new();
        let mut take = |name: Arc<str>, saying: Metadata| {
            if metric.is_none_or(|metric| metric == &*name) {
                let sayings = found.entry(name).or_default();
                if !sayings.contains(&saying) {
                    sayings.push(saying);
                }
            }
        };
        self.each_partition(TimeRange::ALL, |partition, _| {
            for (name, saying) in partition.metadata()? {
                take(name, saying);
            }
            Ok(())
        })?;
        for part in &self.heads {
            for (name, sayings) in part.head.metadata() {
                for saying in sayings {
                    take(Arc::clone(&name), saying);
                }
            }
        }
        let keep = if limit > 0 { limit } else { usize::MAX };
        let family = |(metric, metadata)| FamilyMetadata { metric, metadata };
        Ok(found.into_iter().take(keep).map(family).collect())
    }
}

/// A question about names, to be put to each index.
trait Question {
    /// Answers for the series that are not `gone`.
    fn ask<I: IndexRead>(
        &self,
        index: &I,
        gone: &RoaringBitmap,
        budget: &dyn Budget,
    ) -> Result<Vec<String>, I::Error>;
}

struct LabelNames<'a> {
    matcher_sets: &'a [Vec<Matcher>],
}

impl Question for LabelNames<'_> {
    fn ask<I: IndexRead>(
        &self,
        index: &I,
        gone: &RoaringBitmap,
        _: &dyn Budget,
    ) -> Result<Vec<String>, I::Error> {
        let within = within(index, self.matcher_sets, gone)?;
        index::label_names(index, within.as_ref())
    }
}

struct LabelValues<'a> {
    name: &'a str,
    matcher_sets: &'a [Vec<Matcher>],
    /// 0: all.
    limit: usize,
}

impl Question for LabelValues<'_> {
    fn ask<I: IndexRead>(
        &self,
        index: &I,
        gone: &RoaringBitmap,
        budget: &dyn Budget,
    ) -> Result<Vec<String>, I::Error> {
        let within = within(index, self.matcher_sets, gone)?;
        index::label_values(index, self.name, within.as_ref(), self.limit, budget)
    }
}

/// Returns the series that any of the sets selects and that are not `gone`; `None`: all.
fn within<I: IndexRead>(
    index: &I,
    matcher_sets: &[Vec<Matcher>],
    gone: &RoaringBitmap,
) -> Result<Option<RoaringBitmap>, I::Error> {
    if matcher_sets.is_empty() && gone.is_empty() {
        return Ok(None);
    }
    Ok(Some(index::select_any(index, matcher_sets)? - gone))
}

impl Snapshot {
    /// Puts a question to every index that touches the range and unites the answers.
    fn ask(
        &self,
        question: &impl Question,
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        let mut found = BTreeSet::new();
        let mut take = |names: Vec<String>| {
            budget.check()?;
            for name in names {
                let bytes = index::name_bytes(&name);
                if found.insert(name) {
                    budget.charge(0, bytes)?;
                }
            }
            Ok::<(), QueryError>(())
        };
        for part in self.heads.iter().filter(|part| touches(part, range)) {
            let index = Watched::new(&part.index, budget);
            match question.ask(&index, &RoaringBitmap::new(), budget) {
                Ok(names) => take(names)?,
                Err(never) => match never {},
            }
        }
        self.each_partition(range, |partition, mask| {
            let index = Watched::new(partition.index(), budget);
            Ok(take(question.ask(&index, mask.gone(), budget)?)?)
        })?;
        let truncated = limit > 0 && found.len() > limit;
        let keep = if limit > 0 { limit } else { usize::MAX };
        let names = found.into_iter().take(keep).collect();
        Ok(Names { names, truncated })
    }
}
