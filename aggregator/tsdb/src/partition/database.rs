//! The redb database inside a partition file: one table of blocks, one of the header; nothing else knows redb.
//!
//! redb trusts the structure around the values, so bytes changed behind its back can make it panic. Every call stands in [`guarded`],
//! which turns that into an error like any other damage.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{FileSystem, Open, RedbBackend, SharedFile};
use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition,
    WriteTransaction,
};

use super::block::{self, BlockKind};
use super::error::{PartitionError, Place};

const BLOCKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("blocks.v1");
const HEADER: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("header.v1");
/// The header is there twice.
pub(super) const HEADER_KEYS: [u32; 2] = [0, 1];

/// What redb may keep of a file being written, and of one being read: blocks are cached here, decoded, rather than there.
const WRITE_CACHE_BYTES: usize = 4 * 1024 * 1024;
const READ_CACHE_BYTES: usize = 128 * 1024;
/// Compaction goes on while it gains something, at most so often.
const COMPACTIONS_MAX: usize = 4;

/// A database being written, in one transaction.
pub(super) struct BlockWriter {
    path: PathBuf,
    file: SharedFile,
    database: Database,
    transaction: WriteTransaction,
}

impl BlockWriter {
    /// Makes the file, which must not exist; after an error it does not, unless it did before.
    pub(super) fn create(files: &dyn FileSystem, path: &Path) -> Result<Self, PartitionError> {
        let failed = |source| PartitionError::io(path, "create", source);
        let file = files.open(path, Open::create_new()).map_err(failed)?;
        let backend = RedbBackend::new(Arc::clone(&file));
        let created = guarded(path, || {
            let failed = |source: redb::Error| PartitionError::file(path, "create", source);
            let database = Database::builder()
                .set_cache_size(WRITE_CACHE_BYTES)
                .create_with_backend(backend)
                .map_err(|error| failed(error.into()))?;
            let mut transaction = database
                .begin_write()
                .map_err(|error| failed(error.into()))?;
            transaction.set_quick_repair(true);
            Ok(Self {
                path: path.to_owned(),
                file,
                database,
                transaction,
            })
        });
        if created.is_err() {
            // What cannot be removed now is removed at the next start: nothing names it.
            files.remove(path).unwrap_or_default();
        }
        created
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Seals a block and stores it under its number.
    pub(super) fn put(&self, number: u32, sealed: &mut [u8]) -> Result<(), PartitionError> {
        block::seal(sealed);
        self.insert(BLOCKS, number, sealed)
    }

    fn insert(
        &self,
        table: TableDefinition<'_, u32, &[u8]>,
        key: u32,
        value: &[u8],
    ) -> Result<(), PartitionError> {
        guarded(&self.path, || {
            let failed = |source: redb::Error| PartitionError::file(&self.path, "write", source);
            let mut table = self
                .transaction
                .open_table(table)
                .map_err(|error| failed(error.into()))?;
            table
                .insert(key, value)
                .map_err(|error| failed(error.into()))?;
            Ok(())
        })
    }

    /// Stores the header, commits, compacts, closes and syncs; returns the size of the file.
    pub(super) fn finish(
        self,
        files: &dyn FileSystem,
        header: &[u8],
    ) -> Result<u64, PartitionError> {
        for key in HEADER_KEYS {
            let mut sealed = block::begin(BlockKind::Header, key);
            sealed.extend_from_slice(header);
            block::seal(&mut sealed);
            self.insert(HEADER, key, &sealed)?;
        }
        let Self {
            path,
            file,
            mut database,
            transaction,
        } = self;
        let path = path.as_path();
        guarded(path, || {
            let failed = |step, source: redb::Error| PartitionError::file(path, step, source);
            transaction
                .commit()
                .map_err(|error| failed("commit", error.into()))?;
            for _ in 0..COMPACTIONS_MAX {
                if !database
                    .compact()
                    .map_err(|error| failed("compact", error.into()))?
                {
                    break;
                }
            }
            database
                .close()
                .map_err(|error| failed("close", error.into()))
        })?;
        let failed = |step| move |source| PartitionError::io(path, step, source);
        file.sync_data().map_err(failed("sync"))?;
        files
            .sync_folder(path.parent().unwrap_or_else(|| Path::new("")))
            .map_err(failed("sync the folder of"))?;
        file.len().map_err(failed("measure"))
    }
}

impl fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A finished database, being read.
pub(super) struct Tables {
    path: PathBuf,
    /// Kept for as long as the tables are read.
    _database: ReadOnlyDatabase,
    blocks: ReadOnlyTable<u32, &'static [u8]>,
    headers: ReadOnlyTable<u32, &'static [u8]>,
}

impl Tables {
    pub(super) fn open(file: SharedFile, path: &Path) -> Result<Self, PartitionError> {
        let backend =
            ReadOnly::new(file).map_err(|source| PartitionError::io(path, "open", source))?;
        guarded(path, || {
            let failed = |source: redb::Error| PartitionError::file(path, "open", source);
            let database = Database::builder()
                .set_cache_size(READ_CACHE_BYTES)
                .open_read_only_with_backend(backend)
                .map_err(|error| failed(error.into()))?;
            let transaction = database
                .begin_read()
                .map_err(|error| failed(error.into()))?;
            let blocks = transaction
                .open_table(BLOCKS)
                .map_err(|error| failed(error.into()))?;
            let headers = transaction
                .open_table(HEADER)
                .map_err(|error| failed(error.into()))?;
            Ok(Self {
                path: path.to_owned(),
                _database: database,
                blocks,
                headers,
            })
        })
    }

    /// Calls `read` with a block as it is stored.
    pub(super) fn block<T>(
        &self,
        number: u32,
        read: impl FnOnce(&[u8]) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        self.value(&self.blocks, (number, Place::Entry(number)), read)
    }

    /// Calls `read` with one of the two headers as it is stored.
    pub(super) fn header<T>(
        &self,
        key: u32,
        read: impl FnOnce(&[u8]) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        self.value(&self.headers, (key, Place::Header), read)
    }

    fn value<T>(
        &self,
        table: &ReadOnlyTable<u32, &'static [u8]>,
        (key, place): (u32, Place),
        read: impl FnOnce(&[u8]) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        guarded(&self.path, || {
            let value = table
                .get(key)
                .map_err(|source| PartitionError::file(&self.path, "read", source))?;
            let value =
                value.ok_or_else(|| PartitionError::damaged(&self.path, place, "it is missing"))?;
            read(value.value())
        })
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The file below a database that is only read: what lies behind its end reads as zeros, and no page leads to one longer than the file.
///
/// redb believes the places that its pages name. After a read past the end it refuses all others, and for a place of a great order it
/// takes memory first: a flipped bit would cost the whole file, or 4 GiB. A page of zeros is none that it understands. What is left are the
/// roots of the tables, which no page above them names: they are read when the database is opened, and let go of when that fails.
#[derive(Debug)]
struct ReadOnly {
    file: SharedFile,
    length: u64,
    /// No page that was written is longer.
    page_max: u64,
}

/// The first byte of a page of redb's whose children are pages.
const BRANCH: u8 = 2;
const PAGE_BYTES: u64 = 4_096;
/// A place behind the end of any file: the last page of the last region.
const NOWHERE: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];

impl ReadOnly {
    fn new(file: SharedFile) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            length,
            page_max: length.min(2 * block::STORED_BYTES_MAX as u64),
        })
    }

    /// Leads the children of a branch that would be longer than any page is to nowhere.
    fn mend_branch(&self, page: &mut [u8]) {
        let [BRANCH, _, low, high, ..] = *page else {
            return;
        };
        // Behind the header (8) a checksum (16) of each child, then the place (8) of each, whose five highest bits are the order.
        let children = usize::from(u16::from_le_bytes([low, high])) + 1;
        let places = page.get_mut(8 + children * 16..).unwrap_or_default();
        let (places, _) = places.as_chunks_mut::<8>();
        for place in places.iter_mut().take(children) {
            let order = place[7] >> 3;
            if PAGE_BYTES << order > self.page_max {
                *place = NOWHERE;
            }
        }
    }
}

impl StorageBackend for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if out.len() as u64 > self.page_max.max(PAGE_BYTES) {
            let what = "it names a page that is longer than any";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let wanted = self.length.saturating_sub(offset).min(out.len() as u64);
        let (inside, behind) = out.split_at_mut(usize::try_from(wanted).unwrap_or(usize::MAX));
        behind.fill(0);
        if !inside.is_empty() && self.file.read_at(offset, inside)? < inside.len() {
            return Err(io::Error::other("the file has become shorter"));
        }
        self.mend_branch(out);
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// Runs a step on the database; a panic in it is damage.
fn guarded<T>(
    path: &Path,
    step: impl FnOnce() -> Result<T, PartitionError>,
) -> Result<T, PartitionError> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
        Err(PartitionError::damaged(
            path,
            Place::Database,
            "redb does not understand it",
        ))
    })
}
