//! Machines that a script makes, with the exposition that cAdvisor would give of each.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clock::SystemClock;
use containers::{Containers, ContainersConfig, Metrics, Names};
use telemetry::Registry;

use crate::bench::Samples;

#[test]
fn made_machines_give_what_cadvisor_gives() {
    let Some(script) = script() else {
        return;
    };
    let mut compared = 0;
    for seed in 1..=20 {
        compared += check(&script, seed, 6);
    }
    // More pods, in all styles.
    compared += check(&script, 21, 12);
    println!("{compared} samples equal");
}

fn check(script: &Path, seed: u32, pods: u32) -> usize {
    let machine = tempfile::tempdir().unwrap();
    let made = Command::new("python3")
        .arg(script)
        .arg(machine.path())
        .args(["--seed", &seed.to_string(), "--pods", &pods.to_string()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let names = Names::new();
    let snapshot = fs::read(machine.path().join("cri.json")).unwrap();
    names.learn_snapshot(&snapshot).unwrap();
    let config = ContainersConfig {
        cgroupfs: machine.path().join("sys/fs/cgroup"),
        procfs: machine.path().join("proc"),
        rootfs: machine.path().join("root"),
        ..ContainersConfig::default()
    };
    let metrics = Metrics::new(&Registry::new());
    let mut containers = Containers::new(config, names, metrics, Arc::new(SystemClock::new()));
    let mut samples = Samples::default();
    containers.collect_once(&mut samples);

    assert_eq!(samples.doubled, Vec::<String>::new(), "seed {seed}");
    let expected = fs::read_to_string(machine.path().join("expected.txt")).unwrap();
    let (values, kinds) = parse(&expected);
    for (name, kind) in &kinds {
        assert_eq!(samples.kinds.get(name), Some(kind), "seed {seed}: {name}");
    }
    let is_judged = |series: &str| kinds.contains_key(series.split('{').next().unwrap_or_default());
    samples.values.retain(|series, _| is_judged(series));
    for (series, value) in &values {
        let ours = samples.values.get(series);
        assert_eq!(ours, Some(value), "seed {seed}: {series}");
    }
    let ours = samples.values.keys().filter(|s| !values.contains_key(*s));
    assert_eq!(
        ours.collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "seed {seed}"
    );
    values.len()
}

/// Values by series and types by name. No label of the script holds a blank.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut values, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            values.insert(series.to_owned(), value.parse().unwrap());
        }
    }
    (values, kinds)
}

/// The script that makes machines; `None`, said aloud, when it or Python is not there.
#[expect(
    clippy::disallowed_methods,
    reason = "where the data is comes from the environment, in tests"
)]
fn script() -> Option<PathBuf> {
    let shared = env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let script = shared.join("tools/make_container_fixture.py");
    let has_python = || Command::new("python3").arg("--version").output().is_ok();
    if script.exists() && has_python() {
        return Some(script);
    }
    assert!(
        env::var_os("CI").is_none(),
        "{} or python3 is missing",
        script.display()
    );
    println!("skipped: there is no {} or no python3", script.display());
    None
}
