//! What a query may spend.

use std::fmt;
use std::time::Duration;

/// Why a query may not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetExceeded {
    /// It would hold too much memory.
    #[error(
        "query needs more than the {limit} bytes of memory it may use; narrow it, or raise {flag}"
    )]
    Memory {
        /// The bound, in bytes.
        limit: u64,
        /// The setting.
        flag: &'static str,
    },
    /// All queries that run, and answers on their way to clients, would hold too much memory together.
    #[error(
        "all queries together need more than the {limit} bytes of memory they may use; ask again when fewer run, narrow it, or raise {flag}"
    )]
    MemoryOfAll {
        /// The bound, in bytes.
        limit: u64,
        /// The setting.
        flag: &'static str,
    },
    /// It would hold more than its share while the process has hardly any memory left.
    #[error(
        "the process uses {used} bytes of the {limit} that it may use, and no query gets more than its share of memory; ask again later, narrow it, or raise {flag}"
    )]
    MemoryOfProcess {
        /// Bytes that the process uses.
        used: u64,
        /// The bound, in bytes.
        limit: u64,
        /// The setting.
        flag: &'static str,
    },
    /// It would read too many samples.
    #[error(
        "query processing would load too many samples into memory in query execution: the limit is {limit}; narrow it, or raise {flag}"
    )]
    Samples {
        /// The bound.
        limit: u64,
        /// The setting.
        flag: &'static str,
    },
    /// Its deadline has passed.
    #[error("query timed out in {phase} after {limit_ms} ms; narrow it, or raise {flag}")]
    Deadline {
        /// What it was doing.
        phase: &'static str,
        /// The bound.
        limit_ms: u64,
        /// The setting.
        flag: &'static str,
    },
    /// Whoever asked has gone, or an operator cancelled it.
    #[error("query was canceled in {phase}")]
    Cancelled {
        /// What it was doing.
        phase: &'static str,
    },
}

/// Counts what a query spends and says when it must stop. Shared by the threads of one query.
pub trait Budget: Send + Sync + fmt::Debug {
    /// Charges `samples` read and `bytes` of memory now held. May wait as [`Self::check`] does.
    fn charge(&self, samples: u64, bytes: u64) -> Result<(), BudgetExceeded>;

    /// Gives back memory charged before.
    fn release(&self, bytes: u64);

    /// Fails when the deadline has passed or the query was cancelled; called at least every few thousand samples. May wait while other
    /// queries have their turn, so it is called where no lock is held that others want.
    fn check(&self) -> Result<(), BudgetExceeded>;

    /// Returns how long the query has run; zero where nobody measures it.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A budget without bounds, for tests and tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn charge(&self, _samples: u64, _bytes: u64) -> Result<(), BudgetExceeded> {
        Ok(())
    }

    fn release(&self, _bytes: u64) {}

    fn check(&self) -> Result<(), BudgetExceeded> {
        Ok(())
    }
}
