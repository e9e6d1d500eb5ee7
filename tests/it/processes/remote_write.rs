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
use tests::processes::{Aggregator, Process, Sender, free_port, get, now, pause, wait_until};

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
