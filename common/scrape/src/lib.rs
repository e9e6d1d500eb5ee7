//! Pulling metrics over HTTP as Prometheus does: `scrape_configs`, targets, limits, relabelling, staleness, rows.
//!
//! ```text
//! scrape_configs ─> Job ─┬─ static and file targets ─> relabelling ─> Target ─┐
//!                        └─ limits, protocols, credentials ───────────────────┴─> a task per target:
//!                              fetch (HTTP, gzip, bounds) ─> Sampler (parse, relabel, rows) ─> Outlet
//! ```
//!
//! # Invariants
//! - A target costs at most itself: what it sends is bounded in bytes, samples, labels and time, and nothing that it says panics.
//! - Of a scrape that fails anywhere, nothing is stored but staleness marks for what the target had before, and `up` 0.
//! - Every series that vanishes has a staleness mark at the time of the scrape that missed it.
//! - A series of a target keeps its slot while its cohort lives, over reloads too; a reload interrupts no target that stays.
//!
//! # How a scrape becomes a row
//! A target's bodies look alike: names, labels and comments stay, values change. [`Sampler`] remembers the last body without its
//! values, and which slot each value belongs to. A body that fits it is read by comparing what stands between values; only when it
//! does not is the body parsed, and even then only series never seen before are decoded, relabelled and checked.
//!
//! Never here: what becomes of rows, Kubernetes.

#![forbid(unsafe_code)]

mod decode;
mod exposed;
mod fetch;
mod files;
mod group;
mod http;
mod job;
mod memory;
mod metrics;
mod number;
mod sampler;
mod schedule;
mod scraper;
mod status;
mod target;

pub use decode::{Format, Protocol};
pub use files::{FileDiscovery, WatchedFiles};
pub use group::{TargetGroup, read_groups};
pub use http::{HttpConfig, KEYS as HTTP_KEYS};
pub use job::{Job, Limits, read_jobs};
pub use metrics::Metrics;
pub use sampler::{CohortIds, Sampler, Scraped, Tally};
pub use scraper::{Outlet, Scraper, ScraperSettings};
pub use status::{DroppedTarget, Health, PoolStatus, TargetStatus};
pub use target::Target;
