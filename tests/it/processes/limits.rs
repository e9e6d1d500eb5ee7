//! An agent with far too many series: the surplus is refused singly and told, what is known flows on.

use tests::processes::{Agent, Aggregator, PATIENCE, wait_until};

use super::{await_counter, await_new_rows, lean};

const LIMIT: f64 = 300.0;

#[test]
fn ten_times_too_many_series_cost_only_the_surplus() {
    let aggregator = Aggregator::new(&["--limits.series-per-agent", "300"]);
    let modest = Agent::join(&aggregator, "modest", &lean(&[]));
    let mut greedy = Agent::join(
        &aggregator,
        "greedy",
        &lean(&["--collector.ledger", "3000"]),
    );
    let refused = "promontory_ingest_samples_refused_total{reason=\"series_per_agent\"}";
    await_counter(&aggregator, refused, 0.0);
    let told = "promontory_agent_samples_refused_total{reason=\"series_per_agent\"}";
    wait_until(PATIENCE, "the agent to count what was refused", || {
        (greedy.metric(told) > 0.0).then_some(())
    });
    await_new_rows(&aggregator, &greedy);
    await_new_rows(&aggregator, &modest);

    let count = |query: &str| aggregator.query(query).first().copied().unwrap_or(0.0);
    let stored = count("count({instance=\"greedy\"})");
    let of_ledger = count("count(promontory_ledger)");
    println!("limits: {stored} series of greedy stored, {of_ledger} of its ledger, limit {LIMIT}");
    assert!(stored <= LIMIT && of_ledger > 0.0 && of_ledger < stored);
    assert!(count("count(node_cpu_seconds_total{instance=\"greedy\"})") > 0.0);
    // Slot 0 came before the limit: it holds the number of the row, and goes on.
    let number = || count("promontory_ledger{slot=\"0\"}");
    let before = number();
    wait_until(PATIENCE, "known series to flow on", || {
        (number() > before).then_some(())
    });
    assert_eq!(
        greedy.metric("promontory_agent_batches_quarantined_total"),
        0.0
    );
    assert_eq!(greedy.metric("promontory_agent_sessions_total"), 1.0);
}
