//! No content of any file panics, whatever the collector.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use proptest::prelude::*;

use crate::{CollectorName, Host, HostConfig, MetricFamily, Paths};

const FILES: [&str; 21] = [
    "proc/stat",
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/vmstat",
    "proc/net/dev",
    "proc/1/mountinfo",
    "proc/sys/fs/file-nr",
    "proc/pressure/cpu",
    "proc/pressure/io",
    "proc/pressure/irq",
    "proc/pressure/memory",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/cpu0/topology/core_id",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "etc/os-release",
    "etc/localtime",
];

fn host_at(root: &Path) -> Host {
    let mut config = HostConfig {
        paths: Paths {
            procfs: root.join("proc"),
            sysfs: root.join("sys"),
            rootfs: root.to_owned(),
            udev_data: root.join("udev/data"),
        },
        stat_softirq: true,
        ..HostConfig::default()
    };
    config.cpu.flags_include = Some(".".to_owned());
    config.cpu.bugs_include = Some(".".to_owned());
    config.netdev.netlink = false;
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Host::new(&config, Arc::new(SimulatedClock::starting_at(wall))).unwrap()
}

fn write(root: &Path, file: &str, content: &[u8]) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn value(families: &[MetricFamily], name: &str, label: Option<&str>) -> Option<f64> {
    let family = families.iter().find(|family| family.name == name)?;
    let sample = family.samples.iter().find(|sample| {
        label.is_none_or(|label| sample.labels.iter().any(|(_, value)| value == label))
    })?;
    Some(sample.value)
}

fn success(families: &[MetricFamily], collector: CollectorName) -> Option<f64> {
    value(
        families,
        "node_scrape_collector_success",
        Some(collector.as_str()),
    )
}

#[test]
fn an_empty_root_fails_each_collector_alone() {
    let root = tempfile::tempdir().unwrap();
    let families = host_at(root.path()).expose();
    for collector in CollectorName::ALL {
        // These ask the kernel and the clock, not files.
        let expected = match collector {
            CollectorName::Time | CollectorName::Uname => 1.0,
            _ => 0.0,
        };
        assert_eq!(success(&families, collector), Some(expected), "{collector}");
    }
}

#[test]
fn odd_content_costs_what_holds_it_and_no_more() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "proc/loadavg", b"0.5 nan");
    write(
        root.path(),
        "proc/cpuinfo",
        b"flags: before any processor\n",
    );
    write(
        root.path(),
        "proc/meminfo",
        b"MemTotal: 1 kB\nMemFree: lots\n",
    );
    write(
        root.path(),
        "proc/sys/fs/file-nr",
        b"7\t0\t18446744073709551615\n",
    );
    write(
        root.path(),
        "proc/stat",
        b"cpu 1\ncpu0 100 0 50\nctxt 9\nodd\nsoftirq 3 1 2\n",
    );
    write(
        root.path(),
        "proc/1/mountinfo",
        b"1 0 0:1 / / rw - ext4 /dev/a ro\nnot a mount\n2 1 0:2 / /gone rw - ext4 /dev/b rw\n",
    );
    let families = host_at(root.path()).expose();
    for (collector, expected) in [
        (CollectorName::Loadavg, 0.0),
        (CollectorName::Meminfo, 0.0),
        (CollectorName::Filefd, 1.0),
        (CollectorName::Cpu, 1.0),
        (CollectorName::Stat, 1.0),
        (CollectorName::Filesystem, 0.0),
    ] {
        assert_eq!(success(&families, collector), Some(expected), "{collector}");
    }
    for (name, label, expected) in [
        ("node_memory_MemTotal_bytes", None, Some(1024.0)),
        ("node_load1", None, None),
        (
            "node_filefd_maximum",
            None,
            Some(18_446_744_073_709_551_615.0),
        ),
        ("node_cpu_seconds_total", Some("system"), Some(0.5)),
        ("node_cpu_seconds_total", Some("steal"), Some(0.0)),
        ("node_context_switches_total", None, Some(9.0)),
        ("node_softirqs_total", Some("timer"), Some(2.0)),
        ("node_filesystem_readonly", Some("/"), Some(1.0)),
        ("node_filesystem_device_error", Some("/"), Some(0.0)),
        (
            "node_filesystem_device_error",
            Some("no such file or directory"),
            Some(1.0),
        ),
    ] {
        assert_eq!(value(&families, name, label), expected, "{name} {label:?}");
    }
}

#[test]
fn a_file_that_comes_later_makes_its_collector_succeed() {
    let root = tempfile::tempdir().unwrap();
    let mut host = host_at(root.path());
    assert_eq!(success(&host.expose(), CollectorName::Loadavg), Some(0.0));
    write(root.path(), "proc/loadavg", b"1 2 3 4/5 6\n");
    let families = host.expose();
    assert_eq!(success(&families, CollectorName::Loadavg), Some(1.0));
    assert_eq!(value(&families, "node_load15", None), Some(3.0));
}

/// Bytes that look a little like what the kernel prints.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"cpu0".to_vec()),
        Just(b"processor : 0".to_vec()),
        Just(b"some total=".to_vec()),
        Just(b"1 2 3:4 / /x rw - ext4".to_vec()),
        Just(b"E:ID_ATA=1".to_vec()),
        Just(b"eth0:".to_vec()),
        Just(b"NAME=\"\\".to_vec()),
        Just(b"pgfault ".to_vec()),
        Just(b"TZif2".to_vec()),
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let separator = prop::sample::select(vec![&b" "[..], b"\n", b":", b"\t", b"="]);
    prop::collection::vec((word, separator), 0..30).prop_map(|words| {
        words
            .into_iter()
            .flat_map(|(word, separator)| [word, separator.to_vec()].concat())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_content_panics(contents in prop::collection::vec(content(), FILES.len()..=FILES.len()), udev in content()) {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in FILES.iter().zip(&contents) {
            write(root.path(), file, content);
        }
        write(root.path(), "udev/data/b8:0", &udev);
        let mut host = host_at(root.path());
        host.expose();
        // What a collector remembers by line must not mislead it when everything moves.
        for (file, content) in FILES.iter().zip(contents.iter().rev()) {
            write(root.path(), file, content);
        }
        host.expose();
    }
}
