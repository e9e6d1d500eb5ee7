//! The node fixture: a tree of `/proc` and `/sys` as node_exporter's own tests have it, and the text it gives for it.

#![expect(
    clippy::unwrap_used,
    reason = "a test: what is not as it should be, fails it"
)]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(
    clippy::disallowed_methods,
    reason = "where the data is comes from the environment, in tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clock::SystemClock;
use host::{CohortBuilder, CollectorName, Host, HostConfig, MetricFamily, Paths, Tier};
use model::{Labels, LabelsBuilder, METRIC_NAME, MetricType, TimestampMs};
use rows::CohortId;

/// What is of the moment: it differs from one collection to the next.
const OF_THE_MOMENT: &[&str] = &[
    "node_filesystem_",
    "node_network_receive_",
    "node_network_transmit_",
    "node_scrape_collector_duration_seconds",
    "node_time_seconds",
    "node_timex_",
];

/// Collectors that the fixture says nothing about, or that it has kept for later.
const NOT_IN_THE_TEXTS: &[&str] = &[
    "node_bonding_",
    "node_dmmultipath_",
    "node_filesystem_",
    "node_ipvs_",
    "node_load",
    "node_netstat_",
    "node_network_receive_",
    "node_network_transmit_",
    "node_nfs_",
    "node_os_",
    "node_power_supply_",
    "node_rapl_",
    "node_scrape_collector_duration_seconds",
    "node_selinux_",
    "node_sockstat_",
    "node_swap_",
    "node_tape_",
    "node_textfile_mtime_seconds",
    "node_time_seconds",
    "node_time_zone_offset_seconds",
    "node_timex_",
    "node_udp_queues",
    "node_uname_info",
    "node_xfs_",
    "node_zfs_",
];

/// Collectors that ask this machine whatever the paths, or need what a test may not have.
const OF_THIS_MACHINE: &[CollectorName] = &[
    CollectorName::Qdisc,
    CollectorName::Systemd,
    CollectorName::Tcpstat,
];

/// The directory that the expectation was made in, and ours.
const TEXTFILES: &str = "textfile/two_metric_files";

#[derive(Debug, Default, PartialEq)]
struct Expected {
    help: String,
    kind: String,
    /// By labels as text, sorted.
    samples: BTreeMap<BTreeSet<String>, f64>,
}

#[test]
fn the_fixture_gives_what_node_exporter_gives() {
    let Some(data) = conformance_data("node-fixture") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    unpack(&data.join("node-fixture.tar.gz"), root.path());
    let mut host = Host::new(&fixture_config(root.path()), Arc::new(SystemClock::new())).unwrap();
    let families = host.expose();
    let actual: BTreeMap<&str, Expected> = families
        .iter()
        .map(|family| (&*family.name, expectation(family)))
        .collect();

    let mut known = BTreeSet::new();
    for text in ["expected-visible.txt", "expected-optional.txt"] {
        let expected = parse(&fs::read_to_string(data.join(text)).unwrap());
        for (name, expected) in &expected {
            match name.as_str() {
                // The texts have those of some collectors only.
                "node_scrape_collector_success" => {
                    for (labels, value) in &expected.samples {
                        let ours = actual[&**name].samples.get(labels);
                        assert_eq!(ours, Some(value), "{labels:?}");
                    }
                }
                name => assert_eq!(actual.get(name), Some(expected), "{name}"),
            }
        }
        println!("{text}: {} families equal", expected.len());
        known.extend(expected.into_keys());
    }
    for name in actual.keys().filter(|name| !known.contains(**name)) {
        assert!(
            starts_with(name, NOT_IN_THE_TEXTS),
            "{name} is not expected"
        );
    }
    let success = &actual["node_scrape_collector_success"].samples;
    for (labels, value) in success {
        assert_eq!(*value, 1.0, "{labels:?}");
    }
    assert_eq!(
        success.len(),
        CollectorName::ALL.len() - OF_THIS_MACHINE.len()
    );

    // What collectors remember from one collection to the next changes nothing.
    assert_eq!(steady(host.expose()), steady(families));
}

fn steady(families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    families
        .into_iter()
        .filter(|family| !starts_with(&family.name, OF_THE_MOMENT))
        .collect()
}

#[test]
fn text_files_give_what_node_exporter_gives() {
    let Some(data) = conformance_data("node-fixture") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    unpack(&data.join("node-fixture.tar.gz"), root.path());
    let folder = root.path().join("textfile");
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(case) = path.to_str().unwrap().strip_suffix(".out") else {
            continue;
        };
        let case = case.strip_prefix(folder.to_str().unwrap()).unwrap();
        // The name of this case is not that of its folders.
        let directory = match case {
            "/glob_extra_dimension" => "/*_extra_dimension",
            case => case,
        };
        let config = HostConfig {
            collectors: BTreeMap::from([(CollectorName::Textfile, Tier::Slow)]),
            textfile_directories: vec![PathBuf::from(format!("{}{directory}", folder.display()))],
            ..HostConfig::default()
        };
        let mut host = Host::new(&config, Arc::new(SystemClock::new())).unwrap();
        let mut text = String::new();
        let mut writer = exposition::Writer::new(exposition::Format::Text, &mut text);
        for family in host.expose() {
            if !family.name.starts_with("node_scrape_") {
                family.write(&mut writer);
            }
        }
        writer.finish();
        let ours = text.replace(folder.to_str().unwrap(), "fixtures/textfile");
        let expected = fs::read_to_string(&path).unwrap();
        assert_eq!(without_times(&ours), without_times(&expected), "{case}");
        cases += 1;
    }
    println!("{cases} folders of text files equal");
}

/// Returns the lines; the values of those that say when a file was written are left out.
fn without_times(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| match line.rsplit_once(' ') {
            Some((series, _)) if series.starts_with("node_textfile_mtime_seconds{") => series,
            _ => line,
        })
        .collect()
}

#[test]
fn rows_hold_what_the_text_shows() {
    let Some(data) = conformance_data("node-fixture") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    unpack(&data.join("node-fixture.tar.gz"), root.path());
    let mut host = Host::new(&fixture_config(root.path()), Arc::new(SystemClock::new())).unwrap();
    let shown = samples_by_series(&host.expose());

    let mut rowed: BTreeMap<Labels, f64> = BTreeMap::new();
    for (cohort, tier) in [(CohortId(0), Tier::Fast), (CohortId(1), Tier::Slow)] {
        let mut builder =
            CohortBuilder::new(cohort, Arc::from("node"), &[("job", "node-exporter")]);
        for round in 0..3 {
            let mut sink = builder.begin(TimestampMs(round));
            host.collect(tier, &mut sink);
            let collected = sink.finish();
            assert_eq!((collected.duplicates, collected.refused), (0, 0));
            assert_eq!(collected.definition.is_some(), round == 0, "round {round}");
            let definition = builder.definition();
            for slot in collected.row.presence.iter() {
                let labels = definition.series[slot].labels.clone();
                assert_eq!(labels.get("job"), Some("node-exporter"));
                rowed.insert(
                    labels.filtered(|name| name != "job"),
                    collected.row.floats[slot],
                );
            }
        }
    }
    assert!(
        rowed.keys().eq(shown.keys()),
        "the same series in rows and text"
    );
    for (labels, value) in rowed {
        let name = labels.metric_name().unwrap();
        if !starts_with(name, OF_THE_MOMENT) {
            assert_eq!(value, shown[&labels], "{labels}");
        }
    }
}

fn samples_by_series(families: &[MetricFamily]) -> BTreeMap<Labels, f64> {
    families
        .iter()
        .flat_map(|family| {
            family.samples.iter().map(|sample| {
                let mut labels = LabelsBuilder::new();
                labels.set(METRIC_NAME, family.name.as_str());
                for (name, value) in &sample.labels {
                    labels.set(name.as_str(), value.as_str());
                }
                (labels.build(), sample.value)
            })
        })
        .collect()
}

/// The options that the fixture's texts were made with.
fn fixture_config(root: &Path) -> HostConfig {
    let collectors = CollectorName::ALL.into_iter();
    let some = |pattern: &str| Some(pattern.to_owned());
    let mut config = HostConfig {
        paths: Paths {
            procfs: root.join("proc"),
            sysfs: root.join("sys"),
            rootfs: root.to_owned(),
            udev_data: root.join("udev/data"),
        },
        collectors: collectors
            .filter(|name| !OF_THIS_MACHINE.contains(name))
            .map(|name| (name, name.default_tier()))
            .collect(),
        bcache_priority_stats: true,
        stat_softirq: true,
        textfile_directories: vec![root.join(TEXTFILES)],
        ..HostConfig::default()
    };
    config.arp.netlink = false;
    config.arp.devices.exclude = some("nope");
    config.cpu.info = true;
    config.cpu.bugs_include = some("^(cpu_meltdown|spectre_.*|mds)$");
    config.cpu.flags_include = some("^(aes|avx.?|constant_tsc)$");
    config.hwmon_chips.include = some("(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)");
    config.netclass.ignore_invalid_speed = true;
    config.netclass.ignored_devices = "(dmz|int)".to_owned();
    config.sysctl.include = [
        "fs.file-nr",
        "fs.file-nr:total,current,max",
        "kernel.threads-max",
    ]
    .map(str::to_owned)
    .to_vec();
    config.sysctl.include_info = vec!["kernel.seccomp.actions_avail".to_owned()];
    config
}

fn starts_with(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start))
}

fn expectation(family: &MetricFamily) -> Expected {
    Expected {
        help: without_path(&family.help),
        kind: match family.kind {
            MetricType::Unknown => "untyped".to_owned(),
            kind => kind.to_string(),
        },
        samples: family
            .samples
            .iter()
            .map(|sample| {
                let labels = sample
                    .labels
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                    .collect();
                (labels, sample.value)
            })
            .collect(),
    }
}

/// As the text has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

/// Where a text file was read, differs.
fn without_path(help: &str) -> String {
    match help.strip_prefix("Metric read from ") {
        Some(path) => {
            let at = path.find(TEXTFILES).unwrap_or_default();
            path.get(at..).unwrap_or_default().to_owned()
        }
        None => help.to_owned(),
    }
}

/// Reads the plain text that node_exporter writes: no timestamps, label values without quotes or commas before quotes.
fn parse(text: &str) -> BTreeMap<String, Expected> {
    let mut families: BTreeMap<String, Expected> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next()) {
            (Some("#"), Some(keyword)) => {
                let family = families
                    .entry(words.next().unwrap().to_owned())
                    .or_default();
                let rest = words.next().unwrap_or_default().to_owned();
                match keyword {
                    "HELP" => family.help = without_path(&rest),
                    "TYPE" => family.kind = rest,
                    other => panic!("unknown keyword {other}"),
                }
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels
                    .trim_end_matches('}')
                    .split_inclusive("\",")
                    .map(|label| label.trim_end_matches(',').to_owned())
                    .filter(|label| !label.is_empty())
                    .collect();
                families
                    .get_mut(name)
                    .unwrap_or_else(|| panic!("{name} has a type"))
                    .samples
                    .insert(labels, value.parse().unwrap());
            }
        }
    }
    families
}

fn unpack(archive: &Path, root: &Path) {
    let status = Command::new("tar")
        .arg("xzf")
        .arg(archive)
        .arg("-C")
        .arg(root)
        .status()
        .unwrap();
    assert!(status.success(), "tar ends with {status}");
}

/// Returns a folder of the conformance data; `None`, with a word about it, where there is none.
fn conformance_data(folder: &str) -> Option<PathBuf> {
    let root = env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let data = root.join(folder);
    if data.is_dir() {
        return Some(data);
    }
    assert!(
        env::var_os("CI").is_none_or(|value| value != "true"),
        "no conformance data at {}",
        data.display()
    );
    println!("skipped: no conformance data at {}", data.display());
    None
}
