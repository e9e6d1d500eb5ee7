//! One process per data folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::{FileSystem, Open, SharedFile};

/// The name of the lock file in a data folder.
const NAME: &str = "lock";

/// The exclusive use of a data folder, held until dropped (or until the process dies, however it dies).
///
/// It is a lock of the operating system on the file `lock` in the folder, which holds the owner's process id as text for whoever finds
/// it held. The file itself stays: its presence means nothing.
#[derive(Debug)]
pub struct FolderLock {
    /// Never read: dropping it releases the lock.
    _file: SharedFile,
}

/// Why a data folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderLockError {
    /// Another process (or another part of this one) uses it.
    #[error(
        "data folder {} is in use by process {}; stop that process or choose another folder",
        folder.display(),
        owner.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
    )]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, when it has already written its id.
        owner: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock data folder {}; it must exist and be writable", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl FolderLock {
    /// Takes the lock of `folder`, which exists, for this process, without waiting.
    pub fn take(files: &dyn FileSystem, folder: &Path) -> Result<Self, FolderLockError> {
        let failed = |source| FolderLockError::Io {
            folder: folder.to_owned(),
            source,
        };
        let file = files
            .open(&folder.join(NAME), Open::create())
            .map_err(failed)?;
        if !file.try_lock().map_err(failed)? {
            return Err(FolderLockError::Held {
                folder: folder.to_owned(),
                owner: owner(&file),
            });
        }
        file.set_len(0).map_err(failed)?;
        let pid = std::process::id().to_string();
        match file.write_at(0, pid.as_bytes()) {
            // The lock holds without the note; a full disk must not keep a process from starting, for it may free space.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            other => other.map_err(failed)?,
        }
        Ok(Self { _file: file })
    }
}

fn owner(file: &SharedFile) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read_at(0, &mut text).ok()?;
    std::str::from_utf8(&text[..length])
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, Simulated};

    #[test]
    fn the_second_taker_learns_who_holds_the_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let simulated = Simulated::new();
        let cases: [(&dyn FileSystem, &Path); 2] =
            [(&Disk, temporary.path()), (&simulated, Path::new("data"))];
        for (files, folder) in cases {
            files.create_folders(folder).unwrap();
            let held = FolderLock::take(files, folder).unwrap();
            let refused = FolderLock::take(files, folder).unwrap_err().to_string();
            let pid = std::process::id().to_string();
            assert!(
                refused.contains(&format!("in use by process {pid};")),
                "{refused}"
            );
            drop(held);
            FolderLock::take(files, folder).unwrap();
        }
        let _held = FolderLock::take(&simulated, Path::new("data")).unwrap();
        simulated.kill();
        FolderLock::take(&simulated, Path::new("data")).unwrap();
        assert!(matches!(
            FolderLock::take(&simulated, Path::new("absent")),
            Err(FolderLockError::Io { .. })
        ));
    }
}
