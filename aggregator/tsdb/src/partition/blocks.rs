//! The blocks of a finished partition, each verified when it is read, and got another way when the usual one fails.
//!
//! A block comes out of the database. When what comes is not that block, it is [computed](parity) from its neighbours, unless it holds
//! pages; when the database itself is damaged, the file is [scanned](Scan) for it. So a damaged byte costs the pages of one block at most. Whoever reads is none the wiser; what was mended so is [told](Blocks::take_mended) aside, for the file
//! is not what it was, and the next damaged byte may cost something.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use files::{FileSystem, Open, SharedFile};

use super::block::{self, BLOCK_VERSION, BlockFault, BlockKind};
use super::database::{HEADER_KEYS, Tables};
use super::error::{PartitionError, Place};
use super::header::{FILE_VERSION, Header};
use super::parity;
use super::scan::Scan;
use crate::bytes::Malformed;
use crate::cache::{Cache, CacheKey};
use crate::index::BlockSource;

/// What lies in the shared cache: contents of blocks.
const SORT_BLOCK: u8 = 16;

/// An open partition file.
#[derive(Debug)]
pub(crate) struct Blocks {
    stored: Stored,
    header: Header,
    cache: Arc<Cache>,
    owner: u64,
}

impl Blocks {
    /// Opens the file for reading, and reads the header.
    pub(super) fn open(
        files: &dyn FileSystem,
        path: &Path,
        cache: Arc<Cache>,
    ) -> Result<Arc<Self>, PartitionError> {
        let failed = |source| PartitionError::io(path, "open", source);
        let file = files.open(path, Open::read()).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let stored = Stored::open(path, file)?;
        let mut header = Header::decode(&stored.header()?)
            .map_err(|what| PartitionError::damaged(path, Place::Header, what.0))?
            .map_err(|version| PartitionError::Version {
                file: path.to_owned(),
                version,
                known: FILE_VERSION,
            })?;
        header.summary.bytes = bytes;
        let owner = cache.new_owner();
        Ok(Arc::new(Self {
            stored,
            header,
            cache,
            owner,
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.stored.path
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    pub(super) const fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    pub(super) const fn owner(&self) -> u64 {
        self.owner
    }

    /// Returns the content of a block.
    pub(super) fn read(
        &self,
        kind: BlockKind,
        number: u32,
    ) -> Result<Arc<Vec<u8>>, PartitionError> {
        let key = CacheKey {
            owner: self.owner,
            sort: SORT_BLOCK,
            number: u64::from(number),
        };
        self.cache.get_or_make(key, || {
            let content = match self.stored.in_table(kind, number) {
                Err(error) => self.mend(kind, number, error)?,
                found => found?,
            };
            let bytes = content.len();
            Ok((content, bytes))
        })
    }

    /// Verifies a block of any kind, past the cache. One that is damaged is no error if it can be mended.
    pub(super) fn check(&self, number: u32) -> Result<(), PartitionError> {
        let kinds = [
            BlockKind::Pages,
            BlockKind::Times,
            BlockKind::Area,
            BlockKind::Parity,
        ];
        let mut checked = Ok(());
        // Its own kind is the one that it opens as.
        for kind in kinds {
            checked = self.stored.in_table(kind, number).map(drop);
            if checked.is_ok() {
                return checked;
            }
        }
        for kind in kinds {
            checked = checked.or_else(|error| self.mend(kind, number, error).map(drop));
        }
        checked
    }

    /// Verifies both headers; one of them is enough.
    pub(super) fn check_headers(&self) {
        let there = if self.header.parity_blocks > 0 {
            &HEADER_KEYS[..]
        } else {
            &HEADER_KEYS[..1]
        };
        for key in there {
            if let Err(error) = self.stored.in_table(BlockKind::Header, *key) {
                self.stored.note_mended(error);
            }
        }
    }

    /// Returns what was damaged and could be mended, each place once.
    pub(crate) fn take_mended(&self) -> Vec<PartitionError> {
        std::mem::take(&mut self.stored.mended().untold)
    }

    /// Returns the content of a block that could not be had for this error, got another way; the error when there is none.
    fn mend(
        &self,
        kind: BlockKind,
        number: u32,
        error: PartitionError,
    ) -> Result<Vec<u8>, PartitionError> {
        if !error.is_damage() {
            return Err(error);
        }
        let computed = match kind {
            BlockKind::Times | BlockKind::Area => self.compute(kind, number)?,
            _ => None,
        };
        let found = match computed {
            None => self.stored.in_file(kind, number)?,
            computed => computed,
        };
        let Some(content) = found else {
            return Err(error);
        };
        self.stored.note_mended(error);
        Ok(content)
    }

    /// Returns the content of a block as its neighbours have it.
    fn compute(&self, kind: BlockKind, number: u32) -> Result<Option<Vec<u8>>, PartitionError> {
        let blocks = self.header.blocks;
        for at in blocks - self.header.parity_blocks..blocks {
            let parity = match self.stored.in_table(BlockKind::Parity, at) {
                Ok(parity) => Some(parity),
                Err(_) => self.stored.in_file(BlockKind::Parity, at)?,
            };
            let Some(parity) = parity else { continue };
            let others = |number| self.stored.whole(number);
            let computed = parity::compute(&parity, number, others)
                .map_err(|what| PartitionError::malformed(self.path(), at, what))?;
            let computed = computed.and_then(|mut block| {
                block.truncate(block::length_of(&block)?);
                let opened = block::open(&block, kind, number).ok()?;
                Some(opened.into_owned())
            });
            if computed.is_some() {
                return Ok(computed);
            }
        }
        Ok(None)
    }

    /// Returns a block as it is stored, for fuzzing and for tests.
    pub(super) fn stored(&self, number: u32) -> Option<Vec<u8>> {
        self.stored.whole(number)
    }

    /// Returns where in the file blocks lie, and whether they are of pages.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<(bool, std::ops::Range<u64>)> {
        self.stored.scan().unwrap().places()
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.cache.forget(self.owner);
    }
}

impl BlockSource for Arc<Blocks> {
    type Error = PartitionError;

    fn block(&self, number: u32) -> Result<Arc<Vec<u8>>, PartitionError> {
        self.read(BlockKind::Area, number)
    }

    fn malformed(&self, block: u32, what: Malformed) -> PartitionError {
        PartitionError::malformed(self.path(), block, what)
    }
}

/// Where blocks lie: in the database, and in the file around which it is.
#[derive(Debug)]
struct Stored {
    path: PathBuf,
    file: SharedFile,
    /// Otherwise why there is none.
    tables: Result<Tables, String>,
    scan: OnceLock<Scan>,
    mended: Mutex<Mended>,
}

#[derive(Debug, Default)]
struct Mended {
    places: Vec<Place>,
    untold: Vec<PartitionError>,
}

impl Stored {
    fn open(path: &Path, file: SharedFile) -> Result<Self, PartitionError> {
        let tables = match Tables::open(Arc::clone(&file), path) {
            Ok(tables) => Ok(tables),
            Err(PartitionError::Damaged { what, .. }) => Err(what),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            tables,
            scan: OnceLock::new(),
            mended: Mutex::default(),
        })
    }

    /// Returns the content of the header.
    fn header(&self) -> Result<Vec<u8>, PartitionError> {
        let [first, second] = HEADER_KEYS;
        let error = match self.in_table(BlockKind::Header, first) {
            Err(error) if error.is_damage() => error,
            found => return found,
        };
        let mut found = self.in_table(BlockKind::Header, second).ok();
        for key in HEADER_KEYS {
            if found.is_none() {
                found = self.in_file(BlockKind::Header, key)?;
            }
        }
        let Some(header) = found else {
            return Err(error);
        };
        self.note_mended(error);
        Ok(header)
    }

    /// Returns the content of a block that the database has.
    fn in_table(&self, kind: BlockKind, number: u32) -> Result<Vec<u8>, PartitionError> {
        let place = match kind {
            BlockKind::Header => Place::Header,
            _ => Place::Block(number),
        };
        let open = |stored: &[u8]| {
            let opened = block::open(stored, kind, number).map(Cow::into_owned);
            opened.map_err(|fault| match fault {
                BlockFault::Damaged(what) => PartitionError::damaged(&self.path, place, what),
                BlockFault::Version(version) => PartitionError::Version {
                    file: self.path.clone(),
                    version,
                    known: BLOCK_VERSION,
                },
            })
        };
        match (&self.tables, kind) {
            (Err(why), _) => Err(PartitionError::damaged(
                &self.path,
                Place::Database,
                why.clone(),
            )),
            (Ok(tables), BlockKind::Header) => tables.header(number, open),
            (Ok(tables), _) => tables.block(number, open),
        }
    }

    /// Returns the content of a block that is somewhere in the file.
    fn in_file(&self, kind: BlockKind, number: u32) -> Result<Option<Vec<u8>>, PartitionError> {
        let failed = |source| PartitionError::io(&self.path, "read", source);
        let stored = self.scan()?.block(&self.file, (kind, number));
        let stored = stored.map_err(failed)?;
        Ok(stored.and_then(|stored| {
            let opened = block::open(&stored, kind, number).ok()?;
            Some(opened.into_owned())
        }))
    }

    fn scan(&self) -> Result<&Scan, PartitionError> {
        if let Some(scan) = self.scan.get() {
            return Ok(scan);
        }
        let scan = Scan::of(&self.file)
            .map_err(|source| PartitionError::io(&self.path, "read", source))?;
        Ok(self.scan.get_or_init(|| scan))
    }

    /// Returns a block as it is stored; `None` when it is nowhere whole.
    fn whole(&self, number: u32) -> Option<Vec<u8>> {
        let tables = self.tables.as_ref().ok();
        let stored = tables.and_then(|tables| {
            let stored = tables.block(number, |stored| Ok(stored.to_vec())).ok()?;
            let found = block::identify(&stored).map(|(_, found)| found);
            (found == Some(number)).then_some(stored)
        });
        stored.or_else(|| {
            let kinds = [BlockKind::Times, BlockKind::Area];
            let scan = self.scan().ok()?;
            let found = |kind| scan.block(&self.file, (kind, number)).ok()?;
            kinds.into_iter().find_map(found)
        })
    }

    /// Notes damage that costs nothing.
    fn note_mended(&self, error: PartitionError) {
        let PartitionError::Damaged { file, place, what } = error else {
            return;
        };
        let mut mended = self.mended();
        if !mended.places.contains(&place) {
            mended.places.push(place);
            let error = PartitionError::Mended { file, place, what };
            mended.untold.push(error);
        }
    }

    fn mended(&self) -> MutexGuard<'_, Mended> {
        // Lists: whole after every step.
        self.mended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
