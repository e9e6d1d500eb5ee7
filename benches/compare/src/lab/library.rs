//! Our storage library in this process, fed with rows that fill spans of two hours, by a clock that is moved.
//!
//! Three runs: the first two hours of the whole workload, a whole day of a tenth of its hosts, and thirty days of one metric.
//!
//! 1. The rows of a span, batch by batch, as they would come from agents; the head is large enough for all.
//! 2. The clock passes the age of a head: every shard seals. The figure is the CPU time of the keeper's thread; what the files hold and
//!    take is asked of the store.
//! 3. A day of spans: the clock passes the end of the day, and the store merges each shard's files of it. The figure is the CPU time of the
//!    thread that merges, downsampling tiers included; what they take is not in the bytes of a sample.
//! 4. Every metric is selected over all of it, as queries do, each once, so that nothing comes decoded from the cache: the CPU time of this
//!    thread, look-up of series included, is the cost of decoding.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use benches::{Host, HostSeries, Shape, thread_cpu_time};
use clock::{SharedClock, SimulatedClock};
use files::Disk;
use model::{METRIC_NAME, Matcher, TimeRange, TimestampMs};
use promql::{Engine, EngineConfig, Grid, QueryOptions, QueryResult};
use storage::{Queryable, SegmentValues, Select, SelectHints, Unlimited};
use tempfile::TempDir;
use tsdb::{TierRetention, Tsdb, TsdbConfig};

use super::{Lab, Stream, Streams, wall};
use crate::agents::now;
use crate::proc::Proc;
use crate::waiting::{pause, wait_until};

/// The span of a partition.
const SPAN: Duration = Duration::from_secs(2 * 3_600);
const KEEPER: &str = "tsdb-keeper";
const MERGER: &str = "tsdb-merge";
/// How long before the end of a span its rows are appended.
const BEFORE_END: Duration = Duration::from_secs(60);
/// From the end of a day until nothing more is expected of it.
const SETTLED: Duration = Duration::from_secs(7 * 3_600);
const MIB: u64 = 1 << 20;

/// What a store of sealed spans takes and costs.
#[derive(Clone, Debug)]
pub(crate) struct SpanRun {
    pub(crate) space: tsdb::PartitionSpace,
    pub(crate) samples: u64,
    pub(crate) sealing: Duration,
    pub(crate) decoding: Duration,
}

/// What one of a merged day takes and costs.
#[derive(Clone, Debug)]
pub(crate) struct DayRun {
    pub(crate) space: tsdb::PartitionSpace,
    pub(crate) samples: u64,
    pub(crate) merging: Duration,
    pub(crate) decoding: Duration,
}

/// What a query over thirty days costs.
#[derive(Clone, Debug)]
pub(crate) struct MonthRun {
    pub(crate) series: usize,
    pub(crate) samples: u64,
    /// Over samples alone.
    pub(crate) raw: Duration,
    /// Over summaries of five minutes.
    pub(crate) tiers: Duration,
}

/// Thirty days of one metric: hosts that have some thousand series of it.
const MONTH_DAYS: u32 = 30;
const MONTH_METRIC: &str = "node_cpu_seconds_total";
const MONTH_HOSTS: usize = 16;
/// What is asked of them, every five minutes.
const MONTH_QUERY: &str = "sum by (mode) (rate(node_cpu_seconds_total[5m]))";
const MONTH_STEP_MS: i64 = 5 * 60 * 1_000;
/// How often each question is asked; the least time counts, for the first reads what the next ones find in caches.
const MONTH_TIMES: usize = 3;

/// Spans of a day.
const SPANS: u32 = 12;
/// A day has the rows of twelve spans, so it is measured on this part of the hosts.
const DAY_HOSTS: usize = 10;

pub(super) fn run(lab: &Lab, jitter: bool) -> Result<SpanRun> {
    let shape = Shape {
        jitter,
        ..Shape::whole()
    };
    let span_ms = i64::try_from(SPAN.as_millis())?;
    let start = TimestampMs((now().0 / span_ms - 2) * span_ms);
    let mut fed = Fed::new(lab, shape, lab.hosts(), start)?;
    fed.span(lab.rows())?;
    let space = fed.store.partition_space()?;
    ensure!(
        space.samples == fed.samples,
        "{} samples were stored and {} sealed",
        fed.samples,
        space.samples
    );
    let decoding = fed.decode(TimeRange::new(start, start.saturating_add(SPAN)))?;
    Ok(SpanRun {
        space,
        samples: fed.samples,
        sealing: fed.sealing,
        decoding,
    })
}

pub(super) fn run_day(lab: &Lab) -> Result<DayRun> {
    let day = SPAN * SPANS;
    let day_ms = i64::try_from(day.as_millis())?;
    let start = TimestampMs((now().0 / day_ms - 2) * day_ms);
    let mut fed = Fed::new(lab, Shape::whole(), lab.hosts() / DAY_HOSTS, start)?;
    for _ in 0..SPANS {
        fed.span(lab.rows())?;
    }
    let before = cpu_of(MERGER)?;
    fed.clock.advance(SETTLED);
    // Whatever is due is merged at once; there are no deletes.
    fed.store.clean_deletes()?;
    let merging = cpu_of(MERGER)?.saturating_sub(before);
    let space = fed.store.partition_space()?;
    ensure!(
        space.samples == fed.samples && fed.store.stats().merges > 0,
        "{} samples were sealed and {} are there after {} merges",
        fed.samples,
        space.samples,
        fed.store.stats().merges
    );
    let decoding = fed.decode(TimeRange::new(start, start.saturating_add(day)))?;
    Ok(DayRun {
        space,
        samples: fed.samples,
        merging,
        decoding,
    })
}

pub(super) fn run_month(lab: &Lab) -> Result<MonthRun> {
    let days = if lab.quick { 3 } else { MONTH_DAYS };
    let day = SPAN * SPANS;
    let day_ms = i64::try_from(day.as_millis())?;
    let start = TimestampMs((now().0 / day_ms - i64::from(days) - 1) * day_ms);
    let keep = |series: &HostSeries| series.labels.metric_name() == Some(MONTH_METRIC);
    let tiers = TierRetention {
        five_minutes: Some(day * 365),
        one_hour: None,
    };
    let mut fed = Fed::of(lab, Shape::whole(), MONTH_HOSTS, start, tiers, keep)?;
    for _ in 0..days {
        for _ in 0..SPANS {
            // In few batches: each waits for the disk.
            fed.append_span(lab.rows(), lab.rows() / 4)?;
        }
        // Once a day: a shard looks at the age of its head once a second.
        fed.await_seals()?;
        fed.store.clean_deletes()?;
    }
    fed.clock.advance(SETTLED);
    fed.store.clean_deletes()?;
    let end = start.saturating_add(day * days);
    let matchers = [Matcher::equal(METRIC_NAME, MONTH_METRIC)];
    let range = TimeRange::new(start, end);
    let (series, _) = fed
        .store
        .querier()?
        .series(&[matchers.to_vec()], range, 0, &Unlimited)?;
    let grid = Grid {
        start: TimestampMs(start.0 + MONTH_STEP_MS),
        end,
        step_ms: MONTH_STEP_MS,
    };
    let engine = Engine::new(EngineConfig {
        samples_max: u64::MAX,
        ..EngineConfig::default()
    });
    // Returns the least time, and the samples that were read.
    let ask = |raw_only| -> Result<(Duration, u64)> {
        let options = QueryOptions {
            raw_only,
            ..QueryOptions::default()
        };
        let (mut least, mut read) = (Duration::MAX, 0);
        for _ in 0..MONTH_TIMES {
            let before = thread_cpu_time();
            let answer = engine.range(&fed.store, MONTH_QUERY, grid, &options, &Unlimited)?;
            least = least.min(thread_cpu_time().saturating_sub(before));
            read = answer.stats.samples_read;
            let QueryResult::Grid { series, .. } = answer.result else {
                bail!("a range query gave no series");
            };
            ensure!(!series.is_empty(), "nothing was found over {days} days");
        }
        Ok((least, read))
    };
    let (raw, samples) = ask(true)?;
    ensure!(
        samples > fed.samples / 10 * 9,
        "{samples} of {} samples were read",
        fed.samples
    );
    let (tiers, summaries) = ask(false)?;
    ensure!(
        summaries < samples / 10,
        "{summaries} summaries were read in place of {samples} samples"
    );
    Ok(MonthRun {
        series: series.len(),
        samples: fed.samples,
        raw,
        tiers,
    })
}

/// A store that is fed span by span.
struct Fed {
    store: Tsdb,
    clock: Arc<SimulatedClock>,
    streams: Streams,
    metrics: BTreeSet<String>,
    samples: u64,
    sealing: Duration,
    _folder: TempDir,
}

impl Fed {
    fn new(lab: &Lab, shape: Shape, hosts: usize, start: TimestampMs) -> Result<Self> {
        Self::of(lab, shape, hosts, start, TierRetention::default(), |_| true)
    }

    /// Returns one that has those series of the hosts that are to be kept.
    fn of(
        lab: &Lab,
        shape: Shape,
        hosts: usize,
        start: TimestampMs,
        tiers: TierRetention,
        keep: impl Fn(&HostSeries) -> bool,
    ) -> Result<Self> {
        let workload = lab.workload(shape)?;
        let hosts: Vec<Host> = (0..hosts.max(1))
            .map(|number| workload.host(number, start))
            .collect();
        let metrics = hosts
            .iter()
            .flat_map(|host| host.series())
            .filter_map(|series| series.labels.metric_name())
            .map(str::to_owned)
            .collect();
        let folder = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(&lab.work)?;
        let clock = Arc::new(SimulatedClock::starting_at(wall(start)?));
        let store = open(folder.path(), tiers, Arc::<SimulatedClock>::clone(&clock))?;
        let mut streams = Streams::new();
        for host in hosts {
            streams.push(Stream::define(&store, host, &keep)?);
        }
        Ok(Self {
            store,
            clock,
            streams,
            metrics,
            samples: 0,
            sealing: Duration::ZERO,
            _folder: folder,
        })
    }

    /// Appends the rows of the next span and waits until they are sealed; measures the sealing.
    fn span(&mut self, rows: usize) -> Result<()> {
        let before = self.append_span(rows, 1)?;
        self.await_seals()?;
        // What the keeper does last is not seen from here.
        pause(Duration::from_millis(200));
        self.sealing += cpu_of(KEEPER)?.saturating_sub(before);
        Ok(())
    }

    /// Appends the rows of the next span in batches of so many, and lets it be over; returns the keeper's CPU time when all were appended.
    fn append_span(&mut self, rows: usize, batch: usize) -> Result<Duration> {
        // The head is not sealed before it has all rows.
        self.clock.advance(SPAN - BEFORE_END);
        for _ in 0..rows / batch {
            self.samples += self.streams.append_all(&self.store, batch)?;
        }
        let before = cpu_of(KEEPER)?;
        self.clock.advance(BEFORE_END);
        Ok(before)
    }

    fn await_seals(&self) -> Result<()> {
        wait_until(
            "the seal of everything",
            Duration::from_millis(20),
            Duration::from_secs(120),
            || {
                let stats = self.store.stats();
                ensure!(stats.seal_failures == 0, "a seal failed");
                // A head is as old as the rows that its shard has taken, which may be later than they were stored.
                self.clock.advance(Duration::from_secs(1));
                Ok((stats.seals > 0 && stats.head_series == 0).then_some(()))
            },
        )
    }

    /// Selects everything, and returns the CPU time of that.
    fn decode(&self, range: TimeRange) -> Result<Duration> {
        let before = thread_cpu_time();
        let mut decoded = 0;
        for metric in &self.metrics {
            decoded += decode(&self.store, metric, range)?;
        }
        let decoding = thread_cpu_time().saturating_sub(before);
        ensure!(
            decoded == self.samples,
            "{} samples were stored and {decoded} selected",
            self.samples
        );
        Ok(decoding)
    }
}

fn cpu_of(thread: &str) -> Result<Duration> {
    let by_thread = Proc::own().cpu_by_thread()?;
    Ok(by_thread.get(thread).copied().unwrap_or_default())
}

fn open(folder: &Path, tiers: TierRetention, clock: SharedClock) -> Result<Tsdb> {
    let mut config = TsdbConfig::at(folder.join("data"));
    config.tiers = tiers;
    // Thirty days are asked for.
    config.retention = SPAN * SPANS * 60;
    // Rows are waited for one by one.
    config.log.spacing = Duration::ZERO;
    // All of a span in one head: it begins with its first row, and is as old when the span is over.
    config.seal.age = BEFORE_END;
    config.seal.head_bytes = 4_096 * MIB;
    config.seal.log_bytes = 4_096 * MIB;
    config.limits.head_bytes_max = 16_384 * MIB;
    let (store, _) = Tsdb::open(config, Arc::new(Disk), clock)?;
    Ok(store)
}

/// Selects every series of a metric, and returns how many samples they have.
fn decode(store: &Tsdb, metric: &str, range: TimeRange) -> Result<u64> {
    let matchers = [Matcher::equal(METRIC_NAME, metric)];
    let select = Select {
        matchers: &matchers,
        range,
        hints: SelectHints::default(),
    };
    let series = store.querier()?.select(&select, &Unlimited)?;
    let mut samples = 0;
    for segment in series.iter().flat_map(|series| &series.segments) {
        let SegmentValues::Floats(values) = &segment.values else {
            bail!("floats became something else");
        };
        samples += values.len() as u64;
    }
    ensure!(!series.is_empty(), "{metric} has no series");
    Ok(samples)
}
