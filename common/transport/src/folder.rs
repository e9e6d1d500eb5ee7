//! Small durable files: keys and certificates.

use std::io;
use std::path::{Path, PathBuf};

use files::{FileSystem, Open, WriteAtomicallyError, write_atomically};

/// The largest file that is read: a key and a short chain have about 3 KiB.
const FILE_BYTES_MAX: usize = 256 * 1_024;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Reading failed.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error(
        "cannot read {path}: it has more than {FILE_BYTES_MAX} bytes, which no key or certificate has"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder of {path}")]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteAtomicallyError),
}

/// Returns the bytes of a file; `None` when there is none.
pub(crate) fn read_bounded(
    files: &dyn FileSystem,
    path: &Path,
) -> Result<Option<Vec<u8>>, FolderError> {
    let read = |source| FolderError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match files.open(path, Open::read()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let length = usize::try_from(file.len().map_err(read)?).unwrap_or(usize::MAX);
    if length > FILE_BYTES_MAX {
        return Err(FolderError::TooLong {
            path: path.to_owned(),
        });
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(0, &mut bytes).map_err(read)?;
    Ok(Some(bytes))
}

/// Replaces a file that only its owner may read; makes the folder if need be. After a crash there is the old content or the new.
pub(crate) fn write_private(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
) -> Result<(), FolderError> {
    replace(files, path, bytes, 0o600)
}

/// Replaces a file that everybody may read.
pub(crate) fn write_public(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
) -> Result<(), FolderError> {
    replace(files, path, bytes, 0o644)
}

fn replace(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> Result<(), FolderError> {
    if let Some(folder) = path.parent() {
        files
            .create_folders(folder)
            .map_err(|source| FolderError::Make {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(write_atomically(files, path, bytes, Some(mode))?)
}
