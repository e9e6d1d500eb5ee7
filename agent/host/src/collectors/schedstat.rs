//! Scheduling of each CPU: `schedstat`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static RUNNING: Family = Family::counter(
    "node_schedstat_running_seconds_total",
    "Number of seconds CPU spent running a process.",
    &["cpu"],
);
static WAITING: Family = Family::counter(
    "node_schedstat_waiting_seconds_total",
    "Number of seconds spent by processing waiting for this CPU.",
    &["cpu"],
);
static TIMESLICES: Family = Family::counter(
    "node_schedstat_timeslices_total",
    "Number of timeslices executed by CPU.",
    &["cpu"],
);

const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// Columns before the three that are reported.
const OTHER_COLUMNS: usize = 6;

#[derive(Debug)]
pub(super) struct Schedstat {
    file: KeptFile,
}

impl Schedstat {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("schedstat")),
        }
    }
}

impl Collector for Schedstat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("the kernel keeps no scheduling statistics"))?;
        for (cpu, [running, waiting, timeslices]) in content.lines().filter_map(parse_line) {
            let cpu = scan::text(cpu);
            sink.sample(&RUNNING, &[&cpu], running as f64 / NANOSECONDS_PER_SECOND);
            sink.sample(&WAITING, &[&cpu], waiting as f64 / NANOSECONDS_PER_SECOND);
            sink.sample(&TIMESLICES, &[&cpu], timeslices as f64);
        }
        Ok(())
    }
}

/// Reads `cpuN` and nine numbers; other lines (version, domains) are none.
pub(super) fn parse_line(line: &[u8]) -> Option<(&[u8], [u64; 3])> {
    let mut words = scan::words(line);
    let cpu = words.next()?.strip_prefix(b"cpu")?;
    scan::number(cpu)?;
    let mut numbers = words.skip(OTHER_COLUMNS).map(scan::number);
    let mut number = || numbers.next().flatten();
    Some((cpu, [number()?, number()?, number()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_cpus_are_read() {
        let line = b"cpu12 0 0 1 2 3 4 50 60 70 80";
        assert_eq!(parse_line(line), Some((&b"12"[..], [50, 60, 70])));
        for other in [
            "version 15",
            "domain0 00 1 2 3 4 5 6 7 8 9",
            "cpu1 1 2",
            "cpux 1 2 3 4 5 6 7 8 9",
            "",
        ] {
            assert_eq!(parse_line(other.as_bytes()), None, "{other}");
        }
    }
}
