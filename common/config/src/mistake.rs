//! What is wrong with a configuration, and where it stands.

use std::fmt;
use std::path::PathBuf;

use crate::Position;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line: the flag as it is written.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A place in a file.
    File {
        /// The file.
        path: PathBuf,
        /// The place.
        at: Position,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File { path, at } => write!(f, "{}:{at}", path.display()),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What, and what would be accepted.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

/// All that is wrong, in the order found; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Returns `value` when nothing was wrong, all mistakes otherwise.
    pub fn none_in<T>(mistakes: Vec<Mistake>, value: T) -> Result<T, Self> {
        if mistakes.is_empty() {
            Ok(value)
        } else {
            Err(Self(mistakes))
        }
    }
}

fn list(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}
