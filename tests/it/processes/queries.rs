//! Slow queries: seen, cancelled, given up, logged.

use std::time::Duration;

use serde_json::Value;
use tests::processes::{Aggregator, PATIENCE, ask_only, get, now, post, wait_until};

/// Takes far longer than this test if nobody stops it: three million points, of which a million are added up, ten thousand times.
const ENDLESS: &str = "/api/v1/query_range?start=0&end=2000&step=0.2&timeout=5m&query=\
    sum_over_time(vector(time())%5B20m:1ms%5D)";
/// What the points take, so that only the adding up is left.
const POINTS_BYTES: u64 = 3_200_000 * 8;
/// How soon the work for a client must end once it has gone: 100 ms, and what a busy machine without optimised code adds.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(2);

fn running(aggregator: &Aggregator) -> Vec<Value> {
    let answer = get(aggregator.web(), "/api/v1/status/queries").map(|answer| answer.json());
    let queries = answer.and_then(|answer| answer["data"]["queries"].as_array().cloned());
    queries.unwrap_or_default()
}

#[track_caller]
fn await_running(aggregator: &Aggregator, number: usize) -> Vec<Value> {
    let what = format!("{number} running queries");
    wait_until(PATIENCE, &what, || {
        Some(running(aggregator)).filter(|queries| {
            queries.len() == number && queries.iter().all(|query| query["state"] == "running")
        })
    })
}

#[test]
fn slow_queries_are_seen_and_stopped() {
    let mut aggregator = Aggregator::new(&["--query.log-slower-than", "1ms"]);
    let client = ask_only(aggregator.web(), ENDLESS);
    let query = &await_running(&aggregator, 1)[0];
    assert_eq!(query["kind"], "range", "{query}");
    assert_eq!(
        query["client"],
        client.local_addr().expect("connected").to_string()
    );
    wait_until(PATIENCE, "all points in memory", || {
        let held = running(&aggregator)[0]["memoryBytes"].as_u64();
        held.filter(|bytes| *bytes >= POINTS_BYTES)
    });

    // The client goes away.
    drop(client);
    let gone = now();
    await_running(&aggregator, 0);
    let took = now().saturating_since(gone);
    println!("given up after {took:?}");
    assert!(took < GIVEN_UP_WITHIN, "given up after {took:?}");

    // The operator cancels one.
    let address = aggregator.web().to_owned();
    let client = std::thread::spawn(move || get(&address, ENDLESS));
    let id = await_running(&aggregator, 1)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let cancelled = post(
        aggregator.web(),
        &format!("/api/v1/status/queries/cancel?id={id}"),
    );
    assert_eq!(cancelled.expect("an answer").status, 200);
    let answer = client.join().expect("no panic").expect("an answer");
    assert_eq!(
        (answer.status, answer.json()["errorType"].as_str()),
        (499, Some("canceled"))
    );

    // Both were logged.
    let logged = wait_until(PATIENCE, "two lines in the log", || {
        let output = aggregator.process().output();
        let lines = output.lines().filter(|line| line.contains("slow query"));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    });
    for part in [
        "kind=range",
        "sum_over_time",
        "end=2000",
        "step=0.2",
        "duration_seconds=",
        "memory_peak_bytes=",
        "samples=",
        "outcome=canceled",
        "client=127.0.0.1:",
    ] {
        assert!(
            logged.iter().all(|line| line.contains(part)),
            "{part}: {logged:?}"
        );
    }
}
