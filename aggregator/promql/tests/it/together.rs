//! Expressions that are evaluated together come to what each comes to alone.

use std::sync::atomic::{AtomicU64, Ordering};

use model::TimestampMs;
use promql::ast::Expr;
use promql::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary, random_store};
use promql::{
    Engine, Output, ParserOptions, QueryError, QueryOptions, QueryResult, parse, related,
};
use storage::{Budget, BudgetExceeded, MemoryStore, Unlimited};

const AT: TimestampMs = TimestampMs(300_000);

/// Refuses to let more bytes be held than `most`.
#[derive(Debug)]
struct Bounded {
    held: AtomicU64,
    most: u64,
}

impl Bounded {
    const fn new(most: u64) -> Self {
        let held = AtomicU64::new(0);
        Self { held, most }
    }
}

impl Budget for Bounded {
    fn charge(&self, _samples: u64, bytes: u64) -> Result<(), BudgetExceeded> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.most {
            return Err(BudgetExceeded::Memory {
                limit: self.most,
                flag: "--most",
            });
        }
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), BudgetExceeded> {
        Ok(())
    }
}

/// Everything that an expression came to, in lines.
fn told(output: &Result<Output, QueryError>) -> Vec<String> {
    match output {
        Ok(output) => {
            let mut lines: Vec<String> = match &output.result {
                QueryResult::Vector { samples, .. } => {
                    samples.iter().map(|one| format!("{one:?}")).collect()
                }
                other => vec![format!("{other:?}")],
            };
            lines.sort();
            lines.extend(output.annotations.iter().map(|note| format!("{note:?}")));
            lines
        }
        Err(error) => vec![error.to_string()],
    }
}

fn alone(store: &MemoryStore, expr: &Expr) -> Result<Output, QueryError> {
    Engine::default().instant_expr(store, expr, AT, &QueryOptions::default(), &Unlimited)
}

fn texts_of(a: &str, b: &str) -> Vec<String> {
    vec![
        format!("({a})"),
        format!("({a}) + ignoring (x) ({b})"),
        format!("sum({b})"),
        format!("-({a})"),
        format!("topk(2, {b})"),
        format!("({b}) unless ({a})"),
    ]
}

#[test]
fn expressions_together_come_to_what_each_comes_to_alone() {
    let (mut shared, mut full, mut failed) = (0, 0, 0);
    for seed in 0..400 {
        let mut choices = Choices::seeded(seed);
        let store = random_store(&mut choices, 0);
        let grammar = Grammar::new(Vocabulary::of_random_stores(0));
        let mut generator = Generator::new(&grammar, choices, QueryBounds::Written);
        let (a, b) = (generator.expression(), generator.expression());
        let texts = texts_of(&a, &b);
        let exprs = texts
            .iter()
            .map(|text| parse(text, ParserOptions::default()));
        let exprs: Vec<Expr> = exprs.filter_map(Result::ok).collect();
        let exprs: Vec<&Expr> = exprs.iter().collect();
        let firsts = related(&exprs);
        shared += usize::from((0..exprs.len()).any(|number| firsts[number] < number));
        let outcomes = Engine::default()
            .instant_exprs(&store, &exprs, AT, &Unlimited)
            .expect("a store in memory answers");
        assert_eq!(outcomes.len(), exprs.len());
        for (expr, outcome) in exprs.iter().zip(&outcomes) {
            let expected = alone(&store, expr);
            assert_eq!(
                told(&outcome.output),
                told(&expected),
                "seed {seed}: {expr}"
            );
            full += usize::from(told(&expected).len() > 1);
            failed += usize::from(expected.is_err());
        }
    }
    assert!(
        shared > 300 && full > 300 && failed > 100,
        "{shared} {full} {failed}"
    );
}

#[test]
fn the_first_that_a_budget_stops_is_the_last() {
    let mut stopped = 0;
    for seed in 0..100 {
        let mut choices = Choices::seeded(seed);
        let store = random_store(&mut choices, 0);
        let grammar = Grammar::new(Vocabulary::of_random_stores(0));
        let mut generator = Generator::new(&grammar, choices, QueryBounds::Written);
        let texts = texts_of(&generator.expression(), &generator.expression());
        let exprs = texts
            .iter()
            .map(|text| parse(text, ParserOptions::default()));
        let exprs: Vec<Expr> = exprs.filter_map(Result::ok).collect();
        let exprs: Vec<&Expr> = exprs.iter().collect();
        for most in [0, 500, 2_000, 8_000] {
            let outcomes = Engine::default()
                .instant_exprs(&store, &exprs, AT, &Bounded::new(most))
                .expect("a store in memory answers");
            let is_stopped = |output: &_| matches!(output, Err(QueryError::Budget(_)));
            let first = (outcomes.iter()).position(|outcome| is_stopped(&outcome.output));
            assert_eq!(outcomes.len(), first.map_or(exprs.len(), |first| first + 1));
            for (expr, outcome) in exprs.iter().zip(&outcomes[..first.unwrap_or(exprs.len())]) {
                let expected = alone(&store, expr);
                assert_eq!(
                    told(&outcome.output),
                    told(&expected),
                    "seed {seed}: {expr}"
                );
            }
            stopped += usize::from(first.is_some());
        }
    }
    assert!(stopped > 50, "{stopped} budgets were too small");
}
