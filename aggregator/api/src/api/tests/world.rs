//! An API over known data.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use http_shell::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_shell::{Caller, Handler, Method, Request, Response, StatusCode};
use ingest::Agents;
use model::{
    Buckets, CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, Span, TimestampMs,
    Value,
};
use promql::{Engine, ParserOptions};
use rules::{AlertSink, Notice, Rules};
use runtime::{Tasks, Threads};
use storage::{MemoryStore, Queryable};
use telemetry::Registry;

use super::store::Operated;
use crate::{AlertmanagerUrls, Api, ApiConfig, Build, Control, Parts, QueryLimits, RuntimeInfo};

/// The time in these tests, in seconds.
pub(super) const NOW: u64 = 600;

pub(super) struct World {
    pub(super) api: Api,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) process: Arc<Process>,
    pub(super) operated: Arc<Operated>,
    pub(super) agents: Agents,
    pub(super) registry: Registry,
    pub(super) rules: Arc<Rules>,
}

/// What the tests make of the process around the API.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) not_ready: Mutex<Option<String>>,
    pub(super) mistakes: Mutex<Option<String>>,
}

/// Is told of alerts, and does nothing.
#[derive(Debug)]
pub(super) struct Nobody;

impl AlertSink for Nobody {
    fn notify(&self, _: Vec<Notice>) {}
}

impl Control for Process {
    fn runtime(&self) -> RuntimeInfo {
        RuntimeInfo {
            started: TimestampMs(1_000),
            working_folder: "/data".to_owned(),
            hostname: "host".to_owned(),
            reload_succeeded: true,
            last_reload: TimestampMs(2_000),
            damages: 3,
            tasks: 4,
            cores: 2,
            retention: "15d".to_owned(),
        }
    }

    fn configuration(&self) -> String {
        "a: \"b\"\n".to_owned()
    }

    fn flags(&self) -> Vec<(String, String)> {
        vec![("storage.path".to_owned(), "data".to_owned())]
    }

    fn not_ready(&self) -> Option<String> {
        self.not_ready.lock().unwrap().clone()
    }

    fn reload(&self) -> Result<(), String> {
        self.mistakes.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

pub(super) fn config() -> ApiConfig {
    ApiConfig {
        query_limits: QueryLimits {
            timeout: Duration::from_secs(120),
            ..QueryLimits::default()
        },
        query_memory_total: 1 << 30,
        query_concurrency: 4,
        slow_query: None,
        lifecycle: true,
        admin: true,
        build: Build {
            version: "0.1.0",
            revision: "abc",
            prometheus_version: "3.14.0",
        },
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::over(Arc::new(data()), config())
    }

    pub(super) fn over(store: Arc<dyn Queryable>, config: ApiConfig) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let clock = Arc::new(SimulatedClock::starting_at(now));
        let (process, agents, registry) =
            (Arc::<Process>::default(), Agents::new(10), Registry::new());
        let operated = Arc::<Operated>::default();
        let rules = Arc::new(Rules::new(None, Arc::new(Nobody), ParserOptions::default()));
        let parts = Parts {
            admin: Arc::<Operated>::clone(&operated),
            engine: Arc::new(Engine::default()),
            store,
            agents: agents.clone(),
            remote_write: None,
            rules: Arc::clone(&rules),
            alertmanager: None,
            alertmanagers: Arc::new(|| AlertmanagerUrls {
                active: vec!["http://a/api/v2/alerts".to_owned()],
                dropped: Vec::new(),
            }),
            control: Arc::<Process>::clone(&process),
            registry: registry.clone(),
            clock: Arc::<SimulatedClock>::clone(&clock),
            tasks: Tasks::new("test api"),
            query_threads: Arc::new(Threads::new("query", 4).unwrap()),
            process_memory: None,
        };
        Self {
            api: Api::new(config, parts),
            clock,
            process,
            operated,
            agents,
            registry,
            rules,
        }
    }

    /// Calls `METHOD PATH[?QUERY]`, then a form after a blank when there is one.
    pub(super) async fn call(&self, call: &str) -> Answer {
        self.call_with(call, &[]).await
    }

    pub(super) async fn call_with(
        &self,
        call: &str,
        headers: &[(HeaderName, &'static str)],
    ) -> Answer {
        let mut request = request(call);
        for (name, value) in headers {
            request
                .headers
                .insert(name, HeaderValue::from_static(value));
        }
        let Response {
            status,
            headers,
            body,
            ..
        } = self.api.handle(request).await;
        Answer {
            status,
            headers,
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

pub(super) fn request(call: &str) -> Request {
    let (method, rest) = call.split_once(' ').expect("a method");
    let (target, form) = rest.split_once(' ').unwrap_or((rest, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    if !form.is_empty() {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
    }
    Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: form.as_bytes().to_vec().into(),
        caller: Caller::Remote {
            address: ([127, 0, 0, 1], 1).into(),
            user: None,
        },
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("valid")
}

/// `up` of two jobs and the counter `hits_total` each 15 s from 0 to 600; `odd` with a dot in a label's name, `latency` as a
/// native histogram and `small`, all at 600; an exemplar and metadata of `hits_total`.
pub(super) fn data() -> MemoryStore {
    let store = MemoryStore::new();
    for step in 0..=40_i32 {
        let at = TimestampMs(i64::from(step) * 15_000);
        for (job, value) in [("a", 1.0), ("b", 0.0)] {
            store.insert(
                &labels(&[("__name__", "up"), ("job", job)]),
                at,
                Value::Float(value),
            );
        }
        let hits = labels(&[("__name__", "hits_total"), ("code", "200"), ("job", "a")]);
        store.insert(&hits, at, Value::Float(f64::from(step) * 30.0));
    }
    let at = TimestampMs(600_000);
    let odd = labels(&[("__name__", "odd"), ("a.b", "\"<é>\"\n")]);
    store.insert(&odd, at, Value::Float(f64::NAN));
    store.insert(&labels(&[("__name__", "small")]), at, Value::Float(2.5e-7));
    let latency = Histogram {
        reset: CounterReset::Unknown,
        schema: 0,
        zero_threshold: 0.001,
        sum: 5.5,
        positive_spans: vec![Span {
            offset: 0,
            length: 3,
        }],
        negative_spans: vec![Span {
            offset: 1,
            length: 1,
        }],
        custom_bounds: Vec::new(),
        buckets: Buckets::Integer {
            count: 7,
            zero: 1,
            positive: vec![1, 0, 3],
            negative: vec![2],
        },
    };
    latency.validate().expect("valid");
    let name = labels(&[("__name__", "latency")]);
    store.insert(&name, at, Value::Histogram(Arc::new(latency)));
    let exemplar = Exemplar {
        labels: labels(&[("trace_id", "abc")]),
        value: 0.5,
        at: TimestampMs(100_250),
    };
    store.insert_exemplar(
        &labels(&[("__name__", "hits_total"), ("code", "200"), ("job", "a")]),
        exemplar,
    );
    for (metric, kind, help) in [
        ("hits_total", MetricType::Counter, "Hits."),
        ("hits_total", MetricType::Counter, "Hits, said otherwise."),
        ("up", MetricType::Gauge, "Whether."),
    ] {
        store.insert_metadata(
            metric,
            Metadata {
                kind,
                help: help.to_owned(),
                unit: String::new(),
            },
        );
    }
    store
}
