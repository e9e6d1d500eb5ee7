use std::fs;
use std::path::Path;

use clock::SimulatedClock;
use containers::About;
use model::STALE_NAN;

use super::*;

const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";
const ID: &str = "4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796";

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_container_is_two_cohorts_that_end_with_stale_marks() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(format!("kubepods/pod{UID}/{ID}"));
    put(&root.path().join("cgroup.controllers"), "cpu\n");
    put(&folder.join("cgroup.events"), "populated 1\n");
    put(
        &folder.join("cpu.stat"),
        "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
    );
    let names = Names::new();
    names.learn(About {
        id: ID.to_owned(),
        container: "nginx".to_owned(),
        pod: "web".to_owned(),
        namespace: "shop".to_owned(),
        ..About::default()
    });
    let clock = Arc::new(SimulatedClock::starting_at(
        std::time::SystemTime::UNIX_EPOCH,
    ));
    let config = ContainersConfig {
        cgroupfs: root.path().to_owned(),
        procfs: root.path().join("proc"),
        rootfs: root.path().join("root"),
        ..ContainersConfig::default()
    };
    let metrics = Metrics::new(&Registry::new());
    let containers = Containers::new(config, names, metrics, clock);
    let latest = Arc::new(Latest::of_containers());
    let mut rows = ContainerRows::new(containers, "n1", Arc::clone(&latest));
    let mut cohorts = Cohorts::default();
    let mut collect = |at: i64| {
        let mut update = Update::default();
        let dropped = rows.collect(&mut cohorts, TimestampMs(at), false, &mut update);
        assert_eq!((dropped.duplicates, dropped.refused), (0, 0));
        update
    };
    let cpu = format!(
        r#"container_cpu_usage_seconds_total{{container="nginx", cpu="total", id="/kubepods/pod{UID}/{ID}", instance="n1", job="kubelet", metrics_path="/metrics/cadvisor", name="{ID}", namespace="shop", pod="web"}}"#
    );
    let first = collect(1_000);
    let definition = &first.definitions[0];
    assert_eq!(definition.series[0].labels.to_string(), cpu);
    assert!(
        first
            .metadata
            .iter()
            .any(|m| &*m.metric == "container_cpu_usage_seconds_total")
    );
    let shown = latest.expose(Format::Text);
    assert!(
        shown.contains("cpu=\"total\"") && !shown.contains("metrics_path"),
        "{shown}"
    );
    let second = collect(2_000);
    assert_eq!((second.definitions.len(), second.rows[0].counter), (0, 1));

    put(&folder.join("cpu.stat"), "usage_usec 2500000\n");
    put(&folder.join("cgroup.events"), "populated 0\n");
    let last = collect(3_000);
    let cohort = definition.cohort;
    let of_cohort: Vec<_> = last
        .rows
        .iter()
        .filter(|row| row.cohort == cohort)
        .collect();
    let [values, marks] = &of_cohort[..] else {
        panic!("{of_cohort:?}");
    };
    assert_eq!((values.at, values.floats[0]), (TimestampMs(2_999), 2.5));
    assert_eq!(marks.at, TimestampMs(3_000));
    assert!(
        marks
            .floats
            .iter()
            .all(|value| value.to_bits() == STALE_NAN.to_bits())
    );
    assert!(last.ended.is_empty());
    assert!(!latest.expose(Format::Text).contains("nginx"));
    // Told apart from its last row.
    assert_eq!(collect(4_000).ended.len(), 2);
}

#[test]
fn a_snapshot_that_is_none_is_a_mistake() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = |path: &Path| ContainerConfig {
        containers: ContainersConfig::default(),
        names: NameSource::Snapshot(path.to_owned()),
    };
    for path in [file.path(), Path::new("/nowhere")] {
        let error = config(path).names().unwrap_err();
        assert!(error.is_mistake(), "{error}");
        assert!(
            error.to_string().ends_with("check --cri.snapshot"),
            "{error}"
        );
    }
}
