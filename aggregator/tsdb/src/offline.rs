//! A data folder that nobody uses, looked at from outside: checked, listed, dumped, repaired.
//!
//! Nothing here goes through an open store: the folder's lock is held, files are read as they are, and only [`Offline::repair`] writes.
//! Damage is reported and costs itself; what cannot be read for another reason (permissions, a failing disk) is an error.

mod check;
mod dump;
mod log;
mod repair;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{FolderLock, SharedFileSystem};

pub use self::check::{CheckReport, CheckedFile, FileKind};
pub use self::repair::{RepairAction, RepairReport};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, CatalogueError, Contents};
use crate::partition::Partition;
use crate::report::Damage;
use crate::tsdb::{LOG_FOLDER, OpenError, PARTITION_FOLDER};
use crate::{PartitionStatus, status};

/// Damaged files are set aside under their name with this extension.
pub(crate) const DAMAGED: &str = "damaged";
/// What is kept decoded while files are read one after the other.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A data folder of a store, held for as long as this lives.
#[derive(Debug)]
pub struct Offline {
    files: SharedFileSystem,
    folder: PathBuf,
    cache: Arc<Cache>,
    _lock: FolderLock,
}

impl Offline {
    /// Takes the folder, which must be that of a store and not in use.
    pub fn open(files: SharedFileSystem, folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(LOG_FOLDER);
        let is_one = files
            .exists(&path)
            .map_err(OpenError::io("read folder", folder))?;
        if !is_one {
            let missing = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "it is not the data folder of a store",
            );
            return Err(OpenError::io("find the log in", folder)(missing));
        }
        let lock = FolderLock::take(&*files, folder)?;
        Ok(Self {
            files,
            folder: folder.to_owned(),
            cache: Arc::new(Cache::new(CACHE_BYTES)),
            _lock: lock,
        })
    }

    /// Returns the partition files that the catalogue names, the oldest first.
    pub fn list(&self) -> Result<Vec<PartitionStatus>, OpenError> {
        let contents = self.contents()?;
        let mut all: Vec<PartitionStatus> = contents
            .partitions
            .iter()
            .map(|(name, entry)| {
                let peeked = Partition::peek(&*self.files, &self.partition_path(name));
                let series = peeked.ok().map(|(_, summary)| summary.series);
                status::of_entry(name, entry, series)
            })
            .collect();
        all.sort_by(|a, b| (a.times.start, &a.file).cmp(&(b.times.start, &b.file)));
        Ok(all)
    }

    /// Returns what the catalogue says, which is left as it is.
    fn contents(&self) -> Result<Contents, OpenError> {
        let path = Catalogue::path(&self.folder);
        match self.read_catalogue()? {
            Ok(contents) => Ok(contents),
            Err(what) => Err(OpenError::Catalogue { path, what }),
        }
    }

    /// Returns what the catalogue says, or what is wrong with it.
    fn read_catalogue(&self) -> Result<Result<Contents, String>, OpenError> {
        let path = Catalogue::path(&self.folder);
        Ok(match Catalogue::read(&self.files, &self.folder) {
            Ok(Some(contents)) => Ok(contents),
            Ok(None) => Err("it is missing".to_owned()),
            Err(CatalogueError::Io(source)) => {
                return Err(OpenError::io("read the catalogue", &path)(source));
            }
            Err(error) => Err(error.to_string()),
        })
    }

    fn partition_path(&self, name: &str) -> PathBuf {
        self.folder.join(PARTITION_FOLDER).join(name)
    }

    /// Returns the names of the files in the folder of partitions, those set aside left out.
    fn partition_files(&self) -> Result<BTreeSet<String>, OpenError> {
        let folder = self.folder.join(PARTITION_FOLDER);
        let entries = self
            .files
            .list(&folder)
            .map_err(OpenError::io("read folder", &folder))?;
        let names = entries.into_iter().filter(|entry| !entry.folder);
        Ok(names
            .filter_map(|entry| entry.name.into_string().ok())
            .filter(|name| !is_set_aside(Path::new(name)))
            .collect())
    }
}

/// Walks over a log as a check does, for fuzzing.
pub(crate) fn walk_log(files: &SharedFileSystem, folder: &Path) -> Result<(), OpenError> {
    let walk = log::LogWalk {
        files,
        folder: folder.to_owned(),
        store_id: None,
    };
    walk.run(&mut |_| Ok(()))
}

/// Returns whether a file is one that was set aside as damaged.
pub(crate) fn is_set_aside(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == DAMAGED)
}

/// Damages: the first ones listed, all counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damages {
    pub(crate) listed: Vec<Damage>,
    pub(crate) count: u64,
}

impl Damages {
    /// More than an operator reads.
    const LISTED_MAX: usize = 1_000;

    pub(crate) fn add(&mut self, damage: Damage) {
        self.count += 1;
        if self.listed.len() < Self::LISTED_MAX {
            self.listed.push(damage);
        }
    }
}
