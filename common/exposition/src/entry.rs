//! What parsers yield.

use model::{Exemplar, MetricType, TimestampMs};

use crate::series::{LabelPairs, Series, Text, labels_of};

/// One line of an exposition; borrows the input.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// `# TYPE family kind`.
    Type {
        /// The family's name.
        family: Text<'a>,
        /// Its type.
        kind: MetricType,
    },
    /// `# HELP family text`.
    Help {
        /// The family's name.
        family: Text<'a>,
        /// The help text.
        text: Text<'a>,
    },
    /// `# UNIT family unit` (OpenMetrics).
    Unit {
        /// The family's name.
        family: Text<'a>,
        /// Its unit.
        unit: &'a str,
    },
    /// Any other comment (text 0.0.4): the bytes after `#`, not necessarily UTF-8.
    Comment(&'a [u8]),
    /// A sample.
    Sample(SampleEntry<'a>),
    /// `# EOF` (OpenMetrics): the exposition is complete.
    Eof,
}

/// A series' value.
#[derive(Clone, Copy, Debug)]
pub struct SampleEntry<'a> {
    /// Which series.
    pub series: Series<'a>,
    /// The value; of NaNs always [`f64::NAN`], so that text cannot forge a staleness mark.
    pub value: f64,
    /// The time that the exposition gives, if it does; saturates at the ends of time.
    pub at: Option<TimestampMs>,
    /// The sample's exemplar (OpenMetrics).
    pub exemplar: Option<ExemplarEntry<'a>>,
}

/// An exemplar of a sample.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarEntry<'a> {
    /// Its labels.
    pub labels: LabelPairs<'a>,
    /// Its value.
    pub value: f64,
    /// When it was observed, if the exposition says so.
    pub at: Option<TimestampMs>,
}

impl ExemplarEntry<'_> {
    /// Returns the exemplar as a value of its own; `otherwise` is its time when the exposition gives none.
    pub fn to_exemplar(&self, otherwise: TimestampMs) -> Exemplar {
        Exemplar {
            labels: labels_of(None, self.labels),
            value: self.value,
            at: self.at.unwrap_or(otherwise),
        }
    }
}
