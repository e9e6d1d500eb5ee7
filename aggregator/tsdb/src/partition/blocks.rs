//! The blocks of a finished partition, each verified when it is read, and got another way when the usual one fails.
//!
//! A block comes out of the database. One that is damaged is [computed](Parity) from its neighbours, unless it holds pages; when the
//! database does not have a block, or cannot be read itself, the file is [scanned](Scan) for it. So a flipped bit costs the pages of one
//! block at most. Whoever reads is none the wiser; what was mended so is counted, for the file is not what it was, and the next damage
//! may cost something.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use files::{FileSystem, Open, SharedFile};

use super::block::{self, BLOCK_VERSION, BlockFault, BlockKind, Claim, HEADER_BYTES};
use super::database::{HEADER_KEYS, Tables};
use super::error::{PartitionError, Place};
use super::header::{FILE_VERSION, Header};
use super::parity::Parity;
use super::scan::Scan;
use crate::bytes::Malformed;
use crate::cache::{Cache, CacheKey};
use crate::counters::Counters;
use crate::index::BlockSource;

/// What lies in the shared cache: contents of blocks.
const SORT_BLOCK: u8 = 16;

/// An open partition file.
#[derive(Debug)]
pub(crate) struct Blocks {
    stored: Stored,
    header: Header,
    /// By block, the parity block that it belongs to, once somebody needed one.
    parities: Once<HashMap<u32, u32>>,
    cache: Arc<Cache>,
    owner: u64,
}

impl Blocks {
    /// Opens the file for reading, and reads the header. What is mended here and later is told to `counters`, or kept for
    /// [`take_mended`](Self::take_mended).
    pub(super) fn open(
        files: &dyn FileSystem,
        path: &Path,
        cache: Arc<Cache>,
        counters: Option<Arc<Counters>>,
    ) -> Result<Arc<Self>, PartitionError> {
        let failed = |source| PartitionError::io(path, "open", source);
        let file = files.open(path, Open::read()).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let stored = Stored::open(path, file, counters)?;
        let damaged = |what: Malformed| PartitionError::damaged(path, Place::Header, what.0);
        let mut header = Header::decode(&stored.header()?)
            .map_err(damaged)?
            .map_err(|version| PartitionError::Version {
                file: path.to_owned(),
                version,
                known: FILE_VERSION,
            })?;
        if u64::from(header.blocks) > bytes / HEADER_BYTES as u64 {
            return Err(damaged(Malformed("more blocks than the file has room for")));
        }
        header.summary.bytes = bytes;
        let owner = cache.new_owner();
        Ok(Arc::new(Self {
            stored,
            header,
            parities: Once::default(),
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
                Err(error) => self.mend(Some(kind), number, error)?,
                found => found?,
            };
            let bytes = content.len();
            Ok((content, bytes))
        })
    }

    /// Verifies a block of any kind, past the cache. One that is damaged is no error if it can be mended.
    pub(super) fn check(&self, number: u32) -> Result<(), PartitionError> {
        let kind = self.stored.kind_in_table(number);
        let Err(error) = self.stored.in_table(kind, number) else {
            return Ok(());
        };
        let parity_from = self.header.blocks - self.header.parity_blocks;
        if error.is_damage() && number >= parity_from {
            // Nobody misses it, unless there is more damage.
            self.stored.note_mended(error);
            return Ok(());
        }
        self.mend(None, number, error).map(drop)
    }

    /// Verifies both headers; one of them is enough.
    pub(super) fn check_headers(&self) {
        let there = if self.has_parity() { 2 } else { 1 };
        for key in HEADER_KEYS.into_iter().take(there) {
            if let Err(error) = self.stored.in_table(BlockKind::Header, key) {
                self.stored.note_mended(error);
            }
        }
    }

    /// Returns whether the file is to be opened anew, for a disk that failed once failed for good as long as it stays open.
    pub(super) fn is_stuck(&self) -> bool {
        self.stored.stuck.load(Ordering::Relaxed)
    }

    /// Returns what was damaged and could be mended, each place once; nothing of what was told to counters.
    pub(super) fn take_mended(&self) -> Vec<PartitionError> {
        let mut mended = lock(&self.stored.mended);
        std::mem::take(&mut mended.untold)
    }

    /// Returns whether blocks can be found without the database, and those without pages be computed: in files from version 4 on.
    const fn has_parity(&self) -> bool {
        self.header.parity_blocks > 0
    }

    /// Returns the content of a block that could not be had for this error, got another way; the error when there is none. Without a
    /// kind, it is of the one that it turns out to be.
    fn mend(
        &self,
        kind: Option<BlockKind>,
        number: u32,
        error: PartitionError,
    ) -> Result<Vec<u8>, PartitionError> {
        let PartitionError::Damaged { place, .. } = &error else {
            return Err(error);
        };
        if !self.has_parity() {
            return Err(error.of_block(number));
        }
        // What lies in its place and is damaged lies nowhere else.
        let elsewhere = !matches!(place, Place::Block(_));
        let protected = kind != Some(BlockKind::Pages);
        // To scan the file is dear, but once it was done, or has to be, a block is there at once.
        let scan_first = self.stored.tables.is_err() || self.stored.scan.is_made();
        let mut found = None;
        if elsewhere && scan_first {
            found = self.stored.in_file(kind, number)?;
        }
        if found.is_none() && protected {
            found = self.compute(number)?;
        }
        if found.is_none() && elsewhere && !scan_first {
            found = self.stored.in_file(kind, number)?;
        }
        let Some(content) = found.and_then(|block| {
            let kind = kind.or_else(|| BlockKind::of(*block.first()?))?;
            let content = block::open(&block, kind, number).ok()?;
            Some(content.into_owned())
        }) else {
            return Err(error.of_block(number));
        };
        self.stored.note_mended(error);
        Ok(content)
    }

    /// Returns a block as it was stored, from its neighbours.
    fn compute(&self, number: u32) -> Result<Option<Vec<u8>>, PartitionError> {
        let parities = self.parities.get_or_make(|| self.read_parities())?;
        let Some(at) = parities.get(&number) else {
            return Ok(None);
        };
        let Some(content) = self.read_parity(*at)? else {
            return Ok(None);
        };
        let parity = Parity::decode(&content)
            .map_err(|what| PartitionError::malformed(self.path(), *at, what))?;
        let computed = parity.compute(number, |other| self.stored.whole(other))?;
        Ok(computed.and_then(|mut block| {
            block.truncate(Claim::of(&block)?.bytes);
            let claim = Claim::verified(&block)?;
            (claim.number == number).then_some(block)
        }))
    }

    fn read_parities(&self) -> Result<HashMap<u32, u32>, PartitionError> {
        let mut parities = HashMap::new();
        for at in self.header.blocks - self.header.parity_blocks..self.header.blocks {
            if let Some(content) = self.read_parity(at)?
                && let Ok(parity) = Parity::decode(&content)
            {
                parities.extend(parity.numbers.iter().map(|number| (*number, at)));
            }
        }
        Ok(parities)
    }

    fn read_parity(&self, number: u32) -> Result<Option<Vec<u8>>, PartitionError> {
        let kind = BlockKind::Parity;
        match self.stored.in_table(kind, number) {
            Err(error) if error.is_damage() => {
                let stored = self.stored.in_file(Some(kind), number)?;
                let opened =
                    |stored: Vec<u8>| Some(block::open(&stored, kind, number).ok()?.into_owned());
                Ok(stored.and_then(opened))
            }
            found => found.map(Some),
        }
    }

    /// Returns a block as it is stored, for fuzzing and for tests.
    pub(super) fn stored(&self, number: u32) -> Option<Vec<u8>> {
        self.stored.whole(number).ok().flatten()
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
    /// Otherwise what is wrong with it.
    tables: Result<Tables, String>,
    scan: Once<Scan>,
    /// Whether the database did not get bytes of the file once: it takes no more after that.
    stuck: AtomicBool,
    mended: Mutex<Mended>,
    counters: Option<Arc<Counters>>,
}

#[derive(Debug, Default)]
struct Mended {
    places: Vec<Place>,
    untold: Vec<PartitionError>,
}

impl Stored {
    fn open(
        path: &Path,
        file: SharedFile,
        counters: Option<Arc<Counters>>,
    ) -> Result<Self, PartitionError> {
        let tables = match Tables::open(Arc::clone(&file), path) {
            Ok(tables) => Ok(tables),
            Err(PartitionError::Damaged { what, .. }) => Err(what),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            tables,
            scan: Once::default(),
            stuck: AtomicBool::new(false),
            mended: Mutex::default(),
            counters,
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
            if found.is_none()
                && let Some(stored) = self.in_file(Some(BlockKind::Header), key)?
            {
                let opened = block::open(&stored, BlockKind::Header, key);
                found = opened.ok().map(Cow::into_owned);
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
        let open = |stored: &[u8]| {
            let opened = block::open(stored, kind, number).map(Cow::into_owned);
            opened.map_err(|fault| match fault {
                BlockFault::Damaged(what) => {
                    let place = place_of(stored, kind, number);
                    PartitionError::damaged(&self.path, place, what)
                }
                BlockFault::Version(version) => PartitionError::Version {
                    file: self.path.clone(),
                    version,
                    known: BLOCK_VERSION,
                },
            })
        };
        let read = match (&self.tables, kind) {
            (Err(why), _) => Err(PartitionError::damaged(
                &self.path,
                Place::Database,
                why.clone(),
            )),
            (Ok(tables), BlockKind::Header) => tables.header(number, open),
            (Ok(tables), _) => tables.block(number, open),
        };
        self.watched(read)
    }

    /// Passes what was read of the database on; notes when nothing more can be.
    fn watched<T>(&self, read: Result<T, PartitionError>) -> Result<T, PartitionError> {
        if matches!(read, Err(PartitionError::File { .. })) {
            self.stuck.store(true, Ordering::Relaxed);
        }
        read
    }

    /// Returns the kind that a block says it is of.
    fn kind_in_table(&self, number: u32) -> BlockKind {
        let tables = self.tables.as_ref().ok();
        let first = tables.and_then(|tables| {
            let first = |stored: &[u8]| Ok(stored.first().copied());
            tables.block(number, first).ok()?
        });
        first.and_then(BlockKind::of).unwrap_or(BlockKind::Pages)
    }

    /// Returns a block of this kind, or of any, that is somewhere in the file, as it is stored.
    fn in_file(
        &self,
        kind: Option<BlockKind>,
        number: u32,
    ) -> Result<Option<Vec<u8>>, PartitionError> {
        let scan = self.scan()?;
        let Some(kind) = kind.or_else(|| scan.kind_of(number)) else {
            return Ok(None);
        };
        scan.block(&self.file, (kind, number))
            .map_err(|source| PartitionError::io(&self.path, "read", source))
    }

    fn scan(&self) -> Result<Arc<Scan>, PartitionError> {
        let failed = |source| PartitionError::io(&self.path, "read", source);
        self.scan
            .get_or_make(|| Scan::of(&self.file).map_err(failed))
    }

    /// Returns a block as it is stored; `None` when it is nowhere whole.
    fn whole(&self, number: u32) -> Result<Option<Vec<u8>>, PartitionError> {
        if let Ok(tables) = &self.tables {
            match self.watched(tables.block(number, |stored| Ok(stored.to_vec()))) {
                Ok(stored)
                    if Claim::verified(&stored).is_some_and(|claim| claim.number == number) =>
                {
                    return Ok(Some(stored));
                }
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        self.in_file(None, number)
    }

    /// Notes damage that costs nothing.
    fn note_mended(&self, error: PartitionError) {
        let PartitionError::Damaged { file, place, what } = error else {
            return;
        };
        // One fault of the database's own can put many blocks out of its reach, and each time another one first.
        let (place, what) = match place {
            Place::Entry(_) => (Place::Database, "blocks are not where it says".to_owned()),
            place => (place, what),
        };
        let mut mended = lock(&self.mended);
        if mended.places.contains(&place) {
            return;
        }
        mended.places.push(place);
        let error = PartitionError::Mended { file, place, what };
        match &self.counters {
            Some(counters) => counters.partition_damaged(&self.path, &error),
            None => mended.untold.push(error),
        }
    }
}

/// Returns where the damage is, when this is stored for a block and is not that block.
fn place_of(stored: &[u8], kind: BlockKind, number: u32) -> Place {
    let claim = Claim {
        kind: kind as u8,
        number,
        bytes: stored.len(),
    };
    match kind {
        BlockKind::Header => Place::Header,
        _ if Claim::of(stored) == Some(claim) => Place::Block(number),
        _ => Place::Entry(number),
    }
}

/// Something dear that is made once, by one thread while others wait.
#[derive(Debug)]
struct Once<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Once<T> {
    fn is_made(&self) -> bool {
        lock(&self.0).is_some()
    }

    fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut made = lock(&self.0);
        if let Some(made) = &*made {
            return Ok(Arc::clone(made));
        }
        let new = Arc::new(make()?);
        *made = Some(Arc::clone(&new));
        Ok(new)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
