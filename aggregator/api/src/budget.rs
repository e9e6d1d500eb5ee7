//! What a query may spend, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clock::{Deadline, Monotonic, SharedClock};
use http_shell::Response;
use storage::{Budget, BudgetExceeded};
use tokio::sync::Notify;

use crate::query_memory::QueryMemory;

/// Bounds on one query.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// How long it may take (`--query.timeout`).
    pub timeout: Duration,
    /// Samples it may read (`--query.max-samples`).
    pub samples_max: u64,
    /// Bytes it may hold (`--query.max-memory`).
    pub memory_bytes_max: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            samples_max: 50_000_000,
            memory_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// The account of one query.
#[derive(Debug)]
pub(crate) struct QueryBudget {
    limits: QueryLimits,
    /// That of all queries.
    all: Arc<QueryMemory>,
    clock: SharedClock,
    began: Monotonic,
    deadline: Deadline,
    cancelled: AtomicBool,
    /// Wakes whoever waits for [`Self::cancelled`].
    cancelling: Notify,
    samples: AtomicU64,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    charges: AtomicU64,
}

/// Charges between two looks at the clock, which take longer than the charges.
const CHARGES_PER_LOOK: u64 = 32;

impl QueryBudget {
    pub(crate) fn new(limits: QueryLimits, all: Arc<QueryMemory>, clock: SharedClock) -> Arc<Self> {
        let began = clock.monotonic();
        let deadline = Deadline::after(began, limits.timeout);
        Arc::new(Self {
            limits,
            all,
            clock,
            began,
            deadline,
            cancelled: AtomicBool::new(false),
            cancelling: Notify::new(),
            samples: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            charges: AtomicU64::new(0),
        })
    }

    /// Ends the account: what stays is the answer, until it is sent.
    pub(crate) fn answered(&self, mut answer: Response) -> Result<Response, BudgetExceeded> {
        let held = self.memory.swap(0, Ordering::Relaxed);
        if let Some(memory) = self.all.answered(held, answer.body.len())? {
            answer.held = Some(Arc::new(memory));
        }
        Ok(answer)
    }

    /// Returns a guard that cancels the query when it is dropped.
    pub(crate) fn cancel_on_drop(self: &Arc<Self>) -> CancelOnDrop {
        CancelOnDrop(Arc::clone(self))
    }

    /// Stops the query at its next look at the budget, or in the queue at once.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.cancelling.notify_one();
    }

    /// Returns whether the query was told to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Waits until the query is told to stop; for one waiter.
    pub(crate) async fn cancelled(&self) {
        self.cancelling.notified().await;
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.passed(self.clock.monotonic())
    }

    /// Returns the samples read so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Returns the memory held now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Returns the most memory held at once, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Ordering::Relaxed)
    }
}

impl Budget for QueryBudget {
    fn charge(&self, samples: u64, bytes: u64) -> Result<(), BudgetExceeded> {
        if self.samples.fetch_add(samples, Ordering::Relaxed) + samples > self.limits.samples_max {
            return Err(BudgetExceeded::Samples {
                limit: self.limits.samples_max,
                flag: "--query.max-samples",
            });
        }
        let before = self.memory.fetch_add(bytes, Ordering::Relaxed);
        let held = before + bytes;
        self.memory_peak.fetch_max(held, Ordering::Relaxed);
        self.all.grown(before, held)?;
        if held > self.limits.memory_bytes_max {
            return Err(BudgetExceeded::Memory {
                limit: self.limits.memory_bytes_max,
                flag: "--query.max-memory",
            });
        }
        let charges = self.charges.fetch_add(1, Ordering::Relaxed);
        if charges.is_multiple_of(CHARGES_PER_LOOK) || self.is_cancelled() {
            self.check()?;
        }
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let before = self.memory.fetch_sub(bytes, Ordering::Relaxed);
        self.all.shrunk(before, before - bytes);
    }

    fn check(&self) -> Result<(), BudgetExceeded> {
        const PHASE: &str = "expression evaluation";
        runtime::pass_turn(self.clock.monotonic());
        if self.is_cancelled() {
            return Err(BudgetExceeded::Cancelled { phase: PHASE });
        }
        if self.is_late() {
            let limit_ms = u64::try_from(self.limits.timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(BudgetExceeded::Deadline {
                phase: PHASE,
                limit_ms,
                flag: "--query.timeout",
            });
        }
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_since(self.began)
    }
}

impl Drop for QueryBudget {
    fn drop(&mut self) {
        self.all.shrunk(self.memory(), 0);
    }
}

/// Cancels a query when whoever waits for it goes away.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(Arc<QueryBudget>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use clock::SimulatedClock;

    use super::*;

    #[test]
    fn each_bound_stops_a_query_and_names_its_flag() {
        let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
        let limits = QueryLimits {
            timeout: Duration::from_secs(2),
            samples_max: 10,
            memory_bytes_max: 100,
        };
        let all = QueryMemory::new(120, 1, None);
        let new = || {
            QueryBudget::new(
                limits,
                Arc::clone(&all),
                Arc::<SimulatedClock>::clone(&clock),
            )
        };

        let budget = new();
        budget.charge(10, 60).expect("within");
        budget.release(60);
        budget
            .charge(0, 90)
            .expect("what was released can be used again");
        assert_eq!(budget.memory_peak(), 90);
        let refused = budget.charge(0, 20).expect_err("too much memory");
        assert!(
            refused.to_string().contains("--query.max-memory"),
            "{refused}"
        );
        assert!(
            budget
                .charge(1, 0)
                .expect_err("too many samples")
                .to_string()
                .contains("--query.max-samples")
        );

        drop(budget);
        assert_eq!(
            all.beyond_shares(),
            0,
            "a budget gives back all when it ends"
        );

        let (one, other) = (new(), new());
        one.charge(0, 90).expect("within both bounds");
        let refused = other.charge(0, 90).expect_err("too much together");
        assert!(
            refused.to_string().contains("--query.max-memory-total"),
            "{refused}"
        );
        drop((one, other));

        let budget = new();
        clock.advance(Duration::from_secs(2));
        assert!(matches!(
            budget.check(),
            Err(BudgetExceeded::Deadline {
                limit_ms: 2_000,
                ..
            })
        ));

        let budget = new();
        drop(budget.cancel_on_drop());
        assert!(matches!(
            budget.check(),
            Err(BudgetExceeded::Cancelled { .. })
        ));
    }
}
