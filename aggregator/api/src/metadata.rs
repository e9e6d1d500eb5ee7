//! `series`, `labels`, `label/{name}/values`, `metadata`, `query_exemplars`: what there is, rather than what its values are.

use std::sync::Arc;

use http_shell::{Form, Response, StatusCode};
use model::{Matcher, TimeRange};
use promql::{ParserOptions, QueryError};
use storage::{Budget, ExemplarSeries, Names, Querier};

use crate::api::Api;
use crate::envelope::{ApiError, ErrorType, Notes, success_within};
use crate::json::Json;
use crate::query::refusal_of;
use crate::running::{Asker, Subject};
use crate::{parameters, query};

/// Escapes of UTF-8 names in paths begin so (`U__a_2e_b` is `a.b`), as in Prometheus.
const ESCAPED_PREFIX: &str = "U__";
/// So many items are written between two looks at the budget.
const ITEMS_PER_LOOK: usize = 256;

/// Which series are asked about.
struct Asked {
    /// As they are written.
    selectors: Vec<String>,
    range: TimeRange,
    limit: usize,
}

impl Api {
    /// `/api/v1/series`
    pub(crate) async fn series(&self, form: &Form, asker: &Asker) -> Result<Response, ApiError> {
        let asked = Asked::of(form)?;
        if asked.selectors.is_empty() {
            return Err(ApiError::new(
                ErrorType::BadData,
                "no match[] parameter provided",
            ));
        }
        let options = self.parts.engine.config().parser;
        let ask = move |querier: &dyn Querier, budget: &dyn Budget| {
            let selectors = asked
                .matchers(options, budget)
                .map_err(|error| refusal_of(Some("match[]"), &error))?;
            if asked.is_empty() {
                return Ok((Vec::new(), false));
            }
            Ok(querier.series(&selectors, asked.range, asked.limit, budget)?)
        };
        self.ask(subject("series", form, asker), ask, |(found, truncated)| {
            let notes = Notes::truncated(truncated);
            let write = move |json: &mut Json| {
                write_all(json, &found, |json, labels| {
                    json.labels(labels);
                });
            };
            (notes, write)
        })
        .await
    }

    /// `/api/v1/labels`
    pub(crate) async fn labels(&self, form: &Form, asker: &Asker) -> Result<Response, ApiError> {
        let (asked, options) = (Asked::of(form)?, self.parts.engine.config().parser);
        let ask = move |querier: &dyn Querier, budget: &dyn Budget| {
            let selectors = asked.matchers(options, budget).map_err(unnamed)?;
            if asked.is_empty() {
                return Ok(Names::default());
            }
            Ok(querier.label_names(&selectors, asked.range, asked.limit, budget)?)
        };
        self.ask(subject("labels", form, asker), ask, names).await
    }

    /// `/api/v1/label/{name}/values`
    pub(crate) async fn label_values(
        &self,
        name: &str,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        let name = unescape(name);
        if name.is_empty() {
            return Err(ApiError::new(
                ErrorType::BadData,
                "invalid label name: \"\"",
            ));
        }
        let (asked, options) = (Asked::of(form)?, self.parts.engine.config().parser);
        let ask = move |querier: &dyn Querier, budget: &dyn Budget| {
            let selectors = asked.matchers(options, budget).map_err(unnamed)?;
            if asked.is_empty() {
                return Ok(Names::default());
            }
            Ok(querier.label_values(&name, &selectors, asked.range, asked.limit, budget)?)
        };
        self.ask(subject("label_values", form, asker), ask, names)
            .await
    }

    /// `/api/v1/query_exemplars`
    pub(crate) async fn exemplars(&self, form: &Form, asker: &Asker) -> Result<Response, ApiError> {
        let range = parameters::range(form)?;
        if range.end < range.start {
            let why = "end timestamp must not be before start timestamp";
            return Err(ApiError::new(ErrorType::BadData, why));
        }
        let options = self.parts.engine.config().parser;
        let text = query::expression(form)?.to_owned();
        let subject = Subject::new("exemplars", &text, None, asker);
        let store = Arc::clone(&self.parts.store);
        self.on_thread(self.config.query_limits, subject, move |place| {
            let budget = &place.budget;
            let selectors = promql::selectors(&text, options, &**budget).map_err(unnamed)?;
            if selectors.is_empty() {
                // Nothing in the expression can have exemplars; no set of matchers at all would mean "everything".
                return Ok(Response::empty(StatusCode::NO_CONTENT));
            }
            let querier = store.querier()?;
            let found = querier.exemplars(&selectors, range, &**budget)?;
            success_within(budget, &Notes::default(), |json| {
                write_all(json, &found, write_exemplars);
            })
        })
        .await
    }

    /// `/api/v1/metadata`
    pub(crate) async fn metric_metadata(
        &self,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        let limit = parameters::loose_limit(form, "limit")?;
        let per_metric = parameters::loose_limit(form, "limit_per_metric")?;
        let metric = form
            .get("metric")
            .filter(|metric| !metric.is_empty())
            .map(str::to_owned);
        let ask = move |querier: &dyn Querier, _: &dyn Budget| {
            Ok(querier.metadata(metric.as_deref(), limit)?)
        };
        let of = form.get("metric").unwrap_or_default();
        let subject = Subject::new("metadata", of, None, asker);
        self.ask(subject, ask, move |found| {
            let kept = if per_metric == 0 {
                usize::MAX
            } else {
                per_metric
            };
            let write = move |json: &mut Json| {
                json.object(|json| {
                    for family in &found {
                        json.key(&family.metric).array(|json| {
                            for metadata in family.metadata.iter().take(kept) {
                                json.object(|json| {
                                    json.key("type").string(metadata.kind.as_str());
                                    json.key("help").string(&metadata.help);
                                    json.key("unit").string(&metadata.unit);
                                });
                            }
                        });
                        if !json.settle() {
                            return;
                        }
                    }
                });
            };
            (Notes::default(), write)
        })
        .await
    }

    /// Asks the store on a thread, under the budget of a query; `shape` makes of its answer what is noted and written.
    async fn ask<T, W: FnOnce(&mut Json)>(
        &self,
        subject: Subject,
        ask: impl FnOnce(&dyn Querier, &dyn Budget) -> Result<T, ApiError> + Send + 'static,
        shape: impl FnOnce(T) -> (Notes, W) + Send + 'static,
    ) -> Result<Response, ApiError> {
        let store = Arc::clone(&self.parts.store);
        self.on_thread(self.config.query_limits, subject, move |place| {
            let (notes, write) = shape(ask(&*store.querier()?, &*place.budget)?);
            success_within(&place.budget, &notes, write)
        })
        .await
    }
}

impl Asked {
    fn of(form: &Form) -> Result<Self, ApiError> {
        Ok(Self {
            selectors: parameters::selector_texts(form),
            range: parameters::range(form)?,
            limit: parameters::limit(form, "limit")?,
        })
    }

    fn matchers(
        &self,
        options: ParserOptions,
        budget: &dyn Budget,
    ) -> Result<Vec<Vec<Matcher>>, QueryError> {
        parameters::selectors(&self.selectors, options, budget)
    }

    /// Whether nothing can lie in the range.
    fn is_empty(&self) -> bool {
        self.range.end < self.range.start
    }
}

/// The lists name no parameter in their refusals.
fn unnamed(error: QueryError) -> ApiError {
    refusal_of(None, &error)
}

/// The question for what is there of all selectors.
fn subject(kind: &'static str, form: &Form, asker: &Asker) -> Subject {
    let selectors: Vec<&str> = form.all("match[]").collect();
    Subject::new(kind, &selectors.join(", "), None, asker)
}

fn names(found: Names) -> (Notes, impl FnOnce(&mut Json)) {
    let notes = Notes::truncated(found.truncated);
    let write = move |json: &mut Json| {
        write_all(json, &found.names, |json, name| {
            json.string(name);
        });
    };
    (notes, write)
}

fn write_exemplars(json: &mut Json, series: &ExemplarSeries) {
    json.object(|json| {
        json.key("seriesLabels").labels(&series.labels);
        json.key("exemplars");
        write_all(json, &series.exemplars, |json, exemplar| {
            json.object(|json| {
                json.key("labels").labels(&exemplar.labels);
                json.key("value").value(exemplar.value);
                json.key("timestamp").time(exemplar.at);
            });
        });
    });
}

/// Writes a list; stops short when the budget refuses.
fn write_all<T>(json: &mut Json, items: &[T], write: impl Fn(&mut Json, &T)) {
    json.array(|json| {
        for (count, item) in items.iter().enumerate() {
            if count % ITEMS_PER_LOOK == 0 && !json.settle() {
                return;
            }
            write(json, item);
        }
    });
}

/// Undoes Prometheus' escaping of UTF-8 names: `U__` before, `_` doubled, other characters as `_hex_`.
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix(ESCAPED_PREFIX) else {
        return name.to_owned();
    };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(tail) = tail.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let code = tail
            .split_once('_')
            .filter(|(hex, _)| (1..=6).contains(&hex.len()));
        let decoded = code.and_then(|(hex, tail)| {
            Some((
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?,
                tail,
            ))
        });
        // What is not an escape is a name that merely looks like one.
        let Some((c, tail)) = decoded else {
            return name.to_owned();
        };
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
