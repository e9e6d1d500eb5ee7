//! Cohorts as the store knows them: an identity that outlives epochs, and layouts with the fate of each slot.

use std::sync::Arc;

use rows::{AgentId, CohortId, Epoch, SLOTS_MAX, SeriesDefinition, Slot};
use storage::RefusalReason;
use xxhash_rust::xxh3::Xxh3;

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

impl SlotState {
    /// Returns why values of this slot are not stored; `None` when they are.
    pub(crate) const fn refusal(&self) -> Option<RefusalReason> {
        match self {
            Self::Undefined => Some(RefusalReason::Undefined),
            Self::Refused(reason) => Some(*reason),
            Self::Series(_) => None,
        }
    }
}

/// A cohort's slots within one epoch. Shards hold it by reference; it grows by copy when they do.
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
    /// Slot by slot; at most [`SLOTS_MAX`].
    pub(crate) slots: Vec<SlotState>,
    /// Slots whose values are not stored.
    not_taken: usize,
    /// Rises with each change to a slot that was there before, and starts anew for each layout that is made: a shard keeps what it derived
    /// from a layout while this stands.
    pub(crate) changes: u64,
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
            not_taken: 0,
            changes,
        }
    }

    /// Returns the state of a slot; those past the end are undefined.
    pub(crate) fn slot(&self, slot: usize) -> &SlotState {
        self.slots.get(slot).unwrap_or(&SlotState::Undefined)
    }

    /// Sets the state of a slot; slots past [`SLOTS_MAX`] are left alone.
    pub(crate) fn set(&mut self, slot: Slot, state: SlotState) {
        let slot = usize::from(slot);
        if slot >= SLOTS_MAX {
            return;
        }
        if slot >= self.slots.len() {
            self.not_taken += slot + 1 - self.slots.len();
            self.slots.resize(slot + 1, SlotState::Undefined);
        } else {
            self.changes += 1;
        }
        let taken = |state: &SlotState| usize::from(state.refusal().is_none());
        self.not_taken += taken(&self.slots[slot]);
        self.not_taken -= taken(&state);
        self.slots[slot] = state;
    }

    /// Returns whether the values of the first `slots` slots, and more, are all stored: rows then need no look at their slots.
    pub(crate) const fn takes_all(&self, slots: usize) -> bool {
        self.not_taken == 0 && slots <= self.slots.len()
    }
}
