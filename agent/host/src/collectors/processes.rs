//! Processes and threads by state: every `N/stat` and `N/task/M/stat`.

use std::collections::BTreeMap;

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, Paths, Sink, scan};

static THREADS: Family =
    Family::gauge("node_processes_threads", "Allocated threads in system", &[]);
static THREADS_MAX: Family = Family::gauge(
    "node_processes_max_threads",
    "Limit of threads in the system",
    &[],
);
static PROCESS_STATE: Family = Family::gauge(
    "node_processes_state",
    "Number of processes in each state.",
    &["state"],
);
static THREAD_STATE: Family = Family::gauge(
    "node_processes_threads_state",
    "Number of threads in each state.",
    &["thread_state"],
);
static PROCESSES: Family = Family::gauge("node_processes_pids", "Number of PIDs", &[]);
static PROCESSES_MAX: Family = Family::gauge(
    "node_processes_max_processes",
    "Number of max PIDs limit",
    &[],
);

/// Columns between the state and the number of threads.
const COLUMNS_BETWEEN: usize = 16;

#[derive(Debug)]
pub(super) struct Processes {
    procfs: Folder,
}

impl Processes {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            procfs: Folder::new(paths.procfs.clone()),
        }
    }
}

impl Collector for Processes {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let (mut processes, mut threads) = (0.0, 0.0);
        let mut states: BTreeMap<String, f64> = BTreeMap::new();
        let mut thread_states: BTreeMap<String, f64> = BTreeMap::new();
        for (_, process) in self.procfs.numbered("")? {
            // One that has ended meanwhile is none.
            let Some(stat) = process.parsed("stat", parse_stat)? else {
                continue;
            };
            processes += 1.0;
            threads += stat.threads;
            *states.entry(stat.state).or_default() += 1.0;
            for thread in optional(process.folder("task").folders())?.unwrap_or_default() {
                if let Some(stat) = thread.parsed("stat", parse_stat)? {
                    *thread_states.entry(stat.state).or_default() += 1.0;
                }
            }
        }
        sink.sample(&THREADS, &[], threads);
        let limit = self.procfs.number("sys/kernel/threads-max")?;
        sink.sample(&THREADS_MAX, &[], limit);
        for (state, count) in &states {
            sink.sample(&PROCESS_STATE, &[state], *count);
        }
        for (state, count) in &thread_states {
            sink.sample(&THREAD_STATE, &[state], *count);
        }
        sink.sample(&PROCESSES, &[], processes);
        let limit = self.procfs.number("sys/kernel/pid_max")?;
        sink.sample(&PROCESSES_MAX, &[], limit);
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    state: String,
    threads: f64,
}

/// The name, in parentheses, may hold anything, so what follows is found from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, after) = text.rsplit_once(')')?;
    let mut words = after.split_ascii_whitespace();
    Some(Stat {
        state: words.next()?.to_owned(),
        threads: scan::integer(words.nth(COLUMNS_BETWEEN)?.as_bytes())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_mislead() {
        let text = "7 (a) R (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 42 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((&*stat.state, stat.threads), ("S", 42.0));
        for bad in ["", "7 (a", "7 (a) S 1 2"] {
            assert_eq!(parse_stat(bad), None, "{bad}");
        }
    }
}
