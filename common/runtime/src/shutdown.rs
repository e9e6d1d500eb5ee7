//! Ordered shutdown: stop accepting, drain, flush, close.
//!
//! Each part of a program registers for the phase in which it must act ([`Shutdown::part`]) and holds the [`Part`] until it has
//! done so. [`Shutdown::run`] walks the phases: a phase begins when every part of the one before is done, or has used up its share
//! of the grace period. The share of a phase is the time left divided by the phases left, so that a drain which hangs cannot take
//! the time of the flush.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// A step of the shutdown, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Listeners, scrape loops and timers stop taking new work.
    StopAccepting,
    /// Work in progress ends; peers are told.
    Drain,
    /// What is in memory is written and synced.
    Flush,
    /// Files, sockets and locks are given back.
    Close,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 4] = [Self::StopAccepting, Self::Drain, Self::Flush, Self::Close];
}

/// The shutdown of a program. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

struct Shared {
    grace: Duration,
    requested: Token,
    phases: [PhaseState; 4],
}

struct PhaseState {
    phase: Phase,
    token: Token,
    waiting: Mutex<Vec<Arc<str>>>,
    count: watch::Sender<usize>,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Parts that had not finished when their phase's time ran out.
    pub unfinished: Vec<(Phase, Arc<str>)>,
}

impl Shutdown {
    /// Returns a shutdown whose phases take at most `grace` in sum.
    pub fn new(grace: Duration) -> Self {
        let phase = |phase| PhaseState {
            phase,
            token: Token::new(),
            waiting: Mutex::default(),
            count: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(Shared {
                grace,
                requested: Token::new(),
                phases: Phase::ALL.map(phase),
            }),
        }
    }

    /// Registers a part that acts in `phase`; the phase lasts until the part is dropped, at most its share of the grace period.
    pub fn part(&self, phase: Phase, name: impl Into<Arc<str>>) -> Part {
        let name = name.into();
        let state = self.shared.state(phase);
        let mut waiting = state.waiting();
        waiting.push(Arc::clone(&name));
        state.count.send_replace(waiting.len());
        drop(waiting);
        Part {
            shared: Arc::clone(&self.shared),
            phase,
            name,
        }
    }

    /// Returns a token that stops when `phase` begins, for those who need to know but hold nothing up.
    pub fn token(&self, phase: Phase) -> Token {
        self.shared.state(phase).token.child()
    }

    /// Asks for the shutdown; the second call is without effect.
    pub fn request(&self) {
        self.shared.requested.stop();
    }

    /// Waits until somebody asks for the shutdown.
    pub async fn requested(&self) {
        self.shared.requested.stopped().await;
    }

    /// Walks the phases; returns when the last is over. Call it once, from the program's main function.
    pub async fn run(&self) -> ShutdownReport {
        self.shared.requested.stop();
        let end = Instant::now() + self.shared.grace;
        let mut report = ShutdownReport::default();
        let mut phases_left = 4_u32;
        for state in &self.shared.phases {
            let now = Instant::now();
            let share = end.saturating_duration_since(now) / phases_left;
            phases_left -= 1;
            tracing::debug!(phase = ?state.phase, "shutdown phase begins");
            state.token.stop();
            let mut counts = state.count.subscribe();
            if timeout_at(now + share, counts.wait_for(|n| *n == 0))
                .await
                .is_err()
            {
                let names = state.waiting().clone();
                tracing::warn!(phase = ?state.phase, parts = ?names, "shutdown phase ran out of time");
                report
                    .unfinished
                    .extend(names.into_iter().map(|name| (state.phase, name)));
            }
        }
        report
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("grace", &self.shared.grace)
            .field("requested", &self.shared.requested.is_stopped())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self, phase: Phase) -> &PhaseState {
        match phase {
            Phase::StopAccepting => &self.phases[0],
            Phase::Drain => &self.phases[1],
            Phase::Flush => &self.phases[2],
            Phase::Close => &self.phases[3],
        }
    }
}

impl PhaseState {
    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        // Single pushes and removes: a panicking holder cannot leave them half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part's place in the shutdown: its phase lasts until this is dropped.
#[must_use = "the phase waits until the part is dropped"]
pub struct Part {
    shared: Arc<Shared>,
    phase: Phase,
    name: Arc<str>,
}

impl Part {
    /// Waits until the part's phase begins.
    pub async fn begun(&self) {
        self.shared.state(self.phase).token.stopped().await;
    }

    /// Returns a token that stops when the part's phase begins.
    pub fn token(&self) -> Token {
        self.shared.state(self.phase).token.child()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let state = self.shared.state(self.phase);
        let mut waiting = state.waiting();
        if let Some(at) = waiting
            .iter()
            .position(|name| Arc::ptr_eq(name, &self.name))
        {
            waiting.swap_remove(at);
        }
        state.count.send_replace(waiting.len());
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({:?}, {:?})", self.phase, self.name)
    }
}

/// A signal to stop, in a tree: stopping a token stops its children, never its parent.
#[derive(Clone)]
pub struct Token {
    node: Arc<Node>,
}

struct Node {
    stopped: watch::Sender<bool>,
    children: Mutex<Vec<Weak<Self>>>,
    /// Keeps the path to the root alive, so that a stop from above reaches tokens whose middle was dropped.
    _parent: Option<Arc<Self>>,
}

impl Token {
    /// Returns a root.
    pub fn new() -> Self {
        Self {
            node: Arc::new(Node::new(None)),
        }
    }

    /// Returns a token that stops with this one, or alone.
    pub fn child(&self) -> Self {
        let node = Arc::new(Node::new(Some(Arc::clone(&self.node))));
        let mut children = self.node.children();
        if children.len() == children.capacity() {
            children.retain(|child| child.strong_count() > 0);
        }
        children.push(Arc::downgrade(&node));
        drop(children);
        // Looked at after the push: a stop that came before it did not see the new child.
        if self.is_stopped() {
            node.stopped.send_replace(true);
        }
        Self { node }
    }

    /// Stops this token and all below it.
    pub fn stop(&self) {
        let mut to_stop = vec![Arc::clone(&self.node)];
        while let Some(node) = to_stop.pop() {
            node.stopped.send_replace(true);
            to_stop.extend(node.children().drain(..).filter_map(|c| c.upgrade()));
        }
    }

    /// Returns whether the token has been stopped.
    pub fn is_stopped(&self) -> bool {
        *self.node.stopped.borrow()
    }

    /// Waits for the stop.
    pub async fn stopped(&self) {
        let mut stopped = self.node.stopped.subscribe();
        stopped
            .wait_for(|stopped| *stopped)
            .await
            .expect("the sender lives in `self`");
    }

    /// Blocks this thread for `duration`, or until the stop, and returns whether that came; may return early without it. For a thread that
    /// does nothing else: it wakes by itself, where a task's timer wakes another one first.
    pub fn stopped_within(&self, duration: Duration) -> bool {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut stopped = pin!(self.stopped());
        let mut is_stopped = || {
            let mut context = Context::from_waker(&waker);
            stopped.as_mut().poll(&mut context).is_ready()
        };
        if is_stopped() {
            return true;
        }
        thread::park_timeout(duration);
        is_stopped()
    }

    /// Runs `future` until it ends, or returns `None` at the stop.
    pub async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            output = future => Some(output),
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn new(parent: Option<Arc<Self>>) -> Self {
        Self {
            stopped: watch::Sender::new(false),
            children: Mutex::default(),
            _parent: parent,
        }
    }

    fn children(&self) -> MutexGuard<'_, Vec<Weak<Self>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.is_stopped()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tasks;

    #[tokio::test(start_paused = true)]
    async fn phases_follow_each_other() {
        let shutdown = Shutdown::new(Duration::from_secs(8));
        let tasks = Tasks::new("test");
        let order = Arc::new(Mutex::new(Vec::new()));
        for phase in [
            Phase::Close,
            Phase::Drain,
            Phase::StopAccepting,
            Phase::Flush,
        ] {
            let part = shutdown.part(phase, format!("{phase:?}"));
            let order = Arc::clone(&order);
            tasks
                .spawn(format!("{phase:?}"), async move {
                    part.begun().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    order.lock().unwrap().push(phase);
                })
                .detach();
        }
        assert_eq!(shutdown.run().await, ShutdownReport::default());
        assert_eq!(*order.lock().unwrap(), Phase::ALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_leaves_the_later_phases_their_time() {
        let shutdown = Shutdown::new(Duration::from_secs(8));
        let hung = shutdown.part(Phase::Drain, "sessions");
        let flush = shutdown.part(Phase::Flush, "log");
        let started = Instant::now();
        let tasks = Tasks::new("test");
        let flushed = tasks.spawn("flush", async move {
            flush.begun().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        });
        let report = shutdown.run().await;
        assert_eq!(report.unfinished, [(Phase::Drain, Arc::from("sessions"))]);
        flushed.await.unwrap();
        assert!(started.elapsed() <= Duration::from_secs(8));
        drop(hung);
    }

    #[tokio::test]
    async fn a_stop_reaches_down_the_tree_only() {
        let root = Token::new();
        let middle = root.child();
        let leaf = middle.child();
        let sibling = root.child();
        middle.stop();
        assert!(leaf.is_stopped() && !root.is_stopped() && !sibling.is_stopped());
        root.stop();
        sibling.stopped().await;
        assert!(root.child().is_stopped());
    }

    #[test]
    fn a_thread_that_waits_hears_the_stop() {
        let root = Token::new();
        assert!(!root.stopped_within(Duration::from_millis(1)));
        let leaf = root.child();
        let waiting = thread::spawn(move || {
            // May return early: what it was woken by is not said.
            while !leaf.stopped_within(Duration::from_secs(3_600)) {}
        });
        root.stop();
        waiting.join().unwrap();
        assert!(root.stopped_within(Duration::from_secs(3_600)));
    }

    #[tokio::test]
    async fn a_leaf_hears_the_root_though_the_middle_is_gone() {
        let root = Token::new();
        let leaf = root.child().child();
        root.stop();
        assert!(leaf.is_stopped());
        assert_eq!(leaf.run(std::future::pending::<()>()).await, None);
    }
}
