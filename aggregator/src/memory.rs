//! The memory of the process: what it may use, and what it uses.
//!
//! Whoever asks, asks in the middle of its work, and may be one that gives way to others: so nobody waits for another who looks, and what
//! takes long, giving back what the allocator keeps, is for a thread that does nothing else. While that walks through an arena, all wait
//! that allocate in it; done by queries, whose turn may end meanwhile, it held samples up for 10 to 40 ms. It gives back
//! 150 MB in 30 to 50 ms, and those that have microseconds to do waited for the end of its slice: so it lets them in. It does not give way,
//! for then it would wait for queries with an arena in its hand.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use clock::{Deadline, Monotonic, SharedClock};
use config::Settings;
use storage::ProcessMemory;

/// What is used is read this often at most, however often it is asked for.
const READ_EVERY: Duration = Duration::from_millis(20);
/// When more than seven tenths of the limit are used, and it has grown since, what the allocator keeps is given back, this often at most.
/// Queries that mean ill leave a hundred megabytes a second behind.
const GIVE_BACK_EVERY: Duration = Duration::from_millis(500);
/// Before the store makes room, at three quarters, for what nobody uses.
const GIVE_BACK_AT_TENTHS: u64 = 7;
/// So much of the limit it has to have grown for that.
const GROWN_PART: u64 = 32;
/// While there is enough, it is given back this often at most: a burst of queries, alerts or pushes finds it at hand, and a process that
/// idles is small.
const GIVE_BACK_GROWN_EVERY: Duration = Duration::from_secs(10);
/// And when the process has grown by so much since.
const GROWN_BYTES: u64 = 2 << 20;
/// After so many of these times, pages of the program go as well that only the start or a rare request has used. They stay in the page
/// cache; those that are used again are faulted in again.
const LOOKS_PER_PROGRAM: u32 = 6;
/// The largest file that is read here has some KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Returns what this process may use, in bytes; `None` where neither the settings nor the system say it.
pub(crate) fn limit(settings: &Settings) -> Option<u64> {
    settings
        .optional_number("storage.memory.limit")
        .or_else(|| default_limit(&read))
}

/// Returns the memory of this process, and starts the thread that keeps it small for as long as somebody has that; `None` where neither the
/// settings nor the system say what it may use, or the system does not say what it uses. Fails when no thread can be had.
pub(crate) fn of_process(
    settings: &Settings,
    clock: SharedClock,
) -> io::Result<Option<ProcessMemory>> {
    let Some((limit, present)) = limit(settings).zip(resident(&read)) else {
        return Ok(None);
    };
    let used = Arc::new(Used {
        bytes: AtomicU64::new(present),
        left: AtomicU64::new(0),
        looked: AtomicU64::new(0),
    });
    // One request that waits is enough: it is for all that there is to give back.
    let (asking, asked) = sync_channel(1);
    let (shared, keeping_clock) = (Arc::clone(&used), SharedClock::clone(&clock));
    thread::Builder::new()
        .name("memory".to_owned())
        .spawn(move || {
            precedence::let_others_in();
            keep_small(&asked, &shared, &keeping_clock);
        })?;
    Ok(Some(ProcessMemory::new(limit, move || {
        if used.is_due(clock.monotonic()) {
            used.look();
            let grown = used.grown();
            if used.bytes() > limit / 10 * GIVE_BACK_AT_TENTHS && grown >= limit / GROWN_PART {
                // Full: somebody has asked. Gone: it broke, and the memory stays as it is.
                let _told = asking.try_send(());
            }
        }
        used.bytes()
    })))
}

/// What the process uses, as it was seen last.
#[derive(Debug)]
struct Used {
    bytes: AtomicU64,
    /// What was left when memory was given back last, or less since.
    left: AtomicU64,
    /// When somebody looked, in milliseconds of the clock.
    looked: AtomicU64,
}

impl Used {
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether it is time to look, to one of those who ask at that time.
    fn is_due(&self, now: Monotonic) -> bool {
        let now = now.saturating_since(Monotonic::ORIGIN).as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Relaxed);
        u128::from(now.saturating_sub(looked)) >= READ_EVERY.as_millis()
            && (self.looked)
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Looks; what cannot be read stays as it was.
    fn look(&self) {
        if let Some(bytes) = resident(&read) {
            self.bytes.store(bytes, Ordering::Relaxed);
            self.left.fetch_min(bytes, Ordering::Relaxed);
        }
    }

    /// Returns by how much it has grown since memory was given back.
    fn grown(&self) -> u64 {
        self.bytes()
            .saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// Gives back what the allocator keeps.
    fn give_back(&self) {
        heap::give_back();
        self.look();
        self.left.store(self.bytes(), Ordering::Relaxed);
    }
}

/// Gives back what the allocator keeps, when that is asked for or the process has grown, and now and then of the program what is not used,
/// until nobody can ask any more. Costs a look every ten seconds; where it gives back, up to 50 ms, and what is used again is faulted
/// in again.
fn keep_small(asked: &Receiver<()>, used: &Used, clock: &SharedClock) {
    let mut now = clock.monotonic();
    let (mut look_at, mut looks) = (Deadline::after(now, GIVE_BACK_GROWN_EVERY), 0_u32);
    let (mut may_give_back_at, mut is_asked) = (Deadline::after(now, Duration::ZERO), false);
    loop {
        let mut patience = look_at.remaining(now);
        if is_asked {
            patience = patience.min(may_give_back_at.remaining(now));
        }
        match asked.recv_timeout(patience) {
            Ok(()) => is_asked = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        now = clock.monotonic();
        if is_asked && may_give_back_at.passed(now) {
            used.give_back();
            is_asked = false;
            may_give_back_at = Deadline::after(now, GIVE_BACK_EVERY);
        }
        if !look_at.passed(now) {
            continue;
        }
        look_at = Deadline::after(now, GIVE_BACK_GROWN_EVERY);
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_PROGRAM)
            && let Err(error) = heap::give_back_program()
        {
            tracing::debug!(%error, "the program stays in memory as it is");
        }
        used.look();
        if used.grown() >= GROWN_BYTES {
            used.give_back();
        }
    }
}

/// Returns a small file's text.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Nine tenths of what the container may use, for it is killed at its limit; or three quarters of the machine, which others use too.
fn default_limit(read: Read<'_>) -> Option<u64> {
    let machine = field(&read(Path::new("/proc/meminfo"))?, "MemTotal:")?;
    let container = container_limit(read).filter(|limit| *limit < machine);
    Some(container.map_or(machine / 4 * 3, |limit| limit / 10 * 9))
}

fn resident(read: Read<'_>) -> Option<u64> {
    field(&read(Path::new("/proc/self/status"))?, "VmRSS:")
}

/// Returns the least limit of the process's control groups and those around them, of version 2 or 1.
fn container_limit(read: Read<'_>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Inside a container the mount may begin at the container's own group: then only the mount itself is there.
        let own = PathBuf::from(path.trim_start_matches('/'));
        own.ancestors()
            .filter_map(|group| read(&Path::new(mount).join(group).join(file)))
            .filter_map(|limit| limit.trim().parse::<u64>().ok())
            .min()
    });
    limits.min()
}

/// Returns a field that counts KiB, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        default_limit(&|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_limit_is_that_of_the_container_or_a_share_of_the_machine() {
        let machine = ("/proc/meminfo", "MemTotal:  4194304 kB\nMemFree: 1 kB\n");
        let v2 = ("/proc/self/cgroup", "0::/kubepods/pod7\n");
        let v1 = (
            "/proc/self/cgroup",
            "3:cpu,cpuacct:/x\n2:memory:/docker/7\n",
        );
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[machine]), Some(3 * GIB));
        let unlimited = ("/sys/fs/cgroup/kubepods/pod7/memory.max", "max\n");
        assert_eq!(limit(&[machine, v2, unlimited]), Some(3 * GIB));
        let around = ("/sys/fs/cgroup/kubepods/memory.max", "1000000000\n");
        assert_eq!(limit(&[machine, v2, unlimited, around]), Some(900_000_000));
        let own = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
        assert_eq!(limit(&[machine, v1, own]), Some(900_000));
        let none = (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(limit(&[machine, v1, none]), Some(3 * GIB));
    }

    #[test]
    fn resident_memory_is_read_from_the_status() {
        let status = |_: &Path| Some("Name: x\nVmRSS:\t    2048 kB\n".to_owned());
        assert_eq!(resident(&status), Some(2 << 20));
        assert_eq!(resident(&|_| None), None);
    }
}
