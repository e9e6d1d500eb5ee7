//! The time from which ages count: what retention ends, and which numbers are forgotten.
//!
//! A clock may be wrong for a while, as after a start without a battery, and an old copy of a data folder may be opened to look at it. Whoever
//! went by the wall clock would then end all there is within a minute. So time goes on from the newest sealed sample as the monotonic clock
//! does, is set forward by newer samples when these are sealed, and is never later than what the wall clock says. After a start it is behind by
//! what was not sealed, until the next seal. (Prometheus counts from its newest block.)

use clock::{Clock, Monotonic};
use model::TimestampMs;

/// Tells the time from which ages count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeClock {
    /// The time at `since`.
    at: TimestampMs,
    since: Monotonic,
}

impl AgeClock {
    /// Begins with the newest sealed sample, or with the wall clock when there is none.
    pub(crate) fn new(newest: Option<TimestampMs>, clock: &dyn Clock) -> Self {
        Self {
            at: newest.unwrap_or_else(|| TimestampMs::from(clock.wall())),
            since: clock.monotonic(),
        }
    }

    /// Returns the present time; `newest`: that of the newest sealed sample.
    pub(crate) fn now(&mut self, newest: Option<TimestampMs>, clock: &dyn Clock) -> TimestampMs {
        let monotonic = clock.monotonic();
        let gone = monotonic.saturating_since(self.since);
        let wall = TimestampMs::from(clock.wall());
        let moved = self.at.saturating_add(gone);
        *self = Self {
            at: newest.map_or(moved, |newest| moved.max(newest)).min(wall),
            since: monotonic,
        };
        self.at
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use clock::SimulatedClock;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn clock_at(hour: u64) -> SimulatedClock {
        SimulatedClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_hours(hour))
    }

    fn at(hour: i64) -> TimestampMs {
        TimestampMs(hour * HOUR)
    }

    #[test]
    fn an_empty_store_goes_by_the_clock() {
        let clock = clock_at(1_000);
        let mut ages = AgeClock::new(None, &clock);
        assert_eq!(ages.now(None, &clock), at(1_000));
        clock.advance(Duration::from_hours(48));
        assert_eq!(ages.now(None, &clock), at(1_048));
        assert_eq!(ages.now(Some(at(1_020)), &clock), at(1_048));
    }

    #[test]
    fn an_old_copy_ages_from_its_newest_sample_until_newer_ones_are_sealed() {
        let clock = clock_at(10_000);
        let mut ages = AgeClock::new(Some(at(1_000)), &clock);
        assert_eq!(ages.now(Some(at(1_000)), &clock), at(1_000));
        clock.advance(Duration::from_hours(5));
        assert_eq!(ages.now(Some(at(1_000)), &clock), at(1_005));
        assert_eq!(ages.now(Some(at(10_004)), &clock), at(10_004));
        clock.advance(Duration::from_hours(1));
        assert_eq!(ages.now(Some(at(10_004)), &clock), at(10_005));
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_while_moves_nothing() {
        let clock = clock_at(1_000);
        let mut ages = AgeClock::new(Some(at(999)), &clock);
        clock.step_wall(SystemTime::UNIX_EPOCH + Duration::from_hours(50_000));
        clock.advance(Duration::from_hours(1));
        assert_eq!(ages.now(Some(at(999)), &clock), at(1_000));
        // What it dated is believed when it is sealed, but never beyond the clock.
        assert_eq!(ages.now(Some(at(50_001)), &clock), at(50_001));
        clock.step_wall(SystemTime::UNIX_EPOCH + Duration::from_hours(1_002));
        assert_eq!(ages.now(Some(at(50_001)), &clock), at(1_002));
    }
}
