//! Turns at the processors, for work that takes long.
//!
//! The system shares processors well among a few threads. Among twenty that are always ready, each waits for nineteen others, and so does
//! whoever waits for a lock that one of them holds: a worker that frees a buffer waits for a query that was stopped within the allocator.
//! Measured beside queries that mean ill, that was what a hundredth of the requests to write samples waited for, 20 to 170 ms. So only as
//! many threads work at once as there are processors, and the others wait, with no lock held.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use clock::Monotonic;

/// How long a turn lasts while others wait: long beside a change of threads, and short beside what a person notices.
const TURN: Duration = Duration::from_millis(5);
/// How often a thread lets the system look for others that are ready. It does so on its own with each tick only, 4 ms where there are 250
/// a second, if who woke had more than its share just before; and that is who has most to do.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// How long a thread waits for its turn at most. Then it works beside those whose turn it is: they may wait for a lock that it holds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Queue of those who wait for their first turn, and of those who have had one.
const NEW: usize = 0;
const KNOWN: usize = 1;

thread_local! {
    static TURN_OF_THREAD: RefCell<Option<Turn>> = const { RefCell::new(None) };
    static LAST_LOOK: Cell<Monotonic> = const { Cell::new(Monotonic::ORIGIN) };
}

/// Lets others of the system's threads run that are ready, and those who wait have their turn, if that of this thread has lasted long
/// enough, and waits for the next; for work on [`Threads`](crate::Threads) and their helpers, where it holds no lock, several times a
/// millisecond. `now`: of any clock, always the same.
///
/// Costs some nanoseconds where nobody waits, and a system call each half millisecond.
pub fn pass_turn(now: Monotonic) {
    LAST_LOOK.with(|last| {
        if now.saturating_since(last.get()) >= LOOK_EVERY {
            last.set(now);
            thread::yield_now();
        }
    });
    TURN_OF_THREAD.with_borrow_mut(|turn| {
        if let Some(turn) = turn {
            turn.pass(now);
        }
    });
}

/// Turns for the threads of a pool.
#[derive(Debug)]
pub(crate) struct Turns {
    at_once: usize,
    patience: Duration,
    /// How many wait, for a look without the lock.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Threads whose turn it is, and such as wait no more.
    working: usize,
    /// Two, so that what is short need not wait for all that is long, nor the long for ever.
    queues: [VecDeque<Arc<Waiter>>; 2],
    /// Which of the two is called from next, if it is not empty: the other than last.
    next: usize,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    is_called: AtomicBool,
}

impl Turns {
    pub(crate) fn new(at_once: usize) -> Arc<Self> {
        Self::with_patience(at_once, PATIENCE)
    }

    fn with_patience(at_once: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            at_once: at_once.max(1),
            patience,
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        })
    }

    /// Does the work when it is this thread's turn.
    pub(crate) fn work<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        self.wait(self.lock(), NEW);
        let turn = Turn {
            of: Arc::clone(self),
            began: None,
        };
        let outer = TURN_OF_THREAD.replace(Some(turn));
        let _end = EndOnDrop(outer);
        work()
    }

    /// Waits for a turn, behind those in the same queue.
    fn wait(&self, mut state: MutexGuard<'_, State>, queue: usize) {
        let waiter = Arc::new(Waiter {
            thread: thread::current(),
            is_called: AtomicBool::new(false),
        });
        state.queues[queue].push_back(Arc::clone(&waiter));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.call(&mut state);
        drop(state);
        let is_called = || waiter.is_called.load(Ordering::Acquire);
        let mut waited = Duration::ZERO;
        while !is_called() && waited < self.patience {
            // Woken for another reason, it waits somewhat less than it might.
            thread::park_timeout(self.patience / 4);
            waited += self.patience / 4;
        }
        if is_called() {
            return;
        }
        let mut state = self.lock();
        if is_called() {
            return;
        }
        state.queues[queue].retain(|one| !Arc::ptr_eq(one, &waiter));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state.working += 1;
    }

    /// Ends a turn, and waits for the next, behind whoever waits now.
    fn pass(&self) {
        let mut state = self.lock();
        state.working -= 1;
        self.call(&mut state);
        self.wait(state, KNOWN);
    }

    /// Ends a turn.
    fn end(&self) {
        let mut state = self.lock();
        state.working -= 1;
        self.call(&mut state);
    }

    /// Calls whoever is next, while there is room.
    fn call(&self, state: &mut State) {
        while state.working < self.at_once {
            let other = 1 - state.next;
            let called = match state.queues[state.next].pop_front() {
                Some(waiter) => {
                    state.next = other;
                    waiter
                }
                None => match state.queues[other].pop_front() {
                    Some(waiter) => waiter,
                    None => return,
                },
            };
            state.working += 1;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            called.is_called.store(true, Ordering::Release);
            called.thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of a thread.
#[derive(Debug)]
struct Turn {
    of: Arc<Turns>,
    /// When it was first looked at.
    began: Option<Monotonic>,
}

impl Turn {
    fn pass(&mut self, now: Monotonic) {
        let began = *self.began.get_or_insert(now);
        let others_wait = self.of.waiting.load(Ordering::Relaxed) > 0;
        if others_wait && now.saturating_since(began) >= TURN {
            self.of.pass();
            self.began = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.end();
    }
}

/// Ends the turn of this thread with the work, also when that panics.
struct EndOnDrop(Option<Turn>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        TURN_OF_THREAD.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Longer than a test takes.
    const LONG: Duration = Duration::from_mins(10);

    fn at(turns: u32) -> Monotonic {
        Monotonic::from_origin(TURN * turns)
    }

    fn wait_for_waiters(turns: &Turns, count: usize) {
        while turns.waiting.load(Ordering::Relaxed) < count {
            thread::yield_now();
        }
    }

    #[test]
    fn as_many_work_at_once_as_may_and_all_come_to_their_end() {
        let turns = Turns::with_patience(2, LONG);
        let working = AtomicUsize::new(0);
        let step = |now: u32| {
            assert!(working.fetch_add(1, Ordering::SeqCst) < 2);
            thread::yield_now();
            working.fetch_sub(1, Ordering::SeqCst);
            pass_turn(at(now));
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| turns.work(|| (0..200).for_each(step)));
            }
        });
        assert_eq!(turns.lock().working, 0);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_turn_is_passed_when_it_has_lasted_and_another_waits() {
        let turns = Turns::with_patience(1, LONG);
        let (said, saying) = sync_channel(16);
        thread::scope(|scope| {
            turns.work(|| {
                pass_turn(at(1));
                pass_turn(at(9));
                said.send("alone").unwrap();
                let other = said.clone();
                let of = &turns;
                scope.spawn(move || of.work(|| other.send("the other").unwrap()));
                wait_for_waiters(&turns, 1);
                // It began when it was first looked at.
                pass_turn(at(1));
                said.send("still").unwrap();
                pass_turn(at(2));
                said.send("again").unwrap();
            });
        });
        drop(said);
        let heard: Vec<_> = saying.iter().collect();
        assert_eq!(heard, ["alone", "still", "the other", "again"]);
        pass_turn(at(3));
    }

    #[test]
    fn newcomers_and_those_who_have_had_a_turn_are_called_alternately() {
        let turns = Turns::with_patience(1, LONG);
        let (said, saying) = sync_channel(16);
        thread::scope(|scope| {
            let long = |name: &'static str| {
                let (of, said) = (&turns, said.clone());
                scope.spawn(move || {
                    of.work(|| {
                        said.send(name).unwrap();
                        pass_turn(at(0));
                        pass_turn(at(1));
                        said.send(name).unwrap();
                    });
                });
            };
            turns.work(|| {
                for (count, name) in ["a", "b", "c"].into_iter().enumerate() {
                    long(name);
                    wait_for_waiters(&turns, count + 1);
                }
            });
        });
        drop(said);
        let heard: Vec<_> = saying.iter().collect();
        // `a` passes to `b`, of the newcomers; `b` to `a`; and so on.
        assert_eq!(heard, ["a", "b", "a", "c", "b", "c"]);
    }

    #[test]
    fn whoever_holds_what_the_others_wait_for_goes_on_in_the_end() {
        let turns = Turns::with_patience(1, Duration::from_millis(40));
        let lock = Mutex::new(());
        thread::scope(|scope| {
            turns.work(|| {
                let held = lock.lock().unwrap();
                scope.spawn(|| turns.work(|| drop(lock.lock().unwrap())));
                wait_for_waiters(&turns, 1);
                pass_turn(at(0));
                pass_turn(at(1));
                drop(held);
            });
        });
        assert_eq!(turns.lock().working, 0);
    }

    #[test]
    fn a_turn_ends_with_a_panic() {
        let turns = Turns::with_patience(1, LONG);
        let panicked = catch_unwind(AssertUnwindSafe(|| turns.work(|| panic!("oops"))));
        let panicked: thread::Result<()> = panicked;
        assert!(panicked.is_err());
        assert_eq!(turns.work(|| 7), 7);
    }
}
