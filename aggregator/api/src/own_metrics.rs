//! `/metrics`: the process about itself, and what is counted of requests.

use std::time::Duration;

use exposition::Format;
use http_shell::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http_shell::{Request, Response, StatusCode};
use promql::{ErrorKind, Output, QueryError};
use telemetry::{CounterFamily, Histogram, HistogramFamily, LATENCY_BUCKETS, Registry};

use crate::api::Api;

/// Handlers times codes, generously.
const LABEL_SETS_MAX: usize = 200;
/// The bounds of `prometheus_http_request_duration_seconds`.
const REQUEST_BUCKETS: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

/// Counters of requests and queries. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct OwnMetrics {
    requests: CounterFamily<2>,
    request_seconds: HistogramFamily<1>,
    query_seconds: Histogram,
    queries: CounterFamily<1>,
}

impl OwnMetrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        Self {
            requests: registry.counter_family(
                "promontory_http_requests_total",
                "HTTP requests answered; code 499: the client went away before the answer.",
                ["handler", "code"],
                LABEL_SETS_MAX,
            ),
            request_seconds: registry.histogram_family(
                "promontory_http_request_duration_seconds",
                "Time from a whole request to its answer.",
                REQUEST_BUCKETS,
                ["handler"],
                LABEL_SETS_MAX,
            ),
            query_seconds: registry.histogram(
                "promontory_query_duration_seconds",
                "Time that queries took to evaluate, waiting and encoding left out.",
                LATENCY_BUCKETS,
            ),
            queries: registry.counter_family(
                "promontory_queries_total",
                "Queries evaluated, by outcome.",
                ["outcome"],
                LABEL_SETS_MAX,
            ),
        }
    }

    pub(crate) fn answered(&self, handler: &'static str, status: StatusCode, took: Duration) {
        self.requests.with([handler, status.as_str()]).inc();
        self.request_seconds.with([handler]).observe_duration(took);
    }

    pub(crate) fn evaluated(&self, took: Duration, outcome: &'static str) {
        self.query_seconds.observe_duration(took);
        self.queries.with([outcome]).inc();
    }

    /// Returns the value of the label `outcome`.
    pub(crate) fn outcome(output: &Result<Output, QueryError>) -> &'static str {
        match output.as_ref().map_err(QueryError::kind) {
            Ok(_) => "success",
            Err(ErrorKind::BadData) => "bad_data",
            Err(ErrorKind::Execution) => "execution",
            Err(ErrorKind::Timeout) => "timeout",
            Err(ErrorKind::Canceled) => "canceled",
            Err(ErrorKind::Internal) => "internal",
        }
    }
}

impl Api {
    /// `/metrics`
    pub(crate) fn own_metrics(&self, request: &Request) -> Response {
        let format = Format::negotiate(request.header(ACCEPT).unwrap_or_default());
        let mut response = Response::empty(StatusCode::OK).with_header(
            CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        );
        response.body = self.parts.registry.expose(format).into();
        response
    }
}
