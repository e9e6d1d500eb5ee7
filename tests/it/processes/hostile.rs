//! Queries that mean ill, by the thousand, in little memory, while samples come in: nothing falls over, and every refusal says why.
//!
//! The long form: `cargo test --release -p tests -- --ignored --nocapture ten_thousand_hostile_queries`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use precedence::give_way;
use tests::hostile::{Hostile, Scene, Verdict};
use tests::processes::{
    Aggregator, FloatSeries, MemoryLimit, PATIENCE, Steady, Waits, get, now, wait_until,
    write_histograms, write_series,
};

/// What the aggregator may have.
const MEMORY_BYTES: u64 = 512 << 20;
/// Clients at once, each with one query or a crowd of them.
const CLIENTS: usize = 32;
/// Series of `wide`, each with some samples, and of `deep`, each with many.
const WIDE_SERIES: i64 = 10_000;
const WIDE_SAMPLES: i64 = 20;
const DEEP_SERIES: i64 = 20;
const DEEP_SAMPLES: i64 = 5_000;
const EVERY_MS: i64 = 15_000;
/// What a single attack may take without being noted.
const NOTED_BYTES: u64 = 24 << 20;
/// And how long.
const NOTED_TIME: Duration = Duration::from_millis(1_300);
/// What one may add to the process: all that queries may take together, a quarter of what the process may use, and a third of that for
/// what the allocator keeps and what stands in two places for an instant.
const ALONE_BYTES_MAX: u64 = MEMORY_BYTES / 10 * 9 / 4 / 3 * 4;
/// Series of one request of what is written first.
const SERIES_AT_ONCE: usize = 500;

/// What a run is made of.
#[derive(Clone, Copy)]
struct Run {
    seed: u64,
    attacks: u64,
    /// Requests that are measured before the attacks, and as many after them: from minute to minute, machines and their disks differ by as
    /// much as is looked for.
    calm: usize,
    /// How much longer the slowest hundredth of the requests may take during the attacks.
    slower_max: Option<f64>,
}

#[test]
fn hostile_queries_are_answered_or_refused_in_little_memory() {
    let report = withstand(Run {
        seed: 1,
        attacks: 500,
        calm: 100,
        slower_max: None,
    });
    println!("{report}");
}

#[test]
#[ignore = "takes many minutes"]
fn ten_thousand_hostile_queries() {
    let report = withstand(Run {
        seed: 2,
        attacks: 10_000,
        calm: 2_000,
        slower_max: Some(2.0),
    });
    println!("{report}");
}

/// What many at once hides: each is asked alone, and those that take much, or long, are named.
#[test]
#[ignore = "takes some ten minutes"]
fn no_hostile_query_alone_takes_more_than_it_may() {
    let (mut aggregator, scene) = aggregator();
    let hostile = Hostile::new(scene, 3);
    let mut beyond = Vec::new();
    for number in 0..10_000 {
        let attack = hostile.attack(number);
        if !attack.is_asked_whole() {
            continue;
        }
        aggregator.process().forget_memory_peak();
        let (before, begun) = (aggregator.process().memory(), now());
        let outcome = attack.launch(aggregator.web());
        let took = now().saturating_since(begun);
        let more = aggregator.process().memory_peak().saturating_sub(before);
        if more >= NOTED_BYTES || took >= NOTED_TIME {
            let (more, shape) = (more >> 20, attack.shape);
            println!("{more:>4} MiB {took:>9.1?}  attack {number}, {shape}: {outcome:?}");
        }
        assert_eq!(aggregator.process().ended(), None, "attack {number}");
        if more > ALONE_BYTES_MAX {
            beyond.push(number);
        }
    }
    assert!(beyond.is_empty(), "{beyond:?}");
}

/// Returns an aggregator in little memory, with what attacks are about.
fn aggregator() -> (Aggregator, Scene) {
    let limit = MemoryLimit::new(MEMORY_BYTES);
    let told = format!("{}", MEMORY_BYTES / 10 * 9);
    let mut flags = vec!["--query.timeout", "1s"];
    if !limit.is_group() {
        flags.extend(["--storage.memory.limit", &told]);
    }
    let mut aggregator = Aggregator::stopped(&flags).within(limit);
    aggregator.start();
    aggregator.await_ready();
    let scene = fill(&aggregator);
    (aggregator, scene)
}

/// Attacks an aggregator that takes samples meanwhile, and returns what came of it.
fn withstand(run: Run) -> String {
    let (mut aggregator, scene) = aggregator();

    let mut sender = Steady::connect(aggregator.web());
    let mut calm = sender.send(run.calm, &AtomicBool::new(false));
    let calm_before = calm.quantile(0.99);
    let begun = now();
    let (outcomes, pressed) = attack(run, scene, aggregator.web(), &mut sender);
    let took = now().saturating_since(begun);
    assert_eq!(
        aggregator.process().ended(),
        None,
        "it runs on\n{outcomes:?}"
    );
    wait_until(PATIENCE, "the last queries to end", || {
        let running = get(aggregator.web(), "/api/v1/status/queries")?.json();
        running["data"]["queries"]
            .as_array()?
            .is_empty()
            .then_some(())
    });
    let again = sender.send(run.calm, &AtomicBool::new(false));
    let calm_after = again.quantile(0.99);
    calm.add(again);

    let peak = aggregator.process().memory_peak();
    let kills = aggregator.memory_limit().map_or(0, MemoryLimit::kills);
    let mut report = format!(
        "hostile: seed {}, {} attacks in {took:.1?}; peak {} MiB, {kills} kills\n",
        run.seed,
        run.attacks,
        peak >> 20
    );
    for (outcome, count) in &outcomes {
        report.push_str(&format!("  {count:>6}  {outcome}\n"));
    }
    let (before, during) = (calm.quantile(0.99), pressed.quantile(0.99));
    let slower = during.as_secs_f64() / before.as_secs_f64();
    report.push_str(&format!(
        "  ingest: p50 {:.1?} -> {:.1?}, p99 {before:.1?} ({:.1?} before, {:.1?} after) -> {during:.1?} ({slower:.1} times), slowest {:.1?} -> {:.1?}; {} requests, {} failed",
        calm.quantile(0.5),
        pressed.quantile(0.5),
        calm_before,
        calm_after,
        calm.quantile(1.0),
        pressed.quantile(1.0),
        pressed.len(),
        pressed.failures,
    ));
    assert!(peak <= MEMORY_BYTES && kills == 0, "{report}");
    assert_eq!(
        calm.failures + pressed.failures,
        0,
        "every request was acknowledged\n{report}"
    );
    let said = aggregator.process().output();
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(
        aggregator.query("count(last_over_time(deep[1d]))"),
        [20.0],
        "it answers"
    );
    assert!(
        run.slower_max.is_none_or(|most| slower <= most),
        "{slower} times slower\n{report}"
    );
    aggregator.stop();
    report
}

/// Runs the attacks, and counts what came of them by shape and verdict.
fn attack(
    run: Run,
    scene: Scene,
    web: &str,
    sender: &mut Steady,
) -> (BTreeMap<String, u64>, Waits) {
    let hostile = Hostile::new(scene, run.seed);
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let outcomes: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let pressed = thread::scope(|scope| {
        let sending = scope.spawn(|| sender.send(usize::MAX, &over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    // Those who attack have processors of their own; here the aggregator and its sender are not to wait for them.
                    give_way();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= run.attacks {
                            break;
                        }
                        let attack = hostile.attack(number);
                        let outcome = match attack.launch(web) {
                            None => "nobody waited".to_owned(),
                            Some(Ok(Verdict::Refused(kind))) => format!("refused: {kind}"),
                            Some(Ok(verdict)) => format!("{verdict:?}"),
                            Some(Err(why)) => {
                                over.store(true, Ordering::Relaxed);
                                panic!(
                                    "attack {number} of seed {} ({}): {why}",
                                    run.seed, attack.shape
                                )
                            }
                        };
                        let mut outcomes = outcomes.lock().expect("counting does not panic");
                        *outcomes.entry(outcome).or_default() += 1;
                    }
                })
            })
            .collect();
        let failed: Vec<_> = clients
            .into_iter()
            .filter_map(|client| client.join().err())
            .collect();
        over.store(true, Ordering::Relaxed);
        let pressed = sending.join().expect("the sender goes on to its end");
        if let Some(panic) = failed.into_iter().next() {
            std::panic::resume_unwind(panic);
        }
        pressed
    });
    let outcomes = outcomes.into_inner();
    (outcomes.expect("counting does not panic"), pressed)
}

/// Writes what attacks are about.
fn fill(aggregator: &Aggregator) -> Scene {
    let now_ms = TimestampMs::from(SystemClock::new().wall()).0 / 1_000 * 1_000;
    let base_ms = now_ms - DEEP_SAMPLES * EVERY_MS;
    let mut floats: Vec<FloatSeries> = (0..WIDE_SERIES).map(|n| wide(n, now_ms)).collect();
    floats.extend((0..DEEP_SERIES).map(|n| {
        let samples = (0..DEEP_SAMPLES)
            .map(|k| (base_ms + k * EVERY_MS, float(n * k)))
            .collect();
        (
            labels(&[("__name__", "deep"), ("n", &n.to_string())]),
            samples,
        )
    }));
    for (name, le) in [
        ("c_total", ""),
        ("g", ""),
        ("b_bucket", "1"),
        ("b_bucket", "+Inf"),
        ("d_total", ""),
        ("x", ""),
    ] {
        for job in ["p", "q"] {
            let samples = (0..200)
                .map(|k| (now_ms - (200 - k) * EVERY_MS, float(k)))
                .collect();
            let mut set = labels(&[("__name__", name), ("instance", "i"), ("job", job)]);
            if !le.is_empty() {
                set.push(("le".to_owned(), le.to_owned()));
            }
            floats.push((set, samples));
        }
    }
    for series in floats.chunks(SERIES_AT_ONCE) {
        assert!(write_series(aggregator.web(), series));
    }
    let histograms: Vec<_> = (0..50)
        .map(|n| {
            let name = ["h", "k"][n % 2];
            let times = (0..500).map(|k| now_ms - (500 - k) * EVERY_MS).collect();
            (
                labels(&[
                    ("__name__", name),
                    ("instance", &n.to_string()),
                    ("job", "p"),
                ]),
                times,
            )
        })
        .collect();
    assert!(write_histograms(aggregator.web(), &histograms));
    wait_until(PATIENCE, "what was written to be there", || {
        (aggregator.query("count(wide) + count(h)") == [float(WIDE_SERIES + 25)]).then_some(())
    });
    Scene {
        now_s: now_ms / 1_000,
        base_s: now_ms / 1_000 - 500 * EVERY_MS / 1_000,
    }
}

fn wide(n: i64, now_ms: i64) -> FloatSeries {
    let set = labels(&[
        ("__name__", "wide"),
        ("container", &format!("container-{}", n % 7)),
        ("node", &format!("node-{}", n % 50)),
        (
            "path",
            &format!("/some/path/that/is/not/short/{n}/{}", "abc".repeat(20)),
        ),
        ("pod", &format!("pod-{}-xyz", n % 1_000)),
    ]);
    let samples = (0..WIDE_SAMPLES)
        .map(|k| (now_ms - (WIDE_SAMPLES - k) * EVERY_MS, float(n + k) / 3.0))
        .collect();
    (set, samples)
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const fn float(number: i64) -> f64 {
    number as f64
}
