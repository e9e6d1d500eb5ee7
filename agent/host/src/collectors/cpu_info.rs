//! What hardly changes about CPUs: models from `cpuinfo`, isolation and throttling from sysfs.
//!
//! Two or three files per core, and a `cpuinfo` that interrupts every core on some kernels, are too much for every second: they
//! are read every 14 s, so that a collection every 15 s always sees new values, and repeated in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Monotonic;
use regex::Regex;

use crate::error::CollectError;
use crate::kept_file::read_once;
use crate::refresh::Refresh;
use crate::scan::Decimal;
use crate::{CollectorName, Family, HostConfig, HostConfigError, Sink, filter, scan};

static INFO: Family = Family::gauge(
    "node_cpu_info",
    "CPU information from /proc/cpuinfo.",
    &[
        "package",
        "core",
        "cpu",
        "vendor",
        "family",
        "model",
        "model_name",
        "microcode",
        "stepping",
        "cachesize",
    ],
);
static FREQUENCY: Family = Family::gauge(
    "node_cpu_frequency_hertz",
    "CPU frequency in hertz from /proc/cpuinfo.",
    &["package", "core", "cpu"],
);
static FLAG_INFO: Family = Family::gauge(
    "node_cpu_flag_info",
    "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
    &["flag"],
);
static BUG_INFO: Family = Family::gauge(
    "node_cpu_bug_info",
    "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
    &["bug"],
);
static ISOLATED: Family = Family::gauge(
    "node_cpu_isolated",
    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
    &["cpu"],
);
static CORE_THROTTLES: Family = Family::counter(
    "node_cpu_core_throttles_total",
    "Number of times this CPU core has been throttled.",
    &["package", "core"],
);
static PACKAGE_THROTTLES: Family = Family::counter(
    "node_cpu_package_throttles_total",
    "Number of times this CPU package has been throttled.",
    &["package"],
);

const HERTZ_PER_MEGAHERTZ: f64 = 1e6;

const PERIOD: Duration = Duration::from_secs(14);

/// The kernel's own bound (`CONFIG_NR_CPUS`) is 8,192.
const CPUS_MAX: usize = 8_192;

#[derive(Debug)]
pub(super) struct CpuInfo {
    cpuinfo: PathBuf,
    cpus: PathBuf,
    enabled: bool,
    /// Shown beside what the collector `cpufreq` says, when that runs.
    frequency: bool,
    flags: Option<Regex>,
    bugs: Option<Regex>,
    refresh: Refresh,
    models: Vec<Model>,
    isolated: Vec<u64>,
    throttles: Throttles,
}

impl CpuInfo {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let compile = |option, text: &Option<String>| {
            text.as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| filter::pattern(option, text))
                .transpose()
        };
        let flags = compile(
            "collector.cpu.info.flags-include",
            &config.cpu.flags_include,
        )?;
        let bugs = compile("collector.cpu.info.bugs-include", &config.cpu.bugs_include)?;
        Ok(Self {
            cpuinfo: config.paths.procfs.join("cpuinfo"),
            cpus: config.paths.sysfs.join("devices/system/cpu"),
            enabled: config.cpu.info || flags.is_some() || bugs.is_some(),
            frequency: config.collectors.contains_key(&CollectorName::Cpufreq),
            flags,
            bugs,
            refresh: Refresh::every(PERIOD),
            models: Vec::new(),
            isolated: Vec::new(),
            throttles: Throttles::default(),
        })
    }

    pub(super) fn collect(
        &mut self,
        now: Monotonic,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let read = if self.refresh.due(now) {
            self.read().inspect_err(|_| self.refresh.retry())
        } else {
            Ok(())
        };
        for model in &self.models {
            sink.sample(&INFO, &model.labels(), 1.0);
            if self.frequency {
                let labels = [&*model.package, &*model.core, &*model.processor];
                sink.sample(&FREQUENCY, &labels, model.hertz());
            }
        }
        if let Some(first) = self.models.first() {
            sample_words(&FLAG_INFO, &first.flags, self.flags.as_ref(), sink);
            sample_words(&BUG_INFO, &first.bugs, self.bugs.as_ref(), sink);
        }
        for cpu in &self.isolated {
            sink.sample(&ISOLATED, &[Decimal::new(*cpu).as_str()], 1.0);
        }
        self.throttles.sample(sink);
        read
    }

    fn read(&mut self) -> Result<(), CollectError> {
        self.isolated = read_once(&self.cpus.join("isolated"))
            .map(|bytes| parse_list(&bytes))
            .unwrap_or_default();
        self.throttles = Throttles::read(&self.cpus);
        if self.enabled {
            let bytes = read_once(&self.cpuinfo)
                .map_err(|error| CollectError::read(&self.cpuinfo, error))?;
            self.models = parse_models(&bytes);
        }
        Ok(())
    }
}

fn sample_words(family: &Family, words: &str, pattern: Option<&Regex>, sink: &mut dyn Sink) {
    let Some(pattern) = pattern else {
        return;
    };
    for word in words
        .split_ascii_whitespace()
        .filter(|word| pattern.is_match(word))
    {
        sink.sample(family, &[word], 1.0);
    }
}

/// Reads a list such as `1,3-5,9`; what is not one is left out.
pub(super) fn parse_list(bytes: &[u8]) -> Vec<u64> {
    let mut cpus = Vec::new();
    for part in bytes.trim_ascii().split(|b| *b == b',') {
        let (first, last) = scan::split_once(part, b'-').unwrap_or((part, part));
        if let (Some(first), Some(last)) = (scan::number(first), scan::number(last)) {
            let room = CPUS_MAX - cpus.len();
            cpus.extend((first..=last).take(room));
        }
    }
    cpus
}

/// A processor of `cpuinfo`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Model {
    processor: String,
    package: String,
    core: String,
    vendor: String,
    family: String,
    model: String,
    model_name: String,
    microcode: String,
    stepping: String,
    cache_size: String,
    megahertz: String,
    flags: String,
    bugs: String,
}

impl Model {
    fn labels(&self) -> [&str; 10] {
        [
            &self.package,
            &self.core,
            &self.processor,
            &self.vendor,
            &self.family,
            &self.model,
            &self.model_name,
            &self.microcode,
            &self.stepping,
            &self.cache_size,
        ]
    }

    /// What is not said is 0.
    fn hertz(&self) -> f64 {
        scan::float(self.megahertz.as_bytes()).unwrap_or_default() * HERTZ_PER_MEGAHERTZ
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut String> {
        Some(match name {
            b"processor" => &mut self.processor,
            b"physical id" => &mut self.package,
            b"core id" => &mut self.core,
            b"vendor_id" | b"CPU implementer" => &mut self.vendor,
            b"cpu family" | b"CPU architecture" => &mut self.family,
            b"model" | b"CPU part" => &mut self.model,
            b"model name" => &mut self.model_name,
            b"microcode" => &mut self.microcode,
            b"stepping" | b"CPU revision" => &mut self.stepping,
            b"cache size" => &mut self.cache_size,
            b"cpu MHz" => &mut self.megahertz,
            b"flags" | b"Features" => &mut self.flags,
            b"bugs" => &mut self.bugs,
            _ => return None,
        })
    }
}

pub(super) fn parse_models(bytes: &[u8]) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for line in scan::lines(bytes) {
        let Some((name, value)) = scan::split_once(line, b':') else {
            continue;
        };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        if name == b"processor" {
            if models.len() == CPUS_MAX {
                break;
            }
            models.push(Model::default());
        }
        if let Some(field) = models.last_mut().and_then(|model| model.field(name)) {
            *field = scan::text(value).into_owned();
        }
    }
    models
}

/// Throttle counts by package and by (package, core).
#[derive(Debug, Default)]
struct Throttles {
    packages: BTreeMap<u64, u64>,
    cores: BTreeMap<(u64, u64), u64>,
}

impl Throttles {
    /// The first CPU (by the name of its folder) of each package and core speaks for it.
    fn read(cpus: &Path) -> Self {
        let mut throttles = Self::default();
        for cpu in cpu_folders(cpus) {
            let number = |file: &str| -> Option<u64> {
                scan::number(read_once(&cpu.join(file)).ok()?.trim_ascii())
            };
            let (Some(package), Some(core)) = (
                number("topology/physical_package_id"),
                number("topology/core_id"),
            ) else {
                continue;
            };
            if !throttles.cores.contains_key(&(package, core))
                && let Some(count) = number("thermal_throttle/core_throttle_count")
            {
                throttles.cores.insert((package, core), count);
            }
            if !throttles.packages.contains_key(&package)
                && let Some(count) = number("thermal_throttle/package_throttle_count")
            {
                throttles.packages.insert(package, count);
            }
        }
        throttles
    }

    fn sample(&self, sink: &mut dyn Sink) {
        for ((package, core), count) in &self.cores {
            let (package, core) = (Decimal::new(*package), Decimal::new(*core));
            sink.sample(
                &CORE_THROTTLES,
                &[package.as_str(), core.as_str()],
                *count as f64,
            );
        }
        for (package, count) in &self.packages {
            sink.sample(
                &PACKAGE_THROTTLES,
                &[Decimal::new(*package).as_str()],
                *count as f64,
            );
        }
    }
}

fn cpu_folders(cpus: &Path) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(cpus) else {
        return Vec::new();
    };
    let is_cpu = |name: &[u8]| {
        name.strip_prefix(b"cpu")
            .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
    };
    let mut folders: Vec<PathBuf> = folder
        .flatten()
        .filter(|entry| is_cpu(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .take(CPUS_MAX)
        .collect();
    folders.sort_unstable();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_skip_what_is_none() {
        assert_eq!(parse_list(b"1,3-5,9\n"), [1, 3, 4, 5, 9]);
        assert_eq!(parse_list(b"\n"), [] as [u64; 0]);
        assert_eq!(parse_list(b"5-3,x,2"), [2]);
        assert_eq!(parse_list(b"0-18446744073709551615,7").len(), CPUS_MAX);
    }

    #[test]
    fn processors_of_any_architecture_are_told_apart() {
        let models = parse_models(
            b"Hardware : odd\nprocessor\t: 0\nFeatures\t: fp asimd\nCPU implementer : 0x41\n\nprocessor : 1\nvendor_id:me\n",
        );
        assert_eq!(models.len(), 2);
        assert_eq!(
            (&*models[0].vendor, &*models[0].flags),
            ("0x41", "fp asimd")
        );
        assert_eq!((&*models[1].processor, &*models[1].vendor), ("1", "me"));
    }
}
