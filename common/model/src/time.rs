//! Wall time as samples carry it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

/// Milliseconds since the Unix epoch; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// The earliest representable time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable time.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the time `by` later, at most [`TimestampMs::MAX`].
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// Returns the time `by` earlier, at least [`TimestampMs::MIN`].
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// Returns seconds since the epoch, as PromQL counts them.
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds as PromQL has them: a double"
    )]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for TimestampMs {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        self.saturating_add(rhs)
    }
}

impl Sub<Duration> for TimestampMs {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        self.saturating_sub(rhs)
    }
}

impl From<SystemTime> for TimestampMs {
    /// Rounds towards the past.
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => {
                let before = before.duration();
                let whole = millis(before);
                Self(if before.subsec_nanos().is_multiple_of(1_000_000) {
                    -whole
                } else {
                    -whole - 1
                })
            }
        }
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:03}",
            self.0.div_euclid(1_000),
            self.0.rem_euclid(1_000)
        )
    }
}

/// A closed range of time: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The first instant that belongs to the range.
    pub start: TimestampMs,
    /// The last instant that belongs to the range; a range with `end < start` is empty.
    pub end: TimestampMs,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: TimestampMs::MIN,
        end: TimestampMs::MAX,
    };

    /// Returns the closed range from `start` to `end`.
    pub const fn new(start: TimestampMs, end: TimestampMs) -> Self {
        Self { start, end }
    }

    /// Returns whether `at` lies in the range.
    pub fn contains(self, at: TimestampMs) -> bool {
        self.start <= at && at <= self.end
    }

    /// Returns whether the two ranges share an instant.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) <= self.end.min(other.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_round_towards_the_past() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_micros(1_500);
        assert_eq!(TimestampMs::from(before), TimestampMs(-2));
        assert_eq!(TimestampMs(-2).to_string(), "-1.998");
    }

    #[test]
    fn ranges_are_closed() {
        let range = TimeRange::new(TimestampMs(1), TimestampMs(3));
        assert!(range.contains(TimestampMs(1)) && range.contains(TimestampMs(3)));
        assert!(range.overlaps(TimeRange::new(TimestampMs(3), TimestampMs(9))));
        assert!(!range.overlaps(TimeRange::new(TimestampMs(4), TimestampMs(9))));
        assert!(!range.overlaps(TimeRange::new(TimestampMs(9), TimestampMs(0))));
    }
}
