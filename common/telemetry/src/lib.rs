//! What the process says of itself: metrics, logs, readiness.
//!
//! **Metrics.** A [`Registry`] hands out [`Counter`]s, [`Gauge`]s and [`Histogram`]s (atomics behind a reference count: clone them
//! into the hot path) and families of them by label ([`Labelled`]), each family with a bound on its label sets: what comes beyond
//! is counted under `other`, so that totals stay right. [`Registry::expose`] writes an exposition; [`Registry::gather`] hands the
//! same families to a [`Visitor`], sorted by name, then by label values, so that a collector makes rows of them without any text.
//! [`Registry::on_gather`] takes callbacks for values that are computed when asked for.
//!
//! **Logs.** [`init_logging`] sends `tracing`'s events to stderr as logfmt or JSON, one line each, with a level that can change.
//!
//! **Readiness.** [`Readiness`] is a set of named conditions; not ready says why.
//!
//! Invariants: counting never blocks and never fails; names are checked when registered, and a wrong one panics there, at start,
//! where the mistake is. Never here: HTTP, async tasks, timers.

#![forbid(unsafe_code)]

mod build_info;
mod health;
mod labelled;
mod logging;
mod own_rows;
mod process;
mod registry;
mod summary;
mod value;
mod visit;

pub use build_info::register_build_info;
pub use health::{Condition, Readiness, Unmet};
pub use labelled::{CounterFamily, GaugeFamily, HistogramFamily, Labelled, OTHER, SummaryFamily};
pub use logging::{
    LogConfig, LogError, LogFormat, LogHandle, LogLevel, ParseLogError, init_logging, rfc3339,
};
pub use process::register_process;
pub use registry::Registry;
pub use summary::Summary;
pub use value::{Counter, Gauge, Histogram, LATENCY_BUCKETS, Metric};
pub use visit::{Visitor, series_labels};
