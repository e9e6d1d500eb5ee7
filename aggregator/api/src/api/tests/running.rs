//! Queries while they run: cancellation, deadlines, the queue, budgets, stores that fail.

use std::sync::Arc;
use std::time::Duration;

use http_shell::{Handler, Response};
use model::{Labels, Matcher, TimeRange};
use storage::{
    Budget, ExemplarSeries, FamilyMetadata, Names, Querier, QueryError, Queryable, Select,
    SeriesData,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::world::{World, config, request};
use crate::ApiConfig;

const PATIENCE: Duration = Duration::from_secs(20);

/// A store whose answers to `select` never come, until the budget says stop; other questions panic or fail.
#[derive(Clone, Debug)]
pub(super) struct Stubborn(Arc<watch::Sender<(u32, u32)>>);

impl Stubborn {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new((0, 0))))
    }

    /// Waits until so many selections have begun and ended.
    pub(super) async fn until(&self, begun: u32, ended: u32) {
        let mut counts = self.0.subscribe();
        let reached = counts.wait_for(|counts| *counts == (begun, ended));
        timeout(PATIENCE, reached)
            .await
            .expect("in time")
            .expect("the sender lives");
    }
}

impl Queryable for Stubborn {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Querier for Stubborn {
    fn select(&self, _: &Select<'_>, budget: &dyn Budget) -> Result<Vec<SeriesData>, QueryError> {
        self.0.send_modify(|(begun, _)| *begun += 1);
        loop {
            if let Err(exceeded) = budget.check() {
                self.0.send_modify(|(_, ended)| *ended += 1);
                return Err(exceeded.into());
            }
            std::thread::yield_now();
        }
    }

    fn series(
        &self,
        _: &[Vec<Matcher>],
        _: TimeRange,
        _: usize,
        _: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError> {
        panic!("a mistake in the store")
    }

    fn label_names(
        &self,
        _: &[Vec<Matcher>],
        _: TimeRange,
        _: usize,
        _: &dyn Budget,
    ) -> Result<Names, QueryError> {
        Err(QueryError::Damaged("a checksum is wrong".to_owned()))
    }

    fn label_values(
        &self,
        _: &str,
        _: &[Vec<Matcher>],
        _: TimeRange,
        _: usize,
        _: &dyn Budget,
    ) -> Result<Names, QueryError> {
        let names = (0..100_000).map(|n| format!("name {n}")).collect();
        Ok(Names {
            names,
            truncated: false,
        })
    }

    fn exemplars(
        &self,
        _: &[Vec<Matcher>],
        _: TimeRange,
        _: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>, _: usize) -> Result<Vec<FamilyMetadata>, QueryError> {
        Ok(Vec::new())
    }
}

pub(super) fn one_at_a_time() -> ApiConfig {
    ApiConfig {
        query_concurrency: 1,
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_stops_when_its_caller_goes_away() {
    let store = Stubborn::new();
    let world = World::over(Arc::new(store.clone()), one_at_a_time());
    let answer = world.api.handle(request("GET /api/v1/query?query=up"));
    tokio::select! {
        answer = answer => panic!("{answer:?}"),
        () = store.until(1, 0) => {}
    }
    store.until(1, 1).await;
    let next = timeout(PATIENCE, world.call("GET /api/v1/query?query=1"))
        .await
        .expect("its place is free");
    assert_eq!(next.status.as_u16(), 200);
    let metrics = world.call("GET /metrics").await.body;
    for line in [
        r#"promontory_http_requests_total{handler="/api/v1/query",code="499"} 1"#,
        r#"promontory_queries_total{outcome="canceled"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_has_its_time_and_no_more() {
    let store = Stubborn::new();
    let world = World::over(Arc::new(store.clone()), config());
    let asking = world.call("GET /api/v1/query?query=up&timeout=2s");
    let pass = async {
        store.until(1, 0).await;
        world.clock.advance(Duration::from_secs(2));
    };
    let (answer, ()) = tokio::join!(asking, pass);
    assert_eq!(answer.status.as_u16(), 503);
    let json = answer.json();
    assert_eq!(json["errorType"], "timeout");
    let message = json["error"].as_str().unwrap();
    assert!(
        message.starts_with("query timed out in expression evaluation"),
        "{message}"
    );
    assert!(message.ends_with("raise --query.timeout"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_waits_for_a_place_in_bounded_time() {
    let store = Stubborn::new();
    let world = World::over(Arc::new(store.clone()), one_at_a_time());
    let first: std::pin::Pin<Box<dyn Future<Output = Response> + Send>> =
        Box::pin(world.api.handle(request("GET /api/v1/query?query=up")));
    let second = async {
        store.until(1, 0).await;
        world.call("GET /api/v1/query?query=1&timeout=50ms").await
    };
    tokio::select! {
        _ = first => panic!("the first ends by the second's word only"),
        second = second => {
            assert_eq!(second.status.as_u16(), 503);
            let json = second.json();
            let message = json["error"].as_str().unwrap();
            assert!(message.starts_with("query timed out in query queue after 50 ms"), "{message}");
            assert!(message.contains("1 run at once (--query.max-concurrency)"), "{message}");
        }
    }
    store.until(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_costs_one_answer() {
    let world = World::over(Arc::new(Stubborn::new()), one_at_a_time());
    for (call, part) in [
        (
            "GET /api/v1/labels",
            "cannot read stored data: a checksum is wrong",
        ),
        ("GET /api/v1/series?match[]=up", "a mistake in the store"),
        ("GET /api/v1/labels", "a checksum is wrong"),
    ] {
        let answer = timeout(PATIENCE, world.call(call))
            .await
            .expect("the place was given back");
        assert_eq!(answer.status.as_u16(), 500);
        let json = answer.json();
        assert_eq!(json["errorType"], "internal");
        assert!(json["error"].as_str().unwrap().contains(part), "{json}");
    }
}

#[tokio::test]
async fn budgets_bound_what_is_read_and_what_is_answered() {
    let mut small = config();
    small.query_limits.samples_max = 10;
    let world = World::over(Arc::new(super::world::data()), small);
    let answer = world.call("GET /api/v1/query?query=up[10m]").await;
    assert_eq!(answer.status.as_u16(), 422);
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("would load too many samples"),
        "{}",
        answer.body
    );

    let mut small = config();
    small.query_limits.memory_bytes_max = 100_000;
    let world = World::over(Arc::new(Stubborn::new()), small);
    let answer = world.call("GET /api/v1/label/a/values").await;
    assert_eq!(answer.status.as_u16(), 422);
    let json = answer.json();
    assert_eq!(json["errorType"], "execution");
    assert!(
        json["error"]
            .as_str()
            .unwrap()
            .contains("--query.max-memory"),
        "{json}"
    );
}
