//! Mounted btrfs file systems: `fs/btrfs/UUID`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const FILE_SYSTEM: &[&str] = &["uuid"];
const LAYOUT: &[&str] = &["uuid", "block_group_type", "mode"];

static INFO: Family = Family::gauge(
    "node_btrfs_info",
    "Filesystem information",
    &["uuid", "label"],
);
static RESERVE: Family = Family::gauge(
    "node_btrfs_global_rsv_size_bytes",
    "Size of global reserve.",
    FILE_SYSTEM,
);
/// By the words of `commit_stats`; the kernel counts in milliseconds.
static COMMITS: [(&str, f64, Family); 4] = [
    (
        "commits",
        1.0,
        Family::counter(
            "node_btrfs_commits_total",
            "The total number of commits that have occurred.",
            FILE_SYSTEM,
        ),
    ),
    (
        "last_commit_ms",
        1_000.0,
        Family::gauge(
            "node_btrfs_last_commit_seconds",
            "Duration of the most recent commit, in seconds.",
            FILE_SYSTEM,
        ),
    ),
    (
        "max_commit_ms",
        1_000.0,
        Family::gauge(
            "node_btrfs_max_commit_seconds",
            "Duration of the slowest commit, in seconds.",
            FILE_SYSTEM,
        ),
    ),
    (
        "total_commit_ms",
        1_000.0,
        Family::counter(
            "node_btrfs_commit_seconds_total",
            "Sum of the duration of all commits, in seconds.",
            FILE_SYSTEM,
        ),
    ),
];
static RESERVED: Family = Family::gauge(
    "node_btrfs_reserved_bytes",
    "Amount of space reserved for a data type",
    &["uuid", "block_group_type"],
);
static USED: Family = Family::gauge(
    "node_btrfs_used_bytes",
    "Amount of used space by a layout/data type",
    LAYOUT,
);
static SIZE: Family = Family::gauge(
    "node_btrfs_size_bytes",
    "Amount of space allocated for a layout/data type",
    LAYOUT,
);
static RATIO: Family = Family::gauge(
    "node_btrfs_allocation_ratio",
    "Data allocation ratio for a layout/data type",
    LAYOUT,
);
static DEVICE_SIZE: Family = Family::gauge(
    "node_btrfs_device_size_bytes",
    "Size of a device that is part of the filesystem.",
    &["uuid", "device"],
);

const BLOCK_GROUPS: [&str; 3] = ["data", "metadata", "system"];
/// The kernel counts sectors of 512 bytes, whatever the device's own.
const SECTOR_BYTES: f64 = 512.0;

#[derive(Debug)]
pub(super) struct Btrfs {
    file_systems: Folder,
}

impl Btrfs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file_systems: Folder::new(paths.sysfs.join("fs/btrfs")),
        }
    }
}

impl Collector for Btrfs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let folders = optional(self.file_systems.folders())?.unwrap_or_default();
        // Beside the file systems lie what the kernel can do, and its defaults.
        for folder in folders.iter().filter(|folder| folder.name().contains('-')) {
            sample(folder, sink)?;
        }
        Ok(())
    }
}

fn sample(folder: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let devices = folder.folder("devices").folders()?;
    let uuid = match folder.text_or_empty("metadata_uuid") {
        uuid if uuid.is_empty() => folder.name().into_owned(),
        uuid => uuid,
    };
    sink.sample(&INFO, &[&uuid, &folder.text_or_empty("label")], 1.0);
    let reserve = number(folder, "allocation/global_rsv_size")?;
    sink.sample(&RESERVE, &[&uuid], reserve);
    let commits = folder.text_or_empty("commit_stats");
    for (word, divisor, family) in &COMMITS {
        let mut pairs = commits.lines().filter_map(|line| line.split_once(' '));
        let written = pairs.find(|(name, _)| name == word);
        let count = written.and_then(|(_, count)| count.trim().parse::<u64>().ok());
        let count = count.unwrap_or_default() as f64;
        sink.sample(family, &[&uuid], count / divisor);
    }
    for group in BLOCK_GROUPS {
        let allocation = folder.folder("allocation").folder(group);
        let reserved = number(&allocation, "bytes_reserved")?;
        sink.sample(&RESERVED, &[&uuid, group], reserved);
        for layout in optional(allocation.folders())?.unwrap_or_default() {
            let mode = layout.name();
            let labels = [&*uuid, group, &*mode];
            sink.sample(&USED, &labels, number(&layout, "used_bytes")?);
            sink.sample(&SIZE, &labels, number(&layout, "total_bytes")?);
            sink.sample(&RATIO, &labels, ratio(&mode, devices.len() as f64));
        }
    }
    for device in &devices {
        let size = number(device, "size")? * SECTOR_BYTES;
        sink.sample(&DEVICE_SIZE, &[&uuid, &device.name()], size);
    }
    Ok(())
}

/// What the kernel does not offer is 0.
fn number(folder: &Folder, file: &str) -> Result<f64, CollectError> {
    Ok(folder.optional_number(file)?.unwrap_or_default())
}

/// How many bytes of its devices a byte takes.
fn ratio(mode: &str, devices: f64) -> f64 {
    match mode {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}
