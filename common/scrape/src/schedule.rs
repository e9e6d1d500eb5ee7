//! When a target is scraped: at multiples of its interval on the wall, moved by an offset of its own.

use std::time::Duration;

use model::TimestampMs;

/// A scrape that is this much late, at most, has the time at which it was due: regular times cost next to nothing.
const PUNCTUAL_MS: i64 = 10;
/// The same in parts of the interval.
const PUNCTUAL_PART: i64 = 100;

/// The grid of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval: i64,
    offset: i64,
}

impl Schedule {
    /// Returns the grid of a target with this hash: the same at every start, and spread over the interval from target to target.
    pub(crate) fn new(interval: Duration, hash: u64) -> Self {
        let interval = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let offset = hash % interval.unsigned_abs();
        Self {
            interval,
            offset: i64::try_from(offset).unwrap_or_default(),
        }
    }

    /// Returns the first instant of the grid after `now`.
    pub(crate) const fn next(&self, now: TimestampMs) -> TimestampMs {
        let since = now.0.saturating_sub(self.offset).rem_euclid(self.interval);
        TimestampMs(now.0.saturating_add(self.interval - since))
    }

    /// Returns how many instants of the grid lie after `due` and not after `now`: scrapes that nobody made.
    pub(crate) const fn missed(&self, due: TimestampMs, now: TimestampMs) -> u64 {
        let late = now.0.saturating_sub(due.0);
        if late < 0 {
            0
        } else {
            (late / self.interval).unsigned_abs()
        }
    }

    /// Returns the time that a scrape stands for that was due at `due` and begins at `now`.
    pub(crate) fn stands_for(&self, due: TimestampMs, now: TimestampMs) -> TimestampMs {
        let punctual = (self.interval / PUNCTUAL_PART).clamp(2, PUNCTUAL_MS);
        if now.0.saturating_sub(due.0).abs() <= punctual {
            due
        } else {
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_stand_on_the_grid_wherever_one_begins() {
        let schedule = Schedule::new(Duration::from_secs(15), 15_000 * 7 + 4_000);
        for (now, next) in [
            (0, 4_000),
            (4_000, 19_000),
            (18_999, 19_000),
            (-20_000, -11_000),
        ] {
            assert_eq!(schedule.next(TimestampMs(now)), TimestampMs(next), "{now}");
        }
    }

    #[test]
    fn punctual_scrapes_have_the_time_they_were_due_at() {
        let schedule = Schedule::new(Duration::from_secs(1), 0);
        let due = TimestampMs(5_000);
        for (now, at, missed) in [
            (5_000, 5_000, 0),
            (4_999, 5_000, 0),
            (5_010, 5_000, 0),
            (5_011, 5_011, 0),
            (7_300, 7_300, 2),
            (1_000, 1_000, 0),
        ] {
            let now = TimestampMs(now);
            assert_eq!(schedule.stands_for(due, now), TimestampMs(at));
            assert_eq!(schedule.missed(due, now), missed);
        }
    }

    #[test]
    fn targets_spread_over_the_interval() {
        let offsets: std::collections::HashSet<i64> = (0..100_u64)
            .map(|n| {
                Schedule::new(
                    Duration::from_secs(60),
                    n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                )
                .offset
            })
            .collect();
        assert!(offsets.len() > 95);
    }
}
