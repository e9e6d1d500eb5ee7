//! Tasks that the kernel found hanging: `sys/kernel/hung_task_detect_count`, since Linux 6.13.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink};

static TASKS: Family = Family::counter(
    "node_kernel_hung_tasks_total",
    "Total number of tasks that have been detected as hung since the system booted.",
    &[],
);

#[derive(Debug)]
pub(super) struct KernelHung {
    file: KeptFile,
}

impl KernelHung {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::in_one_piece(paths.procfs.join("sys/kernel/hung_task_detect_count")),
        }
    }
}

impl Collector for KernelHung {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let tasks = self
            .file
            .read()
            .and_then(|content| content.number())
            .map_err(|error| error.missing_as("the kernel does not count hung tasks"))?;
        sink.sample(&TASKS, &[], tasks);
        Ok(())
    }
}
