//! Churn: every ten minutes a tenth of the series ends and as many new ones begin, for hours of the data's time.
//!
//! The library runs in this process, by a clock that is moved 15 s with each row. A cohort of 500 series is what ends and begins, as a pod
//! or a node does. Compared are the most that the process held in the third and fourth hour and in the last two, and the CPU time of a query of what
//! is active, then and then: neither may grow. Memory is looked at with each row. A query costs more while a head is sealed and while the
//! last minutes lie in several partitions, so it is asked through the hour, and the median counts. Run alone (`--only churn`), so that nothing else is in the process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::{Host, Shape, Workload, thread_cpu_time};
use clock::SimulatedClock;
use files::Disk;
use model::{Matcher, TimeRange, TimestampMs};
use storage::{Queryable, Select, SelectHints, Unlimited};
use tsdb::{Tsdb, TsdbConfig};

use super::Row;
use crate::agents::now;
use crate::lab::{Lab, Stream, Streams, wall};
use crate::proc::Proc;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "churn",
    method: "a tenth of 97,000 series replaced every 10 min for hours of virtual time; last two hours over the third and the fourth",
    measure,
};

const COHORTS: usize = 194;
/// Rows of ten minutes, and of an hour, at 15 s.
const ROWS_OF_TEN_MINUTES: usize = 40;
const ROWS_OF_AN_HOUR: usize = 240;
const HOURS: usize = 8;
/// So many are merged into one partition, which takes memory in one of them: they are compared together.
const HOURS_OF_A_SPAN: usize = 2;
/// The span that the last one is compared with: by then heads have been sealed.
const COMPARED_SPAN: usize = 1;
/// Rows from one time that the query is asked to the next.
const ROWS_BETWEEN_QUERIES: usize = 10;
/// Queries each time.
const QUERIES: usize = 5;
/// When the first row is, before the end of a day: the day that ends is merged in the fifth hour or the sixth, whatever the time of day is now.
const BEFORE_MIDNIGHT: Duration = Duration::from_hours(4);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What an hour came to.
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    resident_peak: u64,
    head_series: u64,
    partitions: u64,
    query: Duration,
    query_longest: Duration,
}

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let ratio = |figure: fn(&[Hour]) -> f64| {
        let hours = found.as_ref().map_err(|error| format!("{error:#}"))?;
        let (before, after) = compared(hours).ok_or_else(|| "too few hours".to_owned())?;
        Ok::<f64, String>(figure(after) / figure(before).max(1e-9))
    };
    let mut memory = Line::ours(
        "churn, memory of the last two hours to the third and the fourth",
        "ratio",
        Cell::of(ratio(|span| {
            let peaks = span.iter().map(|hour| hour.resident_peak);
            peaks.max().unwrap_or_default() as f64
        })),
    );
    memory.bound = Some(Bound::at_most(1.15, 1.05));
    let mut query = Line::ours(
        "churn, a query in the last two hours to the third and the fourth",
        "ratio of CPU",
        Cell::of(ratio(|span| {
            span.iter().map(|hour| hour.query.as_secs_f64()).sum()
        })),
    );
    query.bound = Some(Bound::at_most(1.25, 1.10));
    if let Ok(hours) = &found {
        let list =
            |pick: fn(&Hour) -> String| hours.iter().map(pick).collect::<Vec<_>>().join(", ");
        memory.note = format!(
            "by hour, MB: {}; series in heads: {}; partitions: {}",
            list(|hour| format!("{:.0}", hour.resident_peak as f64 / 1e6)),
            list(|hour| hour.head_series.to_string()),
            list(|hour| hour.partitions.to_string()),
        );
        query.note = format!(
            "one metric of every active cohort over 5 min, asked every 150 s, by hour, ms: {}; the longest: {}",
            list(|hour| format!("{:.2}", hour.query.as_secs_f64() * 1e3)),
            list(|hour| format!("{:.2}", hour.query_longest.as_secs_f64() * 1e3))
        );
    }
    vec![memory, query]
}

/// Returns the compared span and the last one.
fn compared(hours: &[Hour]) -> Option<(&[Hour], &[Hour])> {
    let mut spans = hours.chunks_exact(HOURS_OF_A_SPAN).skip(COMPARED_SPAN);
    spans.next().zip(spans.last())
}

fn run(lab: &Lab) -> Result<Vec<Hour>> {
    let (cohorts, hours) = if lab.quick {
        (COHORTS / 4, 6)
    } else {
        (COHORTS, HOURS)
    };
    let workload = lab.workload(Shape::node_only())?;
    let midnight = TimestampMs((now().0 / DAY_MS - 1) * DAY_MS);
    let start = midnight.saturating_sub(BEFORE_MIDNIGHT);
    let clock = Arc::new(SimulatedClock::starting_at(wall(start)?));
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&lab.work)?;
    let config = TsdbConfig::at(folder.path().join("data"));
    let moved = Arc::<SimulatedClock>::clone(&clock);
    let (store, _) = Tsdb::open(config, Arc::new(Disk), moved)?;
    let mut population = Population {
        workload,
        born: 0,
        streams: Streams::new(),
    };
    for _ in 0..cohorts {
        population.add(&store, start)?;
    }
    let mut found = Vec::new();
    let mut at = start;
    for _ in 0..hours {
        let mut hour = Hour::default();
        let mut took = Vec::new();
        for row in 0..ROWS_OF_AN_HOUR {
            if row % ROWS_OF_TEN_MINUTES == 0 {
                population.replace(&store, cohorts / 10, at)?;
            }
            population.streams.append_all(&store, 1)?;
            let step = Shape::node_only().interval;
            clock.advance(step);
            at = at.saturating_add(step);
            if row % ROWS_BETWEEN_QUERIES == 0 {
                took.push(query(&store, at)?);
            }
            hour.resident_peak = hour.resident_peak.max(Proc::own().resident()?.now);
        }
        let stats = store.stats();
        (hour.head_series, hour.partitions) = (stats.head_series, stats.partitions);
        hour.query_longest = took.iter().copied().max().unwrap_or_default();
        hour.query = median(took)?;
        found.push(hour);
    }
    store.close();
    Ok(found)
}

/// The cohorts that live, oldest first.
struct Population {
    workload: Workload,
    born: usize,
    streams: Streams,
}

impl Population {
    fn add(&mut self, store: &Tsdb, at: TimestampMs) -> Result<()> {
        let host: Host = self.workload.host(self.born, at);
        self.born += 1;
        self.streams.push(Stream::define(store, host, |_| true)?);
        Ok(())
    }

    fn replace(&mut self, store: &Tsdb, cohorts: usize, at: TimestampMs) -> Result<()> {
        self.streams.drop_oldest(cohorts);
        for _ in 0..cohorts {
            self.add(store, at)?;
        }
        Ok(())
    }
}

/// Returns the median CPU time of a selection of one metric of everything active.
fn query(store: &Tsdb, at: TimestampMs) -> Result<Duration> {
    let matchers = [Matcher::equal("__name__", "node_load1")];
    let select = Select {
        matchers: &matchers,
        range: TimeRange::new(at.saturating_sub(Duration::from_secs(300)), at),
        hints: SelectHints::default(),
    };
    let mut took = Vec::new();
    for _ in 0..QUERIES {
        let before = thread_cpu_time();
        let series = store.querier()?.select(&select, &Unlimited)?;
        took.push(thread_cpu_time().saturating_sub(before));
        series.first().context("nothing is active")?;
    }
    median(took)
}

fn median(mut took: Vec<Duration>) -> Result<Duration> {
    took.sort_unstable();
    took.get(took.len() / 2).copied().context("no query")
}
