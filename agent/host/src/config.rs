//! What to collect, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Paths;

/// How often a collector runs: each tier is a cohort of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// At the collection interval (1 s by default): what dashboards and rules use.
    Fast,
    /// Every 15 s: what hardly changes.
    Slow,
}

/// A collector, by node_exporter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CollectorName {
    /// Time by mode of each CPU, throttling, isolation, models.
    Cpu,
    /// Operations, bytes and time of each block device, and what udev knows of it.
    Diskstats,
    /// File descriptors in use, and the limit.
    Filefd,
    /// Space and inodes of each mount.
    Filesystem,
    /// The load averages.
    Loadavg,
    /// Every field of `/proc/meminfo`.
    Meminfo,
    /// Traffic and errors of each network device.
    Netdev,
    /// What `os-release` says.
    Os,
    /// Pressure stall information.
    Pressure,
    /// Boot time, interrupts, context switches, forks, processes.
    Stat,
    /// The clock and the clock sources.
    Time,
    /// What `uname` says.
    Uname,
    /// Chosen fields of `/proc/vmstat`.
    Vmstat,
}

/// No collector has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no collector {0:?}; known are {known}", known = CollectorName::ALL.map(CollectorName::as_str).join(", "))]
pub struct UnknownCollector(pub String);

impl CollectorName {
    /// All collectors, in the order in which they run.
    pub const ALL: [Self; 13] = [
        Self::Cpu,
        Self::Diskstats,
        Self::Filefd,
        Self::Loadavg,
        Self::Meminfo,
        Self::Netdev,
        Self::Os,
        Self::Pressure,
        Self::Stat,
        Self::Time,
        Self::Uname,
        Self::Vmstat,
        // The only one that may wait: it does so when the others are done.
        Self::Filesystem,
    ];

    /// Returns the name, as in `--collector.NAME` and in the label `collector`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Diskstats => "diskstats",
            Self::Filefd => "filefd",
            Self::Filesystem => "filesystem",
            Self::Loadavg => "loadavg",
            Self::Meminfo => "meminfo",
            Self::Netdev => "netdev",
            Self::Os => "os",
            Self::Pressure => "pressure",
            Self::Stat => "stat",
            Self::Time => "time",
            Self::Uname => "uname",
            Self::Vmstat => "vmstat",
        }
    }

    /// Returns the tier in which the collector runs by default.
    pub const fn default_tier(self) -> Tier {
        match self {
            Self::Os | Self::Uname => Tier::Slow,
            Self::Cpu
            | Self::Diskstats
            | Self::Filefd
            | Self::Filesystem
            | Self::Loadavg
            | Self::Meminfo
            | Self::Netdev
            | Self::Pressure
            | Self::Stat
            | Self::Time
            | Self::Vmstat => Tier::Fast,
        }
    }
}

impl fmt::Display for CollectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CollectorName {
    type Err = UnknownCollector;

    fn from_str(text: &str) -> Result<Self, UnknownCollector> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownCollector(text.to_owned()))
    }
}

/// What to collect, and how. The names are node_exporter's; patterns are regular expressions, matched anywhere in the text.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// `--path.*`
    pub paths: Paths,
    /// `--collector.NAME`, `--no-collector.NAME`: the collectors that run, and in which tier.
    pub collectors: BTreeMap<CollectorName, Tier>,
    /// `--collector.cpu.*`
    pub cpu: CpuOptions,
    /// `--collector.diskstats.device-include`, `--collector.diskstats.device-exclude`
    pub diskstats: DeviceOptions,
    /// `--collector.filesystem.*`
    pub filesystem: FilesystemOptions,
    /// `--collector.netdev.*`
    pub netdev: NetdevOptions,
    /// `--collector.stat.softirq`: softirqs by vector.
    pub stat_softirq: bool,
    /// `--collector.vmstat.fields`: the fields to collect.
    pub vmstat_fields: String,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            paths: Paths::default(),
            collectors: CollectorName::ALL
                .into_iter()
                .map(|name| (name, name.default_tier()))
                .collect(),
            cpu: CpuOptions::default(),
            diskstats: DeviceOptions {
                include: None,
                exclude: Some(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".to_owned()),
            },
            filesystem: FilesystemOptions::default(),
            netdev: NetdevOptions::default(),
            stat_softirq: false,
            vmstat_fields: r"^(oom_kill|pgpg|pswp|pg.*fault).*".to_owned(),
        }
    }
}

/// Options of the collector `cpu`.
#[derive(Clone, Debug)]
pub struct CpuOptions {
    /// `--collector.cpu.guest`: `node_cpu_guest_seconds_total`; on by default.
    pub guest: bool,
    /// `--collector.cpu.info`: `node_cpu_info`; off by default.
    pub info: bool,
    /// `--collector.cpu.info.flags-include`: the flags to report as `node_cpu_flag_info`; implies `info`.
    pub flags_include: Option<String>,
    /// `--collector.cpu.info.bugs-include`: the bugs to report as `node_cpu_bug_info`; implies `info`.
    pub bugs_include: Option<String>,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            guest: true,
            info: false,
            flags_include: None,
            bugs_include: None,
        }
    }
}

/// Which devices to collect; both at once are refused.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// `...device-include`: only these.
    pub include: Option<String>,
    /// `...device-exclude`: all but these.
    pub exclude: Option<String>,
}

/// Options of the collector `filesystem`.
#[derive(Clone, Debug)]
pub struct FilesystemOptions {
    /// `--collector.filesystem.mount-points-include`
    pub mount_points_include: Option<String>,
    /// `--collector.filesystem.mount-points-exclude`; its default does not stand in the way of an include pattern.
    pub mount_points_exclude: Option<String>,
    /// `--collector.filesystem.fs-types-include`
    pub fs_types_include: Option<String>,
    /// `--collector.filesystem.fs-types-exclude`; its default does not stand in the way of an include pattern.
    pub fs_types_exclude: Option<String>,
    /// `--collector.filesystem.mount-timeout`: a mount that has not answered for so long is marked as stuck.
    ///
    /// 1 s rather than node_exporter's 5 s: a stuck mount is then reported at the next collection. No collection waits so long; a
    /// mount that is late, but not yet stuck, shows what it said last.
    pub mount_timeout: Duration,
    /// `--collector.filesystem.stat-workers`: threads that call `statfs`; those held by a stuck mount are replaced, up to a bound.
    pub stat_workers: usize,
}

impl FilesystemOptions {
    /// The default of `mount_points_exclude`.
    pub const MOUNT_POINTS_EXCLUDE: &str =
        "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
    /// The default of `fs_types_exclude`.
    pub const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
}

impl Default for FilesystemOptions {
    fn default() -> Self {
        Self {
            mount_points_include: None,
            mount_points_exclude: Some(Self::MOUNT_POINTS_EXCLUDE.to_owned()),
            fs_types_include: None,
            fs_types_exclude: Some(Self::FS_TYPES_EXCLUDE.to_owned()),
            mount_timeout: Duration::from_secs(1),
            stat_workers: 4,
        }
    }
}

/// Options of the collector `netdev`.
#[derive(Clone, Debug)]
pub struct NetdevOptions {
    /// `--collector.netdev.device-include`, `--collector.netdev.device-exclude`
    pub devices: DeviceOptions,
    /// `--collector.netdev.netlink`: ask the kernel by rtnetlink rather than read `/proc/net/dev`; on by default. Where there is no
    /// rtnetlink, the file is read.
    pub netlink: bool,
    /// `--collector.netdev.enable-detailed-metrics`: the kernel's own, finer counters under names that differ from the usual ones.
    pub detailed_metrics: bool,
}

impl Default for NetdevOptions {
    fn default() -> Self {
        Self {
            devices: DeviceOptions::default(),
            netlink: true,
            detailed_metrics: false,
        }
    }
}
