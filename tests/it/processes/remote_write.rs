//! Remote write through the deaths of an aggregator: what Debian's Prometheus sends, and what a sender of our own counts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use fastrand::Rng;
use model::TimestampMs;
use tests::processes::{
    Aggregator, PATIENCE, Process, Sender, free_port, get, now, pause, percent_encode, post,
    wait_until, write_message,
};
use tests::protobuf::Message;

const PEER: &str = "/usr/bin/prometheus";
const LONG: Duration = Duration::from_secs(90);

#[test]
fn what_prometheus_scrapes_is_here_through_a_kill_and_ends_when_it_ends() {
    if !Path::new(PEER).exists() {
        println!("skipped: there is no {PEER}");
        return;
    }
    let mut aggregator = Aggregator::new(&[]);
    let web = format!("127.0.0.1:{}", free_port());
    let config = aggregator.folder().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: self\n  static_configs:\n  - targets: ['{web}']\n\
         remote_write:\n- url: {}/api/v1/write\n  metadata_config:\n    send_interval: 1s\n",
        aggregator.url()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(PEER);
    command.current_dir(aggregator.folder());
    command.arg("--config.file").arg(&config);
    command
        .arg("--storage.tsdb.path")
        .arg(aggregator.folder().join("peer"));
    command.args(["--web.listen-address", &web]);
    let mut peer = Process::start(&mut command, aggregator.folder(), "prometheus");

    let series = "count({job=\"self\"})";
    wait_until(LONG, "the peer's series", || {
        aggregator
            .query(series)
            .first()
            .filter(|count| **count > 300.0)
            .map(drop)
    });
    let described = get(
        aggregator.web(),
        "/api/v1/metadata?metric=prometheus_build_info",
    );
    wait_until(LONG, "metadata", || {
        let text = described.as_ref().map(|answer| answer.body.clone());
        let now = get(
            aggregator.web(),
            "/api/v1/metadata?metric=prometheus_build_info",
        );
        let now = now.map(|answer| answer.body).or(text)?;
        now.contains("gauge").then_some(())
    });

    // What the sender has not been told is durable comes again; nothing is missing and nothing is there twice.
    aggregator.kill();
    aggregator.start();
    aggregator.await_ready();
    let samples = "max(count_over_time(up{job=\"self\"}[1h]))";
    let before = aggregator.query(samples).first().copied().unwrap_or(0.0);
    wait_until(LONG, "samples after the kill", || {
        let now = aggregator.query(samples).first().copied()?;
        (now >= before + 5.0).then_some(())
    });
    let gaps = "max(max_over_time(timestamp(up{job=\"self\"})[1h:1s]) - min_over_time(timestamp(up{job=\"self\"})[1h:1s])) + 1.5";
    let span = aggregator.query(gaps).first().copied().unwrap_or(0.0);
    let count = aggregator.query(samples).first().copied().unwrap_or(0.0);
    assert!(count <= span + 1.0, "{count} samples in {span} s");

    assert_eq!(peer.stop(), 0);
    let answer = get(aggregator.web(), "/metrics").expect("an answer");
    assert!(
        answer
            .body
            .contains("promontory_remote_write_samples_total")
    );
}

const DAY_MS: i64 = 86_400_000;

/// A request of 2.0 with one series, of this name.
fn request_2(name: &str, series: &Message) -> Message {
    let symbols = ["", "__name__", name];
    let request = symbols.iter().fold(Message::default(), |request, symbol| {
        request.bytes(4, symbol.as_bytes())
    });
    request.message(5, series)
}

fn sample(value: f64, at: i64) -> Message {
    Message::default().double(1, value).int(2, at)
}

#[test]
fn senders_are_told_what_was_stored_and_operators_can_take_it_out_again() {
    let aggregator = Aggregator::new(&["--web.enable-admin-api"]);
    let now_ms = TimestampMs::from(SystemClock::new().wall()).0;
    let series = Message::default()
        .packed(1, &[1, 2])
        .message(2, &sample(1.0, now_ms - 40 * DAY_MS))
        .message(2, &sample(2.0, now_ms))
        .message(2, &sample(3.0, now_ms + DAY_MS));
    let answer = write_message(aggregator.web(), &request_2("bounded", &series)).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.body);
    for part in ["too_old 1", "too_new 1", "the first is of bounded"] {
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    let written = |answer: &tests::processes::Answer| {
        ["samples", "histograms", "exemplars"].map(|what| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            answer.header(&name).map(str::to_owned)
        })
    };
    let of = |counts: [&str; 3]| counts.map(|count| Some(count.to_owned()));
    assert_eq!(written(&answer), of(["1", "0", "0"]));

    let span = Message::default().sint(1, 0).int(2, 2);
    let histogram = Message::default()
        .double(2, 3.0)
        .double(3, 4.5)
        .sint(4, -53)
        .message(11, &span)
        .double(13, 1.0)
        .double(13, 2.0)
        .int(15, now_ms)
        .double(16, 1.0)
        .double(16, 2.0);
    let series = Message::default().packed(1, &[1, 2]).message(3, &histogram);
    let answer = write_message(aggregator.web(), &request_2("custom", &series)).unwrap();
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(written(&answer), of(["0", "1", "0"]));
    let holds = |query: &str, expected: &[f64]| {
        wait_until(PATIENCE, query, || {
            (aggregator.query(query) == expected).then_some(())
        });
    };
    holds("bounded", &[2.0]);
    holds("histogram_count(custom)", &[3.0]);

    let admin = |call: &str| {
        let path = format!("/api/v1/admin/tsdb/{call}");
        post(aggregator.web(), &path).unwrap()
    };
    let selector = percent_encode("{__name__=\"bounded\"}");
    let deleted = admin(&format!("delete_series?match[]={selector}"));
    assert_eq!((deleted.status, &*deleted.body), (204, ""));
    holds("bounded", &[]);
    let values = get(aggregator.web(), "/api/v1/label/__name__/values").unwrap();
    assert!(!values.body.contains("bounded"), "{}", values.body);
    let cleaned = admin("clean_tombstones");
    assert_eq!((cleaned.status, &*cleaned.body), (204, ""));
    holds("bounded", &[]);
    let made = admin("snapshot");
    assert_eq!(made.status, 200, "{}", made.body);
    let name = made.json()["data"]["name"].as_str().unwrap().to_owned();
    let snapshot = aggregator.data().join("snapshots").join(name);
    let copy = Aggregator::stopped(&[]).at(&snapshot);
    let copy = started(copy);
    wait_until(PATIENCE, "what the snapshot has", || {
        (copy.query("histogram_count(custom)") == [3.0]).then_some(())
    });
    assert_eq!(copy.query("bounded"), Vec::<f64>::new());
}

fn started(mut aggregator: Aggregator) -> Aggregator {
    aggregator.start();
    aggregator.await_ready();
    aggregator
}

#[test]
fn what_is_switched_off_says_by_which_flag() {
    let aggregator = Aggregator::new(&["--web.disable-remote-write-receiver"]);
    let series = Message::default()
        .packed(1, &[1, 2])
        .message(2, &sample(1.0, 1));
    let answer = write_message(aggregator.web(), &request_2("off", &series)).unwrap();
    assert_eq!(answer.status, 404);
    let flag = "--web.disable-remote-write-receiver";
    assert!(answer.body.contains(flag), "{}", answer.body);
    for call in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        let answer = post(aggregator.web(), &format!("/api/v1/admin/tsdb/{call}")).unwrap();
        assert!(answer.body.contains("--web.enable-admin-api"), "{call}");
    }
}

/// Series of a sender, each with one sample in a request.
const SERIES: u32 = 2_000;
const SENDERS: u32 = 2;
/// What a whole storm comes to while the aggregator lives, at least.
const SAMPLES_A_SECOND: f64 = 100_000.0;
/// From a start to the answer that has what was acknowledged last.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a storm came to.
struct Calm {
    samples_a_second: f64,
    slowest_ready: Duration,
    figures: String,
}

#[test]
fn every_sample_that_was_acknowledged_is_there_once_and_right() {
    println!("{}", storm(0x5eed, 20).figures);
}

#[test]
#[ignore = "takes minutes: 200 kills; programs built for release"]
fn every_sample_that_was_acknowledged_is_there_once_and_right_in_a_long_storm() {
    let calm = storm(1, 200);
    println!("{}", calm.figures);
    assert!(
        calm.samples_a_second >= SAMPLES_A_SECOND,
        "{}",
        calm.figures
    );
    assert!(calm.slowest_ready <= READY_WITHIN, "{}", calm.figures);
}

/// Kills the aggregator so many times while senders send as fast as they are answered.
fn storm(seed: u64, kills: usize) -> Calm {
    let mut rng = Rng::with_seed(seed);
    let mut aggregator = Aggregator::new(&[]);
    let base_ms = TimestampMs::from(SystemClock::new().wall()).0;
    let senders: Vec<Sender> = (0..SENDERS).map(|lane| Sender::new(lane, SERIES)).collect();
    let (web, over) = (aggregator.web().to_owned(), AtomicBool::new(false));
    let mut up = Duration::ZERO;
    let mut slowest_ready = Duration::ZERO;
    thread::scope(|scope| {
        for sender in &senders {
            scope.spawn(|| sender.send_until(&web, base_ms, &over));
        }
        let mut started = now();
        for _ in 0..kills {
            pause(Duration::from_millis(rng.u64(100..600)));
            aggregator.kill();
            up += now().saturating_since(started);
            started = now();
            aggregator.start();
            for sender in &senders {
                await_acknowledged(&aggregator, sender);
            }
            slowest_ready = slowest_ready.max(now().saturating_since(started));
        }
        up += now().saturating_since(started);
        over.store(true, Ordering::Relaxed);
    });
    for sender in &senders {
        check(&aggregator, sender, seed);
    }
    let requests: u64 = senders.iter().map(Sender::acknowledged).sum();
    let failures: u64 = senders.iter().map(Sender::failures).sum();
    let samples = requests * u64::from(SERIES);
    assert!(
        samples > 1_000_000,
        "the storm was becalmed: {samples} samples"
    );
    let samples_a_second = samples as f64 / up.as_secs_f64();
    Calm {
        samples_a_second,
        slowest_ready,
        figures: format!(
            "remote write: {kills} kills, {samples} samples acknowledged ({samples_a_second:.0} a second while it lived): 0 missing, \
             0 doubled, 0 wrong; {failures} attempts failed; what was acknowledged last answered after {slowest_ready:.1?} at most; seed {seed:#x}"
        ),
    }
}

/// Waits until an aggregator that has just started is ready and has what it had acknowledged to a sender.
fn await_acknowledged(aggregator: &Aggregator, sender: &Sender) {
    let acknowledged = sender.acknowledged() as f64;
    let last = format!(
        "count_over_time(storm{{lane=\"{}\",series=\"{}\"}}[1d])",
        sender.lane(),
        SERIES - 1
    );
    wait_until(LONG, "what was acknowledged last", || {
        let count = aggregator.says_ready().then(|| aggregator.query(&last))?;
        let count = count.first().copied().unwrap_or(0.0);
        (count >= acknowledged).then_some(())
    });
}

/// Compares what an aggregator has of a sender with what it acknowledged.
fn check(aggregator: &Aggregator, sender: &Sender, seed: u64) {
    let all = sender.acknowledged() as f64;
    let mut sums = Vec::new();
    // In parts, each a moment's work for an unoptimised program on a busy machine.
    for part in 0..10 {
        let lane = sender.lane();
        let of_part = format!("storm{{lane=\"{lane}\",series=~\".*{part}\"}}[1d]");
        // The last one may have been acknowledged this very moment.
        wait_until(LONG, "all that was acknowledged", || {
            let counts = aggregator.query(&format!("count_over_time({of_part})"));
            let right = counts.iter().all(|count| *count == all);
            (right && !counts.is_empty()).then_some(())
        });
        sums.extend(aggregator.query(&format!("sum_over_time({of_part})")));
    }
    sums.sort_by(f64::total_cmp);
    assert_eq!(sums.len(), SERIES as usize, "seed {seed}: series");
    assert!(sums == sender.sums(), "seed {seed}: wrong values");
}
