//! Whether SELinux is enabled, and its cache: `fs/selinux`.

use std::path::{Path, PathBuf};

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{Family, Paths, Sink, scan};

static ENABLED: Family = Family::gauge(
    "node_selinux_enabled",
    "SELinux is enabled, 1 is true, 0 is false",
    &[],
);
static CONFIG_MODE: Family = Family::gauge(
    "node_selinux_config_mode",
    "Configured SELinux enforcement mode",
    &[],
);
static CURRENT_MODE: Family = Family::gauge(
    "node_selinux_current_mode",
    "Current SELinux enforcement mode",
    &[],
);
/// In the order of the columns of `avc/cache_stats`.
static CACHE: [Family; 6] = [
    Family::counter("node_selinux_avc_lookups_total", "SELinux AVC lookups", &[]),
    Family::counter("node_selinux_avc_hits_total", "SELinux AVC hits", &[]),
    Family::counter("node_selinux_avc_misses_total", "SELinux AVC misses", &[]),
    Family::counter(
        "node_selinux_avc_allocations_total",
        "SELinux AVC allocations",
        &[],
    ),
    Family::counter(
        "node_selinux_avc_reclaims_total",
        "SELinux AVC reclaims",
        &[],
    ),
    Family::counter("node_selinux_avc_frees_total", "SELinux AVC frees", &[]),
];
static HASH_ENTRIES: Family = Family::gauge(
    "node_selinux_avc_hash_entries",
    "SELinux AVC hash entries",
    &[],
);
static HASH_BUCKETS_USED: Family = Family::gauge(
    "node_selinux_avc_hash_buckets_used",
    "SELinux AVC hash buckets used",
    &[],
);
static HASH_BUCKETS_AVAILABLE: Family = Family::gauge(
    "node_selinux_avc_hash_buckets_available",
    "SELinux AVC hash buckets available",
    &[],
);
static HASH_LONGEST_CHAIN: Family = Family::gauge(
    "node_selinux_avc_hash_longest_chain",
    "SELinux AVC hash longest chain",
    &[],
);
static THRESHOLD: Family =
    Family::gauge("node_selinux_avc_threshold", "SELinux AVC threshold", &[]);

#[derive(Debug)]
pub(super) struct Selinux {
    folder: Folder,
    config: PathBuf,
}

impl Selinux {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.sysfs.join("fs/selinux")),
            config: paths.in_rootfs(Path::new("/etc/selinux/config")),
        }
    }

    /// 1 enforcing, 0 permissive, -1 disabled or not said.
    fn configured_mode(&self) -> f64 {
        let bytes = read_once(&self.config).unwrap_or_default();
        let lines = scan::lines(&bytes).map(<[u8]>::trim_ascii);
        let modes = lines.filter_map(|line| line.strip_prefix(b"SELINUX="));
        match modes.last().unwrap_or_default() {
            b"enforcing" => 1.0,
            b"permissive" => 0.0,
            _ => -1.0,
        }
    }
}

impl Collector for Selinux {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let Some(mode) = self.folder.optional_number("enforce")? else {
            sink.sample(&ENABLED, &[], 0.0);
            return Ok(());
        };
        sink.sample(&ENABLED, &[], 1.0);
        sink.sample(&CONFIG_MODE, &[], self.configured_mode());
        sink.sample(&CURRENT_MODE, &[], mode);
        let cache = self.folder.folder("avc");
        let sums = cache.parsed("cache_stats", sum_columns)?;
        for (family, sum) in CACHE.iter().zip(sums.unwrap_or_default()) {
            sink.sample(family, &[], sum as f64);
        }
        let hash = cache.parsed("hash_stats", parse_hash)?.unwrap_or_default();
        for (family, number) in [
            &HASH_ENTRIES,
            &HASH_BUCKETS_USED,
            &HASH_BUCKETS_AVAILABLE,
            &HASH_LONGEST_CHAIN,
        ]
        .into_iter()
        .zip(hash)
        {
            sink.sample(family, &[], number as f64);
        }
        sink.sample(&THRESHOLD, &[], cache.number("cache_threshold")?);
        Ok(())
    }
}

/// A line of names stands above one line per CPU.
fn sum_columns(text: &str) -> Option<[u64; 6]> {
    let mut sums = [0_u64; 6];
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        for sum in &mut sums {
            *sum = sum.saturating_add(words.next()?.parse().ok()?);
        }
    }
    Some(sums)
}

/// Reads `entries: A`, `buckets used: B/C`, `longest chain: D`.
fn parse_hash(text: &str) -> Option<[u64; 4]> {
    let after = |name: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(word, _)| *word == name)
            .map(|(_, value)| value.trim())
    };
    let (used, available) = after("buckets used")?.split_once('/')?;
    let number = |text: &str| text.parse().ok();
    Some([
        number(after("entries")?)?,
        number(used)?,
        number(available)?,
        number(after("longest chain")?)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_the_cache_are_read() {
        let text = "lookups hits misses allocations reclaims frees\n1 2 3 4 5 6\n10 20 30 40 50 60";
        assert_eq!(sum_columns(text), Some([11, 22, 33, 44, 55, 66]));
        assert_eq!(sum_columns("lookups\n1 2"), None);
        let text = "entries: 503\nbuckets used: 293/512\nlongest chain: 6";
        assert_eq!(parse_hash(text), Some([503, 293, 512, 6]));
        assert_eq!(parse_hash("entries: 503"), None);
    }
}
