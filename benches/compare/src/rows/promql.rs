//! What queries cost: the expressions of a cluster's dashboards over 100,000 series, and a few that no dashboard should have.

use super::Row;
use crate::lab::{Answered, Data, Lab, Question, When};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const WHOLE: Row = Row {
    name: "queries",
    method: "two hours of rows at 15 s, one client: CPU of the process for one question over HTTP, answer included; median latency in the note",
    measure: |lab| measure(lab, Data::Whole, QUESTIONS),
};

pub(super) const MILLION: Row = Row {
    name: "queries-million",
    method: "two minutes of rows of a million series, otherwise as the row before",
    measure: |lab| measure(lab, Data::Million, OF_A_MILLION),
};

/// Questions to a million series.
const OF_A_MILLION: &[Asked] = &[(
    Question {
        name: "i: instant, count by name of all, 1,000,000 series",
        expression: r#"count by (__name__) ({__name__!=""})"#,
        when: When::Instant,
    },
    Some((400.0, 200.0)),
)];

/// A question, and what its CPU time must and should be, in milliseconds.
type Asked = (Question, Option<(f64, f64)>);

/// The questions of a cluster's dashboards.
const QUESTIONS: &[Asked] = &[
    (
        Question {
            name: "a: instant, sum by (mode) of rate, 6,208 series",
            expression: "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
            when: When::Instant,
        },
        Some((8.0, 4.0)),
    ),
    (
        Question {
            name: "b: range 2 h / 15 s, one series",
            expression: r#"node_load1{instance="10.0.0.10:9100"}"#,
            when: When::Range(15),
        },
        Some((0.5, 0.3)),
    ),
    (
        Question {
            name: "c: range 2 h / 60 s, sum by (instance)",
            expression: "sum by (instance) (rate(container_cpu_usage_seconds_total[5m]))",
            when: When::Range(60),
        },
        None,
    ),
    (
        Question {
            name: "d: instant, topk(10) of rate, 2,134 series",
            expression: "topk(10, rate(container_cpu_usage_seconds_total[5m]))",
            when: When::Instant,
        },
        None,
    ),
    (
        Question {
            name: "e: values of a label",
            expression: "instance",
            when: When::LabelValues,
        },
        None,
    ),
    (
        Question {
            name: "f: instant, count over a regular expression, 100,000 series",
            expression: r#"count({__name__=~"node_.*|container_.*|http_.*"})"#,
            when: When::Instant,
        },
        Some((50.0, 25.0)),
    ),
    (
        Question {
            name: "f2: instant, count by name of all, 100,000 series",
            expression: r#"count by (__name__) ({__name__!=""})"#,
            when: When::Instant,
        },
        None,
    ),
    (
        Question {
            name: "g: instant, histogram_quantile by (le, instance)",
            expression: "histogram_quantile(0.99, sum by (le, instance) (rate(http_request_duration_seconds_bucket[5m])))",
            when: When::Instant,
        },
        None,
    ),
    (
        Question {
            name: "g2: range 2 h / 60 s, histogram_quantile by (le, instance)",
            expression: "histogram_quantile(0.99, sum by (le, instance) (rate(http_request_duration_seconds_bucket[5m])))",
            when: When::Range(60),
        },
        Some((30.0, 20.0)),
    ),
    (
        Question {
            name: "h: range 2 h / 60 s, sum by (mode) of rate, 6,208 series",
            expression: "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
            when: When::Range(60),
        },
        Some((40.0, 30.0)),
    ),
];

fn measure(lab: &Lab, data: Data, asked: &[Asked]) -> Vec<Line> {
    let questions: Vec<Question> = asked.iter().map(|(question, _)| *question).collect();
    let [ours, prometheus, victoria] = [
        Engine::Promontory,
        Engine::Prometheus,
        Engine::VictoriaMetrics,
    ]
    .map(|engine| lab.queries(engine, data, &questions));
    let mut lines = Vec::new();
    for (question, bound) in asked {
        let answers = [&ours, &prometheus, &victoria].map(|run| match run {
            Ok(run) => run
                .get(question.name)
                .cloned()
                .unwrap_or_else(|| Err("was not asked".to_owned())),
            Err(error) => Err(error.clone()),
        });
        let [own, of_prometheus, of_victoria] = answers
            .each_ref()
            .map(|answer| Cell::of(answer.as_ref().map(|found| found.cpu.as_secs_f64() * 1e3)));
        lines.push(Line {
            peers: [of_prometheus, of_victoria],
            bound: bound.map(|(must, aim)| Bound::at_most(must, aim)),
            note: note(&answers),
            ..Line::ours(question.name, "CPU ms", own)
        });
    }
    lines
}

fn note(answers: &[Result<Answered, String>; 3]) -> String {
    let names = ["ours", "prometheus", "victoria-metrics"];
    let parts = names.iter().zip(answers).filter_map(|(name, answer)| {
        let found = answer.as_ref().ok()?;
        let took = found.took.as_secs_f64() * 1e3;
        Some(format!(
            "{name} {took:.2} ms, {} series, sum {:.9e}",
            found.series, found.sum
        ))
    });
    parts.collect::<Vec<_>>().join("; ")
}
