//! A range query is its instants: random expressions of the whole language over random data.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use model::{Buckets, Histogram, Labels, TimestampMs, Value};
use promql::generator::{
    Choices, Feature, Generator, Grammar, QueryBounds, Vocabulary, random_store,
};
use promql::{
    Engine, EngineConfig, ErrorKind, Grid, Output, ParserOptions, QueryOptions, QueryResult, parse,
};
use storage::{MemoryStore, Unlimited};

const STORES: u64 = 440;
const EXPRESSIONS: u64 = 50;

#[test]
fn a_range_query_is_its_instants() {
    let (refused, empty) = check(0..STORES);
    let all = STORES * EXPRESSIONS;
    println!("{all} expressions: {refused} refused, {empty} without a result");
    assert!(refused * 10 < all, "{refused} of {all} are refused");
    assert!(empty * 2 < all, "{empty} of {all} say nothing");
}

#[test]
#[ignore = "takes minutes: a million expressions"]
fn a_range_query_is_its_instants_a_million_times() {
    let (refused, empty) = check(STORES..STORES + 20_000);
    println!("1000000 expressions: {refused} refused, {empty} without a result");
}

/// Checks expressions over the stores of these seeds, and counts those that were refused, and those without any result.
fn check(seeds: std::ops::Range<u64>) -> (u64, u64) {
    let next = AtomicU64::new(seeds.start);
    let (refused, empty) = (AtomicU64::new(0), AtomicU64::new(0));
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    for outcome in check_store(seed) {
                        match outcome {
                            Ok(Outcome::Refused) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                            Ok(Outcome::Empty) => drop(empty.fetch_add(1, Ordering::Relaxed)),
                            Ok(Outcome::Full) => {}
                            Err(difference) => differences.lock().expect(WHOLE).push(difference),
                        }
                    }
                }
            });
        }
    });
    let mut differences = differences.into_inner().expect(WHOLE);
    // The shortest says most.
    differences.sort_by_key(String::len);
    let shown: Vec<_> = differences.iter().take(10).map(String::as_str).collect();
    let all = differences.len();
    assert!(all == 0, "{all} differences:\n{}", shown.join("\n\n"));
    (refused.into_inner(), empty.into_inner())
}

const WHOLE: &str = "nobody panics with the list in hand";

#[derive(Clone, Copy)]
enum Outcome {
    Refused,
    Empty,
    Full,
}

fn check_store(seed: u64) -> Vec<Result<Outcome, String>> {
    let mut choices = Choices::seeded(seed);
    let store = random_store(&mut choices, 0);
    // Instant queries alone have an order, of sorting and of ranks; `limitk` takes what comes first.
    let ordered: &[_] = if seed.is_multiple_of(2) {
        &["limitk"]
    } else {
        &["topk", "bottomk"]
    };
    let grammar = Grammar::new(Vocabulary::of_random_stores(0))
        .without([Feature::Sorting])
        .without_words(ordered.iter().copied());
    let engine = Engine::new(EngineConfig {
        delayed_name_removal: seed % 4 < 2,
        start_timestamps: seed.is_multiple_of(3),
        type_and_unit_labels: seed.is_multiple_of(5),
        ..EngineConfig::default()
    });
    (0..EXPRESSIONS)
        .map(|number| {
            let step_ms = i64::from(1 + choices.below(60)) * 1_000;
            let start_ms = i64::from(choices.below(300)) * 1_000;
            let grid = Grid {
                start: TimestampMs(start_ms),
                // The end need not be an instant.
                end: TimestampMs(start_ms + 3 * step_ms + i64::from(choices.below(2)) * 500),
                step_ms,
            };
            let seed_of_expression = seed * EXPRESSIONS + number;
            check_expression(&engine, &store, &grammar, grid, seed_of_expression)
        })
        .collect()
}

fn check_expression(
    engine: &Engine,
    store: &MemoryStore,
    grammar: &Grammar,
    grid: Grid,
    seed: u64,
) -> Result<Outcome, String> {
    let choices = Choices::seeded(seed);
    let text = Generator::new(grammar, choices.clone(), QueryBounds::Written).expression();
    let given = QueryBounds::Given {
        start_ms: grid.start.0,
        end_ms: grid.end.0,
        step_ms: grid.step_ms,
    };
    let text_of_instants = Generator::new(grammar, choices, given).expression();
    let parsed = |text: &str| {
        parse(text, ParserOptions::default())
            .unwrap_or_else(|error| panic!("seed {seed}: {text}: {error}"))
    };
    let (expr, expr_of_instants) = (parsed(&text), parsed(&text_of_instants));
    let options = QueryOptions {
        per_step: true,
        ..QueryOptions::default()
    };
    let range = engine.range_expr(store, &expr, grid, &options, &Unlimited);
    let instants: Vec<_> = (0..grid.len())
        .map(|index| {
            engine.instant_expr(
                store,
                &expr_of_instants,
                grid.at(index),
                &options,
                &Unlimited,
            )
        })
        .collect();
    let range = match range {
        Err(_) if instants.iter().any(Result::is_err) => return Ok(Outcome::Refused),
        // A subquery is evaluated from the first window to the last, at instants too that lie in no window.
        Err(error) if error.kind() == ErrorKind::Execution && is_subquery(&expr.to_string()) => {
            return Ok(Outcome::Refused);
        }
        Err(error) => {
            return Err(format!(
                "seed {seed}: {text}: only the range fails: {error}"
            ));
        }
        Ok(range) => range,
    };
    let of_steps: u64 = range.stats.samples_per_step.iter().sum();
    if of_steps != range.stats.samples_queryable {
        return Err(format!(
            "seed {seed}: {text}: samples by step do not add up: {:?}",
            range.stats
        ));
    }
    let mut outcome = Outcome::Empty;
    for (index, instant) in instants.iter().enumerate() {
        let instant = instant.as_ref().map_err(|error| {
            format!("seed {seed}: {text}: only the instant of step {index} fails: {error}")
        })?;
        let (of_range, of_instant) = (at_step(&range, index), at_instant(instant));
        if of_range != of_instant {
            return Err(format!(
                "seed {seed}, {grid:?}: {text}\nat step {index} the range has\n{}\nand the instant has\n{}",
                of_range.join("\n"),
                of_instant.join("\n")
            ));
        }
        if !of_range.is_empty() {
            outcome = Outcome::Full;
        }
    }
    Ok(outcome)
}

/// Whether there is a subquery; names of the random stores have no colons.
fn is_subquery(printed: &str) -> bool {
    printed.contains(':')
}

/// What a range query has at a step, sorted, in a form that tells all bits apart but those of NaN.
fn at_step(output: &Output, index: usize) -> Vec<String> {
    let QueryResult::Grid { series, .. } = &output.result else {
        panic!("a grid");
    };
    let mut shown: Vec<String> = series
        .iter()
        .filter_map(|series| Some(show(&series.labels, &series.column.value(index)?)))
        .collect();
    shown.sort();
    shown
}

fn at_instant(output: &Output) -> Vec<String> {
    let mut shown: Vec<String> = match &output.result {
        QueryResult::Scalar { value, .. } => {
            vec![show(&Labels::empty(), &Value::Float(*value))]
        }
        QueryResult::Vector { samples, .. } => samples
            .iter()
            .map(|sample| show(&sample.labels, &sample.value))
            .collect(),
        other => panic!("a vector or scalar, not {}", other.type_name()),
    };
    shown.sort();
    shown
}

fn show(labels: &Labels, value: &Value) -> String {
    match value {
        Value::Float(value) => format!("{labels} {value:?}"),
        Value::Histogram(histogram) => format!("{labels} {:?}", floats(histogram)),
    }
}

/// Whether counts are stored as whole numbers is no part of a result.
fn floats(histogram: &Histogram) -> Histogram {
    let mut same = histogram.clone();
    if let Buckets::Integer {
        count,
        zero,
        positive,
        negative,
    } = &histogram.buckets
    {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let float = |count: &u64| *count as f64;
        same.buckets = Buckets::Float {
            count: float(count),
            zero: float(zero),
            positive: positive.iter().map(float).collect(),
            negative: negative.iter().map(float).collect(),
        };
    }
    same
}
