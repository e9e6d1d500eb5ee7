//! The two traits and the values they speak in.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file system shared by the parts of one process.
pub type SharedFileSystem = Arc<dyn FileSystem>;

/// An open file shared by a writer and its readers.
pub type SharedFile = Arc<dyn File>;

/// A tree of folders and files; see the crate's header for what survives which accident.
///
/// Paths are taken as they are: no working folder of its own, no following of `..` in the simulated twin.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens `path` as `how` says. A new file's entry is durable after [`sync_folder`](Self::sync_folder) of its folder.
    fn open(&self, path: &Path, how: Open) -> io::Result<SharedFile>;

    /// Returns the length of the file at `path` in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Returns whether a file or folder exists at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Returns what `folder` contains, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// Gives the file `from` the name `to` in the same folder, replacing a file of that name atomically; durable after
    /// [`sync_folder`](Self::sync_folder). Different folders are refused with `InvalidInput`: there is no one sync for both.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the folder `from` the name `to` beside it, which must be free; durable when it returns.
    fn rename_folder(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file `from` a second name `to`, in any folder of the same volume; `AlreadyExists` when there is something of that name.
    /// Both names stand for the same bytes from then on. Durable after [`sync_folder`](Self::sync_folder) of the folder of `to`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`; durable after [`sync_folder`](Self::sync_folder). Open handles stay usable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every entry created, renamed or removed in `folder` so far durable. After an error, see promise 2 of the crate's header.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Creates `folder` and its missing parents (mode 0700 for those that are new); durable when it returns.
    fn create_folders(&self, folder: &Path) -> io::Result<()>;

    /// Removes `folder`, which must be empty; durable after [`sync_folder`](Self::sync_folder) of its parent.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// Returns the size of the volume that holds `path` (which exists) and what is free on it.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file. Reads and writes name their offset, so handles have no position and one handle serves many threads; two writers of
/// overlapping ranges must agree among themselves.
pub trait File: Send + Sync + Debug {
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`; returns fewer bytes than asked only at the end of the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Fills all of `out` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.read_at(offset, out)? == out.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Writes all of `bytes` at `offset`, growing the file (zeros fill a hole). On an error any prefix may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of `bytes` at the end of the file and returns the offset where they start. One appender at a time.
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let end = self.len()?;
        self.write_at(end, bytes)?;
        Ok(end)
    }

    /// Sets the length: cuts the end off, or fills up with zeros that may take no space yet.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Grows the file to at least `len` bytes (zeros) and reserves the space, so that writing within `len` does not find the disk full.
    /// Never shrinks. The blocks are reserved, not written: the first sync after writing them is dearer than that of a recycled file.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes written so far and the length durable. Never repeat it after an error (promise 2 of the crate's header).
    fn sync_data(&self) -> io::Result<()>;

    /// Takes the exclusive advisory lock of the file without waiting: `false` when another handle (of any process) holds it. It is
    /// released when the handle is dropped, the process' death included.
    fn try_lock(&self) -> io::Result<bool>;
}

/// How to open a file: readable always, otherwise as the constructor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whether the handle may write.
    pub(crate) write: bool,
    pub(crate) create: Create,
    /// The permissions of a file that this call creates (before the umask).
    pub(crate) unix_mode: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    IfMissing,
    New,
}

impl Open {
    const fn new(write: bool, create: Create) -> Self {
        Self {
            write,
            create,
            unix_mode: 0o640,
        }
    }

    /// An existing file, for reading only.
    pub const fn read() -> Self {
        Self::new(false, Create::Never)
    }

    /// An existing file, for reading and writing.
    pub const fn write() -> Self {
        Self::new(true, Create::Never)
    }

    /// For reading and writing; created empty when missing, kept as it is otherwise.
    pub const fn create() -> Self {
        Self::new(true, Create::IfMissing)
    }

    /// For reading and writing; `AlreadyExists` when there is such a file.
    pub const fn create_new() -> Self {
        Self::new(true, Create::New)
    }

    /// Gives a file that this call creates these Unix permissions (before the umask) instead of 0640.
    #[must_use]
    pub const fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = mode;
        self
    }
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within the folder.
    pub name: OsString,
    /// Whether it is a folder.
    pub folder: bool,
    /// The length in bytes; 0 for a folder.
    pub len: u64,
}

/// The space of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What an unprivileged process may still write, in bytes.
    pub free_bytes: u64,
}
