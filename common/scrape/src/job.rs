//! A job: one entry of `scrape_configs`, checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Mistakes, Node, Position, Reader, parse_yaml};
use relabel::{Names, Rule, read_rules};

use crate::Protocol;
use crate::files::FileDiscovery;
use crate::group::{TargetGroup, read_groups};
use crate::http::{self, HttpConfig};

/// What is scraped of one target, where its job says nothing: bytes, decompressed.
const BODY_BYTES_MAX: u64 = 32 << 20;
/// The most bytes that a job may allow: a compressed body and what it becomes fit into the room of all.
const BODY_BYTES_BOUND: u64 = 64 << 20;
/// The most samples of one scrape, whatever its job allows.
pub(crate) const SAMPLES_MAX: u64 = 1 << 20;

/// A checked entry of `scrape_configs`.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) name: Arc<str>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) fallback: Option<Protocol>,
    /// Whether histograms that have classic buckets beside native ones are scraped as both.
    pub(crate) keeps_classic: bool,
    pub(crate) native_histograms: bool,
    pub(crate) metrics_path: String,
    pub(crate) scheme: String,
    pub(crate) params: BTreeMap<String, Vec<String>>,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    pub(crate) track_timestamps_staleness: bool,
    pub(crate) compression: bool,
    pub(crate) http: HttpConfig,
    pub(crate) groups: Vec<TargetGroup>,
    pub(crate) files: Vec<FileDiscovery>,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) metric_relabel: Vec<Rule>,
    pub(crate) limits: Limits,
    pub(crate) keep_dropped_targets: usize,
    pub(crate) names: Names,
}

/// What a target may send; what is 0 in the configuration is not limited, but for the bounds that everything has.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body, before and after it is decompressed; 32 MiB when the job says nothing, and never more than 64 MiB.
    pub body_bytes: u64,
    /// Samples of a scrape after relabelling; never more than 2^20.
    pub samples: u64,
    /// Labels of a series.
    pub labels: Option<u64>,
    /// Bytes of a label's name.
    pub label_name_bytes: Option<u64>,
    /// Bytes of a label's value.
    pub label_value_bytes: Option<u64>,
    /// Targets of the job; with more, none is scraped.
    pub targets: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES_MAX,
            samples: SAMPLES_MAX,
            labels: None,
            label_name_bytes: None,
            label_value_bytes: None,
            targets: None,
        }
    }
}

/// What `global` says for all jobs.
#[derive(Clone, Debug)]
struct Global {
    interval: Duration,
    timeout: Option<Duration>,
    protocols: Option<Vec<Protocol>>,
    native_histograms: bool,
    keeps_classic: bool,
    keep_dropped_targets: usize,
    names: Names,
    limits: Limits,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            timeout: None,
            protocols: None,
            native_histograms: false,
            keeps_classic: false,
            keep_dropped_targets: 0,
            names: Names::Utf8,
            limits: Limits::default(),
        }
    }
}

/// What a scrape times out after unless it is told, or its interval is shorter.
const TIMEOUT: Duration = Duration::from_secs(10);

const KEYS: [&str; 33] = [
    "job_name",
    "scrape_interval",
    "scrape_timeout",
    "scrape_protocols",
    "fallback_scrape_protocol",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "metrics_path",
    "honor_labels",
    "honor_timestamps",
    "track_timestamps_staleness",
    "scheme",
    "params",
    "enable_compression",
    "static_configs",
    "file_sd_configs",
    "relabel_configs",
    "metric_relabel_configs",
    "body_size_limit",
    "sample_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "target_limit",
    "keep_dropped_targets",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "basic_auth",
    "authorization",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "follow_redirects",
];

/// Reads the jobs of a configuration file in Prometheus' format: its keys `global` and `scrape_configs`; other keys are others'.
///
/// `path` is named in mistakes, and is what relative paths are relative to. All mistakes come together.
pub fn read_jobs(path: &Path, text: &str) -> Result<Vec<Job>, Mistakes> {
    let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
    let mut reader = Reader::new(path);
    let global = match root.get("global") {
        Some(node) => Global::read(node, &mut reader),
        None => Global::default(),
    };
    let mut jobs: Vec<Job> = Vec::new();
    if let Some(nodes) = root.get("scrape_configs") {
        for node in reader.items(nodes) {
            let Some(job) = Job::read(node, &global, &mut reader) else {
                continue;
            };
            if jobs.iter().any(|present| present.name == job.name) {
                let what = format!("found multiple scrape configs with job name {:?}", job.name);
                reader.refuse::<()>(node.at, what);
            }
            jobs.push(job);
        }
    }
    Mistakes::none_in(reader.mistakes, jobs)
}

impl Global {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Self {
        let mut global = Self::default();
        // What is not about scraping is checked by whom it is for.
        for (key, _, value) in reader.entries(node) {
            match key {
                "scrape_interval" => set(&mut global.interval, interval(value, reader)),
                "scrape_timeout" => global.timeout = interval(value, reader),
                "scrape_protocols" => global.protocols = Some(protocols(value, reader)),
                "scrape_native_histograms" => {
                    set(&mut global.native_histograms, reader.flag(value));
                }
                "always_scrape_classic_histograms" => {
                    set(&mut global.keeps_classic, reader.flag(value));
                }
                "keep_dropped_targets" => {
                    global.keep_dropped_targets = count(value, reader);
                }
                "metric_name_validation_scheme" => set(&mut global.names, names(value, reader)),
                _ => {
                    global.limits.take(key, value, reader);
                }
            }
        }
        global
    }
}

impl Limits {
    /// Takes a key if it is a limit's; returns whether it is.
    fn take(&mut self, key: &str, value: &Node, reader: &mut Reader<'_>) -> bool {
        let some = |count: Option<u64>| count.filter(|count| *count > 0);
        match key {
            "body_size_limit" => {
                let bytes = some(reader.size(value)).unwrap_or(BODY_BYTES_MAX);
                self.body_bytes = bytes.min(BODY_BYTES_BOUND);
            }
            "sample_limit" => {
                let samples = some(reader.count(value)).unwrap_or(SAMPLES_MAX);
                self.samples = samples.min(SAMPLES_MAX);
            }
            "label_limit" => self.labels = some(reader.count(value)),
            "label_name_length_limit" => self.label_name_bytes = some(reader.count(value)),
            "label_value_length_limit" => self.label_value_bytes = some(reader.count(value)),
            "target_limit" => self.targets = some(reader.count(value)),
            _ => return false,
        }
        true
    }
}

impl Job {
    fn read(node: &Node, global: &Global, reader: &mut Reader<'_>) -> Option<Self> {
        let own_names = node.get("metric_name_validation_scheme");
        let own_names = own_names.and_then(|value| names(value, reader));
        let name = node.get("job_name").and_then(|name| reader.text(name));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return reader.refuse(node.at, "job_name is empty");
        };
        let mut job = Self {
            name: Arc::from(name),
            interval: global.interval,
            timeout: TIMEOUT,
            protocols: Vec::new(),
            fallback: None,
            keeps_classic: global.keeps_classic,
            native_histograms: global.native_histograms,
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            compression: true,
            http: HttpConfig::default(),
            groups: Vec::new(),
            files: Vec::new(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            limits: global.limits,
            keep_dropped_targets: global.keep_dropped_targets,
            names: own_names.unwrap_or(global.names),
        };
        let mut timeout = None;
        let mut own_protocols = None;
        for (key, at, value) in reader.entries(node) {
            match key {
                "scrape_timeout" => timeout = interval(value, reader).map(|timeout| (at, timeout)),
                "scrape_protocols" => own_protocols = Some(protocols(value, reader)),
                _ => job.take(key, at, value, reader),
            }
        }
        job.timeout = match timeout {
            Some((at, timeout)) if timeout > job.interval => {
                let what = format!(
                    "scrape timeout greater than scrape interval for scrape config with job name {:?}",
                    job.name
                );
                reader.refuse::<()>(at, what);
                timeout
            }
            Some((_, timeout)) => timeout,
            None => global.timeout.unwrap_or(TIMEOUT).min(job.interval),
        };
        job.protocols = own_protocols
            .or_else(|| global.protocols.clone())
            .unwrap_or_else(|| Protocol::by_default(job.native_histograms));
        Some(job)
    }

    fn take(&mut self, key: &str, at: Position, value: &Node, reader: &mut Reader<'_>) {
        match key {
            // Read before the others, which depend on them.
            "job_name" | "metric_name_validation_scheme" => {}
            "scrape_interval" => set(&mut self.interval, interval(value, reader)),
            "fallback_scrape_protocol" => self.fallback = protocol(value, reader),
            "scrape_native_histograms" => set(&mut self.native_histograms, reader.flag(value)),
            "always_scrape_classic_histograms" | "scrape_classic_histograms" => {
                set(&mut self.keeps_classic, reader.flag(value));
            }
            "metrics_path" => set(&mut self.metrics_path, reader.text(value)),
            "honor_labels" => set(&mut self.honor_labels, reader.flag(value)),
            "honor_timestamps" => set(&mut self.honor_timestamps, reader.flag(value)),
            "track_timestamps_staleness" => {
                set(&mut self.track_timestamps_staleness, reader.flag(value));
            }
            "scheme" => {
                let schemes = ["http", "https"];
                let scheme = reader
                    .word(value, &schemes)
                    .map(|at| schemes[at].to_owned());
                set(&mut self.scheme, scheme);
            }
            "params" => {
                for (name, _, values) in reader.entries(value) {
                    self.params.insert(name.to_owned(), reader.texts(values));
                }
            }
            "enable_compression" => set(&mut self.compression, reader.flag(value)),
            "static_configs" => self.groups = read_groups(value, reader),
            "file_sd_configs" => {
                let nodes = reader.items(value).iter();
                self.files = nodes
                    .filter_map(|node| FileDiscovery::read(node, reader))
                    .collect();
            }
            "relabel_configs" => self.relabel = read_rules(value, reader, self.names),
            "metric_relabel_configs" => {
                self.metric_relabel = read_rules(value, reader, self.names);
            }
            "keep_dropped_targets" => self.keep_dropped_targets = count(value, reader),
            // Names are asked for as they are, and taken as they come.
            "metric_name_escaping_scheme" => drop(reader.text(value)),
            "convert_classic_histograms_to_nhcb" | "extra_scrape_metrics" => {
                if reader.flag(value) == Some(true) {
                    reader.refuse::<()>(at, format!("{key} is not supported; remove it"));
                }
            }
            "native_histogram_bucket_limit" | "native_histogram_min_bucket_factor" => {
                if reader.text(value).is_some_and(|text| text != "0") {
                    let what = format!(
                        "{key} is not supported; remove it (a histogram may have as many buckets as a row can hold)"
                    );
                    reader.refuse::<()>(at, what);
                }
            }
            "scrape_failure_log_file" => {
                let what = "scrape_failure_log_file is not supported; failures are shown at /api/v1/targets and counted";
                reader.refuse::<()>(at, what);
            }
            _ if key.ends_with("_sd_configs") => {
                let what = format!(
                    "service discovery by {key} is not supported; use static_configs or file_sd_configs"
                );
                reader.refuse::<()>(at, what);
            }
            _ if self.limits.take(key, value, reader) => {}
            _ if self.http.take(key, at, value, reader) => {}
            _ => {
                let accepted: Vec<&str> = KEYS.iter().chain(&http::KEYS).copied().collect();
                reader.unknown(at, key, &accepted);
            }
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn count(node: &Node, reader: &mut Reader<'_>) -> usize {
    let count = reader.count(node).unwrap_or_default();
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn interval(node: &Node, reader: &mut Reader<'_>) -> Option<Duration> {
    let duration = reader.duration(node)?;
    if duration < Duration::from_millis(10) {
        return reader.refuse(node.at, "a scrape needs at least 10ms");
    }
    Some(duration)
}

fn names(node: &Node, reader: &mut Reader<'_>) -> Option<Names> {
    let word = reader.word(node, &["utf8", "legacy"])?;
    Some([Names::Utf8, Names::Legacy][word])
}

fn protocols(node: &Node, reader: &mut Reader<'_>) -> Vec<Protocol> {
    let mut protocols = Vec::new();
    for node in reader.items(node) {
        if let Some(protocol) = protocol(node, reader) {
            if protocols.contains(&protocol) {
                let what = format!("{} comes twice in scrape_protocols", protocol.name());
                reader.refuse::<()>(node.at, what);
            }
            protocols.push(protocol);
        }
    }
    if protocols.is_empty() {
        reader.refuse::<()>(node.at, "scrape_protocols cannot be empty");
    }
    protocols
}

fn protocol(node: &Node, reader: &mut Reader<'_>) -> Option<Protocol> {
    let names = Protocol::ALL.map(Protocol::name);
    Some(Protocol::ALL[reader.word(node, &names)?])
}

#[cfg(test)]
mod tests;
