//! Evaluation of a tree: each node over all instants at once.

use std::sync::Arc;

use model::{Histogram, Labels};
use storage::{Budget, BudgetExceeded, Querier};

use super::EngineConfig;
use super::account::Account;
use super::duration::{self, QuerySpan};
use super::parallel::Helpers;
use super::repeats::{Asked, Repeats};
use super::value::{Evaluated, Series, Value, merge_same_labels, without_metadata};
use super::window::LookTimes;
use crate::ast::{AtModifier, DurationExpr, Expr, ExprKind, TimeModifiers};
use crate::plan::{Open, Plan};
use crate::{Annotation, Annotations, Column, Grid, Note, QueryError, QueryStats, TextRange};

/// Where an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) grid: Grid,
    /// Whether counter resets of histograms are found by comparison: below `histogram_count` and its like.
    pub(crate) detect_resets: bool,
    /// Whether something above needs whole histograms, which forbids that.
    pub(crate) whole_histograms: bool,
}

impl Scope {
    pub(crate) const fn new(grid: Grid) -> Self {
        Self {
            grid,
            detect_resets: false,
            whole_histograms: false,
        }
    }

    /// Returns the scope of the arguments of `histogram_count`, `_sum` and `_avg`.
    pub(crate) const fn of_totals(self) -> Self {
        Self {
            detect_resets: true,
            ..self
        }
    }

    /// Returns the scope of what needs whole histograms.
    pub(crate) const fn of_buckets(self) -> Self {
        Self {
            whole_histograms: true,
            ..self
        }
    }

    pub(crate) const fn detects_resets(self) -> bool {
        self.detect_resets && !self.whole_histograms
    }
}

/// How a query reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// How long a sample stands for its series.
    pub(crate) lookback_ms: i64,
    /// Samples alone, no summaries.
    pub(crate) raw_only: bool,
}

/// What a series takes beside its values.
const COLUMN_BYTES: u64 = 128;

/// The state of one query.
#[derive(Debug)]
pub(crate) struct Evaluator<'a> {
    pub(crate) config: &'a EngineConfig,
    pub(crate) helpers: &'a Helpers,
    pub(crate) querier: Arc<dyn Querier>,
    pub(crate) budget: &'a dyn Budget,
    pub(crate) account: Account<'a>,
    /// The grid of the whole query: what `start()`, `end()`, `step()` and `range()` speak of.
    pub(crate) query: Grid,
    pub(crate) is_instant: bool,
    pub(crate) reading: Reading,
    pub(crate) notes: Annotations,
    pub(crate) stats: QueryStats,
    /// What nodes come to, when somebody wants to know.
    pub(crate) plan: Option<Plan>,
    repeats: Repeats,
    held_points: u64,
    held_bytes: u64,
    /// Samples and points gone through since the last look at the clock.
    work: usize,
}

/// Samples and points between two looks at the clock and the cancellation: some 20 us.
const WORK_UNIT: usize = 8_192;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        (config, helpers): (&'a EngineConfig, &'a Helpers),
        querier: Arc<dyn Querier>,
        budget: &'a dyn Budget,
        (query, is_instant): (Grid, bool),
        reading: Reading,
    ) -> Self {
        Self {
            config,
            helpers,
            querier,
            budget,
            account: Account::new(budget),
            query,
            is_instant,
            reading,
            notes: Annotations::default(),
            stats: QueryStats::default(),
            plan: None,
            repeats: Repeats::default(),
            held_points: 0,
            held_bytes: 0,
            work: 0,
        }
    }

    /// Returns one for a part of the query that another thread goes through.
    pub(crate) fn fork(&self) -> Self {
        Self {
            stats: QueryStats::of_steps(self.stats.samples_per_step.len()),
            held_points: self.held_points,
            account: self.account.clone(),
            ..Self::new(
                (self.config, self.helpers),
                Arc::clone(&self.querier),
                self.budget,
                (self.query, self.is_instant),
                self.reading,
            )
        }
    }

    /// Finds what queries that are going to be evaluated in this order have in common; the first is at hand.
    pub(crate) fn find_repeats(&mut self, queries: &[&Expr]) {
        self.repeats = Repeats::of(queries);
    }

    /// Goes on to the query of this number: what the one before holds is its result's.
    pub(crate) fn turn_to(&mut self, query: usize) {
        self.repeats.turn_to(query);
        (self.notes, self.stats) = (Annotations::default(), QueryStats::default());
        (self.held_points, self.held_bytes) = (0, 0);
    }

    /// Gives back what was held for queries to come: there are none.
    pub(crate) fn forget_repeats(&mut self) {
        self.budget.release(self.repeats.let_go());
    }

    /// Gives back what the query at hand held, which failed.
    pub(crate) fn give_up(&mut self) {
        self.account.give_back();
        self.budget.release(self.held_bytes);
        (self.held_points, self.held_bytes) = (0, 0);
    }

    /// Evaluates `expr`, or gives what the same part of the query came to before; what its parts held is given back, what it holds is charged.
    pub(crate) fn eval(&mut self, expr: &Expr, scope: Scope) -> Result<Value, QueryError> {
        let Some(part) = self.repeats.part_at(expr.range) else {
            return self.eval_anew(expr, scope);
        };
        if let Some(value) = self.again(part, expr, scope)? {
            return Ok(value);
        }
        let value = self.eval_anew(expr, scope)?;
        if self.repeats.is_wanted(part) {
            let (_, bytes) = value.size();
            self.budget.charge(0, bytes)?;
            let notes = self.notes.within(expr.range);
            let held = (value.clone(), bytes);
            self.repeats.hold(part, scope, (expr.range, notes), held);
        }
        Ok(value)
    }

    /// Returns what a part of the query came to before, in the same scope, with its notes at this place.
    fn again(
        &mut self,
        part: usize,
        expr: &Expr,
        scope: Scope,
    ) -> Result<Option<Value>, QueryError> {
        let (value, notes, first, given_back) = match self.repeats.ask(part, scope) {
            None => return Ok(None),
            Some(Asked::Taken(held)) => (held.value, held.notes, held.range, held.bytes),
            Some(Asked::Lent(held)) => (held.value.clone(), held.notes.clone(), held.range, 0),
        };
        self.budget.release(given_back);
        for Annotation { note, range } in notes {
            self.notes
                .add(note, range.moved(first.start, expr.range.start));
        }
        self.settled(expr, |evaluator| {
            let (points, bytes) = value.size();
            evaluator.hold(points, bytes)?;
            Ok(value)
        })
        .map(Some)
    }

    fn eval_anew(&mut self, expr: &Expr, scope: Scope) -> Result<Value, QueryError> {
        self.settled(expr, |evaluator| {
            if !evaluator.is_evaluated_once(expr, scope) {
                return evaluator.eval_node(expr, scope);
            }
            let single = Scope {
                grid: Grid {
                    end: scope.grid.start,
                    ..scope.grid
                },
                ..scope
            };
            let once = evaluator.eval_node(expr, single)?;
            evaluator.hold_columns(once.columns(), scope.grid.len())?;
            Ok(repeat(once, scope.grid.len()))
        })
    }

    /// Whether one evaluation gives the values of all instants.
    pub(crate) fn is_evaluated_once(&self, expr: &Expr, scope: Scope) -> bool {
        scope.grid.len() > 1 && self.is_constant(expr)
    }

    /// Evaluates `expr`; what was held on the way is given back, what the value holds is charged.
    pub(crate) fn settled(
        &mut self,
        expr: &Expr,
        evaluate: impl FnOnce(&mut Self) -> Result<Value, QueryError>,
    ) -> Result<Value, QueryError> {
        let (points, bytes) = (self.held_points, self.held_bytes);
        let open = self.begin_node(expr);
        let value = evaluate(self)?;
        let (new_points, new_bytes) = value.size();
        self.settle(points + new_points, bytes + new_bytes)?;
        self.end_node(open, || (value.columns() as u64, new_points, new_bytes));
        Ok(value)
    }

    /// Notes that a node begins, when somebody wants to know.
    pub(crate) fn begin_node(&mut self, expr: &Expr) -> Option<Open> {
        let (budget, read) = (self.budget, self.stats.samples_read);
        let plan = self.plan.as_mut()?;
        Some(plan.begin(expr, budget.elapsed(), read))
    }

    /// Notes what it came to: series, points, bytes.
    pub(crate) fn end_node(
        &mut self,
        open: Option<Open>,
        came_to: impl FnOnce() -> (u64, u64, u64),
    ) {
        if let (Some(plan), Some(open)) = (&mut self.plan, open) {
            let (now, read) = (self.budget.elapsed(), self.stats.samples_read);
            plan.end(&open, now, read, came_to());
        }
    }

    fn eval_node(&mut self, expr: &Expr, scope: Scope) -> Result<Value, QueryError> {
        match &expr.kind {
            ExprKind::Number(literal) => Ok(Value::Scalar(vec![literal.value; scope.grid.len()])),
            ExprKind::String(text) => Ok(Value::Text(text.clone())),
            ExprKind::Paren(inner) => {
                let mut inner = &**inner;
                while let ExprKind::Paren(next) = &inner.kind {
                    inner = next;
                }
                self.eval_node(inner, scope)
            }
            ExprKind::Vector(selector) => self.instant_selector(selector, scope).map(Value::Vector),
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => Err(QueryError::Execution(
                "a range vector has no value at single instants".to_owned(),
            )),
            ExprKind::Call(call) => self.call(call, expr.range, scope),
            ExprKind::Aggregate(aggregate) => self
                .aggregate(aggregate, expr.range, scope)
                .map(Value::Vector),
            ExprKind::Binary(_) => self.binary_chain(expr, scope),
            ExprKind::Unary(unary) => {
                let value = self.eval(&unary.expr, scope)?;
                if unary.negative {
                    self.negate(value)
                } else {
                    Ok(value)
                }
            }
        }
    }

    /// Whether the value is the same at all instants: worth evaluating once.
    fn is_constant(&self, expr: &Expr) -> bool {
        match &expr.kind {
            // Cheap enough as they are.
            ExprKind::Number(_) | ExprKind::String(_) => false,
            _ => is_step_invariant(expr),
        }
    }

    fn negate(&mut self, value: Value) -> Result<Value, QueryError> {
        match value {
            Value::Scalar(mut values) => {
                for value in &mut values {
                    *value = -*value;
                }
                Ok(Value::Scalar(values))
            }
            Value::Vector(mut series) => {
                for series in &mut series {
                    self.budget.check()?;
                    for value in &mut series.column.floats {
                        if !model::is_stale(*value) {
                            *value = -*value;
                        }
                    }
                    for histogram in series.column.histograms.iter_mut().flatten() {
                        let mut negative = crate::histogram::FloatHistogram::from_model(histogram);
                        negative.scale(-1.0);
                        negative.reset = model::CounterReset::Gauge;
                        let negative = negative.into_model();
                        self.hold(0, negative.bytes() as u64)?;
                        *histogram = Arc::new(negative);
                    }
                }
                self.drop_names(series).map(Value::Vector)
            }
            text @ Value::Text(_) => Ok(text),
        }
    }

    /// Takes the metric's name from all series, now or in the end.
    pub(crate) fn drop_names(&self, mut series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
        if self.config.delayed_name_removal {
            for series in &mut series {
                series.drop_name = true;
            }
            return Ok(series);
        }
        for series in &mut series {
            series.labels = without_metadata(&series.labels);
        }
        merge_same_labels(series, self.budget)
    }

    /// Returns where a selector looks.
    pub(crate) fn look_times(
        &self,
        time: &TimeModifiers,
        grid: Grid,
    ) -> Result<LookTimes, QueryError> {
        let offset_ms = time
            .offset
            .as_ref()
            .map_or(Ok(0), |offset| duration::offset_ms(offset, self.span()))?;
        let fixed = time.at.map(|at| match at {
            AtModifier::Time(ms) => ms,
            AtModifier::Start => self.query.start.0,
            AtModifier::End => self.query.end.0,
        });
        Ok(LookTimes::new(grid, fixed, offset_ms))
    }

    pub(crate) fn range_ms(&self, range: &DurationExpr) -> Result<i64, QueryError> {
        duration::positive_ms(range, self.span())
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds as PromQL has them")]
    fn span(&self) -> QuerySpan {
        let span_ms = self.query.end.0.saturating_sub(self.query.start.0);
        QuerySpan {
            step_seconds: if self.is_instant {
                0.0
            } else {
                self.query.step_ms as f64 / 1_000.0
            },
            range_seconds: span_ms as f64 / 1_000.0,
        }
    }

    pub(crate) fn step_seconds(&self) -> f64 {
        self.span().step_seconds
    }

    pub(crate) fn range_seconds(&self) -> f64 {
        self.span().range_seconds
    }

    pub(crate) fn note(&mut self, note: Note, range: TextRange) {
        self.notes.add(note, range);
    }

    /// Returns a series that was evaluated, to be kept: charged, and with the labels that it came with.
    pub(crate) fn kept(&mut self, found: Evaluated<'_>) -> Result<Series, QueryError> {
        let column = std::mem::take(found.column);
        self.hold(column.present() as u64, column.bytes())?;
        Ok(Series {
            labels: found.labels.clone(),
            drop_name: found.drop_name,
            column,
        })
    }

    /// Notes that so many samples or points were gone through, and looks at the clock and the cancellation now and then.
    pub(crate) fn worked(&mut self, count: usize) -> Result<(), QueryError> {
        self.work += count + 1;
        if self.work > WORK_UNIT {
            self.work = 0;
            self.budget.check()?;
        }
        Ok(())
    }

    /// Charges points and bytes that now exist.
    pub(crate) fn hold(&mut self, points: u64, bytes: u64) -> Result<(), QueryError> {
        self.budget.charge(0, bytes)?;
        self.held_points += points;
        self.held_bytes += bytes;
        self.stats.points_peak = self.stats.points_peak.max(self.held_points);
        self.check_points(0)
    }

    /// Sets a histogram that was made for this, charged.
    pub(crate) fn set_histogram(
        &mut self,
        column: &mut Column,
        index: usize,
        histogram: Arc<Histogram>,
    ) -> Result<(), QueryError> {
        self.hold(0, column.bytes_to_set(&histogram) as u64)?;
        column.set_histogram(index, histogram);
        Ok(())
    }

    /// Charges columns that now exist, whatever will be in them.
    pub(crate) fn hold_columns(
        &mut self,
        columns: usize,
        instants: usize,
    ) -> Result<(), QueryError> {
        self.hold(0, columns as u64 * (instants as u64 * 8 + COLUMN_BYTES))
    }

    /// Fails when `more` points would exceed the bound.
    pub(crate) fn check_points(&self, more: u64) -> Result<(), QueryError> {
        if self.held_points + more > self.config.samples_max {
            return Err(QueryError::Budget(BudgetExceeded::Samples {
                limit: self.config.samples_max,
                flag: "--query.max-samples",
            }));
        }
        Ok(())
    }

    /// Fails when `instants` more points of one series would exceed a bound; called before room is made for them.
    pub(crate) fn check_room(&self, instants: usize) -> Result<(), QueryError> {
        let points = instants as u64;
        self.check_points(points)?;
        self.budget.charge(0, points.saturating_mul(8))?;
        self.budget.release(points.saturating_mul(8));
        Ok(())
    }

    /// Charges, or gives back, the difference to what is held now.
    fn settle(&mut self, points: u64, bytes: u64) -> Result<(), QueryError> {
        self.budget.check()?;
        self.account.give_back();
        if bytes > self.held_bytes {
            self.budget.charge(0, bytes - self.held_bytes)?;
        } else {
            self.budget.release(self.held_bytes - bytes);
        }
        (self.held_points, self.held_bytes) = (points, bytes);
        self.stats.points_peak = self.stats.points_peak.max(points);
        self.check_points(0)
    }
}

fn repeat(value: Value, times: usize) -> Value {
    match value {
        Value::Scalar(values) => {
            Value::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); times])
        }
        Value::Vector(series) => Value::Vector(
            series
                .into_iter()
                .map(|series| Series {
                    column: repeat_column(&series.column, times),
                    ..series
                })
                .collect(),
        ),
        text @ Value::Text(_) => text,
    }
}

fn repeat_column(column: &Column, times: usize) -> Column {
    Column {
        floats: vec![
            column
                .floats
                .first()
                .copied()
                .unwrap_or(crate::result::ABSENT);
            times
        ],
        histograms: match column.histograms.first() {
            Some(Some(histogram)) => vec![Some(Arc::clone(histogram)); times],
            Some(None) | None => Vec::new(),
        },
    }
}

/// Whether the value does not depend on the instant: everything in it is fixed by `@` or constant.
fn is_step_invariant(expr: &Expr) -> bool {
    const BY_INSTANT: [&str; 10] = [
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "hour",
        "minute",
        "month",
        "predict_linear",
        "time",
        "timestamp",
    ];
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => selector.time.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.time.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.time.at.is_some(),
        ExprKind::Call(call) => {
            let name = call.function.name;
            // `timestamp` of a fixed selector is fixed; of anything else it is the instant.
            let by_instant = name == "year"
                || (BY_INSTANT.contains(&name)
                    && !(name == "timestamp"
                        && call.args.first().is_some_and(|arg| {
                            matches!(arg.unwrap_parens().kind, ExprKind::Vector(_))
                        })));
            !by_instant && call.args.iter().all(is_step_invariant)
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.as_ref().is_none_or(is_step_invariant)
                && is_step_invariant(&aggregate.expr)
        }
        ExprKind::Binary(binary) => {
            is_step_invariant(&binary.right) && is_step_invariant(&binary.left)
        }
        ExprKind::Unary(unary) => is_step_invariant(&unary.expr),
        ExprKind::Paren(inner) => is_step_invariant(inner),
    }
}

/// Returns the name to mention in an annotation.
pub(crate) fn metric_name(labels: &Labels) -> String {
    labels.metric_name().unwrap_or_default().to_owned()
}
