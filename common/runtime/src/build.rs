//! The process's one tokio runtime.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads for blocking closures (file reads, DNS): enough for a hung mount or two, few enough to stay small.
const BLOCKING_THREADS_MAX: usize = 64;

/// Builds the runtime of a program, with `workers` threads (at least one) named `name`.
pub fn multi_thread(name: &str, workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name(name)
        .enable_all()
        .build()
}
