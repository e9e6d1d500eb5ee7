//! Cohorts as the store knows them: an identity that outlives epochs, and layouts with the fate of each slot.

use std::sync::Arc;

use rows::{AgentId, CohortId, Epoch, SLOTS_MAX, SeriesDefinition, Slot};
use storage::RefusalReason;
use xxhash_rust::xxh3::Xxh3;

use crate::hashing::hash_of;
use crate::record::PackedSlots;

/// A cohort for as long as the store lives: epochs of its agent continue it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CohortKey {
    /// Whose.
    pub(crate) agent: AgentId,
    /// The name that stays the same from epoch to epoch.
    pub(crate) name: Arc<str>,
}

impl CohortKey {
    /// Returns the shard that the cohort lives on: a function of its name alone, the same in every run.
    pub(crate) fn shard(&self, shards: u16) -> u16 {
        let mut hash = Xxh3::new();
        hash.update(self.agent.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(self.name.as_bytes());
        let shard = hash.digest() % u64::from(shards.max(1));
        u16::try_from(shard).unwrap_or(0)
    }
}

/// What became of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Never defined.
    Undefined,
    /// Defined, but not taken.
    Refused(RefusalReason),
    /// Its values are stored.
    Series(SeriesDefinition),
}

/// A cohort's slots within one epoch. Shards hold it by reference; it grows by copy when they do.
///
/// Labels are asked for seldom, by a new head and a new segment of the log, and are most of what there is to keep: they lie compressed,
/// as the log has them, at a tenth of their size. What is asked for with every row lies open.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The cohort.
    pub(crate) key: Arc<CohortKey>,
    /// The epoch that numbered it.
    pub(crate) epoch: Epoch,
    /// Its number there.
    pub(crate) cohort: CohortId,
    /// Its shard.
    pub(crate) shard: u16,
    /// Slot by slot; at most [`SLOTS_MAX`]. None of them while the layout [rests](Self::rest).
    slots: Vec<Slotted>,
    /// All slots once, in order.
    packed: Vec<PackedSlots>,
    /// Slots whose values are not stored.
    not_taken: usize,
    /// Rises with each change to a slot that was there before, and starts anew for each layout that is made: a shard keeps what it derived
    /// from a layout while this stands.
    pub(crate) changes: u64,
}

/// What of a slot lies open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slotted {
    /// Why its values are not stored.
    Not(RefusalReason),
    /// The hash of what its series is defined as.
    Series(u64),
}

impl Layout {
    pub(crate) fn new(
        (agent, epoch): &(AgentId, Epoch),
        cohort: CohortId,
        name: &Arc<str>,
        (shards, changes): (u16, u64),
    ) -> Self {
        let key = CohortKey {
            agent: agent.clone(),
            name: Arc::clone(name),
        };
        Self {
            shard: key.shard(shards),
            key: Arc::new(key),
            epoch: *epoch,
            cohort,
            slots: Vec::new(),
            packed: Vec::new(),
            not_taken: 0,
            changes,
        }
    }

    /// Gives up what lies open, which is two thirds of it; [`wake`](Self::wake) comes before anything else.
    pub(crate) fn rest(&mut self) {
        self.slots = Vec::new();
    }

    /// Lays open again what [`rest`](Self::rest) gave up; unpacks all slots.
    pub(crate) fn wake(&mut self) {
        let unpacked = self.packed.iter().flat_map(PackedSlots::unpack);
        self.slots = unpacked.map(|state| slotted(&state)).collect();
    }

    /// Returns the number of slots; those past the end are undefined.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns why values of a slot are not stored; `None` when they are.
    pub(crate) fn refusal(&self, slot: usize) -> Option<RefusalReason> {
        match self.slots.get(slot) {
            Some(Slotted::Series(_)) => None,
            Some(Slotted::Not(reason)) => Some(*reason),
            None => Some(RefusalReason::Undefined),
        }
    }

    /// Returns whether a slot is defined as this series.
    pub(crate) fn is(&self, slot: usize, series: &SeriesDefinition) -> bool {
        self.slots.get(slot) == Some(&Slotted::Series(hash(series)))
    }

    /// Sets the states of the slots from `first` on; what would lie past [`SLOTS_MAX`] is left out.
    pub(crate) fn set(&mut self, first: Slot, mut states: Vec<SlotState>) {
        let mut first = usize::from(first);
        states.truncate(SLOTS_MAX.saturating_sub(first));
        if states.is_empty() {
            return;
        }
        if first > self.len() {
            let mut gap = vec![SlotState::Undefined; first - self.len()];
            gap.append(&mut states);
            (first, states) = (self.len(), gap);
        }
        // Those from the first packed part on that changes: all parts behind it are made anew.
        let part = self.packed.partition_point(|part| part.end() <= first);
        let part = part.min(self.packed.len());
        let last_is_small =
            part == self.packed.len() && self.packed.last().is_some_and(PackedSlots::takes_more);
        let part = if last_is_small { part - 1 } else { part };
        let from = self
            .packed
            .get(part)
            .map_or(self.len(), |part| usize::from(part.first));
        let mut anew: Vec<SlotState> = self.packed[part..]
            .iter()
            .flat_map(PackedSlots::unpack)
            .collect();
        for (slot, state) in (first - from..).zip(states) {
            if slot < anew.len() {
                if anew[slot] != state {
                    self.changes += 1;
                }
                anew[slot] = state;
            } else {
                anew.push(state);
            }
        }
        self.slots.truncate(from);
        self.slots.extend(anew.iter().map(slotted));
        let taken = |slot: &&Slotted| matches!(slot, Slotted::Series(_));
        self.not_taken = self.len() - self.slots.iter().filter(taken).count();
        self.packed.truncate(part);
        let from = Slot::try_from(from).expect("bounded to 16,384 slots");
        self.packed.extend(PackedSlots::pack_all(from, &anew));
    }

    /// Sets the states of slots that come packed, as [`set`](Self::set) does.
    pub(crate) fn set_packed(&mut self, packed: PackedSlots, states: Vec<SlotState>) {
        let last_is_small = self.packed.last().is_some_and(PackedSlots::takes_more);
        let follows = usize::from(packed.first) == self.len() && packed.end() <= SLOTS_MAX;
        if !follows || last_is_small || states.is_empty() {
            return self.set(packed.first, states);
        }
        self.slots.extend(states.iter().map(slotted));
        let taken = |state: &&SlotState| matches!(state, SlotState::Series(_));
        self.not_taken += states.len() - states.iter().filter(taken).count();
        self.packed.push(packed);
    }

    /// Returns the packed parts that have slots from `slot` on; the first may begin before it.
    pub(crate) fn packed_from(&self, slot: usize) -> &[PackedSlots] {
        let part = self.packed.partition_point(|part| part.end() <= slot);
        &self.packed[part..]
    }

    /// Returns the slots from `slot` on with their states; unpacks them.
    pub(crate) fn states_from(&self, slot: usize) -> impl Iterator<Item = (usize, SlotState)> + '_ {
        let numbered = |part: &PackedSlots| (usize::from(part.first)..).zip(part.unpack());
        let parts = self.packed_from(slot).iter();
        parts
            .flat_map(numbered)
            .skip_while(move |(at, _)| *at < slot)
    }

    /// Returns whether the values of the first `slots` slots, and more, are all stored: rows then need no look at their slots.
    pub(crate) const fn takes_all(&self, slots: usize) -> bool {
        self.not_taken == 0 && slots <= self.slots.len()
    }
}

fn slotted(state: &SlotState) -> Slotted {
    match state {
        SlotState::Undefined => Slotted::Not(RefusalReason::Undefined),
        SlotState::Refused(reason) => Slotted::Not(*reason),
        SlotState::Series(series) => Slotted::Series(hash(series)),
    }
}

/// 64 bits: that a slot is defined anew as a series with the hash of another happens once in some 10^19 times. A series is its labels: its
/// metric's type may be told later, and differently.
fn hash(series: &SeriesDefinition) -> u64 {
    hash_of(&series.labels, 0)
}

#[cfg(test)]
mod tests {
    use model::{Labels, MetricType};

    use super::*;

    fn series(id: usize) -> SlotState {
        let id = id.to_string();
        SlotState::Series(SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "m"), ("id", &id)]).unwrap(),
            kind: MetricType::Counter,
        })
    }

    fn layout() -> Layout {
        let epoch = ("a".parse().unwrap(), Epoch(1));
        Layout::new(&epoch, CohortId(0), &Arc::from("c"), (1, 0))
    }

    #[test]
    fn what_was_set_comes_back_however_it_came() {
        for step in [1, 7, 1_000, 5_000] {
            let mut layout = layout();
            let mut twin: Vec<SlotState> = Vec::new();
            for first in (0..9_000).step_by(step) {
                let states: Vec<_> = (first..first + step.min(9_000 - first))
                    .map(series)
                    .collect();
                twin.extend(states.iter().cloned());
                layout.set(u16::try_from(first).unwrap(), states);
            }
            assert_eq!((layout.changes, layout.takes_all(9_000)), (0, true));
            for (slot, state) in [
                (3, SlotState::Refused(RefusalReason::Memory)),
                (8_999, series(1)),
            ] {
                layout.set(u16::try_from(slot).unwrap(), vec![state.clone()]);
                twin[slot] = state;
            }
            layout.set(9_002, vec![series(2)]);
            twin.extend([SlotState::Undefined, SlotState::Undefined, series(2)]);
            assert_eq!(layout.changes, 2);
            for from in [0, 1, 4_000, 9_001, 9_003, 20_000] {
                let states: Vec<_> = layout.states_from(from).map(|(_, state)| state).collect();
                assert_eq!(states, twin[from.min(twin.len())..]);
            }
            assert_eq!(layout.refusal(3), Some(RefusalReason::Memory));
            assert_eq!(layout.refusal(9_001), Some(RefusalReason::Undefined));
            assert!(!layout.takes_all(5));
            let mut rested = layout.clone();
            rested.rest();
            rested.wake();
            assert_eq!(rested.slots, layout.slots);
            let SlotState::Series(second) = series(2) else {
                unreachable!()
            };
            assert!(layout.is(9_002, &second) && layout.is(2, &second) && !layout.is(3, &second));
        }
    }

    #[test]
    fn nothing_lies_past_the_last_slot() {
        let mut layout = layout();
        let last = u16::try_from(SLOTS_MAX - 1).unwrap();
        layout.set(last, vec![series(0), series(1)]);
        layout.set(last + 1, vec![series(2)]);
        assert_eq!(layout.len(), SLOTS_MAX);
    }
}
