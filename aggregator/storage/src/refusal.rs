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
    /// The series has a different value at this timestamp already, and the earlier one stands.
    Conflict,
}

impl RefusalReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::SeriesPerAgent,
        Self::SeriesPerTenant,
        Self::SeriesPerMetric,
        Self::NewSeriesRate,
        Self::Memory,
        Self::Labels,
        Self::TooOld,
        Self::TooNew,
        Self::Undefined,
        Self::Conflict,
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
            Self::Conflict => "conflict",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Samples refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    counts: [u64; RefusalReason::ALL.len()],
    first_sample: Option<(CohortId, Slot, RefusalReason)>,
}

impl Refusals {
    /// Counts `samples` more for `reason`.
    pub fn add(&mut self, reason: RefusalReason, samples: u64) {
        self.counts[reason as usize] += samples;
    }

    /// Counts one more sample with a time of its own, and remembers the first one: whoever brought it one by one wants to know which.
    pub fn add_sample(&mut self, reason: RefusalReason, cohort: CohortId, slot: Slot) {
        self.add(reason, 1);
        self.first_sample.get_or_insert((cohort, slot, reason));
    }

    /// Returns the first sample with a time of its own that was refused.
    pub const fn first_sample(&self) -> Option<(CohortId, Slot, RefusalReason)> {
        self.first_sample
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.first_sample = self.first_sample.or(other.first_sample);
    }

    /// Returns the reasons that occurred and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalReason, u64)> + '_ {
        RefusalReason::ALL
            .into_iter()
            .zip(self.counts)
            .filter(|(_, count)| *count > 0)
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
