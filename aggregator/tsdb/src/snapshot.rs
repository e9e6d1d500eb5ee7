//! Snapshots: a second data folder that says what the first one said at one moment, made of hard links while the store goes on.
//!
//! # How it works
//! 0. What is to lie beside the store is copied by whoever asked: it then speaks of nothing that the store does not have.
//! 1. The keeper takes **positions, partitions and number sets** as they are now. From here on it commits nothing that removes a file.
//! 2. It links every partition file that is named, then has the log thread close the open segment and link all live ones. Whatever a number
//!    taken in step 1 stands for is in those partitions or in that log: a number without its rows would make an agent drop them.
//! 3. It writes a catalogue of what was taken, syncs files and folders, and last gives the folder its name. Until then it ends in `.tmp`,
//!    and the next snapshot removes what a crash left of it.
//!
//! While the log thread is waited for, heads are sealed: it may itself wait for a shard that waits for a seal. Such a seal adds files that
//! the snapshot does not name, and lets only log go that was linked before, for the log thread does one thing after the other.
//!
//! A snapshot **without the head** has no log, and therefore knows no numbers: agents that meet it bring again what they still have, and
//! what was there already is read once, for timestamps and values are the same.
//!
//! The copy keeps the store's id. It is opened like any data folder; agents report that it knows less than they remember.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use files::{FileSystem, SharedFileSystem, link_or_copy};
use model::TimestampMs;
use storage::Busy;

use crate::catalogue::{Catalogue, CatalogueError, Contents};
use crate::intake::Command;
use crate::keeper::Keeper;
use crate::tsdb::{LOG_FOLDER, PARTITION_FOLDER};

/// What the folder of a snapshot ends in while it is made.
const UNFINISHED: &str = ".tmp";
/// How often the keeper looks at heads while the log is linked.
const SEAL_EVERY: Duration = Duration::from_millis(50);
/// Folders in folders that are removed: those of a store, within those of the program.
const DEPTH_MAX: usize = 8;

/// Puts what is to lie beside the store into the folder of a snapshot, durably.
#[derive(Clone)]
pub struct Beside(Arc<Put>);

type Put = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

impl Beside {
    /// Takes what does it.
    pub fn new(put: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(put))
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

/// What a snapshot is to hold, and where it is to lie.
#[derive(Clone, Debug)]
pub struct SnapshotRequest {
    /// The folder of snapshots, made when it is missing. The new one lies in it under a name of its own, made of time and chance.
    pub folder: PathBuf,
    /// Where in the new folder the copy of the data folder lies: relative; empty for the folder itself.
    pub store: PathBuf,
    /// What else lies in it.
    pub beside: Option<Beside>,
    /// Leave out what is not in partitions yet, and with it the log.
    pub skip_head: bool,
}

/// A snapshot that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Its name in the folder of snapshots.
    pub name: String,
    /// Partition files in it.
    pub partitions: u64,
    /// Log segments in it.
    pub log_segments: u64,
    /// What they take together; while the store has the same files, no space of their own.
    pub bytes: u64,
}

/// Why there is no snapshot; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused something.
    #[error("cannot {attempted} {}; check space and permissions", path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The copy's catalogue could not be written.
    #[error("cannot write the catalogue of the snapshot: {what}; check space and permissions")]
    Catalogue {
        /// What was wrong.
        what: String,
    },
    /// The store is closing.
    #[error("the store is closing")]
    Closing,
}

impl SnapshotError {
    fn io(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            attempted,
            path,
            source,
        }
    }
}

impl From<CatalogueError> for SnapshotError {
    fn from(error: CatalogueError) -> Self {
        Self::Catalogue {
            what: error.to_string(),
        }
    }
}

/// Log segments that were linked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkedLog {
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
}

/// A snapshot under way. Dropped before [`finish`](Self::finish), it leaves nothing.
#[derive(Debug)]
pub(crate) struct Copying {
    files: SharedFileSystem,
    folder: PathBuf,
    name: String,
    store: PathBuf,
    skip_head: bool,
    summary: SnapshotSummary,
    finished: bool,
}

impl Copying {
    /// Makes the folders, and has what lies beside the store put there.
    pub(crate) fn begin(
        files: SharedFileSystem,
        request: &SnapshotRequest,
        (now, chance): (TimestampMs, u64),
    ) -> Result<Self, SnapshotError> {
        let name = format!("{}-{chance:016x}", compact_time(now));
        let folder = &request.folder;
        files
            .create_folders(folder)
            .map_err(SnapshotError::io("make folder", folder))?;
        remove_unfinished(&*files, folder);
        let whole = folder.join(format!("{name}{UNFINISHED}"));
        let copying = Self {
            files,
            folder: folder.clone(),
            store: whole.join(&request.store),
            skip_head: request.skip_head,
            summary: SnapshotSummary {
                name: name.clone(),
                partitions: 0,
                log_segments: 0,
                bytes: 0,
            },
            name,
            finished: false,
        };
        for part in [LOG_FOLDER, PARTITION_FOLDER] {
            let part = copying.store.join(part);
            copying
                .files
                .create_folders(&part)
                .map_err(SnapshotError::io("make folder", &part))?;
        }
        if let Some(Beside(put)) = &request.beside {
            put(&whole).map_err(SnapshotError::io(
                "copy what lies beside the store into",
                &whole,
            ))?;
        }
        Ok(copying)
    }

    /// Links the partitions that `contents` names.
    pub(crate) fn link_partitions(
        &mut self,
        from: &Path,
        contents: &Contents,
    ) -> Result<(), SnapshotError> {
        let to = self.store.join(PARTITION_FOLDER);
        for (name, entry) in &contents.partitions {
            let path = from.join(name);
            link_or_copy(&*self.files, &path, &to.join(name))
                .map_err(SnapshotError::io("link partition", &path))?;
            self.summary.partitions += 1;
            self.summary.bytes += entry.bytes;
        }
        self.files
            .sync_folder(&to)
            .map_err(SnapshotError::io("sync folder", &to))
    }

    /// Returns the folder that the log is to be linked into; `None` when the snapshot goes without.
    pub(crate) fn log_folder(&self) -> Option<PathBuf> {
        (!self.skip_head).then(|| self.store.join(LOG_FOLDER))
    }

    /// Writes the catalogue and gives the snapshot its name.
    pub(crate) fn finish(
        mut self,
        mut contents: Contents,
        log: LinkedLog,
    ) -> Result<SnapshotSummary, SnapshotError> {
        if self.skip_head {
            contents.numbers.clear();
        }
        let files = SharedFileSystem::clone(&self.files);
        drop(Catalogue::create(files, self.store.clone(), contents)?);
        let (from, to) = (self.unfinished(), self.folder.join(&self.name));
        self.files
            .rename_folder(&from, &to)
            .map_err(SnapshotError::io("rename folder", &from))?;
        self.finished = true;
        self.summary.log_segments = log.segments;
        self.summary.bytes += log.bytes;
        Ok(self.summary.clone())
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join(format!("{}{UNFINISHED}", self.name))
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if !self.finished {
            remove_tree(&*self.files, &self.unfinished(), DEPTH_MAX);
        }
    }
}

impl Keeper {
    /// Makes a snapshot; see the head of this module.
    pub(crate) fn snapshot(
        &mut self,
        request: &SnapshotRequest,
    ) -> Result<SnapshotSummary, SnapshotError> {
        let now = TimestampMs::from(self.clock.wall());
        let mut copying = Copying::begin(
            SharedFileSystem::clone(&self.files),
            request,
            (now, crate::random::random_u64()),
        )?;
        let contents = self.present();
        copying.link_partitions(self.partitions.folder(), &contents)?;
        let log = match copying.log_folder() {
            Some(into) => self.linked_log(into)?,
            None => LinkedLog::default(),
        };
        let summary = copying.finish(contents, log)?;
        tracing::info!(
            name = summary.name,
            bytes = summary.bytes,
            "made a snapshot"
        );
        Ok(summary)
    }

    /// Has the log thread link the log, and seals while it waits for that.
    fn linked_log(&mut self, into: PathBuf) -> Result<LinkedLog, SnapshotError> {
        let (answer, answered) = sync_channel(1);
        self.intake
            .offer(Command::Link { into, answer })
            .map_err(|Busy| SnapshotError::Closing)?;
        loop {
            match answered.recv_timeout(SEAL_EVERY) {
                Ok(linked) => return linked,
                Err(RecvTimeoutError::Disconnected) => return Err(SnapshotError::Closing),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.seal_all() {
                        tracing::warn!(%error, "cannot seal while a snapshot is made, trying again");
                    }
                }
            }
        }
    }
}

/// Links the log's segments; called by whoever writes the log.
pub(crate) fn link_log(
    files: &dyn FileSystem,
    segments: &[PathBuf],
    into: &Path,
) -> Result<LinkedLog, SnapshotError> {
    let mut linked = LinkedLog::default();
    for path in segments {
        let failed = || SnapshotError::io("link log segment", path);
        let name = path.file_name().unwrap_or_default();
        link_or_copy(files, path, &into.join(name)).map_err(failed())?;
        linked.segments += 1;
        linked.bytes += files.len(path).map_err(failed())?;
    }
    files
        .sync_folder(into)
        .map_err(SnapshotError::io("sync folder", into))?;
    Ok(linked)
}

/// Removes what crashes left of snapshots.
fn remove_unfinished(files: &dyn FileSystem, folder: &Path) {
    let entries = files.list(folder).unwrap_or_default();
    for entry in entries.into_iter().filter(|entry| entry.folder) {
        let name = entry.name.to_str().unwrap_or_default();
        if name.strip_suffix(UNFINISHED).is_some_and(is_snapshot_name) {
            remove_tree(files, &folder.join(name), DEPTH_MAX);
        }
    }
}

/// Removes a folder with all in it, as far as that goes; what stays is removed by the next snapshot.
fn remove_tree(files: &dyn FileSystem, folder: &Path, depth: usize) {
    for entry in files.list(folder).unwrap_or_default() {
        let path = folder.join(&entry.name);
        if entry.folder {
            if depth > 0 {
                remove_tree(files, &path, depth - 1);
            }
        } else if let Err(error) = files.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file of an unfinished snapshot");
        }
    }
    match files.remove_folder(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %folder.display(), %error, "cannot remove the folder of an unfinished snapshot");
        }
        _ => {}
    }
}

/// Whether a name is one that [`Copying::begin`] gives: foreign folders are left alone.
fn is_snapshot_name(name: &str) -> bool {
    let Some((time, chance)) = name.split_once('-') else {
        return false;
    };
    let time = time.as_bytes();
    time.len() == 16
        && time.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
        && chance.len() == 16
        && chance.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns a time as `20261128T101112Z`.
fn compact_time(at: TimestampMs) -> String {
    let seconds = at.0.div_euclid(1_000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March, so that the day that may be missing is their last; eras are 400 years.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}{month:02}{date:02}T{:02}{:02}{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let at = |seconds: i64| compact_time(TimestampMs(seconds * 1_000));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_400 + 86_399), "20000229T235959Z");
        assert_eq!(at(1_795_860_672), "20261128T101112Z");
        assert!(is_snapshot_name("20261128T101112Z-00112233aabbccdd"));
        for foreign in [
            "20261128T101112Z",
            "mine",
            "20261128T101112Z-x",
            "20261128-00112233aabbccdd",
        ] {
            assert!(!is_snapshot_name(foreign), "{foreign}");
        }
    }
}
