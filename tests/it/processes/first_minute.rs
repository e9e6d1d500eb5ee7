//! The first minute: one command, real values.

use std::time::Duration;

use tests::processes::Up;

/// Three seconds is the promise of the release binary on an idle machine (the program `first-rate` measures it); this one is
/// neither.
const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn up_answers_its_sample_queries_and_stops_cleanly() {
    let mut up = Up::new(&[]);
    let took = up.await_answer("sum by (mode) (rate(node_cpu_seconds_total[5s]))");
    println!("up: first rate() after {took:.2?}");
    assert!(took < WITHIN, "{took:?}");
    let said = up.process().output();
    let samples: Vec<&str> = (said.lines().filter_map(|line| line.split('\'').nth(1))).collect();
    assert_eq!(samples.len(), 3, "{said}");
    for sample in samples {
        up.await_answer(sample);
    }
    up.await_answer("up{job=\"node-exporter\"} == 1");
    up.await_answer("up{job=\"promontory-agent\"} == 1");
    up.await_answer("promontory_agent_up == 1");
    up.stop();
}
