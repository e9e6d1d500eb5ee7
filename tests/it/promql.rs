//! The engine over the real store gives what it gives over the store in memory, wherever the samples lie: in rows, in series of
//! their own, in the head, in partitions.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use ::promql::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary, random_store};
use ::promql::{Engine, EngineConfig, Grid, Output, QueryOptions, QueryResult};
use clock::SimulatedClock;
use files::Simulated;
use model::{Labels, MatchOp, Matcher, MetricType, TimeRange, TimestampMs, Value};
use rows::{
    Batch, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortDefinition, CohortId,
    Epoch, Presence, Row, SampleContents, SeriesDefinition, SeriesSample, Slot, encode_samples,
};
use storage::{AppendOutcome, Appender, Lane, MemoryStore, Queryable, Select, Source, Unlimited};
use tests::processes::{PATIENCE, wait_until};
use tsdb::{Tsdb, TsdbConfig};

/// In the middle of a span of two hours.
const BASE_S: i64 = 1_700_000_000;
/// Why nothing fails that a test does with its own data on a simulated disk.
const SOUND: &str = "what this test makes is sound";
const STORES: u64 = 16;
const EXPRESSIONS: u64 = 250;

#[test]
fn the_engine_sees_the_same_in_both_stores() {
    let grammar = Grammar::new(Vocabulary::of_random_stores(BASE_S));
    let (mut results, mut refusals) = (0, 0);
    for seed in 0..STORES {
        let mut choices = Choices::seeded(seed);
        let stores = Stores::new(&mut choices, seed.is_multiple_of(2));
        let engine = Engine::new(EngineConfig {
            start_timestamps: seed % 4 < 2,
            ..EngineConfig::default()
        });
        for number in 0..EXPRESSIONS {
            let seed = seed * EXPRESSIONS + number;
            let mut generator =
                Generator::new(&grammar, Choices::seeded(seed), QueryBounds::Written);
            let text = generator.expression();
            let step_ms = i64::from(1 + choices.below(60)) * 1_000;
            let start = TimestampMs((BASE_S + i64::from(choices.below(300))) * 1_000);
            let grid = Grid {
                start,
                end: TimestampMs(start.0 + 4 * step_ms),
                step_ms,
            };
            let options = QueryOptions::default();
            let ask = |store: &dyn Queryable| {
                let output = if number.is_multiple_of(2) {
                    engine.range(store, &text, grid, &options, &Unlimited)
                } else {
                    engine.instant(store, &text, start, &options, &Unlimited)
                };
                output
                    .map(|output| show(&output))
                    .map_err(|error| error.to_string())
            };
            let (expected, found) = (ask(&stores.twin), ask(&stores.tsdb));
            assert!(
                expected == found,
                "seed {seed}, {grid:?}: {text}\nin memory\n{expected:#?}\nin the store\n{found:#?}"
            );
            match found {
                Ok(_) => results += 1,
                Err(_) => refusals += 1,
            }
        }
    }
    println!("{STORES} stores: {results} results and {refusals} refusals agree");
    assert!(refusals * 10 < results, "{refusals} refusals");
}

/// The same batches in both.
struct Stores {
    tsdb: Tsdb,
    twin: MemoryStore,
}

impl Stores {
    /// Returns stores of random data that came in rows, as agents send them, or else as samples with times of their own. What came first
    /// is sealed, the rest is not.
    fn new(choices: &mut Choices, as_rows: bool) -> Self {
        let mut config = TsdbConfig::at("/data");
        config.shards = NonZeroU16::new(2);
        // The simulated clock stands still, so that every group would wait for all of it.
        config.log.spacing = Duration::ZERO;
        let start = Duration::from_secs(BASE_S.unsigned_abs());
        let clock = SimulatedClock::starting_at(SystemTime::UNIX_EPOCH + start);
        let (tsdb, _) =
            Tsdb::open(config, Arc::new(Simulated::new()), Arc::new(clock)).expect(SOUND);
        let stores = Self {
            tsdb,
            twin: MemoryStore::new(),
        };
        let random = random_store(choices, BASE_S);
        let select = Select {
            matchers: &[],
            range: TimeRange::ALL,
            hints: Default::default(),
        };
        let series = random
            .querier()
            .expect(SOUND)
            .select(&select, &Unlimited)
            .expect(SOUND);
        let source = Source {
            agent: "node-1".parse().expect(SOUND),
            epoch: Epoch(1),
            lane: Lane::Live,
        };
        let definition = CohortDefinition {
            cohort: CohortId(0),
            name: Arc::from("random"),
            first_slot: 0,
            series: series
                .iter()
                .map(|series| SeriesDefinition {
                    labels: series.labels.clone(),
                    kind: MetricType::Gauge,
                })
                .collect(),
        };
        for store in [&stores.tsdb as &dyn Appender, &stores.twin] {
            store.define(&source, definition.clone()).expect(SOUND);
        }
        let mut samples: Vec<(TimestampMs, Slot, Value)> = Vec::new();
        for (slot, series) in (0..).zip(&series) {
            let of_series = series.samples(TimeRange::ALL);
            samples.extend(of_series.map(|sample| (sample.at, slot, sample.value)));
        }
        samples.sort_by_key(|(at, slot, _)| (*at, *slot));
        let slots = series.len();
        let cuts = [
            samples.len() * (1 + choices.below(3) as usize) / 4,
            samples.len(),
        ];
        let (mut encoder, mut decoder) = (BatchEncoder::new(), BatchDecoder::new());
        let (mut from, mut counter) = (0, 0);
        for (number, cut) in (0..).zip(cuts) {
            let samples = &samples[from..cut];
            let bytes = if as_rows {
                let rows = rows_of(samples, slots, &mut counter);
                let contents = BatchContents {
                    rows: &rows,
                    samples: &[],
                    metadata: &[],
                };
                encoder.encode(&contents).expect(SOUND).bytes
            } else {
                let samples: Vec<_> = samples.iter().map(sample_of).collect();
                let contents = SampleContents {
                    samples: &samples,
                    ..SampleContents::default()
                };
                encode_samples(&contents).expect(SOUND)
            };
            let batch = Arc::new(decoder.decode(BatchNumber(number), bytes).expect(SOUND));
            for store in [&stores.tsdb as &dyn Appender, &stores.twin] {
                append(store, &source, &batch);
            }
            if number == 0 {
                // A delete seals first, whatever it hits.
                let nothing = Matcher::new("__name__", MatchOp::Equal, "nothing").expect(SOUND);
                let of_nothing = [vec![nothing]];
                stores
                    .tsdb
                    .delete(&of_nothing, TimeRange::ALL)
                    .expect(SOUND);
                assert!(stores.tsdb.stats().seals > 0);
            }
            from = cut;
        }
        // What is acknowledged is applied a moment later.
        let expected = samples_in(&stores.twin);
        wait_until(PATIENCE, "all samples to be applied", || {
            (samples_in(&stores.tsdb) == expected).then_some(())
        });
        stores
    }
}

fn samples_in(store: &dyn Queryable) -> usize {
    let select = Select {
        matchers: &[],
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let querier = store.querier().expect(SOUND);
    let series = querier.select(&select, &Unlimited).expect(SOUND);
    let samples = series.iter().map(|one| one.samples(TimeRange::ALL).count());
    samples.sum()
}

fn sample_of((at, slot, value): &(TimestampMs, Slot, Value)) -> SeriesSample {
    SeriesSample {
        cohort: CohortId(0),
        slot: *slot,
        at: *at,
        value: value.clone(),
        // Some counters say when they began.
        start: TimestampMs(if slot.is_multiple_of(3) {
            at.0 - 40_000
        } else {
            0
        }),
    }
}

/// One row for each time.
fn rows_of(
    samples: &[(TimestampMs, Slot, Value)],
    slots: usize,
    counter: &mut u64,
) -> Vec<Arc<Row>> {
    let rows = samples.chunk_by(|a, b| a.0 == b.0).map(|samples| {
        let mut row = Row {
            cohort: CohortId(0),
            counter: *counter,
            at: samples[0].0,
            presence: Presence::filled(slots, false),
            floats: vec![0.0; slots],
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        };
        *counter += 1;
        for (_, slot, value) in samples {
            row.presence.set(usize::from(*slot), true);
            match value {
                Value::Float(value) => row.floats[usize::from(*slot)] = *value,
                Value::Histogram(histogram) => row.histograms.push((*slot, Arc::clone(histogram))),
            }
        }
        Arc::new(row)
    });
    rows.collect()
}

fn append(store: &dyn Appender, source: &Source, batch: &Arc<Batch>) {
    let (tell, told) = sync_channel(1);
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    store.append(source, Arc::clone(batch), done).expect(SOUND);
    let outcome = told.recv_timeout(Duration::from_secs(60));
    assert!(
        matches!(&outcome, Ok(AppendOutcome::Stored(refused)) if *refused == storage::Refusals::default()),
        "{outcome:?}"
    );
}

/// A result as lines that tell all bits apart but those of NaN.
fn show(output: &Output) -> Vec<String> {
    let line = |labels: &Labels, values: &dyn std::fmt::Debug| format!("{labels} {values:?}");
    let mut lines: Vec<String> = match &output.result {
        QueryResult::Scalar { value, .. } => vec![line(&Labels::empty(), value)],
        QueryResult::String { value, .. } => vec![value.clone()],
        QueryResult::Vector { samples, .. } => samples
            .iter()
            .map(|sample| line(&sample.labels, &sample.value))
            .collect(),
        QueryResult::Grid { grid, series } => series
            .iter()
            .map(|series| {
                let values: Vec<_> = (0..grid.len()).map(|at| series.column.value(at)).collect();
                line(&series.labels, &values)
            })
            .collect(),
        QueryResult::Samples(series) => series
            .iter()
            .map(|series| line(&series.labels, &series.samples))
            .collect(),
    };
    lines.extend(output.annotations.iter().map(|note| format!("{note:?}")));
    lines
}
