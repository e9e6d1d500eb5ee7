//! An `eval` statement: what is evaluated, and what must come of it.

use std::fmt::Display;

use model::TimestampMs;
use storage::MemoryStore;

use super::bench::Bench;
use super::compare;
use super::expectation::{Expected, Pattern};
use super::pin;
use super::script::Line;
use super::series::{self, Described};
use crate::{Grid, Output, QueryError, QueryResult, Severity, VectorSample, parse};

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug)]
enum When {
    Instant(TimestampMs),
    Range(Grid),
}

/// What values are expected.
#[derive(Clone, Debug)]
enum Values {
    Series(Vec<Described>),
    Scalar(f64),
    Text(String),
    /// Samples at the instants of a grid, from an instant query.
    Samples(Grid, Vec<Described>),
}

/// A statement.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    when: When,
    query: String,
    fail: Option<Pattern>,
    warnings: Expected,
    infos: Expected,
    ordered: bool,
    values: Values,
}

/// Functions whose result depends on the evaluation time beyond what `@` fixes.
const BY_TIME: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

impl Statement {
    pub(super) fn parse(head: &str, body: &[Line<'_>]) -> Result<Self, String> {
        let (command, rest) = word(head);
        let command = command.to_ascii_lowercase();
        let (kind, rest) = word(rest);
        let (when, query) = match kind {
            "instant" => instant(rest)?,
            "range" => range(rest)?,
            _ => return Err(format!("expected \"instant\" or \"range\", found {kind:?}")),
        };
        let mut statement = Self {
            when,
            query: query.to_owned(),
            fail: None,
            warnings: Expected::default(),
            infos: Expected::default(),
            ordered: false,
            values: Values::Series(Vec::new()),
        };
        match command.as_str() {
            "eval" => {}
            "eval_fail" => statement.fail = Some(Pattern::Any),
            "eval_warn" => statement.warnings.add(Pattern::Any)?,
            "eval_info" => statement.infos.add(Pattern::Any)?,
            "eval_ordered" => statement.ordered = true,
            _ => return Err(format!("unknown command {command:?}")),
        }
        for line in body {
            if statement.line(line.text)? {
                break;
            }
        }
        Ok(statement)
    }

    /// Takes a line of the body; says whether it ends it.
    fn line(&mut self, text: &str) -> Result<bool, String> {
        let (first, rest) = word(text);
        match first {
            "expect" => self.expect(rest)?,
            "expected_fail_message" => {
                self.fail = Some(Pattern::Exactly(rest.to_owned()));
                return Ok(true);
            }
            "expected_fail_regexp" => {
                self.fail = Some(Pattern::parse(&format!("regex: {rest}"))?);
                return Ok(true);
            }
            _ => {
                if let Some(value) = series::number(text) {
                    self.values = Values::Scalar(value);
                    return Ok(true);
                }
                let described = series::describe(text)?;
                match &mut self.values {
                    Values::Series(all) | Values::Samples(_, all) => all.push(described),
                    Values::Scalar(_) | Values::Text(_) => {
                        return Err("series besides a scalar or string".to_owned());
                    }
                }
            }
        }
        Ok(false)
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        let (kind, rest) = word(text);
        match kind {
            "fail" => self.fail = Some(Pattern::parse(rest)?),
            "warn" => self.warnings.add(Pattern::parse(rest)?)?,
            "no_warn" => self.warnings.none()?,
            "info" => self.infos.add(Pattern::parse(rest)?)?,
            "no_info" => self.infos.none()?,
            "ordered" => self.ordered = true,
            "string" => {
                let literal = rest.trim();
                self.values = Values::Text(
                    String::from_utf8_lossy(&crate::unquote::unquote(literal)).into_owned(),
                );
            }
            "range" => {
                let rest = rest
                    .strip_prefix("vector")
                    .ok_or("expected \"range vector\"")?;
                let (When::Range(grid), _) = range(rest.trim())? else {
                    return Err("expected a range".to_owned());
                };
                self.values = Values::Samples(grid, Vec::new());
            }
            _ => return Err(format!("unknown expectation {kind:?}")),
        }
        Ok(())
    }

    /// Evaluates and compares, and repeats as the language demands.
    pub(super) fn check(&self, bench: &Bench<'_>, store: &MemoryStore) -> Result<(), String> {
        match self.when {
            When::Range(grid) => {
                let result = bench.range(store, &self.query, grid);
                self.check_result(result, &self.query, true, |output| {
                    self.compare_range(output, grid)
                })
            }
            When::Instant(at) => self.check_instant(bench, store, at),
        }
    }

    fn check_instant(
        &self,
        bench: &Bench<'_>,
        store: &MemoryStore,
        at: TimestampMs,
    ) -> Result<(), String> {
        let at = match &self.values {
            Values::Samples(grid, _) => grid.end,
            _ => at,
        };
        let result = bench.instant(store, &self.query, at);
        self.check_result(result, &self.query, true, |output| {
            self.compare_instant(output)
        })?;
        if self.fail.is_some() {
            return Ok(());
        }
        self.check_again(bench, store, at, &self.query)?;
        let expr = parse(&self.query, bench.engine().config().parser)
            .map_err(|error| error.to_string())?;
        if crate::engine::calls_any(&expr, &BY_TIME) {
            return Ok(());
        }
        let pinned = pin::pinned(expr, at).to_string();
        let t = at.0;
        let others = if t == 0 {
            vec![-1_000, 0, 1_000]
        } else {
            vec![t.saturating_mul(-10), 0, t / 5, t, t.saturating_mul(10)]
        };
        for other in others {
            let result = bench.instant(store, &pinned, TimestampMs(other));
            self.check_result(result, &pinned, false, |output| {
                self.compare_instant(output)
            })
            .map_err(|what| format!("pinned as {pinned:?} and evaluated at {other} ms: {what}"))?;
            self.check_again(bench, store, TimestampMs(other), &pinned)?;
        }
        Ok(())
    }

    /// Repeats an instant evaluation as the middle step of a range query.
    fn check_again(
        &self,
        bench: &Bench<'_>,
        store: &MemoryStore,
        at: TimestampMs,
        query: &str,
    ) -> Result<(), String> {
        let skipped = self.ordered
            || matches!(self.values, Values::Text(_) | Values::Samples(..))
            || ["start()", "end()", "step()", "range()"]
                .iter()
                .any(|word| query.contains(word));
        if skipped {
            return Ok(());
        }
        let grid = Grid {
            start: TimestampMs(at.0.saturating_sub(60_000)),
            end: TimestampMs(at.0.saturating_add(60_000)),
            step_ms: 60_000,
        };
        let result = bench.range(store, query, grid);
        let outcome = match result {
            Err(error) => Err(format!("failed: {error}")),
            Ok(output) => self.compare_middle(&output),
        };
        outcome.map_err(|what| format!("{query:?} as a range around {} ms: {what}", at.0))
    }

    fn check_result(
        &self,
        result: Result<Output, QueryError>,
        query: &str,
        as_written: bool,
        compare: impl FnOnce(&Output) -> Result<(), String>,
    ) -> Result<(), String> {
        match (&self.fail, result) {
            (None, Err(error)) => Err(format!("failed: {error}")),
            (Some(_), Ok(_)) => Err("expected failure, but succeeded".to_owned()),
            (Some(pattern), Err(error)) => {
                let text = message(&error);
                if pattern.matches(&text) {
                    Ok(())
                } else {
                    Err(format!(
                        "expected failure {pattern:?}, failed with {text:?}"
                    ))
                }
            }
            (None, Ok(output)) => {
                compare(&output)?;
                let texts = |severity| output.annotations.render(severity, query, 0);
                self.warnings
                    .check("warning", &texts(Severity::Warning), as_written)?;
                self.infos.check("info", &texts(Severity::Info), as_written)
            }
        }
    }

    fn compare_instant(&self, output: &Output) -> Result<(), String> {
        match (&self.values, &output.result) {
            (Values::Scalar(expected), QueryResult::Scalar { value, .. }) => {
                compare::floats(*expected, *value)
            }
            (Values::Text(expected), QueryResult::String { value, .. }) => {
                if expected == value {
                    Ok(())
                } else {
                    Err(format!("expected {expected:?}, found {value:?}"))
                }
            }
            (Values::Series(expected), QueryResult::Vector { samples, .. }) => {
                compare::vectors(expected, samples, self.ordered)
            }
            (Values::Samples(grid, expected), QueryResult::Samples(series)) => {
                compare::samples(expected, series, *grid)
            }
            (_, found) => Err(format!("unexpected result of type {}", found.type_name())),
        }
    }

    fn compare_range(&self, output: &Output, grid: Grid) -> Result<(), String> {
        match (&self.values, &output.result) {
            (Values::Series(expected), QueryResult::Grid { series, .. }) => {
                compare::grids(expected, series, grid)
            }
            (_, found) => Err(format!("unexpected result of type {}", found.type_name())),
        }
    }

    fn compare_middle(&self, output: &Output) -> Result<(), String> {
        let QueryResult::Grid { series, .. } = &output.result else {
            return Err("no matrix".to_owned());
        };
        let middle: Vec<VectorSample> = series
            .iter()
            .filter_map(|series| {
                Some(VectorSample {
                    labels: series.labels.clone(),
                    value: series.column.value(1)?,
                })
            })
            .collect();
        match &self.values {
            Values::Series(expected) => compare::vectors(expected, &middle, false),
            Values::Scalar(expected) => match middle.as_slice() {
                [
                    VectorSample {
                        value: model::Value::Float(value),
                        ..
                    },
                ] => compare::floats(*expected, *value),
                other => Err(format!("expected a scalar, found {} series", other.len())),
            },
            Values::Text(_) | Values::Samples(..) => Ok(()),
        }
    }
}

/// Returns an error's text without its place.
fn message(error: &QueryError) -> String {
    match error {
        QueryError::Parse(errors) => errors.first().message.clone(),
        other => other.to_string(),
    }
}

/// Splits off the first word.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// Parses `at <time> <query>`.
fn instant(text: &str) -> Result<(When, &str), String> {
    let (at, rest) = word(text);
    if at != "at" {
        return Err(format!("expected \"at\", found {at:?}"));
    }
    let (time, query) = word(rest);
    Ok((When::Instant(TimestampMs(milliseconds(time)?)), query))
}

/// Parses `from <time> to <time> step <duration> <query>`.
fn range(text: &str) -> Result<(When, &str), String> {
    let mut rest = text;
    let mut times = [0; 3];
    for (slot, keyword) in times.iter_mut().zip(["from", "to", "step"]) {
        let (found, tail) = word(rest);
        if found != keyword {
            return Err(format!("expected {keyword:?}, found {found:?}"));
        }
        let (time, tail) = word(tail);
        *slot = milliseconds(time)?;
        rest = tail;
    }
    let [start, end, step_ms] = times;
    let grid = Grid {
        start: TimestampMs(start),
        end: TimestampMs(end),
        step_ms,
    };
    Ok((When::Range(grid), rest))
}

fn milliseconds(text: &str) -> Result<i64, String> {
    let wrong = |error: &dyn Display| format!("bad time {text:?}: {error}");
    if let Some(seconds) = series::number(text)
        && let Some(ms) = crate::engine::duration::timestamp_ms(seconds)
    {
        return Ok(ms);
    }
    Err(wrong(&"neither a duration nor seconds"))
}
