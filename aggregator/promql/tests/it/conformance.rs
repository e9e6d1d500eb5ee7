//! Prometheus' own test scripts, read from outside the tree.

use std::path::PathBuf;

use promql::testscript::{Report, run, settings};

/// Statements that pass; it only ever rises.
const FLOOR: usize = 1_610;

/// Returns the folder of the conformance data: a variable of the environment, else beside the workspace.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the conformance data by the environment"
)]
fn data() -> Option<PathBuf> {
    let base = std::env::var("PROMONTORY_CONFORMANCE").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = base.join("promqltest");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "conformance data must be present in CI: set PROMONTORY_CONFORMANCE"
    );
    None
}

#[test]
fn prometheus_own_scripts_pass() {
    let Some(folder) = data() else {
        println!("skipped: no conformance data");
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "test")
        })
        .collect();
    files.sort();
    let mut total = Report::default();
    for file in files {
        let report = run(&std::fs::read_to_string(&file).unwrap(), &settings());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        println!("{name}: {} passed, {} failed", report.passed, report.failed);
        for failure in &report.failures {
            println!("  {name}:{} {}", failure.line, failure.what);
        }
        total.merge(report);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    assert!(total.passed >= FLOOR, "fewer than {FLOOR} statements pass");
}
