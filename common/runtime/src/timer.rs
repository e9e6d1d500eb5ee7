//! Waiting by a [`Clock`] rather than by the machine.

use std::time::{Duration, SystemTime};

use clock::{Clock, Deadline, Monotonic, SharedClock};
use tokio::time::Instant;

/// The longest single sleep: after it the clock is asked again, so that a clock that jumped ahead is noticed.
const NAP_MAX: Duration = Duration::from_secs(60);

/// Sleeps until a clock says so.
#[derive(Clone, Debug)]
pub struct Timer {
    clock: SharedClock,
}

impl Timer {
    /// Returns a timer of `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock }
    }

    /// Returns the timer's clock.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the clock's time.
    pub fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.until(Deadline::after(self.now(), duration)).await;
    }

    /// Waits until `deadline` has passed.
    pub async fn until(&self, deadline: Deadline) {
        loop {
            let now = self.now();
            if deadline.passed(now) {
                return;
            }
            tokio::time::sleep(deadline.remaining(now).min(NAP_MAX)).await;
        }
    }
}

/// A clock that follows tokio's time: the machine's in a program, virtual in a test that pauses it.
///
/// Wall time is the wall of `base` at the start plus the time since.
#[derive(Debug)]
pub struct RuntimeClock {
    origin: Instant,
    wall_at_origin: SystemTime,
}

impl RuntimeClock {
    /// Returns a clock that starts at the monotonic origin with the wall at `wall`. Must be made within the runtime.
    pub fn starting_at(wall: SystemTime) -> Self {
        Self {
            origin: Instant::now(),
            wall_at_origin: wall,
        }
    }
}

impl Clock for RuntimeClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }

    fn wall(&self) -> SystemTime {
        self.wall_at_origin + self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_passes_in_virtual_time() {
        let timer = Timer::new(Arc::new(RuntimeClock::starting_at(SystemTime::UNIX_EPOCH)));
        let hour = Duration::from_secs(3_600);
        timer.sleep(hour).await;
        assert!(timer.now() >= Monotonic::from_origin(hour));
        let late = timer.now() + hour;
        assert!(timer.clock().wall() < SystemTime::UNIX_EPOCH + hour * 2);
        timer.until(Deadline::after(timer.now(), hour)).await;
        assert!(timer.now() >= late);
    }
}
