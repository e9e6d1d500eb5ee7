//! Properties of evaluation over random data and random expressions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Buckets, CounterReset, Histogram, Labels, STALE_NAN, Span, TimestampMs, Value};
use promql::{
    Engine, EngineConfig, ErrorKind, Grid, Output, QueryError, QueryOptions, QueryResult,
    VectorSample,
};
use proptest::prelude::*;
use proptest::sample::select;
use storage::{Budget, BudgetExceeded, MemoryStore, Unlimited};

fn histogram(count: u64) -> Value {
    Value::Histogram(Arc::new(Histogram {
        reset: CounterReset::Unknown,
        schema: 0,
        zero_threshold: 0.001,
        #[expect(clippy::cast_precision_loss, reason = "small")]
        sum: count as f64 * 1.5,
        positive_spans: vec![Span {
            offset: 0,
            length: 2,
        }],
        negative_spans: Vec::new(),
        custom_bounds: Vec::new(),
        buckets: Buckets::Integer {
            count: count + 1,
            zero: 0,
            positive: vec![count, 1],
            negative: Vec::new(),
        },
    }))
}

/// A sample of a random series: nothing, a float, a mark, or a histogram.
fn sample() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        12 => (0_i32..40).prop_map(|value| Some(Value::Float(f64::from(value) / 2.0))),
        1 => Just(Some(Value::Float(f64::NAN))),
        1 => Just(Some(Value::Float(f64::INFINITY))),
        1 => Just(Some(Value::Float(-0.0))),
        1 => Just(Some(Value::Float(STALE_NAN))),
        1 => (0_u64..20).prop_map(|count| Some(histogram(count))),
    ]
}

/// Series `m` and `n` of a few labels, a sample every 15 s, at odd milliseconds.
fn store() -> impl Strategy<Value = MemoryStore> {
    let names = vec!["m", "n"];
    let series = (
        select(names),
        select(vec!["", "x", "y"]),
        select(vec!["", "1", "2"]),
        prop::collection::vec(sample(), 20),
    );
    prop::collection::vec(series, 1..6).prop_map(|all| {
        let store = MemoryStore::new();
        for (name, a, b, samples) in all {
            let labels = Labels::from_pairs([("__name__", name), ("a", a), ("b", b)])
                .expect("names are unique");
            for (index, value) in (0_i64..).zip(samples) {
                if let Some(value) = value {
                    store.insert(&labels, TimestampMs(index * 15_000 + 7), value);
                }
            }
        }
        store
    })
}

/// Expressions of instant vectors. Without `sort`, which orders what is added up, in instant queries only.
fn expression() -> impl Strategy<Value = String> {
    let selector = (
        select(vec![
            "m",
            "n",
            "{__name__=~\"m|n\"}",
            "m{a!=\"\"}",
            "n{b=~\".+\"}",
        ]),
        select(vec!["", " offset 20s", " @ 100", " offset -15s @ 60"]),
    );
    let ranged = (
        select(vec![
            "rate",
            "increase",
            "delta",
            "irate",
            "idelta",
            "deriv",
            "changes",
            "resets",
            "sum_over_time",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "count_over_time",
            "stddev_over_time",
            "last_over_time",
            "first_over_time",
            "present_over_time",
            "absent_over_time",
            "mad_over_time",
            "ts_of_max_over_time",
        ]),
        selector.clone(),
        select(vec!["30s", "1m", "90s1ms", "5m"]),
        select(vec!["", ":", ":20s"]),
    )
        .prop_map(|(function, (name, time), range, step)| {
            format!("{function}({name}[{range}{step}]{time})")
        });
    let leaf = prop_oneof![
        selector.prop_map(|(name, time)| format!("{name}{time}")),
        ranged,
        Just("vector(time())".to_owned()),
        Just("predict_linear(m[2m], 60)".to_owned()),
        Just("quantile_over_time(scalar(sum(n)) / 10, m[1m])".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let aggregation = (
            select(vec![
                "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk(2, ",
                "bottomk(1, ", "quantile(0.3, ", "limitk(2, ", "limit_ratio(0.5, ",
                "count_values(\"v\", ",
            ]),
            select(vec!["", "by (a)", "without (b)"]),
            inner.clone(),
        )
            .prop_map(|(op, clause, inner)| match op.split_once('(') {
                Some((op, param)) => format!("{op} {clause} ({param}{inner})"),
                None => format!("{op} {clause} ({inner})"),
            });
        prop_oneof![
            3 => aggregation,
            2 => (inner.clone(), select(vec!["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<=", "> bool", "and", "or", "unless"]),
                select(vec!["", "on (a)", "ignoring (b)", "on (a, b)"]), inner.clone())
                .prop_map(|(a, op, matching, b)| format!("({a}) {op} {matching} ({b})")),
            1 => (inner.clone(), select(vec!["+", ">", "==bool"]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} on (a) group_left (b) ({b})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) - fill(1) ({b})")),
            2 => (select(vec!["abs", "-", "ceil", "sgn", "timestamp", "absent", "histogram_count", "histogram_sum", "minute"]), inner.clone())
                .prop_map(|(function, inner)| format!("{function}({inner})")),
            1 => (inner.clone(), select(vec!["> 3", "* 2", "== bool 1", "^ 0.5"])).prop_map(|(a, op)| format!("({a}) {op}")),
            1 => inner.clone().prop_map(|a| format!("label_replace({a}, \"b\", \"$1\", \"a\", \"(.*)\")")),
            1 => inner.clone().prop_map(|a| format!("max_over_time(({a})[1m:20s])")),
            1 => inner.clone().prop_map(|a| format!("histogram_quantile(0.9, {a})")),
            1 => inner.prop_map(|a| format!("clamp({a}, scalar(n), 7)")),
        ]
    })
}

fn engine(delayed_name_removal: bool) -> Engine {
    Engine::new(EngineConfig {
        delayed_name_removal,
        ..EngineConfig::default()
    })
}

fn vector(output: &Output) -> Vec<VectorSample> {
    let QueryResult::Vector { samples, .. } = &output.result else {
        panic!("a vector");
    };
    let mut samples = samples.clone();
    samples.sort_by(|a, b| a.labels.cmp(&b.labels));
    samples
}

fn at(output: &Output, index: usize) -> Vec<VectorSample> {
    let QueryResult::Grid { series, .. } = &output.result else {
        panic!("a grid");
    };
    series
        .iter()
        .filter_map(|series| {
            Some(VectorSample {
                labels: series.labels.clone(),
                value: series.column.value(index)?,
            })
        })
        .collect()
}

fn same(a: &[VectorSample], b: &[VectorSample]) -> bool {
    let equal = |a: &Value, b: &Value| match (a, b) {
        (Value::Float(a), Value::Float(b)) if a.is_nan() => b.is_nan(),
        _ => a.same_bits(b),
    };
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.labels == b.labels && equal(&a.value, &b.value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_range_query_is_its_instants(store in store(), text in expression(), start in 0_i64..120, step in 1_i64..50, delayed in any::<bool>()) {
        let engine = engine(delayed);
        let grid = Grid {
            start: TimestampMs(start * 1_000),
            end: TimestampMs((start + 5 * step) * 1_000),
            step_ms: step * 1_000,
        };
        let options = QueryOptions { per_step: true, ..QueryOptions::default() };
        let range = engine.range(&store, &text, grid, &options, &Unlimited);
        let instants: Vec<_> = (0..grid.len())
            .map(|index| engine.instant(&store, &text, grid.at(index), &options, &Unlimited))
            .collect();
        match range {
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Execution, "{}: {}", text, error);
                prop_assert!(instants.iter().any(Result::is_err), "{text}: only the range fails: {error}");
            }
            Ok(range) => {
                let by_step = &range.stats.samples_per_step;
                prop_assert_eq!(by_step.len(), grid.len());
                prop_assert_eq!(by_step.iter().sum::<u64>(), range.stats.samples_queryable, "{}", text);
                for (index, instant) in instants.iter().enumerate() {
                    let instant = match instant {
                        Ok(instant) => vector(instant),
                        Err(error) => return Err(TestCaseError::fail(format!("{text}: only the instant fails: {error}"))),
                    };
                    let found = at(&range, index);
                    prop_assert!(same(&found, &instant), "{} at step {}: range {:?}, instant {:?}", text, index, found, instant);
                }
            }
        }
    }
}

/// Counts what is held, and refuses beyond bounds.
#[derive(Debug, Default)]
struct Counting {
    held: AtomicU64,
    peak: AtomicU64,
    checks: AtomicU64,
    cancel_at: Option<u64>,
    bytes_max: Option<u64>,
}

impl Budget for Counting {
    fn charge(&self, _samples: u64, bytes: u64) -> Result<(), BudgetExceeded> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
        match self.bytes_max {
            Some(limit) if held > limit => Err(BudgetExceeded::Memory {
                limit,
                flag: "--query.max-memory",
            }),
            _ => Ok(()),
        }
    }

    fn release(&self, bytes: u64) {
        let before = self.held.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "more is given back than was taken");
    }

    fn check(&self) -> Result<(), BudgetExceeded> {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        match self.cancel_at {
            Some(at) if checks >= at => Err(BudgetExceeded::Cancelled {
                phase: "query execution",
            }),
            _ => Ok(()),
        }
    }
}

fn many_series() -> MemoryStore {
    let store = MemoryStore::new();
    for index in 0..50 {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", index.to_string().as_str())])
            .expect("names are unique");
        for at in 0..20 {
            store.insert(&labels, TimestampMs(at * 15_000), Value::Float(1.0));
        }
    }
    store
}

fn refusal(text: &str, budget: &dyn Budget, config: EngineConfig) -> QueryError {
    let grid = Grid {
        start: TimestampMs(0),
        end: TimestampMs(300_000),
        step_ms: 1_000,
    };
    Engine::new(config)
        .range(&many_series(), text, grid, &QueryOptions::default(), budget)
        .expect_err("beyond a bound")
}

#[test]
fn bounds_are_kept() {
    let cancelled = Counting {
        cancel_at: Some(20),
        ..Counting::default()
    };
    let error = refusal("sum(rate(m[1m]))", &cancelled, EngineConfig::default());
    assert_eq!(error.kind(), ErrorKind::Canceled, "{error}");
    let narrow = Counting {
        bytes_max: Some(50_000),
        ..Counting::default()
    };
    let error = refusal("m * 2", &narrow, EngineConfig::default());
    assert!(error.to_string().contains("--query.max-memory"), "{error}");
    let few = EngineConfig {
        samples_max: 1_000,
        ..EngineConfig::default()
    };
    for text in ["m", "max_over_time(vector(1)[200y:1ms])", "sum(m)"] {
        let error = refusal(text, &Unlimited, few.clone());
        assert!(
            error.to_string().starts_with(
                "query processing would load too many samples into memory in query execution"
            ),
            "{text}: {error}"
        );
    }
}

#[test]
fn what_parts_held_is_given_back() {
    let budget = Counting::default();
    let text = format!("{}m", "m + ".repeat(20));
    let output = Engine::default()
        .instant(
            &many_series(),
            &text,
            TimestampMs(60_000),
            &QueryOptions::default(),
            &budget,
        )
        .unwrap();
    assert_eq!(vector(&output).len(), 50);
    // The store's own charges are the store's to give back: 50 series x 20 samples x 16 bytes per selector.
    let by_store = 21 * 50 * 20 * 16;
    assert!(budget.held.into_inner() < by_store + 20_000);
}

#[test]
fn deep_expressions_fit_a_small_stack() {
    let store = many_series();
    let deep = format!("{}m{}", "abs(".repeat(120), ")".repeat(120));
    let wide = format!("{}m", "m or ".repeat(500));
    let nested = format!("{}m{}", "(m + ".repeat(60), ")".repeat(60));
    for text in [deep, wide, nested] {
        let output = Engine::default()
            .instant(
                &store,
                &text,
                TimestampMs(60_000),
                &QueryOptions::default(),
                &Unlimited,
            )
            .unwrap();
        assert_eq!(vector(&output).len(), 50);
    }
}

#[test]
fn extreme_times_do_not_overflow() {
    let store = many_series();
    for text in [
        "m @ 9223372036854774 offset -290y",
        "rate(m[290y] @ -9223372036854774 offset 290y)",
        "rate(m[290y] @ 9223372036854774 offset -290y smoothed)",
        "increase(m[5m] anchored @ -9223372036854774)",
        "sum_over_time(m[290y:290y] @ 9223372036854774)",
        "absent_over_time(m[1ms:1ms] @ -9223372036854774 offset 290y)",
        "year(vector(1e300)) + year(vector(-Inf)) + year(vector(NaN))",
        "topk(1e18, m)",
        "round(m, 0) + m % 0 + m ^ 1e308",
    ] {
        for at in [0, i64::MIN, i64::MAX] {
            let result = Engine::default().instant(
                &store,
                text,
                TimestampMs(at),
                &QueryOptions::default(),
                &Unlimited,
            );
            assert!(result.is_ok(), "{text} at {at}: {result:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mangled_expressions_never_panic(
        store in store(), text in expression(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), select(vec!["", "(", ")", "[5m]", "-", "@ 1", "offset", "1", "\"x\"", ",", "by", "NaN", "bool", "{", "}"])), 1..4),
    ) {
        let mut text = text;
        for (place, insertion) in edits {
            let place = place.index(text.len());
            // All of it is ASCII.
            text.replace_range(place..=place, insertion);
            if text.is_empty() {
                break;
            }
        }
        let grid = Grid { start: TimestampMs(0), end: TimestampMs(120_000), step_ms: 30_000 };
        let options = QueryOptions::default();
        let results = [
            engine(true).instant(&store, &text, TimestampMs(100_000), &options, &Unlimited),
            engine(false).range(&store, &text, grid, &options, &Unlimited),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn samples_are_counted_for_the_instant_that_looks_at_them() {
    let grid = Grid {
        start: TimestampMs(60_000),
        end: TimestampMs(180_000),
        step_ms: 60_000,
    };
    let options = QueryOptions {
        per_step: true,
        ..QueryOptions::default()
    };
    // 50 series with a sample each 15 s from 0 to 285 s.
    for (text, by_step, peak) in [
        ("m", [50, 50, 50], 150),
        ("rate(m[1m])", [200, 200, 200], 150),
        ("sum(rate(m[30s]))", [100, 100, 100], 150),
        ("m @ 0", [50, 0, 0], 150),
        ("m offset 2m", [0, 50, 50], 100),
        ("1", [0, 0, 0], 0),
    ] {
        let output = Engine::default()
            .range(&many_series(), text, grid, &options, &Unlimited)
            .unwrap();
        assert_eq!(output.stats.samples_per_step, by_step, "{text}");
        assert_eq!(output.stats.samples_queryable, by_step.iter().sum::<u64>());
        assert!(
            output.stats.points_peak >= peak,
            "{text}: {:?}",
            output.stats
        );
    }
    let plain = Engine::default().range(
        &many_series(),
        "m",
        grid,
        &QueryOptions::default(),
        &Unlimited,
    );
    assert!(plain.unwrap().stats.samples_per_step.is_empty());
}
