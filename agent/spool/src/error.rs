//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use rows::BatchNumber;

use crate::record::BODY_BYTES_MAX;

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] files::FolderLockError),
    /// A setting makes no sense.
    #[error(
        "spool setting {name} is {value}; it must be {must}; change it in the agent's configuration"
    )]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it must be.
        must: &'static str,
    },
    /// The folder cannot be read or written.
    #[error("cannot {attempt} spool file {}; check that the spool folder is readable and writable", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// Why a record was not put into the spool. The spool stays usable after each of them.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The caller begins a segment (definitions, then a batch of key rows) and appends again.
    #[error(
        "the spool is about to begin a segment, which must start with definitions and key rows"
    )]
    NeedsSegmentStart,
    /// The disk is full although the oldest segment was dropped: the caller counts the batch and goes on collecting.
    #[error(
        "the disk is full and dropping the spool's oldest segment was not enough; free space on the volume of {}",
        folder.display()
    )]
    Full {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// The disk failed: the caller counts the batch and goes on collecting. The next segment is a new file.
    #[error("cannot write spool segment {}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The record is too large for any segment.
    #[error(
        "a spool record of {bytes} bytes exceeds the limit of {BODY_BYTES_MAX} or half of the spool; make smaller batches or a larger spool"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The number is not above those before it.
    #[error("batch {number} comes after batch {last} was spooled; numbers rise within an epoch")]
    NumberNotRising {
        /// The number given.
        number: BatchNumber,
        /// The last one taken.
        last: BatchNumber,
    },
}

/// Why a destination could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Too many of them; each holds back the removal of segments.
    #[error(
        "the spool has {limit} destinations and cannot add {name:?}; remove an aggregator from the agent's configuration"
    )]
    TooMany {
        /// The new one.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The name is empty or too long to be part of a file name.
    #[error("destination name {name:?} must have 1 to {limit} bytes")]
    Name {
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
}

/// Why a record could not be read. Damaged bytes are no error: they are passed over and counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot read spool segment {}", path.display())]
pub struct ReadError {
    /// The segment.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub source: io::Error,
}
