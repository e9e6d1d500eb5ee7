//! Named, counted, joined tasks.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::{Threads, Workers};

/// The name of a task: constant text, or text with a number or an id in it.
type Name = Cow<'static, str>;

/// A set of tasks that end together: each has a name, is counted while it runs, and can be waited for or aborted.
///
/// Cloning gives another handle to the same set. Dropping the set leaves its tasks running: a task is stopped by its
/// [`Token`](crate::Token) or by [`abort_all`](Self::abort_all).
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    running: Mutex<Running>,
    /// Number of running tasks; its changes wake [`Tasks::join`].
    count: watch::Sender<usize>,
    last_panic: watch::Sender<Option<PanicReport>>,
    panics: AtomicU64,
}

#[derive(Default)]
struct Running {
    next_id: u64,
    tasks: BTreeMap<u64, Entry>,
    /// Set by [`Tasks::abort_all`], so that a task spawned by one that is being aborted does not outlive it.
    closed: bool,
}

struct Entry {
    name: Name,
    /// Known a moment after the spawn; a blocking closure cannot be aborted once it runs.
    abort: Option<AbortHandle>,
}

/// A panic that was caught in a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicReport {
    /// The set that the task belonged to.
    pub set: &'static str,
    /// The task.
    pub task: Name,
    /// What the panic said.
    pub message: String,
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// It panicked.
    Panicked(PanicReport),
    /// It was aborted, or the runtime is going down.
    Aborted {
        /// The task.
        task: Name,
    },
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(report) => {
                write!(f, "task {:?} panicked: {}", report.task, report.message)
            }
            Self::Aborted { task } => write!(f, "task {task:?} was aborted"),
        }
    }
}

impl std::error::Error for TaskError {}

/// What a thread does, its panics caught.
type Work<T> = Box<dyn FnOnce() -> Result<T, PanicReport> + Send>;

/// A running task; awaiting it gives its result. Dropping it lets the task run on.
#[must_use = "await the task, or call `detach` to let it run on its own"]
pub struct Task<T> {
    name: Name,
    handle: JoinHandle<Result<T, PanicReport>>,
}

impl Tasks {
    /// Returns an empty set.
    pub fn new(name: &'static str) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                running: Mutex::default(),
                count: watch::Sender::new(0),
                last_panic: watch::Sender::new(None),
                panics: AtomicU64::new(0),
            }),
        }
    }

    /// Runs `future` as a task. Must be called within the runtime.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_future(None, name.into(), future)
    }

    /// Runs `future` as a task of `workers`, which live as long as it does.
    pub fn spawn_among<F>(
        &self,
        workers: &Arc<Workers>,
        name: impl Into<Name>,
        future: F,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_future(Some(workers), name.into(), future)
    }

    /// Runs `future` on `workers`, or where this is called.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are spawned")]
    fn spawn_future<F>(
        &self,
        workers: Option<&Arc<Workers>>,
        name: Name,
        future: F,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let entry = self.enter(name.clone());
        let id = entry.id;
        let supervised = async move {
            let outcome = catch_panics(future).await;
            entry.finish(outcome)
        };
        let handle = match workers {
            Some(workers) => {
                let held = Arc::clone(workers);
                workers.spawn(async move {
                    let result = supervised.await;
                    drop(held);
                    result
                })
            }
            None => tokio::spawn(supervised),
        };
        self.remember_abort(id, handle.abort_handle());
        Task { name, handle }
    }

    /// Runs `closure` on a thread for blocking work: short and rare things such as a DNS look-up or a small file. Once started it
    /// cannot be aborted.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are spawned")]
    pub fn spawn_blocking<F, T>(&self, name: impl Into<Name>, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_by(name.into(), closure, tokio::task::spawn_blocking)
    }

    /// Runs `closure` on one of `threads`: work that keeps a processor busy. Once started it cannot be aborted.
    pub fn spawn_on<F, T>(&self, threads: &Threads, name: impl Into<Name>, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_by(name.into(), closure, |work| threads.spawn(work))
    }

    fn spawn_by<F, T>(
        &self,
        name: Name,
        closure: F,
        spawn: impl FnOnce(Work<T>) -> JoinHandle<Result<T, PanicReport>>,
    ) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let entry = self.enter(name.clone());
        let id = entry.id;
        let handle = spawn(Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(closure));
            entry.finish(outcome)
        }));
        self.remember_abort(id, handle.abort_handle());
        Task { name, handle }
    }

    /// Returns how many tasks run now.
    pub fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Returns the names of the tasks that run now, in order of start.
    pub fn names(&self) -> Vec<Name> {
        let running = self.shared.running();
        running.tasks.values().map(|e| e.name.clone()).collect()
    }

    /// Returns how many tasks of this set have panicked.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Waits until a task panics, and returns its report; at once when one already did. For a program's main loop.
    pub async fn panicked(&self) -> PanicReport {
        let mut reports = self.shared.last_panic.subscribe();
        let report = reports
            .wait_for(Option::is_some)
            .await
            .expect("the sender lives in `self`");
        report.clone().expect("waited for")
    }

    /// Waits until no task runs. Tasks may still be added while waiting.
    pub async fn join(&self) {
        let mut counts = self.shared.count.subscribe();
        counts
            .wait_for(|count| *count == 0)
            .await
            .expect("the sender lives in `self`");
    }

    /// Aborts every task at its next `.await`, also those spawned later; follow with [`join`](Self::join).
    pub fn abort_all(&self) {
        let mut running = self.shared.running();
        running.closed = true;
        let handles: Vec<AbortHandle> = running
            .tasks
            .values()
            .filter_map(|e| e.abort.clone())
            .collect();
        drop(running); // a handle's abort may drop the task's future, which locks again
        for handle in handles {
            handle.abort();
        }
    }

    fn enter(&self, name: Name) -> RunningEntry {
        let mut running = self.shared.running();
        let id = running.next_id;
        running.next_id += 1;
        let entry = Entry {
            name: name.clone(),
            abort: None,
        };
        running.tasks.insert(id, entry);
        self.shared.count.send_replace(running.tasks.len());
        drop(running);
        RunningEntry {
            shared: Arc::clone(&self.shared),
            id,
            name,
        }
    }

    fn remember_abort(&self, id: u64, handle: AbortHandle) {
        let mut running = self.shared.running();
        let closed = running.closed;
        // Absent when the task has ended already.
        if let Some(entry) = running.tasks.get_mut(&id) {
            entry.abort = Some(handle.clone());
        }
        drop(running);
        if closed {
            handle.abort();
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("name", &self.shared.name)
            .field("running", &self.names())
            .finish()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Running> {
        // The map is changed by single inserts and removes: a panicking holder cannot leave it half written.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's membership: leaving the set is its drop, so an aborted task leaves too.
struct RunningEntry {
    shared: Arc<Shared>,
    id: u64,
    name: Name,
}

impl RunningEntry {
    fn finish<T>(self, outcome: Result<T, Box<dyn Any + Send>>) -> Result<T, PanicReport> {
        outcome.map_err(|payload| {
            let report = PanicReport {
                set: self.shared.name,
                task: self.name.clone(),
                message: panic_message(payload.as_ref()),
            };
            tracing::error!(set = report.set, task = %report.task, panic = report.message, "a task panicked");
            self.shared.panics.fetch_add(1, Ordering::Relaxed);
            self.shared.last_panic.send_replace(Some(report.clone()));
            report
        })
    }
}

impl Drop for RunningEntry {
    fn drop(&mut self) {
        let mut running = self.shared.running();
        running.tasks.remove(&self.id);
        self.shared.count.send_replace(running.tasks.len());
    }
}

impl<T> Task<T> {
    /// Lets the task run on without anybody awaiting its result.
    pub fn detach(self) {}

    /// Stops the task at its next `.await`.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let joined = std::task::ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(match joined {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(report)) => Err(TaskError::Panicked(report)),
            Err(_aborted) => Err(TaskError::Aborted {
                task: self.name.clone(),
            }),
        })
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.name).finish()
    }
}

async fn catch_panics<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_named_counted_and_joined() {
        let tasks = Tasks::new("test");
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let first = tasks.spawn("first", async move { released.await.is_ok() });
        tasks.spawn(format!("second {}", 2), async {}).detach();
        assert!(tasks.names().contains(&Name::from("first")));
        release.send(()).unwrap();
        tasks.join().await;
        assert_eq!(tasks.count(), 0);
        assert_eq!(first.await, Ok(true));
    }

    #[tokio::test]
    async fn a_panic_is_reported_by_name_and_harms_nobody_else() {
        let tasks = Tasks::new("test");
        let healthy = tasks.spawn("healthy", async { 7 });
        let sick = tasks.spawn("sick", async { panic!("out of {}", "order") });
        let report = tasks.panicked().await;
        assert_eq!(
            (report.set, &*report.task, &*report.message),
            ("test", "sick", "out of order")
        );
        let error = sick.await.map(|(): ()| ()).unwrap_err();
        assert_eq!(error.to_string(), "task \"sick\" panicked: out of order");
        assert_eq!(healthy.await, Ok(7));
        tasks.join().await;
        assert_eq!(tasks.panics(), 1);
    }

    #[tokio::test]
    async fn blocking_closures_count_and_report_alike() {
        let tasks = Tasks::new("test");
        let result = tasks.spawn_blocking("read", || 1 + 1).await;
        assert_eq!(result, Ok(2));
        let error = tasks
            .spawn_blocking("broken", || -> u8 { panic!("no") })
            .await;
        assert!(matches!(error, Err(TaskError::Panicked(_))));
        tasks.join().await;
    }

    #[tokio::test]
    async fn aborted_tasks_leave_the_set() {
        let tasks = Tasks::new("test");
        let stuck = tasks.spawn("stuck", std::future::pending::<()>());
        tasks.abort_all();
        tasks.join().await;
        assert!(matches!(stuck.await, Err(TaskError::Aborted { .. })));
        let late = tasks.spawn("late", std::future::pending::<()>());
        assert!(matches!(late.await, Err(TaskError::Aborted { .. })));
    }
}
