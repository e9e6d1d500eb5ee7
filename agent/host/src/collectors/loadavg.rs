//! The load averages: `loadavg`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static LOADS: [Family; 3] = [
    Family::gauge("node_load1", "1m load average.", &[]),
    Family::gauge("node_load5", "5m load average.", &[]),
    Family::gauge("node_load15", "15m load average.", &[]),
];

#[derive(Debug)]
pub(super) struct Loadavg {
    file: KeptFile,
}

impl Loadavg {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::in_one_piece(paths.procfs.join("loadavg")),
        }
    }
}

impl Collector for Loadavg {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        let loads = parse(content.bytes).ok_or_else(|| content.without("three load averages"))?;
        for (family, load) in LOADS.iter().zip(loads) {
            sink.sample(family, &[], load);
        }
        Ok(())
    }
}

pub(super) fn parse(bytes: &[u8]) -> Option<[f64; 3]> {
    let mut words = scan::words(bytes);
    let mut load = || scan::float(words.next()?);
    Some([load()?, load()?, load()?])
}
