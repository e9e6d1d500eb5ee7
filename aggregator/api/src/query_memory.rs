//! The memory of all queries together, and of the answers that their clients have not taken yet.
//!
//! A quarter is shared out: a query that runs may always have its share, so that small ones are not refused for the sake of a large one.
//! Of the rest takes whoever needs more than a share, first come, first served. So however many queries run, and however slowly their
//! clients read, the sum keeps to the bound.
//!
//! What queries hold is not all that they cost: the allocator keeps what they leave behind, and some of what is made for an instant is not
//! counted. So nobody gets more than a share while the process as a whole has hardly any memory left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::{BudgetExceeded, ProcessMemory};

/// The most that is shared out to a query.
const SHARE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Answers up to here are not counted: they fit into what a connection costs anyway.
const SMALL_ANSWER_BYTES: usize = 16 * 1024;

/// What queries hold together.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    /// `None`: nobody knows.
    process: Option<ProcessMemory>,
    limit: u64,
    share: u64,
    /// What is not shared out, and how much of it is taken.
    common_max: u64,
    common: AtomicU64,
}

/// What an answer holds of the memory of all, until it is dropped.
#[derive(Debug)]
pub(crate) struct AnswerMemory {
    memory: Arc<QueryMemory>,
    bytes: u64,
}

impl QueryMemory {
    /// Returns the memory of `concurrency` queries at once.
    pub(crate) fn new(limit: u64, concurrency: u32, process: Option<ProcessMemory>) -> Arc<Self> {
        let concurrency = u64::from(concurrency.max(1));
        let share = (limit / 4 / concurrency).min(SHARE_BYTES_MAX);
        Arc::new(Self {
            process,
            limit,
            share,
            common_max: limit - share * concurrency,
            common: AtomicU64::new(0),
        })
    }

    /// Returns the bytes that queries hold beyond their shares, and answers on their way.
    pub(crate) fn beyond_shares(&self) -> u64 {
        self.common.load(Ordering::Relaxed)
    }

    /// Notes that a query holds more than before; refuses what exceeds the bound, and notes it all the same.
    pub(crate) fn grown(&self, from: u64, to: u64) -> Result<(), BudgetExceeded> {
        match self.beyond_share(to) - self.beyond_share(from) {
            0 => Ok(()),
            more => self.take(more),
        }
    }

    /// Notes that a query holds less than before.
    pub(crate) fn shrunk(&self, from: u64, to: u64) {
        let less = self.beyond_share(from) - self.beyond_share(to);
        self.common.fetch_sub(less, Ordering::Relaxed);
    }

    /// Turns what a query that ends held into the memory of its answer, which needs no more than that; `None` when it is small.
    pub(crate) fn answered(
        self: &Arc<Self>,
        held: u64,
        answer: usize,
    ) -> Result<Option<AnswerMemory>, BudgetExceeded> {
        if answer <= SMALL_ANSWER_BYTES {
            self.shrunk(held, 0);
            return Ok(None);
        }
        let (bytes, held) = (answer as u64, self.beyond_share(held));
        // Dropped, it gives back what was taken, refused or not.
        let kept = AnswerMemory {
            memory: Arc::clone(self),
            bytes,
        };
        if bytes <= held {
            self.common.fetch_sub(held - bytes, Ordering::Relaxed);
        } else {
            self.take(bytes - held)?;
        }
        Ok(Some(kept))
    }

    fn take(&self, bytes: u64) -> Result<(), BudgetExceeded> {
        let taken = self.common.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken > self.common_max {
            return Err(BudgetExceeded::MemoryOfAll {
                limit: self.limit,
                flag: "--query.max-memory-total",
            });
        }
        self.check_process()
    }

    fn check_process(&self) -> Result<(), BudgetExceeded> {
        let Some(process) = &self.process else {
            return Ok(());
        };
        let used = process.used_bytes();
        if used < process.refuse_at() {
            return Ok(());
        }
        Err(BudgetExceeded::MemoryOfProcess {
            used,
            limit: process.limit_bytes,
            flag: "--storage.memory.limit",
        })
    }

    const fn beyond_share(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.share)
    }
}

impl Drop for AnswerMemory {
    fn drop(&mut self) {
        self.memory.common.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn everybody_has_a_share_and_the_rest_is_bounded() {
        let memory = QueryMemory::new(16 * MIB, 4, None);
        assert_eq!((memory.share, memory.common_max), (MIB, 12 * MIB));
        memory.grown(0, 13 * MIB).expect("all but three shares");
        memory.grown(0, MIB).expect("a share is always there");
        let refused = memory.grown(MIB, MIB + 1).expect_err("nothing is left");
        let text = refused.to_string();
        assert!(text.contains("16777216 bytes of memory"), "{text}");
        assert!(text.contains("--query.max-memory-total"), "{text}");
        memory.shrunk(MIB + 1, 0);
        memory.shrunk(13 * MIB, 0);
        assert_eq!(memory.beyond_shares(), 0);
        assert_eq!(QueryMemory::new(u64::MAX, 4, None).share, SHARE_BYTES_MAX);
    }

    #[test]
    fn a_process_without_memory_leaves_everybody_a_share() {
        let used = Arc::new(AtomicU64::new(89));
        let seen = Arc::clone(&used);
        let process = ProcessMemory::new(100, move || seen.load(Ordering::Relaxed));
        let memory = QueryMemory::new(16 * MIB, 4, Some(process));
        memory.grown(0, 2 * MIB).expect("a tenth is left");
        used.store(90, Ordering::Relaxed);
        memory.grown(0, MIB).expect("a share is always there");
        let refused = memory.grown(MIB, MIB + 1).expect_err("less is left");
        let text = refused.to_string();
        assert!(text.contains("uses 90 bytes of the 100"), "{text}");
        assert!(text.contains("--storage.memory.limit"), "{text}");
        memory.shrunk(MIB + 1, 0);
        memory.shrunk(2 * MIB, 0);
        assert_eq!(memory.beyond_shares(), 0, "what was refused is given back");
    }

    #[test]
    fn answers_count_until_they_are_gone() {
        let memory = QueryMemory::new(16 * MIB, 4, None);
        let answered = |held, answer| memory.answered(held, answer);
        memory.grown(0, 8 * MIB).expect("within");
        let large = answered(8 * MIB, 4 << 20).expect("less than it held");
        assert_eq!(memory.beyond_shares(), 4 * MIB);
        memory.grown(0, MIB).expect("within");
        let small = answered(MIB, SMALL_ANSWER_BYTES).expect("small ones always");
        assert!(small.is_none());
        memory.grown(0, 8 * MIB).expect("within");
        assert!(answered(0, 2 << 20).is_err());
        assert_eq!(
            memory.beyond_shares(),
            11 * MIB,
            "what was refused is given back"
        );
        drop(large);
        assert_eq!(memory.beyond_shares(), 7 * MIB);
    }
}
