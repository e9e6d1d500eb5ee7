//! What the files of a cgroup say, in the kernel's own units.
//!
//! A reading is kept and brought up to date in two parts, [`Reading::take_often`] and [`Reading::take_seldom`]. A file that is missing makes
//! its values absent; one that holds something else than expected, or cannot be read, makes them absent and is counted.
//!
//! In the moment before a group goes, [`Reading::last`] is what counts in the end; [`Reading::end_with`] takes that over, and
//! [`Reading::take_rest`] what else is still there. These leave alone what could not be read any more: older values are better than none.

mod v1;
mod v2;

use std::io;

use crate::files::{CgroupFile, Files};
use crate::layout::Version;

/// Of so many devices of a group values are kept; more are left out and counted.
const DEVICES_MAX: usize = 256;

/// Everything that was read of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Time used.
    pub cpu: Option<Cpu>,
    /// Periods and throttling; only of interest with a quota.
    pub throttling: Option<Throttling>,
    /// Memory now.
    pub memory: Option<Memory>,
    /// The most memory that was used at once, in bytes.
    pub memory_peak: Option<u64>,
    /// How often an allocation failed at the limit.
    pub memory_failures: Option<u64>,
    /// How often limits were reached.
    pub memory_events: Option<MemoryEvents>,
    /// How many processes the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Traffic with block devices, in order of the file.
    pub devices: Vec<Device>,
    /// How long tasks waited for the processor, memory and devices.
    pub pressure: [Option<Pressure>; 3],
    /// Shares, period and quota of the processor.
    pub cpu_limits: Option<CpuLimits>,
    /// Limits of memory.
    pub memory_limits: Option<MemoryLimits>,
    /// Processes directly in the group.
    pub processes: Option<u64>,
    /// Threads in the group and below.
    pub threads: Option<u64>,
    /// The most threads; 0: no limit.
    pub threads_max: Option<u64>,
    /// The first process directly in the group.
    pub first_process: Option<u32>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All.
    pub usage: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

/// What a quota did; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled: u64,
    pub burst_periods: u64,
    pub burst: u64,
}

/// Memory, in bytes, and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "cAdvisor's names")]
pub struct Memory {
    pub usage: u64,
    pub cache: u64,
    pub rss: u64,
    pub swap: u64,
    pub kernel: u64,
    pub mapped_file: u64,
    pub active_file: u64,
    pub inactive_file: u64,
    pub file_dirty: u64,
    pub file_writeback: u64,
    pub faults: Faults,
    /// The same with all groups below.
    pub faults_below: Faults,
    pub reclaim: Option<Reclaim>,
}

impl Memory {
    /// What cannot be had back at once: usage without files that nobody used lately.
    pub const fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// Page faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct Faults {
    pub all: u64,
    pub major: u64,
}

/// What reclaim did, in pages; only v2 says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct Reclaim {
    pub scanned: u64,
    pub stolen: u64,
    pub refault_file: u64,
    pub refault_anon: u64,
}

/// How often limits were reached; only v2 says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct MemoryEvents {
    pub high: u64,
    pub max: u64,
}

/// Traffic with a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub major: u32,
    /// The rest of it.
    pub minor: u32,
    /// Bytes by kind of operation, as in [`OPERATIONS`]; absent: the kernel does not tell.
    pub bytes: [Option<u64>; OPERATIONS.len()],
    /// Operations by kind, the same way.
    pub operations: [Option<u64>; OPERATIONS.len()],
}

/// The kinds of operations; v2 tells the first two.
pub const OPERATIONS: [&str; 6] = ["Read", "Write", "Sync", "Async", "Discard", "Total"];

/// How long tasks waited, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some of them.
    pub some: u64,
    /// All of them; the kernel does not say it of everything.
    pub full: Option<u64>,
}

/// Limits of the processor; times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// The share, in v1's measure.
    pub shares: Option<u64>,
    /// The period that a quota is of.
    pub period: Option<u64>,
    /// The quota; `None`: there is none.
    pub quota: Option<u64>,
}

/// Limits of memory, in bytes; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "cAdvisor's names")]
pub struct MemoryLimits {
    pub limit: u64,
    pub reservation: u64,
    pub swap: u64,
}

/// A limit from here on is none: v1 writes 2^63 less a page.
const LIMIT_BYTES_MAX: u64 = 1 << 62;

/// Where a reading is taken, and what went wrong.
#[derive(Debug)]
pub struct Reader<'a, F> {
    files: &'a mut F,
    buffer: &'a mut Vec<u8>,
    /// Files that hold something unexpected or cannot be read.
    errors: u64,
    /// Files that are not there (any more).
    missing: u64,
    is_rest: bool,
}

impl<'a, F: Files> Reader<'a, F> {
    /// Returns a reader of a group's files, with a buffer that it may use.
    pub const fn new(files: &'a mut F, buffer: &'a mut Vec<u8>) -> Self {
        Self {
            files,
            buffer,
            errors: 0,
            missing: 0,
            is_rest: false,
        }
    }

    /// Returns how many files held something unexpected or could not be read.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Returns how many files were not there.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Reads a file into a value that belongs to it.
    fn update<T>(
        &mut self,
        value: &mut Option<T>,
        file: &CgroupFile,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) {
        let read = self.read(file).map(parse);
        if matches!(read, Some(None)) {
            self.errors += 1;
        }
        let parsed = read.flatten();
        if parsed.is_some() || !self.is_rest {
            *value = parsed;
        }
    }

    /// Returns what a file holds; `None`, counted, when it cannot be read.
    fn read(&mut self, file: &CgroupFile) -> Option<&[u8]> {
        match self.files.read(file, self.buffer) {
            Ok(bytes) => Some(bytes),
            Err(error) if is_absence(&error) => {
                self.missing += 1;
                None
            }
            Err(_) => {
                self.errors += 1;
                None
            }
        }
    }
}

/// Missing, gone with its group, or off: no mistake.
fn is_absence(error: &io::Error) -> bool {
    let gone = rustix::io::Errno::NODEV.raw_os_error();
    let off = rustix::io::Errno::OPNOTSUPP.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || [Some(gone), Some(off)].contains(&error.raw_os_error())
}

impl Reading {
    /// Reads what dashboards and rules use: time, memory, traffic with devices.
    pub fn take_often<F: Files>(&mut self, version: Version, reader: &mut Reader<'_, F>) {
        match version {
            Version::V1 => v1::take_often(self, reader),
            Version::V2 => v2::take_often(self, reader),
        }
    }

    /// Reads the rest.
    pub fn take_seldom<F: Files>(&mut self, version: Version, reader: &mut Reader<'_, F>) {
        match version {
            Version::V1 => v1::take_seldom(self, reader),
            Version::V2 => v2::take_seldom(self, reader),
        }
    }

    /// Returns whether it has neither time nor the peak of memory.
    pub(crate) const fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory_peak.is_none()
    }

    /// Returns what counts in the end, and nothing else: time, the peak of memory and what ran out of it, from files that are kept open.
    pub fn last<F: Files>(version: Version, reader: &mut Reader<'_, F>) -> Self {
        let mut last = Self::default();
        match version {
            Version::V1 => v1::take_last(&mut last, reader),
            Version::V2 => v2::take_last(&mut last, reader),
        }
        last
    }

    /// Takes over a last reading; returns whether time and the peak of memory are in it, each if there was one before, and one at least.
    pub fn end_with(&mut self, mut last: Self) -> bool {
        let (time, peak) = (last.cpu.is_some(), last.memory_peak.is_some());
        let is_recorded =
            (time || self.cpu.is_none()) && (peak || self.memory_peak.is_none()) && (time || peak);
        if let Some((cpu, before)) = last.cpu.as_mut().zip(self.cpu) {
            // Where the time by mode is gone already; it never becomes less.
            cpu.user = cpu.user.max(before.user);
            cpu.system = cpu.system.max(before.system);
        }
        self.renew(last);
        is_recorded
    }

    /// Reads everything once more, as far as it is still there; the rest stays as it was.
    pub fn take_rest<F: Files>(&mut self, version: Version, reader: &mut Reader<'_, F>) {
        reader.is_rest = true;
        self.take_often(version, reader);
        self.take_seldom(version, reader);
        reader.is_rest = false;
    }

    /// Takes over what a later reading has, and keeps the rest.
    pub(crate) fn renew(&mut self, later: Self) {
        let Self {
            cpu,
            throttling,
            memory,
            memory_peak,
            memory_failures,
            memory_events,
            oom_kills,
            devices,
            pressure,
            cpu_limits,
            memory_limits,
            processes,
            threads,
            threads_max,
            first_process,
        } = later;
        self.cpu = cpu.or(self.cpu);
        self.throttling = throttling.or(self.throttling);
        self.memory = memory.or(self.memory);
        self.memory_peak = memory_peak.or(self.memory_peak);
        self.memory_failures = memory_failures.or(self.memory_failures);
        self.memory_events = memory_events.or(self.memory_events);
        self.oom_kills = oom_kills.or(self.oom_kills);
        if !devices.is_empty() {
            self.devices = devices;
        }
        for (mine, later) in self.pressure.iter_mut().zip(pressure) {
            *mine = later.or(*mine);
        }
        self.cpu_limits = cpu_limits.or(self.cpu_limits);
        self.memory_limits = memory_limits.or(self.memory_limits);
        self.processes = processes.or(self.processes);
        self.threads = threads.or(self.threads);
        self.threads_max = threads_max.or(self.threads_max);
        self.first_process = first_process.or(self.first_process);
    }
}

/// Reads the one number of a file.
fn number(bytes: &[u8]) -> Option<u64> {
    scan::number(bytes.trim_ascii())
}

/// Reads a limit: `max`, -1 and absurdly large ones are none.
fn limit(bytes: &[u8]) -> Option<u64> {
    match bytes.trim_ascii() {
        b"max" | b"-1" => Some(0),
        word => Some(scan::number(word)?).map(|limit| match limit {
            LIMIT_BYTES_MAX.. => 0,
            limit => limit,
        }),
    }
}

/// Gives `take` the name and number of each line of that shape; returns how many there were.
fn fields(bytes: &[u8], mut take: impl FnMut(&[u8], u64)) -> usize {
    let mut found = 0;
    for line in scan::lines(bytes) {
        let Some((name, value)) = scan::split_once(line, b' ') else {
            continue;
        };
        if let Some(value) = number(value) {
            take(name, value);
            found += 1;
        }
    }
    found
}

/// Reads `MAJOR:MINOR`.
fn device_number(word: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = scan::split_once(word, b':')?;
    Some((
        u32::try_from(scan::number(major)?).ok()?,
        u32::try_from(scan::number(minor)?).ok()?,
    ))
}

/// Counts the processes in a list, and returns the first that is in sight: 0 stands for those that are not.
fn processes(bytes: &[u8]) -> (u64, Option<u32>) {
    let ids = || scan::lines(bytes).filter_map(scan::number);
    let first = ids().find(|id| *id != 0);
    (
        ids().count() as u64,
        first.and_then(|id| u32::try_from(id).ok()),
    )
}

#[cfg(test)]
mod tests;
