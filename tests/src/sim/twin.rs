//! A store that is durable by decree: what is taken waits until [`Twin::sync`], and a crash takes what waits, or all but a prefix of it.
//!
//! It keeps the contract of `Appender` as the real store does, and is stricter where the contract leaves room: definitions are forgotten
//! with every crash, the intake is tiny, and nothing has a clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Labels, TimestampMs, Value};
use rows::{
    AgentId, Batch, BatchNumber, CohortDefinition, CohortId, Epoch, NumberSet, Slot, StoreId,
};
use storage::{AppendOutcome, Appender, Busy, Done, RefusalReason, Refusals, Source};

use super::ledger::StoredSample;

/// Ways in which a store may break its promises, to see whether the oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It acknowledges what it has not synced.
    AcknowledgesEarly,
    /// It forgets in a crash the last number that it had.
    ForgetsNumbers,
    /// It leaves out the last sample of some batches.
    Tears,
    /// It answers that it has a batch which it only is about to store.
    DuplicateBeforeDurable,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    numbers: HashMap<(AgentId, Epoch), NumberSet>,
    samples: Vec<StoredSample>,
}

impl Durable {
    pub(crate) fn samples(&self) -> Vec<StoredSample> {
        self.samples.clone()
    }
}

#[derive(Debug)]
pub(crate) struct Twin {
    state: Mutex<State>,
    waiting_max: usize,
    lie: Option<Lie>,
}

#[derive(Default)]
struct State {
    durable: Durable,
    slots: HashMap<(AgentId, Epoch, CohortId, Slot), Labels>,
    waiting: Vec<Waiting>,
    full: bool,
    stored: u64,
}

enum Waiting {
    Batch {
        key: (AgentId, Epoch),
        number: BatchNumber,
        samples: Vec<StoredSample>,
        refused: Refusals,
        done: Done,
    },
    Settle {
        key: (AgentId, Epoch),
        floor: BatchNumber,
    },
}

impl Twin {
    pub(crate) fn new(durable: Durable, waiting_max: usize, lie: Option<Lie>) -> Self {
        Self {
            state: Mutex::new(State {
                durable,
                ..State::default()
            }),
            waiting_max,
            lie,
        }
    }

    /// Makes durable what waits and says so; returns whether anything waited.
    pub(crate) fn sync(&self) -> bool {
        let (waiting, full) = {
            let mut state = self.state();
            (std::mem::take(&mut state.waiting), state.full)
        };
        let any = !waiting.is_empty();
        let mut answers = Vec::new();
        for waiting in waiting {
            match waiting {
                Waiting::Batch { done, .. } if full => {
                    answers.push((done, AppendOutcome::Failed("the disk is full".to_owned())));
                }
                Waiting::Settle { .. } if full => {}
                other => answers.extend(self.state().apply(other, self.lie)),
            }
        }
        for (done, outcome) in answers {
            done(outcome);
        }
        any
    }

    /// Ends the process; of what waits, the first `kept` entries had reached the disk.
    pub(crate) fn crash(&self, kept: usize) -> Durable {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        for waiting in waiting.into_iter().take(kept) {
            // Nobody hears of it.
            drop(state.apply(waiting, None));
        }
        if self.lie == Some(Lie::ForgetsNumbers) {
            for known in state.durable.numbers.values_mut() {
                *known = known
                    .last()
                    .map_or_else(NumberSet::new, |last| without(known, last));
            }
        }
        state.durable.clone()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    pub(crate) fn samples(&self) -> Vec<StoredSample> {
        self.state().durable.samples.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, waiting: Waiting, lie: Option<Lie>) -> Option<(Done, AppendOutcome)> {
        match waiting {
            Waiting::Settle { key, floor } => {
                self.durable
                    .numbers
                    .entry(key)
                    .or_default()
                    .settle_below(floor);
                None
            }
            Waiting::Batch {
                key,
                number,
                mut samples,
                refused,
                done,
            } => {
                let outcome = match self.durable.numbers.entry(key).or_default().insert(number) {
                    Some(false) => AppendOutcome::Duplicate,
                    None => AppendOutcome::Failed("too many gaps".to_owned()),
                    Some(true) => {
                        self.stored += 1;
                        if lie == Some(Lie::Tears) && self.stored.is_multiple_of(50) {
                            samples.pop();
                        }
                        self.durable.samples.append(&mut samples);
                        AppendOutcome::Stored(refused)
                    }
                };
                Some((done, outcome))
            }
        }
    }

    fn samples_of(&self, source: &Source, batch: &Batch) -> (Vec<StoredSample>, Refusals) {
        let mut refused = Refusals::default();
        let mut samples = Vec::new();
        let mut take = |cohort, slot: usize, at: TimestampMs, value: &Value| {
            let slot = Slot::try_from(slot).unwrap_or(Slot::MAX);
            let key = (source.agent.clone(), source.epoch, cohort, slot);
            match (self.slots.get(&key), value) {
                (Some(labels), Value::Float(float)) => samples.push(StoredSample {
                    labels: labels.clone(),
                    at,
                    bits: float.to_bits(),
                }),
                _ => refused.add(RefusalReason::Undefined, 1),
            }
        };
        for decoded in &batch.rows {
            let row = &decoded.row;
            for slot in row.presence.iter() {
                take(row.cohort, slot, row.at, &Value::Float(row.floats[slot]));
            }
        }
        for sample in &batch.samples {
            take(sample.cohort, sample.slot.into(), sample.at, &sample.value);
        }
        (samples, refused)
    }
}

impl Appender for Twin {
    fn store_id(&self) -> StoreId {
        StoreId(1)
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        let state = self.state();
        let numbers = state.durable.numbers.get(&(agent.clone(), epoch));
        numbers.cloned().unwrap_or_default()
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        let mut state = self.state();
        if state.waiting.len() >= self.waiting_max {
            return Err(Busy);
        }
        let key = (agent.clone(), epoch);
        state.waiting.push(Waiting::Settle { key, floor });
        Ok(())
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        let mut state = self.state();
        for (slot, series) in (definition.first_slot..).zip(definition.series) {
            let key = (source.agent.clone(), source.epoch, definition.cohort, slot);
            state.slots.insert(key, series.labels);
        }
        Ok(())
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        let mut state = self.state();
        let key = (source.agent.clone(), source.epoch);
        let known = state.durable.numbers.get(&key);
        let durable = known.is_some_and(|known| known.contains(batch.number));
        let is_it = |waiting: &Waiting| matches!(waiting, Waiting::Batch { key: k, number, .. } if *k == key && *number == batch.number);
        if durable
            || (self.lie == Some(Lie::DuplicateBeforeDurable) && state.waiting.iter().any(is_it))
        {
            drop(state);
            done(AppendOutcome::Duplicate);
            return Ok(());
        }
        if state.waiting.len() >= self.waiting_max {
            return Err(Busy);
        }
        let (samples, refused) = state.samples_of(source, &batch);
        let (done, early): (Done, Option<Done>) = match self.lie {
            Some(Lie::AcknowledgesEarly) => (Box::new(|_| {}), Some(done)),
            _ => (done, None),
        };
        state.waiting.push(Waiting::Batch {
            key,
            number: batch.number,
            samples,
            refused,
            done,
        });
        drop(state);
        if let Some(early) = early {
            early(AppendOutcome::Stored(Refusals::default()));
        }
        Ok(())
    }
}

/// The set without a number.
fn without(numbers: &NumberSet, gone: BatchNumber) -> NumberSet {
    let mut less = NumberSet::new();
    for (first, last) in numbers.intervals() {
        for number in first.0..=last.0 {
            if number != gone.0 {
                less.insert(BatchNumber(number));
            }
        }
    }
    less
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("samples", &self.durable.samples.len())
            .finish_non_exhaustive()
    }
}
