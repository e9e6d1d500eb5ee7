//! What a query makes along the way, shares among its series and lets go when the last is done with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::{Budget, BudgetExceeded};

/// The account of such things. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Account<'q> {
    budget: &'q dyn Budget,
    /// Bytes of what has gone and is still charged.
    gone: Arc<AtomicU64>,
}

/// The bytes of one thing, which lives as long as this.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: u64,
    gone: Arc<AtomicU64>,
}

impl<'q> Account<'q> {
    pub(crate) fn new(budget: &'q dyn Budget) -> Self {
        Self {
            budget,
            gone: Arc::default(),
        }
    }

    /// Returns what something holds that takes next to nothing.
    pub(crate) fn nothing(&self) -> Held {
        Held {
            bytes: 0,
            gone: Arc::clone(&self.gone),
        }
    }

    /// Charges what is about to be made, and gives back what has gone.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, BudgetExceeded> {
        self.give_back();
        let bytes = bytes as u64;
        self.budget.charge(0, bytes)?;
        let gone = Arc::clone(&self.gone);
        Ok(Held { bytes, gone })
    }

    /// Gives back what has gone.
    pub(crate) fn give_back(&self) {
        self.budget.release(self.gone.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gone.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The bytes of what grows piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    held: Vec<Held>,
    /// Of pieces that are not charged yet.
    open: usize,
}

impl Growing {
    /// Pieces of so many bytes together are charged.
    const CHARGED_BYTES: usize = 64 << 10;

    /// Notes a piece that is there, or is about to be.
    pub(crate) fn grow(
        &mut self,
        account: &Account<'_>,
        bytes: usize,
    ) -> Result<(), BudgetExceeded> {
        self.open += bytes;
        if self.open >= Self::CHARGED_BYTES {
            self.held.push(account.hold(self.open)?);
            self.open = 0;
        }
        Ok(())
    }

    /// Notes that all has gone.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.open = 0;
    }
}
