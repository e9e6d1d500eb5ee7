//! The public OpenMetrics parser cases: each is accepted or refused as its author says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use exposition::{Entry, OpenMetricsParser, ParseError};

#[test]
fn openmetrics_parser_cases() {
    let folder = shared().join("openmetrics-testdata/parsers");
    if !folder.is_dir() {
        assert!(
            variable("CI").is_none_or(|ci| ci != "true"),
            "the OpenMetrics cases are not at {}; set PROMONTORY_CONFORMANCE",
            folder.display()
        );
        println!("skipped: no OpenMetrics cases at {}", folder.display());
        return;
    }
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder can be listed")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let wrong: Vec<String> = cases.iter().filter_map(|case| misjudged(case)).collect();
    println!(
        "{} of {} OpenMetrics cases",
        cases.len() - wrong.len(),
        cases.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 126, "only {} cases found", cases.len());
}

/// Returns what is wrong with our answer to one case.
fn misjudged(case: &Path) -> Option<String> {
    let description =
        std::fs::read_to_string(case.join("test.json")).expect("a case has a description");
    let should_parse = match (
        description
            .replace(' ', "")
            .contains("\"shouldParse\":true"),
        description
            .replace(' ', "")
            .contains("\"shouldParse\":false"),
    ) {
        (true, false) => true,
        (false, true) => false,
        _ => return Some(format!("{}: unclear description", case.display())),
    };
    let input = std::fs::read(case.join("metrics")).expect("a case has an input");
    match (parse(&input), should_parse) {
        (Ok(()), true) | (Err(_), false) => None,
        (Ok(()), false) => Some(format!("{}: accepted", case.display())),
        (Err(error), true) => Some(format!("{}: {error}", case.display())),
    }
}

fn parse(input: &[u8]) -> Result<(), ParseError> {
    for entry in OpenMetricsParser::new(input) {
        if let Entry::Sample(sample) = entry? {
            sample.series.to_labels();
        }
    }
    Ok(())
}

/// Returns the folder of shared test data: beside the workspace, or where the environment says.
fn shared() -> PathBuf {
    variable("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "where test data lies is no configuration of the program"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
