//! What evaluation keeps to whatever it is asked: bounds, and never a panic.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{Labels, TimestampMs, Value};
use promql::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary, random_store};
use promql::{
    Engine, EngineConfig, ErrorKind, Grid, Output, ParserOptions, QueryError, QueryOptions,
    QueryResult, VectorSample,
};
use proptest::prelude::*;
use proptest::sample::select;
use storage::{Budget, BudgetExceeded, MemoryStore, Unlimited};

fn vector(output: &Output) -> Vec<VectorSample> {
    let QueryResult::Vector { samples, .. } = &output.result else {
        panic!("a vector");
    };
    let mut samples = samples.clone();
    samples.sort_by(|a, b| a.labels.cmp(&b.labels));
    samples
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

fn answer(text: &str, budget: &dyn Budget, config: EngineConfig) -> Result<(), QueryError> {
    let grid = Grid {
        start: TimestampMs(0),
        end: TimestampMs(300_000),
        step_ms: 100,
    };
    let options = QueryOptions::default();
    let answered = Engine::new(config).range(&many_series(), text, grid, &options, budget);
    answered.map(|_| ())
}

fn refusal(text: &str, budget: &dyn Budget, config: EngineConfig) -> QueryError {
    answer(text, budget, config).expect_err("beyond a bound")
}

/// What takes memory before it is a value: each was charged too late, or not at all.
#[test]
fn memory_is_charged_before_it_is_taken() {
    const BYTES_MAX: u64 = 1_000_000;
    let grid = Grid {
        start: TimestampMs(0),
        end: TimestampMs(300_000),
        step_ms: 100,
    };
    let (many, regexes) = ("1,".repeat(100_000), "a=~\"x{1,900}\",".repeat(100));
    for text in [
        // A column for each value that occurs.
        "count_values(\"v\", m{i=\"1\"} * time())".to_owned(),
        "histogram_quantiles(vector(1), \"q\", time() / 1000, 0.5) or count_values(\"v\", m{i=\"1\"} + time())".to_owned(),
        // One value, repeated at all instants.
        "m @ 0".to_owned(),
        "m + on (i) group_left () m".to_owned(),
        "topk(1000, m)".to_owned(),
        "sum by (i) (m)".to_owned(),
        // Trees, and compiled expressions.
        format!("max_of({many}1)"),
        format!("m{{{regexes}i=\"1\"}}"),
    ] {
        let narrow = Counting {
            bytes_max: Some(BYTES_MAX),
            ..Counting::default()
        };
        let options = ParserOptions::default();
        let result = promql::parse_within(&text, options, &narrow).and_then(|expr| {
            Engine::default().range_expr(&many_series(), &expr, grid, &QueryOptions::default(), &narrow)
        });
        let error = result.map_or_else(|error| error.to_string(), |_| "none".to_owned());
        let shown: String = text.chars().take(60).collect();
        assert!(error.contains("--query.max-memory"), "{shown}: {error}");
        let peak = narrow.peak.load(Ordering::Relaxed);
        assert!(peak < 20 * BYTES_MAX, "{shown}: {peak}");
    }
}

#[test]
fn labels_that_a_query_makes_are_bounded_before_they_are_made() {
    let twice = "$1".repeat(60_000);
    let sources = "\"i\", ".repeat(60_000);
    for text in [
        format!("label_replace(m, \"x\", \"{twice}\", \"i\", \"(.*)\")"),
        format!("label_join(m, \"x\", \"-------\", {sources}\"i\")"),
    ] {
        let error = refusal(&text, &Unlimited, EngineConfig::default()).to_string();
        assert!(
            error.contains("longer than the 65536 that a query may make"),
            "{error}"
        );
    }
}

#[test]
fn parsing_stops_when_nobody_wants_the_tree() {
    let regexes = "a=~\".*x{0,900}\",".repeat(10_000);
    let cancelled = Counting {
        cancel_at: Some(5),
        ..Counting::default()
    };
    let text = format!("{{{regexes}i=\"1\"}}");
    let refused = promql::parse_selector(&text, ParserOptions::default(), &cancelled);
    assert_eq!(
        refused.map_err(|error| error.kind()),
        Err(ErrorKind::Canceled)
    );
    let free = Counting::default();
    promql::parse_within("sum(m) + 1", ParserOptions::default(), &free).expect("it is right");
    assert_eq!(
        free.held.load(Ordering::Relaxed),
        0,
        "short ones cost nothing that lasts"
    );
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
        samples_max: 10_000,
        ..EngineConfig::default()
    };
    // Sums hold their groups, whatever they add up.
    assert!(answer("sum(m)", &Unlimited, few.clone()).is_ok());
    for text in ["m", "max_over_time(vector(1)[200y:1ms])", "sum by (i) (m)"] {
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
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn mangled_expressions_never_panic(
        seed in any::<u64>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), select(vec!["", "(", ")", "[5m]", "-", "@ 1", "offset", "1", "\"x\"", ",", "by", "NaN", "bool", "{", "}"])), 1..4),
    ) {
        let mut choices = Choices::seeded(seed);
        let store = random_store(&mut choices, 0);
        let grammar = Grammar::new(Vocabulary::of_random_stores(0));
        let mut text = Generator::new(&grammar, choices, QueryBounds::Written).any_expression();
        for (place, insertion) in edits {
            let place = place.index(text.len());
            let Some(at) = text.char_indices().map(|(at, _)| at).rfind(|at| *at <= place) else { break };
            text.remove(at);
            text.insert_str(at, insertion);
            if text.is_empty() {
                break;
            }
        }
        let grid = Grid { start: TimestampMs(0), end: TimestampMs(120_000), step_ms: 30_000 };
        let options = QueryOptions::default();
        let delayed = Engine::new(EngineConfig { delayed_name_removal: true, ..EngineConfig::default() });
        let results = [
            delayed.instant(&store, &text, TimestampMs(100_000), &options, &Unlimited),
            Engine::default().range(&store, &text, grid, &options, &Unlimited),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
