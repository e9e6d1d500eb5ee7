//! The timestamps of rows: the monotonic clock's steps, laid on the wall.
//!
//! Within a run of rows the wall is not asked what time it is, only whether it still agrees: so rows are as far apart as they were
//! collected, whatever a time daemon does. A wall that moves by up to 1 s is followed gently, never backwards; a larger step starts
//! a new run.

use std::time::Duration;

use clock::{Clock, Monotonic};
use model::TimestampMs;

/// A larger difference is a step.
const STEP_MS: i64 = 1_000;
/// A smaller difference is what reading two clocks one after the other costs.
const NOISE_MS: i64 = 2;

/// The present run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOfRows {
    /// The wall's milliseconds at the monotonic origin.
    wall_at_origin: i64,
    /// The most that is followed from one row to the next.
    follow_max: i64,
    last: Option<TimestampMs>,
}

/// The time of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowTime {
    pub(crate) at: TimestampMs,
    /// By how much the wall stepped since the row before, in milliseconds; 0 when it did not.
    pub(crate) stepped: i64,
}

impl RunOfRows {
    pub(crate) fn new(clock: &dyn Clock, interval: Duration) -> Self {
        Self {
            wall_at_origin: wall_at_origin(clock),
            follow_max: (millis(interval) / 10).max(1),
            last: None,
        }
    }

    /// Returns the time of a row that is collected now and stands for the instant `at`.
    pub(crate) fn next(&mut self, clock: &dyn Clock, at: Monotonic) -> RowTime {
        let drift = wall_at_origin(clock).saturating_sub(self.wall_at_origin);
        let is_step = drift.saturating_abs() > STEP_MS;
        if is_step {
            self.wall_at_origin = self.wall_at_origin.saturating_add(drift);
            self.last = None;
        } else if drift.abs() > NOISE_MS {
            self.wall_at_origin += drift.clamp(-self.follow_max, self.follow_max);
        }
        let at = self
            .wall_at_origin
            .saturating_add(millis(at.since_origin()));
        let after_last = self.last.map_or(i64::MIN, |last| last.0.saturating_add(1));
        let at = TimestampMs(at.max(after_last));
        self.last = Some(at);
        RowTime {
            at,
            stepped: if is_step { drift } else { 0 },
        }
    }
}

fn wall_at_origin(clock: &dyn Clock) -> i64 {
    let wall = TimestampMs::from(clock.wall());
    wall.0
        .saturating_sub(millis(clock.monotonic().since_origin()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use clock::SimulatedClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wall(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn small_shifts_are_followed_gently_and_steps_at_once() {
        let clock = SimulatedClock::starting_at(wall(1_000_000));
        let mut run = RunOfRows::new(&clock, SECOND);
        let mut next = |shift: Option<SystemTime>| {
            clock.advance(SECOND);
            if let Some(to) = shift {
                clock.step_wall(to);
            }
            let time = run.next(&clock, clock.monotonic());
            (time.at.0, time.stepped)
        };
        assert_eq!(next(None), (1_001_000, 0));
        assert_eq!(next(Some(wall(1_002_001))), (1_002_000, 0), "noise");
        assert_eq!(next(Some(wall(1_002_750))), (1_002_900, 0), "100 ms back");
        assert_eq!(next(None), (1_003_800, 0), "and the rest of 250 ms");
        assert_eq!(next(None), (1_004_750, 0));
        assert_eq!(next(Some(wall(3_000_000))), (3_000_000, 1_994_250));
        assert_eq!(next(Some(wall(2_000_000))), (2_000_000, -1_001_000));
        assert_eq!(next(None), (2_001_000, 0));
    }

    #[test]
    fn rows_of_a_run_never_go_back() {
        let clock = SimulatedClock::starting_at(wall(1_000_000));
        let mut run = RunOfRows::new(&clock, SECOND);
        let late = run.next(&clock, Monotonic::from_origin(Duration::from_millis(990)));
        clock.step_wall(wall(999_500));
        let next = run.next(&clock, Monotonic::from_origin(SECOND));
        assert!(next.at > late.at && next.stepped == 0);
    }
}
