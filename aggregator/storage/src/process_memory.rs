//! The memory of the whole process, for those who can do with less when it runs short.

use std::fmt;
use std::sync::Arc;

/// The memory of a whole process: what it may use, and how to ask what it uses.
///
/// From three quarters of the limit on a store makes room early; from nine tenths on no new series is taken, and no query gets more than
/// its share, until there is less.
#[derive(Clone)]
pub struct ProcessMemory {
    /// Bytes that the process may use.
    pub limit_bytes: u64,
    used: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl ProcessMemory {
    /// Returns the memory of a process that may use `limit_bytes`; `used` says how many it uses now. It is called at every group of
    /// batches and at charges of queries, by several threads, so it should keep what it found out for some milliseconds.
    pub fn new(limit_bytes: u64, used: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            limit_bytes,
            used: Arc::new(used),
        }
    }

    /// Returns the bytes that the process uses now.
    pub fn used_bytes(&self) -> u64 {
        (self.used)()
    }

    /// Returns the mark from which on room is made early: three quarters of the limit.
    pub const fn short_at(&self) -> u64 {
        self.limit_bytes / 4 * 3
    }

    /// Returns the mark from which on is refused what can wait: nine tenths of the limit.
    pub const fn refuse_at(&self) -> u64 {
        self.limit_bytes / 10 * 9
    }
}

impl fmt::Debug for ProcessMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMemory")
            .field("limit_bytes", &self.limit_bytes)
            .finish_non_exhaustive()
    }
}
