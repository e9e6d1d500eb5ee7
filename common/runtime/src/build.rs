//! Runtimes: the one that most of a program runs on, and small ones of parts that have a thread of their own.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::block_in_place;

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

/// Threads for what a part that runs apart cannot do on its own: name look-ups.
const BLOCKING_THREADS_APART: usize = 4;

/// Runs `future` on this thread, with a runtime of its own, which all tasks share that it spawns: to wait for a timer or a socket wakes no
/// other thread, and to block holds up nobody else. For a thread for blocking work, as
/// [`Tasks::spawn_blocking`](crate::Tasks::spawn_blocking) gives one; a worker of another runtime panics.
///
/// When the future ends, its tasks are dropped wherever they are. Fails when the system grants no further descriptors.
pub fn run_apart<F>(future: F) -> io::Result<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS_APART)
        .enable_all()
        .build()?;
    // As a task among its own: what is blocked on, each of them would wake by a system call.
    let ended = runtime.block_on(runtime.spawn(future));
    // A look-up that nobody answers must not hold up the end.
    runtime.shutdown_background();
    ended.or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(aborted) => Err(io::Error::other(aborted)),
    })
}

/// Calls `closure`, which blocks for a moment: within [`run_apart`] just so; on a worker, whose other tasks move to another thread
/// meanwhile, at the cost of two changes of threads. Must be called within a runtime.
pub fn block_here<T>(closure: impl FnOnce() -> T) -> T {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        closure()
    } else {
        block_in_place(closure)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Tasks;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_runs_apart_stays_on_its_thread_and_may_block_there() {
        let tasks = Tasks::new("test");
        let apart = async {
            let here = thread::current().id();
            let inner = Tasks::new("apart");
            let spawned = inner.spawn("task", async { block_here(|| thread::current().id()) });
            tokio::task::yield_now().await;
            (here, spawned.await.unwrap())
        };
        let running = tasks.spawn_blocking("apart", || run_apart(apart));
        let (here, of_its_task) = running.await.unwrap().unwrap();
        assert_eq!(here, of_its_task);
        assert_ne!(here, thread::current().id());
        assert_eq!(block_here(|| 7), 7, "on a worker as well");
        let panicking = tasks.spawn_blocking("apart", || run_apart(async { panic!("oops") }));
        let ended: Result<io::Result<()>, _> = panicking.await;
        assert!(ended.unwrap_err().to_string().contains("oops"));
    }
}
