//! A clock that stands still until it is moved.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Clock, Monotonic};

/// A clock for tests and the simulator: time moves only by [`advance`](Self::advance), the wall also by [`step_wall`](Self::step_wall).
#[derive(Debug)]
pub struct SimulatedClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    monotonic: Monotonic,
    wall: SystemTime,
}

impl SimulatedClock {
    /// Returns a clock at the monotonic origin, with the wall at `wall`.
    pub fn starting_at(wall: SystemTime) -> Self {
        Self {
            state: Mutex::new(State {
                monotonic: Monotonic::ORIGIN,
                wall,
            }),
        }
    }

    /// Moves both times forward by `by`.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.monotonic = state.monotonic + by;
        state.wall += by;
    }

    /// Steps the wall to `to`, as an administrator or a time daemon would; monotonic time does not notice.
    pub fn step_wall(&self, to: SystemTime) {
        self.state().wall = to;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Both fields are plain values: a panicking holder cannot leave them half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Monotonic {
        self.state().monotonic
    }

    fn wall(&self) -> SystemTime {
        self.state().wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_steps_without_monotonic_time() {
        let clock = SimulatedClock::starting_at(SystemTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(3));
        clock.step_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(
            clock.monotonic(),
            Monotonic::from_origin(Duration::from_secs(3))
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            clock.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(101)
        );
    }
}
