//! Groups on disk: FORMAT.md draws the file.
//!
//! Each change of a group is appended before the push is answered, so that the death of the process costs nothing that was answered;
//! a sync follows within the interval that the owner keeps, so that a power cut costs no more than that. When most of the file is
//! history, it is replaced as a whole by what stands. After a write or a sync that failed, the file is not touched any more until it
//! has been replaced: what is in doubt is never built on.

use std::io;
use std::path::{Path, PathBuf};

use files::{
    FileSystem, Open, SharedFile, SharedFileSystem, WriteAtomicallyError, write_atomically,
};

use crate::group::{Group, GroupId};
use crate::store::Change;

mod record;

pub(crate) use record::{Restored, RestoredFamily};

const MAGIC: &[u8; 8] = b"PRMPUSH\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
/// Length and checksum.
const FRAME_BYTES: usize = 8;
/// A file is replaced when its history is larger than what stands, and than this.
const HISTORY_BYTES_MIN: u64 = 1 << 20;

/// Why a file of groups cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is something else.
    #[error("{} is no file of this agent's groups (a Pushgateway's own file cannot be read); move it away, or give --persistence.file another name", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("{} is of version {version} and this agent knows {VERSION}; start the agent that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// It cannot be read.
    #[error("cannot read {}; check --persistence.file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What was found in the file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) groups: Vec<Restored>,
    /// Bytes at the end that are no whole record: a write that was cut.
    pub(crate) cut_bytes: usize,
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    files: SharedFileSystem,
    path: PathBuf,
    /// `None`: the file is in doubt and must be replaced first.
    open: Option<OpenJournal>,
    record: Vec<u8>,
    appended: Vec<u8>,
}

#[derive(Debug)]
struct OpenJournal {
    file: SharedFile,
    end: u64,
    /// The length when the file was replaced.
    standing: u64,
    is_synced: bool,
}

impl Journal {
    /// Reads what the file holds; it must be [replaced](Self::replace) before anything is appended.
    pub(crate) fn open(
        files: SharedFileSystem,
        path: &Path,
    ) -> Result<(Self, Found), JournalError> {
        let found = match read_all(&*files, path) {
            Ok(bytes) => read(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            Err(source) => {
                return Err(JournalError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let journal = Self {
            files,
            path: path.to_owned(),
            open: None,
            record: Vec::new(),
            appended: Vec::new(),
        };
        Ok((journal, found))
    }

    /// Appends changes; `group` says how a group stands, `None` when it is gone.
    pub(crate) fn append<'g>(
        &mut self,
        changes: &[(GroupId, Change)],
        group: impl Fn(GroupId) -> Option<&'g Group>,
    ) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        self.appended.clear();
        for (id, change) in changes {
            self.record.clear();
            match (change, group(*id)) {
                (Change::Shape, Some(group)) => record::put_shape(&mut self.record, *id, group)?,
                (Change::Values, Some(group)) => record::put_values(&mut self.record, *id, group)?,
                (Change::End, _) | (_, None) => record::put_end(&mut self.record, *id),
            }
            put_frame(&mut self.appended, &self.record);
        }
        let written = open.file.write_at(open.end, &self.appended);
        match written {
            Ok(()) => {
                open.end += self.appended.len() as u64;
                open.is_synced &= self.appended.is_empty();
            }
            Err(_) => self.open = None,
        }
        written
    }

    /// Returns what to sync, if there is something; the outcome is to be [told](Self::synced).
    pub(crate) fn unsynced(&mut self) -> Option<SharedFile> {
        let open = self.open.as_mut()?;
        // Before the sync: what is appended meanwhile needs another one.
        (!std::mem::replace(&mut open.is_synced, true)).then(|| SharedFile::clone(&open.file))
    }

    /// Takes note of a sync that failed: nothing is known of the file's end any more.
    pub(crate) fn sync_failed(&mut self) {
        self.open = None;
    }

    /// Returns whether the file is in doubt: changes are not kept until it has been replaced.
    pub(crate) const fn is_broken(&self) -> bool {
        self.open.is_none()
    }

    /// Returns whether the file should be replaced.
    pub(crate) fn is_due(&self) -> bool {
        self.open.as_ref().is_none_or(|open| {
            let history = open.end.saturating_sub(open.standing);
            history > open.standing.max(HISTORY_BYTES_MIN)
        })
    }

    /// Replaces the file by what stands, durably.
    pub(crate) fn replace<'g>(
        &mut self,
        groups: impl Iterator<Item = (GroupId, &'g Group)>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for (id, group) in groups {
            self.record.clear();
            record::put_shape(&mut self.record, id, group)?;
            put_frame(&mut bytes, &self.record);
        }
        self.open = None;
        write_atomically(&*self.files, &self.path, &bytes, Some(0o600)).map_err(
            |WriteAtomicallyError { source, step, .. }| {
                io::Error::new(source.kind(), format!("cannot {step}: {source}"))
            },
        )?;
        let end = bytes.len() as u64;
        self.open = Some(OpenJournal {
            file: self.files.open(&self.path, Open::write())?,
            end,
            standing: end,
            is_synced: true,
        });
        Ok(())
    }
}

fn read_all(files: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = files.open(path, Open::read())?;
    let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

fn read(path: &Path, bytes: &[u8]) -> Result<Found, JournalError> {
    // Of an empty file nothing can be lost.
    if bytes.is_empty() {
        return Ok(Found::default());
    }
    let path = path.to_owned();
    let (magic, rest) = match bytes.split_first_chunk() {
        Some((magic, rest)) if magic == MAGIC => (magic, rest),
        _ => return Err(JournalError::Foreign { path }),
    };
    let Some((version, mut rest)) = rest.split_first_chunk() else {
        return Err(JournalError::Foreign { path });
    };
    debug_assert_eq!(magic.len() + version.len(), HEADER_BYTES);
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(JournalError::Version { path, version });
    }
    let mut replay = record::Replay::default();
    while let Some((record, after)) = take_frame(rest)
        && replay.take(record).is_some()
    {
        rest = after;
    }
    Ok(Found {
        groups: replay.groups(),
        cut_bytes: rest.len(),
    })
}

fn put_frame(out: &mut Vec<u8>, record: &[u8]) {
    // Groups are bounded far below 4 GiB; a longer record would be cut off when it is read.
    let length = u32::try_from(record.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), record);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(record);
}

/// Returns the next record, and what follows it; `None` where no whole one is.
fn take_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (frame, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let (length, checksum) = frame.split_first_chunk()?;
    let checksum = u32::from_le_bytes(*checksum.first_chunk()?);
    let record_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(record_bytes)?;
    let actual = crc32c::crc32c_append(crc32c::crc32c(length), record);
    (actual == checksum).then_some((record, rest))
}
