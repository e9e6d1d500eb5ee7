//! Counters, gauges and histograms: atomics behind a reference count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use exposition::{Family, Part};

use crate::Visitor;

/// Bounds for durations in seconds: the ones that Prometheus' client libraries take unless told otherwise.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Something that a registry can hold, alone or once per label set.
pub trait Metric: Clone + Send + Sync + fmt::Debug + 'static {
    /// Hands the present samples to `visitor`.
    fn visit(&self, family: &Family<'_>, labels: &[(&str, &str)], visitor: &mut dyn Visitor);
}

/// A float that is added to by many threads.
#[derive(Debug, Default)]
struct AtomicFloat(AtomicU64);

impl AtomicFloat {
    fn load(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn store(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    fn update(&self, change: impl Fn(f64) -> f64) {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let next = change(f64::from_bits(now)).to_bits();
            match self
                .0
                .compare_exchange_weak(now, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }
}

/// A value that only rises. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<CounterParts>);

/// Whole steps are one atomic addition; only fractions need a loop.
#[derive(Debug, Default)]
struct CounterParts {
    whole: AtomicU64,
    fraction: AtomicFloat,
}

impl Counter {
    /// Returns a counter that no registry knows, at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `count`.
    pub fn add(&self, count: u64) {
        self.0.whole.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts the seconds of `duration`.
    pub fn add_duration(&self, duration: Duration) {
        self.0.fraction.update(|now| now + duration.as_secs_f64());
    }

    /// Raises the counter to `total`, a total that someone else keeps; does nothing when it is there already.
    ///
    /// For counters that have no other source: a total mixed with counted steps means nothing.
    pub fn raise_to(&self, total: f64) {
        self.0.fraction.update(|now| now.max(total));
    }

    /// Returns the present value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; above 2^53 a count is rounded"
    )]
    pub fn value(&self) -> f64 {
        self.0.whole.load(Ordering::Relaxed) as f64 + self.0.fraction.load()
    }
}

impl Metric for Counter {
    fn visit(&self, family: &Family<'_>, labels: &[(&str, &str)], visitor: &mut dyn Visitor) {
        visitor.sample(family, Part::Value, labels, self.value());
    }
}

/// A value that rises and falls. Clones are one gauge.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicFloat>);

impl Gauge {
    /// Returns a gauge that no registry knows, at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value);
    }

    /// Sets the value to a count.
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; above 2^53 a count is rounded"
    )]
    pub fn set_count(&self, count: usize) {
        self.set(count as f64);
    }

    /// Adds `by`, which may be negative.
    pub fn add(&self, by: f64) {
        self.0.update(|now| now + by);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// Returns the present value.
    pub fn value(&self) -> f64 {
        self.0.load()
    }
}

impl Metric for Gauge {
    fn visit(&self, family: &Family<'_>, labels: &[(&str, &str)], visitor: &mut dyn Visitor) {
        visitor.sample(family, Part::Value, labels, self.value());
    }
}

/// Observations counted in buckets. Clones count together.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<HistogramParts>);

#[derive(Debug)]
struct HistogramParts {
    /// Ascending, finite.
    bounds: Box<[f64]>,
    /// Observations of each bucket alone; the last one is above all bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicFloat,
}

impl Histogram {
    /// Returns a histogram that no registry knows.
    ///
    /// # Panics
    /// When `bounds` do not ascend or are not finite.
    pub fn new(bounds: &[f64]) -> Self {
        assert!(
            bounds.iter().all(|bound| bound.is_finite())
                && bounds.is_sorted_by(|below, above| below < above),
            "a histogram's bounds must be finite and ascend, got {bounds:?}"
        );
        Self(Arc::new(HistogramParts {
            bounds: bounds.into(),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicFloat::default(),
        }))
    }

    /// Counts an observation; NaN is none.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.0.sum.update(|sum| sum + value);
        }
    }

    /// Counts a duration, in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        let counts = self.0.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Returns the sum of all observations.
    pub fn sum(&self) -> f64 {
        self.0.sum.load()
    }

    pub(crate) fn bounds(&self) -> &[f64] {
        &self.0.bounds
    }
}

impl Metric for Histogram {
    /// Buckets and count agree with each other; an observation made meanwhile may already be in the sum.
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; above 2^53 a count is rounded"
    )]
    fn visit(&self, family: &Family<'_>, labels: &[(&str, &str)], visitor: &mut dyn Visitor) {
        let mut total = 0_u64;
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&self.0.counts) {
            total = total.wrapping_add(count.load(Ordering::Relaxed));
            visitor.sample(family, Part::Bucket(bound), labels, total as f64);
        }
        visitor.sample(family, Part::Sum, labels, self.sum());
        visitor.sample(family, Part::Count, labels, total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_whole_steps_and_fractions() {
        let counter = Counter::new();
        counter.inc();
        counter.clone().add(2);
        counter.add_duration(Duration::from_millis(500));
        assert_eq!(counter.value(), 3.5);
        let total = Counter::new();
        for reading in [1.0, 4.5, 4.0] {
            total.raise_to(reading);
        }
        assert_eq!(total.value(), 4.5);
    }

    #[test]
    fn gauges_go_both_ways() {
        let gauge = Gauge::new();
        gauge.set_count(5);
        gauge.inc();
        gauge.dec();
        gauge.add(-7.5);
        assert_eq!(gauge.value(), -2.5);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [-5.0, 1.0, 1.5, 2.0, f64::INFINITY, f64::NAN] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = (histogram.0.counts.iter())
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    #[should_panic(expected = "must be finite and ascend")]
    fn bounds_must_ascend() {
        Histogram::new(&[1.0, 1.0]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let (counter, gauge, histogram) = (Counter::new(), Gauge::new(), Histogram::new(&[0.5]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.inc();
                        counter.add_duration(Duration::from_millis(500));
                        gauge.inc();
                        histogram.observe(1.0);
                    }
                });
            }
        });
        assert_eq!((counter.value(), gauge.value()), (6_000.0, 4_000.0));
        assert_eq!((histogram.count(), histogram.sum()), (4_000, 4_000.0));
    }
}
