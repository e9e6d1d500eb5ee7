//! Quantiles of what was observed last.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use exposition::{Family, Part};

use crate::{Counter, Metric, Visitor};

/// Quantiles are those of so many observations.
const KEPT: usize = 256;

/// Observations of which sum, count and some quantiles are shown. Clones count together.
///
/// For what must look as a Prometheus client's summary does; a [`Histogram`](crate::Histogram) adds up over processes and is the
/// better choice otherwise. The quantiles are exact, and those of the last 256 observations; NaN before there is one. 2 KiB each.
#[derive(Clone)]
pub struct Summary(Arc<Parts>);

struct Parts {
    quantiles: &'static [f64],
    /// Counted before the observation is stored, so that two at once have places of their own.
    count: AtomicU64,
    sum: Counter,
    last: [AtomicU64; KEPT],
}

impl Summary {
    /// Returns a summary that no registry knows, with these quantiles, which ascend between 0 and 1.
    pub fn new(quantiles: &'static [f64]) -> Self {
        Self(Arc::new(Parts {
            quantiles,
            count: AtomicU64::new(0),
            sum: Counter::new(),
            last: [const { AtomicU64::new(0) }; KEPT],
        }))
    }

    /// Counts an observation, which is not negative.
    pub fn observe(&self, value: Duration) {
        self.put(value.as_secs_f64());
        self.0.sum.add_duration(value);
    }

    /// Counts an observation of a whole number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; above 2^53 a count is rounded"
    )]
    pub fn observe_count(&self, value: u64) {
        self.put(value as f64);
        self.0.sum.add(value);
    }

    fn put(&self, value: f64) {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number % KEPT as u64).unwrap_or(0);
        self.0.last[at].store(value.to_bits(), Ordering::Relaxed);
    }

    fn sorted(&self, count: u64) -> Vec<f64> {
        let kept = usize::try_from(count).unwrap_or(KEPT).min(KEPT);
        let last = self.0.last.iter().take(kept);
        let mut sorted: Vec<f64> = last
            .map(|bits| f64::from_bits(bits.load(Ordering::Relaxed)))
            .collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl Metric for Summary {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quantile is between 0 and 1, and there are 256 values"
    )]
    fn visit(&self, family: &Family<'_>, labels: &[(&str, &str)], visitor: &mut dyn Visitor) {
        let count = self.0.count.load(Ordering::Relaxed);
        let sorted = self.sorted(count);
        for quantile in self.0.quantiles {
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            let value = sorted.get(rank.saturating_sub(1));
            let value = value.copied().unwrap_or(f64::NAN);
            visitor.sample(family, Part::Quantile(*quantile), labels, value);
        }
        visitor.sample(family, Part::Sum, labels, self.0.sum.value());
        visitor.sample(family, Part::Count, labels, count as f64);
    }
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Summary")
            .field("quantiles", &self.0.quantiles)
            .field("count", &self.0.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use exposition::Format;

    use crate::Registry;

    #[test]
    fn quantiles_are_of_the_last_observations_sum_and_count_of_all() {
        let registry = Registry::new();
        let sizes =
            registry.summary_family("size_bytes", "Sizes.", &[0.1, 0.5, 1.0], ["method"], 2);
        let put = sizes.with(["put"]);
        let expect = |lines: [&str; 5]| {
            let expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let header = "# HELP size_bytes Sizes.\n# TYPE size_bytes summary\n";
            assert_eq!(registry.expose(Format::Text), format!("{header}{expected}"));
        };
        let quantile = |quantile, value: &str| {
            format!("size_bytes{{method=\"put\",quantile=\"{quantile}\"}} {value}")
        };
        expect([
            &quantile("0.1", "NaN"),
            &quantile("0.5", "NaN"),
            &quantile("1", "NaN"),
            "size_bytes_sum{method=\"put\"} 0",
            "size_bytes_count{method=\"put\"} 0",
        ]);
        for size in 1..=10 {
            put.observe_count(size);
        }
        expect([
            &quantile("0.1", "1"),
            &quantile("0.5", "5"),
            &quantile("1", "10"),
            "size_bytes_sum{method=\"put\"} 55",
            "size_bytes_count{method=\"put\"} 10",
        ]);
        for _ in 0..256 {
            put.observe_count(3);
        }
        expect([
            &quantile("0.1", "3"),
            &quantile("0.5", "3"),
            &quantile("1", "3"),
            "size_bytes_sum{method=\"put\"} 823",
            "size_bytes_count{method=\"put\"} 266",
        ]);
    }
}
