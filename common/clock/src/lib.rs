//! Time as a value that is handed in: the one crate that reads clocks.
//!
//! Everything that waits, expires or stamps takes a [`Clock`] (or just a [`Monotonic`] time from its caller), so that a test
//! drives an hour of traffic in a millisecond and the simulator replays a run from its seed.
//!
//! Two times exist and never mix: **monotonic** time ([`Monotonic`], for intervals, deadlines and rates; it never steps) and
//! **wall** time ([`std::time::SystemTime`], for stamps on samples and certificates; it may step at any moment).
//!
//! Never here: tokio, timers, tasks (those are `runtime`'s).

#![forbid(unsafe_code)]

mod monotonic;
mod simulated;
mod system;

pub use monotonic::{Deadline, Monotonic};
pub use simulated::SimulatedClock;
pub use system::SystemClock;

use std::sync::Arc;
use std::time::SystemTime;

/// A source of monotonic and wall time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the time since an arbitrary fixed origin; never decreases.
    fn monotonic(&self) -> Monotonic;

    /// Returns the wall time; may step forwards or backwards between two calls.
    fn wall(&self) -> SystemTime;
}

/// A clock shared by the parts of one process.
pub type SharedClock = Arc<dyn Clock>;
