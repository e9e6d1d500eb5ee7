//! Partition files of the data folder: named by the catalogue, opened when read, a bounded number at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use files::SharedFileSystem;
use model::TimeRange;

use crate::cache::Cache;
use crate::catalogue::PartitionEntry;
use crate::partition::{Partition, PartitionError};

/// A partition file that the catalogue names.
#[derive(Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) name: String,
    pub(crate) entry: PartitionEntry,
    /// Whether retention has removed it: those who still hold it need not find it.
    expired: AtomicBool,
    open: Arc<OpenPartitions>,
}

impl PartitionHandle {
    pub(crate) fn new(name: String, entry: PartitionEntry, open: Arc<OpenPartitions>) -> Self {
        Self {
            name,
            entry,
            expired: AtomicBool::new(false),
            open,
        }
    }

    pub(crate) const fn times(&self) -> TimeRange {
        self.entry.times
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.open.folder.join(&self.name)
    }

    /// Returns the open partition; `None` when retention has removed it.
    pub(crate) fn get(&self) -> Result<Option<Arc<Partition>>, PartitionError> {
        match self.open.get(&self.name) {
            Err(_) if self.expired.load(Ordering::Acquire) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Says that the file is about to be removed.
    pub(crate) fn expire(&self) {
        self.expired.store(true, Ordering::Release);
        self.open.forget(&self.name);
    }
}

/// Open partitions; the least recently asked for is closed first. Those that a query works with stay open beyond that until it ends.
#[derive(Debug)]
pub(crate) struct OpenPartitions {
    files: SharedFileSystem,
    folder: PathBuf,
    max: usize,
    cache: Arc<Cache>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_name: HashMap<String, (u64, Arc<Partition>)>,
    asked: u64,
}

impl OpenPartitions {
    pub(crate) fn new(
        files: SharedFileSystem,
        folder: PathBuf,
        (max, cache_bytes): (usize, usize),
    ) -> Self {
        Self {
            files,
            folder,
            max: max.max(1),
            cache: Arc::new(Cache::new(cache_bytes)),
            open: Mutex::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn get(&self, name: &str) -> Result<Arc<Partition>, PartitionError> {
        let mut open = self.lock();
        open.asked += 1;
        let asked = open.asked;
        if let Some((last, partition)) = open.by_name.get_mut(name) {
            *last = asked;
            return Ok(Arc::clone(partition));
        }
        // Under the lock: two queries that open one file would hold it twice.
        let partition = Arc::new(Partition::open(
            &*self.files,
            &self.folder.join(name),
            &self.cache,
        )?);
        if open.by_name.len() >= self.max
            && let Some(oldest) = open
                .by_name
                .iter()
                .min_by_key(|(_, (last, _))| *last)
                .map(|(name, _)| name.clone())
        {
            open.by_name.remove(&oldest);
        }
        open.by_name
            .insert(name.to_owned(), (asked, Arc::clone(&partition)));
        Ok(partition)
    }

    fn forget(&self, name: &str) {
        self.lock().by_name.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A map of references: whole after every step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
