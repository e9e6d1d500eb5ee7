use std::path::Path;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<RuleFile, String> {
    RuleFile::parse(Path::new("r.yml"), text, FileOptions::default())
        .map_err(|mistakes| mistakes.to_string())
}

#[test]
fn a_file_is_read_whole() {
    let file = parse(
        "groups:
  - name: g
    interval: 30s
    query_offset: 1m
    limit: 7
    labels: {team: a, tier: gold}
    rules:
      - record: a:b
        expr: sum(x)
        labels: {team: b}
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 1h
        annotations: {summary: '{{ $labels.instance }} is down'}
",
    )
    .unwrap();
    let group = &file.groups[0];
    assert_eq!(
        (group.interval, group.query_offset, group.limit),
        (
            Some(Duration::from_secs(30)),
            Some(Duration::from_secs(60)),
            7
        )
    );
    let [record, alert] = &group.rules[..] else {
        panic!("two rules")
    };
    assert_eq!(record.labels["team"], "b");
    assert_eq!(record.labels["tier"], "gold");
    let spec = alert.alert().unwrap();
    assert_eq!(
        (spec.hold, spec.keep_firing_for),
        (Duration::from_secs(300), Duration::from_secs(3_600))
    );
    assert_eq!(parse("").unwrap().groups.len(), 0);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let rule = |rule: &str| format!("groups:\n  - name: g\n    rules:\n      - {rule}\n");
    for (text, message) in [
        (
            "groups:\n  - name: g\n  - name: g\n".to_owned(),
            "r.yml:3:5: groupname: \"g\" is repeated in the same file",
        ),
        (
            "groups:\n  - rules: []\n".to_owned(),
            "r.yml:2:5: Groupname must not be empty",
        ),
        (
            "grops: []\n".to_owned(),
            "r.yml:1:1: field grops not found in a rule file (did you mean groups?)",
        ),
        (
            rule("{alert: A, expr: 1, annotation: {}}"),
            "r.yml:4:29: field annotation not found in a rule (did you mean annotations?)",
        ),
        (
            rule("{expr: 1}"),
            "r.yml:4:9: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set",
        ),
        (
            rule("{record: a, alert: b, expr: 1}"),
            "r.yml:4:18: group \"g\", rule 1, \"b\": only one of 'record' and 'alert' must be set",
        ),
        (
            rule("{record: a}"),
            "r.yml:4:9: group \"g\", rule 1, \"a\": field 'expr' must be set in rule",
        ),
        (
            rule("{record: a, expr: 'rate(x)'}"),
            "r.yml:4:27: group \"g\", rule 1, \"a\": could not parse expression: 1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            rule("{record: a, expr: 1, for: 1m}"),
            "r.yml:4:18: group \"g\", rule 1, \"a\": invalid field 'for' in recording rule",
        ),
        (
            rule("{record: 'a{}', expr: 1}"),
            "r.yml:4:18: group \"g\", rule 1, \"a{}\": braces present in the recording rule name; should it be in expr?: a{}",
        ),
        (
            rule("{record: a, expr: 1, labels: {__name__: b}}"),
            "r.yml:4:39: group \"g\", rule 1, \"a\": invalid label name: __name__",
        ),
        (
            rule("{alert: a, expr: 1, for: 1x}"),
            "r.yml:4:34: not a valid duration string: \"1x\" (expected numbers with units y, w, d, h, m, s, ms in this order, such as 1h30m)",
        ),
        (rule("[]"), "r.yml:4:9: expected a map, found a list"),
    ] {
        let found = parse(&text).expect_err(message);
        assert!(
            found.lines().any(|line| line == message),
            "{found}\n{message}"
        );
    }
    let found = parse(&rule("{alert: a, expr: 1, labels: {l: '{{ $x }}'}}")).unwrap_err();
    assert!(
        found.starts_with(
            "r.yml:4:41: group \"g\", rule 1, \"a\": label \"l\": error parsing template __alert_a: template: __alert_a:1:"
        ),
        "{found}"
    );
}

#[test]
fn unknown_fields_can_be_ignored() {
    let options = FileOptions {
        ignore_unknown_fields: true,
        ..FileOptions::default()
    };
    let text = "owner: me\ngroups:\n  - name: g\n    rules:\n      - {record: a, expr: 1, x: 2}\n";
    let file = RuleFile::parse(Path::new("r.yml"), text, options).unwrap();
    assert_eq!(file.rule_count(), 1);
}

const WHOLE: &str = "groups: [{name: g, interval: 1m, limit: 2, labels: {a: b}, rules: [{record: r, expr: 'sum(x)', labels: {l: v}}, {alert: A, expr: x > 1, for: 5m, annotations: {s: '{{ $value | humanize }}'}}]}]";

proptest! {
    /// Whatever a file says, it is read or refused.
    #[test]
    fn no_file_is_too_odd(at in 0..WHOLE.len(), cut in 0usize..12, put in "[\\PC]{0,6}") {
        let mut text = WHOLE.to_owned();
        text.replace_range(at..(at + cut).min(WHOLE.len()), &put);
        drop(parse(&text));
    }
}
