//! Mounted bcachefs file systems: `fs/bcachefs/UUID`.

use model::MetricType;

use super::Collector;
use super::human;
use crate::error::CollectError;
use crate::family_cache::{FamilyCache, metric_name};
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const DEVICE: &[&str] = &["uuid", "device"];

static INFO: Family = Family::gauge("node_bcachefs_info", "Filesystem information.", &["uuid"]);
static BTREE_CACHE: Family = Family::gauge(
    "node_bcachefs_btree_cache_size_bytes",
    "Btree cache memory usage in bytes.",
    &["uuid"],
);
static COMPRESSED: Family = Family::gauge(
    "node_bcachefs_compression_compressed_bytes",
    "Compressed size by algorithm.",
    &["uuid", "algorithm"],
);
static UNCOMPRESSED: Family = Family::gauge(
    "node_bcachefs_compression_uncompressed_bytes",
    "Uncompressed size by algorithm.",
    &["uuid", "algorithm"],
);
static ERRORS: Family = Family::counter(
    "node_bcachefs_errors_total",
    "Error count by error type.",
    &["uuid", "error_type"],
);
static BTREE_WRITES: Family = Family::counter(
    "node_bcachefs_btree_writes_total",
    "Number of btree writes by type.",
    &["uuid", "type"],
);
static BTREE_WRITE_SIZE: Family = Family::gauge(
    "node_bcachefs_btree_write_average_size_bytes",
    "Average btree write size by type.",
    &["uuid", "type"],
);
static DEVICE_INFO: Family = Family::gauge(
    "node_bcachefs_device_info",
    "Device information.",
    &["uuid", "device", "label", "state"],
);
static BUCKET_SIZE: Family = Family::gauge(
    "node_bcachefs_device_bucket_size_bytes",
    "Bucket size in bytes.",
    DEVICE,
);
static BUCKETS: Family = Family::gauge(
    "node_bcachefs_device_buckets",
    "Total number of buckets.",
    DEVICE,
);
static DURABILITY: Family = Family::gauge(
    "node_bcachefs_device_durability",
    "Device durability setting.",
    DEVICE,
);
static IO_DONE: Family = Family::counter(
    "node_bcachefs_device_io_done_bytes_total",
    "IO bytes by operation type and data type.",
    &["uuid", "device", "operation", "data_type"],
);
static IO_ERRORS: Family = Family::counter(
    "node_bcachefs_device_io_errors_total",
    "IO errors by error type.",
    &["uuid", "device", "type"],
);

#[derive(Debug)]
pub(super) struct Bcachefs {
    file_systems: Folder,
    counters: FamilyCache,
}

impl Bcachefs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file_systems: Folder::new(paths.sysfs.join("fs/bcachefs")),
            counters: FamilyCache::default(),
        }
    }

    fn sample(&mut self, folder: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let uuid = &*folder.name();
        sink.sample(&INFO, &[uuid], 1.0);
        let cache = folder.parsed("btree_cache_size", human::bytes)?;
        sink.sample(&BTREE_CACHE, &[uuid], cache.unwrap_or_default());
        // Two tables with a line of headings.
        for_lines(folder, "compression_stats", 1, |line| {
            let [algorithm, compressed, uncompressed] = words(line)?;
            let algorithm = [uuid, algorithm.trim_end_matches(':')];
            sink.sample(&COMPRESSED, &algorithm, human::bytes(compressed)?);
            sink.sample(&UNCOMPRESSED, &algorithm, human::bytes(uncompressed)?);
            Some(())
        })?;
        for_lines(folder, "btree_write_stats", 1, |line| {
            let [kind, count, size] = words(line)?;
            let kind = [uuid, kind.trim_end_matches(':')];
            sink.sample(&BTREE_WRITES, &kind, count.parse::<u64>().ok()? as f64);
            sink.sample(&BTREE_WRITE_SIZE, &kind, human::bytes(size)?);
            Some(())
        })?;
        for_lines(folder, "errors", 0, |line| {
            let [kind, count] = words(line)?;
            let count = count.parse::<u64>().ok()?;
            sink.sample(&ERRORS, &[uuid, kind], count as f64);
            Some(())
        })?;
        self.sample_counters(uuid, &folder.folder("counters"), sink)?;
        for device in folder.folders()? {
            if let Some(name) = device.name().strip_prefix("dev-") {
                sample_device(uuid, name, &device, sink)?;
            }
        }
        Ok(())
    }

    fn sample_counters(
        &mut self,
        uuid: &str,
        folder: &Folder,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        for name in optional(folder.entries())?.unwrap_or_default() {
            let Some(count) = folder.parsed(&name, since_creation)? else {
                continue;
            };
            let family = self.counters.get(&name, || {
                let family = Family::dynamic(
                    format!("node_bcachefs_{}_total", metric_name(&name)),
                    format!("Bcachefs counter {name} since filesystem creation."),
                    MetricType::Counter,
                );
                Some(family.with_labels(&["uuid"]))
            });
            if let Some(family) = family {
                sink.sample(family, &[uuid], count);
            }
        }
        Ok(())
    }
}

impl Collector for Bcachefs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let nothing = CollectError::NoData("no bcachefs is mounted");
        let folders = match optional(self.file_systems.folders())? {
            Some(folders) if !folders.is_empty() => folders,
            Some(_) | None => return Err(nothing),
        };
        for folder in folders {
            self.sample(&folder, sink)?;
        }
        Ok(())
    }
}

fn sample_device(
    uuid: &str,
    name: &str,
    folder: &Folder,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let device = [uuid, name];
    let (label, state) = (folder.text_or_empty("label"), folder.text_or_empty("state"));
    sink.sample(&DEVICE_INFO, &[uuid, name, &label, &state], 1.0);
    let bucket = folder.parsed("bucket_size", human::bytes)?;
    sink.sample(&BUCKET_SIZE, &device, bucket.unwrap_or_default());
    for (file, family) in [("nbuckets", &BUCKETS), ("durability", &DURABILITY)] {
        let number = folder.optional_number(file)?.unwrap_or_default();
        sink.sample(family, &device, number);
    }
    let mut operation = "";
    let done = folder.text_or_empty("io_done");
    for line in done.lines().map(str::trim) {
        match (line, line.split_once(':')) {
            ("read:", _) => operation = "read",
            ("write:", _) => operation = "write",
            (_, Some((kind, count))) if !operation.is_empty() => {
                let count = count.trim().parse::<u64>().map_err(|_| {
                    CollectError::parse(&folder.path().join("io_done"), "bytes by kind of data")
                })?;
                let labels = [uuid, name, operation, kind.trim()];
                sink.sample(&IO_DONE, &labels, count as f64);
            }
            _ => {}
        }
    }
    let errors = folder.text_or_empty("io_errors");
    let since_creation = errors
        .lines()
        .skip_while(|line| !line.starts_with("IO errors since filesystem creation"))
        .skip(1)
        .take_while(|line| !line.starts_with("IO errors since "));
    for (kind, count) in since_creation.filter_map(|line| line.split_once(':')) {
        let count = count
            .trim()
            .parse::<u64>()
            .map_err(|_| CollectError::parse(&folder.path().join("io_errors"), "errors by kind"))?;
        sink.sample(&IO_ERRORS, &[uuid, name, kind.trim()], count as f64);
    }
    Ok(())
}

/// Reads a counter: a line since the mount, and a line since the beginning.
fn since_creation(text: &str) -> Option<f64> {
    let after = |start| text.lines().find_map(|line| line.strip_prefix(start));
    match after("since filesystem creation:") {
        Some(count) => human::bytes(count),
        None => after("since mount:").and_then(human::bytes).map(|_| 0.0),
    }
}

/// Calls `take` for each line that has words; a file that is missing has none.
fn for_lines(
    folder: &Folder,
    file: &str,
    headings: usize,
    mut take: impl FnMut(&str) -> Option<()>,
) -> Result<(), CollectError> {
    let text = folder.optional_text(file)?.unwrap_or_default();
    for line in text.lines().skip(headings) {
        if line.split_ascii_whitespace().nth(1).is_some() {
            take(line).ok_or_else(|| {
                CollectError::parse(&folder.path().join(file), "lines of words and counts")
            })?;
        }
    }
    Ok(())
}

/// Returns the first words of a line; further ones are passed over.
fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut words = line.split_ascii_whitespace();
    let mut first = [""; N];
    for word in &mut first {
        *word = words.next()?;
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_count_from_the_beginning() {
        let both = "since mount:                 14\nsince filesystem creation:   1.5k\n";
        assert_eq!(since_creation(both), Some(1_536.0));
        assert_eq!(since_creation("since mount: 14"), Some(0.0));
        for bad in ["", "14", "since filesystem creation: x"] {
            assert_eq!(since_creation(bad), None, "{bad}");
        }
    }
}
