//! What goes wrong with a partition file.

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::Malformed;

/// Why a partition cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    /// Bytes are not what was written. What does not lie in this block is still readable.
    #[error(
        "partition {} is damaged in {place}: {what}; its other blocks stay readable, restore the file from a backup to repair it",
        file.display()
    )]
    Damaged {
        file: PathBuf,
        place: Place,
        what: String,
    },
    /// Bytes are not what was written, but what was written is known all the same.
    #[error(
        "partition {} is damaged in {place}: {what}; nothing is lost, for it could be made up from the rest of the file: stop the aggregator and write the file anew with `promontory tsdb repair`, before there is more damage",
        file.display()
    )]
    Mended {
        file: PathBuf,
        place: Place,
        what: String,
    },
    /// A later version of this program wrote it.
    #[error("partition {} has version {version}, this program reads up to {known}; use the newer program", file.display())]
    Version {
        file: PathBuf,
        version: u8,
        known: u8,
    },
    /// The file cannot be opened, read or written.
    #[error("cannot {step} partition {}; check the disk, space and permissions of its folder", file.display())]
    File {
        file: PathBuf,
        step: &'static str,
        #[source]
        source: Box<redb::Error>,
    },
    /// The caller broke the rules of writing: a fault of the program.
    #[error("cannot write partition {}: {what}", file.display())]
    Misuse { file: PathBuf, what: &'static str },
}

/// A place in a partition file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A block, by number.
    Block(u32),
    /// What the database has for a block: nothing, or another block, or a part of it.
    Entry(u32),
    /// The header.
    Header,
    /// The structure of the database around the blocks.
    Database,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(number) | Self::Entry(number) => write!(f, "block {number}"),
            Self::Header => f.write_str("its header"),
            Self::Database => f.write_str("its database structure"),
        }
    }
}

impl PartitionError {
    /// Returns whether stored bytes are damaged, as opposed to out of reach.
    pub(crate) const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Returns the block whose bytes are damaged, when it is one.
    pub(super) const fn block(&self) -> Option<u32> {
        match self {
            Self::Damaged {
                place: Place::Block(number) | Place::Entry(number),
                ..
            } => Some(*number),
            _ => None,
        }
    }

    /// Returns whether stored bytes are damaged, whether or not that costs anything.
    pub(crate) const fn is_of_the_file(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Mended { .. })
    }

    /// Returns the same error, if it is damage: that of a file lasts as long as the file.
    pub(crate) fn damage_again(&self) -> Option<Self> {
        let Self::Damaged { file, place, what } = self else {
            return None;
        };
        Some(Self::damaged(file, *place, what.clone()))
    }

    /// Returns the error for a block that is lost by damage to the database around it.
    pub(super) fn of_block(self, number: u32) -> Self {
        match self {
            Self::Damaged {
                file,
                place: Place::Database,
                what,
            } => Self::Damaged {
                file,
                place: Place::Entry(number),
                what,
            },
            other => other,
        }
    }

    pub(super) fn damaged(file: &Path, place: Place, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            place,
            what: what.into(),
        }
    }

    pub(super) fn malformed(file: &Path, block: u32, what: Malformed) -> Self {
        Self::damaged(file, Place::Block(block), what.0)
    }

    /// Returns the error of a step that the database or the file layer failed at.
    pub(super) fn file(file: &Path, step: &'static str, source: impl Into<redb::Error>) -> Self {
        match source.into() {
            redb::Error::Corrupted(what) => Self::damaged(file, Place::Database, what),
            // A file that is no longer one of redb's, or ends too early, is no fault of the disk's that may pass.
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::damaged(file, Place::Database, error.to_string())
            }
            // Every partition was written with the one table that it is read by.
            error @ (redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }) => {
                Self::damaged(file, Place::Database, error.to_string())
            }
            source => Self::File {
                file: file.to_owned(),
                step,
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn io(file: &Path, step: &'static str, source: io::Error) -> Self {
        Self::file(file, step, redb::Error::Io(source))
    }
}
