//! Where the node's files are.

use std::path::{Path, PathBuf};

/// The folders through which the node is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `--path.procfs`
    pub procfs: PathBuf,
    /// `--path.sysfs`
    pub sysfs: PathBuf,
    /// `--path.rootfs`
    pub rootfs: PathBuf,
    /// `--path.udev.data`
    pub udev_data: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            procfs: PathBuf::from("/proc"),
            sysfs: PathBuf::from("/sys"),
            rootfs: PathBuf::from("/"),
            udev_data: PathBuf::from("/run/udev/data"),
        }
    }
}

impl Paths {
    /// Returns where a path of the node is found from here.
    pub(crate) fn in_rootfs(&self, path: &Path) -> PathBuf {
        self.rootfs.join(path.strip_prefix("/").unwrap_or(path))
    }
}
