//! Interrupts by CPU and device: `interrupts`.

use super::Collector;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::scan::Decimal;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

static INTERRUPTS: Family = Family::counter(
    "node_interrupts_total",
    "Interrupt details.",
    &["cpu", "type", "info", "devices"],
);

#[derive(Debug)]
pub(super) struct Interrupts {
    file: KeptFile,
    names: Filter,
    include_zeros: bool,
}

impl Interrupts {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.interrupts.name-include",
            exclude: "collector.interrupts.name-exclude",
        };
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("interrupts")),
            names: Filter::of_devices(names, &config.interrupts.names, None)?,
            include_zeros: config.interrupts.include_zeros,
        })
    }
}

impl Collector for Interrupts {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        let mut lines = content.lines();
        let cpus = scan::words(lines.next().unwrap_or_default()).count();
        if cpus == 0 {
            return Err(content.without("a column for each CPU"));
        }
        for line in lines {
            let Some((kind, columns)) = scan::split_once(line, b':') else {
                continue;
            };
            // Counts without a word after them are of no interrupt: errors, of all CPUs together.
            let mut words = scan::words(columns).skip(cpus).map(scan::text).peekable();
            if words.peek().is_none() {
                continue;
            }
            let kind = scan::text(kind.trim_ascii());
            let (info, devices) = if scan::number(kind.as_bytes()).is_some() {
                let info = words.next().unwrap_or_default().into_owned();
                (info, words.collect::<Vec<_>>().join(" "))
            } else {
                (words.collect::<Vec<_>>().join(" "), String::new())
            };
            if !self.names.takes(&format!("{kind};{info};{devices}")) {
                continue;
            }
            for (cpu, word) in (0..).zip(scan::words(columns).take(cpus)) {
                let count =
                    scan::number(word).ok_or_else(|| content.without("a number for each CPU"))?;
                if count > 0 || self.include_zeros {
                    let cpu = Decimal::new(cpu);
                    let labels = [cpu.as_str(), &kind, &info, &devices];
                    sink.sample(&INTERRUPTS, &labels, count as f64);
                }
            }
        }
        Ok(())
    }
}
