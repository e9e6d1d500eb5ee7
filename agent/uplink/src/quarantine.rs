//! Where batches are put that no aggregator can decode: evidence, for people.

use std::path::PathBuf;

use files::SharedFileSystem;
use rows::{BatchNumber, Epoch};

/// Files kept; later ones are only counted and logged.
const FILES_MAX: usize = 16;

/// A folder of at most a handful of batches, a file each, named after epoch and number.
#[derive(Debug)]
pub(crate) struct Quarantine {
    files: SharedFileSystem,
    folder: PathBuf,
}

impl Quarantine {
    pub(crate) const fn new(files: SharedFileSystem, folder: PathBuf) -> Self {
        Self { files, folder }
    }

    /// Keeps a batch's body, if there is room; it is evidence, so a failure is only logged.
    pub(crate) fn put(&self, (epoch, number): (Epoch, BatchNumber), body: &[u8]) {
        let path = self.folder.join(format!("{epoch}-{number}.batch"));
        let kept = self
            .files
            .create_folders(&self.folder)
            .and_then(|()| self.files.list(&self.folder));
        match kept {
            Ok(kept) if kept.len() >= FILES_MAX => {
                tracing::warn!(folder = %self.folder.display(), "the quarantine is full; the batch is not kept");
            }
            Ok(_) => {
                if let Err(error) = files::write_atomically(&*self.files, &path, body, None) {
                    tracing::warn!(%error, "the batch is not kept");
                }
            }
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "the batch is not kept")
            }
        }
    }
}
