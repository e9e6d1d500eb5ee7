//! Which path does what.

use std::fmt;
use std::sync::Arc;

use clock::SharedClock;
use http_shell::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, HeaderValue};
use http_shell::{Handler, HandlerFuture, Method, Request, Response, StatusCode, decode_component};
use ingest::Agents;
use model::TimestampMs;
use promql::Engine;
use runtime::{Permits, Tasks};
use storage::Queryable;

use crate::QueryLimits;
use crate::envelope::{ApiError, ErrorType};
use crate::own_metrics::OwnMetrics;

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Bounds on each query.
    pub query_limits: QueryLimits,
    /// Queries at once; more wait, at most as long as a query may take.
    pub query_concurrency: u32,
    /// Whether `/-/reload` works (`--web.enable-lifecycle`).
    pub lifecycle: bool,
    /// What `buildinfo` says.
    pub build: Build,
}

/// What this program is.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Our version.
    pub version: &'static str,
    /// The commit, when known.
    pub revision: &'static str,
    /// The version of Prometheus whose API this is.
    pub prometheus_version: &'static str,
}

/// The parts that the API shows.
#[derive(Clone)]
pub struct Parts {
    /// Evaluates queries.
    pub engine: Arc<Engine>,
    /// What they are evaluated over.
    pub store: Arc<dyn Queryable>,
    /// Who sends.
    pub agents: Agents,
    /// The process.
    pub control: Arc<dyn Control>,
    /// The process's metrics.
    pub registry: telemetry::Registry,
    /// Time.
    pub clock: SharedClock,
    /// Where queries run.
    pub tasks: Tasks,
}

/// What the API may ask of the process around it.
pub trait Control: Send + Sync {
    /// Returns what runs.
    fn runtime(&self) -> RuntimeInfo;
    /// Returns the configuration file's text; empty when there is none.
    fn configuration(&self) -> String;
    /// Returns all settings with their values, secrets hidden.
    fn flags(&self) -> Vec<(String, String)>;
    /// Returns why requests cannot be served yet; `None` when they can.
    fn not_ready(&self) -> Option<String>;
    /// Reads the configuration again; on an error the old one stays.
    fn reload(&self) -> Result<(), String>;
}

/// What runs.
#[derive(Clone, Debug)]
pub struct RuntimeInfo {
    /// Since when.
    pub started: TimestampMs,
    /// In which folder.
    pub working_folder: String,
    /// On which machine.
    pub hostname: String,
    /// Whether the last reload succeeded.
    pub reload_succeeded: bool,
    /// When the present configuration was read.
    pub last_reload: TimestampMs,
    /// Damages found in stored data since the start.
    pub damages: u64,
    /// Tasks that run.
    pub tasks: usize,
    /// Cores.
    pub cores: usize,
    /// How long samples are kept.
    pub retention: String,
}

/// Answers the aggregator's HTTP requests. Cloning shares it.
#[derive(Clone)]
pub struct Api {
    pub(crate) config: ApiConfig,
    pub(crate) parts: Parts,
    pub(crate) query_permits: Permits,
    pub(crate) metrics: OwnMetrics,
}

impl Api {
    /// Returns the API over these parts.
    pub fn new(config: ApiConfig, parts: Parts) -> Self {
        let query_permits = Permits::new("queries", config.query_concurrency);
        let metrics = OwnMetrics::register(&parts.registry);
        Self { config, parts, query_permits, metrics }
    }

    async fn answer(&self, found: Option<(Route, &'static [Method])>, request: &Request) -> Response {
        let Some((route, methods)) = found else {
            return Response::text(StatusCode::NOT_FOUND, "404 page not found");
        };
        if !methods.contains(&request.method) {
            let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
            let allow = HeaderValue::from_str(&allowed.join(", ")).unwrap_or(HeaderValue::from_static("GET"));
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").with_header(ALLOW, allow);
        }
        if route.needs_store()
            && let Some(why) = self.parts.control.not_ready()
        {
            return Response::text(StatusCode::SERVICE_UNAVAILABLE, format!("Service Unavailable: {why}"));
        }
        let form = request.form();
        let answered = match route {
            Route::Query => self.query(&form).await,
            Route::QueryRange => self.query_range(&form).await,
            Route::Exemplars => self.exemplars(&form).await,
            Route::Series => self.series(&form).await,
            Route::Labels => self.labels(&form).await,
            Route::LabelValues(name) => self.label_values(&name, &form).await,
            Route::Metadata => self.metric_metadata(&form).await,
            Route::Agents => Ok(self.agents()),
            Route::BuildInfo => Ok(self.build_info()),
            Route::RuntimeInfo => Ok(self.runtime_info()),
            Route::Config => Ok(self.configuration()),
            Route::Flags => Ok(self.flags()),
            Route::Metrics => Ok(self.own_metrics(request)),
            Route::Healthy => Ok(Self::healthy()),
            Route::Ready => Ok(self.ready()),
            Route::Reload if self.config.lifecycle => Ok(self.reload()),
            Route::Reload => Ok(Response::text(
                StatusCode::FORBIDDEN,
                "Lifecycle API is not enabled; start with --web.enable-lifecycle, or send SIGHUP",
            )),
            Route::UnknownApi => Err(ApiError::new(ErrorType::NotFound, format!("no such endpoint: {}", request.path))),
        };
        answered.unwrap_or_else(|error| error.response())
    }

    fn find(path: &str) -> Option<(Route, &'static [Method])> {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        const ASK: &[Method] = &[Method::GET, Method::POST, Method::HEAD];
        const ACT: &[Method] = &[Method::POST, Method::PUT];
        let found = match path {
            "/metrics" => (Route::Metrics, READ),
            "/-/healthy" => (Route::Healthy, READ),
            "/-/ready" => (Route::Ready, READ),
            "/-/reload" => (Route::Reload, ACT),
            _ => {
                let endpoint = path.strip_prefix("/api/v1/")?;
                match endpoint {
                    "query" => (Route::Query, ASK),
                    "query_range" => (Route::QueryRange, ASK),
                    "query_exemplars" => (Route::Exemplars, ASK),
                    "series" => (Route::Series, ASK),
                    "labels" => (Route::Labels, ASK),
                    "metadata" => (Route::Metadata, READ),
                    "agents" => (Route::Agents, READ),
                    "status/buildinfo" => (Route::BuildInfo, READ),
                    "status/runtimeinfo" => (Route::RuntimeInfo, READ),
                    "status/config" => (Route::Config, READ),
                    "status/flags" => (Route::Flags, READ),
                    _ => {
                        let name = endpoint.strip_prefix("label/").and_then(|rest| rest.strip_suffix("/values"));
                        name.map_or((Route::UnknownApi, ASK), |name| (Route::LabelValues(decode_component(name)), READ))
                    }
                }
            }
        };
        Some(found)
    }
}

impl Handler for Api {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let found = Self::find(&request.path);
            let handler = found.as_ref().map_or("unknown", |(route, _)| route.name());
            let response = self.answer(found, &request).await;
            self.metrics.answered(handler, response.status);
            // Prometheus lets every origin read by default (--web.cors.origin=".*").
            response.with_header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
        })
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Query,
    QueryRange,
    Exemplars,
    Series,
    Labels,
    LabelValues(String),
    Metadata,
    Agents,
    BuildInfo,
    RuntimeInfo,
    Config,
    Flags,
    Metrics,
    Healthy,
    Ready,
    Reload,
    UnknownApi,
}

impl Route {
    /// The value of the label `handler`: the path, parameters left out.
    const fn name(&self) -> &'static str {
        match self {
            Self::Query => "/api/v1/query",
            Self::QueryRange => "/api/v1/query_range",
            Self::Exemplars => "/api/v1/query_exemplars",
            Self::Series => "/api/v1/series",
            Self::Labels => "/api/v1/labels",
            Self::LabelValues(_) => "/api/v1/label/:name/values",
            Self::Metadata => "/api/v1/metadata",
            Self::Agents => "/api/v1/agents",
            Self::BuildInfo => "/api/v1/status/buildinfo",
            Self::RuntimeInfo => "/api/v1/status/runtimeinfo",
            Self::Config => "/api/v1/status/config",
            Self::Flags => "/api/v1/status/flags",
            Self::Metrics => "/metrics",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Reload => "/-/reload",
            Self::UnknownApi => "unknown",
        }
    }

    /// Whether the store must have recovered first.
    const fn needs_store(&self) -> bool {
        matches!(
            self,
            Self::Query
                | Self::QueryRange
                | Self::Exemplars
                | Self::Series
                | Self::Labels
                | Self::LabelValues(_)
                | Self::Metadata
                | Self::Agents
        )
    }
}
