//! When to collect: fixed multiples of the interval on the monotonic clock.

use std::time::Duration;

use clock::Monotonic;

/// How often what hardly changes is collected, unless the interval is longer.
const SLOW_INTERVAL: Duration = Duration::from_secs(15);

/// The ticks of a collector. What is late is not made up for: the ticks in between are missed.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    origin: Monotonic,
    interval: Duration,
    /// Every so many ticks is a slow one.
    slow_every: u64,
    /// The number of the next tick.
    next: u64,
    /// The number from which a tick is a slow one again.
    next_slow: u64,
}

/// A tick that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// When it was due.
    pub(crate) due: Monotonic,
    /// Ticks between the one before and this one that nobody took.
    pub(crate) missed: u64,
    /// Whether slow things are collected as well.
    pub(crate) slow: bool,
}

impl Schedule {
    /// Returns a schedule whose first tick, a slow one, is due at `origin`.
    pub(crate) fn new(origin: Monotonic, interval: Duration) -> Self {
        let slow_every = SLOW_INTERVAL
            .as_nanos()
            .div_ceil(interval.as_nanos().max(1));
        Self {
            origin,
            interval: interval.max(Duration::from_nanos(1)),
            slow_every: u64::try_from(slow_every).unwrap_or(u64::MAX).max(1),
            next: 0,
            next_slow: 0,
        }
    }

    /// Returns when the next tick is due.
    pub(crate) fn next_due(&self) -> Monotonic {
        self.due(self.next)
    }

    /// Returns the tick that is due at `now`, the last one if several are; `None` when none is.
    pub(crate) fn take(&mut self, now: Monotonic) -> Option<Tick> {
        if now < self.next_due() {
            return None;
        }
        let elapsed = now.saturating_since(self.origin).as_nanos() / self.interval.as_nanos();
        let number = u64::try_from(elapsed).unwrap_or(u64::MAX).max(self.next);
        let slow = number >= self.next_slow;
        if slow {
            self.next_slow = (number / self.slow_every + 1).saturating_mul(self.slow_every);
        }
        let missed = number - self.next;
        self.next = number.saturating_add(1);
        Some(Tick {
            due: self.due(number),
            missed,
            slow,
        })
    }

    fn due(&self, number: u64) -> Monotonic {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(number));
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        self.origin + Duration::new(seconds, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Monotonic = Monotonic::from_origin(Duration::from_millis(123));

    fn after(ms: u64) -> Monotonic {
        ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn ticks_stand_at_multiples_and_do_not_pile_up() {
        let mut schedule = Schedule::new(ORIGIN, Duration::from_secs(1));
        let mut take = |ms| schedule.take(after(ms)).map(|t| (t.due, t.missed, t.slow));
        assert_eq!(take(4), Some((after(0), 0, true)));
        assert_eq!(take(4), None);
        assert_eq!(take(999), None);
        assert_eq!(take(1_000), Some((after(1_000), 0, false)));
        // Late, but within its own interval: the next is due as if nothing had been.
        assert_eq!(take(2_700), Some((after(2_000), 0, false)));
        assert_eq!(take(2_999), None);
        assert_eq!(take(7_300), Some((after(7_000), 4, false)));
        assert_eq!(take(7_301), None);
        assert_eq!(take(8_000), Some((after(8_000), 0, false)));
    }

    #[test]
    fn slow_ticks_come_every_15_s_even_when_their_own_was_missed() {
        let mut schedule = Schedule::new(ORIGIN, Duration::from_secs(1));
        let slow: Vec<u64> = (0..50)
            .filter(|second| !(14..=16).contains(second))
            .filter(|second| {
                let tick = schedule.take(after(second * 1_000));
                tick.is_some_and(|tick| tick.slow)
            })
            .collect();
        assert_eq!(slow, [0, 17, 30, 45]);
        let mut rare = Schedule::new(ORIGIN, Duration::from_secs(60));
        assert!((0..5).all(|minute| rare.take(after(minute * 60_000)).is_some_and(|t| t.slow)));
        let mut odd = Schedule::new(ORIGIN, Duration::from_secs(4));
        let slow: Vec<u64> = (0..10)
            .filter(|n| odd.take(after(n * 4_000)).is_some_and(|tick| tick.slow))
            .collect();
        assert_eq!(slow, [0, 4, 8], "never more often than every 15 s");
    }
}
