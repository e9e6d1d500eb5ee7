//! What is readable of a damaged file takes its place.
//!
//! Left as it is, it would stop the merges of its day, and with them its tiers and the deletes that hit it, until all of it goes. Queries
//! lose nothing: they find no more in it than what is kept. The damaged file stays beside the others, under its name with the extension
//! `damaged`, for whoever can read more of it, or wants to know; nobody removes it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::link_or_copy;

use super::{CACHE_BYTES, Merger, StepError};
use crate::cache::Cache;
use crate::catalogue::PartitionEntry;
use crate::merge::{MergeError, Merged};
use crate::offline::DAMAGED;
use crate::partition::{Partition, PartitionError};
use crate::partitions::{PartitionHandle, remove};

impl Merger {
    /// Salvages a file of samples; an error of reading is none of damage.
    pub(super) fn salvage(&self, handle: &Arc<PartitionHandle>) -> Result<(), StepError> {
        self.check_space(std::slice::from_ref(handle))?;
        let readable = self.readable_of(handle)?;
        let kept = readable.as_ref().map_or(0, |(_, entry)| entry.samples);
        let aside = self.set_aside(&handle.path()).map_err(|error| {
            readable.iter().for_each(|(name, _)| self.drop_file(name));
            MergeError::Output(error)
        })?;
        if self.replace_with(
            std::slice::from_ref(handle),
            readable.into_iter().collect(),
            true,
        )? {
            let lost = handle.entry.samples.saturating_sub(kept);
            tracing::error!(kept, lost, aside = %aside.display(), "what is readable of a damaged partition is kept; restore the rest from a backup");
        } else {
            remove(&*self.files, &aside);
        }
        Ok(())
    }

    /// Writes what is readable into a new file, synced; `None`: nothing is.
    fn readable_of(&self, handle: &PartitionHandle) -> Result<Option<Merged>, StepError> {
        let path = handle.path();
        let failed = |source| MergeError::Input {
            input: path.clone(),
            source,
        };
        let cache = Arc::new(Cache::new(CACHE_BYTES));
        let partition = match Partition::open(&*self.files, &path, &cache) {
            Ok(partition) => partition,
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(failed(error).into()),
        };
        let entry = &handle.entry;
        let name = self.new_name(entry.shard, entry.times, entry.until, "");
        let mut unreadable = None;
        let mut lost = |error: PartitionError| {
            if !error.is_damage() {
                unreadable.get_or_insert(error);
            }
        };
        let new = self.partitions.folder().join(&name);
        let salvaged = partition.salvage(&*self.files, &new, &mut lost);
        let salvaged = match unreadable {
            Some(error) => Err(failed(error)),
            None => salvaged.map_err(MergeError::Output),
        };
        match salvaged {
            Ok(Some(summary)) => {
                let entry = PartitionEntry {
                    times: summary.times,
                    bytes: summary.bytes,
                    samples: summary.samples,
                    ..entry.clone()
                };
                Ok(Some((name, entry)))
            }
            other => {
                self.drop_file(&name);
                Ok(other.map(|_| None)?)
            }
        }
    }

    fn drop_file(&self, name: &str) {
        remove(&*self.files, &self.partitions.folder().join(name));
    }

    /// Gives a file a second name under which nobody reads it; returns that.
    fn set_aside(&self, path: &Path) -> Result<PathBuf, PartitionError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".");
        aside.push(DAMAGED);
        let aside = PathBuf::from(aside);
        let linked = match link_or_copy(&*self.files, path, &aside) {
            // An attempt before this one was stopped.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        };
        let synced = linked.and_then(|()| self.files.sync_folder(self.partitions.folder()));
        synced.map_err(|error| PartitionError::io(path, "set aside", error))?;
        Ok(aside)
    }
}
