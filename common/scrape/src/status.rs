//! What people see of targets.

use std::sync::Arc;
use std::time::Duration;

use model::{Labels, TimestampMs};

use crate::Target;

/// How a target does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// Returns the word that Prometheus' API has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// The target.
    pub target: Arc<Target>,
    /// How it does.
    pub health: Health,
    /// Why the last scrape failed; empty when it did not.
    pub error: String,
    /// When the last scrape began.
    pub last_scrape: Option<TimestampMs>,
    /// How long it took.
    pub took: Duration,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug)]
pub struct DroppedTarget {
    /// The labels that it had before relabelling.
    pub discovered: Labels,
}

/// The targets of a job.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// The job.
    pub job: Arc<str>,
    /// Those that are scraped.
    pub active: Vec<TargetStatus>,
    /// Some of those that relabelling dropped: at most `keep_dropped_targets`, and never more than 1,000.
    pub dropped: Vec<DroppedTarget>,
    /// How many it dropped.
    pub dropped_count: usize,
}
