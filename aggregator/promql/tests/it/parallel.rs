//! Several threads give what one gives, to the bit, whatever is asked.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{Labels, TimestampMs, Value};
use promql::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary, random_store};
use promql::{
    Annotation, Engine, EngineConfig, ErrorKind, Grid, Output, ParserOptions, QueryOptions,
    QueryResult, parse,
};
use storage::{Budget, BudgetExceeded, MemoryStore, Unlimited};

/// Returns an engine with helpers that shares out work from so many series on.
fn engine(helper_threads: usize, parallel_from: usize) -> Engine {
    Engine::new(EngineConfig {
        helper_threads,
        parallel_from,
        ..EngineConfig::default()
    })
}

/// Everything that a query tells, in a form that tells all bits apart but those of NaN.
fn told(output: &Output) -> Vec<String> {
    let QueryResult::Grid { series, .. } = &output.result else {
        panic!("a grid");
    };
    let mut lines: Vec<String> = series
        .iter()
        .map(|series| {
            let values = (0..series.column.len()).map(|index| series.column.value(index));
            format!("{} {:?}", series.labels, values.collect::<Vec<_>>())
        })
        .collect();
    let note = |note: &Annotation| format!("{note:?}");
    lines.extend(output.annotations.iter().map(note));
    let stats = &output.stats;
    let (read, queryable) = (stats.samples_read, stats.samples_queryable);
    lines.push(format!("{read} {queryable} {:?}", stats.samples_per_step));
    lines
}

#[test]
fn several_threads_give_what_one_gives() {
    let alone = engine(0, 1);
    let mut full = 0;
    for seed in 0..120_usize {
        let mut choices = Choices::seeded(seed as u64);
        let store = random_store(&mut choices, 0);
        let together = engine(1 + seed % 3, 1 + seed % 5);
        let grammar = Grammar::new(Vocabulary::of_random_stores(0));
        let mut generator = Generator::new(&grammar, choices, QueryBounds::Written);
        let grid = Grid {
            start: TimestampMs(0),
            end: TimestampMs(600_000),
            step_ms: 30_000,
        };
        let options = QueryOptions {
            per_step: true,
            ..QueryOptions::default()
        };
        for _ in 0..20 {
            let text = generator.expression();
            let expr = parse(&text, ParserOptions::default()).expect("what is generated is right");
            let ask =
                |engine: &Engine| engine.range_expr(&store, &expr, grid, &options, &Unlimited);
            match (ask(&alone), ask(&together)) {
                (Ok(one), Ok(several)) => {
                    full += usize::from(told(&one).len() > 1);
                    assert_eq!(told(&one), told(&several), "seed {seed}: {text}");
                }
                (Err(one), Err(several)) => {
                    assert_eq!(one.to_string(), several.to_string(), "seed {seed}: {text}");
                }
                (one, several) => panic!("seed {seed}: {text}: {one:?}, {several:?}"),
            }
        }
    }
    assert!(full > 1_000, "{full} of 2400 say something");
}

fn wide(series: i64) -> MemoryStore {
    let store = MemoryStore::new();
    for index in 0..series {
        let labels =
            Labels::from_pairs([("__name__", "m_total"), ("i", index.to_string().as_str())])
                .expect("names are unique");
        for at in 0..20 {
            store.insert(&labels, TimestampMs(at * 15_000), Value::Float(1.0));
        }
    }
    store
}

/// Says at some moment that it is enough.
#[derive(Debug)]
struct Until(AtomicU64);

impl Budget for Until {
    fn charge(&self, _samples: u64, _bytes: u64) -> Result<(), BudgetExceeded> {
        self.check()
    }

    fn release(&self, _bytes: u64) {}

    fn check(&self) -> Result<(), BudgetExceeded> {
        let less = |left: u64| left.checked_sub(1);
        match self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(BudgetExceeded::Cancelled {
                phase: "query execution",
            }),
        }
    }
}

/// Wherever a query is cancelled, all its threads end, and the engine has its helpers back.
#[test]
fn a_query_that_is_cancelled_ends_on_all_threads() {
    let (store, engine) = (wide(200), engine(3, 2));
    let grid = Grid {
        start: TimestampMs(0),
        end: TimestampMs(300_000),
        step_ms: 15_000,
    };
    let ask = |budget: &dyn Budget| {
        let text = "sum(rate(m_total[1m])) + count(m_total)";
        engine.range(&store, text, grid, &QueryOptions::default(), budget)
    };
    let mut patience = 1;
    loop {
        match ask(&Until(AtomicU64::new(patience))) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Canceled, "{error}"),
        }
        patience += 1 + patience / 8;
    }
    assert!(patience > 100, "{patience} looks at the budget");
    assert!(ask(&Unlimited).is_ok());
}
