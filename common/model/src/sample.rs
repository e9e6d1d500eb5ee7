//! Samples and staleness.

use std::sync::Arc;

use crate::{Histogram, TimestampMs};

/// The NaN that marks a series as ended; told from other NaNs by its bits (`0x7ff0000000000002`, as in Prometheus).
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Among samples that correct others: there is none at this time, whatever was said before. Elsewhere a NaN like any other.
pub const VOID_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0004);

/// Returns whether `value` is the staleness mark, not merely a NaN.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

/// Returns whether `value`, of a sample that corrects others, says that there is none.
pub const fn is_void(value: f64) -> bool {
    value.to_bits() == VOID_NAN.to_bits()
}

/// What a series has at one instant.
#[derive(Clone, Debug)]
pub enum Value {
    /// A float; may be [`STALE_NAN`].
    Float(f64),
    /// A native histogram; ends with a sum of [`STALE_NAN`].
    Histogram(Arc<Histogram>),
}

impl Value {
    /// Returns whether this marks the end of a series.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => is_stale(histogram.sum),
        }
    }

    /// Returns whether both are the same to the bit: NaNs of equal payload are, `0.0` and `-0.0` are not.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a.same_bits(b),
            (Self::Float(_), Self::Histogram(_)) | (Self::Histogram(_), Self::Float(_)) => false,
        }
    }
}

/// A value at a time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: TimestampMs,
    /// What.
    pub value: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stale_bits_are_stale() {
        assert!(Value::Float(STALE_NAN).is_stale());
        assert!(!Value::Float(f64::NAN).is_stale());
        assert!(!Value::Float(0.0).same_bits(&Value::Float(-0.0)));
        assert!(Value::Float(f64::NAN).same_bits(&Value::Float(f64::NAN)));
    }
}
