//! What the log thread remembers of each epoch: its numbers, its cohorts' layouts, and what of them the open segment already has.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Monotonic;
use model::{Labels, TimestampMs};
use rows::{
    AgentId, BatchNumber, CohortDefinition, CohortId, DecodedRow, Epoch, NumberSet, RowCounter,
    Slot,
};
use storage::{Lane, RefusalReason};

use crate::admission::Admission;
use crate::layout::{Layout, SlotState};
use crate::memory::Full;
use crate::record::Definition;
use crate::waiting::{self, Waiting};

/// A cohort without rows for this long no longer counts against limits, and its layout rests.
const IDLE_AFTER: Duration = Duration::from_hours(2);
/// A cohort without rows for this long is forgotten: it has to be defined again.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
/// What waits to be decided on again is given up when the cohort had no row for this long: its agent has begun another epoch.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(10);
/// Slots decided on again at a time: some milliseconds of the log thread.
const DECIDED_AGAIN_MAX: usize = 4_096;
/// Cohorts of one epoch; an agent with more gets no further ones.
const COHORTS_PER_EPOCH_MAX: usize = 65_536;
/// The log writes down every base anew after so many batches of a lane: damage then costs no more than those.
const BATCHES_PER_BASE: u32 = 64;
/// The longest cohort name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// An epoch, wherever it is a key.
pub(crate) type EpochKey = (AgentId, Epoch);

/// The durable numbers of all epochs: written by the log thread, read by everyone.
#[derive(Debug, Default)]
pub(crate) struct DurableNumbers(Mutex<BTreeMap<EpochKey, KnownNumbers>>);

/// The durable numbers of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownNumbers {
    pub(crate) numbers: NumberSet,
    /// When the last one came, by the wall clock: what nobody has used for long expires.
    pub(crate) used: TimestampMs,
}

impl DurableNumbers {
    pub(crate) fn new(all: BTreeMap<EpochKey, KnownNumbers>) -> Self {
        Self(Mutex::new(all))
    }

    pub(crate) fn of(&self, key: &EpochKey) -> NumberSet {
        let known = self.lock();
        known
            .get(key)
            .map(|known| known.numbers.clone())
            .unwrap_or_default()
    }

    pub(crate) fn contains(&self, key: &EpochKey, number: BatchNumber) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|known| known.numbers.contains(number))
    }

    pub(crate) fn put(&self, key: EpochKey, numbers: NumberSet, used: TimestampMs) {
        self.lock().insert(key, KnownNumbers { numbers, used });
    }

    /// Adds what a log says; sets that no longer fit together keep what they can.
    pub(crate) fn add(
        &self,
        key: EpochKey,
        change: impl FnOnce(&mut NumberSet),
        used: TimestampMs,
    ) {
        let mut all = self.lock();
        let known = all.entry(key).or_default();
        change(&mut known.numbers);
        known.used = known.used.max(used);
    }

    /// Forgets epochs that nobody has used since `bound`.
    pub(crate) fn expire(&self, bound: TimestampMs) {
        self.lock().retain(|_, known| known.used >= bound);
    }

    pub(crate) fn all(&self) -> BTreeMap<EpochKey, KnownNumbers> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EpochKey, KnownNumbers>> {
        // Every change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cohorts of all epochs.
#[derive(Debug)]
pub(crate) struct Cohorts {
    shards: u16,
    /// Layouts made so far.
    made: u64,
    epochs: HashMap<EpochKey, EpochState>,
    waiting: Waiting,
    pub(crate) admission: Admission,
}

/// What the log thread knows of an epoch.
#[derive(Debug, Default)]
pub(crate) struct EpochState {
    /// The segment that has a numbers record of this epoch.
    pub(crate) numbers_in: u64,
    cohorts: HashMap<CohortId, CohortState>,
    /// The segment that `bases` speaks of.
    bases_in: u64,
    /// Per cohort and lane: the last row that this segment has, so what the next one may lean on.
    bases: HashMap<(CohortId, Lane), LaneBase>,
    /// Per lane, batches since the log last wrote down all bases.
    batches: [u32; 3],
}

/// What the log thread knows of a cohort in an epoch.
#[derive(Debug)]
pub(crate) struct CohortState {
    pub(crate) layout: Arc<Layout>,
    /// The segment that `defined` speaks of.
    pub(crate) defined_in: u64,
    /// As many slots as that segment has the definition of, and the layout's `changes` then.
    pub(crate) defined: (usize, u64),
    /// Since when the counters in these slots count, as the log has said so far: batches say only what changes.
    pub(crate) starts: BTreeMap<Slot, TimestampMs>,
    /// When its last row or definition came.
    used: Monotonic,
    /// Whether its series count against limits; if not, the layout rests.
    counted: bool,
}

impl CohortState {
    /// Notes that it is in use.
    fn wake(&mut self, agent: &AgentId, now: Monotonic, admission: &mut Admission) {
        self.used = now;
        if !self.counted {
            self.counted = true;
            let layout = Arc::make_mut(&mut self.layout);
            layout.wake();
            for series in series_of(layout) {
                admission.count(agent, &series);
            }
        }
    }

    /// Stops counting it: it is idle.
    fn rest(&mut self, agent: &AgentId, admission: &mut Admission) {
        if self.counted {
            self.counted = false;
            let layout = Arc::make_mut(&mut self.layout);
            for series in series_of(layout) {
                admission.release(agent, &series);
            }
            layout.rest();
        }
    }
}

/// The last row of a cohort on a lane, as the log has it.
type LaneBase = RowCounter;

impl Cohorts {
    pub(crate) fn new(shards: u16, admission: Admission) -> Self {
        Self {
            shards,
            made: 0,
            epochs: HashMap::new(),
            waiting: Waiting::default(),
            admission,
        }
    }

    pub(crate) fn epoch(&mut self, key: &EpochKey) -> &mut EpochState {
        if !self.epochs.contains_key(key) {
            self.epochs.insert(key.clone(), EpochState::default());
        }
        self.epochs
            .get_mut(key)
            .expect("inserted above when missing")
    }

    /// Takes a definition: decides on each slot that is new. Those that a limit refuses are decided on again later.
    pub(crate) fn define(
        &mut self,
        key: &EpochKey,
        definition: CohortDefinition,
        now: Monotonic,
        full: Option<Full>,
    ) {
        let Some(cohort) = cohort(
            &mut self.epochs,
            key,
            (definition.cohort, &definition.name),
            (self.shards, &mut self.made, now),
        ) else {
            return;
        };
        cohort.wake(&key.0, now, &mut self.admission);
        let mut changes = Changes::default();
        let mut refused = Vec::new();
        for (slot, series) in (definition.first_slot..).zip(definition.series) {
            let layout = &cohort.layout;
            let at = usize::from(slot);
            if layout.is(at, &series) {
                continue;
            }
            let state = if let Some(present) = series_at(layout, at) {
                // Two meanings for one slot: neither can be trusted with later values.
                tracing::warn!(agent = %key.0, cohort = &*definition.name, slot, "a slot is defined again, unlike before; it is refused from now on");
                self.admission.release(&key.0, &present);
                SlotState::Refused(RefusalReason::Undefined)
            } else {
                match self.admission.admit(&key.0, &series.labels, now, full) {
                    Ok(()) => SlotState::Series(series),
                    Err(reason) => {
                        if waiting::may_pass(reason) {
                            refused.push((slot, series));
                        }
                        if layout.refusal(at) == Some(reason) && at < layout.len() {
                            continue;
                        }
                        SlotState::Refused(reason)
                    }
                }
            };
            changes.add(slot, state);
        }
        changes.apply(&mut cohort.layout);
        self.waiting.hold((key, definition.cohort), refused, now);
    }

    /// Decides again on slots that limits refused a minute ago or before, of cohorts that had rows since; on some thousands, the others'
    /// turn comes with the next call. What is taken gets into the log with the next batch of its cohort.
    pub(crate) fn decide_again(&mut self, now: Monotonic, full: impl Fn() -> Option<Full>) {
        let mut decided = 0;
        while decided < DECIDED_AGAIN_MAX
            && let Some(due) = self.waiting.take_due(now)
        {
            decided += 1;
            let epoch = self.epochs.get_mut(&due.key);
            let cohort = epoch.and_then(|epoch| epoch.cohorts.get_mut(&due.cohort));
            let Some(cohort) =
                cohort.filter(|cohort| now.saturating_since(cohort.used) < GIVEN_UP_AFTER)
            else {
                continue;
            };
            if cohort.used < due.since {
                self.waiting.put_back(due, now);
                continue;
            }
            let slots = due.slots();
            decided += slots.len();
            let mut changes = Changes::default();
            let mut refused = Vec::new();
            for (slot, series) in slots {
                let before = cohort.layout.refusal(usize::from(slot));
                if !before.is_some_and(waiting::may_pass) {
                    // Defined again in the meantime.
                    continue;
                }
                let admitted = self
                    .admission
                    .admit_again(&due.key.0, &series.labels, now, full());
                match admitted {
                    Ok(()) => changes.add(slot, SlotState::Series(series)),
                    Err(reason) => {
                        if before != Some(reason) {
                            changes.add(slot, SlotState::Refused(reason));
                        }
                        refused.push((slot, series));
                    }
                }
            }
            changes.apply(&mut cohort.layout);
            self.waiting.hold((&due.key, due.cohort), refused, now);
        }
    }

    /// Takes a definition from the log: what was decided then stands.
    pub(crate) fn replay(&mut self, definition: Definition, now: Monotonic) {
        let key = (definition.agent, definition.epoch);
        let Some(cohort) = cohort(
            &mut self.epochs,
            &key,
            (definition.cohort, &definition.name),
            (self.shards, &mut self.made, now),
        ) else {
            return;
        };
        let Definition { packed, slots, .. } = definition;
        if usize::from(packed.first) >= cohort.layout.len() {
            for state in &slots {
                if let SlotState::Series(series) = state {
                    self.admission.count(&key.0, &series.labels);
                }
            }
            return Arc::make_mut(&mut cohort.layout).set_packed(packed, slots);
        }
        let mut changes = Changes::default();
        for (slot, state) in (packed.first..).zip(slots) {
            let layout = &cohort.layout;
            let at = usize::from(slot);
            let known = match &state {
                SlotState::Series(series) => layout.is(at, series),
                SlotState::Undefined => layout.refusal(at) == Some(RefusalReason::Undefined),
                SlotState::Refused(reason) => layout.refusal(at) == Some(*reason),
            };
            if known && at < layout.len() {
                continue;
            }
            if let Some(present) = series_at(layout, at) {
                self.admission.release(&key.0, &present);
            }
            if let SlotState::Series(series) = &state {
                self.admission.count(&key.0, &series.labels);
            }
            changes.add(slot, state);
        }
        changes.apply(&mut cohort.layout);
    }

    /// Returns a cohort that rows came for, as one that is in use.
    pub(crate) fn used(
        &mut self,
        key: &EpochKey,
        cohort: CohortId,
        now: Monotonic,
    ) -> Option<&mut CohortState> {
        let cohort = self.epochs.get_mut(key)?.cohorts.get_mut(&cohort)?;
        cohort.wake(&key.0, now, &mut self.admission);
        Some(cohort)
    }

    /// Takes start times that the log has.
    pub(crate) fn learn_starts(
        &mut self,
        key: &EpochKey,
        cohort: CohortId,
        starts: &[(Slot, TimestampMs)],
    ) -> Option<Arc<Layout>> {
        let cohort = self.epochs.get_mut(key)?.cohorts.get_mut(&cohort)?;
        cohort.starts.extend(starts.iter().copied());
        Some(Arc::clone(&cohort.layout))
    }

    /// Stops counting cohorts that have been idle, and forgets those that have been for long; `segment` is the open one.
    pub(crate) fn sweep(&mut self, now: Monotonic, segment: u64) {
        let admission = &mut self.admission;
        self.epochs.retain(|key, epoch| {
            epoch.cohorts.retain(|_, cohort| {
                let idle = now.saturating_since(cohort.used);
                if idle >= IDLE_AFTER {
                    cohort.rest(&key.0, admission);
                }
                idle < FORGOTTEN_AFTER
            });
            !epoch.cohorts.is_empty() || epoch.bases_in == segment
        });
        self.admission.sweep(now);
    }
}

impl EpochState {
    pub(crate) fn cohort(&mut self, cohort: CohortId) -> Option<&mut CohortState> {
        self.cohorts.get_mut(&cohort)
    }

    /// Begins a batch on a lane: forgets the bases when the log has begun another segment, and every so many batches, so that after
    /// damage replay finds its feet again.
    pub(crate) fn begin_batch(&mut self, lane: Lane, segment: u64) {
        if self.bases_in != segment || self.bases.len() > COHORTS_PER_EPOCH_MAX {
            self.bases_in = segment;
            self.bases.clear();
            self.batches = [0; 3];
        }
        let batches = &mut self.batches[match lane {
            Lane::Live => 0,
            Lane::CatchUp => 1,
            Lane::Correction => 2,
        }];
        *batches += 1;
        if *batches > BATCHES_PER_BASE {
            *batches = 0;
            self.bases.retain(|(_, other), _| *other != lane);
        }
    }

    /// Notes that the log gets this row; returns whether its base must be written before it.
    pub(crate) fn needs_base(&mut self, lane: Lane, row: &DecodedRow) -> bool {
        let last = self.bases.insert((row.row.cohort, lane), row.row.counter);
        row.base
            .as_ref()
            .is_some_and(|base| last != Some(base.counter))
    }
}

/// Slots that get another state, rising: a layout is changed by all of them at once, for each change packs anew what stands behind it.
#[derive(Debug, Default)]
struct Changes(Vec<(Slot, SlotState)>);

impl Changes {
    fn add(&mut self, slot: Slot, state: SlotState) {
        self.0.push((slot, state));
    }

    fn apply(self, layout: &mut Arc<Layout>) {
        let (Some((first, _)), Some((last, _))) = (self.0.first(), self.0.last()) else {
            return;
        };
        let (first, slots) = (*first, usize::from(last - first) + 1);
        // What lies between them stays as it is.
        let mut states = Vec::new();
        if self.0.len() < slots {
            let present = layout.states_from(usize::from(first)).take(slots);
            states.extend(present.map(|(_, state)| state));
        }
        states.resize(slots, SlotState::Undefined);
        for (slot, state) in self.0 {
            states[usize::from(slot - first)] = state;
        }
        Arc::make_mut(layout).set(first, states);
    }
}

fn series_of(layout: &Layout) -> impl Iterator<Item = Labels> + '_ {
    layout.states_from(0).filter_map(|(_, state)| match state {
        SlotState::Series(series) => Some(series.labels),
        SlotState::Undefined | SlotState::Refused(_) => None,
    })
}

/// Returns the labels of the series in a slot; unpacks them, so only for what is rare.
fn series_at(layout: &Layout, slot: usize) -> Option<Labels> {
    if layout.refusal(slot).is_some() {
        return None;
    }
    match layout.states_from(slot).next() {
        Some((_, SlotState::Series(series))) => Some(series.labels),
        _ => None,
    }
}

/// Finds or makes a cohort; `None` when there are too many, or its name is too long or another than before.
fn cohort<'a>(
    epochs: &'a mut HashMap<EpochKey, EpochState>,
    key: &EpochKey,
    (id, name): (CohortId, &Arc<str>),
    (shards, made, now): (u16, &mut u64, Monotonic),
) -> Option<&'a mut CohortState> {
    if name.len() > NAME_BYTES_MAX {
        tracing::warn!(agent = %key.0, bytes = name.len(), "a cohort's name is too long; its rows are refused");
        return None;
    }
    let epoch = epochs.entry(key.clone()).or_default();
    if epoch.cohorts.len() >= COHORTS_PER_EPOCH_MAX && !epoch.cohorts.contains_key(&id) {
        tracing::warn!(agent = %key.0, cohort = &**name, "the agent has too many cohorts; the rows of this one are refused");
        return None;
    }
    let cohort = epoch.cohorts.entry(id).or_insert_with(|| CohortState {
        layout: {
            *made += 1;
            Arc::new(Layout::new(key, id, name, (shards, *made << 32)))
        },
        defined_in: 0,
        defined: (0, 0),
        starts: BTreeMap::new(),
        used: now,
        counted: true,
    });
    if cohort.layout.key.name != *name {
        tracing::warn!(agent = %key.0, cohort = &**name, "a cohort is defined again under another name; the definition is ignored");
        return None;
    }
    Some(cohort)
}

#[cfg(test)]
mod tests {
    use model::MetricType;
    use rows::SeriesDefinition;

    use super::*;
    use crate::config::Limits;
    use crate::occupancy::Occupancy;

    fn definition(slots: usize) -> CohortDefinition {
        let series = |id: usize| SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "m"), ("id", &id.to_string())]).unwrap(),
            kind: MetricType::Gauge,
        };
        CohortDefinition {
            cohort: CohortId(0),
            name: Arc::from("c"),
            first_slot: 0,
            series: (0..slots).map(series).collect(),
        }
    }

    /// Returns an agent's cohort of four series, of which one may be taken a minute, and one is.
    fn refusing(occupancy: &Arc<Occupancy>) -> (Cohorts, EpochKey) {
        let limits = Limits {
            new_series_per_minute: Some(1),
            ..Limits::default()
        };
        let admission = Admission::new(limits, Arc::clone(occupancy));
        let mut cohorts = Cohorts::new(1, admission);
        let key: EpochKey = ("a".parse().unwrap(), Epoch(1));
        cohorts.define(&key, definition(4), Monotonic::ORIGIN, None);
        (cohorts, key)
    }

    /// Returns which of the four slots are taken.
    fn taken(cohorts: &mut Cohorts, key: &EpochKey, now: Monotonic) -> Vec<usize> {
        let cohort = cohorts.used(key, CohortId(0), now).unwrap();
        let layout = &cohort.layout;
        (0..4)
            .filter(|slot| layout.refusal(*slot).is_none())
            .collect()
    }

    #[test]
    fn a_refused_slot_is_taken_later_unless_it_was_defined_otherwise_in_the_meantime() {
        let occupancy = Arc::new(Occupancy::default());
        let (mut cohorts, key) = refusing(&occupancy);
        let minute = |count: u32| Monotonic::ORIGIN + waiting::AGAIN_AFTER * count;
        cohorts.decide_again(minute(0), || None);
        assert_eq!(taken(&mut cohorts, &key, minute(0)), [0]);
        // Slot 1 becomes the series of slot 3, which is taken there by this definition.
        let mut other = definition(4);
        other.first_slot = 1;
        other.series = vec![other.series[3].clone()];
        cohorts.define(&key, other, minute(1), None);
        assert_eq!(taken(&mut cohorts, &key, minute(1)), [0, 1]);
        // What is active already is not new.
        cohorts.decide_again(minute(1), || None);
        assert_eq!(taken(&mut cohorts, &key, minute(1)), [0, 1, 3]);
        cohorts.decide_again(minute(2), || None);
        assert_eq!(taken(&mut cohorts, &key, minute(2)), [0, 1, 2, 3]);
        let used = occupancy.limits_used(minute(2));
        assert_eq!(used.series_per_agent, 3);
        let before = cohorts
            .used(&key, CohortId(0), minute(2))
            .unwrap()
            .layout
            .changes;
        cohorts.decide_again(minute(3), || None);
        let layout = &cohorts.used(&key, CohortId(0), minute(3)).unwrap().layout;
        assert_eq!(layout.changes, before, "nothing waits any more");
    }

    /// Remote write tells a metric's type late, and defines slots again that a limit refused: the store may have taken them meanwhile.
    #[test]
    fn a_slot_that_is_defined_again_with_another_type_is_the_same_series() {
        let occupancy = Arc::new(Occupancy::default());
        let (mut cohorts, key) = refusing(&occupancy);
        let now = Monotonic::ORIGIN;
        let mut typed = definition(4);
        for series in &mut typed.series {
            series.kind = MetricType::StateSet;
        }
        cohorts.define(&key, typed, now, None);
        assert_eq!(taken(&mut cohorts, &key, now), [0]);
    }

    #[test]
    fn every_second_slot_of_the_widest_layout_is_taken_later_by_one_change() {
        let admission = Admission::new(Limits::default(), Arc::default());
        let mut cohorts = Cohorts::new(1, admission);
        let key: EpochKey = ("a".parse().unwrap(), Epoch(1));
        let whole = definition(rows::SLOTS_MAX);
        let mut known = whole.clone();
        known.cohort = CohortId(1);
        known.series = known.series.into_iter().step_by(2).collect();
        cohorts.define(&key, known, Monotonic::ORIGIN, None);
        let full = Some(Full::Heads(1));
        cohorts.define(&key, whole, Monotonic::ORIGIN, full);
        let now = Monotonic::ORIGIN + waiting::AGAIN_AFTER;
        cohorts.decide_again(now, || full);
        let layout = |cohorts: &mut Cohorts| {
            let cohort = cohorts.used(&key, CohortId(0), now).unwrap();
            Arc::clone(&cohort.layout)
        };
        let refused = |layout: &Layout| {
            let slots = 0..layout.len();
            slots.filter(|slot| layout.refusal(*slot).is_some()).count()
        };
        let before = layout(&mut cohorts);
        assert_eq!(refused(&before), rows::SLOTS_MAX / 2);
        cohorts.decide_again(now + waiting::AGAIN_AFTER, || None);
        let after = layout(&mut cohorts);
        assert!(after.takes_all(rows::SLOTS_MAX));
        assert_eq!(after.changes - before.changes, rows::SLOTS_MAX as u64 / 2);
        let labels = |layout: &Layout| -> Vec<_> { series_of(layout).collect() };
        let whole = definition(rows::SLOTS_MAX).series.into_iter();
        assert_eq!(
            labels(&after),
            whole.map(|series| series.labels).collect::<Vec<_>>()
        );
    }

    #[test]
    fn slots_of_which_no_rows_come_wait_and_are_given_up() {
        let occupancy = Arc::new(Occupancy::default());
        let (mut cohorts, key) = refusing(&occupancy);
        let start = Monotonic::ORIGIN;
        cohorts.decide_again(start + waiting::AGAIN_AFTER, || None);
        assert_eq!(occupancy.limits_used(start).series_per_agent, 2);
        for minute in 2..5 {
            cohorts.decide_again(start + waiting::AGAIN_AFTER * minute, || None);
        }
        assert_eq!(occupancy.limits_used(start).series_per_agent, 2, "no rows");
        let row = start + waiting::AGAIN_AFTER * 9 / 2;
        assert_eq!(taken(&mut cohorts, &key, row), [0, 1]);
        cohorts.decide_again(start + waiting::AGAIN_AFTER * 5, || None);
        assert_eq!(occupancy.limits_used(start).series_per_agent, 3);
        let late = row + GIVEN_UP_AFTER;
        cohorts.decide_again(late, || None);
        assert_eq!(taken(&mut cohorts, &key, late), [0, 1, 2]);
        cohorts.decide_again(late + waiting::AGAIN_AFTER, || None);
        assert_eq!(occupancy.limits_used(start).series_per_agent, 3);
    }

    #[test]
    fn an_idle_cohort_that_is_defined_again_counts_once_and_is_not_forgotten() {
        let occupancy = Arc::new(Occupancy::default());
        let admission = Admission::new(Limits::default(), Arc::clone(&occupancy));
        let mut cohorts = Cohorts::new(1, admission);
        let key: EpochKey = ("a".parse().unwrap(), Epoch(1));
        let active = |at| occupancy.limits_used(at).series_per_agent;
        let start = Monotonic::ORIGIN;
        cohorts.define(&key, definition(2), start, None);
        assert_eq!(active(start), 2);

        let idle = start + IDLE_AFTER;
        cohorts.sweep(idle, 1);
        assert_eq!(active(idle), 0);
        cohorts.define(&key, definition(3), idle, None);
        assert_eq!(active(idle), 3);
        let state = cohorts.used(&key, CohortId(0), idle).expect("it is known");
        assert!(state.layout.takes_all(3));
        assert_eq!(active(idle), 3);

        let later = start + FORGOTTEN_AFTER;
        cohorts.sweep(later, 2);
        assert_eq!(active(later), 0);
        assert!(cohorts.used(&key, CohortId(0), later).is_some());
        assert_eq!(active(later), 3);
        cohorts.sweep(later + FORGOTTEN_AFTER, 3);
        let forgotten = later + FORGOTTEN_AFTER;
        assert!(cohorts.used(&key, CohortId(0), forgotten).is_none());
        assert_eq!(active(forgotten), 0);
    }
}
