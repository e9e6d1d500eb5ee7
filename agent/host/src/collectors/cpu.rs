//! CPUs: time by mode from `stat`; models, isolation and throttling are in `cpu_info`.

use std::collections::BTreeMap;

use super::Collector;
use super::cpu_info::CpuInfo;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::scan::Decimal;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

static SECONDS: Family = Family::counter(
    "node_cpu_seconds_total",
    "Seconds the CPUs spent in each mode.",
    &["cpu", "mode"],
);
static GUEST_SECONDS: Family = Family::counter(
    "node_cpu_guest_seconds_total",
    "Seconds the CPUs spent in guests (VMs) for each mode.",
    &["cpu", "mode"],
);

/// In the order of the columns of `stat`; the two guest columns follow.
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();
const IDLE: usize = 3;

/// The unit of `stat`, `USER_HZ`: 100 on every architecture that Linux still supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Idle time that jumps back by this much means that the CPU went and came; anything less is the kernel's imprecision.
const HOTPLUG_TICKS: u64 = 300;

type Ticks = [u64; COLUMNS];

#[derive(Debug)]
pub(super) struct Cpu {
    stat: KeptFile,
    guest: bool,
    info: CpuInfo,
    /// What was reported last, so that no counter goes back.
    reported: BTreeMap<u64, Reported>,
    collection: u64,
}

#[derive(Debug)]
struct Reported {
    ticks: Ticks,
    collection: u64,
}

impl Cpu {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        Ok(Self {
            stat: KeptFile::in_one_piece(config.paths.procfs.join("stat")),
            guest: config.cpu.guest,
            info: CpuInfo::new(config)?,
            reported: BTreeMap::new(),
            collection: 0,
        })
    }

    fn collect_times(&mut self, sink: &mut dyn Sink) -> Result<(), CollectError> {
        self.collection += 1;
        let content = self.stat.read()?;
        for line in content.lines() {
            let Some((cpu, ticks)) = parse_line(line) else {
                continue;
            };
            let reported = self.reported.entry(cpu).or_insert(Reported {
                ticks: [0; COLUMNS],
                collection: 0,
            });
            reported.collection = self.collection;
            advance(&mut reported.ticks, &ticks);
            let number = Decimal::new(cpu);
            for (mode, ticks) in MODES.iter().zip(&reported.ticks) {
                sink.sample(&SECONDS, &[number.as_str(), mode], seconds(*ticks));
            }
            if self.guest {
                for (mode, ticks) in GUEST_MODES
                    .iter()
                    .zip(reported.ticks.iter().skip(MODES.len()))
                {
                    sink.sample(&GUEST_SECONDS, &[number.as_str(), mode], seconds(*ticks));
                }
            }
        }
        self.reported
            .retain(|_, reported| reported.collection == self.collection);
        if self.reported.is_empty() {
            return Err(content.without("lines of CPUs"));
        }
        Ok(())
    }
}

impl Collector for Cpu {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let info = self.info.collect(moment.now, sink);
        self.collect_times(sink)?;
        info
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

/// Moves counters forward only, unless the CPU was replaced.
fn advance(reported: &mut Ticks, read: &Ticks) {
    if reported[IDLE].saturating_sub(read[IDLE]) >= HOTPLUG_TICKS {
        *reported = *read;
        return;
    }
    for (reported, read) in reported.iter_mut().zip(read) {
        *reported = (*reported).max(*read);
    }
}

/// Reads `cpuN ticks...`; columns that an old kernel lacks are 0.
pub(super) fn parse_line(line: &[u8]) -> Option<(u64, Ticks)> {
    let rest = line.strip_prefix(b"cpu")?;
    let (cpu, columns) = scan::split_once(rest, b' ')?;
    let cpu = scan::number(cpu)?;
    let mut ticks = [0; COLUMNS];
    for (ticks, word) in ticks.iter_mut().zip(scan::words(columns)) {
        *ticks = scan::number(word)?;
    }
    Some((cpu, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_single_cpus_are_read() {
        let (cpu, ticks) = parse_line(b"cpu12 1 2 3 4").unwrap();
        assert_eq!((cpu, &ticks[..5]), (12, &[1, 2, 3, 4, 0][..]));
        for other in ["cpu  1 2", "cpux 1", "intr 5", "cpu1", "cpu1 -1"] {
            assert_eq!(parse_line(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn counters_go_back_only_when_the_cpu_was_replaced() {
        let mut reported = [1_000; COLUMNS];
        let mut read = [1_100; COLUMNS];
        read[IDLE] = 900;
        advance(&mut reported, &read);
        assert_eq!((reported[0], reported[IDLE]), (1_100, 1_000));
        read = [5; COLUMNS];
        advance(&mut reported, &read);
        assert_eq!(reported, [5; COLUMNS]);
    }
}
