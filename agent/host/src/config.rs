//! What to collect, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::{CollectorName, Paths};

/// How often a collector runs: each tier is a cohort of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// At the collection interval (1 s by default): what dashboards and rules use.
    Fast,
    /// Every 15 s: what hardly changes.
    Slow,
}

/// What to collect, and how. The names are node_exporter's; patterns are regular expressions, matched anywhere in the text.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// `--path.*`
    pub paths: Paths,
    /// `--collector.NAME`, `--no-collector.NAME`: the collectors that run, and in which tier.
    pub collectors: BTreeMap<CollectorName, Tier>,
    /// `--collector.arp.*`
    pub arp: ArpOptions,
    /// `--collector.bcache.priorityStats`: collect `priority_stats`, which is expensive to read; off by default.
    pub bcache_priority_stats: bool,
    /// `--collector.cpu.*`
    pub cpu: CpuOptions,
    /// `--collector.diskstats.device-include`, `--collector.diskstats.device-exclude`
    pub diskstats: DeviceOptions,
    /// `--collector.filesystem.*`
    pub filesystem: FilesystemOptions,
    /// `--collector.hwmon.chip-include`, `--collector.hwmon.chip-exclude`
    pub hwmon_chips: DeviceOptions,
    /// `--collector.hwmon.sensor-include`, `--collector.hwmon.sensor-exclude`: matched against `chip;sensor`.
    pub hwmon_sensors: DeviceOptions,
    /// `--collector.interrupts.*`
    pub interrupts: InterruptsOptions,
    /// `--collector.ipvs.backend-labels`: the labels of backends, separated by commas; those left out are summed over.
    pub ipvs_backend_labels: String,
    /// `--collector.netclass.*`
    pub netclass: NetclassOptions,
    /// `--collector.netdev.*`
    pub netdev: NetdevOptions,
    /// `--collector.netstat.fields`: the fields to collect, as `Protocol_Name`.
    pub netstat_fields: String,
    /// `--collector.powersupply.ignored-supplies`
    pub powersupply_ignored: String,
    /// `--collector.qdisc.device-include`, `--collector.qdisc.device-exclude`
    pub qdisc: DeviceOptions,
    /// `--collector.rapl.enable-zone-label`: one family with the label `name` for all zones; off by default.
    pub rapl_zone_label: bool,
    /// `--collector.slabinfo.slabs-include`, `--collector.slabinfo.slabs-exclude`
    pub slabinfo: DeviceOptions,
    /// `--collector.stat.softirq`: softirqs by vector.
    pub stat_softirq: bool,
    /// `--collector.sysctl.*`
    pub sysctl: SysctlOptions,
    /// `--collector.systemd.*`
    pub systemd: SystemdOptions,
    /// `--collector.tapestats.ignored-devices`
    pub tapestats_ignored: String,
    /// `--collector.textfile.directory`: the folders whose `*.prom` files are shown; `*` and `?` stand for parts of names.
    pub textfile_directories: Vec<PathBuf>,
    /// `--collector.vmstat.fields`: the fields to collect.
    pub vmstat_fields: String,
}

impl HostConfig {
    /// The default of `netstat_fields`.
    pub const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";
    /// The default of `ipvs_backend_labels`.
    pub const IPVS_BACKEND_LABELS: &str =
        "local_address,local_port,remote_address,remote_port,proto,local_mark";
    /// The default of what ignores nothing.
    pub const IGNORE_NOTHING: &str = "^$";
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            paths: Paths::default(),
            collectors: CollectorName::ALL
                .into_iter()
                .filter(|name| name.runs_by_default())
                .map(|name| (name, name.default_tier()))
                .collect(),
            arp: ArpOptions::default(),
            bcache_priority_stats: false,
            cpu: CpuOptions::default(),
            diskstats: DeviceOptions {
                include: None,
                exclude: Some(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".to_owned()),
            },
            filesystem: FilesystemOptions::default(),
            hwmon_chips: DeviceOptions::default(),
            hwmon_sensors: DeviceOptions::default(),
            interrupts: InterruptsOptions::default(),
            ipvs_backend_labels: Self::IPVS_BACKEND_LABELS.to_owned(),
            netclass: NetclassOptions::default(),
            netdev: NetdevOptions::default(),
            netstat_fields: Self::NETSTAT_FIELDS.to_owned(),
            powersupply_ignored: Self::IGNORE_NOTHING.to_owned(),
            qdisc: DeviceOptions::default(),
            rapl_zone_label: false,
            slabinfo: DeviceOptions::default(),
            stat_softirq: false,
            sysctl: SysctlOptions::default(),
            systemd: SystemdOptions::default(),
            tapestats_ignored: Self::IGNORE_NOTHING.to_owned(),
            textfile_directories: Vec::new(),
            vmstat_fields: r"^(oom_kill|pgpg|pswp|pg.*fault).*".to_owned(),
        }
    }
}

/// Options of the collector `arp`.
#[derive(Clone, Debug)]
pub struct ArpOptions {
    /// `--collector.arp.device-include`, `--collector.arp.device-exclude`
    pub devices: DeviceOptions,
    /// `--collector.arp.netlink`: ask the kernel by rtnetlink rather than read `/proc/net/arp`; on by default.
    pub netlink: bool,
}

impl Default for ArpOptions {
    fn default() -> Self {
        Self {
            devices: DeviceOptions::default(),
            netlink: true,
        }
    }
}

/// Options of the collector `interrupts`.
#[derive(Clone, Debug)]
pub struct InterruptsOptions {
    /// `--collector.interrupts.name-include`, `--collector.interrupts.name-exclude`: matched against `type;info;devices`.
    pub names: DeviceOptions,
    /// `--collector.interrupts.include-zeros`: show those that never came; on by default.
    pub include_zeros: bool,
}

impl Default for InterruptsOptions {
    fn default() -> Self {
        Self {
            names: DeviceOptions::default(),
            include_zeros: true,
        }
    }
}

/// Options of the collector `netclass`.
#[derive(Clone, Debug)]
pub struct NetclassOptions {
    /// `--collector.netclass.ignored-devices`
    pub ignored_devices: String,
    /// `--collector.netclass.ignore-invalid-speed`: leave out what is below 0; off by default.
    pub ignore_invalid_speed: bool,
}

impl Default for NetclassOptions {
    fn default() -> Self {
        Self {
            ignored_devices: HostConfig::IGNORE_NOTHING.to_owned(),
            ignore_invalid_speed: false,
        }
    }
}

/// Options of the collector `sysctl`.
#[derive(Clone, Debug, Default)]
pub struct SysctlOptions {
    /// `--collector.sysctl.include`: numbers, as `a.b.c`, or `a.b.c:name,name` where a file holds several.
    pub include: Vec<String>,
    /// `--collector.sysctl.include-info`: texts, as `a.b.c`.
    pub include_info: Vec<String>,
}

/// Options of the collector `systemd`.
#[derive(Clone, Debug)]
pub struct SystemdOptions {
    /// `--collector.systemd.unit-include`, `--collector.systemd.unit-exclude`: both may be given.
    pub units: DeviceOptions,
    /// `--collector.systemd.enable-restarts-metrics`: restarts of services; off by default.
    pub restarts: bool,
    /// `--collector.systemd.enable-start-time-metrics`: start times of units; off by default.
    pub start_times: bool,
    /// `--collector.systemd.enable-task-metrics`: tasks of services; off by default.
    pub tasks: bool,
}

impl SystemdOptions {
    /// The default of the include pattern.
    pub const UNIT_INCLUDE: &str = ".+";
    /// The default of the exclude pattern.
    pub const UNIT_EXCLUDE: &str = r".+\.(automount|device|mount|scope|slice)";
}

impl Default for SystemdOptions {
    fn default() -> Self {
        Self {
            units: DeviceOptions {
                include: Some(Self::UNIT_INCLUDE.to_owned()),
                exclude: Some(Self::UNIT_EXCLUDE.to_owned()),
            },
            restarts: false,
            start_times: false,
            tasks: false,
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
