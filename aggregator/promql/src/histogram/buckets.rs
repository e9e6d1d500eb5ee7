//! Bounds of buckets, and walking over all of them.

use super::{Counts, FloatHistogram};

/// A bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
    /// Whether the lower and the upper bound belong to it.
    pub(crate) closed: (bool, bool),
    pub(crate) is_zero: bool,
}

/// Returns the upper bound of the exponential bucket of this index.
pub(crate) fn exponential_bound(index: i32, schema: i8) -> f64 {
    let exponent = if schema < 0 {
        f64::from(index) * f64::from(1_u32 << u32::from(schema.unsigned_abs()).min(31))
    } else {
        f64::from(index) / f64::from(1_u32 << u32::from(schema.unsigned_abs()).min(31))
    };
    // The greatest bucket that can be reached ends at the greatest double.
    if exponent == 1024.0 {
        return f64::MAX;
    }
    exponent.exp2()
}

impl FloatHistogram {
    /// Returns the bounds of a positive (or custom) bucket.
    pub(crate) fn bounds_of(&self, index: i32) -> (f64, f64) {
        if self.has_custom_bounds() {
            let bound = |at: i32| {
                usize::try_from(at)
                    .ok()
                    .and_then(|at| self.bounds.get(at).copied())
            };
            let lower = if index <= 0 {
                f64::NEG_INFINITY
            } else {
                bound(index - 1).unwrap_or(f64::INFINITY)
            };
            return (lower, bound(index).unwrap_or(f64::INFINITY));
        }
        (
            exponential_bound(index.saturating_sub(1), self.schema),
            exponential_bound(index, self.schema),
        )
    }

    /// Returns all buckets from the lowest to the highest; the zero bucket only when it holds anything.
    pub(crate) fn all_buckets(&self) -> Vec<Bucket> {
        let mut all = Vec::with_capacity(self.negative.len() + self.positive.len() + 1);
        for (index, count) in self.negative.iter().rev() {
            let (lower, upper) = self.bounds_of(*index);
            all.push(Bucket {
                lower: -upper,
                upper: -lower,
                count: *count,
                closed: (true, false),
                is_zero: false,
            });
        }
        if self.zero_count != 0.0 {
            all.push(Bucket {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
                count: self.zero_count,
                closed: (true, true),
                is_zero: true,
            });
        }
        for (index, count) in &self.positive {
            let (lower, upper) = self.bounds_of(*index);
            all.push(Bucket {
                lower,
                upper,
                count: *count,
                closed: (self.has_custom_bounds() && lower == f64::NEG_INFINITY, true),
                is_zero: false,
            });
        }
        // What the zero bucket covers of its neighbours is the zero bucket's.
        for bucket in &mut all {
            if bucket.is_zero || self.has_custom_bounds() {
                continue;
            }
            if bucket.lower >= 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            } else if bucket.upper <= 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            }
        }
        all
    }

    /// Returns the bounds to use for the zero bucket: one-sided when only one side has buckets.
    pub(crate) fn zero_bounds(&self) -> (f64, f64) {
        let width = self.zero_threshold;
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => (0.0, width),
            (false, true) => (-width, 0.0),
            _ => (-width, width),
        }
    }
}

/// Returns counts brought to a lower schema.
pub(crate) fn reduce(counts: &Counts, from: i8, to: i8) -> Counts {
    let shift = u32::from(from.saturating_sub(to).unsigned_abs()).min(31);
    let mut reduced = Counts::with_capacity(counts.len());
    for (index, count) in counts {
        let target = (index.saturating_sub(1) >> shift).saturating_add(1);
        match reduced.last_mut() {
            Some((last, sum)) if *last == target => *sum += count,
            _ => reduced.push((target, *count)),
        }
    }
    reduced
}
