//! redb over the file layer.

use std::io;
use std::path::Path;

use redb::StorageBackend;

use crate::{FileSystem, Open, SharedFile};

/// A file of the layer as a redb storage, so that a database runs on [`Simulated`](crate::Simulated) as on [`Disk`](crate::Disk).
///
/// It takes no lock: whoever owns the folder holds its [`FolderLock`](crate::FolderLock) and opens each database once. After any I/O
/// error redb refuses all further work on a database until it is dropped and opened again.
#[derive(Debug)]
pub struct RedbBackend {
    file: SharedFile,
}

impl RedbBackend {
    /// Opens the file at `path`, creating it when missing (its entry is durable after a sync of the folder).
    pub fn open(files: &dyn FileSystem, path: &Path) -> io::Result<Self> {
        Ok(Self::new(files.open(path, Open::create())?))
    }

    /// Takes a file opened by the caller.
    pub fn new(file: SharedFile) -> Self {
        Self { file }
    }
}

impl StorageBackend for RedbBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
}
