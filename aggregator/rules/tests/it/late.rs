//! Outages: what rules have recorded after a backfill is what they would have recorded without an outage, bit for bit.
//!
//! A seed makes agents, samples, groups of rules and outages. It is run twice under a virtual clock, on the real store: once as if nothing had
//! broken, and once with agents that cannot be reached for a while, go on live, and bring what they have kept beside it; there the process is
//! also killed in the midst of its corrections.
//!
//! `PROMONTORY_RULES_SEED=123 cargo test -p rules --test it late::replay` plays one again.

#![expect(clippy::unwrap_used, reason = "a test's own helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use files::{KeyValue, SharedFileSystem, Simulated};
use model::{Labels, MetricType, STALE_NAN, TimeRange, TimestampMs, Value};
use promql::{Engine, EngineConfig, ParserOptions};
use rows::{
    Batch, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortDefinition, CohortId,
    Epoch, Presence, Row, RowCounter, SeriesDefinition,
};
use rules::{
    AlertSink, Amendment, DirectQueries, FileOptions, LatePass, LateSettings, Notice, RuleFile,
    Rules, Settings, StoreRecorder,
};
use storage::{AppendOutcome, Appender, Lane, Queryable, Select, SelectHints, Source, Unlimited};
use tsdb::{Tsdb, TsdbConfig};

const START_MS: i64 = 1_700_000_000_000;
/// Seconds of a run, and those in which outages may be: behind the last one all is quiet.
const RUN_S: i64 = 720;
const OUTAGES_S: i64 = 360;
/// Seconds between an agent's rows.
const ROW_S: i64 = 15;
const SERIES: usize = 4;
const LOOKBACK: Duration = Duration::from_secs(60);
/// Seeds that every change is checked with.
const SEEDS: u64 = 6;

/// Rules to choose from; what those of the second list read, the first one records.
const FIRST: &[&str] = &[
    "{record: sum_g, expr: sum(g)}",
    "{record: rate_c, expr: 'sum by (i) (rate(c[1m]))'}",
    "{record: max_g, expr: 'max by (agent) (g)'}",
    "{record: few, expr: 'g > 60', labels: {l: v}}",
    "{record: mean_g, expr: 'avg_over_time(g[45s])'}",
    "{record: before, expr: 'g offset 1m'}",
    "{record: count_g, expr: count(g)}",
];
const SECOND: &[&str] = &[
    "{record: mean_sum, expr: 'avg_over_time(sum_g[90s])'}",
    "{record: ratio, expr: 'sum_g / count_g'}",
    "{record: peak, expr: 'max_over_time(rate_c[1m:15s])'}",
    "{record: none, expr: 'absent(max_g{agent=\"0\"})'}",
    "{alert: High, expr: 'g > 70', for: 1m, annotations: {s: '{{ $value }}'}}",
    "{alert: Kept, expr: 'few > 80', keep_firing_for: 1m, labels: {of: '{{ $labels.agent }}'}}",
    "{alert: Sum, expr: 'sum_g > 300', for: 90s}",
];

/// What a seed says.
#[derive(Clone, Debug)]
struct Story {
    seed: u64,
    agents: u32,
    groups: String,
    query_offset: Duration,
    /// Agent, first and last second.
    outages: Vec<(u32, i64, i64)>,
    /// Rows of a catch-up batch, and evaluations of a pass in a second.
    rows_at_once: usize,
    steps_at_once: u64,
    /// After so many steps the process is killed.
    kill_after: Option<u64>,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let agents = random.u32(1..=3);
        let mut group = |name: &str, rules: &[&str]| {
            let interval = [15, 30][random.usize(..2)];
            let chosen: Vec<&str> = (rules.iter())
                .filter(|_| random.u8(..4) > 0)
                .copied()
                .collect();
            format!(
                "- {{name: {name}, interval: {interval}s, rules: [{}]}}\n",
                chosen.join(", ")
            )
        };
        let groups = format!(
            "groups:\n{}{}{}",
            group("first", FIRST),
            group("second", SECOND),
            group("third", &SECOND[..4]).replace("record: ", "record: third_"),
        );
        let outages = (0..random.usize(1..=3)).map(|_| {
            let from = random.i64(60..OUTAGES_S - 60);
            (random.u32(..agents), from, random.i64(from + 20..OUTAGES_S))
        });
        let outages = outages.collect();
        Self {
            seed,
            agents,
            groups,
            query_offset: Duration::from_secs([0, 5][random.usize(..2)]),
            outages,
            rows_at_once: random.usize(1..=8),
            steps_at_once: random.u64(1..=20),
            kill_after: random.bool().then(|| random.u64(1..40)),
        }
    }

    /// Returns the values of an agent's row, the same in every run: some series come and go, with a mark and without.
    fn row(&self, agent: u32, second: i64) -> Vec<Option<f64>> {
        let step = second / ROW_S;
        let noise = |series: usize, step: i64| {
            let place = u64::from(agent) << 48 | (series as u64) << 32 | step.unsigned_abs();
            fastrand::Rng::with_seed(self.seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        let is_there = |series: usize, step: i64| {
            second >= OUTAGES_S - 30 || noise(series, step / 5 + 1_000).u8(..4) > 0
        };
        let value = |series: usize| {
            if !is_there(series, step) {
                let ends = is_there(series, step - 1) && noise(series, step).bool();
                return ends.then_some(STALE_NAN);
            }
            let random = noise(series, step).f64();
            Some(if series.is_multiple_of(2) {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let steps = step as f64;
                steps * 10.0 + random
            } else {
                random * 100.0
            })
        };
        (0..SERIES).map(value).collect()
    }
}

/// Hears what people are told, and checks that it is news: of an alert that begins to fire just now.
#[derive(Debug, Default)]
struct Ears {
    now: AtomicI64,
    heard: Mutex<BTreeSet<(Labels, i64)>>,
    amended: AtomicU64,
}

impl AlertSink for Ears {
    fn notify(&self, notices: Vec<Notice>) {
        let now = self.now.load(Ordering::Relaxed);
        for notice in notices {
            let since = notice.starts_at.0;
            let is_new = self.heard.lock().unwrap().insert((notice.labels, since));
            assert!(!is_new || since > now - 1_000, "{since} is old at {now}");
        }
    }

    fn amend(&self, amendments: Vec<Amendment>) {
        let count = amendments.len() as u64;
        self.amended.fetch_add(count, Ordering::Relaxed);
    }
}

/// An agent: two lanes, one sequence of numbers.
struct Agent {
    sources: [Source; 2],
    coders: [(BatchEncoder, BatchDecoder); 2],
    next: (u64, RowCounter),
    kept: Vec<Arc<Row>>,
}

impl Agent {
    fn new(number: u32) -> Self {
        let source = |lane| Source {
            agent: format!("node-{number}").parse().unwrap(),
            epoch: Epoch(1),
            lane,
        };
        let coder = || (BatchEncoder::new(), BatchDecoder::new());
        Self {
            sources: [source(Lane::Live), source(Lane::CatchUp)],
            coders: [coder(), coder()],
            next: Default::default(),
            kept: Vec::new(),
        }
    }

    fn define(&self, number: u32, store: &Tsdb) {
        let series = (0..SERIES).map(|series| SeriesDefinition {
            labels: Labels::from_pairs([
                ("__name__", ["c", "g"][series % 2]),
                ("agent", number.to_string().as_str()),
                ("i", (series / 2).to_string().as_str()),
            ])
            .unwrap(),
            kind: MetricType::Unknown,
        });
        let definition = CohortDefinition {
            cohort: CohortId(0),
            name: Arc::from("node"),
            first_slot: 0,
            series: series.collect(),
        };
        store.define(&self.sources[0], definition).unwrap();
    }

    fn row(&mut self, at: TimestampMs, values: &[Option<f64>]) -> Arc<Row> {
        let mut presence = Presence::filled(values.len(), true);
        for (slot, value) in values.iter().enumerate() {
            presence.set(slot, value.is_some());
        }
        self.next.1 += 1;
        Arc::new(Row {
            cohort: CohortId(0),
            counter: self.next.1 - 1,
            at,
            presence,
            floats: values.iter().map(|value| value.unwrap_or(0.0)).collect(),
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        })
    }

    fn bring(&mut self, lane: usize, rows: &[Arc<Row>], store: &Tsdb) {
        let contents = BatchContents {
            rows,
            samples: &[],
            metadata: &[],
        };
        let (encoder, decoder) = &mut self.coders[lane];
        let bytes = encoder.encode(&contents).unwrap().bytes;
        let number = BatchNumber(self.next.0);
        self.next.0 += 1;
        let batch: Arc<Batch> = Arc::new(decoder.decode(number, bytes).unwrap());
        let (said, answer) = sync_channel(1);
        let done = Box::new(move |outcome| drop(said.send(outcome)));
        store.append(&self.sources[lane], batch, done).unwrap();
        let outcome = answer.recv().unwrap();
        assert!(matches!(outcome, AppendOutcome::Stored(refused) if refused.total() == 0));
    }
}

/// The process, as far as it matters here.
struct Process {
    store: Arc<Tsdb>,
    rules: Rules,
    recorder: StoreRecorder,
    pass: Option<LatePass>,
}

struct World {
    story: Story,
    disk: Simulated,
    clock: Arc<SimulatedClock>,
    engine: Engine,
    ears: Arc<Ears>,
    agents: Vec<Agent>,
    process: Option<Process>,
    starts: u64,
    steps: u64,
    /// When the first pass ended.
    corrected_until: Option<TimestampMs>,
}

impl World {
    fn new(story: Story) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs());
        let engine = EngineConfig {
            lookback: LOOKBACK,
            ..EngineConfig::default()
        };
        let mut world = Self {
            agents: (0..story.agents).map(Agent::new).collect(),
            story,
            disk: Simulated::new(),
            clock: Arc::new(SimulatedClock::starting_at(start)),
            engine: Engine::new(engine),
            ears: Arc::default(),
            process: None,
            starts: 0,
            steps: 0,
            corrected_until: None,
        };
        world.start(TimestampMs(START_MS));
        world
    }

    fn start(&mut self, now: TimestampMs) {
        self.starts += 1;
        let mut config = TsdbConfig::at("/data");
        config.shards = NonZeroU16::new(2);
        config.log.segment_bytes = 64 * 1024;
        config.log.spacing = Duration::ZERO;
        config.seal.age = Duration::from_secs(200);
        config.late.except = vec!["promontory-rules".parse().unwrap()];
        let files: SharedFileSystem = Arc::new(self.disk.clone());
        let clock = Arc::<SimulatedClock>::clone(&self.clock);
        let (store, report) = Tsdb::open(config, Arc::clone(&files), clock).unwrap();
        assert_eq!(report.damage_count, 0, "{:?}", report.damages);
        let store = Arc::new(store);
        let database = KeyValue::open(files, Path::new("/rules.redb")).unwrap();
        let sink = Arc::<Ears>::clone(&self.ears);
        let rules = Rules::new(Some(Arc::new(database)), sink, ParserOptions::default());
        let options = FileOptions::default();
        let file = RuleFile::parse(Path::new("r.yml"), &self.story.groups, options).unwrap();
        let settings = Settings {
            query_offset: self.story.query_offset,
            late: LateSettings {
                settle: Duration::from_secs(10),
                lookback: LOOKBACK,
                ..LateSettings::default()
            },
            ..Settings::default()
        };
        rules.load(vec![file], settings, now).unwrap();
        let parts: (Arc<dyn Appender>, Arc<dyn Queryable>) =
            (Arc::<Tsdb>::clone(&store), Arc::<Tsdb>::clone(&store));
        let writer = "promontory-rules".parse().unwrap();
        let recorder = StoreRecorder::new(parts, writer, Epoch(self.starts), |_| true);
        for (number, agent) in (0..).zip(&self.agents) {
            agent.define(number, &store);
        }
        self.process = Some(Process {
            store,
            rules,
            recorder,
            pass: None,
        });
    }

    fn second(&mut self, second: i64, is_whole: bool) {
        self.clock.advance(Duration::from_secs(1));
        let now = TimestampMs(START_MS + second * 1_000);
        self.ears.now.store(now.0, Ordering::Relaxed);
        let process = self.process.as_mut().unwrap();
        for (number, agent) in (0..).zip(&mut self.agents) {
            let cut = |(cut, from, to): &(u32, i64, i64)| {
                *cut == number && (*from..*to).contains(&second)
            };
            let is_cut = !is_whole && self.story.outages.iter().any(cut);
            if (second + i64::from(number)) % ROW_S == 0 {
                let values = self.story.row(number, second);
                let row = agent.row(now, &values);
                if is_cut {
                    agent.kept.push(row);
                } else {
                    agent.bring(0, &[row], &process.store);
                }
            } else if !is_cut && !agent.kept.is_empty() {
                let rows = agent.kept.len().min(self.story.rows_at_once);
                let rows: Vec<_> = agent.kept.drain(..rows).collect();
                agent.bring(1, &rows, &process.store);
            }
        }
        process.store.catch_up();
        let queries = DirectQueries {
            engine: &self.engine,
            store: &*process.store,
        };
        for due in process.rules.take_due(now) {
            process.rules.evaluate(due, &queries, &process.recorder);
        }
        process.rules.note_late(&process.store.take_late(), now);
        if process.pass.is_none() {
            process.pass = process.rules.begin_late(now);
        }
        for _ in 0..self.story.steps_at_once {
            let Some(pass) = &mut process.pass else { break };
            self.steps += 1;
            if !pass.step(&queries, &process.recorder).unwrap() {
                process.rules.end_late(pass, true, now);
                process.pass = None;
                self.corrected_until.get_or_insert(now);
            }
        }
        if self
            .story
            .kill_after
            .is_some_and(|after| self.steps >= after)
        {
            self.story.kill_after = None;
            self.disk.kill();
            self.process = None;
            self.start(now);
        }
    }

    fn run(story: &Story, is_whole: bool) -> Self {
        let mut world = Self::new(story.clone());
        for second in 1..=RUN_S {
            world.second(second, is_whole);
        }
        world
    }

    /// Returns the samples of all series that rules wrote.
    fn recorded(&self) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
        let store = &self.process.as_ref().unwrap().store;
        let select = Select {
            matchers: &[],
            range: TimeRange::ALL,
            hints: SelectHints::default(),
        };
        let found = store.querier().unwrap().select(&select, &Unlimited);
        let of_rules = found.unwrap().into_iter().filter(|series| {
            let name = series.labels.metric_name();
            name.is_some_and(|name| name != "c" && name != "g")
        });
        of_rules
            .map(|series| {
                let bits = |value: &Value| match value {
                    Value::Float(value) => value.to_bits(),
                    Value::Histogram(_) => 0,
                };
                let samples = series.samples(TimeRange::ALL);
                let samples = samples
                    .map(|sample| (sample.at.0 - START_MS, bits(&sample.value)))
                    .collect();
                (series.labels, samples)
            })
            .collect()
    }
}

/// Returns the evaluations that the second run had to do again, and the samples that it corrected.
fn check(seed: u64) -> (u64, u64) {
    let story = Story::of(seed);
    let (whole, broken) = (World::run(&story, true), World::run(&story, false));
    let counts = broken.process.as_ref().unwrap().rules.late_counts();
    assert_eq!(counts.owed, 0, "seed {seed}: {counts:?} {story:?}");
    let none = whole.process.as_ref().unwrap().rules.late_counts();
    assert_eq!(none.evaluations, 0, "seed {seed}");
    // An evaluation stores at the time that it looks at.
    let stored_until = |at: TimestampMs| at.saturating_sub(story.query_offset).0 - START_MS;
    let until = broken.corrected_until.map_or(0, stored_until);
    let (expected, found) = (whole.recorded(), broken.recorded());
    let names: BTreeSet<&Labels> = expected.keys().chain(found.keys()).collect();
    for labels in names {
        // What was said to people while it was wrong goes on until it is over.
        let is_alert = labels
            .metric_name()
            .is_some_and(|name| name.starts_with("ALERTS"));
        let bound = if is_alert { until } else { i64::MAX };
        let samples = |all: &BTreeMap<Labels, BTreeMap<i64, u64>>| {
            let samples = all.get(labels).cloned().unwrap_or_default();
            samples
                .range(..bound)
                .map(|(at, bits)| (*at, *bits))
                .collect::<BTreeMap<i64, u64>>()
        };
        let (expected, found) = (samples(&expected), samples(&found));
        let differing: Vec<_> = (expected.keys().chain(found.keys()))
            .filter(|at| expected.get(*at) != found.get(*at))
            .map(|at| {
                (
                    *at,
                    expected.get(at).map(|bits| f64::from_bits(*bits)),
                    found.get(at).map(|bits| f64::from_bits(*bits)),
                )
            })
            .collect();
        assert!(
            differing.is_empty(),
            "seed {seed}: {labels}: (at, expected, found) {differing:?}\n{story:?}"
        );
    }
    assert_eq!(whole.ears.amended.load(Ordering::Relaxed), 0, "seed {seed}");
    (counts.evaluations, counts.corrected)
}

#[test]
fn what_is_recorded_after_an_outage_is_what_would_have_been_without() {
    let (mut evaluations, mut corrected) = (0, 0);
    for seed in 0..SEEDS {
        let (of_seed, samples) = check(seed);
        (evaluations, corrected) = (evaluations + of_seed, corrected + samples);
    }
    assert!(evaluations > 0 && corrected > 0);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch; no configuration is read here"
)]
fn replay() {
    let seed = std::env::var("PROMONTORY_RULES_SEED").ok();
    if let Some(seed) = seed.and_then(|seed| seed.parse().ok()) {
        let (evaluations, corrected) = check(seed);
        println!(
            "seed {seed}: {evaluations} evaluations over again, {corrected} samples corrected"
        );
    }
}

#[test]
#[ignore = "takes minutes: 500 seeds"]
fn five_hundred_outages() {
    let (mut evaluations, mut corrected) = (0, 0);
    for seed in 0..500 {
        let (of_seed, samples) = check(seed);
        (evaluations, corrected) = (evaluations + of_seed, corrected + samples);
    }
    println!("500 seeds: {evaluations} evaluations over again, {corrected} samples corrected");
}
