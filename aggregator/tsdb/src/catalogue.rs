//! The catalogue: which partition files exist, how far each shard is sealed, which numbers are durable. Changed by one transaction at a
//! time, and what a transaction says is what is true.
//!
//! Its contents are small and kept in memory too. After a failed transaction nothing is known of the file's unsynced pages, so it is not
//! written again: the next commit makes a whole new file beside it and renames it over the old one. Until that has happened the truth is
//! the old contents *or* the failed transaction's, so callers keep whatever either names.
//!
//! redb checks its pages only when it repairs, so a checksum over all contents stands beside them: what it does not match is not believed.
//!
//! A catalogue of version 1 is read; the first commit then makes a whole new file of the present version.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{Open, RedbBackend, SharedFileSystem};
use model::TimestampMs;
use redb::backends::InMemoryBackend;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, StorageBackend as _, TableDefinition,
    TableError,
};
use rows::StoreId;

pub(crate) use self::entry::{Level, PartitionEntry, Tier};
use self::entry::{
    decode_epoch, decode_import, decode_known, encode_epoch, encode_import, encode_known,
};
use crate::bytes::{Malformed, Reader};
use crate::cohorts::{EpochKey, KnownNumbers};
use crate::deletes::Delete;

const FILE: &str = "catalogue.redb";
const NEW_FILE: &str = "catalogue.redb.new";
const VERSION: u32 = 2;
/// The oldest version that is read.
const VERSION_OLDEST: u32 = 1;
/// The catalogue is read once and kept in memory; redb needs no cache for it.
const CACHE_BYTES: usize = 256 * 1024;
/// The largest catalogue that is read as a whole into memory.
const READ_BYTES_MAX: u64 = 1 << 30;

/// A key of the store's table. Not under the checksum: a wrong value makes merges split files anew, nothing else.
const SPLIT_BY: &str = "split_by";

const STORE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("store");
const SHARDS: TableDefinition<'_, u16, u64> = TableDefinition::new("shards");
const PARTITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("partitions");
const NUMBERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("numbers");
const DELETES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deletes");
const IMPORTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("imports");

/// Everything the catalogue says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) store_id: StoreId,
    /// By shard, the log position up to which its rows are in partitions.
    pub(crate) sealed: Vec<u64>,
    /// By file name.
    pub(crate) partitions: BTreeMap<String, PartitionEntry>,
    pub(crate) numbers: BTreeMap<EpochKey, KnownNumbers>,
    /// By position, the deletes that are not carried out in every partition yet.
    pub(crate) deletes: BTreeMap<u64, Arc<Delete>>,
    /// By source, what was imported; a source is not imported twice.
    pub(crate) imports: BTreeMap<String, ImportEntry>,
    /// By which retention classes files are split ([`Retention::adopt`](crate::retention::Retention::adopt)); `None`: nobody has noted it.
    pub(crate) split_by: Option<u64>,
}

/// Something that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportEntry {
    /// Samples from this time on were taken, older ones left out.
    pub(crate) from: TimestampMs,
    /// The time of its newest sample.
    pub(crate) newest: TimestampMs,
    pub(crate) samples: u64,
}

impl Contents {
    /// Returns what a store says that has nothing yet.
    pub(crate) fn empty(store_id: StoreId, shards: u16) -> Self {
        Self {
            store_id,
            sealed: vec![0; usize::from(shards)],
            partitions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            deletes: BTreeMap::new(),
            imports: BTreeMap::new(),
            split_by: None,
        }
    }

    /// Returns the time of the newest sample in a partition.
    pub(crate) fn newest(&self) -> Option<TimestampMs> {
        let entries = self.partitions.values();
        entries.map(|entry| entry.times.end).max()
    }
}

/// Why a catalogue cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Redb(Box<redb::Error>),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

fn redb_error(error: impl Into<redb::Error>) -> CatalogueError {
    CatalogueError::Redb(Box::new(error.into()))
}

#[derive(Debug)]
pub(crate) struct Catalogue {
    files: SharedFileSystem,
    folder: PathBuf,
    /// `None` after a failure: the next commit makes a new file.
    database: Option<Database>,
    contents: Contents,
}

impl Catalogue {
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Opens the folder's catalogue; `None` when there is none.
    pub(crate) fn open(
        files: SharedFileSystem,
        folder: PathBuf,
    ) -> Result<Option<Self>, CatalogueError> {
        remove_if_there(&files, &folder.join(NEW_FILE))?;
        let path = folder.join(FILE);
        if !files.exists(&path)? {
            return Ok(None);
        }
        let (database, contents) = guarded(|| {
            let database = open_database(&files, &path, Open::write())?;
            let (version, contents) = read_all(&database)?;
            // Another version's tables are left as they are: a new file replaces them as a whole.
            Ok(((version == VERSION).then_some(database), contents))
        })?;
        Ok(Some(Self {
            files,
            folder,
            database,
            contents,
        }))
    }

    /// Reads the folder's catalogue and changes nothing, not even what redb repairs at opening; `None` when there is none.
    pub(crate) fn read(
        files: &SharedFileSystem,
        folder: &Path,
    ) -> Result<Option<Contents>, CatalogueError> {
        let path = folder.join(FILE);
        if !files.exists(&path)? {
            return Ok(None);
        }
        let file = files.open(&path, Open::read())?;
        let length = file.len()?;
        if length > READ_BYTES_MAX {
            return Err(Malformed("larger than any catalogue").into());
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(0, &mut bytes)?;
        guarded(|| {
            let copy = InMemoryBackend::new();
            copy.set_len(length)?;
            copy.write(0, &bytes)?;
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(copy)
                .map_err(redb_error)?;
            let (_, contents) = read_all(&database)?;
            Ok(Some(contents))
        })
    }

    /// Makes the catalogue of a new store.
    pub(crate) fn create(
        files: SharedFileSystem,
        folder: PathBuf,
        contents: Contents,
    ) -> Result<Self, CatalogueError> {
        let mut catalogue = Self {
            files,
            folder,
            database: None,
            contents: contents.clone(),
        };
        catalogue.replace(contents)?;
        Ok(catalogue)
    }

    pub(crate) const fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Makes `contents` the truth. After an error the truth is the old or the new one; commit again, with either or with another.
    pub(crate) fn commit(&mut self, contents: Contents) -> Result<(), CatalogueError> {
        if let Some(database) = self.database.take() {
            change(&database, &self.contents, &contents)?;
            self.database = Some(database);
            self.contents = contents;
            return Ok(());
        }
        self.replace(contents)
    }

    /// Writes a whole new file and puts it in the old one's place.
    fn replace(&mut self, contents: Contents) -> Result<(), CatalogueError> {
        let new = self.folder.join(NEW_FILE);
        remove_if_there(&self.files, &new)?;
        let database = open_database(&self.files, &new, Open::create_new().unix_mode(0o600))?;
        let nothing = Contents::empty(contents.store_id, 0);
        change(&database, &nothing, &contents)?;
        self.files.rename(&new, &self.folder.join(FILE))?;
        self.files.sync_folder(&self.folder)?;
        self.database = Some(database);
        self.contents = contents;
        Ok(())
    }
}

/// Turns a panic of redb's, which trusts the structure of its files, into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, CatalogueError>) -> Result<T, CatalogueError> {
    // Nothing that a panic may have left half done is used afterwards.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    result.unwrap_or_else(|_| Err(Malformed("its structure is damaged").into()))
}

fn remove_if_there(files: &SharedFileSystem, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_database(
    files: &SharedFileSystem,
    path: &Path,
    how: Open,
) -> Result<Database, CatalogueError> {
    let file = files.open(path, how)?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(RedbBackend::new(file))
        .map_err(redb_error)
}

/// Writes the difference between `old` and `new` in one transaction.
fn change(database: &Database, old: &Contents, new: &Contents) -> Result<(), CatalogueError> {
    let mut transaction = database.begin_write().map_err(redb_error)?;
    transaction.set_quick_repair(true);
    {
        let mut store = transaction.open_table(STORE).map_err(redb_error)?;
        let fields: [(&str, &[u8]); 4] = [
            ("version", &VERSION.to_le_bytes()),
            ("store_id", &new.store_id.0.to_le_bytes()),
            ("shards", &(new.sealed.len() as u64).to_le_bytes()),
            ("checksum", &checksum(new, VERSION).to_le_bytes()),
        ];
        for (name, value) in fields {
            store.insert(name, value).map_err(redb_error)?;
        }
        if let Some(split_by) = new.split_by {
            let value = split_by.to_le_bytes();
            store
                .insert(SPLIT_BY, value.as_slice())
                .map_err(redb_error)?;
        }
        let mut shards = transaction.open_table(SHARDS).map_err(redb_error)?;
        for (shard, position) in (0u16..).zip(&new.sealed) {
            shards.insert(shard, *position).map_err(redb_error)?;
        }
        let mut partitions = transaction.open_table(PARTITIONS).map_err(redb_error)?;
        for (name, entry) in &new.partitions {
            if old.partitions.get(name) != Some(entry) {
                let value = entry.encode();
                partitions
                    .insert(name.as_str(), value.as_slice())
                    .map_err(redb_error)?;
            }
        }
        for name in old.partitions.keys() {
            if !new.partitions.contains_key(name) {
                partitions.remove(name.as_str()).map_err(redb_error)?;
            }
        }
        let mut numbers = transaction.open_table(NUMBERS).map_err(redb_error)?;
        for (key, known) in &new.numbers {
            if old.numbers.get(key) != Some(known) {
                let (key, value) = (encode_epoch(key), encode_known(known));
                numbers
                    .insert(key.as_slice(), value.as_slice())
                    .map_err(redb_error)?;
            }
        }
        for key in old.numbers.keys() {
            if !new.numbers.contains_key(key) {
                numbers
                    .remove(encode_epoch(key).as_slice())
                    .map_err(redb_error)?;
            }
        }
        let mut deletes = transaction.open_table(DELETES).map_err(redb_error)?;
        for (position, delete) in &new.deletes {
            if old.deletes.get(position) != Some(delete) {
                deletes
                    .insert(*position, delete.encode().as_slice())
                    .map_err(redb_error)?;
            }
        }
        for position in old.deletes.keys() {
            if !new.deletes.contains_key(position) {
                deletes.remove(*position).map_err(redb_error)?;
            }
        }
        let mut imports = transaction.open_table(IMPORTS).map_err(redb_error)?;
        for (source, import) in &new.imports {
            if old.imports.get(source) != Some(import) {
                imports
                    .insert(source.as_str(), encode_import(import).as_slice())
                    .map_err(redb_error)?;
            }
        }
        for source in old.imports.keys() {
            if !new.imports.contains_key(source) {
                imports.remove(source.as_str()).map_err(redb_error)?;
            }
        }
    }
    transaction.commit().map_err(redb_error)
}

/// Returns version and contents.
fn read_all(database: &Database) -> Result<(u32, Contents), CatalogueError> {
    let transaction = database.begin_read().map_err(redb_error)?;
    let store = transaction.open_table(STORE).map_err(redb_error)?;
    let field = |name: &'static str| -> Result<Vec<u8>, CatalogueError> {
        let value = store.get(name).map_err(redb_error)?;
        Ok(value.ok_or(Malformed(name))?.value().to_vec())
    };
    let version = Reader::new(&field("version")?).u32("version")?;
    if !(VERSION_OLDEST..=VERSION).contains(&version) {
        return Err(Malformed("written by a newer version of this program").into());
    }
    let store_id = StoreId(Reader::new(&field("store_id")?).u128("store id")?);
    let count = Reader::new(&field("shards")?).u64("shard count")?;
    let shards = transaction.open_table(SHARDS).map_err(redb_error)?;
    let mut sealed = Vec::new();
    for entry in shards.iter().map_err(redb_error)? {
        let (shard, position) = entry.map_err(redb_error)?;
        if usize::from(shard.value()) != sealed.len() {
            return Err(Malformed("a shard is missing").into());
        }
        sealed.push(position.value());
    }
    if sealed.is_empty() || sealed.len() as u64 != count {
        return Err(Malformed("a shard is missing").into());
    }
    let mut partitions = BTreeMap::new();
    let table = transaction.open_table(PARTITIONS).map_err(redb_error)?;
    for entry in table.iter().map_err(redb_error)? {
        let (name, value) = entry.map_err(redb_error)?;
        let entry = if version == 1 {
            let entry = PartitionEntry::decode_v1(value.value(), 0)?;
            let sealed = sealed.get(usize::from(entry.shard)).copied();
            let until = sealed.ok_or(Malformed("a partition of no shard"))?;
            PartitionEntry { until, ..entry }
        } else {
            PartitionEntry::decode(value.value())?
        };
        partitions.insert(name.value().to_owned(), entry);
    }
    let mut numbers = BTreeMap::new();
    let table = transaction.open_table(NUMBERS).map_err(redb_error)?;
    for entry in table.iter().map_err(redb_error)? {
        let (key, value) = entry.map_err(redb_error)?;
        numbers.insert(decode_epoch(key.value())?, decode_known(value.value())?);
    }
    let mut deletes = BTreeMap::new();
    if version > 1 {
        let table = transaction.open_table(DELETES).map_err(redb_error)?;
        for entry in table.iter().map_err(redb_error)? {
            let (position, value) = entry.map_err(redb_error)?;
            let delete = Delete::decode(value.value())?;
            deletes.insert(position.value(), Arc::new(delete));
        }
    }
    let mut imports = BTreeMap::new();
    match transaction.open_table(IMPORTS) {
        Ok(table) => {
            for entry in table.iter().map_err(redb_error)? {
                let (source, value) = entry.map_err(redb_error)?;
                imports.insert(source.value().to_owned(), decode_import(value.value())?);
            }
        }
        // Made with the first change since there are imports.
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(redb_error(error)),
    }
    let split_by = store.get(SPLIT_BY).map_err(redb_error)?;
    let split_by = split_by.map(|value| Reader::new(value.value()).u64(SPLIT_BY));
    let contents = Contents {
        store_id,
        sealed,
        partitions,
        numbers,
        deletes,
        imports,
        split_by: split_by.transpose()?,
    };
    if Reader::new(&field("checksum")?).u32("checksum")? != checksum(&contents, version) {
        return Err(Malformed("its contents do not match their checksum").into());
    }
    Ok((version, contents))
}

#[cfg(test)]
pub(crate) use self::tests::examples;

/// Decodes what the catalogue says of one thing, for fuzzing.
pub(crate) fn decode_any(which: u8, bytes: &[u8]) {
    match which % 5 {
        0 => drop(PartitionEntry::decode(bytes)),
        1 => drop(PartitionEntry::decode_v1(bytes, 0)),
        2 => drop(decode_epoch(bytes)),
        3 => drop(decode_known(bytes)),
        _ => drop(Delete::decode(bytes)),
    }
}

/// Returns the checksum over everything that a catalogue of this version says, in order of its tables and keys.
fn checksum(contents: &Contents, version: u32) -> u32 {
    let mut sum = crc32c::crc32c(&contents.store_id.0.to_le_bytes());
    let mut add = |bytes: &[u8]| sum = crc32c::crc32c_append(sum, bytes);
    for position in &contents.sealed {
        add(&position.to_le_bytes());
    }
    for (name, entry) in &contents.partitions {
        add(name.as_bytes());
        if version == 1 {
            add(&entry.encode_v1());
        } else {
            add(&entry.encode());
        }
    }
    for (key, known) in &contents.numbers {
        add(&encode_epoch(key));
        add(&encode_known(known));
    }
    for (position, delete) in &contents.deletes {
        add(&position.to_le_bytes());
        add(&delete.encode());
    }
    for (source, import) in &contents.imports {
        add(source.as_bytes());
        add(&encode_import(import));
    }
    sum
}
