//! Two aggregators that are a pair for alerting.

use std::fs;
use std::path::Path;
use std::process::Command;

use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::processes::{
    Aggregator, PATIENCE, Receivers, Relay, Service, Signal, Udp, free_port, get, post_body,
    wait_until,
};

const ROUTE: &str = "route: {receiver: all, group_by: [alertname], group_wait: 50ms, group_interval: 200ms, repeat_interval: 1h}\n";
const AMTOOL: &str = "/usr/bin/amtool";

/// The two, a relay between them, and whom they tell.
struct Pair {
    first: Aggregator,
    second: Aggregator,
    relay: Option<Relay>,
    receivers: Receivers,
    folder: TempDir,
}

impl Pair {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let receivers = Receivers::start();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let url = receivers.url(Service::Webhook);
        let alerting =
            format!("{ROUTE}receivers: [{{name: all, webhook_configs: [{{url: '{url}'}}]}}]\n");
        let (first, second) = (
            write("first.yml", &alerting),
            write("second.yml", &alerting),
        );
        let common = |name, alerting| {
            let mut flags = vec!["--alertmanager.config-file", alerting];
            flags.extend(["--cluster.peer-name", name]);
            flags.extend(["--cluster.peer-timeout", "6s"]);
            flags.extend(["--cluster.settle-timeout", "3s"]);
            flags
        };
        let listens = format!("127.0.0.1:{}", free_port());
        let place = vec!["--cluster.listen-address", &*listens];
        let first = Aggregator::new(&[common("first", &*first), place].concat());
        let token = write("token", &first.token(&["--peer"]));
        let relay = Relay::to(&listens, Udp::Forwarded);
        let address = relay.address();
        let dials = vec!["--cluster.peer", &*address, "--cluster.token-file", &token];
        let second = Aggregator::new(&[common("second", &*second), dials].concat());
        let pair = Self {
            first,
            second,
            relay: Some(relay),
            receivers,
            folder,
        };
        pair.await_link(1.0);
        pair
    }

    fn both(&self) -> [&Aggregator; 2] {
        [&self.first, &self.second]
    }

    #[track_caller]
    fn await_link(&self, state: f64) {
        await_metric(&self.first, "promontory_alerting_peer_up", state);
        await_metric(&self.second, "promontory_alerting_peer_up", state);
        if state > 0.5 {
            await_metric(&self.first, "promontory_alerting_peer_settled", 1.0);
            await_metric(&self.second, "promontory_alerting_peer_settled", 1.0);
        }
    }

    /// What was told of an alert: by their status, in their order.
    fn told(&self, alert: &str) -> Vec<String> {
        let taken = self.receivers.taken_since(0).into_iter();
        let about = taken.filter(|request| request.body["groupLabels"]["alertname"] == alert);
        about
            .map(|request| {
                request.body["status"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    #[track_caller]
    fn await_told(&self, alert: &str, expected: &[&str]) {
        wait_until(PATIENCE, &format!("{alert}: {expected:?}"), || {
            (self.told(alert) == expected).then_some(())
        });
    }
}

#[track_caller]
fn await_metric(aggregator: &Aggregator, series: &str, value: f64) {
    wait_until(PATIENCE, &format!("{series} {value}"), || {
        ((aggregator.metric(series) - value).abs() < 0.5).then_some(())
    });
}

/// Posts an alert that fires, or one that is over.
fn post_alert(aggregator: &Aggregator, name: &str, is_over: bool) {
    let mut alert = json!({"labels": {"alertname": name}, "startsAt": "2020-01-01T00:00:00Z"});
    if is_over {
        let now = TimestampMs::from(SystemClock::new().wall());
        alert["endsAt"] = promql::number::rfc3339(now.0).into();
    }
    let answer = post(aggregator, "/api/v2/alerts", &json!([alert]));
    assert_eq!(answer.0, 200, "{}", answer.1);
}

fn post(aggregator: &Aggregator, path: &str, body: &Value) -> (u16, Value) {
    let headers = "content-type: application/json\r\n";
    let answer = post_body(aggregator.web(), path, headers, body.to_string().as_bytes());
    let answer = answer.expect("it answers");
    (answer.status, answer.json())
}

/// Sets a silence, and returns its name.
fn silence(aggregator: &Aggregator, alert: &str) -> String {
    let body = json!({
        "matchers": [{"name": "alertname", "value": alert, "isRegex": false}],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "test", "comment": "a pair has it twice",
    });
    let (status, body) = post(aggregator, "/api/v2/silences", &body);
    assert_eq!(status, 200, "{body}");
    body["silenceID"].as_str().expect("a name").to_owned()
}

fn silences(aggregator: &Aggregator) -> Vec<(String, String)> {
    let answer = get(aggregator.web(), "/api/v2/silences").map(|answer| answer.json());
    let silences = answer.and_then(|answer| answer.as_array().cloned());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let silences = silences.unwrap_or_default().into_iter();
    let mut silences: Vec<_> = silences
        .map(|one| (text(&one["id"]), text(&one["status"]["state"])))
        .collect();
    silences.sort();
    silences
}

fn cluster(aggregator: &Aggregator) -> Value {
    let answer = get(aggregator.web(), "/api/v2/status").map(|answer| answer.json());
    answer
        .map(|answer| answer["cluster"].clone())
        .unwrap_or_default()
}

#[test]
fn a_pair_shares_silences_and_tells_once_whoever_dies() {
    let mut pair = Pair::start();
    let names = |aggregator: &Aggregator| {
        let peers = cluster(aggregator)["peers"].as_array().cloned();
        let names = peers.unwrap_or_default().into_iter();
        let mut names: Vec<Value> = names.map(|peer| peer["name"].clone()).collect();
        names.sort_by_key(Value::to_string);
        names
    };
    for aggregator in pair.both() {
        assert_eq!(names(aggregator), ["first", "second"]);
        assert_eq!(cluster(aggregator)["status"], "ready");
    }
    if Path::new(AMTOOL).exists() {
        amtool_shows(&pair.second);
    } else {
        println!("not asked: there is no amtool");
    }

    // A silence of either is the other's, and so is its end.
    let id = silence(&pair.first, "Quiet");
    silence(&pair.second, "Still");
    wait_until(PATIENCE, "two silences", || {
        let [one, other] = pair.both().map(silences);
        (one.len() == 2 && one == other).then_some(())
    });
    let path = format!("/api/v2/silence/{id}");
    delete(&pair.second, &path);
    wait_until(PATIENCE, "the end of a silence", || {
        silences(&pair.first)
            .contains(&(id.clone(), "expired".to_owned()))
            .then_some(())
    });

    // Both are given the alert, and one tells; the other, which has it earlier, has looked before that, and knows.
    for aggregator in [&pair.second, &pair.first] {
        post_alert(aggregator, "A", false);
        post_alert(aggregator, "Still", false);
    }
    pair.await_told("A", &["firing"]);
    await_metric(&pair.second, "promontory_alerting_peer_told_total", 1.0);
    assert_eq!(pair.told("A"), ["firing"]);

    // The second tells when the first is dead.
    pair.first.kill();
    post_alert(&pair.second, "B", false);
    pair.await_told("B", &["firing"]);

    // The first comes back, is told of the same, and knows; all is over, and told once.
    pair.first.start();
    pair.first.await_ready();
    pair.await_link(1.0);
    for aggregator in pair.both() {
        for alert in ["A", "B", "Still"] {
            post_alert(aggregator, alert, false);
        }
    }
    for aggregator in pair.both() {
        for alert in ["A", "B", "Still"] {
            post_alert(aggregator, alert, true);
        }
    }
    for aggregator in pair.both() {
        await_metric(
            aggregator,
            "promontory_alerting_entries{what=\"group\"}",
            0.0,
        );
    }
    for alert in ["A", "B"] {
        assert_eq!(pair.told(alert), ["firing", "resolved"], "{alert}");
    }
    assert_eq!(pair.told("Still"), Vec::<String>::new());
    assert_eq!(silences(&pair.first), silences(&pair.second));
}

#[test]
fn a_pair_that_is_cut_tells_twice_and_says_so() {
    let mut pair = Pair::start();
    drop(pair.relay.take());
    pair.await_link(0.0);
    for aggregator in pair.both() {
        post_alert(aggregator, "A", false);
    }
    pair.await_told("A", &["firing", "firing"]);
    for aggregator in pair.both() {
        await_metric(
            aggregator,
            "promontory_alerting_peer_attempts_alone_total",
            1.0,
        );
    }
}

#[test]
fn configurations_that_differ_are_told_by_both() {
    let mut pair = Pair::start();
    let (first, second) = (
        pair.folder.path().join("first.yml"),
        pair.folder.path().join("second.yml"),
    );
    let other = fs::read_to_string(&second).expect("a file");
    let other = other.replace("group_wait", "send_resolved_suppressed: false, group_wait");
    let await_differs = |pair: &Pair, value: f64| {
        for aggregator in pair.both() {
            await_metric(aggregator, "promontory_alerting_peer_config_differs", value);
        }
    };
    fs::write(&second, &other).expect("a file");
    pair.second.process().signal(Signal::HUP);
    await_differs(&pair, 1.0);
    let warning = "another configuration of alerting";
    pair.first.process().await_line(warning);
    pair.second.process().await_line(warning);
    fs::write(&first, &other).expect("a file");
    pair.first.process().signal(Signal::HUP);
    await_differs(&pair, 0.0);
}

#[test]
fn who_has_no_token_of_the_pair_is_no_part_of_it() {
    let first = Aggregator::new(&["--cluster.listen-address", "127.0.0.1:0"]);
    // A token of agents opens the port of agents alone.
    let token = first.folder().join("token");
    fs::write(&token, first.token(&[])).expect("a file");
    let listens = cluster(&first)["peers"][0]["address"].clone();
    let listens = listens.as_str().expect("an address").to_owned();
    let token = token.display().to_string();
    let mut second = Aggregator::new(&["--cluster.peer", &listens, "--cluster.token-file", &token]);
    second
        .process()
        .await_line("does not belong to the authority");
    assert!(second.metric("promontory_alerting_peer_up") < 0.5);
}

fn delete(aggregator: &Aggregator, path: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(aggregator.web()).expect("it listens");
    write!(stream, "DELETE {path} HTTP/1.0\r\nhost: x\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains(" 200 "), "{answer}");
}

/// Debian's amtool shows both.
fn amtool_shows(aggregator: &Aggregator) {
    let mut command = Command::new(AMTOOL);
    let output = command
        .args(["--alertmanager.url", &aggregator.url(), "--output=extended"])
        .args(["cluster", "show"])
        .output();
    let output = output.expect("amtool runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["ready", "first", "second"] {
        assert!(text.contains(part), "{text}");
    }
}
