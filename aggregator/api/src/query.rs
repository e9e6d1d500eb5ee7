//! `query` and `query_range`.

use std::sync::Arc;

use http_shell::{Form, Response};
use model::TimestampMs;
use promql::ast::Expr;
use promql::{
    Engine, ErrorKind, Grid, Output, POINTS_PER_SERIES_MAX, PlanNode, QueryError, QueryOptions,
    QueryResult, QueryStats, Severity,
};
use storage::Queryable;

use crate::api::Api;
use crate::budget::QueryLimits;
use crate::envelope::{ApiError, ErrorType, Notes, success_within};
use crate::json::Json;
use crate::own_metrics::OwnMetrics;
use crate::running::{Asker, RANGE, Subject};
use crate::thread::Place;
use crate::{parameters, samples};

/// At most so many annotations of a kind are answered, as in Prometheus.
const ANNOTATIONS_MAX: usize = 10;
/// The longest expression that is parsed: parsing happens before a budget can count.
const EXPRESSION_BYTES_MAX: usize = 1024 * 1024;

/// The value of `stats` that asks for counts by instants, too.
const PER_STEP: &str = "all";
/// The value of `stats` that asks for what each node of the expression came to and cost. Ours; Prometheus takes it as it takes any other.
const PLAN: &str = "plan";

/// What to evaluate, and how to answer.
struct Asked {
    text: String,
    when: When,
    options: QueryOptions,
    limit: usize,
    stats: bool,
}

#[derive(Clone, Copy)]
enum When {
    Instant(TimestampMs),
    Range(Grid),
}

impl Api {
    /// `/api/v1/query`
    pub(crate) async fn query(&self, form: &Form, asker: &Asker) -> Result<Response, ApiError> {
        let now = TimestampMs::from(self.parts.clock.wall());
        let at = parameters::time_or(form, "time", now)?;
        self.evaluate(form, When::Instant(at), asker).await
    }

    /// `/api/v1/query_range`
    pub(crate) async fn query_range(
        &self,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        let start = parameters::time(form, "start")?;
        let end = parameters::time(form, "end")?;
        if end < start {
            let why = "end timestamp must not be before start time";
            return Err(ApiError::parameter("end", why));
        }
        let step_ms = parameters::step(form)?;
        if end.0.abs_diff(start.0) / step_ms.unsigned_abs() > POINTS_PER_SERIES_MAX as u64 {
            return Err(ApiError::new(
                ErrorType::BadData,
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ));
        }
        let grid = Grid {
            start,
            end,
            step_ms,
        };
        self.evaluate(form, When::Range(grid), asker).await
    }

    async fn evaluate(&self, form: &Form, when: When, asker: &Asker) -> Result<Response, ApiError> {
        let mut limits = self.config.query_limits;
        if let Some(timeout) = parameters::timeout(form)? {
            limits.timeout = limits.timeout.min(timeout);
        }
        let stats = form.get("stats").unwrap_or_default();
        let asked = Asked {
            text: expression(form)?.to_owned(),
            when,
            options: QueryOptions {
                lookback: parameters::lookback(form)?,
                raw_only: parameters::raw_only(form)?,
                per_step: stats == PER_STEP,
                explain: stats == PLAN,
            },
            limit: parameters::limit(form, "limit")?,
            stats: !stats.is_empty(),
        };
        let (kind, grid) = match when {
            When::Instant(at) => ("instant", Grid::instant(at)),
            When::Range(grid) => (RANGE, grid),
        };
        let subject = Subject::new(kind, &asked.text, Some(grid), asker);
        self.run(asked, limits, subject, grid).await
    }

    async fn run(
        &self,
        asked: Asked,
        limits: QueryLimits,
        subject: Subject,
        grid: Grid,
    ) -> Result<Response, ApiError> {
        let (engine, store) = (
            Arc::clone(&self.parts.engine),
            Arc::clone(&self.parts.store),
        );
        let (clock, metrics) = (Arc::clone(&self.parts.clock), self.metrics.clone());
        self.on_thread(limits, subject, move |place| {
            let begun = clock.monotonic();
            let options = engine.config().parser;
            let parsed = promql::parse_within(&asked.text, options, &*place.budget);
            let preparing = clock.monotonic().saturating_since(begun);
            let output = parsed.and_then(|expr| asked.evaluate(&expr, &engine, &*store, place));
            let took = clock.monotonic().saturating_since(begun);
            metrics.evaluated(took, OwnMetrics::outcome(&output));
            let mut output = output.map_err(|error| refusal(&error))?;
            let stats = asked.stats.then(|| Stats {
                grid,
                seconds: took.as_secs_f64(),
                preparing_seconds: preparing.as_secs_f64(),
                waited_seconds: place.waited.as_secs_f64(),
                samples: std::mem::take(&mut output.stats),
                plan: std::mem::take(&mut output.plan),
                memory_peak: place.budget.memory_peak(),
            });
            asked.answer(output, stats.as_ref(), place)
        })
        .await
    }
}

/// Returns the expression asked for.
pub(crate) fn expression(form: &Form) -> Result<&str, ApiError> {
    let text = form.get("query").unwrap_or_default();
    if text.len() > EXPRESSION_BYTES_MAX {
        let bytes = text.len();
        let why = format!(
            "an expression of {bytes} bytes is longer than the {EXPRESSION_BYTES_MAX} allowed"
        );
        return Err(ApiError::parameter("query", why));
    }
    Ok(text)
}

/// Returns the answer to a query that has no result.
pub(crate) fn refusal(error: &QueryError) -> ApiError {
    refusal_of(Some("query"), error)
}

/// The same, for what is asked in a parameter of this name; `None`: it is not named.
pub(crate) fn refusal_of(parameter: Option<&str>, error: &QueryError) -> ApiError {
    let kind = match (error.kind(), parameter) {
        (ErrorKind::BadData, Some(name)) => return ApiError::parameter(name, error),
        (kind, _) => kind,
    };
    let kind = match kind {
        ErrorKind::BadData => ErrorType::BadData,
        ErrorKind::Execution => ErrorType::Execution,
        ErrorKind::Timeout => ErrorType::Timeout,
        ErrorKind::Canceled => ErrorType::Canceled,
        ErrorKind::Internal => ErrorType::Internal,
    };
    ApiError::new(kind, error.to_string())
}

/// What a query cost.
struct Stats {
    /// The instants of the query.
    grid: Grid,
    /// From text to result.
    seconds: f64,
    /// Of these, from text to tree.
    preparing_seconds: f64,
    waited_seconds: f64,
    samples: QueryStats,
    memory_peak: u64,
    plan: Vec<PlanNode>,
}

impl Asked {
    fn evaluate(
        &self,
        expr: &Expr,
        engine: &Engine,
        store: &dyn Queryable,
        place: &Place,
    ) -> Result<Output, QueryError> {
        let (options, budget) = (&self.options, &*place.budget);
        match self.when {
            When::Instant(at) => engine.instant_expr(store, expr, at, options, budget),
            When::Range(grid) => engine.range_expr(store, expr, grid, options, budget),
        }
    }

    fn answer(
        &self,
        output: Output,
        stats: Option<&Stats>,
        place: &Place,
    ) -> Result<Response, ApiError> {
        let notes = |severity| {
            output
                .annotations
                .render(severity, &self.text, ANNOTATIONS_MAX)
        };
        let mut notes = Notes {
            warnings: notes(Severity::Warning),
            infos: notes(Severity::Info),
        };
        let (result, truncated) = cut(output.result, self.limit);
        notes.warnings.extend(Notes::truncated(truncated).warnings);
        success_within(&place.budget, &notes, |json| {
            json.object(|json| {
                json.key("resultType").string(result.type_name());
                json.key("result");
                samples::write_result(json, &result);
                if let Some(stats) = stats {
                    stats.write(json, &self.text);
                }
            });
        })
    }
}

/// Keeps the first `limit` series; 0 keeps all.
fn cut(mut result: QueryResult, limit: usize) -> (QueryResult, bool) {
    fn shorten<T>(list: &mut Vec<T>, limit: usize) -> bool {
        let truncated = limit > 0 && list.len() > limit;
        if truncated {
            list.truncate(limit);
        }
        truncated
    }
    let truncated = match &mut result {
        QueryResult::Vector { samples, .. } => shorten(samples, limit),
        QueryResult::Grid { series, .. } => shorten(series, limit),
        QueryResult::Samples(series) => shorten(series, limit),
        QueryResult::Scalar { .. } | QueryResult::String { .. } => false,
    };
    (result, truncated)
}

impl Stats {
    /// Writes Prometheus' timings and counts, and the memory besides. What it prepares, reading included, is here the parsing alone;
    /// results come sorted.
    fn write(&self, json: &mut Json, text: &str) {
        json.key("stats").object(|json| {
            json.key("timings").object(|json| {
                for (name, seconds) in [
                    ("evalTotalTime", self.seconds),
                    ("resultSortTime", 0.0),
                    ("queryPreparationTime", self.preparing_seconds),
                    ("innerEvalTime", self.seconds - self.preparing_seconds),
                    ("execQueueTime", self.waited_seconds),
                    ("execTotalTime", self.waited_seconds + self.seconds),
                ] {
                    json.key(name).raw(seconds);
                }
            });
            json.key("samples").object(|json| {
                let per_step = &self.samples.samples_per_step;
                if !per_step.is_empty() {
                    json.key("totalQueryableSamplesPerStep").array(|json| {
                        for (index, samples) in per_step.iter().enumerate() {
                            json.array(|json| {
                                json.short_time(self.grid.at(index)).raw(samples);
                            });
                        }
                    });
                }
                json.key("totalQueryableSamples")
                    .raw(self.samples.samples_queryable);
                json.key("samplesRead").raw(self.samples.samples_read);
                json.key("peakSamples").raw(self.samples.points_peak);
                json.key("peakMemoryBytes").raw(self.memory_peak);
            });
            if !self.plan.is_empty() {
                json.key("plan").array(|json| {
                    for node in &self.plan {
                        write_node(json, node, text);
                        if !json.settle() {
                            return;
                        }
                    }
                });
            }
        });
    }
}

/// The text of a node is shown up to so many bytes: those of deep trees repeat one another.
const NODE_TEXT_BYTES_MAX: usize = 200;

/// Writes a node of the plan; nodes stand before those below them, which have a greater depth.
fn write_node(json: &mut Json, node: &PlanNode, text: &str) {
    let (start, end) = (node.range.start as usize, node.range.end as usize);
    let shown = text.get(start..end).unwrap_or_default();
    let shown = shown.get(..shown.floor_char_boundary(NODE_TEXT_BYTES_MAX));
    json.object(|json| {
        json.key("depth").raw(node.depth);
        json.key("node").string(node.kind);
        json.key("start").raw(start);
        json.key("end").raw(end);
        json.key("text").string(shown.unwrap_or_default());
        json.key("series").raw(node.series);
        json.key("points").raw(node.points);
        json.key("samplesRead").raw(node.samples_read);
        json.key("seconds").raw(node.took.as_secs_f64());
        json.key("memoryBytes").raw(node.value_bytes);
    });
}
