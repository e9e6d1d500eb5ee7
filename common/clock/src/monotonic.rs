//! Monotonic instants as plain data, comparable across threads and printable in a simulation's log.

use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant: the time since the clock's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The clock's origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// Returns the instant that lies `since_origin` after the origin.
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Returns the time since the origin.
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    /// Saturates at the end of time, so that `now + Duration::MAX` means "never".
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;

    /// Saturates at the origin.
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(rhs))
    }
}

/// A point in monotonic time after which an operation gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Monotonic);

impl Deadline {
    /// A deadline that never passes.
    pub const NEVER: Self = Self(Monotonic(Duration::MAX));

    /// Returns the deadline `within` after `now`.
    pub fn after(now: Monotonic, within: Duration) -> Self {
        Self(now + within)
    }

    /// Returns whether the deadline has passed at `now`.
    pub fn passed(self, now: Monotonic) -> bool {
        now >= self.0
    }

    /// Returns the time left at `now`; zero once passed.
    pub fn remaining(self, now: Monotonic) -> Duration {
        self.0.saturating_since(now)
    }

    /// Returns the instant itself.
    pub const fn at(self) -> Monotonic {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_exactly_at_its_instant() {
        let start = Monotonic::from_origin(Duration::from_secs(5));
        let deadline = Deadline::after(start, Duration::from_secs(2));
        assert_eq!(deadline.remaining(start), Duration::from_secs(2));
        assert!(!deadline.passed(start + Duration::from_millis(1_999)));
        assert!(deadline.passed(start + Duration::from_secs(2)));
        assert_eq!(
            deadline.remaining(start + Duration::from_secs(9)),
            Duration::ZERO
        );
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(
            Monotonic::ORIGIN - Duration::from_secs(1),
            Monotonic::ORIGIN
        );
        assert!(!Deadline::NEVER.passed(Monotonic::ORIGIN + Duration::from_secs(u64::MAX / 2)));
        assert_eq!(
            Deadline::after(
                Monotonic::from_origin(Duration::from_secs(1)),
                Duration::MAX
            ),
            Deadline::NEVER
        );
    }
}
