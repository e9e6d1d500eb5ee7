//! No content of any file panics, whatever the collector.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use proptest::prelude::*;

use crate::{CollectorName, Host, HostConfig, MetricFamily, Paths, Snapshot, Tier};

/// A file of each kind.
const FILES: [&str; 93] = [
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
    "proc/net/arp",
    "proc/net/netstat",
    "proc/net/snmp",
    "proc/net/snmp6",
    "proc/net/sockstat",
    "proc/net/softnet_stat",
    "proc/net/stat/nf_conntrack",
    "proc/net/udp",
    "proc/net/ip_vs",
    "proc/net/ip_vs_stats",
    "proc/net/rpc/nfs",
    "proc/net/rpc/nfsd",
    "proc/net/xfrm_stat",
    "proc/schedstat",
    "proc/mdstat",
    "proc/buddyinfo",
    "proc/zoneinfo",
    "proc/interrupts",
    "proc/softirqs",
    "proc/slabinfo",
    "proc/swaps",
    "proc/cgroups",
    "proc/drbd",
    "proc/7/stat",
    "proc/self/mountstats",
    "proc/self/mountinfo",
    "proc/sys/kernel/hung_task_detect_count",
    "proc/sys/kernel/random/entropy_avail",
    "proc/sys/net/netfilter/nf_conntrack_count",
    "proc/spl/kstat/zfs/arcstats",
    "proc/spl/kstat/zfs/p/io",
    "proc/spl/kstat/zfs/p/state",
    "proc/spl/kstat/zfs/p/objset-1",
    "sys/class/net/bonding_masters",
    "sys/class/net/eth0/flags",
    "sys/class/net/eth0/speed",
    "sys/class/net/b/bonding/slaves",
    "sys/class/hwmon/hwmon0/temp1_input",
    "sys/class/hwmon/hwmon0/name",
    "sys/class/infiniband/i/fw_ver",
    "sys/class/infiniband/i/ports/1/state",
    "sys/class/infiniband/i/ports/1/rate",
    "sys/class/nvme/nvme0/model",
    "sys/class/power_supply/b/energy_now",
    "sys/class/powercap/z/name",
    "sys/class/powercap/z/energy_uj",
    "sys/class/thermal/thermal_zone0/temp",
    "sys/class/watchdog/w/timeout",
    "sys/class/fc_host/h/statistics/rx_frames",
    "sys/class/scsi_tape/st0/stats/io_ns",
    "sys/class/dmi/id/bios_date",
    "sys/fs/bcache/a-b/average_key_size",
    "sys/fs/bcachefs/u/errors",
    "sys/fs/bcachefs/u/counters/c",
    "sys/fs/bcachefs/u/compression_stats",
    "sys/fs/bcachefs/u/dev-0/io_done",
    "sys/fs/btrfs/a-b/commit_stats",
    "sys/fs/btrfs/a-b/devices/d/size",
    "sys/fs/xfs/d/stats/stats",
    "sys/fs/selinux/enforce",
    "sys/fs/selinux/avc/hash_stats",
    "sys/block/dm-0/dm/uuid",
    "sys/block/md0/md/raid_disks",
    "sys/devices/system/edac/mc/mc0/ce_count",
    "sys/devices/system/node/node0/meminfo",
    "sys/devices/system/node/node0/numastat",
    "sys/devices/system/cpu/vulnerabilities/v",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    "sys/kernel/mm/ksm/run",
    "sys/bus/pci/devices/0000:00:01.0/max_link_speed",
    "text/a.prom",
    "text/b.prom",
];

/// These ask the kernel of this machine, whatever the paths.
const OF_THIS_MACHINE: [CollectorName; 3] = [
    CollectorName::Qdisc,
    CollectorName::Systemd,
    CollectorName::Tcpstat,
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
    config.collectors = CollectorName::ALL
        .into_iter()
        .filter(|name| !OF_THIS_MACHINE.contains(name))
        .map(|name| (name, name.default_tier()))
        .collect();
    config.arp.netlink = false;
    config.bcache_priority_stats = true;
    config.cpu.flags_include = Some(".".to_owned());
    config.cpu.bugs_include = Some(".".to_owned());
    config.netdev.netlink = false;
    config.sysctl.include = vec!["fs.file-nr".to_owned()];
    config.textfile_directories = vec![root.join("text")];
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
    // These ask the kernel and the clock, not files.
    let of_no_file = [
        CollectorName::Time,
        CollectorName::Timex,
        CollectorName::Uname,
    ];
    // These find that there is none of what they look for, which is no failure.
    let of_nothing = [
        CollectorName::Bcache,
        CollectorName::Btrfs,
        CollectorName::Cpufreq,
        CollectorName::Edac,
        CollectorName::MeminfoNuma,
        CollectorName::Selinux,
        CollectorName::Sockstat,
        CollectorName::Textfile,
        CollectorName::ThermalZone,
        CollectorName::Xfs,
    ];
    for collector in CollectorName::ALL {
        let succeeds = of_no_file.contains(&collector) || of_nothing.contains(&collector);
        let expected = (!OF_THIS_MACHINE.contains(&collector)).then_some(f64::from(succeeds));
        assert_eq!(success(&families, collector), expected, "{collector}");
    }
}

#[test]
fn what_is_not_there_is_looked_for_now_and_then() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let config = HostConfig {
        paths: Paths {
            sysfs: root.path().to_owned(),
            ..Paths::default()
        },
        collectors: [(CollectorName::Bonding, Tier::Fast)].into(),
        ..HostConfig::default()
    };
    let shared = Arc::<SimulatedClock>::clone(&clock);
    let mut host = Host::new(&config, shared).unwrap();
    let mut collect = |seconds| {
        clock.advance(Duration::from_secs(seconds));
        let mut snapshot = Snapshot::new();
        host.collect(Tier::Fast, &mut snapshot);
        success(&snapshot.into_families(), CollectorName::Bonding)
    };
    assert_eq!(collect(0), Some(0.0));
    write(root.path(), "class/net/bonding_masters", b"");
    let seen: Vec<_> = (0..16).filter_map(|_| collect(1)).collect();
    assert_eq!(seen.len(), 16, "it says that it has nothing while it rests");
    assert_eq!(seen.iter().sum::<f64>(), 3.0, "{seen:?}");
    fs::remove_file(root.path().join("class/net/bonding_masters")).unwrap();
    assert_eq!(collect(1), Some(0.0), "what goes is missed at once");
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
fn folders_of_attributes_are_read_as_far_as_they_go() {
    let root = tempfile::tempdir().unwrap();
    for (file, content) in [
        // Two chips of one device, and a sensor whose driver says nothing.
        ("sys/class/hwmon/hwmon0/name", "a"),
        ("sys/class/hwmon/hwmon0/temp1_input", "41500"),
        ("sys/class/hwmon/hwmon0/temp2_input", ""),
        ("sys/class/hwmon/hwmon1/name", "a"),
        ("sys/class/hwmon/hwmon1/fan1_input", "900"),
        // A device that is down, and one whose flags are none.
        ("sys/class/net/down0/flags", "0x1002"),
        ("sys/class/net/down0/operstate", "down"),
        ("sys/class/net/down0/speed", "-1"),
        ("sys/class/net/down0/mtu", "1500"),
        // A member of a bond that newer kernels link under another name, and one that is gone.
        ("sys/class/net/bonding_masters", "bond0 bond1"),
        ("sys/class/net/bond0/bonding/slaves", "x"),
        ("sys/class/net/bond0/lower_x/bonding_slave/mii_status", "up"),
        ("sys/class/net/bond1/bonding/slaves", "y"),
        // A port that cannot count, and one that counts words.
        ("sys/class/infiniband/i0/fw_ver", "1.2"),
        ("sys/class/infiniband/i0/ports/1/state", "4: ACTIVE"),
        ("sys/class/infiniband/i0/ports/1/phys_state", "5: LinkUp"),
        (
            "sys/class/infiniband/i0/ports/1/rate",
            "100 Gb/sec (4X EDR)",
        ),
        (
            "sys/class/infiniband/i0/ports/1/counters/port_rcv_data",
            "3",
        ),
        (
            "sys/class/infiniband/i0/ports/1/counters/link_downed",
            "N/A (no PMA)",
        ),
        // A counter that is written in full, and one that is cut off.
        (
            "sys/fs/bcachefs/u/counters/whole",
            "since mount: 1\nsince filesystem creation: 2k\n",
        ),
        ("sys/fs/bcachefs/u/counters/zcut", "since"),
        // A statistic that the driver does not keep.
        (
            "sys/class/fc_host/h0/statistics/rx_frames",
            "0xffffffffffffffff",
        ),
        ("sys/class/fc_host/h0/statistics/tx_frames", "0x10"),
        ("sys/class/thermal/thermal_zone0/temp", "-500"),
        ("sys/class/thermal/thermal_zone0/type", "cold"),
        ("proc/net/softnet_stat", "1 2 3"),
        ("proc/net/sockstat", "TCP: inuse 1 orphan"),
        ("proc/net/rpc/nfsd", "th 8 0\nproc3 22 1\n"),
        ("proc/mdstat", "md0 : active raid1 a[0]\n"),
        ("text/a.prom", "a{b=\"c\"} 1\n"),
        ("text/b.prom", "broken"),
    ] {
        write(root.path(), file, content.as_bytes());
    }
    let families = host_at(root.path()).expose();
    for (name, label, expected) in [
        ("node_hwmon_temp_celsius", Some("a_hwmon0"), Some(41.5)),
        ("node_hwmon_fan_rpm", Some("a_hwmon1"), Some(900.0)),
        ("node_hwmon_temp_celsius", Some("temp1"), Some(41.5)),
        ("node_hwmon_temp_celsius", Some("temp2"), None),
        ("node_hwmon_fan_rpm", Some("fan1"), Some(900.0)),
        ("node_network_up", Some("down0"), Some(0.0)),
        ("node_network_speed_bytes", Some("down0"), Some(-125_000.0)),
        ("node_network_mtu_bytes", Some("down0"), Some(1_500.0)),
        ("node_network_info", Some("down"), Some(1.0)),
        ("node_bonding_active", Some("bond0"), Some(1.0)),
        (
            "node_infiniband_rate_bytes_per_second",
            Some("1"),
            Some(12.5e9),
        ),
        (
            "node_infiniband_port_data_received_bytes_total",
            Some("1"),
            Some(12.0),
        ),
        ("node_infiniband_link_downed_total", Some("1"), None),
        ("node_bcachefs_whole_total", Some("u"), Some(2_048.0)),
        ("node_fibrechannel_rx_frames_total", None, None),
        ("node_fibrechannel_tx_frames_total", Some("h0"), Some(16.0)),
        ("node_thermal_zone_temp", Some("cold"), Some(-0.5)),
        ("node_nfsd_server_threads", None, Some(8.0)),
        ("a", Some("c"), Some(1.0)),
        ("node_textfile_scrape_error", None, Some(1.0)),
    ] {
        assert_eq!(value(&families, name, label), expected, "{name} {label:?}");
    }
    for (collector, expected) in [
        (CollectorName::Hwmon, 1.0),
        (CollectorName::Netclass, 1.0),
        (CollectorName::Bonding, 0.0),
        (CollectorName::Infiniband, 1.0),
        (CollectorName::Bcachefs, 0.0),
        (CollectorName::Fibrechannel, 1.0),
        (CollectorName::Softnet, 0.0),
        (CollectorName::Sockstat, 0.0),
        (CollectorName::Nfsd, 0.0),
        (CollectorName::Mdadm, 0.0),
        (CollectorName::Textfile, 1.0),
    ] {
        assert_eq!(success(&families, collector), Some(expected), "{collector}");
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
        Just(b"md0 : active raid1 a[0]".to_vec()),
        Just(b"TCP 0100007F:0050".to_vec()),
        Just(b"-> 0100007F:0050 Masq 1 2".to_vec()),
        Just(b"proc4ops 3".to_vec()),
        Just(b"Node 0, zone DMA".to_vec()),
        Just(b"device a mounted on /b with fstype nfs".to_vec()),
        Just(b"name type data".to_vec()),
        Just(b"# TYPE a histogram".to_vec()),
        Just(b"a_bucket{le=\"1\"} 2".to_vec()),
        Just(b"0x1f".to_vec()),
        Just(b"1.5k".to_vec()),
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
    #![proptest_config(ProptestConfig::with_cases(24))]

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
