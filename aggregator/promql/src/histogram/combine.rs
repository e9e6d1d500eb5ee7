//! Adding and subtracting histograms of different layouts: the coarser schema, the wider zero bucket, the bounds both have.

use model::CounterReset;

use super::buckets::{exponential_bound, reduce};
use super::{Counts, FloatHistogram};

/// Exponential and custom buckets cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// What else a combination did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combined {
    /// One side says that the counter was reset, the other that it was not.
    pub(crate) reset_collision: bool,
    /// Custom bounds that only one side has were given up.
    pub(crate) bounds_reconciled: bool,
}

/// What buckets a histogram has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    schema: i8,
    zero_threshold: f64,
    bounds: Vec<f64>,
}

impl FloatHistogram {
    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) -> Result<Combined, Incompatible> {
        self.combine(other, |own, other| own + other)
    }

    /// Subtracts `other`.
    pub(crate) fn subtract(&mut self, other: &Self) -> Result<Combined, Incompatible> {
        self.combine(other, |own, other| own - other)
    }

    fn combine(
        &mut self,
        other: &Self,
        operate: impl Fn(f64, f64) -> f64 + Copy,
    ) -> Result<Combined, Incompatible> {
        let (layout, bounds_reconciled) = common_layout(self, other)?;
        let reset_collision = self.combine_hints(other.reset);
        self.fit_layout(&layout);
        let mut other = other.clone();
        other.fit_layout(&layout);
        self.count = operate(self.count, other.count);
        self.sum = operate(self.sum, other.sum);
        self.zero_count = operate(self.zero_count, other.zero_count);
        self.positive = merge(&self.positive, &other.positive, operate);
        self.negative = merge(&self.negative, &other.negative, operate);
        Ok(Combined {
            reset_collision,
            bounds_reconciled,
        })
    }

    /// Combines what is known of resets; says whether the two contradict each other.
    pub(crate) fn combine_hints(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        match (self.reset, other) {
            (own, other) if own == other => {}
            (Gauge, _) => {}
            (_, Gauge) => self.reset = Gauge,
            (Unknown, _) => {}
            (_, Unknown) => self.reset = Unknown,
            _ => {
                self.reset = Unknown;
                return true;
            }
        }
        false
    }

    /// Brings the histogram to a layout that is no finer than its own.
    pub(crate) fn fit_layout(&mut self, layout: &Layout) {
        if self.has_custom_bounds() {
            if self.bounds != layout.bounds {
                self.positive = rebound(&self.positive, &self.bounds, &layout.bounds);
                self.bounds.clone_from(&layout.bounds);
            }
            return;
        }
        if self.schema > layout.schema {
            self.positive = reduce(&self.positive, self.schema, layout.schema);
            self.negative = reduce(&self.negative, self.schema, layout.schema);
            self.schema = layout.schema;
        }
        if self.zero_threshold < layout.zero_threshold {
            self.widen_zero(layout.zero_threshold);
        }
    }

    fn widen_zero(&mut self, threshold: f64) {
        let schema = self.schema;
        let mut moved = 0.0;
        for counts in [&mut self.positive, &mut self.negative] {
            counts.retain(|(index, count)| {
                let inside = exponential_bound(index.saturating_sub(1), schema) < threshold;
                if inside {
                    moved += count;
                }
                !inside
            });
        }
        self.zero_count += moved;
        self.zero_threshold = threshold;
    }

    /// Returns the zero threshold, at least `wanted`, that divides no filled bucket.
    pub(crate) fn threshold_for(&self, wanted: f64) -> f64 {
        let mut threshold = wanted;
        for (index, count) in self.positive.iter().chain(&self.negative) {
            let lower = exponential_bound(index.saturating_sub(1), self.schema);
            let upper = exponential_bound(*index, self.schema);
            if *count != 0.0 && lower < threshold && upper > threshold {
                threshold = upper;
            }
        }
        threshold
    }
}

/// Returns the layout that both can be brought to, and whether custom bounds differ.
pub(crate) fn common_layout(
    a: &FloatHistogram,
    b: &FloatHistogram,
) -> Result<(Layout, bool), Incompatible> {
    if a.has_custom_bounds() != b.has_custom_bounds() {
        return Err(Incompatible);
    }
    if a.has_custom_bounds() {
        let differ = a.bounds != b.bounds;
        let bounds = if differ {
            common_bounds(&a.bounds, &b.bounds)
        } else {
            a.bounds.clone()
        };
        let layout = Layout {
            schema: a.schema,
            zero_threshold: 0.0,
            bounds,
        };
        return Ok((layout, differ));
    }
    let schema = a.schema.min(b.schema);
    let mut zero_threshold = a.zero_threshold.max(b.zero_threshold);
    if a.zero_threshold != b.zero_threshold {
        // Widening for one may cut a bucket of the other; thresholds only grow, to one of finitely many bounds.
        loop {
            let next = b.threshold_for(a.threshold_for(zero_threshold));
            if next == zero_threshold {
                break;
            }
            zero_threshold = next;
        }
    }
    let layout = Layout {
        schema,
        zero_threshold,
        bounds: Vec::new(),
    };
    Ok((layout, false))
}

fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter()
        .copied()
        .filter(|bound| b.contains(bound))
        .collect()
}

/// Returns counts by coarser bounds, all of which are among the finer.
fn rebound(counts: &Counts, from: &[f64], to: &[f64]) -> Counts {
    let mut out = Counts::with_capacity(counts.len());
    for (index, count) in counts {
        let upper = usize::try_from(*index)
            .ok()
            .and_then(|at| from.get(at).copied())
            .unwrap_or(f64::INFINITY);
        let target = to.partition_point(|bound| *bound < upper);
        let target = i32::try_from(target).unwrap_or(i32::MAX);
        match out.last_mut() {
            Some((last, sum)) if *last == target => *sum += count,
            _ => out.push((target, *count)),
        }
    }
    out
}

/// Combines counts bucket by bucket; what one side lacks is zero.
pub(crate) fn merge(a: &Counts, b: &Counts, operate: impl Fn(f64, f64) -> f64) -> Counts {
    let mut out = Counts::with_capacity(a.len().max(b.len()));
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let index = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some((index, _)), None) | (None, Some((index, _))) => *index,
            (Some((a, _)), Some((b, _))) => *a.min(b),
        };
        let own = left
            .next_if(|(at, _)| *at == index)
            .map_or(0.0, |(_, c)| *c);
        let other = right
            .next_if(|(at, _)| *at == index)
            .map_or(0.0, |(_, c)| *c);
        out.push((index, operate(own, other)));
    }
}
