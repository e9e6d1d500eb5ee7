//! Softirqs by CPU and kind: `softirqs`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::scan::Decimal;
use crate::{Family, Paths, Sink, scan};

static SOFTIRQS: Family = Family::counter(
    "node_softirqs_functions_total",
    "Softirq counts per CPU.",
    &["cpu", "type"],
);

#[derive(Debug)]
pub(super) struct Softirqs {
    file: KeptFile,
}

impl Softirqs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::in_one_piece(paths.procfs.join("softirqs")),
        }
    }
}

impl Collector for Softirqs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for line in content.lines().skip(1) {
            let wrong = || content.without("lines of a kind and a number for each CPU");
            let (kind, columns) = scan::split_once(line, b':').ok_or_else(wrong)?;
            let kind = scan::text(kind.trim_ascii());
            for (cpu, word) in (0..).zip(scan::words(columns)) {
                let count = scan::number(word).ok_or_else(wrong)?;
                let cpu = Decimal::new(cpu);
                sink.sample(&SOFTIRQS, &[cpu.as_str(), &kind], count as f64);
            }
        }
        Ok(())
    }
}
