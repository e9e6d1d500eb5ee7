//! Levels and formats by the names that Prometheus' flags have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::Level;

/// The least severe level that is logged (`--log.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// The process recovered.
    Warn,
    /// Life cycle.
    #[default]
    Info,
    /// Everything.
    Debug,
}

/// How lines look (`--log.format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `time=... level=INFO msg="..." key=value`.
    #[default]
    Logfmt,
    /// An object per line.
    Json,
}

/// Why a level's or format's name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log {what} {name:?}: use one of {accepted}")]
pub struct ParseLogError {
    what: &'static str,
    name: String,
    accepted: &'static str,
}

impl LogLevel {
    /// Returns the level's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    pub(super) const fn to_tracing(self) -> Level {
        match self {
            Self::Error => Level::ERROR,
            Self::Warn => Level::WARN,
            Self::Info => Level::INFO,
            Self::Debug => Level::DEBUG,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = ParseLogError;

    fn from_str(name: &str) -> Result<Self, ParseLogError> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.as_str() == name)
            .ok_or_else(|| ParseLogError {
                what: "level",
                name: name.to_owned(),
                accepted: "debug, info, warn, error",
            })
    }
}

impl LogFormat {
    /// Returns the format's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logfmt => "logfmt",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogFormat {
    type Err = ParseLogError;

    fn from_str(name: &str) -> Result<Self, ParseLogError> {
        [Self::Logfmt, Self::Json]
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| ParseLogError {
                what: "format",
                name: name.to_owned(),
                accepted: "logfmt, json",
            })
    }
}

/// A level that changes while events come.
#[derive(Clone, Debug)]
pub(super) struct SharedLevel(Arc<AtomicU8>);

impl SharedLevel {
    pub(super) fn new(level: LogLevel) -> Self {
        Self(Arc::new(AtomicU8::new(level as u8)))
    }

    pub(super) fn set(&self, level: LogLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> LogLevel {
        let number = self.0.load(Ordering::Relaxed);
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info]
            .into_iter()
            .find(|level| *level as u8 == number)
            .unwrap_or(LogLevel::Debug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        for level in [
            LogLevel::Debug,
            LogLevel::Info,
            LogLevel::Warn,
            LogLevel::Error,
        ] {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(SharedLevel::new(level).get(), level);
        }
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        let error = "loud".parse::<LogLevel>().expect_err("no such level");
        assert_eq!(
            error.to_string(),
            "unknown log level \"loud\": use one of debug, info, warn, error"
        );
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
