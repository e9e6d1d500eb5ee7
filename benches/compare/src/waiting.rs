//! Waiting for other processes.

use std::time::Duration;

use anyhow::{Result, bail};
use clock::{Clock as _, Deadline, Monotonic, SystemClock};

/// Sleeps: there is nothing to wait for but time.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes run by the machine's clock"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Asks again, `every` so often, until there is an answer; fails after `within`.
pub(crate) fn wait_until<T>(
    what: &str,
    every: Duration,
    within: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let clock = SystemClock::default();
    let deadline = Deadline::after(clock.monotonic(), within);
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if deadline.passed(clock.monotonic()) {
            bail!("waited {} s in vain for {what}", within.as_secs());
        }
        pause(every);
    }
}

/// Measures wall time.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    clock: SystemClock,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self::default()
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock
            .monotonic()
            .saturating_since(Monotonic::from_origin(Duration::ZERO))
    }
}
