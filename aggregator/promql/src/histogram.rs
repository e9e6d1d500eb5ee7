//! Native histograms in the form that arithmetic wants: float counts by bucket index, without empty buckets.

mod buckets;
mod combine;
mod convert;
mod kahan;
pub(crate) mod quantile;
mod reset;
mod text;
pub(crate) mod trim;
mod view;

pub(crate) use buckets::Bucket;
pub(crate) use combine::{Combined, Incompatible};
pub use view::{BucketView, HistogramView};

pub(crate) use kahan::{KahanHistogram, MeanHistogram, ResetsSeen};

use model::{CUSTOM_BUCKETS_SCHEMA, CounterReset};

/// Returns a histogram as Prometheus writes it for people: `{count:3, sum:4, (1,2]:3}`.
pub fn histogram_text(histogram: &model::Histogram) -> String {
    FloatHistogram::from_model(histogram).to_string()
}

/// Counts by bucket index, rising.
pub(crate) type Counts = Vec<(i32, f64)>;

/// A native histogram of float counts.
///
/// The exponential bucket of index `i` ends at `2^(i * 2^-schema)`, included, and begins where the one before ends. With custom
/// bounds, index `i` ends at `bounds[i]`, the last at infinity; there are no negative buckets and no zero bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FloatHistogram {
    pub(crate) reset: CounterReset,
    pub(crate) schema: i8,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) positive: Counts,
    pub(crate) negative: Counts,
    pub(crate) bounds: Vec<f64>,
}

impl FloatHistogram {
    pub(crate) const fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Returns an empty histogram of the same layout.
    pub(crate) fn empty_like(&self) -> Self {
        Self {
            reset: CounterReset::Unknown,
            schema: self.schema,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Vec::new(),
            negative: Vec::new(),
            bounds: self.bounds.clone(),
        }
    }

    /// Multiplies all counts and the sum.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.apply(|value| value * factor);
        if factor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Divides all counts and the sum; buckets that a division by zero makes meaningless are removed.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.apply(|value| value / divisor);
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        }
        if divisor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    fn apply(&mut self, change: impl Fn(f64) -> f64) {
        self.zero_count = change(self.zero_count);
        self.count = change(self.count);
        self.sum = change(self.sum);
        for (_, count) in self.positive.iter_mut().chain(&mut self.negative) {
            *count = change(*count);
        }
    }

    /// Removes empty buckets.
    pub(crate) fn compact(&mut self) {
        self.positive.retain(|(_, count)| *count != 0.0);
        self.negative.retain(|(_, count)| *count != 0.0);
    }

    /// Whether any count or the sum has overflown.
    pub(crate) fn has_overflow(&self) -> bool {
        self.count.is_infinite()
            || self.sum.is_infinite()
            || self.zero_count.is_infinite()
            || self
                .positive
                .iter()
                .chain(&self.negative)
                .any(|(_, count)| count.is_infinite())
    }

    /// Whether both hold the same in the same buckets; NaN sums are equal when their bits are. Hints do not count.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let filled = |counts: &Counts| -> Counts {
            counts
                .iter()
                .copied()
                .filter(|(_, count)| *count != 0.0)
                .collect()
        };
        self.schema == other.schema
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && self.bounds == other.bounds
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && filled(&self.positive) == filled(&other.positive)
            && filled(&self.negative) == filled(&other.negative)
    }
}

#[cfg(test)]
mod tests;
