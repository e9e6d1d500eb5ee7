//! The process's one tokio runtime.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads for blocking closures (file reads, DNS) of a program that does much at once: enough for a hung mount or two.
pub const BLOCKING_THREADS: usize = 64;

/// Builds the runtime of a program, with `workers` threads (at least one) named `name`, and at most so many more for what blocks; each
/// that was ever needed at once costs some 100 KiB.
pub fn multi_thread(name: &str, workers: usize, blocking_max: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .max_blocking_threads(blocking_max.max(1))
        .thread_name(name)
        .enable_all()
        .build()
}
