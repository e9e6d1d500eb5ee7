//! What a metric says of itself.

use std::fmt;
use std::str::FromStr;

/// A metric's type, with the names of the text formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    /// Nothing is known (`untyped` in text 0.0.4, `unknown` in OpenMetrics).
    #[default]
    Unknown,
    /// A value that only rises, but for resets.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// A histogram of what is now, not of what has happened.
    GaugeHistogram,
    /// Observations in quantiles.
    Summary,
    /// Labels as content, the value always 1.
    Info,
    /// One of several states.
    StateSet,
}

impl MetricType {
    /// Returns the name used by the HTTP API and OpenMetrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MetricType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "unknown" | "untyped" => Self::Unknown,
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            _ => return Err(()),
        })
    }
}

/// Type, help text and unit of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The family's type.
    pub kind: MetricType,
    /// The help text, unescaped; empty when unknown.
    pub help: String,
    /// The unit, such as `seconds`; empty when unknown.
    pub unit: String,
}
