//! Parts of a query that are written more than once are evaluated once, like `a` in `a / (a + b)`.
//!
//! They are known by their print: two parts of one print are one tree. Looked for among selectors, calls and aggregations, which read, and
//! only where their value is held anyway: nothing is held for this but what is asked for again.

use std::collections::{HashMap, HashSet};

use super::evaluator::Scope;
use super::value::Value;
use crate::ast::{Aggregate, Expr, ExprKind};
use crate::token::AggregateOp;
use crate::{Annotation, TextRange};

/// Bytes that are printed to find parts; longer queries are compared as far as this goes.
const PRINTED_MAX: usize = 64 << 10;

/// The parts of one query that come more than once.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// By place in the query: which part it is.
    places: HashMap<TextRange, usize>,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    /// How often it is still to come, at most.
    left: usize,
    held: Option<Held>,
}

/// The value of a part.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) value: Value,
    /// What was noted within it.
    pub(crate) notes: Vec<Annotation>,
    /// Where it was evaluated: place and scope.
    pub(crate) range: TextRange,
    scope: Scope,
    /// What it is charged for.
    pub(crate) bytes: u64,
}

impl Repeats {
    /// Finds the parts of a query that come more than once.
    pub(crate) fn of(query: &Expr) -> Self {
        let mut search = Search::default();
        search.walk(query, true);
        let mut repeats = Self::default();
        for places in search.found.into_values().filter(|places| places.len() > 1) {
            for place in &places {
                repeats.places.insert(*place, repeats.parts.len());
            }
            repeats.parts.push(Part {
                left: places.len(),
                held: None,
            });
        }
        repeats
    }

    /// Returns which part stands at a place, if it is one that is written more than once.
    pub(crate) fn part_at(&self, place: TextRange) -> Option<usize> {
        if self.parts.is_empty() {
            return None;
        }
        self.places.get(&place).copied()
    }

    /// Returns the value of a part if it was evaluated in this scope, and whether it is asked for the last time: then it is taken out.
    pub(crate) fn ask(&mut self, part: usize, scope: Scope) -> Option<Asked<'_>> {
        let part = &mut self.parts[part];
        part.left = part.left.saturating_sub(1);
        if part.held.as_ref()?.scope != scope {
            return None;
        }
        if part.left == 0 {
            return part.held.take().map(Asked::Taken);
        }
        part.held.as_ref().map(Asked::Lent)
    }

    /// Returns whether a part will be asked for again and is not held yet.
    pub(crate) fn is_wanted(&self, part: usize) -> bool {
        let part = &self.parts[part];
        part.left > 0 && part.held.is_none()
    }

    /// Holds the value of a part.
    pub(crate) fn hold(
        &mut self,
        part: usize,
        scope: Scope,
        (range, notes): (TextRange, Vec<Annotation>),
        (value, bytes): (Value, u64),
    ) {
        self.parts[part].held = Some(Held {
            value,
            notes,
            range,
            scope,
            bytes,
        });
    }
}

/// A value that was asked for.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    Lent(&'a Held),
    Taken(Held),
}

#[derive(Debug, Default)]
struct Search {
    /// By print.
    found: HashMap<String, Vec<TextRange>>,
    seen: HashSet<TextRange>,
    printed: usize,
}

impl Search {
    /// Notes `expr`, if its value is `held` where it stands, and what is in it. What is in a part that came before is not evaluated again.
    fn walk(&mut self, expr: &Expr, held: bool) {
        let reads = match &expr.kind {
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => true,
            ExprKind::Call(call) => !call.args.is_empty(),
            _ => false,
        };
        if reads && held && self.printed < PRINTED_MAX {
            let print = expr.to_string();
            self.printed += print.len();
            let places = self.found.entry(print).or_default();
            // Within a part of other blanks the notes are elsewhere; what was not written has no place of its own.
            let width = |range: &TextRange| range.end.saturating_sub(range.start);
            let alike = |first: &TextRange| width(first) == width(&expr.range);
            let first = places.first();
            if first.is_none_or(alike) && width(&expr.range) > 0 && self.seen.insert(expr.range) {
                places.push(expr.range);
                if places.len() > 1 {
                    return;
                }
            }
        }
        match &expr.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Vector(_)
            | ExprKind::Matrix(_) => {}
            ExprKind::Paren(inner) => self.walk(inner, held),
            ExprKind::Unary(unary) => self.walk(&unary.expr, true),
            ExprKind::Subquery(subquery) => self.walk(&subquery.expr, true),
            ExprKind::Call(call) => call.args.iter().for_each(|arg| self.walk(arg, true)),
            ExprKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.walk(param, true);
                }
                self.walk(&aggregate.expr, holds_operand(aggregate));
            }
            ExprKind::Binary(binary) => {
                self.walk(&binary.left, true);
                self.walk(&binary.right, true);
            }
        }
    }
}

/// Whether an aggregation needs its operand as a whole; others take it series by series.
const fn holds_operand(aggregate: &Aggregate) -> bool {
    matches!(
        aggregate.op,
        AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio
            | AggregateOp::CountValues
    )
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;
    use storage::{Queryable, Unlimited};

    use super::*;
    use crate::engine::evaluator::{Evaluator, Reading};
    use crate::engine::parallel::Helpers;
    use crate::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary, random_store};
    use crate::{EngineConfig, Grid, ParserOptions, parse};

    /// Returns the parts of a query that come more than once, each with how often, in order of their texts.
    fn repeated(text: &str) -> Vec<(String, usize)> {
        let repeats = Repeats::of(&parse(text, ParserOptions::default()).unwrap());
        let mut found: Vec<(String, usize)> = Vec::new();
        for (number, part) in repeats.parts.iter().enumerate() {
            let mut places = repeats.places.iter().filter(|(_, part)| **part == number);
            let (place, _) = places.next().unwrap();
            let text = text.get(place.start as usize..place.end as usize);
            found.push((text.unwrap_or_default().to_owned(), part.left));
        }
        found.sort();
        found
    }

    #[test]
    fn parts_that_come_more_than_once_are_found() {
        let of = |text: &str, count| (text.to_owned(), count);
        assert_eq!(repeated("a / (a + b)"), [of("a", 2)]);
        assert_eq!(
            repeated("sum(rate(x[5m])) / (sum(rate(x[5m])) + sum(rate(x[5m]))) - rate(x[5m])"),
            [of("sum(rate(x[5m]))", 3)],
        );
        assert_eq!(
            repeated("abs(a) + abs(a) + a"),
            [of("a", 2), of("abs(a)", 2)],
        );
        for none in [
            "a + a offset 1m",
            "sum(a) + avg(a)",
            "time() - time()",
            "1 + 1",
            "a{b=\"c\"} + a",
        ] {
            assert_eq!(repeated(none), [], "{none}");
        }
    }

    #[test]
    fn a_long_query_is_gone_through_once() {
        let text = format!("a{}", " + a".repeat(400));
        let found = repeated(&text);
        assert_eq!(found, [("a".to_owned(), 401)]);
    }

    /// Returns what an expression comes to, in lines that can be compared; `whole`: as the query that it is.
    fn value_of(store: &dyn Queryable, expr: &Expr, grid: Grid, whole: bool) -> Vec<String> {
        let (config, helpers) = (EngineConfig::default(), Helpers::default());
        let reading = Reading {
            lookback_ms: 300_000,
            raw_only: false,
        };
        let querier = store.querier().unwrap();
        let mut evaluator = Evaluator::new(
            (&config, &helpers),
            querier,
            &Unlimited,
            (grid, false),
            reading,
        );
        let scope = Scope::new(grid);
        let value = if whole {
            evaluator.eval_query(expr, scope)
        } else {
            evaluator.eval(expr, scope)
        };
        let notes = evaluator.notes.iter().map(|note| format!("{note:?}"));
        let mut lines: Vec<String> = match value {
            Ok(Value::Vector(series)) => {
                let columns = series.iter().map(|one| {
                    let values = (0..grid.len()).map(|index| one.column.value(index));
                    format!("{} {:?}", one.labels, values.collect::<Vec<_>>())
                });
                columns.chain(notes).collect()
            }
            Ok(other) => vec![format!("{other:?}")],
            // Which of two errors comes first is the same; their places in the query are not compared.
            Err(error) => vec![error.to_string()],
        };
        lines.sort();
        lines
    }

    #[test]
    fn what_is_evaluated_once_gives_what_it_gives_twice() {
        let mut asked = 0;
        for seed in 0..400 {
            let mut choices = Choices::seeded(seed);
            let store = random_store(&mut choices, 0);
            let grammar = Grammar::new(Vocabulary::of_random_stores(0));
            let mut generator = Generator::new(&grammar, choices, QueryBounds::Written);
            let (a, b) = (generator.expression(), generator.expression());
            let grid = Grid {
                start: TimestampMs(0),
                end: TimestampMs(300_000),
                step_ms: 60_000,
            };
            for text in [
                format!("({a}) + ignoring (x) ({a})"),
                format!("({a}) or ({b}) or -({a}) or sum({b}) or max_over_time(({a})[2m:1m])"),
                format!("topk(2, {a}) or ({b}) unless ({a})"),
            ] {
                let Ok(expr) = parse(&text, ParserOptions::default()) else {
                    continue;
                };
                asked += usize::from(!Repeats::of(&expr).parts.is_empty());
                let (once, twice) = (
                    value_of(&store, &expr, grid, true),
                    value_of(&store, &expr, grid, false),
                );
                assert_eq!(once, twice, "{text}");
            }
        }
        assert!(asked > 600, "{asked} queries had parts that come again");
    }
}
