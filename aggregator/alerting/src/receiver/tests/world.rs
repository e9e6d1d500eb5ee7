//! Notifications, and services that answer as they are told to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_shell::Reach;
use runtime::Tasks;
use template::{Alert, RouteLabels, Templates, Time, Zone};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::notification::{Deliver as _, Notification, Outcome};
use crate::receiver::exchange::{Request, Step};
use crate::receiver::rendering::Rendering;
use crate::receiver::{Sender, SenderConfig, load_templates, open};
use crate::{Config, Data, Integration, MatcherMode};

pub(super) const NOW: &str = "2026-03-14T09:05:07Z";

pub(super) fn time(text: &str) -> Time {
    Time::parse_rfc3339(text).unwrap()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn alert(status: &str, instance: &str) -> Alert {
    Alert {
        status: status.to_owned(),
        labels: map(&[
            ("alertname", "DiskFull"),
            ("instance", instance),
            ("severity", "critical"),
        ]),
        annotations: map(&[
            ("runbook_url", "https://runbooks.example.org/disk"),
            ("summary", "97% <full> & rising"),
            ("value", "97"),
        ]),
        starts_at: time("2026-03-14T08:00:00Z"),
        ends_at: if status == "firing" {
            Time::zero()
        } else {
            time("2026-03-14T08:30:00Z")
        },
        generator_url: "https://prom.example.org/graph?g0.expr=a&g0.tab=1".to_owned(),
        fingerprint: format!("f-{instance}"),
    }
}

/// Returns an integration as a file configures it.
pub(super) fn integration(kind: &str, settings: &str) -> Integration {
    let text = format!(
        "route: {{receiver: r}}\nreceivers:\n- name: r\n  {kind}_configs:\n  - {}\n",
        settings.trim().replace('\n', "\n    ")
    );
    let path = Path::new("/etc/am.yml");
    let config = Config::parse(path, &text, MatcherMode::Fallback, &Zone::utc());
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    config.receivers["r"].integrations[0].clone()
}

/// Returns a notification of one alert that fires.
pub(super) fn notification(kind: &str, settings: &str) -> Notification {
    Notification {
        receiver: "r".to_owned(),
        integration: Arc::new(integration(kind, settings)),
        group_key: "{}:{alertname=\"DiskFull\"}".to_owned(),
        data: Data {
            receiver: "r".to_owned(),
            status: "firing".to_owned(),
            alerts: vec![alert("firing", "db-1")],
            notification_reason: "first_notification".to_owned(),
            group_labels: map(&[("alertname", "DiskFull")]),
            common_labels: alert("firing", "db-1").labels,
            common_annotations: alert("firing", "db-1").annotations,
            route_labels: RouteLabels::default(),
            external_url: "https://am.example.org".to_owned(),
        },
        truncated_alerts: 0,
        remembered: BTreeMap::new(),
        at: time("2026-03-14T09:05:00Z"),
    }
}

/// The same, resolved.
pub(super) fn resolved(kind: &str, settings: &str) -> Notification {
    let mut notification = notification(kind, settings);
    notification.data.status = "resolved".to_owned();
    notification.data.alerts = vec![alert("resolved", "db-1")];
    notification
}

pub(super) fn templates() -> Templates {
    load_templates(&[]).unwrap()
}

/// Returns the first step of a delivery.
pub(super) fn step(notification: &Notification) -> Step {
    let templates = templates();
    open(&Rendering::new(notification, &templates, time(NOW))).unwrap()
}

/// Returns the first request of a delivery.
pub(super) fn request(notification: &Notification) -> Request {
    match step(notification) {
        Step::Send(request, _) => request,
        Step::Done(outcome) => panic!("nothing is sent: {outcome:?}"),
    }
}

pub(super) fn body(notification: &Notification) -> String {
    String::from_utf8(request(notification).body).unwrap()
}

pub(super) fn sender(reach: Reach) -> Sender {
    let config = SenderConfig {
        reach,
        within: Duration::from_secs(5),
        now: Arc::new(|| time(NOW)),
    };
    Sender::new(templates(), config)
}

pub(super) async fn deliver(notification: &Notification) -> Outcome {
    let notification = Arc::new(notification.clone());
    sender(Reach::Ordinary).deliver(&notification).await
}

/// What a service does with one connection.
pub(super) enum Act {
    /// Answers with these bytes.
    Say(String),
    /// Hangs up without a word, once the request is there.
    HangUp,
    /// Says nothing, and holds the line.
    Hang,
}

impl Act {
    pub(super) fn status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Say(format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
    }
}

/// A service of HTTP: plays its acts one after the other and keeps what it was sent.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
}

impl Service {
    pub(super) async fn playing(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::new("mock");
        let ears = Arc::clone(&heard);
        tasks
            .spawn("mock service", async move {
                let mut held = Vec::new();
                for act in VecDeque::from(acts) {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let request = read_request(&mut stream).await;
                    ears.lock().unwrap().push(request);
                    match act {
                        Act::Say(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        Act::HangUp => {}
                        Act::Hang => held.push(stream),
                    }
                }
                if !held.is_empty() {
                    std::future::pending::<()>().await;
                }
            })
            .detach();
        Self {
            address,
            heard,
            tasks,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the requests that came, head and body.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse::<usize>().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let count = stream.read(&mut chunk).await.unwrap();
        if count == 0 {
            return text;
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
}
