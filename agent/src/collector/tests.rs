use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use clock::{Clock, SimulatedClock};
use exposition::Format;
use host::{CollectorName, Host, HostConfig, Paths};
use model::TimestampMs;
use rows::{CohortId, Row};
use runtime::{QueueReceiver, WhenFull, queue};
use telemetry::{Readiness, Registry};
use tempfile::TempDir;

use super::*;
use crate::latest::Latest;

const SECOND: Duration = Duration::from_secs(1);
const START_MS: i64 = 1_700_000_000_000;
const LOAD: &str = "0.50 0.25 0.125 1/100 4242\n";

/// A collector of one small collector, on a machine made of files.
struct Bench {
    proc: TempDir,
    clock: Arc<SimulatedClock>,
    collector: Collector,
    updates: QueueReceiver<Update>,
    latest: Arc<Latest>,
    metrics: Metrics,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        let proc = tempfile::tempdir().unwrap();
        std::fs::write(proc.path().join("loadavg"), LOAD).unwrap();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs());
        let clock = Arc::new(SimulatedClock::starting_at(wall));
        let shared: SharedClock = Arc::<SimulatedClock>::clone(&clock);
        let config = HostConfig {
            paths: Paths {
                procfs: proc.path().to_owned(),
                ..Paths::default()
            },
            collectors: BTreeMap::from([
                (CollectorName::Loadavg, host::Tier::Fast),
                (CollectorName::Uname, host::Tier::Slow),
            ]),
            ..HostConfig::default()
        };
        let host = Host::new(&config, Arc::clone(&shared)).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::new(&registry);
        let latest = Arc::new(Latest::of_node());
        let id = "n1".parse().unwrap();
        let collection = Collection::new(host, &id, registry, Arc::clone(&latest), metrics.clone());
        let (sender, updates) = queue("updates", capacity, WhenFull::Reject);
        let collector = Collector::new(collection, SECOND, shared, sender, metrics.clone());
        Self {
            proc,
            clock,
            collector,
            updates,
            latest,
            metrics,
        }
    }

    fn tick(&mut self) -> Option<Update> {
        assert!(self.collector.tick(), "the queue is open");
        self.updates.try_receive()
    }

    fn tick_after(&mut self, pause: Duration) -> Option<Update> {
        self.clock.advance(pause);
        self.tick()
    }
}

fn times(update: &Update) -> Vec<(CohortId, u64, i64)> {
    let of = |row: &Arc<Row>| (row.cohort, row.counter, row.at.0 - START_MS);
    update.rows.iter().map(of).collect()
}

fn series(update: &Update) -> Vec<String> {
    let definitions = update.definitions.iter();
    let labels = definitions.flat_map(|definition| &definition.series);
    labels.map(|series| series.labels.to_string()).collect()
}

#[test]
fn the_first_tick_brings_everything_and_later_ones_what_is_due() {
    let mut bench = Bench::new(4);
    let first = bench.tick().unwrap();
    let (fast, slow, own) = (CohortId(0), CohortId(1), CohortId(2));
    assert_eq!(times(&first), [(fast, 0, 0), (slow, 0, 0), (own, 0, 0)]);
    let labels = series(&first);
    for expected in [
        r#"up{instance="n1", job="node-exporter"}"#,
        r#"node_load1{instance="n1", job="node-exporter"}"#,
        r#"node_scrape_collector_success{collector="loadavg", instance="n1", job="node-exporter"}"#,
        r#"up{instance="n1", job="promontory-agent"}"#,
        r#"promontory_agent_ticks_total{instance="n1", job="promontory-agent"}"#,
    ] {
        assert!(
            labels.iter().any(|l| l == expected),
            "{expected} in {labels:#?}"
        );
    }
    let described: Vec<&str> = first.metadata.iter().map(|m| &*m.metric).collect();
    assert!(
        described.contains(&"node_load1") && described.contains(&"promontory_agent_ticks_total")
    );
    let second = bench.tick_after(SECOND).unwrap();
    assert_eq!(times(&second), [(fast, 1, 1_000)]);
    assert!(second.definitions.is_empty() && second.metadata.is_empty());
    assert_eq!(
        bench.tick_after(SECOND / 2).map(|u| times(&u)),
        None,
        "nothing is due"
    );
    let late = bench.tick_after(SECOND * 13).unwrap();
    assert_eq!(times(&late), [(fast, 2, 14_500)], "as late as it was");
    let slow_too = bench.tick_after(SECOND / 2).unwrap();
    assert_eq!(
        times(&slow_too),
        [(fast, 3, 15_000), (slow, 1, 15_000), (own, 1, 15_000)]
    );
    assert_eq!(bench.metrics.ticks.value(), 4.0);
    assert_eq!(bench.metrics.missed.value(), 12.0);
}

#[test]
fn a_tick_without_room_is_not_collected_and_counters_have_no_gap() {
    let mut bench = Bench::new(2);
    for _ in 0..5 {
        assert!(bench.collector.tick());
        bench.clock.advance(SECOND);
    }
    assert_eq!(bench.metrics.dropped.value(), 3.0);
    let mut counters = Vec::new();
    while let Some(update) = bench.updates.try_receive() {
        counters.push(times(&update)[0]);
    }
    counters.push(times(&bench.tick().unwrap())[0]);
    let fast = CohortId(0);
    assert_eq!(counters, [(fast, 0, 0), (fast, 1, 1_000), (fast, 2, 5_000)]);
}

#[test]
fn rows_keep_their_distance_when_ticks_are_a_little_late_and_steps_are_counted() {
    let mut bench = Bench::new(4);
    bench.tick().unwrap();
    let at = |bench: &mut Bench, ms| {
        let update = bench.tick_after(Duration::from_millis(ms)).unwrap();
        times(&update)[0].2
    };
    assert_eq!(at(&mut bench, 1_007), 1_000, "7 ms late");
    assert_eq!(at(&mut bench, 993), 2_000);
    assert_eq!(at(&mut bench, 1_300), 3_300, "300 ms late");
    assert_eq!(bench.metrics.clock_steps.value(), 0.0);
    bench.clock.step_wall(bench.clock.wall() + SECOND * 60);
    assert_eq!(at(&mut bench, 700), 64_000);
    assert_eq!(bench.metrics.clock_steps.value(), 1.0);
    bench.clock.step_wall(bench.clock.wall() - SECOND * 60);
    assert_eq!(at(&mut bench, 1_000), 5_000);
    assert_eq!(bench.metrics.clock_steps.value(), 2.0);
}

#[test]
fn what_is_shown_is_the_last_row_without_the_labels_of_the_target() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.latest.expose(Format::Text), "");
    bench.tick().unwrap();
    let text = bench.latest.expose(Format::Text);
    assert!(
        text.contains(
            "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.5\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("node_scrape_collector_success{collector=\"uname\"} 1\n"),
        "both tiers in one family"
    );
    assert_eq!(
        text.matches("# TYPE node_scrape_collector_success").count(),
        1
    );
    assert!(!text.contains("n1") && !text.contains("\nup "), "{text}");
    assert!(
        bench
            .latest
            .expose(Format::OpenMetrics)
            .ends_with("# EOF\n")
    );
    std::fs::write(bench.proc.path().join("loadavg"), "gone wrong").unwrap();
    bench.tick_after(SECOND).unwrap();
    let text = bench.latest.expose(Format::Text);
    assert!(!text.contains("node_load1 "), "absent is not shown: {text}");
    assert!(text.contains("node_scrape_collector_success{collector=\"loadavg\"} 0\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thread_collects_until_it_is_told_to_stop() {
    let Bench {
        clock,
        collector,
        mut updates,
        proc: _proc,
        ..
    } = Bench::new(4);
    let (stop, readiness) = (Token::new(), Readiness::new());
    let ready = readiness.condition("collection", "nothing yet");
    let tasks = runtime::Tasks::new("test");
    let thread = {
        let stop = stop.clone();
        tasks.spawn_blocking("collector", move || collector.run(&stop, &ready))
    };
    let first = updates.receive().await.unwrap();
    assert_eq!(first.rows[0].at, TimestampMs(START_MS));
    // The thread sleeps by the machine's clock until the next tick, which the simulated one has not reached: stopping wakes it.
    assert_eq!(clock.monotonic(), Monotonic::ORIGIN);
    stop.stop();
    thread.await.unwrap();
    assert!(readiness.is_ready());
    assert!(updates.receive().await.is_none(), "the last sender is gone");
}
