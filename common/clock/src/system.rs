//! The machine's clocks.

use std::time::{Instant, SystemTime};

use crate::{Clock, Monotonic};

/// The machine's clocks; the origin of monotonic time is the moment this value was made.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Returns a clock whose monotonic origin is now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate is where clocks are read"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this crate is where clocks are read"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
