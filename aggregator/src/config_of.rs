//! From settings to the configurations of the parts.

use std::num::NonZeroU16;
use std::time::Duration;

use api::{ApiConfig, Build, QueryLimits};
use config::Settings;
use http_shell::{Limits, Listen};
use promql::EngineConfig;
use telemetry::{LogConfig, LogFormat, LogLevel};
use tsdb::TsdbConfig;

/// The Prometheus whose API and PromQL these are.
const PROMETHEUS_VERSION: &str = "3.14.0";
/// The store's own folder within the data folder.
const STORE_FOLDER: &str = "tsdb";
/// Our version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn tsdb(settings: &Settings) -> TsdbConfig {
    let mut config = TsdbConfig::at(settings.path("storage.path").join(STORE_FOLDER));
    let shards = settings
        .optional_number("storage.shards")
        .and_then(|shards| u16::try_from(shards).ok());
    config.shards = shards.and_then(NonZeroU16::new);
    config.retention = settings.duration("storage.retention.time");
    config.limits.head_bytes_max = settings.number("storage.head.max-bytes");
    config.limits.series_per_agent = settings.number("limits.series-per-agent");
    config.limits.series_per_metric = settings.optional_number("limits.series-per-metric");
    config.limits.series_per_tenant = settings.optional_number("limits.series-per-tenant");
    config.limits.new_series_per_minute = settings.optional_number("limits.new-series-per-minute");
    config
}

pub(crate) fn engine(settings: &Settings) -> EngineConfig {
    EngineConfig {
        lookback: settings.duration("query.lookback-delta"),
        samples_max: settings.number("query.max-samples"),
        ..EngineConfig::default()
    }
}

pub(crate) fn api(settings: &Settings) -> ApiConfig {
    ApiConfig {
        query_limits: QueryLimits {
            timeout: settings.duration("query.timeout"),
            samples_max: settings.number("query.max-samples"),
            memory_bytes_max: settings.number("query.max-memory"),
        },
        query_concurrency: count(settings, "query.max-concurrency"),
        lifecycle: settings.switch("web.enable-lifecycle"),
        build: Build {
            version: VERSION,
            revision: "",
            prometheus_version: PROMETHEUS_VERSION,
        },
    }
}

pub(crate) fn web(settings: &Settings, address: &str) -> (Listen, Limits) {
    let listen = Listen::Tcp {
        address: address.to_owned(),
        web_config: settings.optional_path("web.config.file").map(Into::into),
    };
    (
        listen,
        Limits {
            connections_max: count(settings, "web.max-connections"),
            ..Limits::default()
        },
    )
}

/// Returns a number that its definition bounds to 32 bits.
pub(crate) fn count(settings: &Settings, name: &str) -> u32 {
    u32::try_from(settings.number(name)).unwrap_or(u32::MAX)
}

pub(crate) fn log(settings: &Settings) -> LogConfig {
    LogConfig {
        level: log_level(settings),
        format: settings
            .text("log.format")
            .parse()
            .unwrap_or(LogFormat::Logfmt),
    }
}

pub(crate) fn log_level(settings: &Settings) -> LogLevel {
    settings.text("log.level").parse().unwrap_or(LogLevel::Info)
}

/// The grace of an orderly stop.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
