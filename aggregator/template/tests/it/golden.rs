//! What we render is what Go renders; where Go fails, we fail.

use serde_json::Value as Json;
use template::{Mode, NOTIFICATION_FUNCTIONS, Templates};

use crate::data::{Data, default_templates, empty_templates, folder};

/// Runs the cases of one file and returns how many there are.
fn check(file: &str, templates: &Templates) -> usize {
    let data = Data::read();
    let path = folder().join("cases").join(file);
    let cases = std::fs::read_to_string(path).unwrap();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let mode = if case["mode"] == "html" {
            Mode::Html
        } else {
            Mode::Text
        };
        let rendered = data.render(templates, case["data"].as_str().unwrap(), mode, text);
        let as_expected = match (&rendered, case["error"].as_str()) {
            (Ok(got), None) => {
                let want = case["want"].as_str().unwrap_or_default();
                if case["hash"] == true {
                    hash(got) == want
                } else {
                    got == want
                }
            }
            (Err(_), Some(_)) => true,
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{line}\n  got {rendered:?}"));
        }
    }
    let count = cases.lines().count();
    assert!(
        wrong.is_empty(),
        "{} of {count} cases in {file}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{file}: {count} cases");
    count
}

/// Length and FNV-1a hash, for outputs that are too long, or not ours to print.
fn hash(text: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{} bytes {hash:016x}", text.len())
}

#[test]
fn default_templates_render_as_in_go() {
    let Some(templates) = default_templates() else {
        return;
    };
    assert!(check("defaults.jsonl", &templates) >= 80);
}

#[test]
fn the_language_is_gos() {
    check("language.jsonl", &empty_templates(NOTIFICATION_FUNCTIONS));
}

#[test]
fn printing_is_gos() {
    check("printing.jsonl", &empty_templates(NOTIFICATION_FUNCTIONS));
}

#[test]
fn html_is_escaped_as_in_go() {
    check("html.jsonl", &empty_templates(NOTIFICATION_FUNCTIONS));
}

#[test]
fn functions_answer_as_those_of_alertmanager_and_prometheus() {
    check("functions.jsonl", &empty_templates(NOTIFICATION_FUNCTIONS));
}

#[test]
fn zz_messages() {
    let data = Data::read();
    let mut n = (0, 0);
    for file in ["language", "printing", "html", "functions"] {
        let path = folder().join("cases").join(format!("{file}.jsonl"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let case: Json = serde_json::from_str(line).unwrap();
            let Some(want) = case["error"].as_str() else {
                continue;
            };
            let text = case["text"].as_str().unwrap();
            let mode = if case["mode"] == "html" {
                Mode::Html
            } else {
                Mode::Text
            };
            let got = data
                .render(
                    &empty_templates(NOTIFICATION_FUNCTIONS),
                    case["data"].as_str().unwrap(),
                    mode,
                    text,
                )
                .unwrap_err();
            let tail = got.message.rsplit(">: ").next().unwrap();
            n.0 += 1;
            if want.ends_with(tail) {
                n.1 += 1;
            } else {
                println!("DIFF {text:?}\n   {want}\n   {got}");
            }
        }
    }
    println!("MSG {n:?}");
}
