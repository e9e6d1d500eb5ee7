//! Threads for work that keeps a processor busy.

use std::fmt;
use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Behind everything else of this process: a thread of the usual niceness gets nine times the processor of one of these.
const NICENESS: i32 = 10;
const NICENESS_MAX: i32 = 19;

/// Threads apart from those for blocking work, which give way to all others: work on them takes long and may wait, what others do is short.
///
/// They start as they are needed and end when they idle. Work beyond their number waits; whoever hands it in bounds it. Dropping them
/// lets the work that has begun run on.
pub struct Threads {
    /// Of tokio's runtimes only the pool for blocking work is used. Taken on drop.
    pool: Option<Runtime>,
}

impl Threads {
    /// Returns at most `count` threads of this name.
    pub fn new(name: &str, count: usize) -> io::Result<Self> {
        let pool = Builder::new_current_thread()
            .max_blocking_threads(count.max(1))
            .thread_name(name)
            .on_thread_start(give_way)
            .build()?;
        Ok(Self { pool: Some(pool) })
    }

    /// Runs a closure on one of them.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let pool = self.pool.as_ref().expect("taken on drop only");
        pool.spawn_blocking(closure)
    }
}

/// Where the system does not allow it, they compete as equals.
fn give_way() {
    let usual = getpriority_process(None).unwrap_or(0);
    if let Err(error) = setpriority_process(None, (usual + NICENESS).min(NICENESS_MAX)) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting is not allowed where this may happen.
        if let Some(pool) = self.pool.take() {
            pool.shutdown_background();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tasks;

    #[tokio::test]
    async fn their_work_gives_way_and_that_of_others_does_not() {
        let (threads, tasks) = (Threads::new("busy", 1).unwrap(), Tasks::new("test"));
        let usual = getpriority_process(None).unwrap();
        let niceness = || getpriority_process(None).unwrap();
        let on_threads = tasks.spawn_on(&threads, "work", niceness).await.unwrap();
        assert_eq!(on_threads, (usual + NICENESS).min(NICENESS_MAX));
        let elsewhere = tasks.spawn_blocking("work", niceness).await.unwrap();
        assert_eq!(elsewhere, usual);
        let panicked = tasks.spawn_on(&threads, "work", || panic!("oops")).await;
        let panicked: Result<(), _> = panicked;
        assert!(panicked.unwrap_err().to_string().contains("oops"));
        tasks.join().await;
    }
}
