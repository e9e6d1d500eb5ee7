//! The file layer: everything durable is written through [`FileSystem`], so that a test can lose, tear, fail and fill it.
//!
//! Two implementations exist. [`Disk`] is the machine's files; each call is one or two system calls. [`Simulated`] is memory that
//! behaves like the worst disk which still keeps its promises: a crash drops or tears what was not synced, a failed sync loses the
//! data for good although a later sync succeeds, folder entries vanish unless the folder was synced.
//!
//! On top of the layer, and hence on both implementations: [`write_atomically`] for small files, [`FolderLock`] for "one process per
//! data folder", [`link_or_copy`] for files that do not change any more, [`open_database`] and [`RedbBackend`] for redb databases, and [`KeyValue`], a small transactional store for identities, join tokens and
//! certificates; [`Journaled`] is one for what changes many times per second.
//!
//! # What is promised
//!
//! 1. Bytes written are visible to every handle at once and survive the death of the process, not of the machine.
//! 2. [`File::sync_data`] that returned `Ok` makes all bytes written before it, and the length, survive a power cut. After an error
//!    nothing is known about bytes that were not synced before: **abandon the file at its last synced position and never repeat the
//!    sync**, for the kernel may have dropped the pages and a second sync would lie.
//! 3. A created, renamed or removed *entry* survives only after [`FileSystem::sync_folder`] of its folder. Synced bytes in a file whose
//!    entry was never synced can be unreachable after a power cut.
//! 4. [`FileSystem::rename`] is atomic: after a crash the target is the old or the new file, whole. (Its *bytes* are durable only if
//!    they were synced first.)
//! 5. A write that fails may have written any prefix of its bytes.
//! 6. Unsynced bytes reach the disk in any order and in units of 512 bytes.
//!
//! Everything blocks; call it from threads that may. Errors are plain [`std::io::Error`]s with the operating system's kind
//! ([`StorageFull`](std::io::ErrorKind::StorageFull) when the disk is full); callers add what they attempted and on which path.
//!
//! Never here: async, clocks, what the bytes of others mean.

#![forbid(unsafe_code)]

mod atomically;
mod disk;
mod journal;
mod journaled;
mod key_value;
mod layer;
mod link_or_copy;
mod lock;
mod redb_backend;
mod simulated;

pub use atomically::{WriteAtomicallyError, write_atomically};
pub use disk::Disk;
pub use journaled::{Journaled, JournaledError};
pub use key_value::{Batch, KeyValue, KeyValueError};
pub use layer::{Entry, File, FileSystem, Open, SharedFile, SharedFileSystem, Space};
pub use link_or_copy::link_or_copy;
pub use lock::{FolderLock, FolderLockError};
pub use redb_backend::{RedbBackend, open_database};
pub use simulated::{Fault, Operation, Simulated};
