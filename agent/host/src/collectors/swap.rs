//! Swap devices and files: `swaps`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

const DEVICE: &[&str] = &["device", "swap_type"];

static SIZE: Family = Family::gauge("node_swap_size_bytes", "Swap device size in bytes.", DEVICE);
static USED: Family = Family::gauge("node_swap_used_bytes", "Swap device used in bytes.", DEVICE);
static PRIORITY: Family = Family::gauge("node_swap_priority", "Swap device priority.", DEVICE);

const BYTES_PER_KILOBYTE: f64 = 1_024.0;

#[derive(Debug)]
pub(super) struct Swap {
    file: KeptFile,
}

impl Swap {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("swaps")),
        }
    }
}

impl Collector for Swap {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for line in content.lines().skip(1) {
            sample_line(line, sink)
                .ok_or_else(|| content.without("lines of a device, its type and numbers"))?;
        }
        Ok(())
    }
}

/// Reads `DEVICE TYPE SIZE USED PRIORITY`.
fn sample_line(line: &[u8], sink: &mut dyn Sink) -> Option<()> {
    let mut words = scan::words(line);
    let (device, kind) = (scan::text(words.next()?), scan::text(words.next()?));
    let labels = [&*device, &*kind];
    let mut number = || scan::integer(words.next()?);
    sink.sample(&SIZE, &labels, number()? * BYTES_PER_KILOBYTE);
    sink.sample(&USED, &labels, number()? * BYTES_PER_KILOBYTE);
    sink.sample(&PRIORITY, &labels, number()?);
    Some(())
}
