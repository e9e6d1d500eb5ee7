//! Block devices: counters from `diskstats`, and what sysfs and udev know of each device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Collector;
use super::udev::Properties;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::{KeptFile, read_once};
use crate::refresh::Refresh;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

const DEVICE: &[&str] = &["device"];

/// What a number of `diskstats` is multiplied by: counts; sectors of 512 bytes, whatever the device's own; milliseconds.
const COUNT: f64 = 1.0;
const SECTORS: f64 = 512.0;
const MILLISECONDS: f64 = 0.001;

/// In the order of the columns after the device's name. Linux 4.18 added the discards, 5.5 the flushes.
static COLUMNS: [(f64, Family); 17] = [
    (
        COUNT,
        Family::counter(
            "node_disk_reads_completed_total",
            "The total number of reads completed successfully.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_reads_merged_total",
            "The total number of reads merged.",
            DEVICE,
        ),
    ),
    (
        SECTORS,
        Family::counter(
            "node_disk_read_bytes_total",
            "The total number of bytes read successfully.",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_read_time_seconds_total",
            "The total number of seconds spent by all reads.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_writes_completed_total",
            "The total number of writes completed successfully.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_writes_merged_total",
            "The number of writes merged.",
            DEVICE,
        ),
    ),
    (
        SECTORS,
        Family::counter(
            "node_disk_written_bytes_total",
            "The total number of bytes written successfully.",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::gauge(
            "node_disk_io_now",
            "The number of I/Os currently in progress.",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_io_time_seconds_total",
            "Total seconds spent doing I/Os.",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_io_time_weighted_seconds_total",
            "The weighted # of seconds spent doing I/Os.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_discards_completed_total",
            "The total number of discards completed successfully.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_discards_merged_total",
            "The total number of discards merged.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_discarded_sectors_total",
            "The total number of sectors discarded successfully.",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
            DEVICE,
        ),
    ),
    (
        COUNT,
        Family::counter(
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
            DEVICE,
        ),
    ),
    (
        MILLISECONDS,
        Family::counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
            DEVICE,
        ),
    ),
];

/// Lines with fewer numbers are partitions as Linux 2.6.24 and older printed them.
const NUMBERS_MIN: usize = 11;

static INFO: Family = Family::gauge(
    "node_disk_info",
    "Info of /sys/block/<block_device>.",
    &[
        "device",
        "major",
        "minor",
        "path",
        "wwn",
        "model",
        "serial",
        "revision",
        "rotational",
    ],
);
static FILESYSTEM_INFO: Family = Family::gauge(
    "node_disk_filesystem_info",
    "Info about disk filesystem.",
    &["device", "type", "usage", "uuid", "version"],
);
static DEVICE_MAPPER_INFO: Family = Family::gauge(
    "node_disk_device_mapper_info",
    "Info about disk device mapper.",
    &["device", "name", "uuid", "vg_name", "lv_name", "lv_layer"],
);
static ATA_WRITE_CACHE: Family = Family::gauge(
    "node_disk_ata_write_cache",
    "ATA disk has a write cache.",
    DEVICE,
);
static ATA_WRITE_CACHE_ENABLED: Family = Family::gauge(
    "node_disk_ata_write_cache_enabled",
    "ATA disk has its write cache enabled.",
    DEVICE,
);
static ATA_ROTATION_RATE: Family = Family::gauge(
    "node_disk_ata_rotation_rate_rpm",
    "ATA disk rotation rate in RPMs (0 for SSDs).",
    DEVICE,
);

/// How long what udev and sysfs say of a device is believed.
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Diskstats {
    file: KeptFile,
    blocks: PathBuf,
    udev_data: PathBuf,
    devices: Filter,
    refresh: Refresh,
    /// By line: what stood there last time.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    /// Major and minor number, and name.
    identity: (u64, u64, Vec<u8>),
    /// `None` when the device is not collected.
    device: Option<Device>,
}

#[derive(Debug)]
struct Device {
    name: String,
    major: String,
    minor: String,
    rotational: &'static str,
    properties: Properties,
}

impl Diskstats {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.diskstats.device-include",
            exclude: "collector.diskstats.device-exclude",
        };
        let default = HostConfig::default().diskstats;
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("diskstats")),
            blocks: config.paths.sysfs.join("block"),
            udev_data: config.paths.udev_data.clone(),
            devices: Filter::of_devices(names, &config.diskstats, default.exclude.as_deref())?,
            refresh: Refresh::every(PERIOD),
            known: Vec::new(),
        })
    }
}

impl Collector for Diskstats {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if self.refresh.due(moment.now) {
            self.known.clear();
        }
        let content = self.file.read()?;
        for (at, line) in content.lines().enumerate() {
            let Some(parsed) = parse_line(line) else {
                return Err(content.without("lines of numbers and a device's name"));
            };
            if !self.known.get(at).is_some_and(|known| known.is_of(&parsed)) {
                self.known.truncate(at);
                self.known.push(Known {
                    identity: (parsed.major, parsed.minor, parsed.name.to_vec()),
                    device: Device::read(&parsed, &self.devices, &self.blocks, &self.udev_data),
                });
            }
            if let Some(device) = self.known.get(at).and_then(|known| known.device.as_ref())
                && parsed.numbers().len() >= NUMBERS_MIN
            {
                device.sample(parsed.numbers(), sink);
            }
        }
        Ok(())
    }
}

impl Known {
    fn is_of(&self, line: &Line<'_>) -> bool {
        let (major, minor, name) = &self.identity;
        (*major, *minor, &**name) == (line.major, line.minor, line.name)
    }
}

impl Device {
    fn read(line: &Line<'_>, devices: &Filter, blocks: &Path, udev_data: &Path) -> Option<Self> {
        let name = scan::text(line.name).into_owned();
        if !devices.takes(&name) {
            return None;
        }
        Some(Self {
            rotational: rotational(blocks, &name),
            name,
            major: line.major.to_string(),
            minor: line.minor.to_string(),
            properties: Properties::read(udev_data, line.major, line.minor),
        })
    }

    fn sample(&self, numbers: &[u64], sink: &mut dyn Sink) {
        let (name, udev) = (&*self.name, &self.properties);
        let info = [
            name,
            &self.major,
            &self.minor,
            &udev.path,
            &udev.wwn,
            &udev.model,
            udev.serial(),
            &udev.revision,
            self.rotational,
        ];
        sink.sample(&INFO, &info, 1.0);
        for ((factor, family), number) in COLUMNS.iter().zip(numbers) {
            sink.sample(family, &[name], *number as f64 * factor);
        }
        if !udev.fs_type.is_empty() {
            let labels = [
                name,
                &udev.fs_type,
                &udev.fs_usage,
                &udev.fs_uuid,
                &udev.fs_version,
            ];
            sink.sample(&FILESYSTEM_INFO, &labels, 1.0);
        }
        if !udev.dm_name.is_empty() {
            let labels = [
                name,
                &udev.dm_name,
                &udev.dm_uuid,
                &udev.dm_vg_name,
                &udev.dm_lv_name,
                &udev.dm_lv_layer,
            ];
            sink.sample(&DEVICE_MAPPER_INFO, &labels, 1.0);
        }
        if !udev.ata.is_empty() {
            for (family, value) in [
                (&ATA_WRITE_CACHE, &udev.ata_write_cache),
                (&ATA_WRITE_CACHE_ENABLED, &udev.ata_write_cache_enabled),
                (&ATA_ROTATION_RATE, &udev.ata_rotation_rate_rpm),
            ] {
                if let Some(value) = scan::float(value.as_bytes()) {
                    sink.sample(family, &[name], value);
                }
            }
        }
    }
}

/// A partition, or a device without a queue, counts as not rotational.
fn rotational(blocks: &Path, name: &str) -> &'static str {
    // The kernel writes the `/` in a device's name as `!` in sysfs.
    let folder = blocks.join(name.replace('/', "!"));
    match read_once(&folder.join("queue/rotational")) {
        Ok(bytes) if bytes.trim_ascii() == b"1" => "1",
        Ok(_) | Err(_) => "0",
    }
}

#[derive(Debug)]
pub(super) struct Line<'a> {
    major: u64,
    minor: u64,
    name: &'a [u8],
    numbers: [u64; COLUMNS.len()],
    count: usize,
}

impl Line<'_> {
    fn numbers(&self) -> &[u64] {
        self.numbers.get(..self.count).unwrap_or_default()
    }
}

/// Columns beyond those known are passed over.
pub(super) fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut words = scan::words(line);
    let major = scan::number(words.next()?)?;
    let minor = scan::number(words.next()?)?;
    let name = words.next()?;
    let mut numbers = [0; COLUMNS.len()];
    let mut count = 0;
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = scan::number(word)?;
        count += 1;
    }
    Some(Line {
        major,
        minor,
        name,
        numbers,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_kernel_are_read() {
        let old = parse_line(b"  8 0 sda 1 2 3 4 5 6 7 8 9 10 11").unwrap();
        assert_eq!((old.name, old.numbers().len()), (&b"sda"[..], 11));
        let newer = parse_line(b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19").unwrap();
        assert_eq!(newer.numbers().len(), 17);
        for bad in ["8 0", "x 0 sda 1", "8 0 sda 1 x"] {
            assert!(parse_line(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
