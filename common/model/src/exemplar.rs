//! Exemplars: a trace or request that stands for a sample.

use crate::{Labels, TimestampMs};

/// An example of what a sample counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its own labels, usually a trace id.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// When it was observed.
    pub at: TimestampMs,
}
