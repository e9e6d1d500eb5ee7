//! `promontory promqltest`: scripts in the language of Prometheus' own tests, run and counted.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clock::{Clock as _, SystemClock};
use config::Settings;
use promql::testscript::{Failure, Report, run_timed, settings as script_settings};
use serde_json::{Value, json};

use crate::terminal::{self, Printer};

/// In folders, files that end so are scripts.
const EXTENSION: &str = "test";
/// Folders within folders are followed so deep: a link to a folder above would have no end.
const DEPTH_MAX: usize = 32;
/// A script may be so long: its data become far more in memory.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A script and what it came to.
#[derive(Debug)]
struct Ran {
    file: PathBuf,
    report: Report,
}

/// `promontory promqltest`
pub(crate) fn promqltest(settings: &Settings, paths: &[String]) -> anyhow::Result<ExitCode> {
    let ran = run_all(&scripts(paths)?)?;
    let mut total = Report::default();
    for ran in &ran {
        total.merge(ran.report.clone());
    }
    // A bad `load` counts too: what stands on its data is worth nothing.
    let failed = total.failures.len();
    if settings.text("output") == "json" {
        terminal::print(&serde_json::to_string_pretty(&as_json(&ran, &total))?);
    } else {
        let mut printer = Printer::new();
        for Ran { file, report } in &ran {
            for Failure { line, what } in &report.failures {
                printer.line(&format_args!("{}:{line} {what}", file.display()));
            }
        }
        printer.line(&cost(&total));
        printer.line(&format_args!("{} passed, {failed} failed", total.passed));
        printer.finish();
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the scripts that these paths name: files as they are, folders by what they hold, sorted.
fn scripts(paths: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths.iter().map(PathBuf::from) {
        let before = found.len();
        if !path.is_dir() {
            found.push(path);
            continue;
        }
        gather(&path, DEPTH_MAX, &mut found)?;
        found.get_mut(before..).unwrap_or_default().sort();
        // Nothing run must not look like nothing wrong.
        anyhow::ensure!(
            found.len() > before,
            "no file in {} ends in .{EXTENSION}",
            path.display()
        );
    }
    Ok(found)
}

fn gather(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let listing = || format!("cannot list {}", folder.display());
    anyhow::ensure!(
        depth > 0,
        "{} lies more than {DEPTH_MAX} folders deep; name it itself",
        folder.display()
    );
    for entry in fs::read_dir(folder).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.is_dir() {
            gather(&path, depth - 1, found)?;
        } else if path.extension() == Some(OsStr::new(EXTENSION)) {
            found.push(path);
        }
    }
    Ok(())
}

fn run_all(files: &[PathBuf]) -> anyhow::Result<Vec<Ran>> {
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let now = || clock.monotonic().saturating_since(begun);
    let run_one = |file: &PathBuf| {
        let report = run_timed(&read(file)?, &script_settings(), &now);
        let file = file.clone();
        Ok(Ran { file, report })
    };
    files.iter().map(run_one).collect()
}

fn read(file: &Path) -> anyhow::Result<String> {
    let reading = || format!("cannot read {}", file.display());
    let bytes = fs::metadata(file).with_context(reading)?.len();
    anyhow::ensure!(
        bytes <= SCRIPT_BYTES_MAX,
        "{} has {bytes} bytes, more than the {SCRIPT_BYTES_MAX} that a script may have; split it",
        file.display()
    );
    fs::read_to_string(file).with_context(reading)
}

fn cost(total: &Report) -> String {
    let cost = total.cost;
    format!(
        "{} queries: parsed in {:.3} ms, evaluated in {:.3} ms",
        cost.queries,
        milliseconds(cost.parse),
        milliseconds(cost.evaluate)
    )
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn as_json(ran: &[Ran], total: &Report) -> Value {
    let failures = |report: &Report| -> Vec<Value> {
        let failure = |Failure { line, what }: &Failure| json!({"line": line, "what": what});
        report.failures.iter().map(failure).collect()
    };
    let files = ran.iter().map(|Ran { file, report }| {
        json!({
            "file": file.display().to_string(),
            "passed": report.passed,
            "failed": report.failures.len(),
            "failures": failures(report),
            "cost": cost_json(report),
        })
    });
    json!({
        "files": files.collect::<Vec<Value>>(),
        "passed": total.passed,
        "failed": total.failures.len(),
        "cost": cost_json(total),
    })
}

fn cost_json(report: &Report) -> Value {
    json!({
        "queries": report.cost.queries,
        "parseSeconds": report.cost.parse.as_secs_f64(),
        "evaluateSeconds": report.cost.evaluate.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        path.to_str().expect("utf-8").to_owned()
    }

    #[test]
    fn folders_are_searched_to_the_bottom_and_in_order() {
        let home = tempfile::tempdir().expect("a folder");
        let below = home.path().join("a/b");
        fs::create_dir_all(&below).expect("folders");
        let empty = home.path().join("empty");
        fs::create_dir(&empty).expect("a folder");
        for name in ["z.test", "a/b/c.test", "a/notes.txt", "odd"] {
            fs::write(home.path().join(name), "eval instant at 0 1\n  1\n").expect("a file");
        }
        let odd = home.path().join("odd");
        let found = scripts(&[text(&odd), text(home.path())]).expect("scripts");
        let expected = [odd, below.join("c.test"), home.path().join("z.test")];
        assert_eq!(found, expected);
        let why = scripts(&[text(&empty)]).expect_err("nothing to run");
        assert!(why.to_string().ends_with("ends in .test"), "{why}");
        let absent = [home.path().join("absent.test")];
        let why = run_all(&absent).expect_err("no such file");
        assert!(why.to_string().contains("absent.test"), "{why}");
    }

    #[test]
    fn a_report_counts_statements_and_measures_queries() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("a.test");
        let script = "load nonsense\n\neval instant at 0 1\n  1\n\neval instant at 0 1\n  2\n";
        fs::write(&file, script).expect("a file");
        let ran = run_all(std::slice::from_ref(&file)).expect("it runs");
        let total = &ran[0].report;
        let json = as_json(&ran, total);
        assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(2)));
        assert_eq!(json["files"][0]["failures"][1]["line"], 6);
        assert!(total.cost.queries > 2 && total.cost.evaluate > Duration::ZERO);
        assert!(cost(total).contains("parsed in"));
    }
}
