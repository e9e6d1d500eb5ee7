//! The redb database inside a partition file: one table of blocks, one of the header; nothing else knows redb.
//!
//! redb trusts the structure around the values, so bytes changed behind its back can make it panic. Every call stands in [`guarded`],
//! which turns that into an error like any other damage.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{FileSystem, Open, RedbBackend, SharedFile};
use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction,
};

use super::block::{self, BLOCK_VERSION, BlockFault, BlockKind, HEADER_BYTES};
use super::error::{PartitionError, Place};
use crate::bytes::Malformed;
use crate::cache::{Cache, CacheKey};
use crate::index::BlockSource;

const BLOCKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("blocks.v1");
const HEADER: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("header.v1");
const HEADER_KEY: u32 = 0;

/// What redb may keep of a file being written, and of one being read: blocks are cached here, decoded, rather than there.
const WRITE_CACHE_BYTES: usize = 4 * 1024 * 1024;
const READ_CACHE_BYTES: usize = 128 * 1024;
/// Compaction goes on while it gains something, at most so often.
const COMPACTIONS_MAX: usize = 4;

/// What lies in the shared cache: raw blocks.
const SORT_BLOCK: u8 = 16;

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
        let mut sealed = block::begin(BlockKind::Header, HEADER_KEY);
        sealed.extend_from_slice(header);
        block::seal(&mut sealed);
        self.insert(HEADER, HEADER_KEY, &sealed)?;
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

/// The blocks of a finished partition.
pub(crate) struct Blocks {
    path: PathBuf,
    /// Kept for as long as the tables are read.
    _database: ReadOnlyDatabase,
    blocks: ReadOnlyTable<u32, &'static [u8]>,
    header: Vec<u8>,
    bytes: u64,
    cache: Arc<Cache>,
    owner: u64,
}

impl Blocks {
    /// Opens the file for reading and verifies the header.
    pub(super) fn open(
        files: &dyn FileSystem,
        path: &Path,
        cache: Arc<Cache>,
    ) -> Result<Arc<Self>, PartitionError> {
        let failed = |source| PartitionError::io(path, "open", source);
        let file = files.open(path, Open::read()).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let owner = cache.new_owner();
        let opened = guarded(path, || {
            let failed = |source: redb::Error| PartitionError::file(path, "open", source);
            let database = Database::builder()
                .set_cache_size(READ_CACHE_BYTES)
                .open_read_only_with_backend(RedbBackend::new(file))
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
            let header = headers
                .get(HEADER_KEY)
                .map_err(|error| failed(error.into()))?;
            let header = header.map(|value| value.value().to_vec());
            let header = header
                .ok_or_else(|| PartitionError::damaged(path, Place::Header, "it is missing"))?;
            Ok(Self {
                path: path.to_owned(),
                _database: database,
                blocks,
                header,
                bytes,
                cache,
                owner,
            })
        })?;
        block::open(&opened.header, BlockKind::Header, HEADER_KEY)
            .map_err(|fault| opened.fault(Place::Header, fault))?;
        Ok(Arc::new(opened))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the file.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    pub(super) const fn owner(&self) -> u64 {
        self.owner
    }

    /// Returns the content of the header, verified when the file was opened.
    pub(super) fn header(&self) -> &[u8] {
        self.header.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Returns the content of a block, its checksum verified.
    pub(super) fn read(
        &self,
        kind: BlockKind,
        number: u32,
    ) -> Result<Arc<Vec<u8>>, PartitionError> {
        self.cache.get_or_make(
            CacheKey {
                owner: self.owner,
                sort: SORT_BLOCK,
                number: u64::from(number),
            },
            || {
                let content = self.read_stored(kind, number)?;
                let bytes = content.len();
                Ok((content, bytes))
            },
        )
    }

    /// Returns a block as it is stored, for fuzzing.
    pub(super) fn stored(&self, number: u32) -> Result<Vec<u8>, PartitionError> {
        guarded(&self.path, || {
            let stored = self
                .blocks
                .get(number)
                .map_err(|source| PartitionError::file(&self.path, "read", source))?;
            let missing =
                || PartitionError::damaged(&self.path, Place::Block(number), "it is missing");
            Ok(stored.ok_or_else(missing)?.value().to_vec())
        })
    }

    /// Verifies a block of any kind, past the cache.
    pub(super) fn check(&self, number: u32) -> Result<(), PartitionError> {
        let kinds = [BlockKind::Pages, BlockKind::Times, BlockKind::Area];
        let mut result = Ok(());
        for kind in kinds {
            // Its own kind is the one that it opens as.
            result = self.read_stored(kind, number).map(drop);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn read_stored(&self, kind: BlockKind, number: u32) -> Result<Vec<u8>, PartitionError> {
        guarded(&self.path, || {
            let failed =
                |source: redb::StorageError| PartitionError::file(&self.path, "read", source);
            let stored = self.blocks.get(number).map_err(failed)?;
            let stored = stored.ok_or_else(|| {
                PartitionError::damaged(&self.path, Place::Block(number), "it is missing")
            })?;
            block::open(stored.value(), kind, number)
                .map(Cow::into_owned)
                .map_err(|fault| self.fault(Place::Block(number), fault))
        })
    }

    fn fault(&self, place: Place, fault: BlockFault) -> PartitionError {
        match fault {
            BlockFault::Damaged(what) => PartitionError::damaged(&self.path, place, what),
            BlockFault::Version(version) => PartitionError::Version {
                file: self.path.clone(),
                version,
                known: BLOCK_VERSION,
            },
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.cache.forget(self.owner);
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl BlockSource for Arc<Blocks> {
    type Error = PartitionError;

    fn block(&self, number: u32) -> Result<Arc<Vec<u8>>, PartitionError> {
        self.read(BlockKind::Area, number)
    }

    fn malformed(&self, block: u32, what: Malformed) -> PartitionError {
        PartitionError::malformed(&self.path, block, what)
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
