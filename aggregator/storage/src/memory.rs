//! A store in memory: plain maps, no bounds; the twin that tests of ingest, PromQL and the HTTP API use, and the reference model of tsdb.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{
    Exemplar, Histogram, Labels, Matcher, Metadata, TimeRange, TimestampMs, Value, is_void,
};
use rows::{
    AgentId, Batch, BatchNumber, CohortDefinition, CohortId, Epoch, MetricMetadata, NumberSet,
    Slot, StoreId,
};

use crate::{
    AppendOutcome, Appender, Budget, Busy, Done, ExemplarSeries, FamilyMetadata, Lane, Querier,
    QueryError, Queryable, RefusalReason, Refusals, RefusedSample, Segment, SegmentValues, Select,
    SeriesData, Source, Times,
};

/// A store in memory. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// Shared with the queriers that see it as it was; copied when it is written to while one of them lives.
    contents: Arc<Mutex<Arc<Contents>>>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    numbers: HashMap<(AgentId, Epoch), NumberSet>,
    slots: HashMap<(AgentId, Epoch, CohortId, Slot), Labels>,
    series: BTreeMap<Labels, BTreeMap<TimestampMs, Stored>>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    metadata: BTreeMap<Arc<str>, Vec<Metadata>>,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Value,
    start: TimestampMs,
    /// A correction says that there is no sample.
    is_void: bool,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores one sample; the first at a timestamp stands. Returns whether it was stored.
    pub fn insert(&self, labels: &Labels, at: TimestampMs, value: Value) -> bool {
        self.insert_started(labels, at, value, TimestampMs(0))
    }

    /// Stores one sample of a counter that started at `start` (0: not known).
    pub fn insert_started(
        &self,
        labels: &Labels,
        at: TimestampMs,
        value: Value,
        start: TimestampMs,
    ) -> bool {
        Arc::make_mut(&mut self.contents()).insert(labels, at, value, start)
    }

    /// Puts one sample in the place of whatever there is; [`VOID_NAN`](model::VOID_NAN): of nothing.
    pub fn correct(&self, labels: &Labels, at: TimestampMs, value: Value) {
        Arc::make_mut(&mut self.contents()).correct(labels, at, value, TimestampMs(0));
    }

    /// Stores an exemplar.
    pub fn insert_exemplar(&self, labels: &Labels, exemplar: Exemplar) {
        Arc::make_mut(&mut self.contents())
            .exemplars
            .entry(labels.clone())
            .or_default()
            .push(exemplar);
    }

    /// Stores metadata of a metric family.
    pub fn insert_metadata(&self, metric: &str, metadata: Metadata) {
        Arc::make_mut(&mut self.contents()).describe(Arc::from(metric), metadata);
    }

    fn contents(&self) -> MutexGuard<'_, Arc<Contents>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn insert(
        &mut self,
        labels: &Labels,
        at: TimestampMs,
        value: Value,
        start: TimestampMs,
    ) -> bool {
        let samples = self.series.entry(labels.clone()).or_default();
        if samples.contains_key(&at) {
            return false;
        }
        let is_void = false;
        samples.insert(
            at,
            Stored {
                value,
                start,
                is_void,
            },
        );
        true
    }

    /// Puts a sample in the place of whatever there is; a void one stays as such, so that nothing takes its place.
    fn correct(&mut self, labels: &Labels, at: TimestampMs, value: Value, start: TimestampMs) {
        let samples = self.series.entry(labels.clone()).or_default();
        let is_void = matches!(value, Value::Float(value) if is_void(value));
        samples.insert(
            at,
            Stored {
                value,
                start,
                is_void,
            },
        );
    }

    fn describe(&mut self, metric: Arc<str>, metadata: Metadata) {
        let known = self.metadata.entry(metric).or_default();
        if !known.contains(&metadata) {
            known.push(metadata);
        }
    }

    /// Stores `value` for a slot, or counts why not.
    fn take(
        &mut self,
        key: (&Source, CohortId, usize),
        (at, start): (TimestampMs, TimestampMs),
        value: Value,
        refused: &mut Refusals,
    ) {
        let (source, cohort, slot) = key;
        let is_histogram = matches!(value, Value::Histogram(_));
        let mut refuse = |reason| match Slot::try_from(slot) {
            Ok(slot) => refused.add_sample(RefusedSample {
                cohort,
                slot,
                is_histogram,
                reason,
            }),
            Err(_) => refused.add(reason, 1),
        };
        let labels = Slot::try_from(slot).ok().and_then(|slot| {
            self.slots
                .get(&(source.agent.clone(), source.epoch, cohort, slot))
                .cloned()
        });
        match labels {
            Some(labels) if source.lane == Lane::Correction => {
                self.correct(&labels, at, value, start);
            }
            // Where there is one, the first stands.
            Some(labels) => {
                self.insert(&labels, at, value, start);
            }
            None => refuse(RefusalReason::Undefined),
        }
    }

    fn matching<'a>(
        &'a self,
        matcher_sets: &'a [Vec<Matcher>],
        range: TimeRange,
    ) -> impl Iterator<Item = &'a Labels> {
        self.series
            .iter()
            .filter(move |(_, samples)| {
                let mut within = (range.start <= range.end)
                    .then(|| samples.range(range.start..=range.end))
                    .into_iter()
                    .flatten();
                within.any(|(_, stored)| !stored.is_void)
            })
            .map(|(labels, _)| labels)
            .filter(move |labels| matches_any(matcher_sets, labels))
    }
}

fn matches_any(matcher_sets: &[Vec<Matcher>], labels: &Labels) -> bool {
    matcher_sets.is_empty() || matcher_sets.iter().any(|set| matches_all(set, labels))
}

fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.matches(labels.value_or_empty(matcher.name())))
}

impl Appender for MemoryStore {
    fn store_id(&self) -> StoreId {
        StoreId(1)
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        self.contents()
            .numbers
            .get(&(agent.clone(), epoch))
            .cloned()
            .unwrap_or_default()
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        Arc::make_mut(&mut self.contents())
            .numbers
            .entry((agent.clone(), epoch))
            .or_default()
            .settle_below(floor);
        Ok(())
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        let mut contents = self.contents();
        let contents = Arc::make_mut(&mut contents);
        for (slot, series) in (definition.first_slot..).zip(definition.series) {
            contents.slots.insert(
                (source.agent.clone(), source.epoch, definition.cohort, slot),
                series.labels,
            );
        }
        Ok(())
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        let mut guard = self.contents();
        let contents = Arc::make_mut(&mut guard);
        let numbers = contents
            .numbers
            .entry((source.agent.clone(), source.epoch))
            .or_default();
        match numbers.insert(batch.number) {
            Some(true) => {}
            Some(false) => {
                drop(guard);
                done(AppendOutcome::Duplicate);
                return Ok(());
            }
            None => return Err(Busy),
        }
        let mut refused = Refusals::default();
        for decoded in &batch.rows {
            let row = &decoded.row;
            for slot in row.presence.iter() {
                let histogram = row
                    .histograms
                    .iter()
                    .find(|(at, _)| usize::from(*at) == slot);
                let value = histogram.map_or(Value::Float(row.floats[slot]), |(_, h)| {
                    Value::Histogram(Arc::clone(h))
                });
                let times = (row.at, TimestampMs(0));
                contents.take((source, row.cohort, slot), times, value, &mut refused);
            }
            for (slot, exemplar) in &row.exemplars {
                let key = (source.agent.clone(), source.epoch, row.cohort, *slot);
                if let Some(labels) = contents.slots.get(&key).cloned() {
                    contents
                        .exemplars
                        .entry(labels)
                        .or_default()
                        .push(exemplar.clone());
                }
            }
        }
        for sample in &batch.samples {
            contents.take(
                (source, sample.cohort, usize::from(sample.slot)),
                (sample.at, sample.start),
                sample.value.clone(),
                &mut refused,
            );
        }
        for one in &batch.exemplars {
            let key = (source.agent.clone(), source.epoch, one.cohort, one.slot);
            let Some(labels) = contents.slots.get(&key).cloned() else {
                refused.add_exemplar();
                continue;
            };
            let all = contents.exemplars.entry(labels).or_default();
            all.push(one.exemplar.clone());
        }
        for MetricMetadata { metric, metadata } in &batch.metadata {
            contents.describe(Arc::clone(metric), metadata.clone());
        }
        drop(guard);
        done(AppendOutcome::Stored(refused));
        Ok(())
    }
}

impl Queryable for MemoryStore {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::<Contents>::clone(&self.contents()))
    }
}

impl Querier for Contents {
    fn select(
        &self,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        let mut out = Vec::new();
        let Select {
            range, matchers, ..
        } = select;
        for (labels, samples) in self
            .series
            .iter()
            .filter(|(labels, _)| matches_all(matchers, labels))
        {
            if range.start > range.end {
                continue;
            }
            let in_range: Vec<(TimestampMs, Stored)> = samples
                .range(range.start..=range.end)
                .filter(|(_, stored)| !stored.is_void)
                .map(|(at, stored)| (*at, stored.clone()))
                .collect();
            budget.charge(in_range.len() as u64, in_range.len() as u64 * 16)?;
            if !in_range.is_empty() {
                out.push(SeriesData {
                    labels: labels.clone(),
                    segments: vec![segment(&in_range)],
                });
            }
        }
        Ok(out)
    }

    fn series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError> {
        budget.check()?;
        let mut found: Vec<Labels> = self.matching(matcher_sets, range).cloned().collect();
        let truncated = cut(&mut found, limit);
        Ok((found, truncated))
    }

    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError> {
        budget.check()?;
        let mut out = Vec::new();
        for (labels, exemplars) in self
            .exemplars
            .iter()
            .filter(|(labels, _)| matches_any(matcher_sets, labels))
        {
            let mut exemplars: Vec<Exemplar> = exemplars
                .iter()
                .filter(|exemplar| range.contains(exemplar.at))
                .cloned()
                .collect();
            exemplars.sort_by_key(|exemplar| exemplar.at);
            if !exemplars.is_empty() {
                out.push(ExemplarSeries {
                    labels: labels.clone(),
                    exemplars,
                });
            }
        }
        Ok(out)
    }

    fn metadata(
        &self,
        metric: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FamilyMetadata>, QueryError> {
        let wanted = |name: &str| metric.is_none_or(|wanted| wanted == name);
        let mut found: Vec<FamilyMetadata> = self
            .metadata
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, all)| FamilyMetadata {
                metric: Arc::clone(name),
                metadata: all.clone(),
            })
            .collect();
        cut(&mut found, limit);
        Ok(found)
    }
}

fn cut<T>(list: &mut Vec<T>, limit: usize) -> bool {
    let truncated = limit > 0 && list.len() > limit;
    if truncated {
        list.truncate(limit);
    }
    truncated
}

fn segment(samples: &[(TimestampMs, Stored)]) -> Segment {
    let times = Times::new(samples.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    let floats: Option<Vec<f64>> = samples
        .iter()
        .map(|(_, stored)| {
            if let Value::Float(value) = stored.value {
                Some(value)
            } else {
                None
            }
        })
        .collect();
    let histograms: Option<Vec<Arc<Histogram>>> = samples
        .iter()
        .map(|(_, stored)| {
            if let Value::Histogram(value) = &stored.value {
                Some(Arc::clone(value))
            } else {
                None
            }
        })
        .collect();
    let values = match (floats, histograms) {
        (Some(floats), _) => SegmentValues::Floats(floats.into()),
        (None, Some(histograms)) => SegmentValues::Histograms(histograms.into()),
        (None, None) => SegmentValues::Mixed(
            samples
                .iter()
                .map(|(_, stored)| stored.value.clone())
                .collect(),
        ),
    };
    let started = samples
        .iter()
        .any(|(_, stored)| stored.start != TimestampMs(0));
    let start_times = started.then(|| samples.iter().map(|(_, stored)| stored.start).collect());
    Segment {
        times,
        presence: None,
        values,
        start_times,
    }
}
