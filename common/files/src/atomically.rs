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

/// The name under which a file is made before it takes its place.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, Simulated};

    #[test]
    fn after_a_crash_at_any_step_the_file_is_old_or_new() {
        let path = Path::new("token");
        for cut in 0..8 {
            for seed in 0..32 {
                let disk = Simulated::new();
                write_atomically(&disk, path, b"old", None).unwrap();
                disk.cut_power_in(cut);
                let done = write_atomically(&disk, path, &[b'n'; 5_000], None).is_ok();
                disk.crash(seed);
                let found = disk.contents(path).unwrap();
                let is_new = found == [b'n'; 5_000];
                assert!(
                    is_new || (found == b"old" && !done),
                    "cut {cut} seed {seed}"
                );
                write_atomically(&disk, path, b"again", None).unwrap();
            }
        }
    }

    #[test]
    fn permissions_hold_from_the_first_byte() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in [&b"one"[..], b"two"] {
            write_atomically(&Disk, &path, text, Some(0o600)).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(std::fs::read(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
