//! Replacing a small file as a whole.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::{FileSystem, Open};

/// Why a file was not replaced; the old one is still in place unless the step was the last.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} while replacing {}; check space and permissions of its folder", path.display())]
pub struct WriteAtomicallyError {
    /// The file that was to be replaced.
    pub path: PathBuf,
    /// What failed.
    pub step: &'static str,
    /// How.
    #[source]
    pub source: io::Error,
}

/// Replaces the file at `path` by one with these bytes; after a crash at any moment it is the old or the new one, whole, and when this
/// returned `Ok`, the new one.
///
/// The bytes go through `PATH.tmp`, which must be nobody else's; a leftover of an earlier crash is removed. `unix_mode` gives the new
/// file's permissions (0640 when `None`); they hold from its first byte on, so secrets are never readable in between.
pub fn write_atomically(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
    unix_mode: Option<u32>,
) -> Result<(), WriteAtomicallyError> {
    let failed = |step| {
        move |source| WriteAtomicallyError {
            path: path.to_owned(),
            step,
            source,
        }
    };
    let temporary = temporary_beside(path);
    match files.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove the leftover temporary file")(error));
        }
        _ => {}
    }
    let open = unix_mode.map_or(Open::create_new(), |mode| {
        Open::create_new().unix_mode(mode)
    });
    let file = files
        .open(&temporary, open)
        .map_err(failed("create the temporary file"))?;
    file.write_at(0, bytes)
        .map_err(failed("write the temporary file"))?;
    file.sync_data()
        .map_err(failed("sync the temporary file"))?;
    files
        .rename(&temporary, path)
        .map_err(failed("rename the temporary file"))?;
    files
        .sync_folder(path.parent().unwrap_or_else(|| Path::new("")))
        .map_err(failed("sync the folder"))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}
