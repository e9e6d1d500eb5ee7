//! From the making of a row to the answer of a query that has it, while 100,000 samples come each second.
//!
//! A hundred agents send a thousand series each, once a second, at their own places in the second. Beside them a probe makes a row of
//! one series, whose value counts up, stamps it, sends it, and a query is repeated until it sees the new value.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::Shape;
use model::{Labels, MetricType, TimestampMs};
use rows::SeriesDefinition;

use super::Row;
use crate::agents::{Fleet, Pace, RowSource, now};
use crate::http::Client;
use crate::lab::Lab;
use crate::server::{Engine, Given};
use crate::table::{Bound, Cell, Line};
use crate::waiting::{Stopwatch, pause, wait_until};

pub(super) const ROW: Row = Row {
    name: "fresh",
    method: "a probe's row made to queryable, p99 over some hundred rows, beside 100 agents x 1,000 series at 1 s",
    measure,
};

const AGENTS: usize = 100;
const METRIC: &str = "compare_probe";
/// Between two rows of the probe; no divisor of the agents' second.
const PROBE_EVERY: Duration = Duration::from_millis(70);

#[derive(Debug)]
struct Probe {
    value: f64,
}

impl RowSource for Probe {
    fn series(&self) -> Vec<SeriesDefinition> {
        let labels = Labels::from_pairs([("__name__", METRIC)]).unwrap_or_default();
        vec![SeriesDefinition {
            labels,
            kind: MetricType::Gauge,
        }]
    }

    fn next_row(&mut self, values: &mut Vec<f64>) -> TimestampMs {
        self.value += 1.0;
        values.push(self.value);
        now()
    }
}

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let percentile = |percent: usize| {
        let found = found.as_ref().map_err(|error| format!("{error:#}"))?;
        let at = (found.len() * percent / 100).min(found.len().saturating_sub(1));
        let took = found.get(at).copied().unwrap_or_default();
        Ok::<f64, String>(took.as_secs_f64() * 1e3)
    };
    let mut line = Line::ours(
        "row made to queryable, p99",
        "wall ms",
        Cell::of(percentile(99)),
    );
    line.bound = Some(Bound::at_most(250.0, 100.0));
    if let (Ok(found), Ok(median)) = (&found, percentile(50)) {
        line.note = format!("{} rows, median {median:.1} ms", found.len());
    }
    vec![line]
}

/// Returns how long each row of the probe took, rising.
fn run(lab: &Lab) -> Result<Vec<Duration>> {
    let (agents, seconds) = if lab.quick {
        (AGENTS / 2, 20)
    } else {
        (AGENTS, 60)
    };
    let shape = Shape {
        interval: Duration::from_secs(1),
        ..Shape::whole()
    };
    let server = lab.start(Engine::Promontory, Given::default())?;
    let hosts = lab.hosts_until_now(shape, agents, 0)?;
    let members = hosts.into_iter().map(|host| {
        let name = host.name().to_owned();
        (name, Box::new(host) as Box<dyn RowSource>)
    });
    let mut fleet = Fleet::open(&server, shape.interval, members.collect())?;
    fleet.send(1, 1, |_| Pace::Unbounded)?;
    let probe: Box<dyn RowSource> = Box::new(Probe { value: 0.0 });
    let mut probes = Fleet::open(&server, PROBE_EVERY, vec![("probe".to_owned(), probe)])?;
    let places = u32::try_from(agents)?;
    std::thread::scope(|scope| {
        let load = scope.spawn(move || {
            fleet.send(seconds, 1, |number| Pace::Every {
                period: shape.interval,
                first: shape.interval * u32::try_from(number).unwrap_or(0) / places,
            })
        });
        // The load has begun by then.
        pause(Duration::from_secs(2));
        let mut client = Client::new(server.web());
        let mut took = Vec::new();
        while !load.is_finished() {
            let expected = (took.len() + 1) as f64;
            let watch = Stopwatch::start();
            probes.send(1, 1, |_| Pace::Unbounded)?;
            wait_until(
                "the row of the probe",
                Duration::from_millis(1),
                Duration::from_secs(30),
                || {
                    let found = server.query(&mut client, METRIC, now())?;
                    Ok(found
                        .first()
                        .is_some_and(|value| *value >= expected)
                        .then_some(()))
                },
            )?;
            took.push(watch.elapsed());
            pause(PROBE_EVERY);
        }
        load.join()
            .map_err(|_| anyhow::anyhow!("the load panicked"))??;
        ensure!(took.len() >= 20, "only {} rows were seen", took.len());
        took.sort_unstable();
        Ok(took)
    })
    .context("cannot measure freshness")
}
