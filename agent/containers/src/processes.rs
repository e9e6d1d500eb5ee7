//! What the processes of a group hold: `/proc/PID/fd` and `/proc/PID/limits`.

use std::fs;
use std::path::Path;

use crate::files::read_whole;

/// So many processes of a group are looked at.
const PROCESSES_MAX: usize = 512;
/// So many descriptors of a process are counted.
const DESCRIPTORS_MAX: usize = 65_536;

/// What processes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) processes: u64,
    pub(crate) descriptors: u64,
    pub(crate) sockets: u64,
    /// The soft limit of the first process; -1: none.
    pub(crate) descriptors_max: Option<f64>,
}

/// Looks at the processes that `list`, a `cgroup.procs`, names; `None` when none of them is in sight or may be looked at.
pub(crate) fn usage(procfs: &Path, list: &[u8]) -> Option<Usage> {
    let ids = || scan::lines(list).filter_map(scan::number);
    let mut usage = Usage {
        processes: ids().count() as u64,
        ..Usage::default()
    };
    let mut seen = false;
    for id in ids().filter(|id| *id != 0).take(PROCESSES_MAX) {
        let folder = procfs.join(id.to_string());
        let Ok(descriptors) = fs::read_dir(folder.join("fd")) else {
            continue;
        };
        for descriptor in descriptors.take(DESCRIPTORS_MAX).flatten() {
            usage.descriptors += 1;
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let is_socket = target
                .as_os_str()
                .as_encoded_bytes()
                .starts_with(b"socket:");
            usage.sockets += u64::from(is_socket);
        }
        if !seen {
            let limits = read_whole(&folder.join("limits")).unwrap_or_default();
            usage.descriptors_max = open_files_max(&limits);
        }
        seen = true;
    }
    seen.then_some(usage)
}

fn open_files_max(limits: &[u8]) -> Option<f64> {
    let mut rest = scan::lines(limits).filter_map(|line| line.strip_prefix(b"Max open files"));
    match scan::words(rest.next()?).next()? {
        b"unlimited" => Some(-1.0),
        word => scan::float(word),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn descriptors_and_sockets_of_all_processes_add_up() {
        let procfs = tempfile::tempdir().unwrap();
        for (id, targets) in [
            ("7", &["/dev/null", "socket:[1]"][..]),
            ("9", &["socket:[2]"]),
        ] {
            let folder = procfs.path().join(id).join("fd");
            fs::create_dir_all(&folder).unwrap();
            for (number, target) in targets.iter().enumerate() {
                symlink(target, folder.join(number.to_string())).unwrap();
            }
        }
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        fs::write(procfs.path().join("7/limits"), limits).unwrap();
        let expected = Usage {
            processes: 3,
            descriptors: 3,
            sockets: 2,
            descriptors_max: Some(1024.0),
        };
        assert_eq!(usage(procfs.path(), b"7\n9\n11\n"), Some(expected));
        assert_eq!(usage(procfs.path(), b"0\n0\n"), None);
        assert_eq!(usage(procfs.path(), b""), None);
    }
}
