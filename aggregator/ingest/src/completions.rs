//! What the store says of batches, carried from its threads to the session.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rows::{BatchNumber, Epoch};
use storage::AppendOutcome;

use crate::agents::Wake;

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) epoch: Epoch,
    pub(crate) number: BatchNumber,
    pub(crate) outcome: AppendOutcome,
}

/// Batches on their way through the store, at most a window of them.
pub(crate) struct Completions {
    inner: Mutex<Inner>,
    wake: Wake,
}

#[derive(Default)]
struct Inner {
    ready: Vec<Completion>,
    outstanding: usize,
}

/// The right to say once what became of a batch. Dropped unsaid (the store was busy, or has gone), the batch is simply not
/// answered: it stays in the agent's spool.
pub(crate) struct Ticket {
    to: Arc<Completions>,
    epoch: Epoch,
    number: BatchNumber,
}

impl Completions {
    pub(crate) fn new(wake: Wake) -> Self {
        Self {
            inner: Mutex::default(),
            wake,
        }
    }

    /// Counts a batch as on its way until its ticket is used or dropped.
    pub(crate) fn ticket(self: &Arc<Self>, epoch: Epoch, number: BatchNumber) -> Ticket {
        self.inner().outstanding += 1;
        Ticket {
            to: Arc::clone(self),
            epoch,
            number,
        }
    }

    /// Returns how many batches are on their way or wait to be answered.
    pub(crate) fn outstanding(&self) -> usize {
        let inner = self.inner();
        inner.outstanding + inner.ready.len()
    }

    /// Takes what was said since the last call, in the order it was said.
    pub(crate) fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut self.inner().ready)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(crate) fn complete(self, outcome: AppendOutcome) {
        let completion = Completion {
            epoch: self.epoch,
            number: self.number,
            outcome,
        };
        self.to.inner().ready.push(completion);
        (self.to.wake)();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.to.inner().outstanding -= 1;
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions")
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
