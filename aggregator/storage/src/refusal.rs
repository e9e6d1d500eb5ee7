//! Why samples inside a good batch are not stored.

use std::fmt;

use rows::{CohortId, Slot};

/// Why a sample is not stored; each is a label value of the counter of refused samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// The agent has as many series as it may have.
    SeriesPerAgent,
    /// The tenant has as many series as it may have.
    SeriesPerTenant,
    /// The metric has as many series as it may have.
    SeriesPerMetric,
    /// Too many new series in the last minute.
    NewSeriesRate,
    /// The process is near its memory limit and takes no new series.
    Memory,
    /// Names, values or their number exceed the bounds of a label set.
    Labels,
    /// Older than retention.
    TooOld,
    /// More than ten minutes ahead of the aggregator's clock.
    TooNew,
    /// The slot was never defined.
    Undefined,
}

impl RefusalReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::SeriesPerAgent,
        Self::SeriesPerTenant,
        Self::SeriesPerMetric,
        Self::NewSeriesRate,
        Self::Memory,
        Self::Labels,
        Self::TooOld,
        Self::TooNew,
        Self::Undefined,
    ];

    /// Returns the value of the label `reason`, also the name that travels in acknowledgements.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeriesPerAgent => "series_per_agent",
            Self::SeriesPerTenant => "series_per_tenant",
            Self::SeriesPerMetric => "series_per_metric",
            Self::NewSeriesRate => "new_series_rate",
            Self::Memory => "memory",
            Self::Labels => "labels",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Undefined => "undefined",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u64; RefusalReason::ALL.len()]);

impl RefusalCounts {
    /// Counts `more` for `reason`.
    pub fn add(&mut self, reason: RefusalReason, more: u64) {
        self.0[reason as usize] += more;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Returns the reasons that occurred and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalReason, u64)> + '_ {
        RefusalReason::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A sample with a time of its own that was refused: whoever brought it one by one wants to know which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedSample {
    /// The cohort of its series.
    pub cohort: CohortId,
    /// The slot of its series.
    pub slot: Slot,
    /// Whether it is a native histogram.
    pub is_histogram: bool,
    /// Why.
    pub reason: RefusalReason,
}

/// What was refused of a batch: samples by reason, and what came one by one singly. At most as large as the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    counts: RefusalCounts,
    samples: Vec<RefusedSample>,
    exemplars: u64,
}

impl Refusals {
    /// Counts `samples` more for `reason`.
    pub fn add(&mut self, reason: RefusalReason, samples: u64) {
        self.counts.add(reason, samples);
    }

    /// Counts one more sample with a time of its own, and remembers it.
    pub fn add_sample(&mut self, sample: RefusedSample) {
        self.counts.add(sample.reason, 1);
        self.samples.push(sample);
    }

    /// Counts one more exemplar that came beside samples with times of their own; it is none of the samples.
    pub fn add_exemplar(&mut self) {
        self.exemplars += 1;
    }

    /// Returns the samples with times of their own that were refused, in the order in which they came.
    pub fn samples(&self) -> &[RefusedSample] {
        &self.samples
    }

    /// Returns how many exemplars were refused.
    pub const fn exemplars(&self) -> u64 {
        self.exemplars
    }

    /// Returns how many samples were refused, by reason.
    pub const fn counts(&self) -> &RefusalCounts {
        &self.counts
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.samples.extend_from_slice(&other.samples);
        self.exemplars += other.exemplars;
    }

    /// Returns the reasons that occurred and how many samples each refused.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalReason, u64)> + '_ {
        self.counts.iter()
    }

    /// Returns how many samples were refused.
    pub fn total(&self) -> u64 {
        self.counts.total()
    }
}
