//! `/metrics`: the process about itself, and what is counted of requests.

use exposition::Format;
use http_shell::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http_shell::{Request, Response, StatusCode};
use telemetry::{CounterFamily, Histogram, LATENCY_BUCKETS, Registry};

use crate::route::Api;

/// Handlers times codes, generously.
const LABEL_SETS_MAX: usize = 200;

/// Counters of requests and queries. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct OwnMetrics {
    requests: CounterFamily<2>,
    query_seconds: Histogram,
    queries: CounterFamily<1>,
}

impl OwnMetrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        Self {
            requests: registry.counter_family(
                "promontory_http_requests_total",
                "HTTP requests answered.",
                ["handler", "code"],
                LABEL_SETS_MAX,
            ),
            query_seconds: registry.histogram(
                "promontory_query_duration_seconds",
                "Time that queries took to evaluate, waiting and encoding left out.",
                &LATENCY_BUCKETS,
            ),
            queries: registry.counter_family(
                "promontory_queries_total",
                "Queries evaluated, by outcome.",
                ["outcome"],
                LABEL_SETS_MAX,
            ),
        }
    }

    pub(crate) fn answered(&self, handler: &'static str, status: StatusCode) {
        self.requests.with([handler, status.as_str()]).inc();
    }

    pub(crate) fn evaluated(&self, seconds: f64, succeeded: bool) {
        self.query_seconds.observe(seconds);
        self.queries.with([if succeeded { "success" } else { "error" }]).inc();
    }
}

impl Api {
    /// `/metrics`
    pub(crate) fn own_metrics(&self, request: &Request) -> Response {
        let format = Format::negotiate(request.header(ACCEPT).unwrap_or_default());
        let mut response = Response::empty(StatusCode::OK)
            .with_header(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        response.body = self.parts.registry.expose(format).into();
        response
    }
}
