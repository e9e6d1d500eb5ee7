//! Pushes through real processes: at once to queries, over restarts, and gone when they end.

use std::time::Duration;

use tests::processes::{Agent, Aggregator, PATIENCE, now, post_body, wait_until};

use super::lean;

fn push(agent: &mut Agent, path: &str, body: &str) {
    let web = wait_until(PATIENCE, "the agent's address", || agent.web());
    let path = format!("/push/metrics/job/{path}");
    let answer = post_body(&web, &path, "", body.as_bytes()).expect("the agent answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn await_value(aggregator: &Aggregator, query: &str, values: &[f64]) {
    let what = format!("{query} to be {values:?}");
    wait_until(PATIENCE, &what, || {
        (aggregator.query(query) == values).then_some(())
    });
}

#[test]
fn a_push_is_queryable_at_once_and_its_group_survives_the_agent() {
    let aggregator = Aggregator::new(&[]);
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = format!(
        "--persistence.file={}",
        folder.path().join("groups").display()
    );
    let mut agent = Agent::join(&aggregator, "pusher", &lean(&[file.as_str()]));
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let begun = now();
        push(&mut agent, "nightly", &format!("done {number}\n"));
        await_value(&aggregator, "done", &[f64::from(number)]);
        slowest = slowest.max(now().saturating_since(begun));
    }
    println!("the slowest of 50 pushes was queryable after {slowest:?}");

    // What was answered is there again, and goes on.
    push(&mut agent, "sum?mode=sum", "# TYPE jobs counter\njobs 3\n");
    agent.kill();
    agent.start();
    push(&mut agent, "sum?mode=sum", "# TYPE jobs counter\njobs 4\n");
    await_value(&aggregator, "jobs", &[7.0]);
    push(&mut agent, "brief?ttl=1s", "brief 1\n");
    await_value(&aggregator, "brief", &[1.0]);
    await_value(&aggregator, "brief", &[]);
    await_value(&aggregator, "done", &[49.0]);
    agent.stop();
}
