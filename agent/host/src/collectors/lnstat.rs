//! Everything in `net/stat`: counters by CPU.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::{FamilyCache, metric_name};
use crate::folder::Folder;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::scan::Decimal;
use crate::{Family, Paths, Sink, scan};

#[derive(Debug)]
pub(super) struct Lnstat {
    folder: Folder,
    families: FamilyCache,
}

impl Lnstat {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.procfs.join("net/stat")),
            families: FamilyCache::default(),
        }
    }

    /// A line of names stands above one line of hexadecimal numbers per CPU.
    fn sample(&mut self, subsystem: &str, bytes: &[u8], sink: &mut dyn Sink) -> Option<()> {
        let mut lines = scan::lines(bytes);
        let names = lines.next()?;
        for (cpu, line) in (0..).zip(lines) {
            let cpu = Decimal::new(cpu);
            let mut numbers = scan::words(line);
            for name in scan::words(names).map(scan::text) {
                let number = scan::hexadecimal(numbers.next()?)?;
                let family = self.families.get(&name, || {
                    let family = Family::dynamic(
                        format!("node_lnstat_{}_total", metric_name(&name)),
                        "linux network cache stats".to_owned(),
                        MetricType::Counter,
                    );
                    Some(family.with_labels(&["subsystem", "cpu"]))
                });
                if let Some(family) = family {
                    sink.sample(family, &[subsystem, cpu.as_str()], number as f64);
                }
            }
        }
        Some(())
    }
}

impl Collector for Lnstat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for name in self.folder.entries()? {
            let path = self.folder.path().join(&name);
            let bytes = read_once(&path).map_err(|error| CollectError::read(&path, error))?;
            self.sample(&name, &bytes, sink)
                .ok_or_else(|| CollectError::parse(&path, "names above hexadecimal numbers"))?;
        }
        Ok(())
    }
}
