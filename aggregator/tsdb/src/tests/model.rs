//! Random histories against a naive twin: a list of the samples that the store acknowledged, in order, from which deletes take what they hit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use model::{
    CounterReset, Histogram, Labels, MatchOp, Matcher, STALE_NAN, Span, TimeRange, TimestampMs,
    VOID_NAN, Value,
};
use proptest::prelude::*;
use rows::{Batch, CohortId, Row, SeriesSample};
use storage::{
    AppendOutcome, Appender, Lane, MemoryStore, Queryable, Refusals, Select, SelectHints,
    SeriesData, Source, Unlimited, WantedLabels,
};

use crate::Tsdb;
use crate::testing::*;

const AGENTS: usize = 2;
const COHORTS: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Rows of a cohort, in one batch, on a lane.
    Rows {
        agent: usize,
        cohort: u32,
        lane: bool,
        /// Seconds before or after the cohort's last row of this agent.
        shift: i64,
        rows: Vec<Vec<Option<f64>>>,
        histogram: bool,
    },
    /// Samples with times of their own.
    Samples {
        agent: usize,
        samples: Vec<(u16, i64, f64)>,
    },
    /// Says again what samples of a cohort were, between and at full seconds; `None`: there were none.
    Correct {
        agent: usize,
        cohort: u32,
        between: bool,
        samples: BTreeMap<(u16, i64), Option<f64>>,
    },
    /// Brings an earlier batch again.
    Again(prop::sample::Index),
    /// The next batch of this agent is held back until the end of the history.
    Hold {
        agent: usize,
    },
    Reconnect {
        agent: usize,
    },
    NewEpoch {
        agent: usize,
    },
    /// Closes or cuts the power, and opens again.
    Reopen {
        crash: Option<u64>,
    },
    /// Time passes; then everything that is due is sealed, merged and removed.
    Keep {
        hours: u64,
        freeze: bool,
    },
    /// So much time passes that the open rows of cohorts are closed that have had none since the last time.
    Pause,
    /// Deletes a slot of all cohorts, or all series of an agent, between two seconds.
    Delete {
        slot: Option<u16>,
        agent: usize,
        from: i64,
        to: i64,
    },
    /// Carries out all deletes in the files.
    Clean,
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        2 => Just(None),
        4 => (-3i32..3).prop_map(|n| Some(f64::from(n))),
        2 => any::<f64>().prop_map(Some),
        1 => Just(Some(STALE_NAN)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0..AGENTS;
    let rows = prop::collection::vec(prop::collection::vec(value(), 1..6), 1..12);
    prop_oneof![
        12 => (agent.clone(), 0..COHORTS, prop::bool::weighted(0.3), -30i64..60, rows, prop::bool::weighted(0.2))
            .prop_map(|(agent, cohort, lane, shift, rows, histogram)| Step::Rows { agent, cohort, lane, shift, rows, histogram }),
        3 => (agent.clone(), prop::collection::vec((0u16..5, -8_000i64..8_000, any::<f64>()), 1..8))
            .prop_map(|(agent, samples)| Step::Samples { agent, samples }),
        4 => (agent.clone(), 0..COHORTS, any::<bool>(), prop::collection::btree_map((0u16..5, -60i64..200), prop::option::of(any::<f64>()), 1..60))
            .prop_map(|(agent, cohort, between, samples)| Step::Correct { agent, cohort, between, samples }),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        2 => agent.clone().prop_map(|agent| Step::Hold { agent }),
        1 => agent.clone().prop_map(|agent| Step::Reconnect { agent }),
        1 => agent.prop_map(|agent| Step::NewEpoch { agent }),
        2 => prop::option::of(any::<u64>()).prop_map(|crash| Step::Reopen { crash }),
        4 => (prop_oneof![Just(0), 1u64..8, 8u64..40], any::<bool>())
            .prop_map(|(hours, freeze)| Step::Keep { hours, freeze }),
        6 => Just(Step::Pause),
        2 => (prop::option::of(0u16..5), 0..AGENTS, -2_000i64..2_000, prop_oneof![0i64..50, 0i64..9_000])
            .prop_map(|(slot, agent, from, length)| Step::Delete { slot, agent, from, to: from + length }),
        1 => Just(Step::Clean),
    ]
}

/// An agent with its lanes: numbers are one sequence, bases are per lane.
struct Sender {
    lanes: [Agent; 3],
    next_number: u64,
    epoch: u64,
    hold: bool,
    last: BTreeMap<u32, i64>,
}

impl Sender {
    fn new(index: usize, epoch: u64) -> Self {
        let name = format!("node-{index}");
        Self {
            lanes: [
                Agent::new(&name, epoch),
                Agent::new(&name, epoch).lane(Lane::CatchUp),
                Agent::new(&name, epoch).lane(Lane::Correction),
            ],
            next_number: 0,
            epoch,
            hold: false,
            last: BTreeMap::new(),
        }
    }

    fn batch(
        &mut self,
        lane: usize,
        make: impl FnOnce(&mut Agent) -> Arc<Batch>,
    ) -> (Source, Arc<Batch>) {
        let agent = &mut self.lanes[lane];
        agent.next_number = self.next_number;
        let batch = make(agent);
        self.next_number = agent.next_number;
        (agent.source.clone(), batch)
    }

    fn define(&self, store: &dyn Appender) {
        for agent in &self.lanes {
            define(store, &agent.source);
        }
    }

    fn number_of(&self, cohort: u32) -> u32 {
        (cohort + self.epoch as u32) % COHORTS
    }
}

/// Defines all cohorts, as an agent does on each connection.
fn define(store: &dyn Appender, source: &Source) {
    for cohort in 0..COHORTS {
        let series: Vec<_> = (0..5)
            .map(|slot| {
                let name = format!("{}_{cohort}", source.agent);
                labels(&[("__name__", &name), ("slot", &slot.to_string())])
            })
            .collect();
        // Cohorts are numbered anew in each epoch.
        let number = (cohort + source.epoch.0 as u32) % COHORTS;
        let name = format!("cohort-{cohort}");
        store
            .define(source, definition(number, &name, &series))
            .unwrap();
    }
}

pub(super) fn histogram(count: u64) -> Arc<Histogram> {
    Arc::new(Histogram {
        reset: CounterReset::NotReset,
        sum: count as f64 / 3.0,
        positive_spans: vec![Span {
            offset: 1,
            length: 2,
        }],
        buckets: model::Buckets::Integer {
            count,
            zero: 0,
            positive: vec![count / 2, count - count / 2],
            negative: vec![],
        },
        ..Histogram::stale()
    })
}

struct History {
    world: World,
    store: Option<Tsdb>,
    /// Knows the numbers of batches.
    twin: MemoryStore,
    senders: Vec<Sender>,
    sent: Vec<(Source, Arc<Batch>)>,
    held: Vec<(Source, Arc<Batch>)>,
    /// The samples that the store must have, in the order of the log.
    samples: Vec<(Labels, i64, String)>,
    /// Whether samples that another one hides at the same time may be gone.
    merged: bool,
}

impl History {
    fn new(seal_bytes: u64) -> Self {
        let mut world = World::new();
        world.config.seal.head_bytes = seal_bytes;
        world.config.log.segment_bytes = 8 * 1024;
        world.config.ahead_max = Duration::from_hours(24);
        world.config.retention = Duration::from_hours(24 * 400);
        let store = world.open().0;
        let history = Self {
            world,
            store: Some(store),
            twin: MemoryStore::new(),
            senders: (0..AGENTS).map(|index| Sender::new(index, 1)).collect(),
            sent: Vec::new(),
            held: Vec::new(),
            samples: Vec::new(),
            merged: false,
        };
        history.define();
        history
    }

    fn store(&self) -> &Tsdb {
        self.store.as_ref().unwrap()
    }

    fn define(&self) {
        for sender in &self.senders {
            sender.define(self.store());
            sender.define(&self.twin);
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Rows {
                agent,
                cohort,
                lane,
                shift,
                rows,
                histogram: with_histogram,
            } => {
                let sender = &mut self.senders[agent];
                let number = sender.number_of(cohort);
                let last = *sender.last.entry(cohort).or_insert(START_MS);
                let start = last + shift * 1_000;
                let end = start + rows.len() as i64 * 1_000;
                sender.last.insert(cohort, last.max(end));
                let (source, batch) = sender.batch(usize::from(lane), |agent| {
                    let mut at = start;
                    let rows: Vec<Arc<Row>> = rows
                        .iter()
                        .map(|values| {
                            at += 1_000;
                            let row = agent.row(number, at, values);
                            if with_histogram { with(row, at) } else { row }
                        })
                        .collect();
                    agent.batch(&rows, &[])
                });
                self.offer(agent, source, batch);
            }
            Step::Samples { agent, samples } => {
                let sender = &mut self.senders[agent];
                let number = sender.number_of(0);
                let (source, batch) = sender.batch(0, |agent| {
                    let samples: Vec<SeriesSample> = samples
                        .iter()
                        .map(|(slot, at, value)| SeriesSample {
                            cohort: CohortId(number),
                            slot: *slot,
                            // Beside the rows' full seconds: across runs of both kinds the first in the log is told by runs.
                            at: TimestampMs(START_MS + at * 1_000 + 7),
                            value: Value::Float(*value),
                            start: TimestampMs(0),
                        })
                        .collect();
                    agent.batch(&[], &samples)
                });
                self.offer(agent, source, batch);
            }
            Step::Correct {
                agent,
                cohort,
                between,
                samples,
            } => {
                let sender = &mut self.senders[agent];
                let number = sender.number_of(cohort);
                let (source, batch) = sender.batch(2, |agent| {
                    let sample = |((slot, at), value): (&(u16, i64), &Option<f64>)| SeriesSample {
                        cohort: CohortId(number),
                        slot: *slot,
                        at: TimestampMs(START_MS + at * 1_000 + if between { 7 } else { 0 }),
                        value: Value::Float(value.unwrap_or(VOID_NAN)),
                        start: TimestampMs(0),
                    };
                    agent.batch(&[], &samples.iter().map(sample).collect::<Vec<_>>())
                });
                self.offer(agent, source, batch);
            }
            Step::Again(index) => {
                if !self.sent.is_empty() {
                    let (source, batch) = index.get(&self.sent).clone();
                    let outcome = append(self.store(), &source, &batch);
                    assert_eq!(outcome, AppendOutcome::Duplicate);
                }
            }
            Step::Hold { agent } => self.senders[agent].hold = true,
            Step::Reconnect { agent } => {
                for lane in &mut self.senders[agent].lanes {
                    lane.reconnect();
                }
            }
            Step::NewEpoch { agent } => {
                let last = std::mem::take(&mut self.senders[agent].last);
                self.senders[agent] = Sender::new(agent, self.senders[agent].epoch + 1);
                self.senders[agent].last = last;
                self.define();
            }
            Step::Reopen { crash } => self.reopen(crash),
            Step::Keep { hours, freeze } => {
                self.world.clock.advance(Duration::from_hours(hours));
                // When time has passed, so that the log thread has looked for idle cohorts before they are defined again below.
                if freeze || hours > 0 {
                    self.store().freeze().unwrap();
                }
                assert!(self.store().keep());
                self.merged = true;
                self.check_contents();
                // Cohorts that nobody used for long are forgotten.
                self.define();
            }
            // Fewer than make a day, in which a cohort is forgotten.
            Step::Pause => self.world.clock.advance(Duration::from_mins(11)),
            Step::Delete {
                slot,
                agent,
                from,
                to,
            } => self.delete(slot, agent, (from, to)),
            Step::Clean => {
                self.store().clean_deletes().unwrap();
                self.merged = true;
                assert_eq!(self.store().stats().partitions_hit, 0);
                self.check_contents();
            }
        }
    }

    fn delete(&mut self, slot: Option<u16>, agent: usize, (from, to): (i64, i64)) {
        let matcher = match slot {
            Some(slot) => Matcher::equal("slot", slot.to_string()),
            None => {
                let names = format!("node-{agent}_.*");
                Matcher::new("__name__", MatchOp::Regex, names).unwrap()
            }
        };
        let range = TimeRange::new(
            TimestampMs(START_MS + from * 1_000),
            TimestampMs(START_MS + to * 1_000),
        );
        let sets = vec![vec![matcher.clone()]];
        self.store().delete(&sets, range).unwrap();
        self.samples.retain(|(labels, at, _)| {
            let hit = matcher.matches(labels.get(matcher.name()).unwrap_or_default());
            !hit || !range.contains(TimestampMs(*at))
        });
        self.check_contents();
    }

    fn offer(&mut self, agent: usize, source: Source, batch: Arc<Batch>) {
        if std::mem::take(&mut self.senders[agent].hold) {
            self.held.push((source, batch));
        } else {
            self.send(source, batch);
        }
    }

    fn send(&mut self, source: Source, batch: Arc<Batch>) {
        let outcome = append(self.store(), &source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        let samples = samples_of(&source, &batch);
        if source.lane == Lane::Correction {
            let corrected: BTreeSet<_> = (samples.iter())
                .map(|(labels, at, _)| (labels.clone(), *at))
                .collect();
            (self.samples).retain(|(labels, at, _)| !corrected.contains(&(labels.clone(), *at)));
            // They are in the store still.
            self.merged = true;
        }
        self.samples.extend(samples);
        append(&self.twin, &source, &batch);
        self.sent.push((source, batch));
    }

    fn reopen(&mut self, crash: Option<u64>) {
        if let Some(seed) = crash {
            self.world.disk.crash(seed);
        }
        self.store = None;
        let (store, report) = self.world.open();
        assert_eq!(report.damages, []);
        self.store = Some(store);
        self.check();
        self.define();
    }

    fn check(&self) {
        for (source, _) in &self.sent {
            let known = self.store().known(&source.agent, source.epoch);
            assert_eq!(known, self.twin.known(&source.agent, source.epoch));
        }
        self.check_contents();
        let dumped = dump(self.store());
        if !self.merged {
            // Of loose samples that repeat a time, the store may drop all but the first.
            let in_rows = |samples: &[(Labels, i64, String)]| {
                samples.iter().filter(|(_, at, _)| at % 1_000 != 7).count()
            };
            assert_eq!(in_rows(&dumped), in_rows(&self.samples));
            assert!(dumped.len() <= self.samples.len());
        }
        let places = |samples: &[(Labels, i64, String)]| -> BTreeSet<(Labels, i64)> {
            let place = |(labels, at, _): &(Labels, i64, String)| (labels.clone(), *at);
            samples.iter().map(place).collect()
        };
        assert_eq!(places(&dumped), places(&self.samples));
    }

    fn check_contents(&self) {
        let void = text_of(&Value::Float(VOID_NAN));
        let mut expected: BTreeMap<Labels, BTreeMap<i64, String>> = BTreeMap::new();
        for (labels, at, value) in &self.samples {
            let of_series = expected.entry(labels.clone()).or_default();
            of_series.entry(*at).or_insert_with(|| value.clone());
        }
        let expected: Contents = expected
            .into_iter()
            .map(|(labels, mut samples)| {
                samples.retain(|_, value| *value != void);
                (labels, samples.into_iter().collect::<Vec<_>>())
            })
            .filter(|(_, samples)| !samples.is_empty())
            .collect();
        // What is acknowledged is applied a moment later.
        for _ in 0..1_000 {
            if contents(self.store()) == expected {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(contents(self.store()), expected);
        let times: BTreeSet<i64> = self.samples.iter().map(|(_, at, _)| *at).collect();
        let middle = times.iter().nth(times.len() / 2).copied().unwrap_or(0);
        for range in [
            TimeRange::ALL,
            TimeRange::new(TimestampMs::MIN, TimestampMs(middle)),
            TimeRange::new(TimestampMs(middle - 20_000), TimestampMs(middle)),
            TimeRange::new(TimestampMs(middle), TimestampMs::MAX),
        ] {
            check_newest(self.store(), range);
        }
    }
}

/// Checks that who asks for the newest samples alone, and for few labels, gets those of who asks for all.
fn check_newest(store: &Tsdb, range: TimeRange) {
    const NAMES: [&str; 2] = ["__name__", "node"];
    let mut expected: Vec<(Labels, (i64, String))> = contents_within(store, range)
        .into_iter()
        .filter_map(|(labels, samples)| {
            let few = labels.filtered(|name| NAMES.contains(&name));
            Some((few, samples.last()?.clone()))
        })
        .collect();
    let select = Select {
        matchers: &[],
        range,
        hints: SelectHints {
            newest: true,
            ..SelectHints::default()
        },
    };
    let mut found = Vec::new();
    let querier = store.querier().unwrap();
    let wanted = WantedLabels::Only(&NAMES);
    querier
        .select_each(&select, wanted, &Unlimited, &mut |labels, samples| {
            let segments = samples.to_segments();
            let series = SeriesData {
                labels: labels.clone(),
                segments,
            };
            let samples = series.samples(range).last();
            found.extend(samples.map(|sample| {
                let sample = (sample.at.0, text_of(&sample.value));
                (series.labels.clone(), sample)
            }));
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{range:?}");
}

/// Returns the samples of a batch, in order.
fn samples_of(source: &Source, batch: &Batch) -> Vec<(Labels, i64, String)> {
    let series = |cohort: CohortId, slot: usize| {
        let cohorts = i64::from(COHORTS);
        let cohort = (i64::from(cohort.0) - source.epoch.0 as i64).rem_euclid(cohorts);
        let name = format!("{}_{cohort}", source.agent);
        labels(&[("__name__", &name), ("slot", &slot.to_string())])
    };
    let mut samples = Vec::new();
    for decoded in &batch.rows {
        let row = &decoded.row;
        for slot in row.presence.iter() {
            let histogram = row
                .histograms
                .iter()
                .find(|(at, _)| usize::from(*at) == slot);
            let value = match histogram {
                Some((_, histogram)) => Value::Histogram(Arc::clone(histogram)),
                None => Value::Float(row.floats[slot]),
            };
            samples.push((series(row.cohort, slot), row.at.0, text_of(&value)));
        }
    }
    for sample in &batch.samples {
        let labels = series(sample.cohort, usize::from(sample.slot));
        samples.push((labels, sample.at.0, text_of(&sample.value)));
    }
    samples
}

/// Gives the first present slot of a row a histogram.
fn with(row: Arc<Row>, at: i64) -> Arc<Row> {
    let mut row = Arc::unwrap_or_clone(row);
    if let Some(slot) = row.presence.iter().next() {
        row.floats[slot] = 0.0;
        row.histograms = vec![(slot as u16, histogram(at.unsigned_abs() % 1_000))];
    }
    Arc::new(row)
}

/// Heads that are never sealed, often, and at every group.
fn seal_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![Just(u64::MAX), 1_000u64..100_000, Just(1)]
}

fn run(seal_bytes: u64, steps: Vec<Step>) {
    let mut history = History::new(seal_bytes);
    for step in steps {
        history.run(step);
    }
    for (source, batch) in std::mem::take(&mut history.held) {
        define(history.store(), &source);
        history.send(source, batch);
    }
    // A clean end drains the shards, so that everything acknowledged is applied.
    history.store().close();
    history.check();
    history.reopen(None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn histories_agree_with_the_twin(steps in prop::collection::vec(step(), 1..40), seal in seal_bytes()) {
        run(seal, steps);
    }
}
