//! The API as a whole: its parts, and a request's way through it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use http_shell::header::{self, ALLOW, HeaderName, HeaderValue, ORIGIN, VARY};
use http_shell::{Form, Handler, HandlerFuture, Method, Request, Response, StatusCode};
use ingest::{Agents, RemoteWrite};
use promql::Engine;
use runtime::{Permits, Tasks, Threads};
use storage::{ProcessMemory, Queryable};

use crate::admin::Admin;
use crate::alertmanager::{AlertmanagerApi, AlertmanagerUrls};
use crate::control::Control;
use crate::envelope::{ApiError, ErrorType};
use crate::own_metrics::OwnMetrics;
use crate::query_memory::QueryMemory;
use crate::route::{API, Route};
use crate::running::{Asker, RunningQueries};
use crate::{Build, QueryLimits};

/// Parameters up to here are read in a fraction of a millisecond.
const LARGE_FORM_BYTES: usize = 64 * 1024;
/// Questions to the store about itself that are answered at once; more wait. Some go over all of the index.
const STORE_QUESTIONS_MAX: u32 = 2;
/// What the store is told to do that may take minutes, snapshots and rewriting files, is done one after the other, and holds up no question.
const STORE_WORK_MAX: u32 = 1;

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Bounds on each query.
    pub query_limits: QueryLimits,
    /// Bytes that all queries, and the answers that clients have not taken yet, may hold together (`--query.max-memory-total`).
    pub query_memory_total: u64,
    /// Queries at once; more wait, at most as long as a query may take.
    pub query_concurrency: u32,
    /// Queries that take this long or longer, waiting included, are logged (`--query.log-slower-than`); `None`: none is.
    pub slow_query: Option<Duration>,
    /// Whether `/-/reload` works (`--web.enable-lifecycle`).
    pub lifecycle: bool,
    /// Whether `admin/tsdb/*` works (`--web.enable-admin-api`).
    pub admin: bool,
    /// What `buildinfo` says.
    pub build: Build,
}

/// The parts that the API shows.
#[derive(Clone)]
pub struct Parts {
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// What they are evaluated over.
    pub store: Arc<dyn Queryable>,
    /// The store as its operator sees it.
    pub admin: Arc<dyn Admin>,
    /// Who sends.
    pub agents: Agents,
    /// Takes remote write; `None`: it is switched off.
    pub remote_write: Option<RemoteWrite>,
    /// Rules and their alerts.
    pub rules: Arc<rules::Rules>,
    /// Takes alerts and tells of them; `None`: nobody does.
    pub alertmanager: Option<AlertmanagerApi>,
    /// Says where alerts of rules are sent beside that.
    pub alertmanagers: Arc<dyn Fn() -> AlertmanagerUrls + Send + Sync>,
    /// The process.
    pub control: Arc<dyn Control>,
    /// The process's metrics.
    pub registry: telemetry::Registry,
    /// Time.
    pub clock: SharedClock,
    /// What runs beside requests.
    pub tasks: Tasks,
    /// Where queries run.
    pub query_threads: Arc<Threads>,
    /// The memory of the process; `None`: nobody knows.
    pub process_memory: Option<ProcessMemory>,
}

/// Answers the aggregator's HTTP requests. Cloning shares it.
#[derive(Clone)]
pub struct Api {
    pub(crate) config: ApiConfig,
    pub(crate) parts: Parts,
    pub(crate) query_permits: Permits,
    pub(crate) query_memory: Arc<QueryMemory>,
    pub(crate) store_questions: Permits,
    pub(crate) store_work: Permits,
    pub(crate) running: RunningQueries,
    pub(crate) metrics: OwnMetrics,
}

impl Api {
    /// Returns the API over these parts.
    pub fn new(config: ApiConfig, parts: Parts) -> Self {
        let query_permits = Permits::new("queries", config.query_concurrency.max(1));
        let query_memory = QueryMemory::new(
            config.query_memory_total,
            config.query_concurrency,
            parts.process_memory.clone(),
        );
        let metrics = OwnMetrics::register(&parts.registry);
        let running = RunningQueries::new(Arc::clone(&parts.clock), config.slow_query);
        Self {
            config,
            parts,
            query_permits,
            query_memory,
            store_questions: Permits::new("questions to the store", STORE_QUESTIONS_MAX),
            store_work: Permits::new("work of the store", STORE_WORK_MAX),
            running,
            metrics,
        }
    }

    async fn answer(&self, route: Option<Route>, request: &Request) -> Response {
        let is_api = request.path.starts_with(API);
        if is_api && request.method == Method::OPTIONS {
            return Response::empty(StatusCode::NO_CONTENT);
        }
        let Some(route) = route else {
            return Response::text(StatusCode::NOT_FOUND, "404 page not found");
        };
        if request.method == Method::OPTIONS {
            return Response::empty(StatusCode::OK).with_header(ALLOW, allowed(&route));
        }
        if !route.methods().contains(&request.method) {
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
                .with_header(ALLOW, allowed(&route));
        }
        if route.needs_store()
            && let Some(why) = self.parts.control.not_ready()
        {
            return unavailable(&why);
        }
        let answered = self.dispatch(route, request).await;
        answered.unwrap_or_else(|error| error.response())
    }

    /// Returns the parameters; long ones are read on a thread where nobody waits behind them.
    async fn form(&self, request: &Request) -> Result<Form, ApiError> {
        if request.query.len() + request.body.len() < LARGE_FORM_BYTES {
            return Ok(request.form());
        }
        let (threads, request) = (&self.parts.query_threads, request.clone());
        let reading = self
            .parts
            .tasks
            .spawn_on(threads, "form", move || request.form());
        reading.await.map_err(|error| {
            let why = format!("the parameters cannot be read: {error}");
            ApiError::new(ErrorType::Internal, why)
        })
    }

    async fn dispatch(&self, route: Route, request: &Request) -> Result<Response, ApiError> {
        if let Route::Write = route {
            // What is sent waits for nothing that is asked.
            return Ok(self.write(request).await);
        }
        if let Route::Alertmanager(route) = route {
            return Ok(self.alertmanager(route, request).await);
        }
        let form = self.form(request).await?;
        if form.is_cut() {
            let why = "too many parameters: at most 10000 are read";
            return Err(ApiError::new(ErrorType::BadData, why));
        }
        let asker = &Asker::of(&request.caller);
        match route {
            Route::Query => self.query(&form, asker).await,
            Route::QueryRange => self.query_range(&form, asker).await,
            Route::FormatQuery => self.format_query(&form, asker).await,
            Route::ParseQuery => self.parse_query(&form, asker).await,
            Route::Exemplars => self.exemplars(&form, asker).await,
            Route::Series => self.series(&form, asker).await,
            Route::Labels => self.labels(&form, asker).await,
            Route::LabelValues(name) => self.label_values(&name, &form, asker).await,
            Route::Metadata => self.metric_metadata(&form, asker).await,
            Route::Samples => self.raw_samples(&form, asker).await,
            Route::Write => Ok(self.write(request).await),
            Route::Alertmanagers => Ok(self.alertmanagers()),
            Route::AlertHistory => self.alert_history(&form),
            Route::Alertmanager(route) => Ok(self.alertmanager(route, request).await),
            Route::Agents => Ok(self.agents()),
            Route::Rules => self.rules(&form),
            Route::Alerts => Ok(self.alerts()),
            Route::BuildInfo => Ok(self.build_info()),
            Route::RuntimeInfo => Ok(self.runtime_info()),
            Route::Config => Ok(self.configuration()),
            Route::Flags => Ok(self.flags()),
            Route::TsdbStatus => self.tsdb_status(&form).await,
            Route::TsdbBlocks => self.tsdb_blocks().await,
            Route::Queries => Ok(self.running_queries()),
            Route::RunningQuery(id) => self.cancel(&id),
            Route::CancelQuery => self.cancel_by_form(&form),
            Route::WalReplay => Ok(self.wal_replay()),
            Route::DeleteSeries => self.delete_series(&form).await,
            Route::CleanTombstones => self.clean_tombstones().await,
            Route::Snapshot => self.snapshot(&form).await,
            Route::Metrics => Ok(self.own_metrics(request)),
            Route::Healthy => Ok(Self::healthy()),
            Route::Ready => Ok(self.ready()),
            Route::Reload => Ok(self.reload().await),
        }
    }
}

/// What a client is told while the store recovers.
pub(crate) fn unavailable(why: &str) -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, not_ready(why))
}

/// Says so in Prometheus' words.
pub(crate) fn not_ready(why: &str) -> String {
    format!("Service Unavailable: {why}")
}

fn allowed(route: &Route) -> HeaderValue {
    let methods: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("GET"))
}

impl Handler for Api {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let route = Route::find(&request.path);
            let mut account = Account::open(self, route.as_ref());
            let mut response = self.answer(route, &request).await;
            account.status = response.status;
            if request.path.starts_with(API) && request.headers.contains_key(ORIGIN) {
                let_browsers_read(&mut response);
            }
            response
        })
    }
}

/// Counts a request when it ends, also when its client goes away before the answer.
struct Account<'a> {
    api: &'a Api,
    handler: &'static str,
    begun: Monotonic,
    status: StatusCode,
}

impl<'a> Account<'a> {
    fn open(api: &'a Api, route: Option<&Route>) -> Self {
        Self {
            api,
            handler: route.map_or("unknown", Route::name),
            begun: api.parts.clock.monotonic(),
            status: ErrorType::Canceled.status(),
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let took = (self.api.parts.clock.monotonic()).saturating_since(self.begun);
        self.api.metrics.answered(self.handler, self.status, took);
    }
}

/// Prometheus lets the pages of every origin read by default (`--web.cors.origin=".*"`).
fn let_browsers_read(response: &mut Response) {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Accept, Authorization, Content-Type, Origin",
        ),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ];
    for (name, value) in HEADERS {
        response
            .headers
            .insert(name, HeaderValue::from_static(value));
    }
    response
        .headers
        .append(VARY, HeaderValue::from_static("Origin"));
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
