//! The tools: what people type.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::processes::{AGENT, Agent, Aggregator, binary, tool};

use super::lean;

/// The exit code for an expression that cannot be evaluated.
const BAD_QUERY: i32 = 3;

#[test]
fn agents_and_queries_are_shown_in_every_form() {
    let aggregator = Aggregator::new(&[]);
    let agent = Agent::join(&aggregator, "shown", &lean(&["--interval", "200ms"]));
    let url = aggregator.url();

    let table = tool(&["agents", "--url", &url]).success();
    let line = table.lines().find(|line| line.starts_with("shown "));
    assert!(line.is_some_and(|line| line.contains("quic")), "{table}");
    let json = tool(&["agents", "--url", &url, "--output", "json"]).success();
    let json: Value = serde_json::from_str(&json).expect("json");
    let listed = &json["agents"][0];
    assert_eq!(
        (&listed["agent"], &listed["connected"]),
        (&"shown".into(), &true.into())
    );
    super::await_new_rows(&aggregator, &agent);

    let query = |arguments: &[&str]| {
        let expression = "up{job=\"node-exporter\"}";
        tool(&[&["query", "--url", &url], arguments, &[expression]].concat())
    };
    let table = query(&[]).success();
    assert!(
        table.contains("instance=\"shown\"") && table.contains("VALUE"),
        "{table}"
    );
    let csv = query(&["-o", "csv"]).success();
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!((rows.len(), rows[0]), (2, "series,time,value"), "{csv}");
    assert!(rows[1].ends_with(",1"), "{csv}");
    let json = query(&["-o", "json"]).success();
    let json: Value = serde_json::from_str(&json).expect("json");
    assert_eq!(json["resultType"], "vector");
    assert_eq!(json["result"][0]["value"][1], "1");
    let range = query(&["-o", "json", "--range", "10s", "--step", "1s"]).success();
    let range: Value = serde_json::from_str(&range).expect("json");
    assert_eq!(range["resultType"], "matrix");
    assert!(
        !range["result"][0]["values"]
            .as_array()
            .expect("values")
            .is_empty()
    );

    let plan = query(&["--explain"]).success();
    assert!(
        plan.lines().any(|line| line.starts_with("selector ")) && plan.contains("samples read"),
        "{plan}"
    );
    let plan = query(&["--explain", "-o", "json"]).success();
    let plan: Value = serde_json::from_str(&plan).expect("json");
    assert_eq!(plan["plan"][0]["node"], "selector", "{plan}");
    assert_eq!(plan["plan"][0]["series"], 1, "{plan}");

    let complaint = tool(&["query", "--url", &url, "sum(rate(node_load1[5m])"]).failure(BAD_QUERY);
    assert!(complaint.contains('^'), "{complaint}");
    let complaint = tool(&["query", "--url", &url, "rate(node_load1)"]).failure(BAD_QUERY);
    assert!(
        complaint.contains('^') && complaint.contains("range"),
        "{complaint}"
    );
    let nobody = "http://127.0.0.1:1";
    let complaint = tool(&["query", "--url", nobody, "up"]).failure(1);
    assert!(complaint.contains("127.0.0.1:1"), "{complaint}");
}

/// Statements of Prometheus' own scripts.
const CONFORMANCE: usize = 1_610;

/// Returns the folder of data outside the tree.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the conformance data by the environment"
)]
fn shared() -> PathBuf {
    std::env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    )
}

#[test]
fn promql_scripts_are_run_and_counted() {
    let home = tempfile::tempdir().expect("a folder");
    let script = home.path().join("wrong.test");
    let text = "load 1m\n  m 1\n\neval instant at 0 m\n  m 1\n\neval instant at 0 m\n  m 2\n";
    std::fs::write(&script, text).expect("a file");
    let path = script.to_str().expect("utf-8");
    let ran = tool(&["promqltest", path]);
    assert_eq!(ran.code, Some(1));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!("{path}:7 ")), "{lines:?}");
    assert!(lines[1].contains("parsed in"), "{lines:?}");
    assert_eq!(lines[2..], ["1 passed, 1 failed"]);
    let json: Value =
        serde_json::from_str(&tool(&["promqltest", "-o", "json", path]).stdout).expect("json");
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    tool(&["promqltest"]).failure(2);
    let complaint = tool(&["promqltest", "/none.test"]).failure(1);
    assert!(complaint.contains("/none.test"), "{complaint}");

    let folder = shared().join("promqltest");
    if !folder.is_dir() {
        println!("skipped: no conformance data");
        return;
    }
    let said = tool(&["promqltest", folder.to_str().expect("utf-8")]).success();
    assert_eq!(
        said.lines().last(),
        Some(format!("{CONFORMANCE} passed, 0 failed").as_str())
    );
}

#[test]
fn both_programs_explain_themselves() {
    for (shell, mark) in [
        ("bash", "complete"),
        ("zsh", "#compdef"),
        ("fish", "complete -c"),
    ] {
        assert!(tool(&["completion", shell]).success().contains(mark));
    }
    assert!(tool(&["man", "aggregator"]).success().contains(".TH"));
    assert!(tool(&["--help"]).success().contains("promontory up"));
    let agent = |arguments: &[&str]| {
        let mut command = std::process::Command::new(binary(AGENT));
        let output = command
            .env_clear()
            .args(arguments)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("utf-8")
    };
    assert!(agent(&["completion", "bash"]).contains("complete"));
    assert!(agent(&["man", "run"]).contains(".TH"));
    let exposition = agent(&["collect"]);
    for series in [
        "node_cpu_seconds_total{",
        "node_memory_MemTotal_bytes ",
        "# TYPE node_load1 gauge",
    ] {
        assert!(
            exposition.contains(series),
            "no {series} in what is collected"
        );
    }
}
