//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter above a floor: the n-th delay is uniform between the floor and
/// `min(ceiling, floor * 2^n)`.
///
/// Pure: it neither sleeps nor reads a clock. The floor keeps a failing loop from spinning; the jitter keeps a thousand agents
/// that lost one aggregator from returning at the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    attempts: u32,
}

impl Backoff {
    /// The default floor.
    pub const FLOOR: Duration = Duration::from_millis(100);
    /// The default ceiling.
    pub const CEILING: Duration = Duration::from_secs(10);

    /// Returns a backoff between `floor` and `ceiling`; a ceiling below the floor counts as the floor.
    pub const fn new(floor: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            ceiling,
            attempts: 0,
        }
    }

    /// Returns the next delay and counts the attempt.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let cap = self.floor.saturating_mul(factor).min(self.ceiling);
        self.floor + cap.saturating_sub(self.floor).mul_f64(rng.f64())
    }

    /// Starts again at the floor; call it once an attempt has succeeded.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns how many delays were handed out since the start or the last reset.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::FLOOR, Self::CEILING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_between_floor_and_ceiling_and_spread_out() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..2_000).map(|_| backoff.next(&mut rng)).collect();
        assert!(delays[0] <= Backoff::FLOOR * 2);
        assert!(
            delays
                .iter()
                .all(|d| (Backoff::FLOOR..=Backoff::CEILING).contains(d))
        );
        // Full jitter: once grown, both the lower and the upper tenth of the range are used.
        let late = &delays[100..];
        assert!(late.iter().any(|d| *d < Duration::from_millis(1_090)));
        assert!(late.iter().any(|d| *d > Duration::from_millis(9_000)));
    }

    #[test]
    fn a_reset_starts_at_the_floor_again() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.next(&mut rng);
        }
        backoff.reset();
        assert_eq!(backoff.attempts(), 0);
        assert!(backoff.next(&mut rng) <= Backoff::FLOOR * 2);
    }

    #[test]
    fn a_ceiling_below_the_floor_counts_as_the_floor() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(backoff.next(&mut rng), Duration::from_secs(2));
    }
}
