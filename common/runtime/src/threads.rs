//! Threads for work that keeps a processor busy.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;

use precedence::give_way;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::turns::Turns;

/// Threads apart from those for blocking work, which give way to all others: work on them takes long and may wait, what others do is short.
/// Of those that have work, as many go on at once as there are processors, in turns: work says with [`pass_turn`](crate::pass_turn) where
/// another may go on.
///
/// They start as they are needed and end when they idle. Work beyond their number waits; whoever hands it in bounds it. Dropping them
/// lets the work that has begun run on.
pub struct Threads {
    /// Of tokio's runtimes only the pool for blocking work is used. Taken on drop.
    pool: Option<Runtime>,
    turns: Arc<Turns>,
}

impl Threads {
    /// Returns at most `count` threads of this name.
    pub fn new(name: &str, count: usize) -> io::Result<Self> {
        let pool = Builder::new_current_thread()
            .max_blocking_threads(count.max(1))
            .thread_name(name)
            .on_thread_start(give_way)
            .build()?;
        let processors = available_parallelism().map_or(1, usize::from);
        Ok(Self {
            pool: Some(pool),
            turns: Turns::new(processors),
        })
    }

    /// Runs a closure on one of them.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let pool = self.pool.as_ref().expect("taken on drop only");
        let turns = Arc::clone(&self.turns);
        pool.spawn_blocking(move || turns.work(closure))
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
    use rustix::process::getpriority_process;

    use super::*;
    use crate::Tasks;

    #[tokio::test]
    async fn their_work_gives_way_and_that_of_others_does_not() {
        let (threads, tasks) = (Threads::new("busy", 1).unwrap(), Tasks::new("test"));
        let usual = getpriority_process(None).unwrap();
        let niceness = || getpriority_process(None).unwrap();
        let on_threads = tasks.spawn_on(&threads, "work", niceness).await.unwrap();
        assert!(on_threads > usual || usual == 19);
        let elsewhere = tasks.spawn_blocking("work", niceness).await.unwrap();
        assert_eq!(elsewhere, usual);
        let panicked = tasks.spawn_on(&threads, "work", || panic!("oops")).await;
        let panicked: Result<(), _> = panicked;
        assert!(panicked.unwrap_err().to_string().contains("oops"));
        tasks.join().await;
    }
}
