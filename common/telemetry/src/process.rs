//! The process as its kernel sees it, in the names that Prometheus' client libraries gave it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Counter, Gauge, Registry};

/// Jiffies per second in what the kernel tells user space: USER_HZ, 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What most files under /proc fit into: they do not say how long they are, and reading by guesses takes seven reads for a file.
const FILE_BYTES: usize = 4 << 10;
/// The most of a file under /proc that is read: they have a few KiB, /proc/stat of a large machine some hundred.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Registers the `process_*` metrics of the running process, read from `proc` (usually `/proc`) at every gathering.
///
/// What cannot be read now is not registered: elsewhere than on Linux, nothing is.
pub fn register_process(registry: &Registry, proc: &Path) {
    let process = Process::new(registry, proc);
    process.update();
    registry.on_gather(move || process.update());
}

#[derive(Debug)]
struct Process {
    own: PathBuf,
    stat: Option<StatMetrics>,
    resident: Option<Gauge>,
    open_files: Option<Gauge>,
    files_max: Option<Gauge>,
}

#[derive(Debug)]
struct StatMetrics {
    cpu: Counter,
    virtual_memory: Gauge,
    threads: Gauge,
}

impl Process {
    fn new(registry: &Registry, proc: &Path) -> Self {
        let own = proc.join("self");
        let stat = read(&own, "stat").as_deref().and_then(parse_stat);
        let boot = read(proc, "stat").as_deref().and_then(parse_boot_seconds);
        if let (Some(stat), Some(boot)) = (&stat, boot) {
            let help = "Start time of the process since unix epoch in seconds.";
            let gauge = registry.gauge("process_start_time_seconds", help);
            gauge.set(boot + stat.start_ticks / TICKS_PER_SECOND);
        }
        let gauge = |present: bool, name, help| present.then(|| registry.gauge(name, help));
        Self {
            stat: stat.map(|_| StatMetrics {
                cpu: registry.counter(
                    "process_cpu_seconds_total",
                    "Total user and system CPU time spent in seconds.",
                ),
                virtual_memory: registry.gauge(
                    "process_virtual_memory_bytes",
                    "Virtual memory size in bytes.",
                ),
                threads: registry.gauge("process_threads", "Number of OS threads in the process."),
            }),
            resident: gauge(
                read(&own, "status")
                    .as_deref()
                    .and_then(parse_resident)
                    .is_some(),
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            ),
            open_files: gauge(
                count_open_files(&own).is_some(),
                "process_open_fds",
                "Number of open file descriptors.",
            ),
            files_max: gauge(
                read(&own, "limits")
                    .as_deref()
                    .and_then(parse_files_max)
                    .is_some(),
                "process_max_fds",
                "Maximum number of open file descriptors.",
            ),
            own,
        }
    }

    /// Reads everything again; what cannot be read keeps its last value.
    fn update(&self) {
        let text = |name| read(&self.own, name);
        if let Some(metrics) = &self.stat
            && let Some(stat) = text("stat").as_deref().and_then(parse_stat)
        {
            metrics.cpu.raise_to(stat.cpu_ticks / TICKS_PER_SECOND);
            metrics.virtual_memory.set(stat.virtual_bytes);
            metrics.threads.set(stat.threads);
        }
        let set = |gauge: &Option<Gauge>, value: &dyn Fn() -> Option<f64>| {
            if let Some(gauge) = gauge
                && let Some(value) = value()
            {
                gauge.set(value);
            }
        };
        set(&self.resident, &|| {
            text("status").as_deref().and_then(parse_resident)
        });
        set(&self.open_files, &|| count_open_files(&self.own));
        set(&self.files_max, &|| {
            text("limits").as_deref().and_then(parse_files_max)
        });
    }
}

fn read(folder: &Path, name: &str) -> Option<String> {
    let mut text = String::with_capacity(FILE_BYTES);
    let file = File::open(folder.join(name)).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The fields of /proc/PID/stat that are needed.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name, in parentheses, may itself hold blanks and parentheses: fields are counted from the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Numbered as proc(5) does, where the state, first after the name, is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
    })
}

fn parse_boot_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn parse_resident(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1_024.0)
}

fn parse_files_max(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        limit => limit.parse().ok(),
    }
}

/// Counts the open files but the one that listing them opens.
fn count_open_files(own: &Path) -> Option<f64> {
    let count = std::fs::read_dir(own.join("fd")).ok()?.count();
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use exposition::Format;

    use super::*;

    #[test]
    fn stat_is_read_behind_any_name() {
        let text = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 12345 1048576 256 18446744073709551615\n";
        let stat = Stat {
            cpu_ticks: 200.0,
            threads: 9.0,
            start_ticks: 12_345.0,
            virtual_bytes: 1_048_576.0,
        };
        assert_eq!(parse_stat(text), Some(stat));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_other_files_are_read() {
        assert_eq!(
            parse_boot_seconds("cpu 1 2\nbtime 1700000000\n"),
            Some(1.7e9)
        );
        assert_eq!(
            parse_resident("Name: x\nVmRSS:\t    2048 kB\n"),
            Some(2_097_152.0)
        );
        assert_eq!(parse_resident("VmRSS: x kB"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(parse_files_max(limits), Some(1_024.0));
        assert_eq!(
            parse_files_max("Max open files unlimited unlimited files"),
            Some(f64::INFINITY)
        );
    }

    #[test]
    fn without_a_proc_there_is_nothing() {
        let registry = Registry::new();
        register_process(&registry, Path::new("/nonexistent"));
        assert_eq!(registry.expose(Format::Text), "");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_of_them() {
        let registry = Registry::new();
        register_process(&registry, Path::new("/proc"));
        let text = registry.expose(Format::Text);
        let names: Vec<&str> = (text.lines())
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            names,
            [
                "process_cpu_seconds_total",
                "process_max_fds",
                "process_open_fds",
                "process_resident_memory_bytes",
                "process_start_time_seconds",
                "process_threads",
                "process_virtual_memory_bytes",
            ]
        );
        assert!(registry.gauge("process_resident_memory_bytes", "").value() > 1e5);
        assert!(registry.gauge("process_start_time_seconds", "").value() > 1.6e9);
    }
}
