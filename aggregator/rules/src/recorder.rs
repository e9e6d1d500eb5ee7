//! Where results go: a store, by its [`Appender`], or one in memory.
//!
//! Results come one by one, at times that the rules choose; so they take the store's path for series outside rows. Each series is
//! defined once, in cohorts of [`COHORT_SLOTS`]; when the book of them is full it begins anew, which costs definitions and nothing else.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Labels, MetricType, TimestampMs};
use rows::{
    AgentId, Batch, BatchNumber, CohortDefinition, CohortId, Epoch, SampleContents,
    SeriesDefinition, SeriesSample, Slot, encode_samples,
};
use storage::{AppendOutcome, Appender, Busy, Lane, MemoryStore, RefusalReason, Refusals, Source};

use crate::world::{RecordedSample, Recorder};

/// Slots of a cohort: one cohort lives on one of the store's threads.
const COHORT_SLOTS: usize = 4_096;
/// Series that the book knows at once.
const SERIES_MAX: usize = 1 << 20;
/// Slots defined at once.
const DEFINITION_SLOTS: usize = 1_024;
/// After so many results that limits refused, all series are defined anew: limits may allow then what they refused before.
const REFUSALS_PATIENT: u64 = 10_000;
/// Samples that go to the store together.
const BATCH_SAMPLES_MAX: usize = 8_192;

/// Stores results durably.
pub struct StoreRecorder {
    store: Arc<dyn Appender>,
    source: Source,
    /// Waits a little when the store is busy; `false`: gives up. Is told how often it has waited.
    wait: Box<dyn Fn(u32) -> bool + Send + Sync>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    places: HashMap<Labels, (CohortId, Slot)>,
    /// The cohort that is being filled, and how far.
    cohort: u32,
    filled: usize,
    /// What the store has not heard.
    pending: VecDeque<CohortDefinition>,
    next: u64,
    /// Numbers whose batches are not stored; each is a hole that the store remembers.
    free: Vec<BatchNumber>,
    /// By limits, since all series were defined.
    refused: u64,
}

impl StoreRecorder {
    /// Returns a recorder that stores as `writer`, an agent of its own, and numbers batches within `epoch`, which no run before has
    /// had. `wait` is called when the store is busy.
    pub fn new(
        store: Arc<dyn Appender>,
        writer: AgentId,
        epoch: Epoch,
        wait: impl Fn(u32) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            source: Source {
                agent: writer,
                epoch,
                lane: Lane::Live,
            },
            wait: Box::new(wait),
            book: Mutex::default(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores at most [`BATCH_SAMPLES_MAX`] samples; returns what was refused.
    fn store(&self, samples: Vec<SeriesSample>) -> Result<Refusals, String> {
        let contents = SampleContents {
            samples: &samples,
            exemplars: &[],
            metadata: &[],
        };
        let bytes = match encode_samples(&contents) {
            Ok(bytes) => bytes,
            Err(_) if samples.len() > 1 => return self.store_halves(samples),
            Err(error) => return Err(error.to_string()),
        };
        let batch = Arc::new(Batch {
            number: self.book().number(),
            bytes,
            rows: Vec::new(),
            samples,
            exemplars: Vec::new(),
            metadata: Vec::new(),
        });
        let outcome = self.append(&batch);
        if !matches!(
            outcome,
            Ok(AppendOutcome::Stored(_) | AppendOutcome::Duplicate)
        ) {
            self.book().free.push(batch.number);
        }
        match outcome? {
            AppendOutcome::Stored(refused) => Ok(refused),
            AppendOutcome::Duplicate => {
                Err("the log had failed; results are not stored".to_owned())
            }
            AppendOutcome::Failed(why) => Err(why),
        }
    }

    fn store_halves(&self, mut samples: Vec<SeriesSample>) -> Result<Refusals, String> {
        let tail = samples.split_off(samples.len() / 2);
        let mut refused = self.store(samples)?;
        refused.merge(&self.store(tail)?);
        Ok(refused)
    }

    /// Hands over a batch, after all definitions, and waits for its fate.
    fn append(&self, batch: &Arc<Batch>) -> Result<AppendOutcome, String> {
        let mut waited = 0;
        loop {
            let (said, answer) = sync_channel(1);
            let offered = self
                .book()
                .hand_over(&*self.store, &self.source)
                .and_then(|()| {
                    let done = Box::new(move |outcome| drop(said.send(outcome)));
                    self.store.append(&self.source, Arc::clone(batch), done)
                });
            match offered {
                Ok(()) => {
                    return (answer.recv()).map_err(|_| "the store is closing".to_owned());
                }
                Err(busy) if !(self.wait)(waited) => return Err(busy.to_string()),
                Err(Busy) => waited += 1,
            }
        }
    }
}

impl Recorder for StoreRecorder {
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        let mut refused = 0;
        for part in samples.chunks(BATCH_SAMPLES_MAX) {
            let placed = self.book().place(part);
            let of_part = self.store(placed)?;
            if (of_part.iter()).any(|(reason, _)| reason == RefusalReason::Undefined) {
                // The store has forgotten a cohort: all are defined anew.
                self.book().forget();
                return Err("series were unknown to the store; they are defined anew".to_owned());
            }
            self.book().note_refused(&of_part);
            refused += of_part.total();
        }
        Ok(refused)
    }
}

impl Book {
    fn number(&mut self) -> BatchNumber {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            BatchNumber(self.next - 1)
        })
    }

    /// Returns the samples with the places of their series, sorted by these; defines series that are new.
    fn place(&mut self, samples: &[RecordedSample]) -> Vec<SeriesSample> {
        if self.places.len() + samples.len() > SERIES_MAX {
            self.forget();
        }
        let mut placed: Vec<SeriesSample> = samples
            .iter()
            .map(|sample| {
                let (cohort, slot) = self.place_of(&sample.labels);
                SeriesSample {
                    cohort,
                    slot,
                    at: sample.at,
                    value: sample.value.clone(),
                    start: TimestampMs(0),
                }
            })
            .collect();
        placed.sort_by_key(|sample| (sample.cohort, sample.slot));
        placed
    }

    fn place_of(&mut self, labels: &Labels) -> (CohortId, Slot) {
        if let Some(place) = self.places.get(labels) {
            return *place;
        }
        if self.filled == COHORT_SLOTS {
            (self.cohort, self.filled) = (self.cohort.wrapping_add(1), 0);
        }
        let (cohort, slot) = (
            CohortId(self.cohort),
            Slot::try_from(self.filled).unwrap_or(Slot::MAX),
        );
        self.filled += 1;
        let series = SeriesDefinition {
            labels: labels.clone(),
            kind: MetricType::Unknown,
        };
        match self.pending.back_mut() {
            Some(last) if last.cohort == cohort && last.series.len() < DEFINITION_SLOTS => {
                last.series.push(series);
            }
            _ => self.pending.push_back(CohortDefinition {
                cohort,
                name: Arc::from(format!("rules/{}", self.cohort)),
                first_slot: slot,
                series: vec![series],
            }),
        }
        self.places.insert(labels.clone(), (cohort, slot));
        (cohort, slot)
    }

    fn note_refused(&mut self, refused: &Refusals) {
        let by_limits = refused
            .iter()
            .filter(|(reason, _)| !matches!(reason, RefusalReason::TooOld | RefusalReason::TooNew));
        self.refused += by_limits.map(|(_, count)| count).sum::<u64>();
        if self.refused >= REFUSALS_PATIENT {
            self.forget();
        }
    }

    /// Begins anew, with a cohort not used before.
    fn forget(&mut self) {
        self.refused = 0;
        self.places.clear();
        (self.cohort, self.filled) = (self.cohort.wrapping_add(1), 0);
    }

    fn hand_over(&mut self, store: &dyn Appender, source: &Source) -> Result<(), Busy> {
        while let Some(definition) = self.pending.front() {
            store.define(source, definition.clone())?;
            self.pending.pop_front();
        }
        Ok(())
    }
}

impl fmt::Debug for StoreRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRecorder")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Stores results in memory, for tests and tools.
#[derive(Clone, Debug)]
pub struct MemoryRecorder(pub MemoryStore);

impl Recorder for MemoryRecorder {
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        let stored = samples.iter().filter(|sample| {
            self.0
                .insert(&sample.labels, sample.at, sample.value.clone())
        });
        Ok((samples.len() - stored.count()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use model::Value;
    use storage::{Queryable, Unlimited};

    use super::*;

    fn sample(name: &str, at: i64, value: f64) -> RecordedSample {
        RecordedSample {
            labels: Labels::from_pairs([("__name__", name)]).unwrap(),
            at: TimestampMs(at),
            value: Value::Float(value),
        }
    }

    #[test]
    fn results_reach_the_store_once_each() {
        let store = MemoryStore::new();
        let writer = "promontory-rules".parse().unwrap();
        let recorder = StoreRecorder::new(Arc::new(store.clone()), writer, Epoch(1), |_| false);
        assert_eq!(
            recorder.record(&[sample("b", 1, 1.0), sample("a", 1, 2.0)]),
            Ok(0)
        );
        assert_eq!(
            recorder.record(&[sample("a", 2, 3.0), sample("c", 2, 4.0)]),
            Ok(0)
        );
        let querier = store.querier().unwrap();
        let all = model::Matcher::new("__name__", model::MatchOp::Regex, ".+").unwrap();
        let (series, _) = querier
            .series(
                &[vec![all]],
                model::TimeRange::new(TimestampMs(0), TimestampMs(9)),
                0,
                &Unlimited,
            )
            .unwrap();
        let names: Vec<_> = series.iter().filter_map(Labels::metric_name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_full_cohort_is_followed_by_another() {
        let mut book = Book::default();
        let samples: Vec<_> = (0..5_000)
            .map(|n| sample(&format!("m{n}"), 1, 0.0))
            .collect();
        let placed = book.place(&samples);
        assert_eq!(placed.last().map(|one| one.cohort), Some(CohortId(1)));
        let slots: Vec<_> = book
            .pending
            .iter()
            .map(|one| (one.first_slot, one.series.len()))
            .collect();
        assert_eq!(
            slots,
            [
                (0, 1_024),
                (1_024, 1_024),
                (2_048, 1_024),
                (3_072, 1_024),
                (0, 904)
            ]
        );
        assert_eq!(book.place(&samples[..1])[0].cohort, CohortId(0));
    }
}
