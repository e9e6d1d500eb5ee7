//! From settings to what the agent is started with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Mistake, Mistakes, Settings};
use containers::{ContainersConfig, CriConfig};
use host::{
    ArpOptions, CollectorName, CpuOptions, DeviceOptions, FilesystemOptions, HostConfig,
    InterruptsOptions, NetclassOptions, NetdevOptions, Paths, SysctlOptions, SystemdOptions,
};
use push::{GatewayConfig, Names, StoreConfig};
use rows::AgentId;
use scrape::{Job, read_jobs};
use transport::{JoinToken, Transports};

use crate::{ContainerConfig, NameSource, PushConfig};

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The aggregator, `HOST:PORT`.
    pub aggregator: String,
    /// How to join, should there be no identity yet.
    pub token: TokenSource,
    /// The agent's id, also the node's name; `None`: that of the identity, and the host name when joining.
    pub id: Option<AgentId>,
    /// What to connect over.
    pub transports: Transports,
    /// The spool's folder; identity and quarantine lie in it as well. Made when missing.
    pub spool_folder: PathBuf,
    /// The most bytes that the spool may take.
    pub spool_bytes_max: u64,
    /// The time between two rows of what is collected often.
    pub interval: Duration,
    /// What to collect.
    pub host: HostConfig,
    /// How containers are collected; `None`: not at all.
    pub containers: Option<Box<ContainerConfig>>,
    /// The series of the ledger, whose values can be derived: a proof of delivery; `None`: there is none.
    pub ledger: Option<u16>,
    /// How pushes are taken.
    pub push: PushConfig,
    /// What is scraped.
    pub jobs: Vec<Job>,
}

/// Where a join token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// There is none: the agent must have an identity.
    None,
    /// It was given.
    Given(JoinToken),
    /// It stands in a file, read only when it is needed.
    File(PathBuf),
}

impl AgentConfig {
    /// Returns what an agent has that sends to `aggregator` and spools in `spool_folder`: no token, everything else by default.
    pub fn new(aggregator: impl Into<String>, spool_folder: impl Into<PathBuf>) -> Self {
        Self {
            aggregator: aggregator.into(),
            token: TokenSource::None,
            id: None,
            transports: Transports::Both,
            spool_folder: spool_folder.into(),
            spool_bytes_max: spool::Settings::default().bytes_max,
            interval: Duration::from_secs(1),
            host: HostConfig::default(),
            containers: None,
            ledger: None,
            push: PushConfig::default(),
            jobs: Vec::new(),
        }
    }

    /// Returns what the settings of `promontory-agent run` say; all mistakes that single settings do not show come together.
    pub fn from_settings(settings: &Settings) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let mut refuse = |name: &str, what: String| mistakes.push(settings.mistake(name, what));
        let aggregator = settings.optional_text("aggregator");
        if aggregator.is_none() {
            refuse(
                "aggregator",
                "is not set; give the aggregator's HOST:PORT".to_owned(),
            );
        }
        let mut token = match settings.optional_path("token-file") {
            Some(path) => TokenSource::File(path.to_owned()),
            None => TokenSource::None,
        };
        if let Some(secret) = settings.secret("token") {
            if settings.is_set("token-file") {
                refuse(
                    "token",
                    "is set, and --token-file as well; remove one of them".to_owned(),
                );
            }
            match secret.expose().parse() {
                Ok(given) => token = TokenSource::Given(given),
                Err(error) => refuse("token", error.to_string()),
            }
        }
        let id = settings.optional_text("agent.id").map(str::parse);
        if let Some(Err(error)) = &id {
            refuse("agent.id", rows::AgentIdError::to_string(error));
        }
        mistakes.extend(exclusive(settings));
        let jobs = jobs(settings).unwrap_or_else(|of_jobs| {
            mistakes.extend(of_jobs.0);
            Vec::new()
        });
        let config = Self {
            token,
            id: id.and_then(Result::ok),
            transports: match settings.text("transport") {
                "quic" => Transports::QuicOnly,
                "tcp" => Transports::TcpOnly,
                _ => Transports::Both,
            },
            spool_bytes_max: settings.number("spool.max-bytes"),
            interval: settings.duration("interval"),
            host: host_config(settings),
            containers: container_config(settings).map(Box::new),
            ledger: settings
                .optional_number("collector.ledger")
                .and_then(|series| u16::try_from(series).ok()),
            push: push_config(settings),
            jobs,
            ..Self::new(aggregator.unwrap_or_default(), settings.path("spool.path"))
        };
        Mistakes::none_in(mistakes, config)
    }

    /// Where the identity lies.
    pub(crate) fn identity_folder(&self) -> PathBuf {
        self.spool_folder.join("identity")
    }

    /// Where batches lie that no aggregator can decode.
    pub(crate) fn quarantine_folder(&self) -> PathBuf {
        self.spool_folder.join("quarantine")
    }
}

/// Returns the jobs of the configuration file; none without a file.
pub fn jobs(settings: &Settings) -> Result<Vec<Job>, Mistakes> {
    settings
        .file()
        .map_or_else(|| Ok(Vec::new()), |(path, text)| read_jobs(path, text))
}

fn push_config(settings: &Settings) -> PushConfig {
    let number = |name| usize::try_from(settings.number(name)).unwrap_or(usize::MAX);
    PushConfig {
        gateway: GatewayConfig {
            store: StoreConfig {
                groups_max: number("push.max-groups"),
                bytes_max: number("push.max-bytes"),
                ttl: settings.optional_duration("push.ttl"),
                check_types: !settings.switch("push.disable-consistency-check"),
            },
            persistence: settings
                .optional_path("persistence.file")
                .map(Path::to_owned),
        },
        names: if settings.switch("push.enable-utf8-names") {
            Names::Utf8
        } else {
            Names::Classic
        },
        body_bytes_max: number("push.max-body-size"),
        sync_interval: settings.duration("persistence.interval"),
    }
}

/// Returns what the settings of `promontory-agent collect` say.
pub fn collecting(settings: &Settings) -> Result<HostConfig, Mistakes> {
    Mistakes::none_in(exclusive(settings), host_config(settings))
}

/// Returns what the settings [`PATHS`](crate::PATHS) and [`CONTAINERS`](crate::CONTAINERS) say; `None`: containers are not collected.
pub fn container_config(settings: &Settings) -> Option<ContainerConfig> {
    let path = |name| settings.path(name).to_owned();
    let rootfs = path("path.rootfs");
    settings
        .switch("collector.containers")
        .then(|| ContainerConfig {
            names: match settings.optional_path("cri.snapshot") {
                Some(snapshot) => NameSource::Snapshot(snapshot.to_owned()),
                None => NameSource::Runtime(CriConfig {
                    socket: settings.optional_path("cri.socket").map(Path::to_owned),
                    rootfs: rootfs.clone(),
                }),
            },
            containers: ContainersConfig {
                cgroupfs: path("path.cgroupfs"),
                procfs: path("path.procfs"),
                rootfs,
                groups_max: usize::try_from(settings.number("containers.max"))
                    .unwrap_or(usize::MAX),
                ..ContainersConfig::default()
            },
        })
}

/// Returns the mistakes of include and exclude patterns that are both set although only one may be.
fn exclusive(settings: &Settings) -> Vec<Mistake> {
    let given = |name: &str| {
        let pattern = settings.pattern(name);
        pattern.is_some_and(|pattern| !pattern.as_str().is_empty()) && !settings.is_default(name)
    };
    (crate::flags::EXCLUSIVE.iter())
        .filter(|(include, exclude)| given(include) && given(exclude))
        .map(|(include, exclude)| {
            let what = format!("is set, and --{exclude} as well; remove one of them");
            settings.mistake(include, what)
        })
        .collect()
}

/// Returns what the settings [`PATHS`](crate::PATHS), [`COLLECTORS`](crate::COLLECTORS) and
/// [`COLLECTOR_OPTIONS`](crate::COLLECTOR_OPTIONS) say.
pub fn host_config(settings: &Settings) -> HostConfig {
    let path = |name| settings.path(name).to_owned();
    let on = |name| settings.switch(name);
    let pattern = |name| settings.pattern(name).map(|p| p.as_str().to_owned());
    let text = |name| pattern(name).unwrap_or_default();
    let devices = |include, exclude| DeviceOptions {
        include: pattern(include),
        exclude: pattern(exclude),
    };
    HostConfig {
        paths: Paths {
            procfs: path("path.procfs"),
            sysfs: path("path.sysfs"),
            rootfs: path("path.rootfs"),
            udev_data: path("path.udev.data"),
        },
        collectors: CollectorName::ALL
            .into_iter()
            .filter(|name| on(name.option()))
            .map(|name| (name, name.default_tier()))
            .collect(),
        arp: ArpOptions {
            devices: devices(
                "collector.arp.device-include",
                "collector.arp.device-exclude",
            ),
            netlink: on("collector.arp.netlink"),
        },
        bcache_priority_stats: on("collector.bcache.priorityStats"),
        cpu: CpuOptions {
            guest: on("collector.cpu.guest"),
            info: on("collector.cpu.info"),
            flags_include: pattern("collector.cpu.info.flags-include"),
            bugs_include: pattern("collector.cpu.info.bugs-include"),
        },
        diskstats: devices(
            "collector.diskstats.device-include",
            "collector.diskstats.device-exclude",
        ),
        filesystem: FilesystemOptions {
            mount_points_include: pattern("collector.filesystem.mount-points-include"),
            mount_points_exclude: pattern("collector.filesystem.mount-points-exclude"),
            fs_types_include: pattern("collector.filesystem.fs-types-include"),
            fs_types_exclude: pattern("collector.filesystem.fs-types-exclude"),
            mount_timeout: settings.duration("collector.filesystem.mount-timeout"),
            stat_workers: usize::try_from(settings.number("collector.filesystem.stat-workers"))
                .unwrap_or(usize::MAX),
        },
        hwmon_chips: devices(
            "collector.hwmon.chip-include",
            "collector.hwmon.chip-exclude",
        ),
        hwmon_sensors: devices(
            "collector.hwmon.sensor-include",
            "collector.hwmon.sensor-exclude",
        ),
        interrupts: InterruptsOptions {
            names: devices(
                "collector.interrupts.name-include",
                "collector.interrupts.name-exclude",
            ),
            include_zeros: on("collector.interrupts.include-zeros"),
        },
        ipvs_backend_labels: settings.text("collector.ipvs.backend-labels").to_owned(),
        netclass: NetclassOptions {
            ignored_devices: text("collector.netclass.ignored-devices"),
            ignore_invalid_speed: on("collector.netclass.ignore-invalid-speed"),
        },
        netdev: NetdevOptions {
            devices: devices(
                "collector.netdev.device-include",
                "collector.netdev.device-exclude",
            ),
            netlink: on("collector.netdev.netlink"),
            detailed_metrics: on("collector.netdev.enable-detailed-metrics"),
        },
        netstat_fields: text("collector.netstat.fields"),
        powersupply_ignored: text("collector.powersupply.ignored-supplies"),
        qdisc: devices(
            "collector.qdisc.device-include",
            "collector.qdisc.device-exclude",
        ),
        rapl_zone_label: on("collector.rapl.enable-zone-label"),
        slabinfo: devices(
            "collector.slabinfo.slabs-include",
            "collector.slabinfo.slabs-exclude",
        ),
        stat_softirq: on("collector.stat.softirq"),
        sysctl: SysctlOptions {
            include: settings.texts("collector.sysctl.include").to_vec(),
            include_info: settings.texts("collector.sysctl.include-info").to_vec(),
        },
        systemd: SystemdOptions {
            units: devices(
                "collector.systemd.unit-include",
                "collector.systemd.unit-exclude",
            ),
            restarts: on("collector.systemd.enable-restarts-metrics"),
            start_times: on("collector.systemd.enable-start-time-metrics"),
            tasks: on("collector.systemd.enable-task-metrics"),
        },
        tapestats_ignored: text("collector.tapestats.ignored-devices"),
        textfile_directories: settings
            .texts("collector.textfile.directory")
            .iter()
            .map(PathBuf::from)
            .collect(),
        vmstat_fields: text("collector.vmstat.fields"),
    }
}

/// The longest host name that is read.
const HOST_NAME_BYTES_MAX: usize = 253;

/// Returns the name of this machine; empty where there is no procfs.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    name.trim().chars().take(HOST_NAME_BYTES_MAX + 1).collect()
}

#[cfg(test)]
mod tests;
