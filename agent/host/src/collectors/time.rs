//! The clock, its zone, and the clock sources.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::refresh::Refresh;
use crate::timezone::Zone;
use crate::{Family, Paths, Sink, scan};

static SECONDS: Family = Family::gauge(
    "node_time_seconds",
    "System time in seconds since epoch (1970).",
    &[],
);
static ZONE_OFFSET: Family = Family::gauge(
    "node_time_zone_offset_seconds",
    "System time zone offset in seconds.",
    &["time_zone"],
);
static AVAILABLE: Family = Family::gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
    &["device", "clocksource"],
);
static CURRENT: Family = Family::gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
    &["device", "clocksource"],
);

/// How long the zone and the clock sources are believed; a collection every 15 s reads them each time.
const PERIOD: Duration = Duration::from_secs(14);

/// A machine has one.
const SOURCES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Time {
    paths: Paths,
    refresh: Refresh,
    zone: Zone,
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    device: String,
    available: String,
    current: String,
}

impl Time {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            paths: paths.clone(),
            refresh: Refresh::every(PERIOD),
            zone: Zone::utc(),
            sources: Vec::new(),
        }
    }

    fn read(&mut self) {
        let localtime = resolve(&self.paths, Path::new("/etc/localtime"));
        self.zone = read_once(&localtime)
            .ok()
            .and_then(|bytes| Zone::parse(&bytes))
            .unwrap_or_else(Zone::utc);
        self.sources = read_sources(&self.paths.sysfs.join("devices/system/clocksource"));
    }
}

impl Collector for Time {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if self.refresh.due(moment.now) {
            self.read();
        }
        let since_epoch = moment
            .wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        sink.sample(&SECONDS, &[], since_epoch.as_nanos() as f64 / 1e9);
        let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        let (name, offset) = self.zone.at(seconds);
        sink.sample(&ZONE_OFFSET, &[name], f64::from(offset));
        for source in &self.sources {
            for name in source.available.split_ascii_whitespace() {
                sink.sample(&AVAILABLE, &[&source.device, name], 1.0);
            }
            if !source.current.is_empty() {
                sink.sample(&CURRENT, &[&source.device, &source.current], 1.0);
            }
        }
        Ok(())
    }
}

/// Follows one absolute link within the node's root: `/etc/localtime` points to `/usr/share/zoneinfo/...`.
fn resolve(paths: &Paths, path: &Path) -> PathBuf {
    let here = paths.in_rootfs(path);
    match std::fs::read_link(&here) {
        Ok(target) if target.is_absolute() => paths.in_rootfs(&target),
        Ok(_) | Err(_) => here,
    }
}

fn read_sources(folder: &Path) -> Vec<Source> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut sources: Vec<Source> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let device = name.to_str()?.strip_prefix("clocksource")?;
            let text = |file: &str| -> Option<String> {
                let bytes = read_once(&entry.path().join(file)).ok()?;
                Some(scan::text(bytes.trim_ascii()).into_owned())
            };
            Some(Source {
                device: device.to_owned(),
                available: text("available_clocksource")?,
                current: text("current_clocksource")?,
            })
        })
        .take(SOURCES_MAX)
        .collect();
    sources.sort_by(|a, b| a.device.cmp(&b.device));
    sources
}
