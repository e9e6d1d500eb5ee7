//! Pages of memory that are shared because they are equal: `kernel/mm/ksm`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

/// A number, by its file.
macro_rules! number {
    ($file:literal, $scale:expr, $kind:ident, $name:literal, $help:literal) => {
        Attribute {
            file: $file,
            scale: $scale,
            family: Family::$kind(concat!("node_ksmd_", $name), $help, &[]),
        }
    };
}

static NUMBERS: [Attribute; 10] = [
    number!(
        "full_scans",
        Scale::One,
        counter,
        "full_scans_total",
        "How many times all mergeable areas have been scanned."
    ),
    number!(
        "general_profit",
        Scale::One,
        gauge,
        "general_profit_bytes",
        "How effective is KSM. ksm_saved_pages * sizeof(page) - (all_rmap_items) * sizeof(rmap_item)"
    ),
    number!(
        "merge_across_nodes",
        Scale::One,
        gauge,
        "merge_across_nodes",
        "Specifies if pages from different NUMA nodes can be merged."
    ),
    number!(
        "pages_shared",
        Scale::One,
        gauge,
        "pages_shared",
        "How many shared pages are being used."
    ),
    number!(
        "pages_sharing",
        Scale::One,
        gauge,
        "pages_sharing",
        "How many more sites are sharing them i.e. how much saved."
    ),
    number!(
        "pages_to_scan",
        Scale::One,
        gauge,
        "pages_to_scan",
        "How many pages to scan before ksmd goes to sleep."
    ),
    number!(
        "pages_unshared",
        Scale::One,
        gauge,
        "pages_unshared",
        "How many pages unique but repeatedly checked for merging."
    ),
    number!(
        "pages_volatile",
        Scale::One,
        gauge,
        "pages_volatile",
        "How many pages changing too fast to be placed in a tree."
    ),
    number!(
        "run",
        Scale::One,
        gauge,
        "run",
        "The status of ksmd. stopped = 0, running = 1"
    ),
    number!(
        "sleep_millisecs",
        Scale::Per(1_000.0),
        gauge,
        "sleep_seconds",
        "How many seconds ksmd should sleep before next scan."
    ),
];

#[derive(Debug)]
pub(super) struct Ksmd {
    folder: Folder,
}

impl Ksmd {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.sysfs.join("kernel/mm/ksm")),
        }
    }
}

impl Collector for Ksmd {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if !self.folder.exists() {
            return Err(CollectError::NoData("the kernel shares no equal pages"));
        }
        self.folder.sample(&NUMBERS, &[], sink)
    }
}
