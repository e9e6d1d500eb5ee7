//! Queries while they wait and run: listed, cancelled by operators, logged when they took long.
//!
//! As many run as [`crate::ApiConfig::query_concurrency`] says, and at most one waits per connection of the HTTP server: that bounds
//! the list. An expression is kept, and shown, up to [`EXPRESSION_SHOWN_BYTES_MAX`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use http_shell::{Caller, Form, Response};
use model::TimestampMs;
use promql::Grid;

use crate::api::Api;
use crate::budget::QueryBudget;
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::json::Json;

/// Longer expressions are cut in the list and in the log.
const EXPRESSION_SHOWN_BYTES_MAX: usize = 2_048;

/// What is asked, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    kind: &'static str,
    expression: String,
    when: Option<Grid>,
    asker: Asker,
}

impl Subject {
    /// Returns the question for an expression, or for selectors; `when` is when it is evaluated, if at instants.
    pub(crate) fn new(
        kind: &'static str,
        expression: &str,
        when: Option<Grid>,
        asker: &Asker,
    ) -> Self {
        Self {
            kind,
            expression: shown(expression),
            when,
            asker: asker.clone(),
        }
    }
}

fn shown(expression: &str) -> String {
    if expression.len() <= EXPRESSION_SHOWN_BYTES_MAX {
        return expression.to_owned();
    }
    let end = expression.floor_char_boundary(EXPRESSION_SHOWN_BYTES_MAX);
    format!("{}...", expression.get(..end).unwrap_or_default())
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    address: String,
    user: Option<String>,
}

impl Asker {
    /// A rule asks, not a client.
    pub(crate) fn of_rule(rule: &str) -> Self {
        Self {
            address: "rules".to_owned(),
            user: Some(rule.to_owned()),
        }
    }

    pub(crate) fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Remote { address, user } => Self {
                address: address.to_string(),
                user: user.clone(),
            },
            Caller::Local { uid } | Caller::Process { uid, .. } => Self {
                address: "local".to_owned(),
                user: Some(uid.to_string()),
            },
        }
    }
}

/// The queries that wait or run. Clones share the list.
#[derive(Clone, Debug)]
pub(crate) struct RunningQueries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: SharedClock,
    slower_than: Option<Duration>,
    last_id: AtomicU64,
    queries: Mutex<BTreeMap<u64, Arc<Query>>>,
}

#[derive(Debug)]
struct Query {
    id: u64,
    subject: Subject,
    asked: Monotonic,
    /// Set when it leaves the queue.
    started: OnceLock<Monotonic>,
    budget: Arc<QueryBudget>,
}

/// A query's place in the list, left on drop.
#[derive(Debug)]
pub(crate) struct Listed {
    shared: Arc<Shared>,
    query: Arc<Query>,
    outcome: &'static str,
}

impl RunningQueries {
    /// Returns an empty list; queries that take `slower_than` or longer are logged.
    pub(crate) fn new(clock: SharedClock, slower_than: Option<Duration>) -> Self {
        let shared = Arc::new(Shared {
            clock,
            slower_than,
            last_id: AtomicU64::new(0),
            queries: Mutex::default(),
        });
        Self { shared }
    }

    /// Adds a query that waits for its place.
    pub(crate) fn enter(&self, subject: Subject, budget: &Arc<QueryBudget>) -> Listed {
        let shared = Arc::clone(&self.shared);
        let query = Arc::new(Query {
            id: shared.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            subject,
            asked: shared.clock.monotonic(),
            started: OnceLock::new(),
            budget: Arc::clone(budget),
        });
        shared.lock().insert(query.id, Arc::clone(&query));
        Listed {
            shared,
            query,
            outcome: ErrorType::Canceled.name(),
        }
    }

    fn list(&self) -> Vec<Arc<Query>> {
        self.shared.lock().values().cloned().collect()
    }

    fn find(&self, id: u64) -> Option<Arc<Query>> {
        self.shared.lock().get(&id).cloned()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Query>>> {
        // Nothing panics while it holds the lock, and a list is whole after each change.
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Notes that the query runs from now on; returns how long it waited.
    pub(crate) fn start(&self) -> Duration {
        let now = self.shared.clock.monotonic();
        let started = *self.query.started.get_or_init(|| now);
        started.saturating_since(self.query.asked)
    }

    /// Leaves the list, with what the query came to.
    pub(crate) fn finish<T>(mut self, answer: &Result<T, ApiError>) {
        self.outcome = match answer {
            Ok(_) => "success",
            Err(error) => error.kind.name(),
        };
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.query.id);
        let took = self.query.age(&self.shared.clock);
        if std::thread::panicking() {
            self.outcome = ErrorType::Internal.name();
        }
        if self.shared.slower_than.is_some_and(|bound| took >= bound) {
            self.query.log(took, self.outcome);
        }
    }
}

impl Query {
    fn age(&self, clock: &SharedClock) -> Duration {
        clock.monotonic().saturating_since(self.asked)
    }

    fn log(&self, took: Duration, outcome: &str) {
        let Subject {
            kind,
            expression,
            when,
            asker,
        } = &self.subject;
        let seconds = |at: TimestampMs| at.as_seconds();
        let waited = self
            .started
            .get()
            .map_or(took, |started| started.saturating_since(self.asked));
        tracing::warn!(
            kind,
            expression,
            start = when.map(|grid| seconds(grid.start)),
            end = when.map(|grid| seconds(grid.end)),
            step = when
                .filter(|grid| grid.len() > 1)
                .map(|grid| seconds(TimestampMs(grid.step_ms))),
            duration_seconds = took.as_secs_f64(),
            queued_seconds = waited.as_secs_f64(),
            samples = self.budget.samples(),
            memory_peak_bytes = self.budget.memory_peak(),
            outcome,
            client = asker.address,
            user = asker.user,
            "slow query"
        );
    }

    fn write(&self, json: &mut Json, now: Monotonic) {
        let Subject {
            kind,
            expression,
            when,
            asker,
        } = &self.subject;
        let started = self.started.get().copied();
        let seconds = |from: Monotonic, to: Monotonic| to.saturating_since(from).as_secs_f64();
        json.object(|json| {
            json.key("id").string(&self.id.to_string());
            let state = if started.is_some() {
                "running"
            } else {
                "queued"
            };
            json.key("state").string(state);
            json.key("kind").string(kind);
            json.key("expression").string(expression);
            if let Some(grid) = when {
                json.key("start").short_time(grid.start);
                json.key("end").short_time(grid.end);
                if *kind == RANGE {
                    json.key("step").short_time(TimestampMs(grid.step_ms));
                }
            }
            json.key("ageSeconds").raw(seconds(self.asked, now));
            json.key("queuedSeconds")
                .raw(seconds(self.asked, started.unwrap_or(now)));
            json.key("samplesRead").raw(self.budget.samples());
            json.key("memoryBytes").raw(self.budget.memory());
            json.key("peakMemoryBytes").raw(self.budget.memory_peak());
            json.key("canceled").raw(self.budget.is_cancelled());
            json.key("client").string(&asker.address);
            if let Some(user) = &asker.user {
                json.key("user").string(user);
            }
        });
    }
}

/// The kind of queries over a range.
pub(crate) const RANGE: &str = "range";

impl Api {
    /// `GET /api/v1/status/queries`
    pub(crate) fn running_queries(&self) -> Response {
        let queries = self.running.list();
        let now = self.parts.clock.monotonic();
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("concurrency").raw(self.config.query_concurrency);
                json.key("memoryBytesBeyondShares")
                    .raw(self.query_memory.beyond_shares());
                json.key("memoryBytesTotalMax")
                    .raw(self.config.query_memory_total);
                json.key("queries").array(|json| {
                    for query in &queries {
                        query.write(json, now);
                    }
                });
            });
        })
    }

    /// `POST /api/v1/status/queries/cancel`, for clients without DELETE
    pub(crate) fn cancel_by_form(&self, form: &Form) -> Result<Response, ApiError> {
        self.cancel(form.get("id").unwrap_or_default())
    }

    /// `DELETE /api/v1/status/queries/ID`
    pub(crate) fn cancel(&self, id: &str) -> Result<Response, ApiError> {
        let number = id.parse().map_err(|_| {
            ApiError::parameter("id", format!("{id:?} is not the number of a query"))
        })?;
        let Some(query) = self.running.find(number) else {
            let why = format!(
                "no query {number} waits or runs; /api/v1/status/queries lists those that do"
            );
            return Err(ApiError::new(ErrorType::NotFound, why));
        };
        query.budget.cancel();
        Ok(success(&Notes::default(), |json| {
            query.write(json, self.parts.clock.monotonic());
        }))
    }
}
