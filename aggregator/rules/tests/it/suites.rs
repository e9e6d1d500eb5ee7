//! Suites of unit tests of unusual kinds, and what promtool says of them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rules::{UnitTestOptions, UnitTests};

const PROMTOOL: &str = "/usr/bin/promtool";

const RULES: &str = "
groups:
  - name: a
    interval: 7m
    rules:
      - record: job:x:sum
        expr: sum by (job) (x)
      - alert: Down
        expr: up == 0
        for: 2m
        labels: {severity: page, empty: ''}
        annotations: {summary: '{{ $labels.instance }} {{ $value }} {{ $externalLabels.cluster }}', none: ''}
  - name: b
    rules:
      - record: job:x:twice
        expr: job:x:sum * 2
";

/// Who says the same.
enum Judge {
    /// All releases of promtool, Debian's, too.
    All,
    /// Those that are younger than Debian's.
    Younger,
}
use Judge::{All, Younger};

/// What is tested, the tests beside `rule_files`, and whether they pass.
const SUITES: &[(&str, &str, bool, Judge)] = &[
    (
        "a file that is named twice is read once",
        "rule_files: [r.yml, '*.yml', ./r.yml]
tests:
  - interval: 1m
    input_series: [{series: 'up{instance=\"i\"}', values: 0x5}]
    alert_rule_test:
      - {alertname: Down, eval_time: 3m, exp_alerts: [{exp_labels: {severity: page, instance: i}, exp_annotations: {summary: 'i 0 ', none: ''}}]}",
        true,
        All,
    ),
    (
        "annotations that came to nothing are there",
        "tests:
  - interval: 1m
    input_series: [{series: 'up{instance=\"i\"}', values: 0x5}]
    alert_rule_test:
      - {alertname: Down, eval_time: 3m, exp_alerts: [{exp_labels: {severity: page, instance: i}, exp_annotations: {summary: 'i 0 '}}]}",
        false,
        All,
    ),
    (
        "labels that came to nothing are not",
        "tests:
  - interval: 1m
    input_series: [{series: 'up{instance=\"i\"}', values: 0x5}]
    alert_rule_test:
      - {alertname: Down, eval_time: 3m, exp_alerts: [{exp_labels: {severity: page, instance: i, empty: ''}, exp_annotations: {summary: 'i 0 ', none: ''}}]}",
        false,
        All,
    ),
    (
        "alerts are as the step before left them, and end with their series",
        "evaluation_interval: 30s
group_eval_order: [a, b]
tests:
  - interval: 1m
    external_labels: {cluster: eu}
    input_series: [{series: 'up{instance=\"i\"}', values: '1 0x3 _x2 1'}]
    alert_rule_test:
      - {alertname: Down, eval_time: 1m, exp_alerts: []}
      - {alertname: Down, eval_time: 2m59s}
      - {alertname: Down, eval_time: 3m15s, exp_alerts: [{exp_labels: {severity: page, instance: i}, exp_annotations: {summary: 'i 0 eu', none: ''}}]}
      - {alertname: Down, eval_time: 7m}
      - {alertname: Nobody, eval_time: 1m}",
        true,
        All,
    ),
    (
        "groups in order see what those before have recorded",
        "group_eval_order: [a, b]
tests:
  - interval: 1m
    input_series: [{series: 'x{job=\"a\"}', values: '0+1x5 stale 1x2 -2+3x4 5 _ 6'}]
    promql_expr_test:
      - {expr: 'job:x:twice', eval_time: 3m, exp_samples: [{labels: 'job:x:twice{job=\"a\"}', value: 6}]}
      - {expr: 'job:x:twice', eval_time: 6m}
      - {expr: 'x', eval_time: 10m, exp_samples: [{labels: 'x{job=\"a\"}', value: -2}]}",
        true,
        All,
    ),
    (
        "numbers are YAML's",
        "tests:
  - interval: 1m
    input_series: [{series: a, values: '1e1 1.5 -Inf .5 5'}]
    promql_expr_test:
      - {expr: '8', exp_samples: [{value: 010}]}
      - {expr: '255', exp_samples: [{value: 0xFF}]}
      - {expr: '5', exp_samples: [{value: 0b101}]}
      - {expr: '1000', exp_samples: [{value: 1_000}]}
      - {expr: '8', exp_samples: [{value: 08}]}
      - {expr: a, eval_time: 2m, exp_samples: [{labels: a, value: -.inf}]}
      - {expr: '0.5', exp_samples: [{value: 0.5}]}
      - {expr: a, eval_time: 3m, exp_samples: [{labels: a, value: 5e-1}]}",
        true,
        All,
    ),
    (
        "NaN is nothing that can be expected",
        "tests: [{promql_expr_test: [{expr: NaN, exp_samples: [{value: .nan}]}]}]",
        false,
        All,
    ),
    (
        "repeated blanks, and times without a sample",
        "tests:
  - interval: 1m
    input_series: [{series: a, values: '1 _x3 5'}, {series: b, values: '1x2 _ 4-1x2'}]
    promql_expr_test:
      - {expr: 'count_over_time(a[10m])', eval_time: 9m, exp_samples: [{labels: '{}', value: 2}]}
      - {expr: 'sum_over_time(b[10m])', eval_time: 9m, exp_samples: [{labels: '{}', value: 12}]}",
        true,
        All,
    ),
    (
        "histograms",
        "tests:
  - interval: 1m
    input_series: [{series: h, values: '{{schema:1 sum:10 count:4 buckets:[1 2] offset:1 n_buckets:[0 1]}}x3'}]
    promql_expr_test:
      - {expr: 'histogram_count(h)', eval_time: 2m, exp_samples: [{value: 4}]}
      - {expr: 'h', exp_samples: [{labels: h, histogram: '{{schema:1 sum:10 count:4 buckets:[1 2] offset:1 n_buckets:[0 1]}}'}]}",
        true,
        Younger,
    ),
    (
        "a time to start at",
        "tests:
  - start_timestamp: 2020-02-29T00:00:00Z
    input_series: [{series: a, values: 0+1x10}]
    promql_expr_test:
      - {expr: 'time() + a', eval_time: 1m, exp_samples: [{value: 1582934461}]}
      - {expr: 'day_of_month()', eval_time: 0, exp_samples: [{value: 29}]}",
        true,
        Younger,
    ),
    (
        "neighbours are equal where that is asked for",
        "fuzzy_compare: true
tests: [{promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]}]",
        true,
        Younger,
    ),
    (
        "neighbours are not equal where it is not",
        "tests: [{promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]}]",
        false,
        All,
    ),
    ("a file without tests", "tests: []", true, All),
    ("rules that are not there", "rule_files: [absent.yml]\ntests: [{}]", true, All),
    ("a group twice in the order", "group_eval_order: [a, a]", false, All),
    ("a series that is none", "tests: [{input_series: [{series: 'a{', values: 1}]}]", false, All),
    ("values that are none", "tests: [{input_series: [{series: a, values: 1 x}]}]", false, All),
    ("an alert without a name", "tests: [{alert_rule_test: [{eval_time: 1m}]}]", false, All),
    ("a range", "tests: [{promql_expr_test: [{expr: 'a[5m]'}]}]", false, All),
    ("a text", "tests: [{promql_expr_test: [{expr: '\"a\"'}]}]", false, All),
    ("a field nobody knows", "tests: [{input: []}]", false, All),
];

/// Writes a suite beside the rules it is for.
fn write(folder: &Path, suite: &str) {
    fs::write(folder.join("r.yml"), RULES).expect("a file");
    let rule_files = if suite.contains("rule_files:") {
        ""
    } else {
        "rule_files: [r.yml]\n"
    };
    fs::write(folder.join("suite"), format!("{rule_files}{suite}\n")).expect("a file");
}

#[test]
fn suites_of_unusual_kinds_end_as_with_promtool() {
    let folder = tempfile::tempdir().unwrap();
    let has_promtool = Path::new(PROMTOOL).exists();
    for (what, suite, passes, judge) in SUITES {
        write(folder.path(), suite);
        let file = folder.path().join("suite");
        let tested = UnitTests::run_file(&file, &UnitTestOptions::default(), &|| Duration::ZERO);
        let failures: Vec<&str> = tested.failures().collect();
        assert_eq!(tested.passed(), *passes, "{what}\n{}", failures.join("\n"));
        if has_promtool && matches!(judge, All) {
            let output = Command::new(PROMTOOL)
                .args(["test", "rules"])
                .arg(&file)
                .output();
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), *passes, "promtool: {what}\n{said}");
        }
    }
}

#[test]
fn tests_are_chosen_by_the_names_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "promql_expr_test: [{expr: 1, exp_samples: [{value: 2}]}]";
    write(
        folder.path(),
        &format!("tests: [{{{wrong}}}, {{name: b, {wrong}}}]"),
    );
    for (pattern, expected) in [
        ("b", vec!["b"]),
        ("unnamed", vec![]),
        ("^$", vec!["unnamed#0"]),
        ("", vec!["unnamed#0", "b"]),
    ] {
        let options = UnitTestOptions {
            run: vec![model::unanchored_regex(pattern).unwrap()],
            ..UnitTestOptions::default()
        };
        let tested =
            UnitTests::run_file(&folder.path().join("suite"), &options, &|| Duration::ZERO);
        let names: Vec<&str> = tested.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, expected, "{pattern}");
    }
}
