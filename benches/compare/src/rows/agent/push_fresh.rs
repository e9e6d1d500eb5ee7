//! From a push to the answer of a query that has it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::agents::now;
use crate::http::Client;
use crate::lab::Lab;
use crate::rows::Row;
use crate::server::{Engine, Given};
use crate::table::{Bound, Cell, Line};
use crate::waiting::{Stopwatch, pause, wait_until};

pub(super) const ROW: Row = Row {
    name: "push-fresh",
    method: "a push to a real agent, then its aggregator is asked until it answers the pushed value; the wall time of both, p99",
    measure,
};

const METRIC: &str = "compare_pushed";
/// Between two pushes; no divisor of a second.
const EVERY: Duration = Duration::from_millis(170);

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let percentile = |percent: usize| {
        let found = found.as_ref().map_err(|error| format!("{error:#}"))?;
        let took = found.get((found.len() * percent / 100).min(found.len() - 1));
        Ok::<f64, String>(took.copied().unwrap_or_default().as_secs_f64() * 1e3)
    };
    let mut line = Line::ours(
        "push to queryable, p99",
        "wall ms",
        Cell::of(percentile(99)),
    );
    line.bound = Some(Bound::at_most(250.0, 100.0));
    if let (Ok(found), Ok(median)) = (&found, percentile(50)) {
        line.note = format!("{} pushes, median {median:.1} ms", found.len());
    }
    vec![line]
}

/// Returns how long each push took, rising.
fn run(lab: &Lab) -> Result<Vec<Duration>> {
    let pushes = if lab.quick { 100 } else { 300 };
    let server = lab.start(Engine::Promontory, Given::default())?;
    let agent = lab.start_agent(&server, &server.ingest().to_string(), &[])?;
    let (mut gateway, mut client) = (Client::new(agent.web()), Client::new(server.web()));
    let mut took = Vec::new();
    for value in 1..=pushes {
        let body = format!("# TYPE {METRIC} gauge\n{METRIC} {value}\n");
        let watch = Stopwatch::start();
        let path = "/push/metrics/job/compare";
        gateway.put(path, body.as_bytes())?.success()?;
        wait_until(
            "a pushed value",
            Duration::from_millis(1),
            Duration::from_secs(30),
            || {
                let found = server.query(&mut client, METRIC, now())?;
                Ok((found.first() == Some(&f64::from(value))).then_some(()))
            },
        )
        .context("cannot measure how fresh pushes are")?;
        took.push(watch.elapsed());
        pause(EVERY);
    }
    took.sort_unstable();
    Ok(took)
}
