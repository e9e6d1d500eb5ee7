//! What we render is what Go renders; where Go fails, we fail.

use serde_json::Value as Json;
use template::{
    CONSOLE_FUNCTIONS, ErrorKind, Fixed, Limits, Mode, NOTIFICATION_FUNCTIONS, Templates, Time,
    Value,
};

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
        let rendered = data.render(templates, case["data"].as_str().unwrap(), mode(&case), text);
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

fn mode(case: &Json) -> Mode {
    if case["mode"] == "html" {
        Mode::Html
    } else {
        Mode::Text
    }
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

/// Where Go fails, most of our messages end as Go's do; the others say the same in other words.
#[test]
fn messages_are_gos() {
    let data = Data::read();
    let templates = empty_templates(NOTIFICATION_FUNCTIONS);
    let (mut all, mut alike) = (0, 0);
    for file in ["language", "printing", "html", "functions"] {
        let path = folder().join("cases").join(format!("{file}.jsonl"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let case: Json = serde_json::from_str(line).unwrap();
            let Some(want) = case["error"].as_str() else {
                continue;
            };
            let name = case["data"].as_str().unwrap();
            let error = data
                .render(
                    &templates,
                    name,
                    mode(&case),
                    case["text"].as_str().unwrap(),
                )
                .unwrap_err();
            let tail = error.message.rsplit(">: ").next().unwrap();
            assert_ne!(error.kind, ErrorKind::Limit, "{line}");
            all += 1;
            alike += usize::from(want.ends_with(tail));
        }
    }
    println!("{alike} of {all} messages end as in Go");
    assert!(alike >= 700, "{alike} of {all}");
}

/// A template that cannot be made safe fails when it is rendered by name; the others are rendered as ever.
#[test]
fn a_template_that_is_not_safe_harms_no_other() {
    let mut templates = empty_templates(CONSOLE_FUNCTIONS);
    templates
        .add(
            "a",
            r#"{{define "a-bad"}}<a href="{{template "a-bad"}}{{template "shared" .}}{{end}}"#,
        )
        .unwrap();
    templates
        .add("b", r#"{{define "good"}}<b>{{template "shared" .}}</b>{{end}}{{define "shared"}}{{.}}{{end}}"#)
        .unwrap();
    let render = |text: &str| {
        let program = templates.compile("c", text, Mode::Html, &[])?;
        let data = Value::from("<x>");
        program.render(&data, &[], &mut Fixed(Time::zero()), Limits::default())
    };
    assert_eq!(render(r#"{{tmpl "good" .}}"#).unwrap(), "<b>&lt;x&gt;</b>");
    let error = render(r#"{{tmpl "a-bad" .}}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Escaping, "{error}");
}
