//! Which batch numbers of an epoch a store has.

use crate::BatchNumber;

/// The most intervals a set may have; inserting a number that would need one more is refused.
pub const INTERVALS_MAX: usize = 64;

/// A set of batch numbers as at most [`INTERVALS_MAX`] closed intervals, rising, never touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet {
    intervals: Vec<(u64, u64)>,
}

impl NumberSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self {
            intervals: Vec::new(),
        }
    }

    /// Returns the set of these closed intervals; `None` unless they rise, do not touch and are at most [`INTERVALS_MAX`].
    pub fn from_intervals(
        intervals: impl IntoIterator<Item = (BatchNumber, BatchNumber)>,
    ) -> Option<Self> {
        let intervals: Vec<(u64, u64)> = intervals
            .into_iter()
            .take(INTERVALS_MAX + 1)
            .map(|(first, last)| (first.0, last.0))
            .collect();
        let rising = intervals.iter().all(|(first, last)| first <= last);
        let apart = intervals.windows(2).all(|pair| {
            pair[0]
                .1
                .checked_add(1)
                .is_some_and(|next| next < pair[1].0)
        });
        (rising && apart && intervals.len() <= INTERVALS_MAX).then_some(Self { intervals })
    }

    /// Returns the closed intervals, rising.
    pub fn intervals(&self) -> impl ExactSizeIterator<Item = (BatchNumber, BatchNumber)> + '_ {
        self.intervals
            .iter()
            .map(|(first, last)| (BatchNumber(*first), BatchNumber(*last)))
    }

    /// Returns whether `number` is in the set.
    pub fn contains(&self, number: BatchNumber) -> bool {
        self.at_or_before(number.0)
            .is_some_and(|at| number.0 <= self.intervals[at].1)
    }

    /// Returns whether [`insert`](Self::insert) would take `number`: it is in the set, extends an interval, or there is room for one.
    pub fn has_room_for(&self, number: BatchNumber) -> bool {
        let mut copy = self.clone();
        copy.insert(number).is_some()
    }

    /// Adds `number`: `Some(true)` when it is new, `Some(false)` when it was there, `None` (and no change) when it would need one
    /// interval too many.
    pub fn insert(&mut self, number: BatchNumber) -> Option<bool> {
        let number = number.0;
        let before = self.at_or_before(number);
        if before.is_some_and(|at| number <= self.intervals[at].1) {
            return Some(false);
        }
        let after = before.map_or(0, |at| at + 1);
        let extends_before =
            before.filter(|at| self.intervals[*at].1.checked_add(1) == Some(number));
        let extends_after = self
            .intervals
            .get(after)
            .is_some_and(|next| number.checked_add(1) == Some(next.0));
        match (extends_before, extends_after) {
            (Some(at), true) => self.intervals[at].1 = self.intervals.remove(after).1,
            (Some(at), false) => self.intervals[at].1 = number,
            (None, true) => self.intervals[after].0 = number,
            (None, false) if self.intervals.len() < INTERVALS_MAX => {
                self.intervals.insert(after, (number, number))
            }
            (None, false) => return None,
        }
        Some(true)
    }

    /// Adds all numbers below `floor`: they will never come, so they need not be waited for nor told apart.
    pub fn settle_below(&mut self, floor: BatchNumber) {
        let Some(last) = floor.0.checked_sub(1) else {
            return;
        };
        let reach = match self.at_or_before(floor.0) {
            // An interval that touches the floor is swallowed by the new first one.
            Some(at) => self.intervals[at].1.max(last),
            None => last,
        };
        self.intervals.retain(|(first, _)| *first > floor.0);
        self.intervals.insert(0, (0, reach));
    }

    /// Returns the highest number in the set.
    pub fn last(&self) -> Option<BatchNumber> {
        self.intervals.last().map(|(_, last)| BatchNumber(*last))
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The index of the last interval that starts at or before `number`.
    fn at_or_before(&self, number: u64) -> Option<usize> {
        self.intervals
            .partition_point(|(first, _)| *first <= number)
            .checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(operations in prop::collection::vec((0u64..60, prop::bool::weighted(0.1)), 0..120)) {
            let (mut set, mut model) = (NumberSet::new(), BTreeSet::new());
            for (number, settle) in operations {
                if settle {
                    set.settle_below(BatchNumber(number));
                    model.extend(0..number);
                } else {
                    prop_assert_eq!(set.insert(BatchNumber(number)), Some(model.insert(number)));
                }
                for n in 0..62 { prop_assert_eq!(set.contains(BatchNumber(n)), model.contains(&n), "{} in {:?}", n, set); }
                prop_assert_eq!(NumberSet::from_intervals(set.intervals()), Some(set.clone()));
                prop_assert_eq!(set.last().map(|n| n.0), model.last().copied());
            }
        }
    }

    #[test]
    fn a_full_set_refuses_new_intervals_but_not_extensions() {
        let mut set = NumberSet::new();
        for n in 0..INTERVALS_MAX as u64 {
            assert_eq!(set.insert(BatchNumber(n * 3)), Some(true));
        }
        assert_eq!(set.insert(BatchNumber(1_000)), None);
        assert!(!set.has_room_for(BatchNumber(1_000)));
        assert_eq!(set.insert(BatchNumber(1)), Some(true));
        set.settle_below(BatchNumber(100));
        assert_eq!(set.insert(BatchNumber(1_000)), Some(true));
    }

    #[test]
    fn intervals_from_outside_are_checked() {
        let n = BatchNumber;
        assert!(NumberSet::from_intervals([(n(3), n(1))]).is_none());
        assert!(NumberSet::from_intervals([(n(0), n(1)), (n(2), n(3))]).is_none());
        assert!(NumberSet::from_intervals((0..65).map(|i| (n(i * 2), n(i * 2)))).is_none());
        assert!(NumberSet::from_intervals([(n(u64::MAX), n(u64::MAX)), (n(0), n(0))]).is_none());
    }
}
