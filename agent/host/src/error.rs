//! Errors.

use std::io;
use std::path::{Path, PathBuf};

/// Why a [`HostConfig`](crate::HostConfig) is refused.
#[derive(Debug, thiserror::Error)]
pub enum HostConfigError {
    /// A pattern is not a regular expression.
    #[error("--{option}={pattern:?} is not a regular expression: {source}")]
    Pattern {
        /// The option.
        option: &'static str,
        /// Its value.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex::Error,
    },
    /// A word is none of those that an option takes.
    #[error("--{option}: {word:?} is not one of {accepted}")]
    Word {
        /// The option.
        option: &'static str,
        /// The word.
        word: String,
        /// Those it takes.
        accepted: String,
    },
    /// Both an include and an exclude pattern are set.
    #[error("--{include} and --{exclude} are both set; remove one of them")]
    Exclusive {
        /// The one option.
        include: &'static str,
        /// The other option.
        exclude: &'static str,
    },
}

/// Why a collector failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// The machine does not offer this.
    #[error("nothing to collect: {0}")]
    NoData(&'static str),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file holds something else than expected.
    #[error("cannot parse {}: expected {expected}", path.display())]
    Parse {
        path: PathBuf,
        expected: &'static str,
    },
    /// The kernel refused a call.
    #[error("cannot {call}")]
    System {
        call: &'static str,
        #[source]
        source: io::Error,
    },
}

impl CollectError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn parse(path: &Path, expected: &'static str) -> Self {
        Self::Parse {
            path: path.to_owned(),
            expected,
        }
    }

    /// Returns the error that there is no data, for `why`, when a file is missing.
    pub(crate) fn missing_as(self, why: &'static str) -> Self {
        if self.is_missing() {
            Self::NoData(why)
        } else {
            self
        }
    }

    /// Whether the file is simply not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
