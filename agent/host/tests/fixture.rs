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

/// Families of these collectors, by the start of their names, in the fixture's text.
const OURS: &[&str] = &[
    "node_cpu_bug_info",
    "node_cpu_core_throttles_total",
    "node_cpu_flag_info",
    "node_cpu_guest_seconds_total",
    "node_cpu_info",
    "node_cpu_isolated",
    "node_cpu_package_throttles_total",
    "node_cpu_seconds_total",
    "node_disk_",
    "node_filefd_",
    "node_load1",
    "node_load5",
    "node_memory_",
    "node_boot_time_seconds",
    "node_context_switches_total",
    "node_forks_total",
    "node_intr_total",
    "node_procs_",
    "node_softirqs_total",
    "node_os_",
    "node_pressure_",
    "node_time_clocksource_",
    "node_vmstat_",
];

/// Families that the fixture's text leaves out: they come from the live machine, or are judged elsewhere.
const NOT_IN_THE_TEXT: &[&str] = &[
    "node_filesystem_",
    "node_load1",
    "node_load5",
    "node_network_",
    "node_os_",
    "node_scrape_collector_",
    "node_time_seconds",
    "node_time_zone_offset_seconds",
    "node_uname_info",
];

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
    let text = fs::read_to_string(data.join("expected-visible.txt")).unwrap();
    let expected = parse(&text);

    let config = fixture_config(root.path());
    let mut host = Host::new(&config, Arc::new(SystemClock::new())).unwrap();
    let families = host.expose();
    let actual: BTreeMap<&str, Expected> = families
        .iter()
        .map(|family| (&*family.name, expectation(family)))
        .collect();

    let mut judged = 0;
    for (name, expected) in expected.iter().filter(|(name, _)| starts_with(name, OURS)) {
        assert_eq!(actual.get(&**name), Some(expected), "{name}");
        judged += 1;
    }
    assert!(judged >= 97, "only {judged} families were judged");
    for name in actual.keys().filter(|name| !expected.contains_key(**name)) {
        assert!(starts_with(name, NOT_IN_THE_TEXT), "{name} is not expected");
    }

    let success = &actual["node_scrape_collector_success"].samples;
    for (labels, value) in success {
        assert_eq!(*value, 1.0, "{labels:?}");
    }
    assert_eq!(success.len(), CollectorName::ALL.len());
    println!("{judged} families equal");

    // What collectors remember from one collection to the next changes nothing.
    assert_eq!(steady(host.expose()), steady(families));
}

fn steady(families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    families
        .into_iter()
        .filter(|family| starts_with(&family.name, OURS))
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
        if starts_with(name, OURS) {
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
                    labels.set(*name, value.as_str());
                }
                (labels.build(), sample.value)
            })
        })
        .collect()
}

/// The options that the fixture's text was made with.
fn fixture_config(root: &Path) -> HostConfig {
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
    config.cpu.info = true;
    config.cpu.bugs_include = Some("^(cpu_meltdown|spectre_.*|mds)$".to_owned());
    config.cpu.flags_include = Some("^(aes|avx.?|constant_tsc)$".to_owned());
    config
}

fn starts_with(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start)) && !name.starts_with("node_memory_numa_")
}

fn expectation(family: &MetricFamily) -> Expected {
    Expected {
        help: family.help.clone(),
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
                    .map(|(name, value)| format!("{name}={value:?}"))
                    .collect();
                (labels, sample.value)
            })
            .collect(),
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
                    "HELP" => family.help = rest,
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
