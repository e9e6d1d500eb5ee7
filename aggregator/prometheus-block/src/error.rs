//! What can be wrong with a block.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a block cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The operating system refused something.
    #[error("cannot {attempted} {}", path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// It is no block, a block of another version, or damaged where nothing can be read without it.
    #[error("cannot use {}: {what}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl BlockError {
    pub(crate) fn io(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            attempted,
            path,
            source,
        }
    }

    pub(crate) fn unreadable(path: &Path, what: impl Into<String>) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// A place of a block that cannot be read; what lay there is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong, and what is left out because of it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, what } = self;
        write!(f, "{} at byte {offset}: {what}", path.display())
    }
}
