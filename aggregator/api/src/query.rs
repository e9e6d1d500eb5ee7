//! `query` and `query_range`, and the threads that they run on.

use std::sync::Arc;

use http_shell::{Form, Response};
use model::TimestampMs;
use promql::{ErrorKind, Grid, Output, POINTS_PER_SERIES_MAX, QueryError, QueryOptions, QueryResult, Severity};

use crate::budget::{QueryBudget, QueryLimits};
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::histogram;
use crate::json::Json;
use crate::parameters;
use crate::route::Api;

/// At most so many annotations of a kind are answered, as in Prometheus.
const ANNOTATIONS_MAX: usize = 10;

/// What to evaluate.
struct Asked {
    text: String,
    grid: Option<Grid>,
    at: TimestampMs,
    options: QueryOptions,
    limits: QueryLimits,
    limit: usize,
    stats: bool,
}

/// An outcome and what it cost.
struct Answered {
    output: Result<Output, QueryError>,
    seconds: f64,
    memory_peak: u64,
}

impl Api {
    /// `/api/v1/query`
    pub(crate) async fn query(&self, form: &Form) -> Result<Response, ApiError> {
        let now = TimestampMs::from(self.parts.clock.wall());
        let at = parameters::time(form, "time", Some(now))?;
        let asked = self.asked(form, at, None)?;
        self.evaluate(asked).await
    }

    /// `/api/v1/query_range`
    pub(crate) async fn query_range(&self, form: &Form) -> Result<Response, ApiError> {
        let start = parameters::time(form, "start", None)?;
        let end = parameters::time(form, "end", None)?;
        if end < start {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        let step_ms = parameters::step(form)?;
        if end.0.abs_diff(start.0) / step_ms.unsigned_abs() > POINTS_PER_SERIES_MAX as u64 {
            return Err(ApiError::new(
                ErrorType::BadData,
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ));
        }
        let asked = self.asked(form, start, Some(Grid { start, end, step_ms }))?;
        self.evaluate(asked).await
    }

    fn asked(&self, form: &Form, at: TimestampMs, grid: Option<Grid>) -> Result<Asked, ApiError> {
        let mut limits = self.config.query_limits;
        if let Some(timeout) = parameters::duration(form, "timeout")? {
            limits.timeout = limits.timeout.min(timeout);
        }
        let lookback = parameters::duration(form, "lookback_delta")?.filter(|lookback| !lookback.is_zero());
        Ok(Asked {
            text: form.get("query").unwrap_or_default().to_owned(),
            grid,
            at,
            options: QueryOptions { lookback },
            limits,
            limit: parameters::limit(form, "limit")?,
            stats: form.get("stats").is_some_and(|stats| !stats.is_empty()),
        })
    }

    async fn evaluate(&self, asked: Asked) -> Result<Response, ApiError> {
        let asked = Arc::new(asked);
        let answered = self.on_query_thread(&asked).await?;
        let output = answered.output.map_err(|error| refusal(&error))?;
        let mut notes = Notes {
            warnings: output.annotations.render(Severity::Warning, &asked.text, ANNOTATIONS_MAX),
            infos: output.annotations.render(Severity::Info, &asked.text, ANNOTATIONS_MAX),
        };
        let (result, truncated) = cut(output.result, asked.limit);
        notes.warnings.extend(Notes::truncated(truncated).warnings);
        Ok(success(&notes, |json| {
            json.object(|json| {
                json.key("resultType").string(result.type_name());
                json.key("result");
                write_result(json, &result);
                if asked.stats {
                    json.key("stats").object(|json| {
                        json.key("timings").object(|json| {
                            json.key("evalTotalTime").raw(answered.seconds);
                            json.key("execTotalTime").raw(answered.seconds);
                        });
                        json.key("samples").object(|json| {
                            json.key("totalQueryableSamples").raw(output.stats.samples_queryable);
                            json.key("samplesRead").raw(output.stats.samples_read);
                            json.key("peakMemoryBytes").raw(answered.memory_peak);
                        });
                    });
                }
            });
        }))
    }

    /// Waits for a place among the running queries, then evaluates on a thread of its own. Dropped, it stops the evaluation.
    async fn on_query_thread(&self, asked: &Arc<Asked>) -> Result<Answered, ApiError> {
        let budget = QueryBudget::new(asked.limits, Arc::clone(&self.parts.clock));
        let wait = tokio::time::timeout(asked.limits.timeout, self.query_permits.acquire(1)).await;
        let permit = wait.map_err(|_| ApiError::new(ErrorType::Timeout, "query timed out in query queue"))?;
        let cancel = budget.cancel_on_drop();
        let (engine, store) = (Arc::clone(&self.parts.engine), Arc::clone(&self.parts.store));
        let (asked, clock) = (Arc::clone(asked), Arc::clone(&self.parts.clock));
        let evaluation = self.parts.tasks.spawn_blocking("query", move || {
            let begun = clock.monotonic();
            let output = match asked.grid {
                Some(grid) => engine.range(&*store, &asked.text, grid, &asked.options, &*budget),
                None => engine.instant(&*store, &asked.text, asked.at, &asked.options, &*budget),
            };
            let seconds = clock.monotonic().saturating_since(begun).as_secs_f64();
            drop(permit);
            Answered { output, seconds, memory_peak: budget.memory_peak() }
        });
        let answered = evaluation.await;
        drop(cancel);
        let answered = answered.map_err(|error| ApiError::new(ErrorType::Internal, format!("query failed: {error}")))?;
        self.metrics.evaluated(answered.seconds, answered.output.is_ok());
        Ok(answered)
    }
}

pub(crate) fn refusal(error: &QueryError) -> ApiError {
    let kind = match error.kind() {
        ErrorKind::BadData => return ApiError::parameter("query", error),
        ErrorKind::Execution => ErrorType::Execution,
        ErrorKind::Timeout => ErrorType::Timeout,
        ErrorKind::Canceled => ErrorType::Canceled,
        ErrorKind::Internal => ErrorType::Internal,
    };
    ApiError::new(kind, error.to_string())
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

fn write_result(json: &mut Json, result: &QueryResult) {
    match result {
        QueryResult::Scalar { at, value } => {
            json.array(|json| {
                json.time(*at).value(*value);
            });
        }
        QueryResult::String { at, value } => {
            json.array(|json| {
                json.time(*at).string(value);
            });
        }
        QueryResult::Vector { at, samples } => {
            json.array(|json| {
                for sample in samples {
                    json.object(|json| {
                        json.key("metric").labels(&sample.labels);
                        histogram::write_sample(json, *at, &sample.value);
                    });
                }
            });
        }
        QueryResult::Grid { grid, series } => {
            json.array(|json| {
                for series in series {
                    json.object(|json| {
                        json.key("metric").labels(&series.labels);
                        write_column(json, *grid, &series.column);
                    });
                }
            });
        }
        QueryResult::Samples(series) => {
            json.array(|json| {
                for series in series {
                    json.object(|json| {
                        json.key("metric").labels(&series.labels);
                        histogram::write_samples(json, &series.samples);
                    });
                }
            });
        }
    }
}

fn write_column(json: &mut Json, grid: Grid, column: &promql::Column) {
    let has_floats = (0..column.len()).any(|index| column.float(index).is_some());
    let has_histograms = (0..column.len()).any(|index| column.histogram(index).is_some());
    if has_floats {
        json.key("values").array(|json| {
            for index in 0..column.len() {
                if let Some(value) = column.float(index) {
                    json.array(|json| {
                        json.time(grid.at(index)).value(value);
                    });
                }
            }
        });
    }
    if has_histograms {
        json.key("histograms").array(|json| {
            for index in 0..column.len() {
                if let Some(value) = column.histogram(index) {
                    json.array(|json| {
                        json.time(grid.at(index));
                        histogram::write(json, value);
                    });
                }
            }
        });
    }
}
