//! Rules in a running aggregator: what they record is there, and what alerts have come to survives SIGKILL and reloads.

use std::fs;
use std::path::Path;

use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use serde_json::Value;
use tests::processes::{Aggregator, PATIENCE, Signal, get, tool, wait_until, write_series};

const RULES: &str = "groups:
  - name: g
    rules:
      - {record: 'job:load:sum', expr: 'sum by (job) (load)'}
      - {record: 'job:load:twice', expr: 'job:load:sum * 2'}
      - {alert: Loaded, expr: 'load > 5', for: 1h, labels: {severity: page}, annotations: {summary: '{{ $labels.job }} at {{ $value }}'}}
      - {alert: Now, expr: 'load > 5'}
";

fn send(aggregator: &Aggregator, value: f64) {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = vec![label("__name__", "load"), label("job", "j")];
    let now = TimestampMs::from(SystemClock::new().wall()).0;
    let taken = write_series(aggregator.web(), &[(labels, vec![(now, value)])]);
    assert!(taken, "the samples are taken");
}

fn rules(aggregator: &Aggregator) -> Vec<Value> {
    let answer = get(aggregator.web(), "/api/v1/rules").map(|answer| answer.json());
    let groups = answer.and_then(|answer| answer["data"]["groups"].as_array().cloned());
    let groups = groups.unwrap_or_default();
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    rules.flatten().cloned().collect()
}

/// Returns the state of an alerting rule and since when its one alert is active.
fn alert(aggregator: &Aggregator, name: &str) -> Option<(String, String)> {
    let rule = rules(aggregator)
        .into_iter()
        .find(|rule| rule["name"] == name)?;
    let alert = rule["alerts"].get(0)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((text(&alert["state"])?, text(&alert["activeAt"])?))
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
}

#[test]
fn results_are_recorded_and_alerts_survive_a_kill_and_a_reload() {
    let home = tempfile::tempdir().expect("a folder");
    let (config, file) = (home.path().join("p.yml"), home.path().join("r.yml"));
    write(
        &config,
        "global: {evaluation_interval: 1s, external_labels: {cluster: c}}\nrule_files: [r.yml]\n",
    );
    write(&file, RULES);
    let path = config.to_str().expect("utf-8");
    let mut aggregator = Aggregator::new(&["--config.file", path]);
    send(&aggregator, 7.0);
    wait_until(PATIENCE, "what rules record", || {
        (aggregator.query("job:load:twice{job=\"j\"}") == [14.0]).then_some(())
    });
    wait_until(PATIENCE, "alerts", || {
        let pending = aggregator
            .query("ALERTS{alertname=\"Loaded\", alertstate=\"pending\", severity=\"page\"}");
        let firing = aggregator.query("ALERTS{alertname=\"Now\", alertstate=\"firing\"}");
        (pending == [1.0] && firing == [1.0]).then_some(())
    });
    let before = wait_until(PATIENCE, "the alert among the rules", || {
        alert(&aggregator, "Loaded")
    });
    assert_eq!(before.0, "pending");
    assert!(aggregator.metric("promontory_rule_group_iterations_total") >= 0.0);

    aggregator.kill();
    aggregator.start();
    aggregator.await_ready();
    assert_eq!(alert(&aggregator, "Loaded"), Some(before.clone()));
    let now = alert(&aggregator, "Now").expect("an alert");
    assert_eq!(now.0, "firing");

    wait_until(PATIENCE, "evaluations of the second run", || {
        let rules = rules(&aggregator);
        (rules.iter().all(|rule| rule["health"] == "ok") && !rules.is_empty()).then_some(())
    });

    // One rule goes, and its series ends; the others are what they were.
    write(
        &file,
        &RULES.replace(
            "      - {record: 'job:load:twice', expr: 'job:load:sum * 2'}\n",
            "",
        ),
    );
    aggregator.process().signal(Signal::HUP);
    wait_until(PATIENCE, "the reload", || {
        (rules(&aggregator).len() == 3).then_some(())
    });
    wait_until(PATIENCE, "the end of the series", || {
        aggregator.query("job:load:twice").is_empty().then_some(())
    });
    assert_eq!(alert(&aggregator, "Loaded"), Some(before.clone()));

    // A bad file changes nothing.
    write(
        &file,
        "groups: [{name: g, rules: [{record: x, expr: '('}]}]",
    );
    aggregator.process().signal(Signal::HUP);
    aggregator.process().await_line("not reloaded");
    assert_eq!(alert(&aggregator, "Loaded"), Some(before));

    send(&aggregator, 1.0);
    wait_until(PATIENCE, "the alerts to end", || {
        aggregator.query("ALERTS").is_empty().then_some(())
    });
    aggregator.stop();
}

#[test]
fn rule_files_are_checked_and_tested_as_with_promtool() {
    let home = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        write(&path, text);
        path.to_str().expect("utf-8").to_owned()
    };
    let good = file("good.yml", RULES);
    let said = tool(&["check", "rules", &good]).success();
    assert_eq!(
        said,
        format!("Checking {good}\n  SUCCESS: 4 rules found\n\n")
    );
    let bad = file(
        "bad.yml",
        "groups: [{name: g, rules: [{record: a, expr: 'rate(x)'}]}]",
    );
    let complaint = tool(&["check", "rules", &good, &bad]).failure(1);
    assert!(complaint.contains(&format!("{bad}:1:")), "{complaint}");
    assert!(
        complaint
            .contains("group \"g\", rule 1, \"a\": could not parse expression: 1:6: parse error:"),
        "{complaint}"
    );
    let twice = file(
        "twice.yml",
        "groups: [{name: g, rules: [{record: a, expr: 1}, {record: a, expr: 2}]}]",
    );
    assert_eq!(tool(&["check", "rules", &twice]).code, Some(0));
    let lint = tool(&["check", "rules", "--lint-fatal", &twice]).failure(3);
    assert!(
        lint.contains("lint error 1 duplicate rule(s) found."),
        "{lint}"
    );
    assert_eq!(
        tool(&["check", "rules", "--lint", "none", "--lint-fatal", &twice]).code,
        Some(0)
    );

    let tests = file(
        "tests.yml",
        "rule_files: [good.yml]
tests:
  - name: right
    input_series: [{series: 'load{job=\"j\"}', values: 7x5}]
    alert_rule_test:
      - {eval_time: 1m, alertname: Now, exp_alerts: [{exp_labels: {job: j}}]}
    promql_expr_test:
      - {expr: 'job:load:sum', eval_time: 1m, exp_samples: [{labels: 'job:load:sum{job=\"j\"}', value: 7}]}
  - name: wrong
    promql_expr_test:
      - {expr: vector(1), exp_samples: [{value: 2}]}
",
    );
    assert_eq!(
        tool(&["test", "rules", "--run", "right", &tests]).success(),
        format!("Unit Testing:  {tests}\n  SUCCESS\n\n")
    );
    let junit = home.path().join("out.xml");
    let junit = junit.to_str().expect("utf-8");
    let complaint = tool(&["test", "rules", "--junit", junit, &tests]).failure(1);
    assert!(
        complaint.contains("    name: wrong,\n    expr: \"vector(1)\", time: 0s,\n        exp: {} 2E+00\n        got: {} 1E+00"),
        "{complaint}"
    );
    let written = fs::read_to_string(junit).expect("a report");
    assert!(written.contains("tests=\"2\" failures=\"1\""), "{written}");
}
