//! Parts of a query that are written more than once are evaluated once, like `a` in `a / (a + b)`; so are those that several queries have
//! which are evaluated together, as the rules of a group are: `a > 1` and `a > 2`.
//!
//! They are known by their print: two parts of one print are one tree. Looked for among selectors, calls and aggregations, which read, and
//! only where their value is held anyway: nothing is held for this but what is asked for again.

use std::collections::{HashMap, HashSet};

use super::evaluator::Scope;
use super::value::Value;
use crate::ast::{Aggregate, Expr, ExprKind};
use crate::token::AggregateOp;
use crate::{Annotation, TextRange};

/// Bytes of a query that are printed to find parts; longer ones are compared as far as this goes.
const PRINTED_MAX: usize = 64 << 10;

/// The parts of queries that come more than once.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// The number of the query at hand.
    query: usize,
    /// By query and place in it: which part it is.
    places: HashMap<Place, usize>,
    parts: Vec<Part>,
}

/// The number of a query, and a place in it.
type Place = (usize, TextRange);

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
    /// Finds the parts that come more than once in queries which are evaluated one after the other, in this order.
    pub(crate) fn of(queries: &[&Expr]) -> Self {
        let mut repeats = Self::default();
        for places in repeated_places(queries) {
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

    /// Goes on to the query of this number.
    pub(crate) const fn turn_to(&mut self, query: usize) {
        self.query = query;
    }

    /// Returns which part stands at a place of the query at hand, if it is one that is written more than once.
    pub(crate) fn part_at(&self, place: TextRange) -> Option<usize> {
        if self.parts.is_empty() {
            return None;
        }
        self.places.get(&(self.query, place)).copied()
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

    /// Lets go of what is held still, for it was asked for less often than it might have been; returns the bytes that it is charged for.
    pub(crate) fn let_go(&mut self) -> u64 {
        let held = self.parts.iter_mut().filter_map(|part| part.held.take());
        held.map(|held| held.bytes).sum()
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

/// Returns, of each query, the first of those that it is evaluated once with: queries that have a part in common, be it through others.
pub fn related(queries: &[&Expr]) -> Vec<usize> {
    let mut firsts: Vec<usize> = (0..queries.len()).collect();
    for places in repeated_places(queries) {
        let tied: Vec<usize> = places.iter().map(|(query, _)| firsts[*query]).collect();
        let first = tied.iter().copied().min().unwrap_or_default();
        for known in &mut firsts {
            if tied.contains(known) {
                *known = first;
            }
        }
    }
    firsts
}

/// Returns the places of each part that comes more than once.
fn repeated_places(queries: &[&Expr]) -> impl Iterator<Item = Vec<Place>> {
    let mut search = Search::default();
    for (number, query) in queries.iter().enumerate() {
        (search.query, search.printed) = (number, 0);
        search.walk(query, true);
    }
    let found = search.found.into_values();
    found.filter(|places| places.len() > 1)
}

#[derive(Debug, Default)]
struct Search {
    /// By print.
    found: HashMap<String, Vec<Place>>,
    seen: HashSet<Place>,
    /// The number of the query at hand.
    query: usize,
    /// Of that query.
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
            let alike = |first: &Place| width(&first.1) == width(&expr.range);
            let (first, place) = (places.first(), (self.query, expr.range));
            if first.is_none_or(alike) && width(&expr.range) > 0 && self.seen.insert(place) {
                places.push(place);
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
        let repeats = Repeats::of(&[&parse(text, ParserOptions::default()).unwrap()]);
        let mut found: Vec<(String, usize)> = Vec::new();
        for (number, part) in repeats.parts.iter().enumerate() {
            let mut places = repeats.places.iter().filter(|(_, part)| **part == number);
            let ((_, place), _) = places.next().unwrap();
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

    #[test]
    fn queries_are_related_by_their_parts_and_those_of_others() {
        let check = |texts: &[&str], expected: &[usize]| {
            let parse = |text: &&str| parse(text, ParserOptions::default()).unwrap();
            let queries: Vec<Expr> = texts.iter().map(parse).collect();
            assert_eq!(
                related(&queries.iter().collect::<Vec<_>>()),
                expected,
                "{texts:?}"
            );
        };
        check(&["a > 1", "b", "a > 2", "1"], &[0, 1, 0, 3]);
        check(&["a", "b", "c / d", "a / c", "sum(b)"], &[0, 1, 0, 0, 4]);
        check(
            &["sum(rate(x[5m]))", "sum(rate(x[5m])) > 1", "rate(x[5m])"],
            &[0, 0, 2],
        );
        check(&[], &[]);
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
        if whole {
            evaluator.find_repeats(&[expr]);
        }
        let value = evaluator.eval(expr, scope);
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
                asked += usize::from(!Repeats::of(&[&expr]).parts.is_empty());
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
