//! Workers apart from those of a program's runtime, for tasks that may wait.

use std::fmt;
use std::io;

use precedence::give_way;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime whose threads give way to all others: for tasks that move much, for whoever can wait, beside those for whom nobody should.
///
/// A task on it is as others are; what it spawns runs there too. Sockets and timers belong to the runtime on which they were made.
/// They live as long as somebody holds this, as each of their tasks does.
pub struct Workers {
    /// Taken on drop.
    runtime: Option<Runtime>,
}

impl Workers {
    /// Returns `count` threads (at least one) of this name, and at most so many more for what blocks.
    pub fn giving_way(name: &str, count: usize, blocking_max: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count.max(1))
            .max_blocking_threads(blocking_max.max(1))
            .thread_name(name)
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("taken on drop only");
        runtime.spawn(future)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Waiting is not allowed where this may happen: on one of its own threads, say.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::process::getpriority_process;

    use super::*;
    use crate::Tasks;

    #[tokio::test]
    async fn what_runs_there_gives_way_with_all_that_it_begins() {
        let tasks = Tasks::new("test");
        let workers = Arc::new(Workers::giving_way("patient", 1, 1).unwrap());
        let niceness = || getpriority_process(None).unwrap();
        let inner = tasks.clone();
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let there = tasks.spawn_among(&workers, "outer", async move {
            begun.await.unwrap();
            let spawned = inner.spawn("inner", async move { niceness() });
            let blocking = inner.spawn_blocking("blocking", niceness);
            (niceness(), spawned.await, blocking.await)
        });
        // The last that holds them is now their own task.
        drop(workers);
        begin.send(()).unwrap();
        let usual = niceness();
        let (own, spawned, blocking) = there.await.unwrap();
        assert!(own > usual || own == 19, "{own} {usual}");
        assert_eq!((spawned, blocking), (Ok(own), Ok(own)));
    }
}
