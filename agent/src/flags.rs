//! The settings that say what is collected: node_exporter's names, defaults and meanings.

use std::time::Duration;

use config::{Kind, Setting};
use host::FilesystemOptions;

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

/// The settings `--collector.*`.
pub const COLLECTORS: &[Setting] = &[
    on("collector.cpu", "Collect the time of each CPU by mode."),
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
    on(
        "collector.diskstats",
        "Collect operations, bytes and time of each block device.",
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
    on(
        "collector.filefd",
        "Collect the number of file descriptors in use.",
    ),
    on(
        "collector.filesystem",
        "Collect space and inodes of each mount.",
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
    on("collector.loadavg", "Collect the load averages."),
    on("collector.meminfo", "Collect every field of /proc/meminfo."),
    on(
        "collector.netdev",
        "Collect traffic and errors of each network device.",
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
    on("collector.os", "Collect what os-release says."),
    on("collector.pressure", "Collect pressure stall information."),
    on(
        "collector.stat",
        "Collect boot time, interrupts, context switches, forks, processes.",
    ),
    off("collector.stat.softirq", "Collect softirqs by vector."),
    on("collector.time", "Collect the clock and the clock sources."),
    on("collector.uname", "Collect what uname says."),
    on("collector.vmstat", "Collect fields of /proc/vmstat."),
    pattern(
        "collector.vmstat.fields",
        Some("^(oom_kill|pgpg|pswp|pg.*fault).*"),
        "The fields of /proc/vmstat to collect.",
    ),
];

/// Patterns of which only one may be given.
pub(crate) const EXCLUSIVE: &[(&str, &str)] = &[
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
