//! What we render is what Go renders; where Go fails, we fail.

use std::collections::BTreeSet;

use template::{
    CONSOLE_FUNCTIONS, ErrorKind, Fixed, Limits, Mode, NOTIFICATION_FUNCTIONS, Templates, Time,
    Value,
};

use crate::cases::Case;
use crate::data::{Data, default_templates, empty_templates};

/// Runs the cases of one file.
fn check(file: &str, templates: &Templates) {
    let data = Data::read();
    let cases = Case::read(file);
    let mut wrong = Vec::new();
    for case in &cases {
        let rendered = data.render(templates, &case.data, case.mode, &case.text);
        if !case.is_met_by(&rendered) {
            wrong.push(format!("{case:?}\n  got {rendered:?}"));
        }
    }
    let count = cases.len();
    assert!(
        wrong.is_empty(),
        "{} of {count} cases in {file}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{file}: {count} cases");
}

#[test]
fn default_templates_render_as_in_go() {
    if let Some(templates) = default_templates() {
        check("defaults.jsonl", &templates);
    }
}

/// The golden set is as large as it is said to be: every case is another one, and both engines have theirs.
#[test]
fn the_golden_set_of_default_templates_is_complete() {
    let cases = Case::read("defaults.jsonl");
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let renderings = |mode| {
        let of_mode = cases.iter().filter(move |case| case.mode == mode);
        let renderings = of_mode.map(|case| (case.data.as_str(), case.text.as_str()));
        renderings.collect::<BTreeSet<_>>().len()
    };
    for name in &names {
        println!("{name}");
    }
    assert_eq!(names.len(), cases.len(), "a name stands there twice");
    assert!(!names.contains(""));
    assert_eq!((renderings(Mode::Text), renderings(Mode::Html)), (220, 50));
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
        for case in Case::read(&format!("{file}.jsonl")) {
            let Err(want) = &case.want else {
                continue;
            };
            let error = data.render(&templates, &case.data, case.mode, &case.text);
            let error = error.unwrap_err();
            let tail = error.message.rsplit(">: ").next().unwrap();
            assert_ne!(error.kind, ErrorKind::Limit, "{case:?}");
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
