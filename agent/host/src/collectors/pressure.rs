//! Pressure stall information: `pressure/*`.

use std::io;

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static CPU_WAITING: Family = Family::counter(
    "node_pressure_cpu_waiting_seconds_total",
    "Total time in seconds that processes have waited for CPU time",
    &[],
);
static IO_WAITING: Family = Family::counter(
    "node_pressure_io_waiting_seconds_total",
    "Total time in seconds that processes have waited due to IO congestion",
    &[],
);
static IO_STALLED: Family = Family::counter(
    "node_pressure_io_stalled_seconds_total",
    "Total time in seconds no process could make progress due to IO congestion",
    &[],
);
static MEMORY_WAITING: Family = Family::counter(
    "node_pressure_memory_waiting_seconds_total",
    "Total time in seconds that processes have waited for memory",
    &[],
);
static MEMORY_STALLED: Family = Family::counter(
    "node_pressure_memory_stalled_seconds_total",
    "Total time in seconds no process could make progress due to memory congestion",
    &[],
);
static IRQ_STALLED: Family = Family::counter(
    "node_pressure_irq_stalled_seconds_total",
    "Total time in seconds no process could make progress due to IRQ congestion",
    &[],
);

#[derive(Debug)]
pub(super) struct Pressure {
    resources: [Resource; 4],
}

#[derive(Debug)]
struct Resource {
    file: KeptFile,
    waiting: Option<&'static Family>,
    stalled: Option<&'static Family>,
}

impl Pressure {
    pub(super) fn new(paths: &Paths) -> Self {
        let resource = |name, waiting, stalled| Resource {
            file: KeptFile::in_one_piece(paths.procfs.join("pressure").join(name)),
            waiting,
            stalled,
        };
        Self {
            resources: [
                resource("cpu", Some(&CPU_WAITING), None),
                resource("io", Some(&IO_WAITING), Some(&IO_STALLED)),
                resource("memory", Some(&MEMORY_WAITING), Some(&MEMORY_STALLED)),
                resource("irq", None, Some(&IRQ_STALLED)),
            ],
        }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let mut found = false;
        for resource in &mut self.resources {
            match resource.collect(moment, sink) {
                Ok(is_there) => found |= is_there,
                Err(CollectError::Read { source, .. })
                    if source.kind() == io::ErrorKind::Unsupported =>
                {
                    return Err(CollectError::NoData(
                        "pressure information is off; start the kernel with psi=1",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        if found {
            Ok(())
        } else {
            Err(CollectError::NoData(
                "the kernel has no pressure information; it comes with Linux 4.20 and CONFIG_PSI",
            ))
        }
    }
}

impl Resource {
    /// Returns whether the kernel has it.
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<bool, CollectError> {
        let Some(content) = self.file.read_if_there(moment.now)? else {
            return Ok(false);
        };
        let totals = parse(content.bytes);
        for (family, total) in [(self.waiting, totals.some), (self.stalled, totals.full)] {
            let Some(family) = family else {
                continue;
            };
            let Some(microseconds) = total else {
                return Err(content.without("a total"));
            };
            // Two divisions, as the peer does: one gives other last digits.
            sink.sample(family, &[], microseconds as f64 / 1000.0 / 1000.0);
        }
        Ok(true)
    }
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Totals {
    some: Option<u64>,
    full: Option<u64>,
}

pub(super) fn parse(bytes: &[u8]) -> Totals {
    let mut totals = Totals::default();
    for line in scan::lines(bytes) {
        let mut words = scan::words(line);
        let total = match words.next() {
            Some(b"some") => &mut totals.some,
            Some(b"full") => &mut totals.full,
            _ => continue,
        };
        *total = words
            .find_map(|word| word.strip_prefix(b"total="))
            .and_then(scan::number);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found_by_name() {
        let both = b"some avg10=0.00 total=17 new=1\nfull total=3\nother total=9\n";
        assert_eq!(
            parse(both),
            Totals {
                some: Some(17),
                full: Some(3)
            }
        );
        assert_eq!(parse(b"some avg10=1 total=x"), Totals::default());
    }
}
