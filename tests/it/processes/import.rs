//! From Prometheus to here: blocks that its promtool made, imported by the tool, asked for over HTTP.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::processes::{Aggregator, PATIENCE, query, tool, wait_until};

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
