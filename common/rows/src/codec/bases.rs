//! The rows that the next ones are encoded against, one per cohort, within bounds.

use std::collections::HashMap;
use std::sync::Arc;

use super::{COHORTS_MAX, WEIGHT_HELD_MAX, weight};
use crate::{CohortId, Row};

/// A row that others are encoded against, and what is remembered of its values.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) row: Arc<Row>,
    /// Per slot, what `decimal` remembers of its value.
    pub(super) exponents: Vec<u8>,
    /// Rows since the key row; a key row has 0.
    pub(super) age: u8,
}

/// A base as the codec looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) row: &'a Row,
    pub(super) exponents: &'a [u8],
}

impl Base {
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            row: &self.row,
            exponents: &self.exponents,
        }
    }
}

/// The last row of each cohort.
///
/// Both ends of a stream see the same rows in the same order, so both let go of the same ones when they must; should they disagree, the
/// reader misses a base and asks for key rows.
#[derive(Debug, Default)]
pub(super) struct Bases {
    by_cohort: HashMap<CohortId, Held>,
    weight: usize,
    tick: u64,
}

#[derive(Debug)]
struct Held {
    base: Base,
    weight: usize,
    used: u64,
}

impl Bases {
    pub(super) fn get(&self, cohort: CohortId) -> Option<&Base> {
        self.by_cohort.get(&cohort).map(|held| &held.base)
    }

    /// Replaces the bases of these rows' cohorts, then lets go of others if there are too many.
    pub(super) fn put(&mut self, bases: impl IntoIterator<Item = Base>) {
        self.tick += 1;
        for base in bases {
            let weight = weight::of_row(&base.row);
            let held = Held {
                weight,
                used: self.tick,
                base,
            };
            self.weight += weight;
            let before = self.by_cohort.insert(held.base.row.cohort, held);
            self.weight -= before.map_or(0, |held| held.weight);
        }
        if self.by_cohort.len() > COHORTS_MAX || self.weight > WEIGHT_HELD_MAX {
            self.shrink();
        }
    }

    pub(super) fn remove(&mut self, cohort: CohortId) {
        if let Some(held) = self.by_cohort.remove(&cohort) {
            self.weight -= held.weight;
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_cohort.clear();
        self.weight = 0;
    }

    /// Lets go of the least recently used until a quarter of both bounds is free, so that this is rare.
    fn shrink(&mut self) {
        let mut by_use: Vec<_> = self
            .by_cohort
            .iter()
            .map(|(cohort, held)| (held.used, *cohort))
            .collect();
        by_use.sort_unstable();
        for (_, cohort) in by_use {
            if self.by_cohort.len() <= COHORTS_MAX / 4 * 3 && self.weight <= WEIGHT_HELD_MAX / 4 * 3
            {
                break;
            }
            self.remove(cohort);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;

    use super::*;
    use crate::Presence;

    #[test]
    fn the_least_recently_used_go_first() {
        let base = |cohort, slots| Base {
            row: Arc::new(Row {
                cohort: CohortId(cohort),
                counter: 0,
                at: TimestampMs(0),
                presence: Presence::filled(slots, true),
                floats: vec![0.0; slots],
                histograms: vec![],
                start_times: vec![],
                exemplars: vec![],
            }),
            exponents: vec![0; slots],
            age: 0,
        };
        let mut bases = Bases::default();
        let slots = 16_384;
        let many = u32::try_from(WEIGHT_HELD_MAX / slots).unwrap();
        for cohort in 0..many {
            bases.put([base(cohort, slots)]);
        }
        bases.put([base(0, slots)]);
        assert!((0..many).all(|cohort| bases.get(CohortId(cohort)).is_some()));
        bases.put([base(many, slots)]);
        assert!(bases.get(CohortId(0)).is_some() && bases.get(CohortId(1)).is_none());
        assert!(bases.get(CohortId(many)).is_some());
        assert_eq!(bases.weight, WEIGHT_HELD_MAX / 4 * 3);
        bases.clear();
        assert_eq!(bases.weight, 0);
    }
}
