//! Tape drives: `class/scsi_tape`.

use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, HostConfig, HostConfigError, Sink, filter};

const DEVICE: &[&str] = &["device"];
const NANOSECONDS: Scale = Scale::Times(0.000_000_001);

static STATISTICS: [Attribute; 10] = [
    Attribute {
        file: "in_flight",
        scale: Scale::One,
        family: Family::gauge(
            "node_tape_io_now",
            "The number of I/Os currently outstanding to this device.",
            DEVICE,
        ),
    },
    Attribute {
        file: "io_ns",
        scale: NANOSECONDS,
        family: Family::counter(
            "node_tape_io_time_seconds_total",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used.",
            DEVICE,
        ),
    },
    Attribute {
        file: "other_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_io_others_total",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
            DEVICE,
        ),
    },
    Attribute {
        file: "read_byte_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_read_bytes_total",
            "The number of bytes read from the tape drive.",
            DEVICE,
        ),
    },
    Attribute {
        file: "read_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_reads_completed_total",
            "The number of read requests issued to the tape drive.",
            DEVICE,
        ),
    },
    Attribute {
        file: "read_ns",
        scale: NANOSECONDS,
        family: Family::counter(
            "node_tape_read_time_seconds_total",
            "The amount of time spent waiting for read requests to complete.",
            DEVICE,
        ),
    },
    Attribute {
        file: "write_byte_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_written_bytes_total",
            "The number of bytes written to the tape drive.",
            DEVICE,
        ),
    },
    Attribute {
        file: "write_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_writes_completed_total",
            "The number of write requests issued to the tape drive.",
            DEVICE,
        ),
    },
    Attribute {
        file: "write_ns",
        scale: NANOSECONDS,
        family: Family::counter(
            "node_tape_write_time_seconds_total",
            "The amount of time spent waiting for write requests to complete.",
            DEVICE,
        ),
    },
    Attribute {
        file: "resid_cnt",
        scale: Scale::One,
        family: Family::counter(
            "node_tape_residual_total",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
            DEVICE,
        ),
    },
];

#[derive(Debug)]
pub(super) struct Tapestats {
    drives: Folder,
    ignored: Regex,
}

impl Tapestats {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        Ok(Self {
            drives: Folder::new(config.paths.sysfs.join("class/scsi_tape")),
            ignored: filter::pattern(
                "collector.tapestats.ignored-devices",
                &config.tapestats_ignored,
            )?,
        })
    }
}

impl Collector for Tapestats {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if !self.drives.exists() {
            return Err(CollectError::NoData("there are no tape drives"));
        }
        // The other names (`nst0`, `st0a`) are modes of the same drives.
        for (number, folder) in self.drives.numbered("st")? {
            let device = format!("st{number}");
            if !self.ignored.is_match(&device) {
                folder
                    .folder("stats")
                    .sample(&STATISTICS, &[&device], sink)?;
            }
        }
        Ok(())
    }
}
