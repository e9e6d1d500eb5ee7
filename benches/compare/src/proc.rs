//! What the kernel says of a process: CPU time, by thread and in all, and resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// A process, by its folder in `/proc`.
#[derive(Clone, Debug)]
pub(crate) struct Proc(PathBuf);

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The most since the process started.
    pub(crate) peak: u64,
}

impl Proc {
    pub(crate) fn of(id: u32) -> Self {
        Self(Path::new("/proc").join(id.to_string()))
    }

    /// Returns this process.
    pub(crate) fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    /// Returns the CPU time of all threads that live or lived, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let text = self.read("stat")?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th field after it.
        let (_, rest) = text.rsplit_once(')').context("no name in stat")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || -> Result<u64> { Ok(fields.next().context("stat is short")?.parse()?) };
        let ticks = ticks()? + ticks()?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Returns the CPU time of the threads that live, added up by name; numbers at the end of a name do not count.
    pub(crate) fn cpu_by_thread(&self) -> Result<BTreeMap<String, Duration>> {
        let mut by_name = BTreeMap::new();
        let folder = self.0.join("task");
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            // A thread may end while it is looked at.
            let (Ok(name), Ok(times)) = (
                fs::read_to_string(path.join("comm")),
                fs::read_to_string(path.join("schedstat")),
            ) else {
                continue;
            };
            let name = name
                .trim()
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
            let on_cpu = times
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .parse()?;
            *by_name.entry(name.to_owned()).or_insert(Duration::ZERO) +=
                Duration::from_nanos(on_cpu);
        }
        Ok(by_name)
    }

    pub(crate) fn resident(&self) -> Result<Resident> {
        let text = self.read("status")?;
        let kib = |field: &str| -> Result<u64> {
            let rest = text
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let rest =
                rest.with_context(|| format!("no {field} in status: the process is ending"))?;
            Ok(rest.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
        };
        Ok(Resident {
            now: kib("VmRSS")?,
            peak: kib("VmHWM")?,
        })
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.0.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Returns the bytes of all files below `folder`; 0 when there is none.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_has_used_something() {
        let own = Proc::own();
        let resident = own.resident().expect("status");
        assert!(resident.now > 0 && resident.peak >= resident.now);
        assert!(!own.cpu_by_thread().expect("task").is_empty());
        own.cpu().expect("stat");
    }
}
