//! From settings to the configurations of the parts.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use api::{ApiConfig, Build, QueryLimits};
use config::{Environment, Refusal, Settings};
use http_shell::{Limits, Listen};
use ingest::{OWN_ID, REMOTE_WRITE_ID, RULES_ID, RemoteWriteConfig};
use promql::EngineConfig;
use rows::Epoch;
use telemetry::{LogConfig, LogFormat, LogLevel};
use tsdb::{Durability, RetentionClass, TierRetention, TsdbConfig};

use crate::program::{SECTIONS, program};
use crate::retention_classes::retention_classes;

/// The Prometheus whose API and PromQL these are.
const PROMETHEUS_VERSION: &str = "3.14.0";
/// What queries may use together where it is not known what the process may use.
const QUERY_MEMORY_DEFAULT: u64 = 1 << 30;
/// What requests of remote write may hold together, decoded: at least and at most, and where it is not known what the process may use.
const REMOTE_WRITE_MEMORY_MIN: u64 = 16 << 20;
const REMOTE_WRITE_MEMORY_MAX: u64 = 256 << 20;
/// The store's own folder within the data folder.
pub(crate) const STORE_FOLDER: &str = "tsdb";
/// Our version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn tsdb(settings: &Settings, retention_classes: Vec<RetentionClass>) -> TsdbConfig {
    let mut config = TsdbConfig::at(settings.path("storage.path").join(STORE_FOLDER));
    let shards = settings
        .optional_number("storage.shards")
        .and_then(|shards| u16::try_from(shards).ok());
    config.shards = shards.and_then(NonZeroU16::new);
    config.retention = settings.duration("storage.retention.time");
    config.tiers = TierRetention {
        five_minutes: settings.optional_duration("storage.retention.5m"),
        one_hour: settings.optional_duration("storage.retention.1h"),
    };
    config.log.durability = match settings.text("storage.log.durability") {
        "written" => Durability::Written,
        _ => Durability::Synced,
    };
    config.retention_bytes = settings.optional_number("storage.retention.size");
    config.retention_classes = retention_classes;
    config.limits.head_bytes_max = settings.number("storage.head.max-bytes");
    config.limits.series_per_agent = settings.number("limits.series-per-agent");
    config.limits.series_per_metric = settings.optional_number("limits.series-per-metric");
    config.limits.series_per_tenant = settings.optional_number("limits.series-per-tenant");
    config.limits.new_series_per_minute = settings.optional_number("limits.new-series-per-minute");
    // One writer brings the series of many: the limits of one agent would mean another thing for it.
    if let Ok(writer) = REMOTE_WRITE_ID.parse() {
        let bound = settings.optional_number("limits.series-by-remote-write");
        config.limits.exceptions.insert(writer, bound);
    }
    if let Ok(writer) = RULES_ID.parse() {
        config.limits.exceptions.insert(writer, None);
    }
    let own = [RULES_ID, OWN_ID].into_iter();
    config.late.except = own.filter_map(|writer| writer.parse().ok()).collect();
    config
}

/// Of a store that is imported into, offline: as the aggregator's configuration file has it, where one is given, but for what the tool itself
/// was told.
pub(crate) fn imported_into(settings: &Settings) -> anyhow::Result<TsdbConfig> {
    let file = settings.optional_path("aggregator.config-file");
    let aggregator = file.map(settings_of_aggregator).transpose()?;
    let of = |name| match &aggregator {
        Some(aggregator) if settings.is_default(name) => aggregator,
        _ => settings,
    };
    let folder = of("storage.path").path("storage.path");
    let mut config = TsdbConfig::at(folder.join(STORE_FOLDER));
    let shards = of("storage.shards")
        .optional_number("storage.shards")
        .and_then(|shards| u16::try_from(shards).ok());
    config.shards = shards.and_then(NonZeroU16::new);
    config.retention = of("storage.retention.time").duration("storage.retention.time");
    if let Some(aggregator) = &aggregator {
        config.retention_classes = retention_classes(aggregator)?;
    }
    Ok(config)
}

/// Reads a configuration file as the aggregator that is given it.
fn settings_of_aggregator(file: &Path) -> anyhow::Result<Settings> {
    let line = ["promontory", "aggregator", "--config.file"].map(OsString::from);
    let line = line.into_iter().chain([file.as_os_str().to_owned()]);
    match program().read(line, Environment::of_process(), SECTIONS) {
        Ok(invocation) => Ok(invocation.settings),
        Err(Refusal::Mistakes(mistakes)) => Err(mistakes.into()),
        // Nobody asks for it by these words.
        Err(Refusal::Information(information)) => Err(anyhow::anyhow!("{}", information.0)),
    }
}

pub(crate) fn engine(settings: &Settings) -> EngineConfig {
    EngineConfig {
        lookback: settings.duration("query.lookback-delta"),
        samples_max: settings.number("query.max-samples"),
        helper_threads: helper_threads(settings),
        ..EngineConfig::default()
    }
}

fn helper_threads(settings: &Settings) -> usize {
    let beside_its_own = || available_parallelism().map_or(0, |processors| processors.get() - 1);
    let set = settings.optional_number("query.helper-threads");
    set.map_or_else(beside_its_own, |count| usize::try_from(count).unwrap_or(0))
}

/// Returns the configuration of the API of a process that may use so much memory.
pub(crate) fn api(settings: &Settings, memory_limit: Option<u64>) -> ApiConfig {
    let total = settings.optional_number("query.max-memory-total");
    let quarter = memory_limit.map_or(QUERY_MEMORY_DEFAULT, |limit| limit / 4);
    ApiConfig {
        query_memory_total: total.unwrap_or(quarter),
        query_limits: QueryLimits {
            timeout: settings.duration("query.timeout"),
            samples_max: settings.number("query.max-samples"),
            memory_bytes_max: settings.number("query.max-memory"),
        },
        query_concurrency: count(settings, "query.max-concurrency"),
        slow_query: Some(settings.duration("query.log-slower-than"))
            .filter(|bound| !bound.is_zero()),
        lifecycle: settings.switch("web.enable-lifecycle"),
        admin: settings.switch("web.enable-admin-api"),
        build: Build {
            version: VERSION,
            revision: "",
            prometheus_version: PROMETHEUS_VERSION,
        },
    }
}

/// Returns where HTTP is served, and what clients may cost a process that may use so much memory.
pub(crate) fn web(
    settings: &Settings,
    address: &str,
    memory_limit: Option<u64>,
) -> (Listen, Limits) {
    let limits = Limits::default();
    let sixteenth = memory_limit
        .map(|limit| limit / 16)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(usize::MAX);
    let listen = Listen::Tcp {
        address: address.to_owned(),
        web_config: settings.optional_path("web.config.file").map(Into::into),
    };
    (
        listen,
        Limits {
            connections_max: count(settings, "web.max-connections"),
            requests_bytes_max: limits.requests_bytes_max.min(sixteenth),
            ..limits
        },
    )
}

/// Returns how remote write is taken by a process that may use so much memory.
pub(crate) fn remote_write(epoch: Epoch, memory_limit: Option<u64>) -> RemoteWriteConfig {
    let sixteenth = memory_limit.map_or(u64::MAX, |limit| limit / 16);
    RemoteWriteConfig {
        epoch,
        memory_bytes_max: sixteenth.clamp(REMOTE_WRITE_MEMORY_MIN, REMOTE_WRITE_MEMORY_MAX),
    }
}

/// Returns a count as a metric shows it.
#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::RELOADABLE;

    fn settings(line: &[&str]) -> Settings {
        let arguments = line.iter().map(OsString::from);
        match program().read(arguments, Environment::default(), &[]) {
            Ok(invocation) => invocation.settings,
            Err(Refusal::Mistakes(mistakes)) => panic!("{mistakes}"),
            Err(Refusal::Information(information)) => panic!("{}", information.0),
        }
    }

    #[test]
    fn defaults_make_whole_configurations_for_both_ways_to_serve() {
        for command in ["up", "aggregator"] {
            let settings = settings(&["promontory", command]);
            assert_eq!(
                tsdb(&settings, Vec::new()).retention,
                Duration::from_secs(15 * 86_400)
            );
            assert_eq!(engine(&settings).lookback, Duration::from_secs(300));
            assert_eq!(api(&settings, None).query_concurrency, 20);
            assert_eq!(
                api(&settings, Some(400 << 20)).query_memory_total,
                100 << 20
            );
            assert_eq!(
                api(&settings, None).slow_query,
                Some(Duration::from_secs(10))
            );
            let limits = web(&settings, "127.0.0.1:0", Some(400 << 20)).1;
            assert_eq!(
                (limits.connections_max, limits.requests_bytes_max),
                (512, 25 << 20)
            );
            let held = |limit| remote_write(Epoch(1), limit).memory_bytes_max;
            assert_eq!(
                [held(Some(1 << 20)), held(Some(2 << 30)), held(None)],
                [16 << 20, 128 << 20, 256 << 20]
            );
            assert_eq!(log_level(&settings), LogLevel::Info);
            assert_eq!(count(&settings, "ingest.window"), 32);
        }
        let program = program();
        let known: Vec<&str> = program
            .commands
            .iter()
            .flat_map(|command| command.settings.iter().copied().flatten())
            .map(|setting| setting.name)
            .collect();
        assert!(RELOADABLE.iter().all(|name| known.contains(name)));
    }

    #[test]
    fn what_is_given_reaches_the_parts() {
        let settings = settings(&[
            "promontory",
            "aggregator",
            "--storage.path=d",
            "--storage.retention.time=2d",
            "--storage.retention.5m=90d",
            "--storage.retention.size=100GiB",
            "--storage.shards=3",
            "--storage.log.durability=written",
            "--storage.head.max-bytes=128MiB",
            "--limits.series-per-agent=7",
            "--limits.series-by-remote-write=6",
            "--limits.series-per-metric=8",
            "--limits.series-per-tenant=9",
            "--limits.new-series-per-minute=10",
            "--query.timeout=3s",
            "--query.max-samples=11",
            "--query.max-memory=2MiB",
            "--query.max-memory-total=8MiB",
            "--query.lookback-delta=1m",
            "--query.log-slower-than=0",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            "--log.level=warn",
        ]);
        let store = tsdb(&settings, Vec::new());
        assert_eq!(store.folder, Path::new("d/tsdb"));
        assert_eq!(
            (store.retention, store.shards),
            (Duration::from_secs(2 * 86_400), NonZeroU16::new(3))
        );
        let tiers = TierRetention {
            five_minutes: Some(Duration::from_secs(90 * 86_400)),
            one_hour: None,
        };
        assert_eq!(store.tiers, tiers);
        assert_eq!(store.log.durability, Durability::Written);
        assert_eq!(store.retention_bytes, Some(100 << 30));
        let limits = &store.limits;
        assert_eq!(
            (limits.head_bytes_max, limits.series_per_agent),
            (128 << 20, 7)
        );
        let writer = REMOTE_WRITE_ID.parse().unwrap();
        assert_eq!(limits.exceptions.get(&writer), Some(&Some(6)));
        assert_eq!(
            (
                limits.series_per_metric,
                limits.series_per_tenant,
                limits.new_series_per_minute
            ),
            (Some(8), Some(9), Some(10))
        );
        let api = api(&settings, Some(1 << 30));
        assert_eq!(
            (api.query_limits.timeout, api.query_limits.samples_max),
            (Duration::from_secs(3), 11)
        );
        assert_eq!(
            (api.query_limits.memory_bytes_max, api.lifecycle, api.admin),
            (2 << 20, true, true)
        );
        assert_eq!((api.slow_query, api.query_memory_total), (None, 8 << 20));
        assert_eq!(
            (engine(&settings).lookback, log_level(&settings)),
            (Duration::from_secs(60), LogLevel::Warn)
        );
    }

    #[test]
    fn an_import_goes_where_the_aggregators_file_says_and_keeps_as_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promontory.yml");
        let text = "storage:\n  path: kept\n  shards: 2\n  retention: {time: 30d}\nweb: {listen-address: ':1'}\n\
                    retention_classes: [{name: slo, match: up, retention: 400d}]\n";
        std::fs::write(&path, text).unwrap();
        let file = format!("--aggregator.config-file={}", path.display());
        let import = |more: &[&str]| {
            let line = ["promontory", "tsdb", "import", "blocks"];
            imported_into(&settings(&[&line, more].concat()))
        };
        let days = |config: &TsdbConfig| config.retention.as_secs() / 86_400;
        let plain = import(&[]).unwrap();
        assert_eq!((days(&plain), plain.retention_classes.len()), (15, 0));
        let of_file = import(&[&file]).unwrap();
        assert_eq!(of_file.folder, Path::new("kept/tsdb"));
        assert_eq!((days(&of_file), of_file.shards), (30, NonZeroU16::new(2)));
        assert_eq!(of_file.retention_classes.len(), 1);
        let told = import(&[&file, "--storage.retention.time=60d", "--storage.path=p"]).unwrap();
        assert_eq!((days(&told), told.shards), (60, NonZeroU16::new(2)));
        assert_eq!(told.folder, Path::new("p/tsdb"));
        std::fs::write(&path, "storage: {pth: x}\n").unwrap();
        let refused = import(&[&file]).unwrap_err().to_string();
        assert!(refused.contains("unknown key \"pth\""), "{refused}");
    }
}
