//! The kernel's object caches: `slabinfo`.

use super::Collector;
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

const SLAB: &[&str] = &["slab"];

/// In the order of the columns after the name.
static COLUMNS: [Family; 5] = [
    Family::gauge(
        "node_slabinfo_active_objects",
        "The number of objects that are currently active (i.e., in use).",
        SLAB,
    ),
    Family::gauge(
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
        SLAB,
    ),
    Family::gauge(
        "node_slabinfo_object_size_bytes",
        "The size of objects in this slab, in bytes.",
        SLAB,
    ),
    Family::gauge(
        "node_slabinfo_objects_per_slab",
        "The number of objects stored in each slab.",
        SLAB,
    ),
    Family::gauge(
        "node_slabinfo_pages_per_slab",
        "The number of pages allocated for each slab.",
        SLAB,
    ),
];

/// The version and the names of the columns.
const HEADINGS: usize = 2;

#[derive(Debug)]
pub(super) struct Slabinfo {
    file: KeptFile,
    slabs: Filter,
}

impl Slabinfo {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let names = OptionNames {
            include: "collector.slabinfo.slabs-include",
            exclude: "collector.slabinfo.slabs-exclude",
        };
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("slabinfo")),
            slabs: Filter::of_devices(names, &config.slabinfo, None)?,
        })
    }
}

impl Collector for Slabinfo {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for line in content.lines().skip(HEADINGS) {
            let wrong = || content.without("lines of a name and numbers");
            let mut words = scan::words(line);
            let name = scan::text(words.next().ok_or_else(wrong)?);
            if !self.slabs.takes(&name) {
                continue;
            }
            for family in &COLUMNS {
                let number = words.next().and_then(scan::number).ok_or_else(wrong)?;
                sink.sample(family, &[&name], number as f64);
            }
        }
        Ok(())
    }
}
