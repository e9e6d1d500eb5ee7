//! Spans of time, put together.

use crate::{TimeRange, TimestampMs};

/// Spans of time that do not touch each other, in order: at most so many. When there would be more, the two that are closest become one, so
/// that a set only ever covers more than it was told, and not less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    ranges: Vec<TimeRange>,
}

impl Spans {
    /// The most spans of a set.
    pub const MOST: usize = 64;

    /// Adds a span; an empty one is none.
    pub fn add(&mut self, range: TimeRange) {
        if range.start > range.end {
            return;
        }
        let from = self
            .ranges
            .partition_point(|known| known.end.0.saturating_add(1) < range.start.0);
        let to = self
            .ranges
            .partition_point(|known| known.start.0 <= range.end.0.saturating_add(1));
        let touched = &self.ranges[from..to];
        let start = touched.first().map_or(range.start, |first| first.start);
        let end = touched.last().map_or(range.end, |last| last.end);
        let joined = TimeRange::new(start.min(range.start), end.max(range.end));
        self.ranges.splice(from..to, [joined]);
        if self.ranges.len() > Self::MOST {
            self.join_closest();
        }
    }

    /// Adds all spans of another set.
    pub fn add_all(&mut self, other: &Self) {
        for range in &other.ranges {
            self.add(*range);
        }
    }

    fn join_closest(&mut self) {
        let gap = |at: &usize| self.ranges[at + 1].start.0 - self.ranges[*at].end.0;
        if let Some(at) = (0..self.ranges.len() - 1).min_by_key(gap) {
            self.ranges[at].end = self.ranges[at + 1].end;
            self.ranges.remove(at + 1);
        }
    }

    /// Takes away what lies before `start`; returns whether there was anything.
    pub fn forget_before(&mut self, start: TimestampMs) -> bool {
        let before = self.ranges.first().is_some_and(|first| first.start < start);
        self.ranges.retain(|range| range.end >= start);
        if let Some(first) = self.ranges.first_mut() {
            first.start = first.start.max(start);
        }
        before
    }

    /// Returns whether any span shares an instant with `range`.
    pub fn overlap(&self, range: TimeRange) -> bool {
        let at = self.ranges.partition_point(|known| known.end < range.start);
        self.ranges
            .get(at)
            .is_some_and(|known| known.overlaps(range))
    }

    /// Returns whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the spans, in order of time.
    pub fn as_slice(&self) -> &[TimeRange] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(TimestampMs(start), TimestampMs(end))
    }

    proptest! {
        #[test]
        fn few_spans_are_exactly_those_added(added in prop::collection::vec((0i64..200, -2i64..9), 0..20), start in 0i64..200) {
            let (mut spans, mut twin) = (Spans::default(), BTreeSet::new());
            for (start, length) in added {
                spans.add(range(start, start + length));
                twin.extend(start..=start + length);
            }
            let covered = |spans: &Spans| -> BTreeSet<i64> {
                spans.as_slice().iter().flat_map(|span| span.start.0..=span.end.0).collect()
            };
            prop_assert_eq!(covered(&spans), twin.clone());
            prop_assert!(spans.as_slice().windows(2).all(|pair| pair[0].end.0 + 1 < pair[1].start.0));
            prop_assert_eq!(spans.overlap(range(start, start + 5)), twin.range(start..=start + 5).next().is_some());
            let before = twin.range(..start).next().is_some();
            prop_assert_eq!(spans.forget_before(TimestampMs(start)), before);
            prop_assert_eq!(covered(&spans), twin.split_off(&start));
        }
    }

    #[test]
    fn too_many_become_fewer_that_cover_more() {
        let mut spans = Spans::default();
        for at in 0..1_000 {
            spans.add(range(at * at * 10, at * at * 10 + 1));
        }
        assert_eq!(spans.as_slice().len(), Spans::MOST);
        assert!((0..1_000).all(|at| spans.overlap(range(at * at * 10, at * at * 10))));
        spans.add(TimeRange::ALL);
        assert_eq!(spans.as_slice(), [TimeRange::ALL]);
    }
}
