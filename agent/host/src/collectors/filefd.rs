//! File descriptors: `sys/fs/file-nr`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static ALLOCATED: Family = Family::gauge(
    "node_filefd_allocated",
    "File descriptor statistics: allocated.",
    &[],
);
static MAXIMUM: Family = Family::gauge(
    "node_filefd_maximum",
    "File descriptor statistics: maximum.",
    &[],
);

#[derive(Debug)]
pub(super) struct Filefd {
    file: KeptFile,
}

impl Filefd {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::in_one_piece(paths.procfs.join("sys/fs/file-nr")),
        }
    }
}

impl Collector for Filefd {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        let (allocated, maximum) =
            parse(content.bytes).ok_or_else(|| content.without("three numbers"))?;
        sink.sample(&ALLOCATED, &[], allocated);
        sink.sample(&MAXIMUM, &[], maximum);
        Ok(())
    }
}

/// Returns allocated and maximum; the second number, unused since Linux 2.6, is passed over.
pub(super) fn parse(bytes: &[u8]) -> Option<(f64, f64)> {
    let mut words = scan::words(bytes);
    let allocated = scan::float(words.next()?)?;
    words.next()?;
    Some((allocated, scan::float(words.next()?)?))
}
