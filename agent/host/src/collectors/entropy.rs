//! The kernel's pool of randomness: `sys/kernel/random`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink};

static AVAILABLE: Family = Family::gauge(
    "node_entropy_available_bits",
    "Bits of available entropy.",
    &[],
);
static POOL_SIZE: Family =
    Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", &[]);

#[derive(Debug)]
pub(super) struct Entropy {
    available: KeptFile,
    pool_size: KeptFile,
}

impl Entropy {
    pub(super) fn new(paths: &Paths) -> Self {
        let file = |name| KeptFile::in_one_piece(paths.procfs.join("sys/kernel/random").join(name));
        Self {
            available: file("entropy_avail"),
            pool_size: file("poolsize"),
        }
    }
}

impl Collector for Entropy {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let available = self.available.read()?.number()?;
        sink.sample(&AVAILABLE, &[], available);
        let size = self.pool_size.read()?.number()?;
        sink.sample(&POOL_SIZE, &[], size);
        Ok(())
    }
}
