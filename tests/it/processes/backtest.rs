//! A backtest of what an aggregator has lived through tells what that told, whether it asks it over HTTP or reads its folder.

use std::collections::BTreeMap;
use std::fs;

use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::processes::{
    Aggregator, PATIENCE, Receivers, Service, post_body, tool, wait_until, write_series,
};

const RULES: &str = "groups:
- name: heat
  interval: 1s
  rules:
  - {record: 'heat:max', expr: max(heat)}
  - {alert: Hot, expr: 'heat > 5', labels: {severity: page}}
  - {alert: AnyHot, expr: 'heat:max > 5', for: 2s}
";
const ROUTE: &str = "route: {receiver: all, group_by: ['...'], group_wait: 50ms, group_interval: 1s, repeat_interval: 1h}\n";

/// Statuses in the order that they were told, by group.
type Told = BTreeMap<String, Vec<String>>;

struct World {
    aggregator: Aggregator,
    receivers: Receivers,
    folder: TempDir,
}

impl World {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let receivers = Receivers::start();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let rules = write("rules.yml", RULES);
        let config = write("promontory.yml", &format!("rule_files: ['{rules}']\n"));
        let url = receivers.url(Service::Webhook);
        let alerting = write(
            "alertmanager.yml",
            &format!("{ROUTE}receivers: [{{name: all, webhook_configs: [{{url: '{url}'}}]}}]\n"),
        );
        let aggregator = Aggregator::new(&[
            "--config.file",
            &config,
            "--alertmanager.config-file",
            &alerting,
        ]);
        Self {
            aggregator,
            receivers,
            folder,
        }
    }

    fn heat(&self, place: &str, value: f64) {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = vec![label("__name__", "heat"), label("place", place)];
        let taken = write_series(self.aggregator.web(), &[(labels, vec![(now().0, value)])]);
        assert!(taken, "the sample is taken");
    }

    /// What people were told.
    fn told(&self) -> Told {
        let mut told = Told::new();
        for request in self.receivers.taken_since(0) {
            let text = |name: &str| request.body[name].as_str().unwrap_or_default().to_owned();
            told.entry(text("groupKey"))
                .or_default()
                .push(text("status"));
        }
        told
    }

    /// Waits until the group of an alert was told of last so, and so often in all.
    #[track_caller]
    fn await_told(&self, part: &str, times: usize) {
        wait_until(
            PATIENCE,
            &format!("{part} to be told {times} times"),
            || {
                let told = self.told();
                let mut groups = told.iter().filter(|(group, _)| group.contains(part));
                groups
                    .any(|(_, statuses)| statuses.len() == times)
                    .then_some(())
            },
        );
    }

    /// Runs the backtest over the last minutes; returns what it prints.
    fn backtest(&self, until: TimestampMs, from: &[&str]) -> String {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (rules, alerting) = (path("rules.yml"), path("alertmanager.yml"));
        let until = promql::number::rfc3339(until.0);
        let mut arguments = vec![
            "backtest",
            "--rules",
            &rules,
            "--alertmanager-config",
            &alerting,
        ];
        arguments.extend(["--since", "10m", "--warm-up", "0s", "--until", &until]);
        arguments.extend(["--output", "json"]);
        arguments.extend(from);
        tool(&arguments).success()
    }
}

fn now() -> TimestampMs {
    TimestampMs::from(SystemClock::new().wall())
}

#[test]
fn a_backtest_tells_what_was_told() {
    let mut world = World::start();
    world.heat("a", 9.0);
    world.await_told("place=\"a\"", 1);
    world.await_told("AnyHot", 1);
    world.heat("b", 7.0);
    world.await_told("place=\"b\"", 1);
    world.heat("a", 1.0);
    world.await_told("place=\"a\"", 2);
    world.heat("b", 1.0);
    world.await_told("place=\"b\"", 2);
    world.await_told("AnyHot", 2);
    world.heat("a", 8.0);
    world.await_told("place=\"a\"", 3);
    world.await_told("AnyHot", 3);

    let (told, until) = (world.told(), now());
    let over_http = world.backtest(until, &["--url", &world.aggregator.url()]);
    assert_eq!(replayed(&over_http), told);

    world.aggregator.stop();
    let data = world.aggregator.data().display().to_string();
    assert_eq!(world.backtest(until, &["--storage.path", &data]), over_http);
}

#[test]
fn silences_of_the_aggregator_hold_in_a_backtest() {
    let mut world = World::start();
    let starts_at = promql::number::rfc3339(now().0);
    let ends_at = promql::number::rfc3339(now().0 + 3_600_000);
    let silence = json!({
        "matchers": [{"name": "place", "value": "a", "isRegex": false, "isEqual": true}],
        "startsAt": starts_at, "endsAt": ends_at, "createdBy": "me", "comment": "works",
    });
    let (headers, body) = ("content-type: application/json\r\n", silence.to_string());
    let answer = post_body(
        world.aggregator.web(),
        "/api/v2/silences",
        headers,
        body.as_bytes(),
    );
    assert_eq!(answer.map(|answer| answer.status), Some(200));
    world.heat("a", 9.0);
    world.heat("b", 9.0);
    world.await_told("place=\"b\"", 1);
    world.await_told("AnyHot", 1);

    let (told, until) = (world.told(), now());
    assert_eq!(told.len(), 2, "{told:?}");
    let url = world.aggregator.url();
    assert_eq!(replayed(&world.backtest(until, &["--url", &url])), told);
    world.aggregator.stop();
    let data = world.aggregator.data().display().to_string();
    let of_folder = replayed(&world.backtest(until, &["--storage.path", &data]));
    assert_eq!(
        of_folder.len(),
        3,
        "silences are not asked of a folder: {of_folder:?}"
    );
}

/// Returns what a backtest says that was told.
fn replayed(output: &str) -> Told {
    let answer: Value = serde_json::from_str(output).expect("JSON");
    assert_eq!(answer["failures"], 0);
    let mut replayed = Told::new();
    for notification in answer["notifications"].as_array().expect("a list") {
        let text = |name: &str| notification[name].as_str().unwrap_or_default().to_owned();
        replayed
            .entry(text("group"))
            .or_default()
            .push(text("status"));
    }
    replayed
}

#[test]
fn who_cannot_be_asked_is_named() {
    let folder = TempDir::new().expect("a folder");
    let rules = folder.path().join("rules.yml");
    fs::write(&rules, RULES).expect("a file");
    let rules = rules.display().to_string();
    let refused = tool(&["backtest", "--rules", &rules, "--url", "http://127.0.0.1:1"]).failure(2);
    assert!(refused.contains("127.0.0.1:1"), "{refused}");
}
