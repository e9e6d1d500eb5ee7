//! Software RAID: `mdstat`, and what sysfs says of each device.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

const DEVICE: &[&str] = &["device"];

static BLOCKS: Family = Family::gauge(
    "node_md_blocks",
    "Total number of blocks on device.",
    DEVICE,
);
static BLOCKS_SYNCED: Family = Family::gauge(
    "node_md_blocks_synced",
    "Number of blocks synced on device.",
    DEVICE,
);
static DISKS: Family = Family::gauge(
    "node_md_disks",
    "Number of active/failed/spare disks of device.",
    &["device", "state"],
);
static DISKS_REQUIRED: Family = Family::gauge(
    "node_md_disks_required",
    "Total number of disks of device.",
    DEVICE,
);
static STATE: Family = Family::gauge(
    "node_md_state",
    "Indicates the state of md-device.",
    &["device", "state"],
);
static RAID_DISKS: Family = Family::gauge(
    "node_md_raid_disks",
    "Number of raid disks on device.",
    DEVICE,
);
static DEGRADED: Family = Family::gauge(
    "node_md_degraded",
    "Number of degraded disks on device.",
    DEVICE,
);

const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];
/// What a line of progress is recognised by, and the state it means.
const PROGRESS: [(&[u8], &str); 4] = [
    (b"recovery", "recovering"),
    (b"check", "check"),
    (b"reshape", "reshape"),
    (b"resync", "resync"),
];

#[derive(Debug)]
pub(super) struct Mdadm {
    file: KeptFile,
    blocks: Folder,
}

impl Mdadm {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("mdstat")),
            blocks: Folder::new(paths.sysfs.join("block")),
        }
    }

    fn sample_sysfs(&self, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for name in optional(self.blocks.entries())?.unwrap_or_default() {
            if !name.starts_with("md") {
                continue;
            }
            let device = self.blocks.folder(&name).folder("md");
            if let Some(disks) = device.parsed("raid_disks", first_number)? {
                sink.sample(&RAID_DISKS, &[&name], disks);
                // A level without redundancy cannot be degraded.
                let degraded = device.optional_number("degraded")?.unwrap_or_default();
                sink.sample(&DEGRADED, &[&name], degraded);
            }
        }
        Ok(())
    }
}

impl Collector for Mdadm {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("there is no software RAID"))?;
        let mut lines = content.bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if !is_device(line) {
                continue;
            }
            let wrong = || content.without("a device, its size, and its progress");
            let status = lines.next().ok_or_else(wrong)?;
            let mut device = Device::parse(line, status).ok_or_else(wrong)?;
            // Lines of a bitmap and of progress may follow, until one that is empty.
            while let Some(line) = lines.next_if(|line| !line.trim_ascii().is_empty()) {
                device.take_progress(line).ok_or_else(wrong)?;
            }
            device.sample(sink);
        }
        self.sample_sysfs(sink)
    }
}

/// Lines of devices start with their names; those of what belongs to them, with blanks.
fn is_device(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| !byte.is_ascii_whitespace())
        && !line.starts_with(b"Personalities")
        && !line.starts_with(b"unused")
}

/// While a device is reshaped, the file shows the new number of disks and, in parentheses, the old.
fn first_number(text: &str) -> Option<f64> {
    scan::integer(text.split_ascii_whitespace().next()?.as_bytes())
}

#[derive(Debug, PartialEq)]
pub(super) struct Device {
    name: String,
    state: &'static str,
    blocks: u64,
    blocks_synced: u64,
    disks_active: u64,
    disks_failed: u64,
    disks_spare: u64,
    disks_required: u64,
}

impl Device {
    /// Reads `NAME : STATE LEVEL DISK[N] ...` and `BLOCKS blocks ... [REQUIRED/ACTIVE] [UU_]`.
    pub(super) fn parse(line: &[u8], status: &[u8]) -> Option<Self> {
        let mut words = scan::words(line);
        let name = scan::text(words.next()?).into_owned();
        let state = match words.nth(1)? {
            b"inactive" => "inactive",
            _ => "active",
        };
        let blocks = scan::number(scan::words(status).next()?)?;
        let count = |pattern: &[u8]| {
            let found = line.windows(pattern.len()).filter(|part| *part == pattern);
            found.count() as u64
        };
        let has_no_redundancy = count(b"raid0") + count(b"linear") > 0;
        let (disks_required, disks_active) = if has_no_redundancy {
            (count(b"["), count(b"["))
        } else if state == "inactive" {
            (0, 0)
        } else {
            disks(status)?
        };
        Some(Self {
            name,
            state,
            blocks,
            blocks_synced: blocks,
            disks_active,
            disks_failed: count(b"(F)"),
            disks_spare: count(b"(S)"),
            disks_required,
        })
    }

    /// Reads `resync = 8.5% (SYNCED/BLOCKS) ...` or `resync=DELAYED`; other lines are passed over.
    pub(super) fn take_progress(&mut self, line: &[u8]) -> Option<()> {
        let has = |pattern: &[u8]| line.windows(pattern.len()).any(|part| part == pattern);
        let Some((_, state)) = PROGRESS.iter().find(|(word, _)| has(word)) else {
            return Some(());
        };
        if has(b"bitmap") {
            return Some(());
        }
        self.state = state;
        self.blocks_synced = if has(b"PENDING") || has(b"DELAYED") {
            0
        } else {
            let (_, after) = scan::split_once(line, b'(')?;
            scan::number(scan::split_once(after, b'/')?.0)?
        };
        Some(())
    }

    fn sample(&self, sink: &mut dyn Sink) {
        let name = &*self.name;
        sink.sample(&BLOCKS, &[name], self.blocks as f64);
        sink.sample(&BLOCKS_SYNCED, &[name], self.blocks_synced as f64);
        sink.sample(&DISKS_REQUIRED, &[name], self.disks_required as f64);
        for (state, disks) in [
            ("active", self.disks_active),
            ("failed", self.disks_failed),
            ("spare", self.disks_spare),
        ] {
            sink.sample(&DISKS, &[name, state], disks as f64);
        }
        for state in STATES {
            sink.sample(
                &STATE,
                &[name, state],
                f64::from(u8::from(state == self.state)),
            );
        }
    }
}

/// Reads `[REQUIRED/ACTIVE]`.
fn disks(status: &[u8]) -> Option<(u64, u64)> {
    scan::words(status).find_map(|word| {
        let (required, active) =
            scan::split_once(word.strip_prefix(b"[")?.strip_suffix(b"]")?, b'/')?;
        Some((scan::number(required)?, scan::number(active)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_all_kinds_are_read() {
        let redundant = Device::parse(
            b"md1 : active raid5 sda1[0] sdb1[1](F) sdc1[2](S)",
            b"      100 blocks super 1.2 level 5, 64k chunk [3/2] [U_U]",
        );
        let mut device = redundant.unwrap();
        let disks = |device: &Device| {
            let Device {
                disks_required,
                disks_active,
                disks_failed,
                disks_spare,
                ..
            } = *device;
            (disks_required, disks_active, disks_failed, disks_spare)
        };
        assert_eq!((disks(&device), device.state), ((3, 2, 1, 1), "active"));
        device
            .take_progress(b"  bitmap: 0/1 pages [0KB], 64KB chunk")
            .unwrap();
        assert_eq!(device.blocks_synced, 100);
        device
            .take_progress(b"  [=>..]  recovery =  8.5% (16/100) finish=1min")
            .unwrap();
        assert_eq!((device.state, device.blocks_synced), ("recovering", 16));
        device.take_progress(b"  resync=DELAYED").unwrap();
        assert_eq!((device.state, device.blocks_synced), ("resync", 0));
        assert_eq!(device.take_progress(b"  check = 8.5%"), None);
        let striped = Device::parse(
            b"md2 : active (read-only) raid0 sda[0] sdb[1]",
            b" 7 blocks 64k chunks",
        );
        assert_eq!(disks(&striped.unwrap()), (2, 2, 0, 0));
        let stopped = Device::parse(
            b"md3 : inactive sda[0](S)",
            b" 9 blocks super external:imsm",
        );
        assert_eq!(disks(&stopped.unwrap()), (0, 0, 0, 1));
        for (line, status) in [
            ("md1 :", "1 blocks"),
            ("md1 : active raid1 sda[0]", "blocks"),
            ("md1 : active raid1 sda[0]", "1 blocks [x/1] [U]"),
        ] {
            assert_eq!(
                Device::parse(line.as_bytes(), status.as_bytes()),
                None,
                "{line}"
            );
        }
    }
}
