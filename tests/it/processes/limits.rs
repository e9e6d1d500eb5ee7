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

/// A minute is the least that is waited for here.
#[test]
fn series_over_the_limit_of_a_minute_are_stored_in_the_next_without_a_new_session() {
    let aggregator = Aggregator::new(&["--limits.new-series-per-minute", "2000"]);
    let flags = lean(&["--collector.ledger", "3000"]);
    let mut agent = Agent::join(&aggregator, "new", &flags);
    let refused = "promontory_ingest_samples_refused_total{reason=\"new_series_rate\"}";
    await_counter(&aggregator, refused, 0.0);
    wait_until(PATIENCE * 2, "the series of the ledger, all", || {
        let stored = aggregator.query("count(promontory_ledger)");
        (stored.first().copied() == Some(3_000.0)).then_some(())
    });
    assert_eq!(agent.metric("promontory_agent_sessions_total"), 1.0);
    await_new_rows(&aggregator, &agent);
    let before = aggregator.metric(refused);
    await_new_rows(&aggregator, &agent);
    assert_eq!(
        aggregator.metric(refused),
        before,
        "nothing is refused any more"
    );
}
