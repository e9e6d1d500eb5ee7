//! Which samples each instant looks at.
//!
//! Windows are left-open: an instant `t` with a range `r` sees the samples after `t - r`, up to and including `t`.

use model::TimestampMs;

use crate::Grid;

/// The instants at which a selector looks, one per instant of the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookTimes {
    grid: Grid,
    fixed: Option<i64>,
    offset_ms: i64,
}

impl LookTimes {
    pub(crate) const fn new(grid: Grid, fixed: Option<i64>, offset_ms: i64) -> Self {
        Self {
            grid,
            fixed,
            offset_ms,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.grid.len()
    }

    /// Returns where instant `index` looks, in milliseconds.
    pub(crate) fn at(self, index: usize) -> i64 {
        self.fixed
            .unwrap_or_else(|| self.grid.at(index).0)
            .saturating_sub(self.offset_ms)
    }

    /// Returns the greatest number that divides all instants, and `other`; 0 when all are 0.
    pub(crate) fn common_divisor(self, other: i64) -> u64 {
        let divisor = greatest_divisor(self.first().unsigned_abs(), other.unsigned_abs());
        if self.fixed.is_some() || self.len() <= 1 {
            return divisor;
        }
        greatest_divisor(divisor, self.grid.step_ms.unsigned_abs())
    }

    pub(crate) fn first(self) -> i64 {
        self.at(0)
    }

    pub(crate) fn last(self) -> i64 {
        self.at(self.len().saturating_sub(1))
    }
}

const fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How far a window reaches from the instant that looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) back_ms: i64,
    pub(crate) ahead_ms: i64,
}

/// Per instant, the samples of its window: indexes from `low` to before `high`. Those of nothing are not held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    windows: Vec<(u32, u32)>,
    /// The samples in all windows together, and in the largest.
    sizes: (u64, u64),
}

impl Bounds {
    /// What the windows of an instant take.
    pub(crate) const BYTES_PER_INSTANT: usize = size_of::<(u32, u32)>();

    /// Returns the windows of `look` over rising `times`, in one pass.
    pub(crate) fn new(times: &[TimestampMs], look: LookTimes, reach: Reach) -> Self {
        let count = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let (mut low, mut high) = (0, 0);
        let windows: Vec<(u32, u32)> = (0..look.len())
            .map(|index| {
                let at = look.at(index);
                let after = at.saturating_sub(reach.back_ms);
                let until = at.saturating_add(reach.ahead_ms);
                while times.get(low).is_some_and(|time| time.0 <= after) {
                    low += 1;
                }
                high = high.max(low);
                while times.get(high).is_some_and(|time| time.0 <= until) {
                    high += 1;
                }
                (count(low), count(high))
            })
            .collect();
        let sizes = windows.iter().fold((0, 0), |(sum, max), (low, high)| {
            let size = u64::from(high - low);
            (sum + size, size.max(max))
        });
        Self { windows, sizes }
    }

    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    /// Returns the window of an instant.
    pub(crate) fn of(&self, index: usize) -> (u32, u32) {
        self.windows.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn at(&self, index: usize) -> (usize, usize) {
        let (low, high) = self.of(index);
        (low as usize, high as usize)
    }

    /// Returns the samples in all windows together, and in the largest.
    pub(crate) const fn sizes(&self) -> (u64, u64) {
        self.sizes
    }

    /// Returns the samples that windows reach over: windows go forward, so these are from the first of the first to the last of the last.
    pub(crate) fn extent(&self) -> (usize, usize) {
        match (self.windows.first(), self.windows.last()) {
            (Some((low, _)), Some((_, high))) => (*low as usize, *high as usize),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn windows_are_what_a_scan_finds(
            gaps in prop::collection::vec(1_i64..50, 0..60),
            start in -500_i64..500, steps in 1_i64..20, step in 1_i64..70,
            back_ms in 0_i64..200, ahead_ms in 0_i64..50, offset_ms in -100_i64..100,
            fixed in prop::option::of(-500_i64..1_500),
        ) {
            let times: Vec<TimestampMs> = gaps
                .iter()
                .scan(0, |at, gap| { *at += gap; Some(TimestampMs(*at)) })
                .collect();
            let grid = Grid { start: TimestampMs(start), end: TimestampMs(start + (steps - 1) * step), step_ms: step };
            let look = LookTimes::new(grid, fixed, offset_ms);
            let bounds = Bounds::new(&times, look, Reach { back_ms, ahead_ms });
            for index in 0..grid.len() {
                let (low, high) = bounds.at(index);
                let at = fixed.unwrap_or_else(|| grid.at(index).0) - offset_ms;
                let expected: Vec<_> = times
                    .iter()
                    .filter(|time| time.0 > at - back_ms && time.0 <= at + ahead_ms)
                    .collect();
                prop_assert_eq!(times[low..high].iter().collect::<Vec<_>>(), expected);
            }
        }
    }
}
