//! A small transactional store: a few thousand keys in named tables, in one redb file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    TableHandle, WriteTransaction,
};

use crate::{FileSystem, Open, SharedFileSystem, open_database};

/// What redb may cache: the store is small and rarely asked.
const CACHE_BYTES: usize = 1 << 20;

/// A small transactional store for identities, join tokens, certificates and the like; readable by its owner only (mode 0600).
///
/// A write is durable when it returns. One operation runs at a time and callers wait for each other: it is for things that happen a few
/// times per second at most. After an I/O error (a full disk, say) the database is closed, and the next operation opens it again: the
/// store heals by itself once the disk does. Whoever opens it owns the folder (see [`FolderLock`](crate::FolderLock)).
#[derive(Debug)]
pub struct KeyValue {
    files: SharedFileSystem,
    path: PathBuf,
    /// `None` after a failure.
    database: Mutex<Option<Database>>,
}

/// Why the store did not do what it was asked; nothing of it has happened. Trying again later can succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} in {}; check the disk's space and health", path.display())]
pub struct KeyValueError {
    /// The file of the store.
    pub path: PathBuf,
    /// What was attempted.
    pub attempt: &'static str,
    /// What went wrong.
    #[source]
    pub source: Box<redb::Error>,
}

/// A write transaction: sees its own changes; all or none of them happen.
pub struct Batch<'a> {
    store: &'a KeyValue,
    transaction: WriteTransaction,
    /// Set once redb failed, so that the database is opened anew.
    failed: bool,
}

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

impl KeyValue {
    /// Opens the store at `path`, creating it (durably) when missing.
    pub fn open(files: SharedFileSystem, path: &Path) -> Result<Self, KeyValueError> {
        let store = Self {
            files,
            path: path.to_owned(),
            database: Mutex::new(None),
        };
        let database = store.open_database()?;
        *store.database() = Some(database);
        Ok(store)
    }

    /// Returns the value of `key`.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, KeyValueError> {
        self.read("get a key", table, |table| {
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Returns the first `limit` pairs, in the order of their keys, whose key begins with `prefix` and is greater than `after`: the
    /// next page starts after the last key of this one.
    pub fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KeyValueError> {
        self.read("scan a table", table, |table| {
            let start = after.unwrap_or(prefix).max(prefix);
            let mut pairs = Vec::new();
            for pair in table.range(start..)? {
                let (key, value) = pair?;
                let key = key.value();
                if !key.starts_with(prefix) || pairs.len() == limit {
                    break;
                }
                if after != Some(key) {
                    pairs.push((key.to_vec(), value.value().to_vec()));
                }
            }
            Ok(pairs)
        })
    }

    /// Returns how many keys `table` has.
    pub fn count(&self, table: &str) -> Result<u64, KeyValueError> {
        self.read("count a table", table, |table| Ok(table.len()?))
    }

    /// Sets the value of `key`; durable when it returns.
    pub fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), KeyValueError> {
        self.write(|batch| batch.put(table, key, value))
    }

    /// Removes `key`; returns whether it was there. Durable when it returns.
    pub fn delete(&self, table: &str, key: &[u8]) -> Result<bool, KeyValueError> {
        self.write(|batch| batch.delete(table, key))
    }

    /// Writes a store with what this one holds at this moment to `path`, where nothing may be; durable when it returns. Other operations wait
    /// for it. What a copy that failed has left there is not removed.
    pub fn copy_to(&self, path: &Path) -> Result<(), KeyValueError> {
        let mut slot = self.database();
        let database = self.opened(&mut slot)?;
        copy(database, &*self.files, path).map_err(|error| {
            *slot = None;
            self.error("copy the database", error)
        })
    }

    /// Runs `work` as one transaction: when it returns `Ok`, all its changes become durable, otherwise none happens. `work` must not use
    /// this store other than through the [`Batch`], for it would wait for itself.
    pub fn write<T, E: From<KeyValueError>>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.database();
        let database = self.opened(&mut slot)?;
        let begun = database
            .begin_write()
            .map_err(|error| self.error("begin a transaction", error));
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                *slot = None;
                return Err(error.into());
            }
        };
        transaction.set_quick_repair(true);
        let mut batch = Batch {
            store: self,
            transaction,
            failed: false,
        };
        let result = work(&mut batch);
        let Batch {
            transaction,
            failed,
            ..
        } = batch;
        let value = match result {
            Ok(value) if !failed => value,
            Ok(_) => {
                drop(transaction);
                *slot = None;
                let error = io::Error::other("an operation of this transaction failed");
                return Err(self.error("commit a transaction", error).into());
            }
            Err(error) => {
                // Dropping the transaction undoes it.
                drop(transaction);
                if failed {
                    *slot = None;
                }
                return Err(error);
            }
        };
        match transaction.commit() {
            Ok(()) => Ok(value),
            Err(error) => {
                *slot = None;
                Err(self.error("commit a transaction", error).into())
            }
        }
    }

    fn read<T: Default>(
        &self,
        attempt: &'static str,
        table: &str,
        work: impl FnOnce(&redb::ReadOnlyTable<&[u8], &[u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, KeyValueError> {
        let mut slot = self.database();
        let database = self.opened(&mut slot)?;
        let result = read_table(database, table, work);
        result.map_err(|error| {
            *slot = None;
            self.error(attempt, error)
        })
    }

    fn opened<'a>(
        &self,
        slot: &'a mut MutexGuard<'_, Option<Database>>,
    ) -> Result<&'a Database, KeyValueError> {
        let database = match slot.take() {
            Some(database) => database,
            None => self.open_database()?,
        };
        Ok(slot.insert(database))
    }

    fn open_database(&self) -> Result<Database, KeyValueError> {
        open_database(&*self.files, &self.path, CACHE_BYTES)
            .map_err(|error| self.error("open the database", error))
    }

    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        // redb undoes an unfinished transaction when a panic drops it: what the lock guards is whole.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, attempt: &'static str, source: impl Into<redb::Error>) -> KeyValueError {
        KeyValueError {
            path: self.path.clone(),
            attempt,
            source: Box::new(source.into()),
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Batch<'_> {
    /// Returns the value of `key`.
    pub fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, KeyValueError> {
        self.run("get a key", table, |table| {
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), KeyValueError> {
        self.run("put a key", table, |table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    /// Removes `key`; returns whether it was there.
    pub fn delete(&mut self, table: &str, key: &[u8]) -> Result<bool, KeyValueError> {
        self.run("delete a key", table, |table| {
            Ok(table.remove(key)?.is_some())
        })
    }

    fn run<T>(
        &mut self,
        attempt: &'static str,
        table: &str,
        work: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, KeyValueError> {
        let opened = self.transaction.open_table(definition(table));
        let result = opened
            .map_err(redb::Error::from)
            .and_then(|mut table| work(&mut table));
        result.map_err(|error| {
            self.failed = true;
            self.store.error(attempt, error)
        })
    }
}

fn read_table<T: Default>(
    database: &Database,
    table: &str,
    work: impl FnOnce(&redb::ReadOnlyTable<&[u8], &[u8]>) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(table) => work(&table),
        Err(TableError::TableDoesNotExist(_)) => Ok(T::default()),
        Err(error) => Err(error.into()),
    }
}

fn copy(from: &Database, files: &dyn FileSystem, path: &Path) -> Result<(), redb::Error> {
    if files.exists(path)? {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    let to = open_database(files, path, CACHE_BYTES)?;
    let reading = from.begin_read()?;
    let mut writing = to.begin_write()?;
    writing.set_quick_repair(true);
    for table in reading.list_tables()? {
        let source = reading.open_table(definition(table.name()))?;
        let mut target = writing.open_table(definition(table.name()))?;
        for pair in source.iter()? {
            let (key, value) = pair?;
            target.insert(key.value(), value.value())?;
        }
    }
    writing.commit()?;
    // Closing writes once more.
    drop(to);
    files.open(path, Open::write())?.sync_data()?;
    Ok(())
}

fn definition(table: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(table)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{Disk, Fault, Operation, Simulated};

    const TABLE: &str = "tokens";

    fn store(disk: &Simulated) -> KeyValue {
        KeyValue::open(Arc::new(disk.clone()), Path::new("store.redb")).unwrap()
    }

    #[test]
    fn pages_of_a_scan_join_without_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = KeyValue::open(Arc::new(Disk), &path).unwrap();
        for key in ["a", "b1", "b2", "b3", "c"] {
            store.put(TABLE, key.as_bytes(), b"v").unwrap();
        }
        let keys = |after: Option<&[u8]>, limit| -> Vec<String> {
            let pairs = store.scan(TABLE, b"b", after, limit).unwrap();
            let keys = pairs.into_iter().map(|(key, _)| key);
            keys.map(|key| String::from_utf8(key).unwrap()).collect()
        };
        assert_eq!(keys(None, 2), ["b1", "b2"]);
        assert_eq!(keys(Some(b"b2"), 2), ["b3"]);
        assert!(keys(Some(b"b3"), 2).is_empty());
        assert_eq!(keys(Some(b"a"), 9), ["b1", "b2", "b3"]);
        assert_eq!(store.count(TABLE).unwrap(), 5);
        assert_eq!(store.get("no such table", b"a").unwrap(), None);
        drop(store);
        let store = KeyValue::open(Arc::new(Disk), &path).unwrap();
        assert_eq!(store.get(TABLE, b"c").unwrap().as_deref(), Some(&b"v"[..]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_refused_transaction_leaves_nothing_behind() {
        let store = store(&Simulated::new());
        store.put(TABLE, b"uses", &[1]).unwrap();
        let result: Result<(), KeyValueError> = store.write(|batch| {
            assert_eq!(batch.get(TABLE, b"uses")?, Some(vec![1]));
            batch.put(TABLE, b"uses", &[0])?;
            assert_eq!(batch.get(TABLE, b"uses")?, Some(vec![0]));
            Err(store.error("use a token", io::Error::other("refused")))
        });
        assert!(result.is_err());
        assert_eq!(store.get(TABLE, b"uses").unwrap(), Some(vec![1]));
        assert!(store.delete(TABLE, b"uses").unwrap());
        assert!(!store.delete(TABLE, b"uses").unwrap());
    }

    #[test]
    fn a_full_disk_is_survived_without_a_restart() {
        let disk = Simulated::new();
        let store = store(&disk);
        store.put(TABLE, b"before", b"1").unwrap();
        disk.set_capacity(Some(disk.used_bytes()));
        assert!(store.put(TABLE, b"during", &vec![7; 300_000]).is_err());
        disk.set_capacity(None);
        assert_eq!(store.get(TABLE, b"before").unwrap(), Some(b"1".to_vec()));
        assert_eq!(store.get(TABLE, b"during").unwrap(), None);
        store.put(TABLE, b"after", b"2").unwrap();

        disk.fail(
            Operation::SyncData,
            0..1,
            Fault::Error(io::ErrorKind::Other),
        );
        assert!(store.put(TABLE, b"unsynced", b"3").is_err());
        store.put(TABLE, b"later", b"4").unwrap();
        disk.crash(1);
        let store = self::store(&disk);
        assert_eq!(store.get(TABLE, b"later").unwrap(), Some(b"4".to_vec()));
    }

    #[test]
    fn a_copy_is_of_one_moment_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let store = KeyValue::open(Arc::new(Disk), &path("store.redb")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0u64.. {
                    let both: Result<(), KeyValueError> = store.write(|batch| {
                        batch.put(TABLE, b"a", &round.to_le_bytes())?;
                        batch.put("other", b"b", &round.to_le_bytes())
                    });
                    both.unwrap();
                    if done.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
            for copy in 0..5 {
                store.copy_to(&path(&copy.to_string())).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for copy in 0..5 {
            let copy = KeyValue::open(Arc::new(Disk), &path(&copy.to_string())).unwrap();
            let a = copy.get(TABLE, b"a").unwrap();
            assert_eq!(a, copy.get("other", b"b").unwrap());
        }
        let refused = store.copy_to(&path("0")).unwrap_err();
        assert!(refused.to_string().contains("cannot copy"), "{refused}");
        store.put(TABLE, b"c", b"1").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path("1")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Whatever the power cut hits: a copy that was made is there, whole, and the store has lost nothing.
        #[test]
        fn a_copy_that_was_made_survives_a_power_cut(cut in 0u64..60, seed: u64) {
            let disk = Simulated::new();
            let kept = store(&disk);
            for round in 0u8..20 {
                kept.put(TABLE, &[round], &vec![round; 1_000]).unwrap();
            }
            disk.cut_power_in(cut);
            let made = kept.copy_to(Path::new("copy.redb")).is_ok();
            drop(kept);
            disk.crash(seed);
            prop_assert_eq!(store(&disk).count(TABLE).unwrap(), 20);
            if made {
                let copy = KeyValue::open(Arc::new(disk.clone()), Path::new("copy.redb")).unwrap();
                let all = copy.scan(TABLE, &[], None, 100).unwrap();
                let expected = (0u8..20).map(|round| (vec![round], vec![round; 1_000]));
                prop_assert_eq!(all, expected.collect::<Vec<_>>());
            }
        }

        /// Whatever the power cut hits: what was acknowledged is there, and of the write under way all or nothing.
        #[test]
        fn an_acknowledged_write_survives_a_power_cut(cut in 0u64..120, seed: u64) {
            let disk = Simulated::new();
            let mut acknowledged = 0;
            disk.cut_power_in(cut);
            if let Ok(store) = KeyValue::open(Arc::new(disk.clone()), Path::new("store.redb")) {
                for round in 1u64..20 {
                    let written: Result<(), KeyValueError> = store.write(|batch| {
                        batch.put(TABLE, b"a", &round.to_le_bytes())?;
                        batch.put("other", b"b", &round.to_le_bytes())
                    });
                    if written.is_err() {
                        break;
                    }
                    acknowledged = round;
                }
            }
            disk.crash(seed);
            let store = store(&disk);
            let value = |table: &str, key: &[u8]| {
                store.get(table, key).unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
            };
            let found = value(TABLE, b"a");
            prop_assert_eq!(found, value("other", b"b"));
            prop_assert!(found == acknowledged || found == acknowledged + 1, "{} of {}", found, acknowledged);
        }
    }
}
