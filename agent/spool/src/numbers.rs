//! Arithmetic on closed intervals of batch numbers.

use rows::NumberSet;

/// A closed interval.
pub(crate) type Interval = (u64, u64);

/// The end of the interval of a rising list that contains `number`.
pub(crate) fn reach_in(intervals: &[Interval], number: u64) -> Option<u64> {
    let at = intervals.partition_point(|(first, _)| *first <= number);
    let (_, last) = intervals[..at].last()?;
    (number <= *last).then_some(*last)
}

/// The end of the interval of `set` that contains `number`.
pub(crate) fn reach_in_set(set: &NumberSet, number: u64) -> Option<u64> {
    set.intervals()
        .find(|(first, last)| first.0 <= number && number <= last.0)
        .map(|(_, last)| last.0)
}

/// Whether `set` has any number of `range`.
pub(crate) fn intersects(set: &NumberSet, range: Interval) -> bool {
    set.intervals()
        .any(|(first, last)| first.0 <= range.1 && range.0 <= last.0)
}

/// The first number of `range` for which `reach` (the end of what covers a number) has nothing.
pub(crate) fn first_uncovered(range: Interval, reach: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    let mut number = range.0;
    while number <= range.1 {
        match reach(number) {
            Some(last) => number = last.checked_add(1)?,
            None => return Some(number),
        }
    }
    None
}

/// How many numbers of `range` nothing covers.
pub(crate) fn count_uncovered(range: Interval, reach: impl Fn(u64) -> Option<u64>) -> u64 {
    let (mut from, mut count) = (range.0, 0);
    while let Some(number) = first_uncovered((from, range.1), &reach) {
        count += 1;
        match number.checked_add(1) {
            Some(next) => from = next,
            None => break,
        }
    }
    count
}

/// Adds `interval` to a rising list, joining what touches; returns how many numbers are new.
pub(crate) fn add_interval(intervals: &mut Vec<Interval>, interval: Interval) -> u64 {
    let new = count_uncovered(interval, |number| reach_in(intervals, number));
    if new == 0 {
        return 0;
    }
    let (mut first, mut last) = interval;
    intervals.retain(|(from, to)| {
        let touches = *from <= last.saturating_add(1) && first <= to.saturating_add(1);
        if touches {
            first = first.min(*from);
            last = last.max(*to);
        }
        !touches
    });
    let at = intervals.partition_point(|(from, _)| *from < first);
    intervals.insert(at, (first, last));
    new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intervals_agree_with_a_plain_set(added in prop::collection::vec((0u64..40, 0u64..8), 0..12), range in (0u64..40, 0u64..20)) {
            let (mut intervals, mut model) = (Vec::new(), BTreeSet::new());
            for (first, length) in added {
                let before = model.len() as u64;
                model.extend(first..=first + length);
                prop_assert_eq!(add_interval(&mut intervals, (first, first + length)), model.len() as u64 - before);
            }
            prop_assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let range = (range.0, range.0 + range.1);
            let uncovered: Vec<u64> = (range.0..=range.1).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(first_uncovered(range, |n| reach_in(&intervals, n)), uncovered.first().copied());
            prop_assert_eq!(count_uncovered(range, |n| reach_in(&intervals, n)), uncovered.len() as u64);
        }
    }
}
