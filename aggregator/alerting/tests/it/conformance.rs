//! Alertmanager's own configuration files, read from outside the tree: every verdict and every message that their README states.

use std::path::{Path, PathBuf};

use alerting::{Config, MatcherMode};
use template::Zone;

#[expect(
    clippy::disallowed_methods,
    reason = "tests find the conformance data by the environment"
)]
fn shared() -> Option<PathBuf> {
    let base = std::env::var("PROMONTORY_CONFORMANCE").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = base.join("alertmanager-testdata");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "conformance data must be present in CI: set PROMONTORY_CONFORMANCE"
    );
    println!("skipped: no alertmanager-testdata");
    None
}

/// A row of the README's table.
struct Case {
    file: PathBuf,
    accepted: bool,
    /// What the error says; empty: anything.
    message: String,
}

/// Returns the rows about configurations: those of other files are about other programs.
fn cases(folder: &Path) -> Vec<Case> {
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [file, verdict, note, _] = cells[..] else {
            panic!("{row}")
        };
        // The file is named as in Alertmanager's tree; here it lies without `testdata`.
        let file = file.trim_matches('`').replace("testdata/", "");
        let is_message = !note.starts_with("(YAML")
            && !note.starts_with("used by")
            && !note.starts_with("example");
        let accepted = match verdict {
            "accept" => true,
            "reject" => false,
            _ => return None,
        };
        (!note.starts_with("amtool own")).then(|| Case {
            file: folder.join(file),
            accepted,
            message: if is_message {
                note.trim_start_matches("(contains)").trim().to_owned()
            } else {
                String::new()
            },
        })
    })
    .collect()
}

fn parse(file: &Path, mode: MatcherMode) -> Result<Config, String> {
    let text = std::fs::read_to_string(file).unwrap();
    Config::parse(file, &text, mode, &Zone::utc()).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn files_are_taken_and_refused_as_by_alertmanager() {
    let Some(folder) = shared() else { return };
    let cases = cases(&folder);
    for case in &cases {
        for mode in [MatcherMode::Fallback, MatcherMode::Classic] {
            match parse(&case.file, mode) {
                Ok(_) => assert!(case.accepted, "{} is taken", case.file.display()),
                Err(mistakes) => {
                    assert!(
                        !case.accepted,
                        "{} is refused: {mistakes}",
                        case.file.display()
                    );
                    let named = mistakes.lines().any(|line| line.contains(&case.message));
                    assert!(named, "{}: {mistakes}", case.file.display());
                }
            }
        }
    }
    println!("{} files", cases.len());
    assert!(cases.len() >= 30, "the table is whole");
}

#[test]
fn a_whole_configuration_is_read() {
    let Some(folder) = shared() else { return };
    let config = parse(&folder.join("config/conf.good.yml"), MatcherMode::Fallback).unwrap();
    assert!(!config.route.routes.is_empty());
    let integrations = config
        .receivers
        .values()
        .flat_map(|receiver| &receiver.integrations);
    assert!(integrations.count() > 5);
}
