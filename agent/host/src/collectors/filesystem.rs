//! Mounts: the list from `mountinfo`, sizes by `statfs` on threads of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Monotonic;

use super::Collector;
use super::mountinfo::{self, Mount};
use super::statfs_pool::{Known, StatfsPool, Usage};
use crate::error::CollectError;
use crate::filter::{Filter, OptionNames};
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::refresh::Refresh;
use crate::{Family, FilesystemOptions, HostConfig, HostConfigError, Paths, Sink, scan};

const LABELS: &[&str] = &["device", "mountpoint", "fstype", "device_error"];

static SIZE: Family = Family::gauge(
    "node_filesystem_size_bytes",
    "Filesystem size in bytes.",
    LABELS,
);
static FREE: Family = Family::gauge(
    "node_filesystem_free_bytes",
    "Filesystem free space in bytes.",
    LABELS,
);
static AVAILABLE: Family = Family::gauge(
    "node_filesystem_avail_bytes",
    "Filesystem space available to non-root users in bytes.",
    LABELS,
);
static FILES: Family = Family::gauge(
    "node_filesystem_files",
    "Filesystem total file nodes.",
    LABELS,
);
static FILES_FREE: Family = Family::gauge(
    "node_filesystem_files_free",
    "Filesystem total free file nodes.",
    LABELS,
);
static READ_ONLY: Family = Family::gauge(
    "node_filesystem_readonly",
    "Filesystem read-only status.",
    LABELS,
);
static DEVICE_ERROR: Family = Family::gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
    LABELS,
);
static MOUNT_INFO: Family = Family::gauge(
    "node_filesystem_mount_info",
    "Filesystem mount information.",
    &["device", "major", "minor", "mountpoint"],
);

/// How long the list is believed while the kernel reports no change. It does not report all: a file system that turns read-only
/// after an error changes no mount. A collection every 15 s reads the list each time.
const PERIOD: Duration = Duration::from_secs(14);

/// More mounts are left out; each costs seven series.
const MOUNTS_MAX: usize = 2_048;

#[derive(Debug)]
pub(super) struct Filesystem {
    paths: Paths,
    /// Of the node's first process, or of this one where the first is hidden.
    file: KeptFile,
    fallback: KeptFile,
    points: Filter,
    types: Filter,
    pool: StatfsPool,
    refresh: Refresh,
    list: MountList,
}

/// The mounts that are collected, parsed again only when the kernel's text changes.
#[derive(Debug, Default)]
struct MountList {
    text: Vec<u8>,
    mounts: Vec<Shown>,
    all_parsed: bool,
}

#[derive(Debug)]
struct Shown {
    mount: Mount,
    /// Where the mount is found from here.
    path: PathBuf,
    /// The label: the mount point without `--path.rootfs`.
    point: String,
}

impl Filesystem {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let options = &config.filesystem;
        let points = OptionNames {
            include: "collector.filesystem.mount-points-include",
            exclude: "collector.filesystem.mount-points-exclude",
        };
        let types = OptionNames {
            include: "collector.filesystem.fs-types-include",
            exclude: "collector.filesystem.fs-types-exclude",
        };
        Ok(Self {
            paths: config.paths.clone(),
            file: KeptFile::new(config.paths.procfs.join("1/mountinfo")),
            fallback: KeptFile::new(config.paths.procfs.join("self/mountinfo")),
            points: Filter::new(
                points,
                options.mount_points_include.as_deref(),
                options.mount_points_exclude.as_deref(),
                Some(FilesystemOptions::MOUNT_POINTS_EXCLUDE),
            )?,
            types: Filter::new(
                types,
                options.fs_types_include.as_deref(),
                options.fs_types_exclude.as_deref(),
                Some(FilesystemOptions::FS_TYPES_EXCLUDE),
            )?,
            pool: StatfsPool::new(
                options.stat_workers,
                options.mount_timeout,
                Box::new(statfs),
            ),
            refresh: Refresh::every(PERIOD),
            list: MountList::default(),
        })
    }

    fn read_list(&mut self, now: Monotonic) -> Result<(), CollectError> {
        if !self.refresh.due(now) && (self.file.is_unchanged() || self.fallback.is_unchanged()) {
            return Ok(());
        }
        let content = match self.file.read() {
            Ok(content) => content,
            Err(_) => self.fallback.read()?,
        };
        let bytes = content.bytes;
        if self.list.text == bytes {
            return Ok(());
        }
        self.list.text.clear();
        self.list.text.extend_from_slice(bytes);
        self.list.mounts.clear();
        self.list.all_parsed = true;
        for line in scan::lines(&self.list.text) {
            let Some(mount) = mountinfo::parse_line(line) else {
                self.list.all_parsed = false;
                continue;
            };
            let point = stripped(&mount.point, &self.paths.rootfs);
            let label = point.to_string_lossy().into_owned();
            let shown = self.points.takes(&label) && self.types.takes(&mount.fs_type);
            if shown && self.list.mounts.len() < MOUNTS_MAX {
                self.list.mounts.push(Shown {
                    path: self.paths.in_rootfs(&point),
                    point: label,
                    mount,
                });
            }
        }
        Ok(())
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        self.read_list(moment.now)
            .inspect_err(|_| self.refresh.retry())?;
        let paths = self.list.mounts.iter().map(|shown| &*shown.path);
        self.pool.ask(paths, moment.now, moment.patience);
        for shown in &self.list.mounts {
            if let Some(known) = self.pool.known(&shown.path, moment.now) {
                shown.sample(&known, sink);
            }
        }
        if self.list.all_parsed {
            Ok(())
        } else {
            Err(CollectError::parse(
                self.file.path(),
                "a mount in each line",
            ))
        }
    }
}

impl Shown {
    fn sample(&self, known: &Known<'_>, sink: &mut dyn Sink) {
        let Mount {
            major,
            minor,
            fs_type,
            device,
            read_only,
            ..
        } = &self.mount;
        let error = match known {
            Known::Usage(_) => String::new(),
            Known::Failed(error) => reason(error),
            Known::Stuck => "mountpoint timeout".to_owned(),
        };
        let labels = [device, &*self.point, fs_type, &error];
        let read_only = if *read_only { 1.0 } else { 0.0 };
        sink.sample(
            &DEVICE_ERROR,
            &labels,
            if error.is_empty() { 0.0 } else { 1.0 },
        );
        sink.sample(&READ_ONLY, &labels, read_only);
        let Known::Usage(usage) = known else {
            return;
        };
        sink.sample(&SIZE, &labels, usage.size);
        sink.sample(&FREE, &labels, usage.free);
        sink.sample(&AVAILABLE, &labels, usage.available);
        sink.sample(&FILES, &labels, usage.files);
        sink.sample(&FILES_FREE, &labels, usage.files_free);
        sink.sample(&MOUNT_INFO, &[device, major, minor, &self.point], 1.0);
    }
}

/// Returns the mount point without the root under which the node's files are seen here.
fn stripped(point: &Path, rootfs: &Path) -> PathBuf {
    match point.strip_prefix(rootfs) {
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => point.to_owned(),
    }
}

/// Returns the text of an error as the C library has it, in lower case and without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

#[expect(
    clippy::allow_attributes,
    reason = "the width and sign of these fields differ by architecture"
)]
fn statfs(path: &Path) -> io::Result<Usage> {
    let found = rustix::fs::statfs(path)?;
    #[allow(
        clippy::unnecessary_cast,
        reason = "a number of another type elsewhere"
    )]
    let block = found.f_bsize as f64;
    Ok(Usage {
        size: found.f_blocks as f64 * block,
        free: found.f_bfree as f64 * block,
        available: found.f_bavail as f64 * block,
        files: found.f_files as f64,
        files_free: found.f_ffree as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_elsewhere_is_stripped_from_mount_points() {
        for (point, rootfs, expected) in [
            ("/", "/", "/"),
            ("/boot", "/", "/boot"),
            ("/host/root", "/host/root", "/"),
            ("/host/root/boot", "/host/root", "/boot"),
            ("/host/rootless", "/host/root", "/host/rootless"),
        ] {
            let got = stripped(Path::new(point), Path::new(rootfs));
            assert_eq!(got, Path::new(expected), "{point} under {rootfs}");
        }
    }

    #[test]
    fn reasons_read_like_labels() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(reason(&error), "permission denied");
    }
}
