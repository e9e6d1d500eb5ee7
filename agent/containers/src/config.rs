//! What a collector of containers is told.

use std::path::PathBuf;

/// Where to look, and how much of it.
#[derive(Clone, Debug)]
pub struct ContainersConfig {
    /// Where cgroups are mounted.
    pub cgroupfs: PathBuf,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where the root of the machine is mounted: what runtimes and the kubelet leave there names containers.
    pub rootfs: PathBuf,
    /// The most pods and containers; more are left out and counted.
    pub groups_max: usize,
    /// The most other groups: slices, services.
    pub others_max: usize,
    /// The most descriptors that stay open; what is beyond is opened for each reading.
    pub descriptors_max: usize,
}

impl Default for ContainersConfig {
    fn default() -> Self {
        Self {
            cgroupfs: PathBuf::from("/sys/fs/cgroup"),
            procfs: PathBuf::from("/proc"),
            rootfs: PathBuf::from("/"),
            groups_max: 4_000,
            others_max: 1_000,
            descriptors_max: half_of_the_descriptors(),
        }
    }
}

/// The other half is for sockets, spool and node collectors.
fn half_of_the_descriptors() -> usize {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limits.current.unwrap_or(u64::MAX) / 2;
    usize::try_from(most).unwrap_or(usize::MAX)
}
