//! redb over the file layer.

use std::io;
use std::path::Path;

use redb::{Database, DatabaseError, StorageBackend};

use crate::atomically::temporary_beside;
use crate::{FileSystem, Open, SharedFile};

/// Opens the redb database at `path`, creating it when missing, readable by its owner only (mode 0600); `cache_bytes` is all that it caches.
///
/// redb itself can be cut off while it creates a file and then refuses that file for ever, so creation goes through `PATH.tmp`: after a
/// crash at any moment there is a whole database or none. When it returns, the file and its entry are durable.
pub fn open_database(
    files: &dyn FileSystem,
    path: &Path,
    cache_bytes: usize,
) -> Result<Database, DatabaseError> {
    if !files.exists(path)? {
        create(files, path)?;
    }
    let file = files.open(path, Open::write())?;
    Database::builder()
        .set_cache_size(cache_bytes)
        .create_with_backend(RedbBackend::new(file))
}

fn create(files: &dyn FileSystem, path: &Path) -> Result<(), DatabaseError> {
    let temporary = temporary_beside(path);
    if files.exists(&temporary)? {
        files.remove(&temporary)?;
    }
    let file = files.open(&temporary, Open::create_new().unix_mode(0o600))?;
    let backend = RedbBackend::new(SharedFile::clone(&file));
    drop(Database::builder().create_with_backend(backend)?);
    // Closing wrote once more, and could not tell us how that went.
    file.sync_data()?;
    files.rename(&temporary, path)?;
    files.sync_folder(path.parent().unwrap_or_else(|| Path::new("")))?;
    Ok(())
}

/// A file of the layer as a redb storage, so that a database runs on [`Simulated`](crate::Simulated) as on [`Disk`](crate::Disk).
///
/// It takes no lock: whoever owns the folder holds its [`FolderLock`](crate::FolderLock) and opens each database once. After any I/O
/// error redb refuses all further work on a database until it is dropped and opened again.
#[derive(Debug)]
pub struct RedbBackend {
    file: SharedFile,
}

impl RedbBackend {
    /// Takes a file opened by the caller. For a database that must survive being created, see [`open_database`].
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
