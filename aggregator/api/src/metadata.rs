//! `series`, `labels`, `label/{name}/values`, `metadata`, `query_exemplars`: what there is, rather than what its values are.

use std::sync::Arc;

use http_shell::{Form, Response};
use model::{Matcher, TimeRange};
use storage::{Budget, Querier, QueryError};

use crate::budget::QueryBudget;
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::parameters;
use crate::route::Api;

/// Escapes of UTF-8 names in paths begin so (`U__a_2e_b` is `a.b`), as in Prometheus.
const ESCAPED_PREFIX: &str = "U__";

/// Which series are asked about.
struct Asked {
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    limit: usize,
}

impl Asked {
    fn of(form: &Form, selectors_required: bool) -> Result<Self, ApiError> {
        Ok(Self {
            selectors: parameters::selectors(form, selectors_required)?,
            range: parameters::range(form)?,
            limit: parameters::limit(form, "limit")?,
        })
    }
}

impl Api {
    /// `/api/v1/series`
    pub(crate) async fn series(&self, form: &Form) -> Result<Response, ApiError> {
        let asked = Asked::of(form, true)?;
        let (found, truncated) = self
            .on_store(move |querier, budget| querier.series(&asked.selectors, asked.range, asked.limit, budget))
            .await?;
        Ok(success(&Notes::truncated(truncated), |json| {
            json.array(|json| {
                for labels in &found {
                    json.labels(labels);
                }
            });
        }))
    }

    /// `/api/v1/labels`
    pub(crate) async fn labels(&self, form: &Form) -> Result<Response, ApiError> {
        let asked = Asked::of(form, false)?;
        let found = self
            .on_store(move |querier, budget| querier.label_names(&asked.selectors, asked.range, asked.limit, budget))
            .await?;
        Ok(success(&Notes::truncated(found.truncated), |json| {
            json.strings(found.names.iter().map(String::as_str));
        }))
    }

    /// `/api/v1/label/{name}/values`
    pub(crate) async fn label_values(&self, name: &str, form: &Form) -> Result<Response, ApiError> {
        let name = unescape(name);
        if name.is_empty() {
            return Err(ApiError::new(ErrorType::BadData, format!("invalid label name: {name:?}")));
        }
        let asked = Asked::of(form, false)?;
        let found = self
            .on_store(move |querier, budget| {
                querier.label_values(&name, &asked.selectors, asked.range, asked.limit, budget)
            })
            .await?;
        Ok(success(&Notes::truncated(found.truncated), |json| {
            json.strings(found.names.iter().map(String::as_str));
        }))
    }

    /// `/api/v1/query_exemplars`
    pub(crate) async fn exemplars(&self, form: &Form) -> Result<Response, ApiError> {
        let range = parameters::range(form)?;
        let text = form.get("query").unwrap_or_default();
        let selectors = promql::selectors(text, promql::ParserOptions::default()).map_err(|error| ApiError::parameter("query", error))?;
        if selectors.is_empty() {
            // No selector in the expression: nothing can have exemplars, and "no set" would mean "everything".
            return Ok(success(&Notes::default(), |json| drop(json.array(|_| {}))));
        }
        let found = self.on_store(move |querier, budget| querier.exemplars(&selectors, range, budget)).await?;
        Ok(success(&Notes::default(), |json| {
            json.array(|json| {
                for series in &found {
                    json.object(|json| {
                        json.key("seriesLabels").labels(&series.labels);
                        json.key("exemplars").array(|json| {
                            for exemplar in &series.exemplars {
                                json.object(|json| {
                                    json.key("labels").labels(&exemplar.labels);
                                    json.key("value").value(exemplar.value);
                                    json.key("timestamp").time(exemplar.at);
                                });
                            }
                        });
                    });
                }
            });
        }))
    }

    /// `/api/v1/metadata`
    pub(crate) async fn metric_metadata(&self, form: &Form) -> Result<Response, ApiError> {
        let limit = parameters::limit(form, "limit")?;
        let per_metric = parameters::limit(form, "limit_per_metric")?;
        let metric = form.get("metric").filter(|metric| !metric.is_empty()).map(str::to_owned);
        let found = self.on_store(move |querier, _| querier.metadata(metric.as_deref(), limit)).await?;
        Ok(success(&Notes::default(), |json| {
            json.object(|json| {
                for family in &found {
                    let kept = if per_metric == 0 { usize::MAX } else { per_metric };
                    json.key(&family.metric).array(|json| {
                        for metadata in family.metadata.iter().take(kept) {
                            json.object(|json| {
                                json.key("type").string(metadata.kind.as_str());
                                json.key("help").string(&metadata.help);
                                json.key("unit").string(&metadata.unit);
                            });
                        }
                    });
                }
            });
        }))
    }

    /// Runs a question to the store on a thread of its own, under the budget of a query.
    async fn on_store<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Querier, &dyn Budget) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let budget = QueryBudget::new(self.config.query_limits, Arc::clone(&self.parts.clock));
        let wait = tokio::time::timeout(self.config.query_limits.timeout, self.query_permits.acquire(1)).await;
        let permit = wait.map_err(|_| ApiError::new(ErrorType::Timeout, "query timed out in query queue"))?;
        let cancel = budget.cancel_on_drop();
        let store = Arc::clone(&self.parts.store);
        let asking = self.parts.tasks.spawn_blocking("metadata query", move || {
            let answer = store.querier().and_then(|querier| ask(&*querier, &*budget));
            drop(permit);
            answer
        });
        let answer = asking.await;
        drop(cancel);
        let answer = answer.map_err(|error| ApiError::new(ErrorType::Internal, format!("query failed: {error}")))?;
        answer.map_err(|error| crate::query::refusal(&promql::QueryError::from(error)))
    }
}

/// Undoes Prometheus' escaping of UTF-8 names: `U__` before, `_` doubled, other characters as `_hex_`.
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix(ESCAPED_PREFIX) else { return name.to_owned() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(tail) = tail.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let code = tail.split_once('_').filter(|(hex, _)| (1..=6).contains(&hex.len()));
        let decoded = code.and_then(|(hex, tail)| {
            Some((u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?, tail))
        });
        // What is not an escape is a name that merely looks like one.
        let Some((c, tail)) = decoded else { return name.to_owned() };
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_characters_fit_in_a_path() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___1f600_x", "\u{1f600}x"),
            ("U__a_zz_b", "U__a_zz_b"),
            ("U__a_", "U__a_"),
        ] {
            assert_eq!(unescape(escaped), name, "{escaped}");
        }
    }
}
