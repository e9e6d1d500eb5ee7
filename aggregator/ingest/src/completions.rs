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
    used: bool,
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
            used: false,
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
    pub(crate) fn complete(mut self, outcome: AppendOutcome) {
        let completion = Completion {
            epoch: self.epoch,
            number: self.number,
            outcome,
        };
        self.used = true;
        {
            // In one step: counted twice for a moment, the batch would push a full window over its bound.
            let mut inner = self.to.inner();
            inner.outstanding -= 1;
            inner.ready.push(completion);
        }
        (self.to.wake)();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.to.inner().outstanding -= 1;
        }
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions")
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    #[test]
    fn a_batch_is_counted_once_at_every_moment() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let completions = Arc::new_cyclic(|weak: &Weak<Completions>| {
            let (weak, seen) = (Weak::clone(weak), Arc::clone(&seen));
            Completions::new(Arc::new(move || {
                let outstanding = weak.upgrade().map(|to| to.outstanding());
                seen.lock().unwrap().push(outstanding);
            }))
        });
        let first = completions.ticket(Epoch(1), BatchNumber(0));
        let second = completions.ticket(Epoch(1), BatchNumber(1));
        assert_eq!(completions.outstanding(), 2);
        first.complete(AppendOutcome::Duplicate);
        drop(second);
        assert_eq!(*seen.lock().unwrap(), [Some(2)]);
        assert_eq!(
            (completions.take().len(), completions.outstanding()),
            (1, 0)
        );
    }
}
