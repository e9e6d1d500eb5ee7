//! Free blocks of memory: `buddyinfo`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::scan::Decimal;
use crate::{Family, Paths, Sink, scan};

static BLOCKS: Family = Family::gauge(
    "node_buddyinfo_blocks",
    "Count of free blocks according to size.",
    &["node", "zone", "size"],
);

#[derive(Debug)]
pub(super) struct Buddyinfo {
    file: KeptFile,
}

impl Buddyinfo {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("buddyinfo")),
        }
    }
}

impl Collector for Buddyinfo {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for line in content.lines() {
            sample_line(line, sink)
                .ok_or_else(|| content.without("lines of `Node N, zone NAME counts`"))?;
        }
        Ok(())
    }
}

/// The counts are by order: blocks of 1, 2, 4 pages and so on.
fn sample_line(line: &[u8], sink: &mut dyn Sink) -> Option<()> {
    let mut words = scan::words(line);
    let node = scan::text(words.nth(1)?.strip_suffix(b",")?);
    let zone = scan::text(words.nth(1)?);
    for (order, word) in (0..).zip(words) {
        let order = Decimal::new(order);
        let count = scan::number(word)? as f64;
        sink.sample(&BLOCKS, &[&node, &zone, order.as_str()], count);
    }
    Some(())
}
