//! How close to each other the groups of the log may follow.

use std::time::Duration;

use clock::Monotonic;

/// Groups that a sender of requests waits for follow each other so many times as fast.
const PRESSED: u32 = 3;

/// The pace of groups, by when they begin: those that nobody waits for are on average at least `spacing` apart, others a third of it. What a
/// pause in between was longer counts for the next one, once, which may follow at once: so a request that comes right behind the process's
/// own metrics does not wait for them.
#[derive(Debug)]
pub(crate) struct Pace {
    spacing: Duration,
    /// From here on `spacing` is counted: when the last group began, or before it, by what pauses were longer than `spacing`, and at most by
    /// that.
    counted: Monotonic,
}

/// How long the next group has yet to gather what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// When nobody waits for it.
    pub(crate) pause: Duration,
    /// When somebody does; not longer than `pause`.
    pub(crate) pressed: Duration,
}

impl Pace {
    pub(crate) const fn new(spacing: Duration) -> Self {
        Self {
            spacing,
            counted: Monotonic::ORIGIN,
        }
    }

    /// Returns how long the next group gathers from `now` on; `None` when it may begin.
    pub(crate) fn rest(&self, now: Monotonic) -> Option<Rest> {
        let since = now.saturating_since(self.counted);
        let pause = self.spacing.checked_sub(since)?;
        Some(Rest {
            pause,
            pressed: self.pressed().saturating_sub(since),
        })
    }

    /// Notes that a group begins.
    pub(crate) fn begin(&mut self, now: Monotonic) {
        self.counted = (self.counted + self.spacing)
            .max(now - self.spacing)
            .min(now);
    }

    /// How long a group waits at most that somebody waits for.
    pub(crate) fn pressed(&self) -> Duration {
        self.spacing / PRESSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACING: Duration = Duration::from_millis(24);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(1_000 + ms))
    }

    fn rest(pause: u64, pressed: u64) -> Option<Rest> {
        Some(Rest {
            pause: Duration::from_millis(pause),
            pressed: Duration::from_millis(pressed),
        })
    }

    #[test]
    fn after_a_pause_two_groups_may_follow_each_other_and_a_third_waits() {
        let mut pace = Pace::new(SPACING);
        assert_eq!(pace.rest(at(0)), None, "the first one");
        pace.begin(at(0));
        assert_eq!(pace.rest(at(1)), None, "the second one");
        pace.begin(at(1));
        assert_eq!(pace.rest(at(2)), rest(22, 6), "the third one");
        pace.begin(at(24));
        assert_eq!(pace.rest(at(25)), rest(23, 7), "nothing is left over");
    }

    #[test]
    fn what_comes_without_end_makes_one_group_for_each_spacing() {
        let mut pace = Pace::new(SPACING);
        let groups = (0..24_000)
            .filter(|ms| {
                let begins = pace.rest(at(*ms)).is_none_or(|rest| rest.pause.is_zero());
                if begins {
                    pace.begin(at(*ms));
                }
                begins
            })
            .count();
        assert_eq!(groups, 1_000 + 1, "and one for the pause before");
    }

    #[test]
    fn groups_that_are_waited_for_save_nothing_up_and_owe_nothing() {
        let mut pace = Pace::new(SPACING);
        for ms in (0..240).step_by(8) {
            pace.begin(at(ms));
        }
        assert_eq!(pace.rest(at(233)), rest(23, 7));
    }

    #[test]
    fn a_request_right_behind_another_group_does_not_wait_when_requests_come_more_rarely_than_groups_may()
     {
        let mut pace = Pace::new(SPACING);
        // One sender every 26 ms, and now and then the process's own metrics in between.
        for request in 0..100 {
            let now = at(request * 26);
            assert_eq!(pace.rest(now), None, "request {request}");
            pace.begin(now);
            if request % 50 == 20 {
                let own = at(request * 26 + 20);
                pace.begin(own);
            }
        }
    }
}
