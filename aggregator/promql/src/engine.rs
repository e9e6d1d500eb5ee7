//! The engine: parses, evaluates a whole range per series in columns, returns columns.

mod account;
mod aggregate;
mod binary;
mod call;
pub(crate) mod duration;
mod either_range;
mod evaluator;
mod histogram_extended;
mod histogram_range;
mod matching;
mod parallel;
mod range_call;
mod range_function;
mod repeats;
mod rollup;
mod select;
mod sets;
mod signature;
mod sorted;
mod track;
mod value;
mod window;

use std::sync::Arc;
use std::time::Duration;

use model::{Labels, TimestampMs};
use storage::{Budget, Queryable};

pub(crate) use self::call::parse_bound;
use self::evaluator::{Evaluator, Reading, Scope};
use self::parallel::Helpers;
pub use self::repeats::related;
use self::sorted::sorted;
use self::value::{Series, Value, merge_same_labels, without_metadata};
use crate::ast::{Expr, ExprKind, ValueType};
use crate::plan::Plan;
use crate::{
    Column, Grid, GridSeries, Outcome, Output, ParserOptions, QueryError, QueryResult,
    VectorSample, parse,
};

/// Points per series that the HTTP API allows in one range query.
pub const POINTS_PER_SERIES_MAX: usize = 11_000;

/// What an engine is set to; the defaults are Prometheus'.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How long a sample stands for its series (5 minutes).
    pub lookback: Duration,
    /// The step of subqueries that do not name one (1 minute, as Prometheus' default evaluation interval).
    pub subquery_step: Duration,
    /// Samples that one query may hold at once (50 million).
    pub samples_max: u64,
    /// Threads that queries may have beside their own, all queries together (none).
    pub helper_threads: usize,
    /// Work from which on a selector is shared out to several threads: its series times the instants, and as much as 15 instants for reading
    /// each (1.5 million: some 100 ms of one thread, where a fifth more of processor time is worth the half of waiting).
    pub parallel_from: usize,
    /// Remove `__name__` at the end of a query instead of in each function (off).
    pub delayed_name_removal: bool,
    /// Let rates use the start times of counters (off).
    pub start_timestamps: bool,
    /// Treat `__type__` and `__unit__` as parts of a metric's name (off).
    pub type_and_unit_labels: bool,
    /// What the parser accepts.
    pub parser: ParserOptions,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            samples_max: 50_000_000,
            helper_threads: 0,
            parallel_from: 1_500_000,
            delayed_name_removal: false,
            start_timestamps: false,
            type_and_unit_labels: false,
            parser: ParserOptions::default(),
        }
    }
}

/// What one query may have of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Replaces [`EngineConfig::lookback`] (parameter `lookback_delta`), unless zero.
    pub lookback: Option<Duration>,
    /// Evaluates over samples alone, not over summaries of a downsampling tier (parameter `tier=raw`).
    pub raw_only: bool,
    /// Counts samples by instants (parameter `stats=all`).
    pub per_step: bool,
    /// Tells what each node came to and cost (parameter `stats=plan`).
    pub explain: bool,
}

/// Evaluates PromQL over anything [`Queryable`]. Holds no data and no clock, and threads no longer than a query takes; share it freely.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    config: EngineConfig,
    helpers: Arc<Helpers>,
}

impl Engine {
    /// Returns an engine with these settings.
    pub fn new(config: EngineConfig) -> Self {
        let helpers = Arc::new(Helpers::new(config.helper_threads));
        Self { config, helpers }
    }

    /// Returns the settings.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Evaluates `text` at one instant.
    pub fn instant(
        &self,
        store: &dyn Queryable,
        text: &str,
        at: TimestampMs,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        let expr = parse(text, self.config.parser)?;
        self.instant_expr(store, &expr, at, options, budget)
    }

    /// Evaluates `text` at all instants of `grid`.
    pub fn range(
        &self,
        store: &dyn Queryable,
        text: &str,
        grid: Grid,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        let expr = parse(text, self.config.parser)?;
        self.range_expr(store, &expr, grid, options, budget)
    }

    /// Evaluates a parsed expression at one instant.
    pub fn instant_expr(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        at: TimestampMs,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        let grid = Grid::instant(at);
        let mut evaluator = self.evaluator(store, grid, true, options, budget)?;
        evaluator.find_repeats(&[expr]);
        let result = self.instant_result(&mut evaluator, expr, grid)?;
        evaluator.forget_repeats();
        Ok(finished(&mut evaluator, result))
    }

    /// Evaluates parsed expressions one after the other at one instant, all over one view of the store: what several have in common
    /// ([`related`]) is evaluated once, and held and charged meanwhile. Returns what each came to. An expression that fails leaves the
    /// others alone; but one that the budget stops ends the list, for nobody can tell what of the budget the others before it took.
    pub fn instant_exprs(
        &self,
        store: &dyn Queryable,
        exprs: &[&Expr],
        at: TimestampMs,
        budget: &dyn Budget,
    ) -> Result<Vec<Outcome>, QueryError> {
        let grid = Grid::instant(at);
        let options = QueryOptions::default();
        let mut evaluator = self.evaluator(store, grid, true, &options, budget)?;
        evaluator.find_repeats(exprs);
        let mut outcomes = Vec::with_capacity(exprs.len());
        let mut began = budget.elapsed();
        for (number, expr) in exprs.iter().enumerate() {
            evaluator.turn_to(number);
            let output = self
                .instant_result(&mut evaluator, expr, grid)
                .map(|result| finished(&mut evaluator, result))
                .inspect_err(|_| evaluator.give_up());
            let ended = budget.elapsed();
            let stopped = matches!(output, Err(QueryError::Budget(_)));
            let took = ended.saturating_sub(began);
            outcomes.push(Outcome { output, took });
            if stopped {
                break;
            }
            began = ended;
        }
        evaluator.forget_repeats();
        Ok(outcomes)
    }

    fn instant_result(
        &self,
        evaluator: &mut Evaluator<'_>,
        expr: &Expr,
        grid: Grid,
    ) -> Result<QueryResult, QueryError> {
        let (at, scope) = (grid.start, Scope::new(grid));
        if expr.value_type() == ValueType::Matrix {
            let source = evaluator.range_source(expr, None, scope)?;
            let drop_names = self.config.delayed_name_removal;
            let samples = range_call::samples_of(source, drop_names, evaluator)?;
            return Ok(QueryResult::Samples(samples));
        }
        Ok(match evaluator.eval(expr, scope)? {
            Value::Scalar(values) => QueryResult::Scalar {
                at,
                value: values.first().copied().unwrap_or(f64::NAN),
            },
            Value::Text(text) => QueryResult::String {
                at,
                value: String::from_utf8_lossy(&text).into_owned(),
            },
            Value::Vector(series) => QueryResult::Vector {
                at,
                samples: self
                    .named(series, evaluator.budget)?
                    .into_iter()
                    .filter_map(|series| {
                        Some(VectorSample {
                            value: series.column.value(0)?,
                            labels: series.labels,
                        })
                    })
                    .collect(),
            },
        })
    }

    /// Evaluates a parsed expression at all instants of `grid`.
    pub fn range_expr(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        grid: Grid,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::BadData(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                expr.value_type().documented()
            )));
        }
        if grid.step_ms < 1 {
            return Err(QueryError::BadData(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        let mut evaluator = self.evaluator(store, grid, false, options, budget)?;
        if grid.is_empty() {
            let series = Vec::new();
            return Ok(finished(&mut evaluator, QueryResult::Grid { grid, series }));
        }
        evaluator.check_room(grid.len())?;
        evaluator.find_repeats(&[expr]);
        let series = match evaluator.eval(expr, Scope::new(grid))? {
            Value::Scalar(floats) => vec![GridSeries {
                labels: Labels::empty(),
                column: Column {
                    floats,
                    histograms: Vec::new(),
                },
            }],
            Value::Vector(series) => self.sorted(series, budget)?,
            Value::Text(_) => Vec::new(),
        };
        evaluator.forget_repeats();
        Ok(finished(&mut evaluator, QueryResult::Grid { grid, series }))
    }

    fn evaluator<'a>(
        &'a self,
        store: &dyn Queryable,
        grid: Grid,
        is_instant: bool,
        options: &QueryOptions,
        budget: &'a dyn Budget,
    ) -> Result<Evaluator<'a>, QueryError> {
        let lookback = options
            .lookback
            .filter(|lookback| !lookback.is_zero())
            .unwrap_or(self.config.lookback);
        let lookback_ms = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        let reading = Reading {
            lookback_ms,
            raw_only: options.raw_only,
        };
        let when = (grid, is_instant);
        let mut evaluator = Evaluator::new(
            (&self.config, &self.helpers),
            store.querier()?,
            budget,
            when,
            reading,
        );
        evaluator.plan = options.explain.then(Plan::default);
        if options.per_step {
            evaluator.check_room(grid.len())?;
            evaluator.stats.samples_per_step = vec![0; grid.len()];
        }
        Ok(evaluator)
    }

    /// Removes the names that were to be removed in the end.
    fn named(
        &self,
        mut series: Vec<Series>,
        budget: &dyn Budget,
    ) -> Result<Vec<Series>, QueryError> {
        for series in &mut series {
            if series.drop_name {
                series.labels = without_metadata(&series.labels);
            }
        }
        merge_same_labels(series, budget)
    }

    fn sorted(
        &self,
        series: Vec<Series>,
        budget: &dyn Budget,
    ) -> Result<Vec<GridSeries>, QueryError> {
        let series: Vec<GridSeries> = self
            .named(series, budget)?
            .into_iter()
            .filter(|series| series.column.has_any())
            .map(|series| GridSeries {
                labels: series.labels,
                column: series.column,
            })
            .collect();
        Ok(sorted(series, budget, |a, b| a.labels.cmp(&b.labels))?)
    }
}

/// Returns what a query came to, and leaves the evaluator as new for the next one.
fn finished(evaluator: &mut Evaluator<'_>, result: QueryResult) -> Output {
    Output {
        result,
        annotations: std::mem::take(&mut evaluator.notes),
        stats: std::mem::take(&mut evaluator.stats),
        plan: evaluator
            .plan
            .take()
            .map(Plan::into_nodes)
            .unwrap_or_default(),
    }
}

/// Whether the expression contains a call of one of these functions.
pub(crate) fn calls_any(expr: &Expr, names: &[&str]) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {
            false
        }
        ExprKind::Paren(inner) => calls_any(inner, names),
        ExprKind::Unary(unary) => calls_any(&unary.expr, names),
        ExprKind::Subquery(subquery) => calls_any(&subquery.expr, names),
        ExprKind::Call(call) => {
            names.contains(&call.function.name) || call.args.iter().any(|arg| calls_any(arg, names))
        }
        ExprKind::Aggregate(aggregate) => {
            calls_any(&aggregate.expr, names)
                || aggregate
                    .param
                    .as_ref()
                    .is_some_and(|param| calls_any(param, names))
        }
        ExprKind::Binary(binary) => {
            calls_any(&binary.left, names) || calls_any(&binary.right, names)
        }
    }
}
