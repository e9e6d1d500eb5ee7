//! The one place that sleeps.

use std::sync::LazyLock;
use std::time::Duration;

use clock::{Clock, Monotonic, SystemClock};

/// How long a test waits for what should happen soon; far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

const LOOK_EVERY: Duration = Duration::from_millis(20);

static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

/// Returns the time of the monotonic clock that all tests share.
pub fn now() -> Monotonic {
    CLOCK.monotonic()
}

/// Lets time pass, for moments at random; to wait for something, take [`wait_until`].
#[expect(
    clippy::disallowed_methods,
    reason = "real processes live in real time"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When that has not happened `within` the time; `what` says what was waited for.
#[track_caller]
pub fn wait_until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = now().saturating_since(began);
        assert!(waited < within, "waited {waited:?} in vain for {what}");
        pause(LOOK_EVERY);
    }
}
