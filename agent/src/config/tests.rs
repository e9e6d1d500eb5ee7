use std::collections::BTreeSet;
use std::ffi::OsString;

use config::{Environment, Invocation, Refusal};

use super::*;
use crate::program;

fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, String> {
    let all = ["promontory-agent"].iter().chain(arguments);
    let all = all.map(OsString::from);
    let read = program().read(all, Environment::of(environment), &[]);
    read.map_err(|refusal| match refusal {
        Refusal::Mistakes(mistakes) => mistakes.to_string(),
        Refusal::Information(information) => panic!("{}", information.0),
    })
}

fn config(arguments: &[&str]) -> Result<AgentConfig, String> {
    let mut all = vec!["run"];
    all.extend(arguments);
    let settings = read(&all, &[])?.settings;
    AgentConfig::from_settings(&settings).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn defaults_are_those_of_the_parts() {
    let config = config(&["--aggregator", "a:4433"]).unwrap();
    let mut default = AgentConfig::new("a:4433", "promontory-spool");
    // A program collects containers; what embeds an agent says so.
    default.containers = Some(Box::new(ContainerConfig {
        containers: ContainersConfig::default(),
        names: NameSource::Runtime(CriConfig {
            socket: None,
            rootfs: "/".into(),
        }),
    }));
    assert_eq!(format!("{config:?}"), format!("{default:?}"));
    let collect = read(&["collect"], &[]).unwrap().settings;
    let host = collecting(&collect).unwrap();
    assert_eq!(format!("{host:?}"), format!("{:?}", HostConfig::default()));
}

#[test]
fn every_setting_is_read() {
    let token = "promontory_v1_x";
    let changed = [
        ("aggregator", "b:1"),
        ("token-file", "token"),
        ("transport", "tcp"),
        ("agent.id", "n7"),
        ("spool.path", "s"),
        ("spool.max-bytes", "2MiB"),
        ("interval", "5s"),
        ("path.procfs", "/p"),
        ("path.sysfs", "/y"),
        ("path.rootfs", "/r"),
        ("path.udev.data", "/u"),
        ("path.cgroupfs", "/c"),
        ("collector.containers", "false"),
        ("cri.socket", "/s"),
        ("cri.snapshot", "cri.json"),
        ("containers.max", "9"),
        ("collector.arp.device-include", "eth"),
        ("collector.arp.device-exclude", "lo"),
        ("collector.arp.netlink", "false"),
        ("collector.bcache.priorityStats", "true"),
        ("collector.cpu.guest", "false"),
        ("collector.cpu.info", "true"),
        ("collector.cpu.info.flags-include", "sse"),
        ("collector.cpu.info.bugs-include", "melt"),
        ("collector.diskstats.device-include", "sda"),
        ("collector.diskstats.device-exclude", "sdb"),
        ("collector.filesystem.mount-points-include", "/a"),
        ("collector.filesystem.mount-points-exclude", "/b"),
        ("collector.filesystem.fs-types-include", "ext"),
        ("collector.filesystem.fs-types-exclude", "xfs"),
        ("collector.filesystem.mount-timeout", "3s"),
        ("collector.filesystem.stat-workers", "9"),
        ("collector.hwmon.chip-include", "core"),
        ("collector.hwmon.chip-exclude", "nct"),
        ("collector.hwmon.sensor-include", "temp"),
        ("collector.hwmon.sensor-exclude", "fan"),
        ("collector.interrupts.name-include", "9;"),
        ("collector.interrupts.name-exclude", "8;"),
        ("collector.interrupts.include-zeros", "false"),
        ("collector.ipvs.backend-labels", "proto"),
        ("collector.netclass.ignored-devices", "lo"),
        ("collector.netclass.ignore-invalid-speed", "true"),
        ("collector.netdev.device-include", "eth"),
        ("collector.netdev.device-exclude", "lo"),
        ("collector.netdev.netlink", "false"),
        ("collector.netdev.enable-detailed-metrics", "true"),
        ("collector.netstat.fields", "Tcp"),
        ("collector.powersupply.ignored-supplies", "AC"),
        ("collector.qdisc.device-include", "eth"),
        ("collector.qdisc.device-exclude", "lo"),
        ("collector.rapl.enable-zone-label", "true"),
        ("collector.slabinfo.slabs-include", "a"),
        ("collector.slabinfo.slabs-exclude", "b"),
        ("collector.stat.softirq", "true"),
        ("collector.sysctl.include", "kernel.threads-max"),
        ("collector.sysctl.include-info", "kernel.ostype"),
        ("collector.systemd.unit-include", "a"),
        ("collector.systemd.unit-exclude", "b"),
        ("collector.systemd.enable-restarts-metrics", "true"),
        ("collector.systemd.enable-start-time-metrics", "true"),
        ("collector.systemd.enable-task-metrics", "true"),
        ("collector.tapestats.ignored-devices", "st0"),
        ("collector.textfile.directory", "/t"),
        ("collector.vmstat.fields", "oom"),
        ("collector.ledger", "3"),
        ("push.max-groups", "7"),
        ("push.max-bytes", "2MiB"),
        ("push.max-body-size", "1MiB"),
        ("push.ttl", "1h"),
        ("push.disable-consistency-check", "true"),
        ("push.enable-utf8-names", "true"),
        ("persistence.file", "p"),
        ("persistence.interval", "5m"),
    ];
    let switches = CollectorName::ALL.map(|name| {
        let other = if name.runs_by_default() {
            "false"
        } else {
            "true"
        };
        (name.option().to_owned(), other)
    });
    let plain = format!("{:?}", config(&["--aggregator", "a:4433"]).unwrap());
    let changes = changed
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    let mut seen = BTreeSet::new();
    for (name, value) in changes.chain(switches) {
        let flag = format!("--{name}={value}");
        let changed = config(&["--aggregator=a:4433", &flag]).unwrap();
        assert_ne!(format!("{changed:?}"), plain, "{flag} changes nothing");
        seen.insert(name);
    }
    // What is not the agent's: the token is checked below, the rest belongs to the process.
    let others = [
        "config.file",
        "token",
        "web.listen-address",
        "web.config.file",
        "web.enable-admin-api",
        "web.enable-lifecycle",
        "push.socket",
        "log.level",
        "log.format",
    ];
    seen.extend(others.map(str::to_owned));
    let run = &program().commands[0];
    let all = run.settings.iter().copied().flatten();
    let unread: Vec<&str> = all
        .map(|s| s.name)
        .filter(|name| !seen.contains(*name))
        .collect();
    assert_eq!(unread, [""; 0]);
    assert!(
        config(&["--aggregator=a:1", "--token", token])
            .unwrap_err()
            .contains("--token: join token is incomplete")
    );
}

#[test]
fn all_mistakes_come_together() {
    let error = config(&["--token=x", "--token-file=y", "--agent.id=a b"]).unwrap_err();
    let starts = [
        "--aggregator: is not set",
        "--token: is set, and --token-file",
        "--token: not a join token",
        "--agent.id: agent id",
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{error}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_default_pattern_gives_way_and_two_given_ones_are_refused() {
    let devices = "--collector.diskstats.device-include=sda";
    assert!(config(&["--aggregator=a:1", devices]).is_ok());
    let both = config(&[
        "--aggregator=a:1",
        devices,
        "--collector.diskstats.device-exclude=sdb",
    ]);
    assert!(
        both.unwrap_err()
            .contains("--collector.diskstats.device-exclude as well")
    );
    let empty = config(&[
        "--aggregator=a:1",
        devices,
        "--collector.diskstats.device-exclude=",
    ]);
    assert!(empty.is_ok());
}

#[test]
fn settings_of_several_texts_are_repeated_and_listed() {
    let flags = [
        "collect",
        "--collector.sysctl.include=fs.file-nr",
        "--collector.sysctl.include=fs.file-nr:a,b,c",
    ];
    let host = host_config(&read(&flags, &[]).unwrap().settings);
    assert_eq!(host.sysctl.include, ["fs.file-nr", "fs.file-nr:a,b,c"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yml");
    let text = "collector.textfile.directory: [/a, /b c]\ncollector: {sysctl: {include: kernel.pid_max}}\n";
    std::fs::write(&path, text).unwrap();
    let environment = [
        ("PROMONTORY_CONFIG_FILE", path.to_str().unwrap()),
        ("PROMONTORY_COLLECTOR_SYSCTL_INCLUDE_INFO", "a.b\nc.d"),
    ];
    let host = host_config(&read(&["collect"], &environment).unwrap().settings);
    assert_eq!(
        host.textfile_directories,
        [Path::new("/a"), Path::new("/b c")]
    );
    assert_eq!(host.sysctl.include, ["kernel.pid_max"]);
    assert_eq!(host.sysctl.include_info, ["a.b", "c.d"]);
}

#[test]
fn the_file_nests_what_the_flags_write_in_one_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yml");
    let text = "aggregator: a:4433\ncollector:\n  cpu: {info: true, info.flags-include: sse}\n  os: false\npath.udev.data: /u\n";
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let environment = [
        ("PROMONTORY_COLLECTOR_STAT_SOFTIRQ", "true"),
        ("PROMONTORY_CONFIG_FILE", file),
    ];
    let settings = read(&["run", "--no-collector.time"], &environment)
        .unwrap()
        .settings;
    let host = AgentConfig::from_settings(&settings).unwrap().host;
    assert!(
        host.cpu.info && host.stat_softirq && host.collectors.contains_key(&CollectorName::Cpu)
    );
    assert_eq!(host.cpu.flags_include.as_deref(), Some("sse"));
    assert_eq!(host.paths.udev_data, Path::new("/u"));
    let off = [CollectorName::Os, CollectorName::Time];
    assert!(off.iter().all(|name| !host.collectors.contains_key(name)));
}

#[test]
fn a_host_name_makes_an_id() {
    if Path::new("/proc/sys/kernel/hostname").exists() {
        assert!(host_name().parse::<AgentId>().is_ok(), "{:?}", host_name());
    }
}
