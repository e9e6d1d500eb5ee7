//! `statfs` on threads of its own: a mount that does not answer holds a thread, not a collection.
//!
//! Each mount has at most one question under way, so the queue is never longer than the list of mounts. A thread that does not come
//! back while questions wait is replaced, until [`THREADS_MAX`] stand; from then on questions wait. A thread that finds nothing to do
//! while enough others are idle ends.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clock::Monotonic;

/// The most threads, those held by mounts included.
pub(super) const THREADS_MAX: usize = 32;

/// How long a collection waits at once; when answers are missing after it, threads are added.
const STEP: Duration = Duration::from_millis(10);

/// A `statfs` needs little.
const STACK_BYTES: usize = 64 << 10;

/// What a file system says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) size: f64,
    pub(super) free: f64,
    pub(super) available: f64,
    pub(super) files: f64,
    pub(super) files_free: f64,
}

/// Asks a file system.
pub(super) type Ask = dyn Fn(&Path) -> io::Result<Usage> + Send + Sync;

/// What is known of a mount.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// It has said this, now or a moment ago.
    Usage(&'a Usage),
    /// It has refused.
    Failed(&'a io::Error),
    /// It has not answered for too long.
    Stuck,
}

/// The threads, and what they found.
pub(super) struct StatfsPool {
    shared: Arc<Shared>,
    workers: usize,
    stuck_after: Duration,
    questions: HashMap<Arc<Path>, Question>,
}

/// What is known of one path.
#[derive(Debug, Default)]
struct Question {
    /// Since when an answer is awaited.
    asked: Option<Monotonic>,
    answer: Option<io::Result<Usage>>,
}

struct Shared {
    ask: Box<Ask>,
    state: Mutex<State>,
    work: Condvar,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Paths, and the round that asked.
    queue: VecDeque<(Arc<Path>, u64)>,
    answers: Vec<(Arc<Path>, io::Result<Usage>)>,
    round: u64,
    /// How many questions of this round have no answer.
    awaited: usize,
    threads: usize,
    idle: usize,
    workers: usize,
    closed: bool,
}

impl fmt::Debug for StatfsPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatfsPool")
            .field("questions", &self.questions)
            .finish_non_exhaustive()
    }
}

impl StatfsPool {
    /// Starts no thread yet.
    pub(super) fn new(workers: usize, stuck_after: Duration, ask: Box<Ask>) -> Self {
        let workers = workers.clamp(1, THREADS_MAX);
        Self {
            shared: Arc::new(Shared {
                ask,
                state: Mutex::new(State {
                    workers,
                    ..State::default()
                }),
                work: Condvar::new(),
                answered: Condvar::new(),
            }),
            workers,
            stuck_after,
            questions: HashMap::new(),
        }
    }

    /// Asks all `paths` that are not being asked, forgets others, and waits at most `patience` for answers.
    pub(super) fn ask<'a>(
        &mut self,
        paths: impl Iterator<Item = &'a Path> + Clone,
        now: Monotonic,
        patience: Duration,
    ) {
        self.forget_all_but(paths.clone());
        let mut state = self.shared.state();
        state.round += 1;
        state.awaited = 0;
        for path in paths {
            let path = match self.questions.get_key_value(path) {
                Some((path, _)) => Arc::clone(path),
                None => Arc::from(path),
            };
            let question = self.questions.entry(Arc::clone(&path)).or_default();
            if question.asked.is_none() {
                question.asked = Some(now);
                let round = state.round;
                state.queue.push_back((path, round));
                state.awaited += 1;
            }
        }
        // One thread asks all mounts in the time that waking a second one takes; only where it does not get on, others help.
        if state.idle == 0 {
            self.add_threads(&mut state, 1);
        }
        // Without the lock, which the thread that wakes takes at once.
        drop(state);
        self.shared.work.notify_one();
        let mut state = self.shared.state();
        for _ in 0..patience.as_millis().div_ceil(STEP.as_millis()) {
            let (next, step) = self
                .shared
                .answered
                .wait_timeout_while(state, STEP, |state| state.awaited > 0)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if !step.timed_out() {
                break;
            }
            let most = state.threads.max(self.workers);
            self.add_threads(&mut state, most);
            self.shared.work.notify_all();
        }
        for (path, answer) in state.answers.drain(..) {
            if let Some(question) = self.questions.get_mut(&path) {
                question.asked = None;
                question.answer = Some(answer);
            }
        }
    }

    /// Returns what is known of a path that was asked; `None` before anything is.
    pub(super) fn known(&self, path: &Path, now: Monotonic) -> Option<Known<'_>> {
        let question = self.questions.get(path)?;
        let late = question.asked.map(|asked| now.saturating_since(asked));
        match (&question.answer, late) {
            // Without an earlier answer there is nothing to show in the meantime.
            (None, Some(_)) => Some(Known::Stuck),
            (Some(_), Some(late)) if late >= self.stuck_after => Some(Known::Stuck),
            (Some(Ok(usage)), _) => Some(Known::Usage(usage)),
            (Some(Err(error)), _) => Some(Known::Failed(error)),
            (None, None) => None,
        }
    }

    /// Mounts that are gone are forgotten, but for those that still hold a thread.
    fn forget_all_but<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let present: HashSet<&Path> = paths.collect();
        self.questions
            .retain(|path, question| question.asked.is_some() || present.contains(&**path));
    }

    /// Adds threads for questions that wait without an idle thread, `most` at once and [`THREADS_MAX`] in all.
    fn add_threads(&self, state: &mut State, most: usize) {
        let wanted = state.queue.len().saturating_sub(state.idle);
        let room = THREADS_MAX.saturating_sub(state.threads);
        for _ in 0..wanted.min(room).min(most) {
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("statfs".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.work());
            match spawned {
                Ok(_) => state.threads += 1,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot start a thread for statfs"
                    );
                    return;
                }
            }
        }
    }
}

impl Drop for StatfsPool {
    /// Does not wait: a thread may be held by the kernel for as long as a server is away.
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values, none half written: a panicking holder leaves them usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    fn work(&self) {
        let mut state = self.state();
        while !state.closed {
            let Some((path, round)) = state.queue.pop_front() else {
                if state.idle >= state.workers {
                    break;
                }
                state.idle += 1;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let answer = (self.ask)(&path);
            state = self.state();
            state.answers.push((path, answer));
            if round == state.round {
                state.awaited -= 1;
                if state.awaited == 0 {
                    self.answered.notify_one();
                }
            }
        }
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(800);
    const STUCK_AFTER: Duration = Duration::from_secs(1);

    /// Mounts named `/hung*` do not answer while the gate is closed.
    #[derive(Default)]
    struct Gate {
        open: AtomicBool,
        asked: AtomicUsize,
    }

    fn pool(gate: &Arc<Gate>) -> StatfsPool {
        let gate = Arc::clone(gate);
        StatfsPool::new(
            2,
            STUCK_AFTER,
            Box::new(move |path| {
                gate.asked.fetch_add(1, Ordering::SeqCst);
                while path.to_string_lossy().starts_with("/hung")
                    && !gate.open.load(Ordering::SeqCst)
                {
                    thread::yield_now();
                    thread::park_timeout(Duration::from_millis(1));
                }
                if path.starts_with("/bad") {
                    return Err(io::Error::from(io::ErrorKind::PermissionDenied));
                }
                Ok(Usage::default())
            }),
        )
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn ask(pool: &mut StatfsPool, paths: &[PathBuf], now: Monotonic) {
        pool.ask(paths.iter().map(PathBuf::as_path), now, PATIENCE);
    }

    #[test]
    fn hung_mounts_hold_threads_and_nothing_else() {
        let gate = Arc::new(Gate::default());
        let mut pool = pool(&gate);
        let mut paths: Vec<PathBuf> = (0..6).map(|n| PathBuf::from(format!("/hung{n}"))).collect();
        paths.extend([PathBuf::from("/good"), PathBuf::from("/bad")]);
        for second in 0..3 {
            ask(&mut pool, &paths, at(second));
            assert!(matches!(
                pool.known(&paths[0], at(second)),
                Some(Known::Stuck)
            ));
            assert!(matches!(
                pool.known(Path::new("/good"), at(second)),
                Some(Known::Usage(_))
            ));
            assert!(matches!(
                pool.known(Path::new("/bad"), at(second)),
                Some(Known::Failed(_))
            ));
        }
        assert_eq!(
            gate.asked.load(Ordering::SeqCst),
            6 + 2 * 3,
            "a hung mount is asked once"
        );
        assert!(pool.shared.state().threads <= THREADS_MAX);

        gate.open.store(true, Ordering::SeqCst);
        let answered = (3..1_000).any(|second| {
            ask(&mut pool, &paths, at(second));
            matches!(pool.known(&paths[0], at(second)), Some(Known::Usage(_)))
        });
        assert!(answered, "an answer frees the mount");
    }

    #[test]
    fn a_late_mount_shows_its_last_answer_until_it_is_stuck() {
        let gate = Arc::new(Gate::default());
        gate.open.store(true, Ordering::SeqCst);
        let mut pool = pool(&gate);
        let paths = [PathBuf::from("/hung")];
        ask(&mut pool, &paths, at(0));
        gate.open.store(false, Ordering::SeqCst);
        ask(&mut pool, &paths, at(1));
        assert!(matches!(
            pool.known(&paths[0], at(1)),
            Some(Known::Usage(_))
        ));
        assert!(matches!(pool.known(&paths[0], at(2)), Some(Known::Stuck)));
        gate.open.store(true, Ordering::SeqCst);
    }

    #[test]
    fn more_hung_mounts_than_threads_leave_the_rest_waiting() {
        let gate = Arc::new(Gate::default());
        let mut pool = pool(&gate);
        let paths: Vec<PathBuf> = (0..100)
            .map(|n| PathBuf::from(format!("/hung{n}")))
            .collect();
        for second in 0..20 {
            ask(&mut pool, &paths, at(second));
        }
        assert_eq!(pool.shared.state().threads, THREADS_MAX);
        gate.open.store(true, Ordering::SeqCst);
        let all = (20..1_000).any(|second| {
            ask(&mut pool, &paths, at(second));
            paths
                .iter()
                .all(|path| matches!(pool.known(path, at(second)), Some(Known::Usage(_))))
        });
        assert!(all);
    }

    #[test]
    fn mounts_that_are_gone_are_forgotten() {
        let gate = Arc::new(Gate::default());
        let mut pool = pool(&gate);
        ask(
            &mut pool,
            &[PathBuf::from("/a"), PathBuf::from("/b")],
            at(0),
        );
        ask(&mut pool, &[PathBuf::from("/b")], at(1));
        assert!(pool.known(Path::new("/a"), at(1)).is_none());
        assert_eq!(pool.questions.len(), 1);
    }
}
