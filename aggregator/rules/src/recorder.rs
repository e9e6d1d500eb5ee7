//! Where results go: a store, by its [`Appender`], or one in memory.
//!
//! Results come one by one, at times that the rules choose; so they take the store's path for series outside rows. Each series is
//! defined once; when the book of them is full it begins anew, which costs definitions and nothing else. A series' labels say which of
//! [`COHORTS`] it is in, whatever the run: a cohort lives on one of the store's threads, where what is corrected and what corrects it
//! come into the same files and summaries.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Labels, Matcher, MetricType, TimeRange, TimestampMs};
use rows::{
    AgentId, Batch, BatchNumber, CohortDefinition, CohortId, Epoch, SLOTS_MAX, SampleContents,
    SeriesDefinition, SeriesSample, Slot, encode_samples,
};
use storage::{
    AppendOutcome, Appender, Busy, Lane, MemoryStore, Queryable, RefusalReason, Refusals, Select,
    SelectHints, SeriesData, Source, Unlimited,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::world::{RecordedSample, Recorder};

/// Cohorts.
const COHORTS: u16 = 128;
/// Series that the book knows at once: half of what the cohorts hold, so that hardly ever one of them is full before.
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
    stored: Arc<dyn Queryable>,
    source: Source,
    /// Waits a little when the store is busy; `false`: gives up. Is told how often it has waited.
    wait: Box<dyn Fn(u32) -> bool + Send + Sync>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    places: HashMap<Labels, (CohortId, Slot)>,
    /// How often it began anew.
    begun: u32,
    /// By cohort, how far it is filled; those that are not there are empty.
    filled: HashMap<u16, usize>,
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
    /// had; `stored` is what there is in the store. `wait` is called when the store is busy.
    pub fn new(
        (store, stored): (Arc<dyn Appender>, Arc<dyn Queryable>),
        writer: AgentId,
        epoch: Epoch,
        wait: impl Fn(u32) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            stored,
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
    fn store(&self, samples: Vec<SeriesSample>, lane: Lane) -> Result<Refusals, String> {
        let contents = SampleContents {
            samples: &samples,
            exemplars: &[],
            metadata: &[],
        };
        let bytes = match encode_samples(&contents) {
            Ok(bytes) => bytes,
            Err(_) if samples.len() > 1 => return self.store_halves(samples, lane),
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
        let outcome = self.append(&batch, lane);
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

    fn store_halves(&self, mut samples: Vec<SeriesSample>, lane: Lane) -> Result<Refusals, String> {
        let tail = samples.split_off(samples.len() / 2);
        let mut refused = self.store(samples, lane)?;
        refused.merge(&self.store(tail, lane)?);
        Ok(refused)
    }

    /// Hands over a batch, after all definitions, and waits for its fate.
    fn append(&self, batch: &Arc<Batch>, lane: Lane) -> Result<AppendOutcome, String> {
        let source = Source {
            lane,
            ..self.source.clone()
        };
        let mut waited = 0;
        loop {
            let (said, answer) = sync_channel(1);
            let offered = self.book().hand_over(&*self.store, &source).and_then(|()| {
                let done = Box::new(move |outcome| drop(said.send(outcome)));
                self.store.append(&source, Arc::clone(batch), done)
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

    fn record_on(&self, samples: &[RecordedSample], lane: Lane) -> Result<u64, String> {
        let mut refused = 0;
        for part in samples.chunks(BATCH_SAMPLES_MAX) {
            let placed = self.book().place(part);
            let of_part = self.store(placed, lane)?;
            if (of_part.iter()).any(|(reason, _)| reason == RefusalReason::Undefined) {
                // The store has forgotten a cohort: all are defined anew.
                self.book().forget();
                return Err("series were unknown to the store; they are defined anew".to_owned());
            }
            self.book().note_refused(&of_part);
            refused += of_part.total();
        }
        self.stored.catch_up();
        Ok(refused)
    }
}

impl Recorder for StoreRecorder {
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        self.record_on(samples, Lane::Live)
    }

    fn recorded(
        &self,
        matchers: &[Matcher],
        at: TimestampMs,
    ) -> Result<Vec<RecordedSample>, String> {
        recorded(&*self.stored, matchers, at)
    }

    fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        self.record_on(samples, Lane::Correction)
    }
}

fn recorded(
    stored: &dyn Queryable,
    matchers: &[Matcher],
    at: TimestampMs,
) -> Result<Vec<RecordedSample>, String> {
    let range = TimeRange::new(at, at);
    let select = Select {
        matchers,
        range,
        hints: SelectHints::default(),
    };
    let found = (stored.querier())
        .and_then(|querier| querier.select(&select, &Unlimited))
        .map_err(|error| error.to_string())?;
    let sample = |series: SeriesData| {
        let sample = series.samples(range).next()?;
        Some(RecordedSample {
            at: sample.at,
            value: sample.value,
            labels: series.labels,
        })
    };
    Ok(found.into_iter().filter_map(sample).collect())
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
        let number = cohort_of(labels);
        if self
            .filled
            .get(&number)
            .is_some_and(|filled| *filled == SLOTS_MAX)
        {
            self.forget();
        }
        let filled = self.filled.entry(number).or_default();
        let (cohort, slot) = (
            CohortId(self.begun.wrapping_mul(u32::from(COHORTS)) + u32::from(number)),
            Slot::try_from(*filled).unwrap_or(Slot::MAX),
        );
        *filled += 1;
        let series = SeriesDefinition {
            labels: labels.clone(),
            kind: MetricType::Unknown,
        };
        let mut pending = self.pending.iter_mut();
        match pending.rfind(|definition| definition.cohort == cohort) {
            Some(last) if last.series.len() < DEFINITION_SLOTS => {
                last.series.push(series);
            }
            _ => self.pending.push_back(CohortDefinition {
                cohort,
                name: Arc::from(format!("rules/{number}")),
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

    /// Begins anew, with cohorts not used before, of the same names.
    fn forget(&mut self) {
        self.refused = 0;
        self.places.clear();
        self.filled.clear();
        self.begun = self.begun.wrapping_add(1);
    }

    fn hand_over(&mut self, store: &dyn Appender, source: &Source) -> Result<(), Busy> {
        while let Some(definition) = self.pending.front() {
            store.define(source, definition.clone())?;
            self.pending.pop_front();
        }
        Ok(())
    }
}

/// Returns which cohort a series is in.
fn cohort_of(labels: &Labels) -> u16 {
    let hash = xxh3_64(labels.to_string().as_bytes()) % u64::from(COHORTS);
    u16::try_from(hash).unwrap_or(0)
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

    fn recorded(
        &self,
        matchers: &[Matcher],
        at: TimestampMs,
    ) -> Result<Vec<RecordedSample>, String> {
        recorded(&self.0, matchers, at)
    }

    fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        for sample in samples {
            self.0
                .correct(&sample.labels, sample.at, sample.value.clone());
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use model::Value;

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
        let parts: (Arc<dyn Appender>, Arc<dyn Queryable>) =
            (Arc::new(store.clone()), Arc::new(store.clone()));
        let recorder = StoreRecorder::new(parts, writer, Epoch(1), |_| false);
        assert_eq!(
            recorder.record(&[sample("b", 1, 1.0), sample("a", 1, 2.0)]),
            Ok(0)
        );
        assert_eq!(
            recorder.record(&[sample("a", 2, 3.0), sample("c", 2, 4.0)]),
            Ok(0)
        );
        let querier = store.querier().unwrap();
        let all = Matcher::new("__name__", model::MatchOp::Regex, ".+").unwrap();
        let (series, _) = querier
            .series(
                &[vec![all]],
                TimeRange::new(TimestampMs(0), TimestampMs(9)),
                0,
                &Unlimited,
            )
            .unwrap();
        let names: Vec<_> = series.iter().filter_map(Labels::metric_name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_series_is_in_the_same_cohort_in_every_run() {
        let samples: Vec<_> = (0..5_000)
            .map(|n| sample(&format!("m{n}"), 1, 0.0))
            .collect();
        let mut book = Book::default();
        book.place(&samples);
        let cohorts: HashMap<Arc<str>, usize> = (book.pending.iter())
            .map(|one| (Arc::clone(&one.name), one.series.len()))
            .collect();
        assert_eq!(cohorts.len(), usize::from(COHORTS));
        assert!(cohorts.values().all(|series| *series < 100));
        let (first, ..) = book.place_of(&samples[7].labels);
        book.forget();
        let (again, slot) = book.place_of(&samples[7].labels);
        assert_eq!((again.0 - first.0, slot), (u32::from(COHORTS), 0));
        let names: Vec<_> = (book.pending.iter())
            .filter(|one| one.cohort == first || one.cohort == again)
            .map(|one| &one.name)
            .collect();
        assert_eq!(names[0], names[1]);
    }
}
