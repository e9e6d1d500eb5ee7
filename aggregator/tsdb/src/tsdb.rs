//! The store as its users see it.

use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;
use files::{FolderLockError, SharedFileSystem};
use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};
use storage::{
    Appender, Busy, Done, MemoryStore, Querier, QueryError, Queryable, Refusals, Source,
};

use crate::config::TsdbConfig;
use crate::report::{DumpSummary, DumpedSample, RecoveryReport, Stats};

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] FolderLockError),
    /// The operating system refused something.
    #[error("cannot {attempted} {}; check space, permissions and the disk", path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The catalogue is damaged or of another version: nothing in the folder can be trusted without it.
    #[error(
        "cannot read the catalogue {}: {what}; restore the data folder from a backup, or start with an empty one",
        path.display()
    )]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// An open data folder. Dropping it closes it.
#[derive(Debug)]
pub struct Tsdb {
    memory: MemoryStore,
}

impl Tsdb {
    /// Opens the data folder, making it when there is none, and replays its log; returns when all durable samples can be queried.
    pub fn open(
        config: TsdbConfig,
        files: SharedFileSystem,
        clock: SharedClock,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        drop((config, files, clock));
        let memory = MemoryStore::new();
        Ok((Self { memory }, RecoveryReport::default()))
    }

    /// Stops taking batches, makes durable what was taken, answers every `done`, and ends the threads. Queries go on working.
    /// Later appends are [`Busy`]. Closing again does nothing.
    pub fn close(&self) {}

    /// Returns counters and gauges.
    pub fn stats(&self) -> Stats {
        Stats {
            store_id: self.memory.store_id(),
            shards: 1,
            batches_stored: 0,
            batches_duplicate: 0,
            batches_failed: 0,
            samples_stored: 0,
            samples_refused: Refusals::default(),
            unsynced_bytes: 0,
            log_segments: 0,
            log_bytes_written: 0,
            log_syncs: 0,
            log_failures: 0,
            log_failing: None,
            head_series: 0,
            head_bytes: 0,
            seals: 0,
            seal_failures: 0,
            partitions: 0,
            partition_bytes: 0,
            partitions_expired: 0,
            damages: 0,
            damages_listed: Vec::new(),
            time_range: None,
        }
    }

    /// Calls `visit` with every stored sample, before queries merge equal timestamps, in no particular order.
    pub fn dump(&self, visit: &mut dyn FnMut(DumpedSample<'_>)) -> Result<DumpSummary, QueryError> {
        let _ = visit;
        Ok(DumpSummary::default())
    }
}

impl Appender for Tsdb {
    fn store_id(&self) -> StoreId {
        self.memory.store_id()
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        self.memory.known(agent, epoch)
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        self.memory.settle(agent, epoch, floor)
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        self.memory.define(source, definition)
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        self.memory.append(source, batch, done)
    }
}

impl Queryable for Tsdb {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        self.memory.querier()
    }
}
