//! Caches of block devices: `fs/bcache/UUID`.

use super::Collector;
use super::human;
use crate::error::CollectError;
use crate::folder::{Folder, Scale};
use crate::host::Moment;
use crate::{Family, HostConfig, Sink};

const CACHE: &[&str] = &["uuid"];
const BACKING: &[&str] = &["uuid", "backing_device"];
const DEVICE: &[&str] = &["uuid", "cache_device"];

/// A number, by its file.
type Number = (&'static str, Scale, Family);

static CACHE_NUMBERS: [Number; 10] = [
    (
        "average_key_size",
        Scale::One,
        Family::gauge(
            "node_bcache_average_key_size_sectors",
            "Average data per key in the btree (sectors).",
            CACHE,
        ),
    ),
    (
        "btree_cache_size",
        Scale::One,
        Family::gauge(
            "node_bcache_btree_cache_size_bytes",
            "Amount of memory currently used by the btree cache.",
            CACHE,
        ),
    ),
    (
        "cache_available_percent",
        Scale::One,
        Family::gauge(
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
            CACHE,
        ),
    ),
    (
        "congested",
        Scale::One,
        Family::gauge("node_bcache_congested", "Congestion.", CACHE),
    ),
    (
        "root_usage_percent",
        Scale::One,
        Family::gauge(
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
            CACHE,
        ),
    ),
    (
        "tree_depth",
        Scale::One,
        Family::gauge("node_bcache_tree_depth", "Depth of the btree.", CACHE),
    ),
    (
        "internal/active_journal_entries",
        Scale::One,
        Family::gauge(
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
            CACHE,
        ),
    ),
    (
        "internal/btree_nodes",
        Scale::One,
        Family::gauge(
            "node_bcache_btree_nodes",
            "Total nodes in the btree.",
            CACHE,
        ),
    ),
    (
        // Nanoseconds, whatever its name says.
        "internal/btree_read_average_duration_us",
        Scale::Times(1e-9),
        Family::gauge(
            "node_bcache_btree_read_average_duration_seconds",
            "Average btree read duration.",
            CACHE,
        ),
    ),
    (
        "internal/cache_read_races",
        Scale::One,
        Family::counter(
            "node_bcache_cache_read_races_total",
            "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.",
            CACHE,
        ),
    ),
];

static BACKING_NUMBERS: [Number; 7] = [
    (
        "dirty_data",
        Scale::One,
        Family::gauge(
            "node_bcache_dirty_data_bytes",
            "Amount of dirty data for this backing device in the cache.",
            BACKING,
        ),
    ),
    (
        "stats_total/bypassed",
        Scale::One,
        Family::counter(
            "node_bcache_bypassed_bytes_total",
            "Amount of IO (both reads and writes) that has bypassed the cache.",
            BACKING,
        ),
    ),
    (
        "stats_total/cache_hits",
        Scale::One,
        Family::counter(
            "node_bcache_cache_hits_total",
            "Hits counted per individual IO as bcache sees them.",
            BACKING,
        ),
    ),
    (
        "stats_total/cache_misses",
        Scale::One,
        Family::counter(
            "node_bcache_cache_misses_total",
            "Misses counted per individual IO as bcache sees them.",
            BACKING,
        ),
    ),
    (
        "stats_total/cache_bypass_hits",
        Scale::One,
        Family::counter(
            "node_bcache_cache_bypass_hits_total",
            "Hits for IO intended to skip the cache.",
            BACKING,
        ),
    ),
    (
        "stats_total/cache_bypass_misses",
        Scale::One,
        Family::counter(
            "node_bcache_cache_bypass_misses_total",
            "Misses for IO intended to skip the cache.",
            BACKING,
        ),
    ),
    (
        "stats_total/cache_miss_collisions",
        Scale::One,
        Family::counter(
            "node_bcache_cache_miss_collisions_total",
            "Instances where data insertion from cache miss raced with write (data already present).",
            BACKING,
        ),
    ),
];
/// Linux 5.16 took it away.
static READAHEADS: Family = Family::counter(
    "node_bcache_cache_readaheads_total",
    "Count of times readahead occurred.",
    BACKING,
);

/// By the words of `writeback_rate_debug`.
static WRITEBACK: [(&str, Family); 5] = [
    (
        "target",
        Family::gauge(
            "node_bcache_dirty_target_bytes",
            "Current dirty data target threshold for this backing device in bytes.",
            BACKING,
        ),
    ),
    (
        "rate",
        Family::gauge(
            "node_bcache_writeback_rate",
            "Current writeback rate for this backing device in bytes.",
            BACKING,
        ),
    ),
    (
        "proportional",
        Family::gauge(
            "node_bcache_writeback_rate_proportional_term",
            "Current result of proportional controller, part of writeback rate",
            BACKING,
        ),
    ),
    (
        "integral",
        Family::gauge(
            "node_bcache_writeback_rate_integral_term",
            "Current result of integral controller, part of writeback rate",
            BACKING,
        ),
    ),
    (
        "change",
        Family::gauge(
            "node_bcache_writeback_change",
            "Last writeback rate change step for this backing device.",
            BACKING,
        ),
    ),
];

static DEVICE_NUMBERS: [Number; 3] = [
    (
        "io_errors",
        Scale::One,
        Family::gauge(
            "node_bcache_io_errors",
            "Number of errors that have occurred, decayed by io_error_halflife.",
            DEVICE,
        ),
    ),
    (
        "metadata_written",
        Scale::One,
        Family::counter(
            "node_bcache_metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
            DEVICE,
        ),
    ),
    (
        "written",
        Scale::One,
        Family::counter(
            "node_bcache_written_bytes_total",
            "Sum of all data that has been written to the cache.",
            DEVICE,
        ),
    ),
];
/// By the words of `priority_stats`.
static PRIORITIES: [(&str, Family); 2] = [
    (
        "Unused",
        Family::gauge(
            "node_bcache_priority_stats_unused_percent",
            "The percentage of the cache that doesn't contain any data.",
            DEVICE,
        ),
    ),
    (
        "Metadata",
        Family::gauge(
            "node_bcache_priority_stats_metadata_percent",
            "Bcache's metadata overhead.",
            DEVICE,
        ),
    ),
];

#[derive(Debug)]
pub(super) struct Bcache {
    caches: Folder,
    priority_stats: bool,
}

impl Bcache {
    pub(super) fn new(config: &HostConfig) -> Self {
        Self {
            caches: Folder::new(config.paths.sysfs.join("fs/bcache")),
            priority_stats: config.bcache_priority_stats,
        }
    }
}

impl Collector for Bcache {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if !self.caches.exists() {
            return Ok(());
        }
        for cache in self.caches.folders()? {
            let uuid = cache.name();
            if !uuid.contains('-') {
                continue;
            }
            sample_numbers(&cache, &CACHE_NUMBERS, &[&uuid], sink)?;
            for (number, backing) in cache.numbered("bdev")? {
                sample_backing(&uuid, &format!("bdev{number}"), &backing, sink)?;
            }
            for (number, device) in cache.numbered("cache")? {
                let labels = [&*uuid, &*format!("cache{number}")];
                sample_numbers(&device, &DEVICE_NUMBERS, &labels, sink)?;
                if self.priority_stats {
                    sample_words(
                        &device,
                        "priority_stats",
                        &PRIORITIES,
                        &labels,
                        percent,
                        sink,
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn sample_backing(
    uuid: &str,
    name: &str,
    folder: &Folder,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let labels = [uuid, name];
    sample_numbers(folder, &BACKING_NUMBERS, &labels, sink)?;
    if let Some(text) = folder.optional_text("stats_total/cache_readaheads")? {
        let value =
            size(&text).ok_or_else(|| not_a_size(folder, "stats_total/cache_readaheads"))?;
        sink.sample(&READAHEADS, &labels, value);
    }
    sample_words(
        folder,
        "writeback_rate_debug",
        &WRITEBACK,
        &labels,
        rate,
        sink,
    )
}

fn sample_numbers(
    folder: &Folder,
    numbers: &[Number],
    labels: &[&str],
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    for (file, scale, family) in numbers {
        let value = size(&folder.text(file)?).ok_or_else(|| not_a_size(folder, file))?;
        sink.sample(family, labels, scale.of(value));
    }
    Ok(())
}

/// Samples lines of `word: value`; a word that is missing is 0.
fn sample_words(
    folder: &Folder,
    file: &str,
    families: &[(&str, Family)],
    labels: &[&str],
    parse: fn(&str) -> Option<f64>,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let text = folder.text(file)?;
    for (word, family) in families {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let written = lines.rfind(|(name, _)| name.trim() == *word);
        let value = match written {
            Some((_, value)) => parse(value.trim()).ok_or_else(|| not_a_size(folder, file))?,
            None => 0.0,
        };
        sink.sample(family, labels, value);
    }
    Ok(())
}

fn not_a_size(folder: &Folder, file: &str) -> CollectError {
    CollectError::parse(&folder.path().join(file), "a size as bcache prints it")
}

/// Reads a size. What bcache prints after the point are not decimal digits but 1,024ths divided by 100.
fn size(text: &str) -> Option<f64> {
    let (number, factor) = human::split_unit(text);
    if factor == 1.0 {
        return Some(number.parse::<f64>().ok()?.trunc());
    }
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, part): (f64, f64) = (whole.parse().ok()?, part.parse().ok()?);
    Some(((whole + part / 10.24) * factor).trunc())
}

/// Reads a size, perhaps below 0, perhaps per second.
fn rate(text: &str) -> Option<f64> {
    let text = text.strip_suffix("/sec").unwrap_or(text);
    match text.strip_prefix('-') {
        Some(text) => size(text).map(|size| -size),
        None => size(text),
    }
}

fn percent(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    digits.parse::<u32>().ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_parts_of_their_own_kind() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("512", Some(512.0)),
            ("1.1M", Some(1_150_976.0)),
            ("427.5k", Some(437_748.0)),
            ("2G", Some(2_147_483_648.0)),
            ("", None),
            (".k", None),
            ("lots", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!(rate("-1.1M/sec"), Some(-1_150_976.0));
        assert_eq!(percent("99%"), Some(99.0));
        assert_eq!(percent("%"), None);
    }
}
