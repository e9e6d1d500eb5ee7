//! The settings that say what is collected: node_exporter's names, defaults and meanings.

use std::time::Duration;

use config::{Kind, Setting};
use host::{CollectorName, FilesystemOptions, HostConfig, SystemdOptions};

/// The setting `--interval`.
pub const INTERVAL: Setting = Setting {
    name: "interval",
    kind: Kind::Duration(Duration::from_millis(10), Duration::from_secs(60)),
    default: Some("1s"),
    value_name: "DURATION",
    help: "How often this machine is sampled. What hardly changes is sampled every 15s.",
};

/// The settings `--path.*`.
pub const PATHS: &[Setting] = &[
    folder("path.procfs", "/proc", "Where procfs is mounted."),
    folder(
        "path.cgroupfs",
        "/sys/fs/cgroup",
        "Where control groups are mounted.",
    ),
    folder("path.sysfs", "/sys", "Where sysfs is mounted."),
    folder(
        "path.rootfs",
        "/",
        "Where the root of the machine is mounted.",
    ),
    folder(
        "path.udev.data",
        "/run/udev/data",
        "Where udev's database lies.",
    ),
];

/// The settings `--collector.NAME`: which collectors run.
pub const COLLECTORS: &[Setting] = &switches();

const fn switches() -> [Setting; CollectorName::ALL.len()] {
    let mut settings = [off("", ""); CollectorName::ALL.len()];
    let mut at = 0;
    while at < settings.len() {
        let name = CollectorName::ALL[at];
        settings[at] = if name.runs_by_default() {
            on(name.option(), name.about())
        } else {
            off(name.option(), name.about())
        };
        at += 1;
    }
    settings
}

/// The settings `--collector.NAME.*`: what collectors are told.
pub const COLLECTOR_OPTIONS: &[Setting] = &[
    pattern(
        "collector.arp.device-include",
        None,
        "Only neighbours of these network devices.",
    ),
    pattern(
        "collector.arp.device-exclude",
        None,
        "Neighbours of all network devices but these.",
    ),
    on(
        "collector.arp.netlink",
        "Ask the kernel by netlink rather than read /proc/net/arp.",
    ),
    off(
        "collector.bcache.priorityStats",
        "Collect priority_stats, which is expensive to read.",
    ),
    on(
        "collector.cpu.guest",
        "Collect node_cpu_guest_seconds_total.",
    ),
    off(
        "collector.cpu.info",
        "Collect node_cpu_info, a series per CPU.",
    ),
    pattern(
        "collector.cpu.info.flags-include",
        None,
        "CPU flags to show as node_cpu_flag_info; implies --collector.cpu.info.",
    ),
    pattern(
        "collector.cpu.info.bugs-include",
        None,
        "CPU bugs to show as node_cpu_bug_info; implies --collector.cpu.info.",
    ),
    pattern(
        "collector.diskstats.device-include",
        None,
        "Only these block devices.",
    ),
    pattern(
        "collector.diskstats.device-exclude",
        Some(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"),
        "All block devices but these.",
    ),
    pattern(
        "collector.filesystem.mount-points-include",
        None,
        "Only these mount points.",
    ),
    pattern(
        "collector.filesystem.mount-points-exclude",
        Some(FilesystemOptions::MOUNT_POINTS_EXCLUDE),
        "All mount points but these.",
    ),
    pattern(
        "collector.filesystem.fs-types-include",
        None,
        "Only these types of file system.",
    ),
    pattern(
        "collector.filesystem.fs-types-exclude",
        Some(FilesystemOptions::FS_TYPES_EXCLUDE),
        "All types of file system but these.",
    ),
    Setting {
        name: "collector.filesystem.mount-timeout",
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(60)),
        default: Some("1s"),
        value_name: "DURATION",
        help: "A mount that has not answered for so long is marked as stuck; no collection waits for it.",
    },
    Setting {
        name: "collector.filesystem.stat-workers",
        kind: Kind::Integer(1, 64),
        default: Some("4"),
        value_name: "N",
        help: "Threads that ask mounts.",
    },
    pattern("collector.hwmon.chip-include", None, "Only these chips."),
    pattern("collector.hwmon.chip-exclude", None, "All chips but these."),
    pattern(
        "collector.hwmon.sensor-include",
        None,
        "Only these sensors, as CHIP;SENSOR.",
    ),
    pattern(
        "collector.hwmon.sensor-exclude",
        None,
        "All sensors but these, as CHIP;SENSOR.",
    ),
    pattern(
        "collector.interrupts.name-include",
        None,
        "Only these interrupts, as TYPE;INFO;DEVICES.",
    ),
    pattern(
        "collector.interrupts.name-exclude",
        None,
        "All interrupts but these, as TYPE;INFO;DEVICES.",
    ),
    on(
        "collector.interrupts.include-zeros",
        "Show also interrupts that never came.",
    ),
    Setting {
        name: "collector.ipvs.backend-labels",
        kind: Kind::Text,
        default: Some(HostConfig::IPVS_BACKEND_LABELS),
        value_name: "LABEL,...",
        help: "Labels of backends; those that differ in others only are summed.",
    },
    pattern(
        "collector.netclass.ignored-devices",
        Some(HostConfig::IGNORE_NOTHING),
        "Network devices to ignore.",
    ),
    off(
        "collector.netclass.ignore-invalid-speed",
        "Leave out a speed below 0.",
    ),
    pattern(
        "collector.netdev.device-include",
        None,
        "Only these network devices.",
    ),
    pattern(
        "collector.netdev.device-exclude",
        None,
        "All network devices but these.",
    ),
    on(
        "collector.netdev.netlink",
        "Ask the kernel by netlink rather than read /proc/net/dev.",
    ),
    off(
        "collector.netdev.enable-detailed-metrics",
        "Collect the kernel's finer counters, under other names.",
    ),
    pattern(
        "collector.netstat.fields",
        Some(HostConfig::NETSTAT_FIELDS),
        "The counters of protocols to collect, as PROTOCOL_NAME.",
    ),
    pattern(
        "collector.powersupply.ignored-supplies",
        Some(HostConfig::IGNORE_NOTHING),
        "Power supplies to ignore.",
    ),
    pattern(
        "collector.qdisc.device-include",
        None,
        "Only these network devices.",
    ),
    pattern(
        "collector.qdisc.device-exclude",
        None,
        "All network devices but these.",
    ),
    off(
        "collector.rapl.enable-zone-label",
        "Show all zones in one family, with the label rapl_zone.",
    ),
    pattern(
        "collector.slabinfo.slabs-include",
        None,
        "Only these object caches.",
    ),
    pattern(
        "collector.slabinfo.slabs-exclude",
        None,
        "All object caches but these.",
    ),
    off("collector.stat.softirq", "Collect softirqs by vector."),
    Setting {
        name: "collector.sysctl.include",
        kind: Kind::Texts,
        default: None,
        value_name: "NAME[:VALUE,...]",
        help: "A setting of the kernel that is a number or, with names for them, several; may be repeated.",
    },
    Setting {
        name: "collector.sysctl.include-info",
        kind: Kind::Texts,
        default: None,
        value_name: "NAME[:VALUE,...]",
        help: "A setting of the kernel that is a text; may be repeated.",
    },
    pattern(
        "collector.systemd.unit-include",
        Some(SystemdOptions::UNIT_INCLUDE),
        "The units to collect, whole names.",
    ),
    pattern(
        "collector.systemd.unit-exclude",
        Some(SystemdOptions::UNIT_EXCLUDE),
        "The units not to collect, whole names.",
    ),
    off(
        "collector.systemd.enable-restarts-metrics",
        "Collect restarts of services.",
    ),
    off(
        "collector.systemd.enable-start-time-metrics",
        "Collect when units were started.",
    ),
    off(
        "collector.systemd.enable-task-metrics",
        "Collect the tasks of services.",
    ),
    pattern(
        "collector.tapestats.ignored-devices",
        Some(HostConfig::IGNORE_NOTHING),
        "Tape drives to ignore.",
    ),
    Setting {
        name: "collector.textfile.directory",
        kind: Kind::Texts,
        default: None,
        value_name: "DIR",
        help: "Folder of *.prom files; * and ? stand for parts of names; may be repeated.",
    },
    pattern(
        "collector.vmstat.fields",
        Some("^(oom_kill|pgpg|pswp|pg.*fault).*"),
        "The fields of /proc/vmstat to collect.",
    ),
];

/// The settings of containers.
pub const CONTAINERS: &[Setting] = &[
    on(
        "collector.containers",
        "Collect containers, pods and other control groups, as a kubelet's cAdvisor does.",
    ),
    Setting {
        name: "cri.socket",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Socket of the container runtime, which names containers. When not given, the first of containerd's, CRI-O's and cri-dockerd's usual ones, below --path.rootfs.",
    },
    Setting {
        name: "cri.snapshot",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "JSON of what the runtime would say, in place of its socket: lists of sandboxes and containers.",
    },
    Setting {
        name: "containers.max",
        kind: Kind::Integer(1, 100_000),
        default: Some("4000"),
        value_name: "N",
        help: "The most pods and containers, each of about 70 series; more are left out and counted.",
    },
];

/// Patterns of which only one may be given.
pub(crate) const EXCLUSIVE: &[(&str, &str)] = &[
    (
        "collector.arp.device-include",
        "collector.arp.device-exclude",
    ),
    (
        "collector.hwmon.chip-include",
        "collector.hwmon.chip-exclude",
    ),
    (
        "collector.hwmon.sensor-include",
        "collector.hwmon.sensor-exclude",
    ),
    (
        "collector.interrupts.name-include",
        "collector.interrupts.name-exclude",
    ),
    (
        "collector.qdisc.device-include",
        "collector.qdisc.device-exclude",
    ),
    (
        "collector.slabinfo.slabs-include",
        "collector.slabinfo.slabs-exclude",
    ),
    (
        "collector.diskstats.device-include",
        "collector.diskstats.device-exclude",
    ),
    (
        "collector.filesystem.mount-points-include",
        "collector.filesystem.mount-points-exclude",
    ),
    (
        "collector.filesystem.fs-types-include",
        "collector.filesystem.fs-types-exclude",
    ),
    (
        "collector.netdev.device-include",
        "collector.netdev.device-exclude",
    ),
];

const fn folder(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        kind: Kind::Path,
        default: Some(default),
        value_name: "DIR",
        help,
    }
}

const fn on(name: &'static str, help: &'static str) -> Setting {
    switch(name, "true", help)
}

const fn off(name: &'static str, help: &'static str) -> Setting {
    switch(name, "false", help)
}

const fn switch(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        kind: Kind::Switch,
        default: Some(default),
        value_name: "",
        help,
    }
}

const fn pattern(name: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting {
        name,
        kind: Kind::Pattern,
        default,
        value_name: "REGEX",
        help,
    }
}
