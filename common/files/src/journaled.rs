//! A small store for what changes many times per second: a journal in front of a [`KeyValue`].
//!
//! A write of redb costs pages, checksums and two syncs, however little it changes. Here a write is one frame of a journal and one sync;
//! what has changed is kept in memory too, the newest of each key, and goes into the database as one transaction when the journal is
//! full. What is set and removed in between never gets there.
//!
//! The transaction also says that another generation of the journal begins: with it, and not before, the frames are void. So a death at
//! any moment finds the database before it and frames that lead up to it, or the database behind it and none. After a write or a sync of
//! the journal that failed nothing is appended any more: the next write goes into the database, with all that was not there yet.

mod frame;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::{Journal, journal_of};
use crate::key_value::Pair;
use crate::{KeyValue, KeyValueError, SharedFileSystem};

/// Where the database says which generation of the journal counts.
const TABLE: &str = "journal";
const GENERATION: &[u8] = b"generation";

/// A small transactional store like [`KeyValue`], for writes that are many and small. All that it holds is read once, when it is opened;
/// its owner keeps it in memory.
///
/// A write is durable when it returns. Whoever opens it owns the folder (see [`FolderLock`](crate::FolderLock)). What the journal holds
/// (1 MiB at most), and what came while neither it nor the database could be written, is in memory too.
#[derive(Debug)]
pub struct Journaled {
    store: KeyValue,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    generation: u64,
    /// Whether the journal has all of `changes` that was acknowledged, and nothing else.
    is_whole: bool,
    /// What the database does not have yet.
    changes: Changes,
}

/// By table and key: what it becomes, `None` when it goes.
type Changes = BTreeMap<(String, Vec<u8>), Option<Vec<u8>>>;

/// Why the store did not do what it was asked. What was written is kept, and becomes durable with the next write that succeeds.
#[derive(Debug, thiserror::Error)]
pub enum JournaledError {
    /// The database could not be read or written.
    #[error(transparent)]
    Database(#[from] KeyValueError),
    /// The journal could not be opened.
    #[error("cannot open the journal {}; check the disk's space and health", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The journal has a frame that this build does not know.
    #[error("the journal {} is of a later version; start the build that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
}

impl Journaled {
    /// Opens the store at `path`, creating it (durably) when missing; its journal lies beside it. A database that was a [`KeyValue`]'s goes
    /// on as it is. What the journal has goes into the database.
    pub fn open(files: &SharedFileSystem, path: &Path) -> Result<Self, JournaledError> {
        let store = KeyValue::open(SharedFileSystem::clone(files), path)?;
        let path = journal_of(path);
        let failed = |source| JournaledError::Journal {
            path: path.clone(),
            source,
        };
        let known = store.get(TABLE, GENERATION)?;
        let known = known.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let generation = known.unwrap_or_default();
        let mut changes = Changes::new();
        let mut is_read = true;
        let mut journal = Journal::open(&**files, &path, generation, |body| {
            is_read &= frame::read(body, |table, key, value| {
                changes.insert((table.to_owned(), key), value);
            })
            .is_some();
        })
        .map_err(failed)?;
        if !is_read {
            return Err(JournaledError::Version { path });
        }
        if known.is_none() {
            // The journal of a database that was here before.
            journal.clear().map_err(failed)?;
            changes.clear();
        }
        let mut state = State {
            journal,
            generation,
            is_whole: true,
            changes,
        };
        if known.is_none() || !state.changes.is_empty() {
            state.fold(&store)?;
        }
        Ok(Self {
            store,
            state: Mutex::new(state),
        })
    }

    /// Returns a page of a table, as [`KeyValue::scan`] does.
    pub fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, JournaledError> {
        let mut state = self.state();
        if !state.changes.is_empty() {
            state.fold(&self.store)?;
        }
        Ok(self.store.scan(table, prefix, after, limit)?)
    }

    /// Makes changes as one transaction, each of a table, a key, and the value that it gets (`None`: it is removed); with them go those of
    /// earlier writes that failed. Durable when it returns.
    pub fn write<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), JournaledError> {
        let mut state = self.state();
        let mut body = frame::begin();
        for (table, key, value) in changes {
            frame::put(&mut body, table, &key, value.as_deref());
            state.changes.insert((table.to_owned(), key), value);
        }
        if state.is_whole && (frame::is_empty(&body) || state.append(&body)) {
            return Ok(());
        }
        state.fold(&self.store)?;
        Ok(())
    }

    /// Writes a store with what this one holds at this moment to `path`, as [`KeyValue::copy_to`] does; it begins with an empty journal.
    pub fn copy_to(&self, path: &Path) -> Result<(), JournaledError> {
        let mut state = self.state();
        if !state.changes.is_empty() {
            state.fold(&self.store)?;
        }
        Ok(self.store.copy_to(path)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics between a change and what follows from it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes a frame; returns whether it is durable.
    fn append(&mut self, body: &[u8]) -> bool {
        self.is_whole = self.journal.has_room_for(body.len()) && self.journal.append(body).is_ok();
        self.is_whole
    }

    /// Brings into the database what it does not have, and begins the journal anew.
    fn fold(&mut self, store: &KeyValue) -> Result<(), KeyValueError> {
        self.is_whole = false;
        let generation = self.generation + 1;
        store.write(|batch| {
            for ((table, key), value) in &self.changes {
                match value {
                    Some(value) => batch.put(table, key, value)?,
                    None => drop(batch.delete(table, key)?),
                }
            }
            batch.put(TABLE, GENERATION, &generation.to_le_bytes())
        })?;
        self.changes.clear();
        self.generation = generation;
        self.journal.begin(generation);
        self.is_whole = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
