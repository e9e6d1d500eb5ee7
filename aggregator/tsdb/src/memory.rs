//! How much memory there is, and what is done as it runs short: heads are sealed early, then no new series is taken. Series that are
//! known flow on whatever happens.
//!
//! Two bounds, each with a mark for either step: the bytes of all heads together ([`Limits::head_bytes_max`](crate::Limits)), and the
//! memory of the whole process ([`ProcessMemory`]), which also sees what the heads do not count: queries, caches, connections.

use std::sync::Arc;

use storage::ProcessMemory;

use crate::shard::Shard;
use crate::turns::Held;

/// Below this a head is not sealed for want of memory: it would not help.
const EARLY_SEAL_BYTES_MIN: u64 = 1024 * 1024;
/// Nor below this share of its own of what the process may use: when others hold the memory, sealing small heads makes many files.
const EARLY_SEAL_SHARE: u64 = 64;

/// The bounds, and what is measured against them.
#[derive(Debug)]
pub(crate) struct Memory {
    shards: Vec<Arc<Shard>>,
    head_bytes_max: u64,
    process: Option<ProcessMemory>,
}

/// A bound that has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The heads hold so many bytes.
    Heads(u64),
    /// The process uses so many bytes.
    Process { used: u64, mark: u64 },
}

impl Memory {
    pub(crate) const fn new(
        shards: Vec<Arc<Shard>>,
        head_bytes_max: u64,
        process: Option<ProcessMemory>,
    ) -> Self {
        Self {
            shards,
            head_bytes_max,
            process,
        }
    }

    /// Returns the bytes of all heads together.
    pub(crate) fn head_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.head_bytes()).sum()
    }

    /// Returns the bytes of the heads that are written.
    pub(crate) fn held(&self) -> Held {
        let heads = self.shards.iter();
        Held::of(heads.map(|shard| shard.view().0.active.bytes()))
    }

    /// Returns the bound at which no new series is taken; `None` while there is memory.
    pub(crate) fn full(&self) -> Option<Full> {
        let heads = self.head_bytes();
        if heads >= self.head_bytes_max {
            return Some(Full::Heads(heads));
        }
        let process = self.process.as_ref()?;
        let (used, mark) = (process.used_bytes(), process.refuse_at());
        (used >= mark).then_some(Full::Process { used, mark })
    }

    /// Returns whether a head of so many bytes is to be sealed before its time.
    pub(crate) fn wants_seal(&self, bytes: u64) -> bool {
        let shards = self.shards.len().max(1) as u64;
        let helps = |share: u64| bytes >= EARLY_SEAL_BYTES_MIN.max(share);
        (helps(self.head_bytes_max / shards / 4) && self.head_bytes() >= self.head_bytes_max / 2)
            || self.process.as_ref().is_some_and(|process| {
                helps(process.limit_bytes / shards / EARLY_SEAL_SHARE)
                    && process.used_bytes() >= process.short_at()
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_process_seals_early_before_it_refuses() {
        let used = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&used);
        let process = ProcessMemory::new(1_000 << 20, move || seen.load(Ordering::Relaxed));
        let memory = Memory::new(Vec::new(), 1 << 30, Some(process));
        let head = 16 << 20;
        for (used_mib, seals, full) in [
            (0, false, false),
            (749, false, false),
            (750, true, false),
            (899, true, false),
            (900, true, true),
            (2_000, true, true),
        ] {
            used.store(used_mib << 20, Ordering::Relaxed);
            assert_eq!(memory.wants_seal(head), seals, "{used_mib} MiB");
            assert_eq!(memory.full().is_some(), full, "{used_mib} MiB");
            assert!(
                !memory.wants_seal(head - (1 << 20)),
                "{used_mib} MiB: it would not help"
            );
        }
        assert_eq!(
            Memory::new(Vec::new(), 0, None).full(),
            Some(Full::Heads(0))
        );
    }
}
