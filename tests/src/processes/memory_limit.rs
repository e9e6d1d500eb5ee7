//! A bound on the memory of a process that the kernel enforces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::clean;

/// How much memory a process may have: by a control group of its own within that of this process, where the host lets us make one, and
/// otherwise by `RLIMIT_DATA`, which counts what is allocated rather than what is used.
#[derive(Debug)]
pub struct MemoryLimit {
    bytes: u64,
    group: Option<Group>,
}

/// A control group, removed on drop.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    /// The file that counts what the kernel killed in it.
    events: &'static str,
}

impl MemoryLimit {
    /// Returns a bound for one process.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            group: Group::within_own(bytes),
        }
    }

    /// Returns the bound, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether a control group holds it, so that the process can see its bound.
    pub const fn is_group(&self) -> bool {
        self.group.is_some()
    }

    /// Returns how many processes the kernel has killed for want of memory.
    pub fn kills(&self) -> u64 {
        self.group.as_ref().map_or(0, Group::kills)
    }

    /// Returns a command like [`clean`], whose process the bound holds from its first instruction on.
    pub(super) fn command(&self, program: &Path, home: &Path) -> Command {
        let enter = match &self.group {
            Some(group) => format!("echo $$ > '{}/cgroup.procs'", group.folder.display()),
            None => format!("ulimit -d {}", self.bytes / 1_024),
        };
        let mut command = clean(Path::new("/bin/sh"), home);
        command.args(["-c", &format!("{enter} && exec \"$@\""), "sh"]);
        command.arg(program);
        command
    }
}

impl Group {
    /// Makes a group of version 1 or 2 below this process's own.
    fn within_own(bytes: u64) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let (mount, limit, events) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max", "memory.events"),
                "memory" => (
                    "/sys/fs/cgroup/memory",
                    "memory.limit_in_bytes",
                    "memory.oom_control",
                ),
                _ => return None,
            };
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("promontory-test-{}-{number}", std::process::id());
            let folder = Path::new(mount)
                .join(path.trim_start_matches('/'))
                .join(name);
            fs::create_dir(&folder).ok()?;
            let group = Self { folder, events };
            fs::write(group.folder.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    fn kills(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join(self.events)).unwrap_or_default();
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        kills
            .and_then(|kills| kills.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Where it cannot be removed, an empty group is left, which costs nothing.
        drop(fs::remove_dir(&self.folder));
    }
}
