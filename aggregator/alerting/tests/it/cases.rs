//! What Alertmanager takes we take; what it refuses we refuse, mostly in its words.

use std::path::{Path, PathBuf};

use alerting::{Config, MatcherMode, format_matcher, parse_matchers};
use serde_json::Value as Json;
use template::Zone;

fn cases() -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn configurations_are_judged_as_by_alertmanager() {
    let (mut all, mut refused, mut alike, mut wrong) = (0, 0, 0, Vec::new());
    for case in cases() {
        let Some(text) = case["config"].as_str() else {
            continue;
        };
        all += 1;
        let config = Config::parse(
            Path::new("c.yml"),
            text,
            MatcherMode::Fallback,
            &Zone::utc(),
        );
        match (config, case["error"].as_str()) {
            (Ok(_), None) => {}
            (Err(mistakes), Some(error)) => {
                refused += 1;
                alike += usize::from(mistakes.0.iter().any(|mistake| mistake.what == error));
            }
            (config, _) => wrong.push(format!(
                "{case}\n  got {:?}",
                config
                    .map(|_| "taken")
                    .map_err(|mistakes| mistakes.to_string())
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {all}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{all} configurations; {refused} are refused, {alike} in the same words");
    // The others are about YAML itself, or name what is unknown.
    assert!(alike * 2 > refused, "{alike} of {refused} messages");
}

#[test]
fn matchers_mean_what_they_mean_to_alertmanager() {
    let (mut all, mut wrong) = (0, Vec::new());
    for case in cases() {
        let Some(text) = case["matchers"].as_str() else {
            continue;
        };
        all += 1;
        let mode = match case["mode"].as_str() {
            Some("utf8") => MatcherMode::Utf8,
            Some("classic") => MatcherMode::Classic,
            _ => MatcherMode::Fallback,
        };
        let parsed = parse_matchers(text, mode).map(|parsed| {
            parsed
                .matchers
                .iter()
                .map(format_matcher)
                .collect::<Vec<_>>()
                .join(",")
        });
        let expected = match case["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(case["want"].as_str().unwrap_or_default().to_owned()),
        };
        // What is wrong with an expression is said by another library.
        let alike = match (&parsed, &expected) {
            (Err(_), Err(error)) if error.contains("error parsing regexp") => true,
            _ => parsed == expected,
        };
        if !alike {
            wrong.push(format!("{case}\n  got {parsed:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {all}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{all} texts of matchers");
}
