//! What the push API says of itself: the families that a Pushgateway has, under their names, and our own.

use std::time::Duration;

use model::MetricType;
use telemetry::{Counter, CounterFamily, Gauge, Registry, SummaryFamily};

use crate::error::{Inconsistent, PushError};
use crate::store::{Store, StoreStats};

/// Eight handlers, a few methods and codes each.
const REQUESTS_MAX: usize = 64;
const METHODS_MAX: usize = 4;
const REASONS_MAX: usize = 8;
const QUANTILES: &[f64] = &[0.1, 0.5, 0.9];

const REQUESTS: &str = "pushgateway_http_requests_total";
const SECONDS: &str = "pushgateway_http_push_duration_seconds";
const SIZES: &str = "pushgateway_http_push_size_bytes";
const BUILD: &str = "pushgateway_build_info";

/// The counters of the push API. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: CounterFamily<3>,
    seconds: SummaryFamily<1>,
    sizes: SummaryFamily<1>,
    refused: CounterFamily<1>,
    samples: Counter,
    expired: Counter,
    groups: Gauge,
    series: Gauge,
    bytes: Gauge,
    disk_errors: Counter,
    disk_broken: Gauge,
}

impl Metrics {
    /// Registers the families; `version` is the agent's.
    pub fn new(registry: &Registry, version: &'static str) -> Self {
        let build = registry.gauge_family(
            BUILD,
            "A metric with a constant '1' value labeled by the version that serves the Pushgateway's API.",
            ["version"],
            1,
        );
        build.with([version]).set(1.0);
        Self {
            requests: registry.counter_family(
                REQUESTS,
                "Total HTTP requests processed by the Pushgateway, excluding scrapes.",
                ["code", "handler", "method"],
                REQUESTS_MAX,
            ),
            seconds: registry.summary_family(
                SECONDS,
                "HTTP request duration for pushes to the Pushgateway.",
                QUANTILES,
                ["method"],
                METHODS_MAX,
            ),
            sizes: registry.summary_family(
                SIZES,
                "HTTP request size for pushes to the Pushgateway.",
                QUANTILES,
                ["method"],
                METHODS_MAX,
            ),
            refused: registry.counter_family(
                "promontory_agent_pushes_refused_total",
                "Pushes that were refused, by reason.",
                ["reason"],
                REASONS_MAX,
            ),
            samples: registry.counter(
                "promontory_agent_push_samples_total",
                "Samples in pushes that were taken.",
            ),
            expired: registry.counter(
                "promontory_agent_push_groups_expired_total",
                "Pushed groups that ended because nothing was pushed to them for their time to live.",
            ),
            groups: registry.gauge("promontory_agent_push_groups", "Pushed groups."),
            series: registry.gauge(
                "promontory_agent_push_series",
                "Series of pushed groups, with the two times that each has.",
            ),
            bytes: registry.gauge(
                "promontory_agent_push_bytes",
                "About the bytes that pushed groups take; --push.max-bytes bounds them.",
            ),
            disk_errors: registry.counter(
                "promontory_agent_push_persistence_errors_total",
                "Failures to write or sync --persistence.file.",
            ),
            disk_broken: registry.gauge(
                "promontory_agent_push_persistence_broken",
                "1 while pushes are not kept on disk although --persistence.file is given.",
            ),
        }
    }

    /// Lets pushes of these families be of their types only.
    pub(crate) fn reserve(store: &mut Store) {
        for (name, kind) in [
            (REQUESTS, MetricType::Counter),
            (SECONDS, MetricType::Summary),
            (SIZES, MetricType::Summary),
            (BUILD, MetricType::Gauge),
        ] {
            store.reserve(name, kind);
        }
    }

    /// Counts a request that was answered.
    pub fn answered(&self, handler: &str, method: &str, code: &str) {
        self.requests.with([code, handler, method]).inc();
    }

    /// Counts a push that was answered, taken or not.
    pub fn pushed(&self, method: &str, took: Duration, body_bytes: usize) {
        self.seconds.with([method]).observe(took);
        self.sizes.with([method]).observe_count(body_bytes as u64);
    }

    pub(crate) fn taken(&self, samples: usize) {
        self.samples.add(samples as u64);
    }

    pub(crate) fn refused(&self, error: &PushError) {
        self.refused.with([reason(error)]).inc();
    }

    pub(crate) fn disk_failed(&self) {
        self.disk_errors.inc();
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; above 2^53 a count is rounded"
    )]
    pub(crate) fn show(&self, stats: StoreStats, is_broken: bool) {
        self.groups.set_count(stats.groups);
        self.series.set_count(stats.series);
        self.bytes.set_count(stats.bytes);
        self.expired.raise_to(stats.expired as f64);
        self.disk_broken.set(f64::from(u8::from(is_broken)));
    }
}

const fn reason(error: &PushError) -> &'static str {
    match error {
        PushError::Text(_) | PushError::Line { .. } | PushError::Protobuf(_) => "format",
        PushError::Family { .. } => "family",
        PushError::Compression { .. } | PushError::Encoding(_) => "encoding",
        PushError::BodyTooLarge { .. }
        | PushError::TooManySeries { .. }
        | PushError::HistogramsTooLarge { .. } => "size",
        PushError::Option(_) => "option",
        PushError::Inconsistent(Inconsistent::Timestamp) => "timestamp",
        PushError::Inconsistent(_) => "inconsistent",
        PushError::Full(_) => "full",
    }
}
