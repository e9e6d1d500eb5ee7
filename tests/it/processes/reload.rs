//! Configuration files: read again on demand, refused as a whole when anything is wrong, with the place of each mistake.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::processes::{
    AGENT, Agent, Aggregator, PATIENCE, Signal, binary, get, post, tool, wait_until,
};

/// The exit code for wrong settings.
const USAGE: i32 = 2;

fn status(aggregator: &Aggregator, what: &str) -> Value {
    let path = format!("/api/v1/status/{what}");
    let answer = get(aggregator.web(), &path).expect("an answer").json();
    answer["data"].clone()
}

fn level(aggregator: &Aggregator) -> Value {
    status(aggregator, "flags")["log.level"].clone()
}

fn succeeded(aggregator: &Aggregator) -> Value {
    status(aggregator, "runtimeinfo")["reloadConfigSuccess"].clone()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

#[test]
fn good_files_take_effect_and_bad_ones_leave_everything_as_it_was() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("promontory.yml");
    write(&file, "log:\n  level: info\n");
    let flags = [
        "--web.enable-lifecycle",
        "--config.file",
        file.to_str().expect("utf-8"),
    ];
    let mut aggregator = Aggregator::new(&flags);
    assert_eq!(level(&aggregator), "info");

    write(&file, "log:\n  level: debug\n");
    aggregator.process().signal(Signal::HUP);
    wait_until(PATIENCE, "SIGHUP to take effect", || {
        (level(&aggregator) == "debug").then_some(())
    });

    write(&file, "log:\n  level: loud\n  lvel: info\n");
    let refused = post(aggregator.web(), "/-/reload").expect("an answer");
    assert_eq!(refused.status, 500, "{}", refused.body);
    for place in ["promontory.yml:2:", "promontory.yml:3:"] {
        assert!(refused.body.contains(place), "{}", refused.body);
    }
    assert_eq!(
        (level(&aggregator), succeeded(&aggregator)),
        ("debug".into(), false.into())
    );
    aggregator.process().signal(Signal::HUP);
    aggregator.process().await_line("promontory.yml:3:");
    assert_eq!(level(&aggregator), "debug");

    write(&file, "log:\n  level: warn\n");
    let taken = post(aggregator.web(), "/-/reload").expect("an answer");
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(
        (level(&aggregator), succeeded(&aggregator)),
        ("warn".into(), true.into())
    );
    aggregator.stop();
}

#[test]
fn reloading_over_http_must_be_allowed() {
    let aggregator = Aggregator::new(&[]);
    let refused = post(aggregator.web(), "/-/reload").expect("an answer");
    assert_eq!(refused.status, 403, "{}", refused.body);
}

#[test]
fn an_agent_reads_its_log_level_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("agent.yml");
    write(&file, "log:\n  level: info\n");
    let aggregator = Aggregator::new(&[]);
    let path = file.to_str().expect("utf-8").to_owned();
    let mut agent = Agent::join(
        &aggregator,
        "reloading",
        &super::lean(&["--config.file", &path]),
    );
    write(&file, "log:\n  level: loud\n");
    agent.process().signal(Signal::HUP);
    agent.process().await_line("agent.yml:2:");
    write(&file, "log:\n  level: debug\n");
    agent.process().signal(Signal::HUP);
    agent
        .process()
        .await_line("read the configuration file again");
    super::await_new_rows(&aggregator, &agent);
}

#[test]
fn mistakes_are_refused_at_start_all_together_with_their_places() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("bad.yml");
    write(
        &file,
        "storage:\n  retention:\n    time: soon\nwbe:\n  x: 1\n",
    );
    let path = file.to_str().expect("utf-8");
    let complaint = tool(&[
        "aggregator",
        "--config.file",
        path,
        "--query.timeout",
        "never",
    ])
    .failure(USAGE);
    for part in ["bad.yml:3:", "bad.yml:4:", "query.timeout", "did you mean"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    assert!(
        tool(&["aggregator", "--no-such-flag"])
            .failure(USAGE)
            .contains("no-such-flag")
    );

    write(&file, "interval: 5ms\nspool:\n  max-bytes: lots\n");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(binary(AGENT));
        let output = command
            .env_clear()
            .args(arguments)
            .output()
            .expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, complaint) = run(&["run", "--aggregator", "127.0.0.1:1", "--config.file", path]);
    assert_eq!(code, Some(USAGE), "{complaint}");
    for place in ["bad.yml:1:", "bad.yml:3:"] {
        assert!(complaint.contains(place), "{complaint}");
    }
    let (code, complaint) = run(&["run"]);
    assert_eq!(code, Some(USAGE), "{complaint}");
    assert!(complaint.contains("aggregator"), "{complaint}");
}
