use std::path::Path;

use clock::SystemClock;
use exposition::Format;
use http_shell::{Handler, HandlerFuture, Limits, Listen, Request, Response, Server, StatusCode};
use model::{Labels, TimestampMs};
use telemetry::Registry;
use tokio::sync::{Semaphore, watch};

use super::*;

/// An Alertmanager that remembers the bodies it was posted; each answer needs a permit.
#[derive(Debug)]
struct Peer {
    status: StatusCode,
    permits: Semaphore,
    /// How many alerts it was posted.
    alerts: watch::Sender<usize>,
    bodies: Mutex<Vec<serde_json::Value>>,
}

/// An Alertmanager's side of a connection.
struct Served(Arc<Peer>);

impl Handler for Served {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let count = body.as_array().unwrap().len();
            self.0.bodies.lock().unwrap().push(body);
            self.0.alerts.send_modify(|alerts| *alerts += count);
            self.0.permits.acquire().await.unwrap().forget();
            Response::text(self.0.status, "")
        })
    }
}

impl Peer {
    /// Starts one that gives so many answers; returns it and its address.
    async fn start(status: StatusCode, answers: usize, tasks: &Tasks) -> (Arc<Self>, String) {
        let peer = Arc::new(Self {
            status,
            permits: Semaphore::new(answers),
            alerts: watch::Sender::new(0),
            bodies: Mutex::default(),
        });
        let listen = Listen::Tcp {
            address: "127.0.0.1:0".to_owned(),
            web_config: None,
        };
        let server = Server::bind(&listen, Limits::default(), tasks)
            .await
            .unwrap();
        let address = server.local_address().unwrap().to_string();
        let serving = server.serve(Arc::new(Served(Arc::clone(&peer))), Token::new());
        tasks.spawn("peer", serving).detach();
        (peer, address)
    }

    /// Waits until it was posted so many alerts.
    async fn await_alerts(&self, count: usize) {
        let mut alerts = self.alerts.subscribe();
        alerts.wait_for(|alerts| *alerts >= count).await.unwrap();
    }

    /// Returns the names of the alerts of each batch.
    fn batches(&self) -> Vec<Vec<String>> {
        let names = |body: &serde_json::Value| {
            let alerts = body.as_array().unwrap().iter();
            let name =
                |alert: &serde_json::Value| alert["labels"]["n"].as_str().unwrap().to_owned();
            alerts.map(name).collect()
        };
        self.bodies.lock().unwrap().iter().map(names).collect()
    }
}

struct World {
    tasks: Tasks,
    registry: Registry,
    notifier: Notifier,
}

impl World {
    fn new(queue_capacity: usize, batch_max: usize) -> Self {
        let registry = Registry::new();
        let config = NotifierConfig {
            queue_capacity,
            batch_max,
            drains: true,
            reach: Reach::Ordinary,
        };
        let timer = Timer::new(Arc::new(SystemClock::new()));
        Self {
            tasks: Tasks::new("test"),
            notifier: Notifier::new(config, timer, &registry),
            registry,
        }
    }

    fn load(&self, alerting: &str) {
        let text = format!("alerting: {alerting}\n");
        let config = Config::read(Path::new("p.yml"), &text).unwrap();
        self.notifier.load(config);
    }

    fn send(&self, numbers: std::ops::Range<u32>) {
        self.notifier.send(numbers.map(|number| {
            let pairs = [
                ("n".to_owned(), number.to_string()),
                ("replica".to_owned(), "a".to_owned()),
            ];
            Alert {
                labels: Labels::from_pairs(pairs).unwrap(),
                annotations: Labels::empty(),
                starts_at: TimestampMs(0),
                ends_at: TimestampMs(1),
                generator_url: String::new(),
            }
        }));
    }

    /// Posts what waits, and ends.
    async fn end(self) -> String {
        let stop = Token::new();
        stop.stop();
        self.notifier.run(stop).await;
        self.registry.expose(Format::Text)
    }
}

fn value(exposed: &str, series: &str) -> f64 {
    let line = exposed
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_relabelled_and_posted_in_batches_to_everyone() {
    let world = World::new(100, 3);
    let (first, first_at) = Peer::start(StatusCode::OK, 100, &world.tasks).await;
    let (second, second_at) = Peer::start(StatusCode::OK, 100, &world.tasks).await;
    world.load(&format!(
        "{{alert_relabel_configs: [{{regex: replica, action: labeldrop}}], alertmanagers: [{{static_configs: [{{targets: ['{first_at}']}}]}}, {{static_configs: [{{targets: ['{second_at}']}}], alert_relabel_configs: [{{source_labels: [n], regex: '[0-4]', action: drop}}]}}]}}"
    ));
    assert_eq!(world.notifier.alertmanagers().active.len(), 2);
    world.send(0..8);
    let exposed = world.end().await;
    let batches = first.batches();
    assert_eq!(batches.concat(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert_eq!(second.batches().concat(), ["5", "6", "7"]);
    let bodies = first.bodies.lock().unwrap();
    assert!(bodies[0][0]["labels"].get("replica").is_none());
    let url = format!("{{alertmanager=\"http://{first_at}/api/v2/alerts\"}}");
    let count = |name: &str| value(&exposed, &format!("promontory_notifications_{name}{url}"));
    assert!((count("sent_total") - 8.0).abs() < 0.5, "{exposed}");
    assert!(count("dropped_total") < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_loses_the_oldest_and_keeps_nobody_from_hearing() {
    let world = World::new(4, 2);
    let (hanging, hanging_at) = Peer::start(StatusCode::OK, 0, &world.tasks).await;
    let (healthy, healthy_at) = Peer::start(StatusCode::OK, 100, &world.tasks).await;
    world.load(&format!(
        "{{alertmanagers: [{{static_configs: [{{targets: ['{hanging_at}', '{healthy_at}']}}]}}]}}"
    ));
    world.send(0..1);
    hanging.await_alerts(1).await;
    for number in 1..20 {
        world.send(number..number + 1);
        healthy.await_alerts(number as usize + 1).await;
    }
    hanging.permits.add_permits(100);
    let exposed = world.end().await;
    assert_eq!(healthy.batches().concat().len(), 20);
    assert_eq!(hanging.batches().concat(), ["0", "16", "17", "18", "19"]);
    let series = format!(
        "promontory_notifications_dropped_total{{alertmanager=\"http://{hanging_at}/api/v2/alerts\"}}"
    );
    assert!((value(&exposed, &series) - 15.0).abs() < 0.5, "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_and_not_tried_again() {
    let world = World::new(10, 10);
    let (peer, address) = Peer::start(StatusCode::INTERNAL_SERVER_ERROR, 100, &world.tasks).await;
    world.load(&format!(
        "{{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}"
    ));
    world.send(0..1);
    let exposed = world.end().await;
    assert_eq!(peer.batches().len(), 1);
    for name in ["errors_total", "dropped_total"] {
        let series = format!(
            "promontory_notifications_{name}{{alertmanager=\"http://{address}/api/v2/alerts\"}}"
        );
        assert!((value(&exposed, &series) - 1.0).abs() < 0.5, "{exposed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_name_alertmanagers_and_a_new_configuration_takes_hold() {
    let world = World::new(10, 10);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("am.json");
    std::fs::write(&file, r#"[{"targets": ["127.0.0.1:1"]}]"#).unwrap();
    world.load(&format!(
        "{{alertmanagers: [{{path_prefix: x, file_sd_configs: [{{files: ['{}']}}]}}]}}",
        file.display()
    ));
    let active = || world.notifier.alertmanagers().active;
    assert_eq!(active(), ["http://127.0.0.1:1/x/api/v2/alerts"]);
    std::fs::write(&file, r#"[{"targets": ["127.0.0.1:22"]}]"#).unwrap();
    world.notifier.0.look();
    assert_eq!(active(), ["http://127.0.0.1:22/x/api/v2/alerts"]);
    world.load("{}");
    assert!(active().is_empty());
}
