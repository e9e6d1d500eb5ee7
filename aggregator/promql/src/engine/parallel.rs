//! The series of a selector, on several threads where there are many.
//!
//! A selection is cut into stretches. The query's own thread takes what they came to in their order, as if it had gone through the series alone:
//! whatever the number of threads, a query gives the same to the bit. It evaluates, too: the stretch that is next goes straight on to whoever
//! takes series; others are held until it is their turn, which they may not be ahead of by much.
//!
//! Other threads are those of the engine's [`Helpers`], shared by all queries: a query gets those that are idle when it comes to a selection.
//! They are threads of the query's own, so that they compete with the rest of the process as it does.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use model::Labels;
use storage::{Samples, Selection, SelectionReader};

use super::evaluator::Evaluator;
use super::value::{Emit, Evaluated};
use crate::{Annotations, Column, QueryError, QueryStats};

/// Stretches that are held or being worked on, by thread.
const AHEAD_PER_THREAD: usize = 2;
/// Points that a stretch comes to, and its series, at most.
const POINTS_OF_STRETCH: usize = 64 << 10;
const SERIES_OF_STRETCH: usize = 512;
/// What reading a series costs, in instants.
const INSTANTS_OF_READING: usize = 15;

/// What is done with each series of a selector; holds what one thread needs for that.
pub(crate) trait SeriesWork<'q> {
    /// Evaluates a series, and emits what it came to, if it did.
    fn visit(
        &mut self,
        evaluator: &mut Evaluator<'q>,
        labels: &Labels,
        samples: Samples<'_>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError>;
}

/// Makes what a thread needs.
pub(crate) type MakeWork<'m, 'q> = dyn Fn() -> Box<dyn SeriesWork<'q> + 'm> + Sync + 'm;

/// Threads that queries may have beside their own, shared by all of them.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    idle: AtomicUsize,
}

impl Helpers {
    pub(crate) const fn new(count: usize) -> Self {
        Self {
            idle: AtomicUsize::new(count),
        }
    }

    /// Takes all that are idle, `most` at most.
    fn take(&self, most: usize) -> Taken<'_> {
        let mut count = 0;
        let less = |idle: usize| {
            count = idle.min(most);
            Some(idle - count)
        };
        let order = Ordering::Relaxed;
        self.idle
            .fetch_update(order, order, less)
            .unwrap_or_default();
        Taken { of: self, count }
    }
}

/// Helpers that a query has for a while.
struct Taken<'h> {
    of: &'h Helpers,
    count: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.of.idle.fetch_add(self.count, Ordering::Relaxed);
    }
}

impl<'q> Evaluator<'q> {
    /// Does the work on all series of a selection, on several threads if it is `heavy`, and emits what they come to in their order.
    /// `with_rollups`: summaries may be among them.
    pub(super) fn work_on(
        &mut self,
        (selection, with_rollups): (&dyn Selection, bool),
        heavy: bool,
        make: &MakeWork<'_, 'q>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let helpers = self.helpers;
        let count = selection.len();
        let stretch = (POINTS_OF_STRETCH / self.query.len().max(1)).clamp(1, SERIES_OF_STRETCH);
        let stretch = stretch.min(self.config.parallel_from.max(1));
        let stretches = count.div_ceil(stretch);
        let work = count.saturating_mul(self.query.len() + INSTANTS_OF_READING);
        let taken = if work < self.config.parallel_from || !heavy {
            helpers.take(0)
        } else {
            helpers.take(stretches.saturating_sub(1))
        };
        let lane = || Lane {
            reader: selection.reader(),
            work: make(),
            with_rollups,
        };
        if taken.count == 0 {
            return self.work_through(&mut lane(), 0..count, emit);
        }
        let queue = Queue {
            series: count,
            stretch,
            stretches,
            ahead: (taken.count + 1) * AHEAD_PER_THREAD,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let evaluators: Vec<Evaluator<'q>> = (0..taken.count).map(|_| self.fork()).collect();
        let mut own = self.fork();
        thread::scope(|scope| {
            let _stop = StopOnDrop(&queue);
            for mut evaluator in evaluators {
                let queue = &queue;
                let help = move || {
                    let _stop = StopOnDrop(queue);
                    let mut lane = lane();
                    while let Some(number) = queue.claim() {
                        let done = evaluator.hold_stretch(&mut lane, queue.series_of(number));
                        queue.put(number, done);
                    }
                };
                let builder = thread::Builder::new().name("query helper".to_owned());
                if builder.spawn_scoped(scope, help).is_err() {
                    // The system has no more threads: the work goes on with those that there are.
                    break;
                }
            }
            let mut lane = lane();
            loop {
                match queue.next() {
                    Next::Take(done) => self.take_stretch(*done, emit)?,
                    Next::Emit(number) => {
                        self.work_through(&mut lane, queue.series_of(number), emit)?;
                        queue.taken();
                    }
                    Next::Hold(number) => {
                        let done = own.hold_stretch(&mut lane, queue.series_of(number));
                        queue.put(number, done);
                    }
                    Next::End => return Ok(()),
                }
            }
        })
    }

    /// Does the work on some series of a selection.
    fn work_through(
        &mut self,
        lane: &mut Lane<'_, '_, 'q>,
        series: Range<usize>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let Lane {
            reader,
            work,
            with_rollups,
        } = lane;
        self.read_stretch(
            &mut **reader,
            *with_rollups,
            series,
            |evaluator, labels, samples| work.visit(evaluator, labels, samples, emit),
        )
    }

    /// Does the work on a stretch, and holds what it came to, charged.
    fn hold_stretch(
        &mut self,
        lane: &mut Lane<'_, '_, 'q>,
        series: Range<usize>,
    ) -> Result<Stretch, QueryError> {
        let (mut made, mut bytes) = (Vec::new(), 0);
        let worked = self.work_through(lane, series, &mut |evaluator, found| {
            let column = std::mem::take(found.column);
            let size = column.bytes() + size_of::<Made>() as u64;
            evaluator.budget.charge(0, size)?;
            bytes += size;
            made.push(Made {
                labels: found.labels.clone(),
                renamed: found.renamed,
                drop_name: found.drop_name,
                column,
            });
            Ok(())
        });
        if let Err(error) = worked {
            self.budget.release(bytes);
            return Err(error);
        }
        let steps = self.stats.samples_per_step.len();
        Ok(Stretch {
            made,
            bytes,
            notes: std::mem::take(&mut self.notes),
            stats: std::mem::replace(&mut self.stats, QueryStats::of_steps(steps)),
        })
    }

    /// Emits what a stretch came to.
    fn take_stretch(
        &mut self,
        done: Result<Stretch, QueryError>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let Stretch {
            made,
            bytes,
            notes,
            stats,
        } = done?;
        self.notes.append(notes);
        self.stats.add(&stats);
        self.budget.release(bytes);
        made.into_iter().try_for_each(|mut made| {
            let found = Evaluated {
                labels: &made.labels,
                renamed: made.renamed,
                drop_name: made.drop_name,
                column: &mut made.column,
            };
            emit(self, found)
        })
    }
}

/// What one thread has.
struct Lane<'s, 'm, 'q> {
    reader: Box<dyn SelectionReader + 's>,
    work: Box<dyn SeriesWork<'q> + 'm>,
    with_rollups: bool,
}

/// What a series came to.
#[derive(Debug)]
struct Made {
    labels: Labels,
    renamed: bool,
    drop_name: bool,
    column: Column,
}

/// What a stretch came to.
#[derive(Debug)]
struct Stretch {
    made: Vec<Made>,
    /// What it is charged for.
    bytes: u64,
    notes: Annotations,
    stats: QueryStats,
}

/// The stretches of a selection.
struct Queue {
    series: usize,
    /// Series of a stretch.
    stretch: usize,
    stretches: usize,
    /// Stretches that may be worked on or held beyond those that are taken.
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The stretch that is claimed next.
    unclaimed: usize,
    /// Stretches that are taken; the next is this one.
    taken: usize,
    done: BTreeMap<usize, Result<Stretch, QueryError>>,
    stopped: bool,
}

/// What the query's own thread does next.
enum Next {
    /// Takes the stretch whose turn it is.
    Take(Box<Result<Stretch, QueryError>>),
    /// Works on that stretch itself.
    Emit(usize),
    /// Works on a later one.
    Hold(usize),
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn series_of(&self, number: usize) -> Range<usize> {
        let start = number * self.stretch;
        start..(start + self.stretch).min(self.series)
    }

    /// Returns a stretch to work on, once there is one that is not too far ahead; `None`: there is nothing left to do.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.unclaimed == self.stretches {
                return None;
            }
            if let Some(number) = self.claim_in(&mut state) {
                return Some(number);
            }
            state = self.wait(state);
        }
    }

    fn claim_in(&self, state: &mut State) -> Option<usize> {
        let number = state.unclaimed;
        let may = number < self.stretches && number < state.taken + self.ahead;
        may.then(|| {
            state.unclaimed += 1;
            number
        })
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            let turn = state.taken;
            if let Some(done) = state.done.remove(&turn) {
                state.taken += 1;
                self.changed.notify_all();
                return Next::Take(Box::new(done));
            }
            // A thread that stopped before its time has panicked, which the end of their scope tells.
            if turn == self.stretches || state.stopped {
                return Next::End;
            }
            match self.claim_in(&mut state) {
                Some(number) if number == turn => return Next::Emit(number),
                Some(number) => return Next::Hold(number),
                None => state = self.wait(state),
            }
        }
    }

    fn put(&self, number: usize, done: Result<Stretch, QueryError>) {
        self.lock().done.insert(number, done);
        self.changed.notify_all();
    }

    /// Notes that the stretch whose turn it was has been emitted.
    fn taken(&self) {
        self.lock().taken += 1;
        self.changed.notify_all();
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all threads end.
    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Stops the work when the query's thread is done with it, and when any thread panics.
struct StopOnDrop<'q>(&'q Queue);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        let over = self.0.lock().unclaimed == self.0.stretches;
        if !over || thread::panicking() {
            self.0.stop();
        }
    }
}
