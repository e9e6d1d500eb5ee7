//! CPU time: what a figure in nanoseconds means on a machine that others use as well.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time that this process has used, all threads together.
pub fn cpu_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Returns the CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Never negative, and nanoseconds are below 10^9.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
