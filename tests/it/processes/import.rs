//! From Prometheus to here: blocks that its promtool made, imported by the tool, asked for over HTTP.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::processes::{
    Aggregator, PATIENCE, Prometheus, post, query, tool, wait_until, write_histograms, write_series,
};

const PROMTOOL: &str = "/usr/bin/promtool";
/// Samples of each series, one a minute.
const ROWS: u32 = 600;

#[test]
fn blocks_of_prometheus_are_imported_once_and_answered() {
    if !Path::new(PROMTOOL).exists() {
        println!("skipped: there is no {PROMTOOL}; Debian's package prometheus has it");
        return;
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let (text, blocks) = (folder.path().join("text"), folder.path().join("blocks"));
    let now = model::TimestampMs::from(clock::Clock::wall(&clock::SystemClock::new()));
    let start = now.0 / 1_000 - i64::from(ROWS) * 60;
    let mut exposition = "# TYPE brought gauge\n".to_owned();
    for id in 0..3 {
        for row in 0..ROWS {
            let (value, seconds) = (row * id, start + i64::from(row) * 60);
            writeln!(exposition, "brought{{id=\"{id}\"}} {value} {seconds}").expect("a text");
        }
    }
    exposition.push_str("# EOF\n");
    fs::write(&text, exposition).expect("a file");
    let made = Command::new(PROMTOOL)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &blocks])
        .output()
        .expect("promtool runs");
    assert!(made.status.success(), "{made:?}");

    let mut aggregator = Aggregator::stopped(&[]).at(folder.path().join("data"));
    let data = aggregator.data().display().to_string();
    let blocks = blocks.display().to_string();
    let import = [
        "tsdb",
        "import",
        "--storage.path",
        &data,
        "-o",
        "json",
        &blocks,
    ];
    let samples_of = |states: &str| -> u64 {
        let outcome: Value = serde_json::from_str(&tool(&import).success()).expect("json");
        let outcomes = outcome["blocks"].as_array().expect("a list");
        assert!(!outcomes.is_empty());
        outcomes
            .iter()
            .map(|block| {
                assert_eq!(block["state"], states, "{block}");
                block["samples"].as_u64().expect("a number")
            })
            .sum()
    };
    assert_eq!(samples_of("imported"), u64::from(ROWS) * 3);
    assert_eq!(samples_of("imported before"), 0);

    aggregator.start();
    aggregator.await_ready();
    let complaint = tool(&import).failure(1);
    assert!(complaint.contains("in use by process"), "{complaint}");
    let address = aggregator.web();
    let count = wait_until(PATIENCE, "what was imported", || {
        let found = query(address, "sum(count_over_time(brought[1d]))");
        found.first().copied()
    });
    assert!((count - f64::from(ROWS * 3)).abs() < 0.5, "{count}");
    let last = query(address, "max(max_over_time(brought{id=\"2\"}[1d]))");
    assert_eq!(last, [f64::from((ROWS - 1) * 2)]);
    aggregator.stop();
}

/// What a running Prometheus has, native histograms too, by way of its snapshot.
#[test]
fn a_snapshot_of_prometheus_with_histograms_answers_the_same_here() {
    let flags = [
        "--enable-feature=native-histograms",
        "--web.enable-admin-api",
    ];
    let Some(prometheus) = Prometheus::with_flags(&flags) else {
        println!("skipped: there is no prometheus; Debian's package prometheus has it");
        return;
    };
    let now = model::TimestampMs::from(clock::Clock::wall(&clock::SystemClock::new())).0;
    let times: Vec<i64> = (0..40).rev().map(|row| now - row * 15_000).collect();
    let named = |name: &str, id: i64| {
        let pairs = [("__name__", name), ("id", &id.to_string())];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    let histograms: Vec<_> = (0..3).map(|id| (named("h", id), times.clone())).collect();
    let floats = times.iter().map(|at| (*at, 2.5)).collect();
    assert!(write_histograms(prometheus.web(), &histograms));
    assert!(write_series(prometheus.web(), &[(named("f", 0), floats)]));
    let made = post(prometheus.web(), "/api/v1/admin/tsdb/snapshot").expect("an answer");
    let name = made.json()["data"]["name"].as_str().map(str::to_owned);
    let blocks = prometheus
        .data()
        .join("snapshots")
        .join(name.expect("a name"));

    let mut aggregator = Aggregator::stopped(&[]);
    let data = aggregator.data().display().to_string();
    let blocks = blocks.display().to_string();
    let import = [
        "tsdb",
        "import",
        "-o",
        "json",
        "--storage.path",
        &data,
        &blocks,
    ];
    let outcome: Value = serde_json::from_str(&tool(&import).success()).expect("json");
    let taken = outcome["blocks"].as_array().into_iter().flatten();
    let taken: u64 = taken.filter_map(|block| block["samples"].as_u64()).sum();
    assert_eq!(taken, 4 * 40, "{outcome}");
    aggregator.start();
    aggregator.await_ready();
    // Of the moment of the last sample: however long it took to get here.
    let at = format!("@ {}.{:03}", now / 1_000, now % 1_000);
    for expression in [
        format!("sum(count_over_time(h[1h] {at}))"),
        format!("sum(count_over_time(f[1h] {at}))"),
        format!("sum(histogram_count(h {at}))"),
        format!("sum(histogram_sum(h {at}))"),
        format!("histogram_quantile(0.9, sum(h {at}))"),
        format!("count(h{{id=\"2\"}} {at})"),
    ] {
        let theirs = query(prometheus.web(), &expression);
        assert_eq!(theirs.len(), 1, "{expression}");
        let ours = query(aggregator.web(), &expression);
        assert_eq!(ours, theirs, "{expression}");
    }
    aggregator.stop();
}

/// Samples of three weeks ago, of a series that is kept for so long and of one that is not.
#[test]
fn what_is_imported_is_kept_as_long_as_the_aggregators_file_says() {
    if !Path::new(PROMTOOL).exists() {
        println!("skipped: there is no {PROMTOOL}; Debian's package prometheus has it");
        return;
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let (text, blocks) = (folder.path().join("text"), folder.path().join("blocks"));
    let now = model::TimestampMs::from(clock::Clock::wall(&clock::SystemClock::new()));
    let start = now.0 / 1_000 - 21 * 86_400;
    let mut exposition = String::new();
    for name in ["long", "short"] {
        writeln!(exposition, "# TYPE {name} gauge").expect("a text");
        for row in 0..10 {
            writeln!(exposition, "{name} 1 {}", start + row * 60).expect("a text");
        }
    }
    exposition.push_str("# EOF\n");
    fs::write(&text, exposition).expect("a file");
    let made = Command::new(PROMTOOL)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &blocks])
        .output()
        .expect("promtool runs");
    assert!(made.status.success(), "{made:?}");
    let file = folder.path().join("promontory.yml");
    let classes = "retention_classes: [{name: slo, match: long, retention: 400d}]\n";
    fs::write(&file, classes).expect("a file");
    let file = file.display().to_string();

    let aggregator = Aggregator::stopped(&["--config.file", &file]);
    let mut aggregator = aggregator.at(folder.path().join("data"));
    let data = aggregator.data().display().to_string();
    let blocks = blocks.display().to_string();
    let mut import = vec![
        "tsdb",
        "import",
        "-o",
        "json",
        "--storage.path",
        &data,
        &blocks,
    ];
    let sums = |import: &[&str]| -> (u64, u64) {
        let outcome: Value = serde_json::from_str(&tool(import).success()).expect("json");
        let all = outcome["blocks"].as_array().cloned().unwrap_or_default();
        let sum = |key: &str| all.iter().filter_map(|block| block[key].as_u64()).sum();
        (sum("samples"), sum("tooOld"))
    };
    assert_eq!(sums(&import), (0, 20), "without the file");
    import.extend(["--aggregator.config-file", &file]);
    assert_eq!(sums(&import), (10, 10));
    assert_eq!(sums(&import), (0, 0), "imported before");
    aggregator.start();
    aggregator.await_ready();
    let found =
        aggregator.query("count by (__name__) (last_over_time({__name__=~\"long|short\"}[30d]))");
    assert_eq!(found, [1.0]);
    aggregator.stop();
}
