//! Packets by CPU: `net/softnet_stat`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::scan::Decimal;
use crate::{Family, Paths, Sink, scan};

const CPU: &[&str] = &["cpu"];

/// The column of each family. Linux 2.6.36 added the tenth, 3.11 the eleventh, 5.14 the last two; what is not there is 0.
static COLUMNS: [(usize, Family); 7] = [
    (
        0,
        Family::counter(
            "node_softnet_processed_total",
            "Number of processed packets",
            CPU,
        ),
    ),
    (
        1,
        Family::counter(
            "node_softnet_dropped_total",
            "Number of dropped packets",
            CPU,
        ),
    ),
    (
        2,
        Family::counter(
            "node_softnet_times_squeezed_total",
            "Number of times processing packets ran out of quota",
            CPU,
        ),
    ),
    (
        8,
        Family::counter(
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
            CPU,
        ),
    ),
    (
        9,
        Family::counter(
            "node_softnet_received_rps_total",
            "Number of times cpu woken up received_rps",
            CPU,
        ),
    ),
    (
        10,
        Family::counter(
            "node_softnet_flow_limit_count_total",
            "Number of times flow limit has been reached",
            CPU,
        ),
    ),
    (
        11,
        Family::gauge("node_softnet_backlog_len", "Softnet backlog status", CPU),
    ),
];

const COLUMNS_MIN: usize = 9;
const COLUMNS_MAX: usize = 13;
/// The number of the CPU; where it is missing, lines are counted.
const INDEX: usize = 12;

#[derive(Debug)]
pub(super) struct Softnet {
    file: KeptFile,
}

impl Softnet {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("net/softnet_stat")),
        }
    }
}

impl Collector for Softnet {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for (at, line) in (0..).zip(content.lines()) {
            let Some((numbers, count)) = parse_line(line) else {
                return Err(content.without("nine or more hexadecimal numbers a line"));
            };
            let cpu = if count > INDEX { numbers[INDEX] } else { at };
            for (column, family) in &COLUMNS {
                let number = numbers.get(*column).copied().unwrap_or_default();
                sink.sample(family, &[Decimal::new(cpu).as_str()], number as f64);
            }
        }
        Ok(())
    }
}

pub(super) fn parse_line(line: &[u8]) -> Option<([u64; COLUMNS_MAX], usize)> {
    let mut numbers = [0; COLUMNS_MAX];
    let mut count = 0;
    for (number, word) in numbers.iter_mut().zip(scan::words(line)) {
        *number = scan::hexadecimal(word)?;
        count += 1;
    }
    (count >= COLUMNS_MIN).then_some((numbers, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_kernel_are_read() {
        let (numbers, count) = parse_line(b"0a 1 2 3 4 5 6 7 8").unwrap();
        assert_eq!((numbers[0], numbers[8], numbers[12], count), (10, 8, 0, 9));
        let (numbers, count) = parse_line(b"1 2 3 4 5 6 7 8 9 a b c 1f e f").unwrap();
        assert_eq!((numbers[INDEX], count), (31, 13));
        for bad in ["1 2 3", "1 2 3 4 5 6 7 8 x", ""] {
            assert!(parse_line(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
