//! The catalogue: which partition files exist, how far each shard is sealed, which numbers are durable. Changed by one transaction at a
//! time, and what a transaction says is what is true.
//!
//! Its contents are small and kept in memory too. After a failed transaction nothing is known of the file's unsynced pages, so it is not
//! written again: the next commit makes a whole new file beside it and renames it over the old one. Until that has happened the truth is
//! the old contents *or* the failed transaction's, so callers keep whatever either names.
//!
//! redb checks its pages only when it repairs, so a checksum over all contents stands beside them: what it does not match is not believed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use files::{Open, RedbBackend, SharedFileSystem};
use model::{TimeRange, TimestampMs};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use rows::{Epoch, StoreId};

use crate::bytes::{Malformed, Reader, put_text};
use crate::cohorts::{EpochKey, KnownNumbers};
use crate::record::{put_number_set, read_number_set};

const FILE: &str = "catalogue.redb";
const NEW_FILE: &str = "catalogue.redb.new";
const VERSION: u32 = 1;
/// The catalogue is read once and kept in memory; redb needs no cache for it.
const CACHE_BYTES: usize = 256 * 1024;

const STORE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("store");
const SHARDS: TableDefinition<'_, u16, u64> = TableDefinition::new("shards");
const PARTITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("partitions");
const NUMBERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("numbers");

/// Everything the catalogue says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) store_id: StoreId,
    /// By shard, the log position up to which its rows are in partitions.
    pub(crate) sealed: Vec<u64>,
    /// By file name.
    pub(crate) partitions: BTreeMap<String, PartitionEntry>,
    pub(crate) numbers: BTreeMap<EpochKey, KnownNumbers>,
}

/// A partition file, as the catalogue names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionEntry {
    pub(crate) shard: u16,
    /// The times of its samples.
    pub(crate) times: TimeRange,
    pub(crate) bytes: u64,
    pub(crate) samples: u64,
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
            let contents = read_all(&database)?;
            Ok((database, contents))
        })?;
        Ok(Some(Self {
            files,
            folder,
            database: Some(database),
            contents,
        }))
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
        let nothing = Contents {
            store_id: contents.store_id,
            sealed: Vec::new(),
            partitions: BTreeMap::new(),
            numbers: BTreeMap::new(),
        };
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
            ("checksum", &checksum(new).to_le_bytes()),
        ];
        for (name, value) in fields {
            store.insert(name, value).map_err(redb_error)?;
        }
        let mut shards = transaction.open_table(SHARDS).map_err(redb_error)?;
        for (shard, position) in (0u16..).zip(&new.sealed) {
            shards.insert(shard, *position).map_err(redb_error)?;
        }
        let mut partitions = transaction.open_table(PARTITIONS).map_err(redb_error)?;
        for (name, entry) in &new.partitions {
            if old.partitions.get(name) != Some(entry) {
                let value = encode_entry(entry);
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
    }
    transaction.commit().map_err(redb_error)
}

fn read_all(database: &Database) -> Result<Contents, CatalogueError> {
    let transaction = database.begin_read().map_err(redb_error)?;
    let store = transaction.open_table(STORE).map_err(redb_error)?;
    let field = |name: &'static str| -> Result<Vec<u8>, CatalogueError> {
        let value = store.get(name).map_err(redb_error)?;
        Ok(value.ok_or(Malformed(name))?.value().to_vec())
    };
    let version = field("version")?;
    if Reader::new(&version).u32("version")? != VERSION {
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
        partitions.insert(name.value().to_owned(), decode_entry(value.value())?);
    }
    let mut numbers = BTreeMap::new();
    let table = transaction.open_table(NUMBERS).map_err(redb_error)?;
    for entry in table.iter().map_err(redb_error)? {
        let (key, value) = entry.map_err(redb_error)?;
        numbers.insert(decode_epoch(key.value())?, decode_known(value.value())?);
    }
    let contents = Contents {
        store_id,
        sealed,
        partitions,
        numbers,
    };
    if Reader::new(&field("checksum")?).u32("checksum")? != checksum(&contents) {
        return Err(Malformed("its contents do not match their checksum").into());
    }
    Ok(contents)
}

/// Returns the checksum over everything that the catalogue says, in order of its tables and keys.
fn checksum(contents: &Contents) -> u32 {
    let mut sum = crc32c::crc32c(&contents.store_id.0.to_le_bytes());
    let mut add = |bytes: &[u8]| sum = crc32c::crc32c_append(sum, bytes);
    for position in &contents.sealed {
        add(&position.to_le_bytes());
    }
    for (name, entry) in &contents.partitions {
        add(name.as_bytes());
        add(&encode_entry(entry));
    }
    for (key, known) in &contents.numbers {
        add(&encode_epoch(key));
        add(&encode_known(known));
    }
    sum
}

fn encode_entry(entry: &PartitionEntry) -> Vec<u8> {
    let mut out = entry.shard.to_le_bytes().to_vec();
    out.extend_from_slice(&entry.times.start.0.to_le_bytes());
    out.extend_from_slice(&entry.times.end.0.to_le_bytes());
    out.extend_from_slice(&entry.bytes.to_le_bytes());
    out.extend_from_slice(&entry.samples.to_le_bytes());
    out
}

fn decode_entry(bytes: &[u8]) -> Result<PartitionEntry, Malformed> {
    let mut from = Reader::new(bytes);
    Ok(PartitionEntry {
        shard: from.u16("shard")?,
        times: TimeRange::new(
            TimestampMs(from.i64("oldest sample")?),
            TimestampMs(from.i64("newest sample")?),
        ),
        bytes: from.u64("bytes")?,
        samples: from.u64("samples")?,
    })
}

fn encode_epoch((agent, epoch): &EpochKey) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, agent.as_str());
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out
}

fn decode_epoch(bytes: &[u8]) -> Result<EpochKey, Malformed> {
    let mut from = Reader::new(bytes);
    let agent = from.text("agent")?.parse();
    Ok((
        agent.map_err(|_| Malformed("agent id"))?,
        Epoch(from.u64("epoch")?),
    ))
}

fn encode_known(known: &KnownNumbers) -> Vec<u8> {
    let mut out = known.used.0.to_le_bytes().to_vec();
    put_number_set(&mut out, &known.numbers);
    out
}

fn decode_known(bytes: &[u8]) -> Result<KnownNumbers, Malformed> {
    let mut from = Reader::new(bytes);
    Ok(KnownNumbers {
        used: TimestampMs(from.i64("last use")?),
        numbers: read_number_set(&mut from)?,
    })
}
