//! Partition files of the data folder: named by the catalogue, opened when read, a bounded number at once.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use files::{FileSystem, SharedFileSystem};
use model::TimeRange;

use crate::cache::Cache;
use crate::catalogue::PartitionEntry;
use crate::counters::Counters;
use crate::deletes::{Delete, Mask};
use crate::keeper::ReadFile;
use crate::partition::{Partition, PartitionError};

/// A partition that the catalogue names, as it was at one moment: when something else is said of it later, there is another handle of the
/// same file.
#[derive(Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) name: String,
    pub(crate) entry: PartitionEntry,
    /// The deletes that are not carried out in it, with their positions.
    deletes: Vec<(u64, Arc<Delete>)>,
    mask: Mutex<Option<Arc<Mask>>>,
    file: Arc<PartitionFile>,
}

/// A partition file. Whoever holds it finds it, whatever the catalogue says meanwhile: it is removed when the last one lets go.
#[derive(Debug)]
struct PartitionFile {
    name: String,
    open: Arc<OpenPartitions>,
    /// Whether the catalogue does not name it any more.
    ended: AtomicBool,
}

impl Drop for PartitionFile {
    fn drop(&mut self) {
        self.open.forget(&self.name);
        // After the store is closed the folder may be another's: what the catalogue does not name is removed at the next start.
        if self.ended.load(Ordering::Acquire) && !self.open.closed.load(Ordering::Acquire) {
            remove(&*self.open.files, &self.open.folder.join(&self.name));
        }
    }
}

/// Removes a file; when it cannot be, the next start will, for nothing names it.
pub(crate) fn remove(files: &dyn FileSystem, path: &Path) {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file; the next start will");
        }
        _ => {}
    }
}

impl PartitionHandle {
    pub(crate) fn new(
        name: String,
        entry: PartitionEntry,
        deletes: &BTreeMap<u64, Arc<Delete>>,
        open: Arc<OpenPartitions>,
    ) -> Self {
        let file = PartitionFile {
            name: name.clone(),
            open,
            ended: AtomicBool::new(false),
        };
        Self {
            deletes: hitting(&entry, deletes),
            name,
            entry,
            mask: Mutex::default(),
            file: Arc::new(file),
        }
    }

    /// Returns the handle of a file of which the catalogue says this now: the same one, if it said so when that was made.
    pub(crate) fn renewed(
        self: &Arc<Self>,
        entry: &PartitionEntry,
        deletes: &BTreeMap<u64, Arc<Delete>>,
    ) -> Arc<Self> {
        let deletes = hitting(entry, deletes);
        let position = |(position, _): &(u64, Arc<Delete>)| *position;
        let same_deletes = deletes.iter().map(position);
        if self.entry == *entry && same_deletes.eq(self.deletes.iter().map(position)) {
            return Arc::clone(self);
        }
        Arc::new(Self {
            name: self.name.clone(),
            entry: entry.clone(),
            deletes,
            mask: Mutex::default(),
            file: Arc::clone(&self.file),
        })
    }

    pub(crate) const fn times(&self) -> TimeRange {
        self.entry.times
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.file.open.folder.join(&self.name)
    }

    pub(crate) fn files(&self) -> &dyn FileSystem {
        &*self.file.open.files
    }

    /// Returns the open partition.
    pub(crate) fn get(&self) -> Result<Arc<Partition>, PartitionError> {
        self.file.open.get(&self.name)
    }

    /// Returns whether deletes hit it that are not carried out in it.
    pub(crate) const fn is_hit(&self) -> bool {
        !self.deletes.is_empty()
    }

    pub(crate) fn deletes(&self) -> &[(u64, Arc<Delete>)] {
        &self.deletes
    }

    /// Returns what a merge that reads it now knows of it.
    pub(crate) fn as_read(&self) -> ReadFile {
        let positions = self.deletes.iter().map(|(position, _)| *position);
        ReadFile {
            name: self.name.clone(),
            entry: self.entry.clone(),
            deletes: positions.collect(),
        }
    }

    /// Returns what deletes hide in it, looked up in `partition`, which is this one.
    pub(crate) fn mask(&self, partition: &Partition) -> Result<Arc<Mask>, PartitionError> {
        // Under the lock: two queries that ask at once would look everything up twice.
        let mut mask = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mask) = &*mask {
            return Ok(Arc::clone(mask));
        }
        let made = Arc::new(Mask::new(partition, &self.deletes, self.entry.tier)?);
        *mask = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Says that the catalogue does not name the file any more.
    pub(crate) fn end(&self) {
        self.file.ended.store(true, Ordering::Release);
    }
}

/// Returns the deletes that are not carried out in a partition and hit it, with their positions.
pub(crate) fn hitting(
    entry: &PartitionEntry,
    deletes: &BTreeMap<u64, Arc<Delete>>,
) -> Vec<(u64, Arc<Delete>)> {
    let hits = |(position, delete): &(&u64, &Arc<Delete>)| entry.is_hit_by(**position, delete);
    let hitting = deletes.iter().filter(hits);
    hitting
        .map(|(position, delete)| (*position, Arc::clone(delete)))
        .collect()
}

/// Open partitions; the least recently asked for is closed first. Those that a query works with stay open beyond that until it ends.
#[derive(Debug)]
pub(crate) struct OpenPartitions {
    files: SharedFileSystem,
    folder: PathBuf,
    max: usize,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    clock: SharedClock,
    open: Mutex<Open>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Open {
    by_name: HashMap<String, (u64, Arc<Place>)>,
    asked: u64,
}

/// An open partition, once it is; or why it cannot be and until when that is believed, if it lies in the file: not every query is to find
/// it out anew.
type Place = Mutex<Option<Result<Arc<Partition>, (PartitionError, Monotonic)>>>;

/// How long a file is taken for damaged before it is opened again: somebody may have put a good one in its place.
const DAMAGED_FOR: Duration = Duration::from_mins(10);

impl OpenPartitions {
    pub(crate) fn new(
        files: SharedFileSystem,
        folder: PathBuf,
        (max, cache_bytes): (usize, usize),
        counters: Arc<Counters>,
        clock: SharedClock,
    ) -> Self {
        Self {
            files,
            folder,
            max: max.max(1),
            cache: Arc::new(Cache::new(cache_bytes)),
            counters,
            clock,
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Says that the folder is about to be given up.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn get(&self, name: &str) -> Result<Arc<Partition>, PartitionError> {
        let place = self.place_of(name);
        // Two queries that open one file would hold it twice; others do not wait, for a damaged file may take long.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        match &*place {
            Some(Ok(partition)) if !partition.is_stuck() => return Ok(Arc::clone(partition)),
            Some(Err((error, until))) if now < *until => {
                if let Some(error) = error.damage_again() {
                    return Err(error);
                }
            }
            _ => {}
        }
        let path = self.folder.join(name);
        let opened = Partition::open_counted(&*self.files, &path, &self.cache, &self.counters);
        let opened = opened.map(Arc::new);
        *place = match &opened {
            Ok(partition) => Some(Ok(Arc::clone(partition))),
            Err(error) => error
                .damage_again()
                .map(|error| Err((error, now + DAMAGED_FOR))),
        };
        opened
    }

    /// Returns the place of a file among those that are open; the one asked for longest ago makes room.
    fn place_of(&self, name: &str) -> Arc<Place> {
        let mut open = self.lock();
        open.asked += 1;
        let asked = open.asked;
        if let Some((last, place)) = open.by_name.get_mut(name) {
            *last = asked;
            return Arc::clone(place);
        }
        if open.by_name.len() >= self.max {
            let by_age = open.by_name.iter().min_by_key(|(_, (last, _))| *last);
            if let Some(oldest) = by_age.map(|(name, _)| name.clone()) {
                open.by_name.remove(&oldest);
            }
        }
        let place = Arc::default();
        open.by_name
            .insert(name.to_owned(), (asked, Arc::clone(&place)));
        place
    }

    fn forget(&self, name: &str) {
        self.lock().by_name.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A map of references: whole after every step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
