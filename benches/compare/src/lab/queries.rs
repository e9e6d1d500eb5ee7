//! Queries over HTTP: the same rows in each engine, the same expressions, one client that asks one at a time.
//!
//! 1. Rows are fed as in the other experiments: ours by agents, the peers by remote write. All is waited for until the server is idle.
//! 2. Each expression is asked once (what it finds out stays in caches, as it does for whoever looks at a dashboard), and then again and
//!    again for a few seconds. The figure is the CPU time of the process over the number of questions; wall time is the median.
//! 3. Answers are counted and added up, so that an engine that is quick because it finds nothing shows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::Shape;
use model::TimestampMs;
use serde_json::Value;

use super::Lab;
use crate::agents::{Fleet, Pace, RowSource};
use crate::http::{Client, percent_encode};
use crate::remote_write::Feeder;
use crate::server::{Engine, Given, Server};
use crate::terminal;
use crate::waiting::Stopwatch;

/// Rows of a batch.
const ROWS_PER_BATCH: usize = 2;
/// How long an expression is asked, and how often at least and at most.
const ASKED_FOR: Duration = Duration::from_secs(3);
const TIMES: std::ops::RangeInclusive<u32> = 5..=3_000;

/// What the rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Data {
    /// Two hours of the whole workload.
    Whole,
    /// Two minutes of a million series.
    Million,
}

/// Hosts of a million series, the containers of each (with a node's some 570 series, about 10,000), and rows.
const MILLION_HOSTS: usize = 100;
const MILLION_CONTAINERS: usize = 470;
const MILLION_ROWS: usize = 8;

impl Data {
    /// Returns the shape of the hosts, how many there are, and how many rows.
    fn extent(self, lab: &Lab) -> (Shape, usize, usize) {
        let shape = Shape::whole();
        match self {
            Self::Whole => (shape, lab.hosts(), lab.rows()),
            Self::Million => {
                let shape = Shape {
                    containers: MILLION_CONTAINERS,
                    ..shape
                };
                let fewer = if lab.quick { 5 } else { 1 };
                (shape, MILLION_HOSTS / fewer, MILLION_ROWS)
            }
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) expression: &'static str,
    pub(crate) when: When,
}

/// Over what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// The time of the last row.
    Instant,
    /// All rows, a step of so many seconds.
    Range(u32),
    /// The values of a label, the expression.
    LabelValues,
}

/// How it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Of the process, for one question.
    pub(crate) cpu: Duration,
    /// The median.
    pub(crate) took: Duration,
    /// Series, or values of a label.
    pub(crate) series: usize,
    /// The sum of all values.
    pub(crate) sum: f64,
}

/// The answers of an engine, by the name of the question.
pub(crate) type QueryRun = BTreeMap<&'static str, Result<Answered, String>>;

pub(super) fn run(
    lab: &Lab,
    engine: Engine,
    data: Data,
    questions: &[Question],
) -> Result<QueryRun> {
    let (shape, hosts, rows) = data.extent(lab);
    let hosts = lab.hosts_until_now(shape, hosts, rows)?;
    let server = lab.start(engine, Given::default())?;
    let last = if engine == Engine::Promontory {
        let members = hosts.into_iter().map(|host| {
            let name = host.name().to_owned();
            (name, Box::new(host) as Box<dyn RowSource>)
        });
        let mut fleet = Fleet::open(&server, shape.interval, members.collect())?;
        fleet.send(rows / ROWS_PER_BATCH, ROWS_PER_BATCH, |_| Pace::Unbounded)?;
        fleet.last()
    } else {
        Feeder::new(hosts).send(server.web(), rows)?.last
    };
    server.await_idle()?;
    let span = shape.interval * u32::try_from(rows)?;
    let mut client = Client::new(server.web());
    let mut answers = QueryRun::new();
    for question in questions {
        terminal::say(&format!("  asking {}: {}", engine.name(), question.name));
        let path = path_of(question, last, span);
        let answered = ask(&server, &mut client, &path);
        answers.insert(
            question.name,
            answered.map_err(|error| format!("{error:#}")),
        );
    }
    Ok(answers)
}

fn path_of(question: &Question, last: TimestampMs, span: Duration) -> String {
    let expression = percent_encode(question.expression);
    let end = last.as_seconds();
    let start = last.saturating_sub(span).as_seconds();
    match question.when {
        When::Instant => format!("/api/v1/query?query={expression}&time={end:.3}&nocache=1"),
        When::Range(step) => format!(
            "/api/v1/query_range?query={expression}&start={start:.3}&end={end:.3}&step={step}&nocache=1"
        ),
        When::LabelValues => {
            format!("/api/v1/label/{expression}/values?start={start:.3}&end={end:.3}&nocache=1")
        }
    }
}

fn ask(server: &Server, client: &mut Client, path: &str) -> Result<Answered> {
    let first = Stopwatch::start();
    let answer = client.get(path)?.success()?.json()?;
    let (series, sum) = digest(&answer["data"]).context("an answer without a result")?;
    let times = ASKED_FOR.as_nanos() / first.elapsed().as_nanos().max(1);
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    let times = times.clamp(*TIMES.start(), *TIMES.end());
    let process = server.process()?;
    let before = process.cpu()?;
    let mut took = Vec::new();
    for _ in 0..times {
        let watch = Stopwatch::start();
        client.get(path)?.success()?;
        took.push(watch.elapsed());
    }
    let cpu = process.cpu()?.saturating_sub(before) / times;
    took.sort_unstable();
    Ok(Answered {
        cpu,
        took: took[took.len() / 2],
        series,
        sum,
    })
}

/// Returns how many series an answer has, and the sum of their values.
fn digest(data: &Value) -> Option<(usize, f64)> {
    if let Some(values) = data.as_array() {
        return Some((values.len(), 0.0));
    }
    let series = data["result"].as_array()?;
    let value = |point: &Value| point[1].as_str()?.parse::<f64>().ok();
    let points = series.iter().flat_map(|series| {
        let range = series["values"].as_array().into_iter().flatten();
        range.chain(series.get("value"))
    });
    let sum = points.filter_map(value).filter(|value| value.is_finite());
    Some((series.len(), sum.sum()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_of_every_shape_are_added_up() {
        let check = |data: Value, expected| assert_eq!(digest(&data), Some(expected));
        check(json!(["a", "b"]), (2, 0.0));
        check(
            json!({ "result": [{ "value": [1, "2.5"] }, { "value": [1, "NaN"] }] }),
            (2, 2.5),
        );
        check(
            json!({ "result": [{ "values": [[1, "2"], [2, "+Inf"], [3, "4"]] }] }),
            (1, 6.0),
        );
    }
}
