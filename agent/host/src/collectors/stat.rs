//! The rest of `stat`: boot time, interrupts, context switches, forks, processes.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, HostConfig, Sink, scan};

static FIELDS: [(&[u8], Family); 6] = [
    (
        b"intr",
        Family::counter(
            "node_intr_total",
            "Total number of interrupts serviced.",
            &[],
        ),
    ),
    (
        b"ctxt",
        Family::counter(
            "node_context_switches_total",
            "Total number of context switches.",
            &[],
        ),
    ),
    (
        b"processes",
        Family::counter("node_forks_total", "Total number of forks.", &[]),
    ),
    (
        b"btime",
        Family::gauge(
            "node_boot_time_seconds",
            "Node boot time, in unixtime.",
            &[],
        ),
    ),
    (
        b"procs_running",
        Family::gauge(
            "node_procs_running",
            "Number of processes in runnable state.",
            &[],
        ),
    ),
    (
        b"procs_blocked",
        Family::gauge(
            "node_procs_blocked",
            "Number of processes blocked waiting for I/O to complete.",
            &[],
        ),
    ),
];
static SOFTIRQS: Family = Family::counter(
    "node_softirqs_total",
    "Number of softirq calls.",
    &["vector"],
);

/// In the order of the columns, after their sum.
const VECTORS: [&str; 10] = [
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "block_iopoll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
];

#[derive(Debug)]
pub(super) struct Stat {
    file: KeptFile,
    softirq: bool,
}

impl Stat {
    pub(super) fn new(config: &HostConfig) -> Self {
        Self {
            file: KeptFile::in_one_piece(config.paths.procfs.join("stat")),
            softirq: config.stat_softirq,
        }
    }
}

impl Collector for Stat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let mut found = false;
        let content = self.file.read()?;
        for line in content.lines() {
            // The line of interrupts may have thousands of columns: only its head is looked at.
            let Some((name, rest)) = scan::split_once(line, b' ') else {
                continue;
            };
            if let Some((_, family)) = FIELDS.iter().find(|(field, _)| *field == name) {
                let Some(value) = scan::words(rest).next().and_then(scan::float) else {
                    return Err(content.without("a number"));
                };
                sink.sample(family, &[], value);
                found = true;
            } else if self.softirq && name == b"softirq" {
                for (vector, word) in VECTORS.iter().zip(scan::words(rest).skip(1)) {
                    if let Some(value) = scan::float(word) {
                        sink.sample(&SOFTIRQS, &[vector], value);
                    }
                }
            }
        }
        if found {
            Ok(())
        } else {
            Err(content.without("counters of the kernel"))
        }
    }
}
