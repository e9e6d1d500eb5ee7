//! Logs: `tracing`'s events as lines on stderr.
//!
//! One event is one line, whatever is in it: values are quoted and escaped, so foreign text can neither forge a line nor reach a
//! terminal's control codes, and each value is at most [`line::VALUE_BYTES_MAX`] bytes long. Libraries that chatter at lower
//! levels ([`FOREIGN`]) are heard from warn up only.

mod layer;
mod level;
mod line;
mod time;

use std::io::{IsTerminal, stderr};

use clock::SharedClock;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use layer::LogLayer;
use level::SharedLevel;

pub use level::{LogFormat, LogLevel, ParseLogError};
pub use time::rfc3339;

/// Crates of others whose debug and info events are about themselves.
const FOREIGN: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "rustls",
    "tokio",
    "tokio_rustls",
];

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up logging: this process logs already")]
pub struct LogError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Changes how the process logs while it runs. Clones are one.
#[derive(Clone, Debug)]
pub struct LogHandle {
    level: SharedLevel,
}

impl LogHandle {
    /// Returns the present level.
    pub fn level(&self) -> LogLevel {
        self.level.get()
    }

    /// Changes the level, from the next event on.
    pub fn set_level(&self, level: LogLevel) {
        self.level.set(level);
        // Every event remembers whether it was wanted.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Sends this process' events to stderr from now on; coloured only if that is a terminal and the format logfmt.
pub fn init_logging(config: LogConfig, clock: SharedClock) -> Result<LogHandle, LogError> {
    let level = SharedLevel::new(config.level);
    let style = line::Style {
        format: config.format,
        colours: config.format == LogFormat::Logfmt && stderr().is_terminal(),
    };
    let layer = LogLayer::new(level.clone(), style, clock, Box::new(stderr()));
    tracing::subscriber::set_global_default(Registry::default().with(layer))?;
    Ok(LogHandle { level })
}

#[cfg(test)]
mod tests;
