//! When to read again what hardly changes.

use std::time::Duration;

use clock::Monotonic;

/// Tells when a period has passed.
#[derive(Debug)]
pub(crate) struct Refresh {
    period: Duration,
    last: Option<Monotonic>,
}

impl Refresh {
    pub(crate) const fn every(period: Duration) -> Self {
        Self { period, last: None }
    }

    /// Returns whether the period has passed since this last returned `true`; the first time it has.
    pub(crate) fn due(&mut self, now: Monotonic) -> bool {
        let due = self
            .last
            .is_none_or(|last| now.saturating_since(last) >= self.period);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// Makes it due at once: what was read was not what was hoped for.
    pub(crate) const fn retry(&mut self) {
        self.last = None;
    }
}
