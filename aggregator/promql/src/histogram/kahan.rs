//! Compensated sums and means of histograms, bucket by bucket.

use model::CounterReset;

use super::combine::{Combined, Incompatible, common_layout, merge};
use super::{Counts, FloatHistogram};
use crate::functions::float::KahanSum;

/// A sum of histograms with the errors of its roundings.
#[derive(Clone, Debug)]
pub(crate) struct KahanHistogram {
    sum: FloatHistogram,
    compensation: FloatHistogram,
}

impl KahanHistogram {
    pub(crate) fn starting_at(first: FloatHistogram) -> Self {
        let mut compensation = first.empty_like();
        compensation.zero_threshold = first.zero_threshold;
        Self {
            sum: first,
            compensation,
        }
    }

    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, Incompatible> {
        let (layout, bounds_reconciled) = common_layout(&self.sum, other)?;
        let reset_collision = self.sum.combine_hints(other.reset);
        let mut other = other.clone();
        other.fit_layout(&layout);
        let (sum, rest) = (&mut self.sum, &mut self.compensation);
        sum.fit_layout(&layout);
        rest.fit_layout(&layout);
        (sum.count, rest.count) = plus(sum.count, rest.count, other.count);
        (sum.sum, rest.sum) = plus(sum.sum, rest.sum, other.sum);
        (sum.zero_count, rest.zero_count) = plus(sum.zero_count, rest.zero_count, other.zero_count);
        (sum.positive, rest.positive) = plus_counts(&sum.positive, &rest.positive, &other.positive);
        (sum.negative, rest.negative) = plus_counts(&sum.negative, &rest.negative, &other.negative);
        Ok(Combined {
            reset_collision,
            bounds_reconciled,
        })
    }

    pub(crate) fn has_overflow(&self) -> bool {
        self.sum.has_overflow()
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum.scale(factor);
        self.compensation.scale(factor);
    }

    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum.divide(divisor);
        self.compensation.divide(divisor);
    }

    /// Returns the sum, its error taken out.
    pub(crate) fn total(self) -> FloatHistogram {
        let (mut sum, rest) = (self.sum, self.compensation);
        sum.count += rest.count;
        sum.sum += rest.sum;
        sum.zero_count += rest.zero_count;
        sum.positive = merge(&sum.positive, &rest.positive, |a, b| a + b);
        sum.negative = merge(&sum.negative, &rest.negative, |a, b| a + b);
        sum
    }
}

fn plus(sum: f64, compensation: f64, value: f64) -> (f64, f64) {
    let next = KahanSum { sum, compensation }.plus(value);
    (next.sum, next.compensation)
}

fn plus_counts(sum: &Counts, compensation: &Counts, values: &Counts) -> (Counts, Counts) {
    let all = merge(&merge(sum, compensation, |_, _| 0.0), values, |_, _| 0.0);
    let at = |counts: &Counts, index: i32| {
        counts
            .binary_search_by_key(&index, |(at, _)| *at)
            .map_or(0.0, |place| counts[place].1)
    };
    all.into_iter()
        .map(|(index, _)| {
            let (sum, rest) = plus(at(sum, index), at(compensation, index), at(values, index));
            ((index, sum), (index, rest))
        })
        .unzip()
}

/// A mean of histograms: by the sum while that does not overflow, by steps from there on.
#[derive(Clone, Debug)]
pub(crate) struct MeanHistogram {
    state: KahanHistogram,
    incremental: bool,
    count: f64,
}

impl MeanHistogram {
    pub(crate) fn starting_at(first: FloatHistogram) -> Self {
        Self {
            state: KahanHistogram::starting_at(first),
            incremental: false,
            count: 1.0,
        }
    }

    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, Incompatible> {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.state.clone();
            let combined = next.add(other)?;
            if !next.has_overflow() {
                self.state = next;
                return Ok(combined);
            }
            self.incremental = true;
            self.state.divide(self.count - 1.0);
        }
        self.state.scale((self.count - 1.0) / self.count);
        let mut part = other.clone();
        part.divide(self.count);
        self.state.add(&part)
    }

    pub(crate) fn value(mut self) -> FloatHistogram {
        if !self.incremental {
            self.state.divide(self.count);
        }
        self.state.total()
    }
}

/// What was seen of counter resets among histograms that are brought together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResetsSeen {
    reset: bool,
    not_reset: bool,
}

impl ResetsSeen {
    pub(crate) fn see(&mut self, hint: CounterReset) {
        match hint {
            CounterReset::Reset => self.reset = true,
            CounterReset::NotReset => self.not_reset = true,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
    }

    pub(crate) const fn collide(self) -> bool {
        self.reset && self.not_reset
    }
}
