//! Queries that wait and run, as their operator sees them: listed, cancelled.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::running::{Stubborn, one_at_a_time};
use super::world::World;

async fn listed(world: &World) -> Vec<Value> {
    let json = world.call("GET /api/v1/status/queries").await.json();
    assert_eq!(json["data"]["concurrency"], 1, "{json}");
    json["data"]["queries"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_listed_and_cancelled_where_they_are() {
    let store = Stubborn::new();
    let world = World::over(Arc::new(store.clone()), one_at_a_time());
    assert_eq!(listed(&world).await, Vec::<Value>::new());
    let first = world.call("POST /api/v1/query_range query=up&start=1&end=600.5&step=15");
    let second = async {
        store.until(1, 0).await;
        world.call("GET /api/v1/series?match[]=a&match[]=b").await
    };
    let operator = async {
        store.until(1, 0).await;
        world.clock.advance(Duration::from_secs(3));
        let queries = loop {
            let queries = listed(&world).await;
            if queries.len() == 2 {
                break queries;
            }
            tokio::task::yield_now().await;
        };
        let running = json!({
            "id": "1", "state": "running", "kind": "range", "expression": "up", "start": 1, "end": 600.5, "step": 15,
            "ageSeconds": 3.0, "queuedSeconds": 0.0, "samplesRead": 0, "memoryBytes": 0, "peakMemoryBytes": 0,
            "canceled": false, "client": "127.0.0.1:1",
        });
        // The grid's first room is charged before the store is asked.
        let mut found = queries[0].clone();
        for field in ["memoryBytes", "peakMemoryBytes"] {
            assert!(found[field].is_u64());
            found[field] = 0.into();
        }
        for field in ["ageSeconds", "queuedSeconds"] {
            found[field] = found[field].as_f64().into();
        }
        assert_eq!(found, running);
        let queued = &queries[1];
        assert_eq!(
            (&queued["state"], &queued["kind"], &queued["expression"]),
            (&"queued".into(), &"series".into(), &"a, b".into())
        );
        assert!(queued.get("start").is_none());

        for (call, status) in [
            ("DELETE /api/v1/status/queries/7", 404),
            ("DELETE /api/v1/status/queries/one", 400),
            ("POST /api/v1/status/queries/cancel", 400),
            ("GET /api/v1/status/queries/1", 405),
            ("POST /api/v1/status/queries/cancel id=2", 200),
        ] {
            assert_eq!(world.call(call).await.status.as_u16(), status, "{call}");
        }
        while listed(&world).await.len() == 2 {
            tokio::task::yield_now().await;
        }
        let cancelled = world.call("DELETE /api/v1/status/queries/1").await.json();
        assert_eq!(cancelled["data"]["canceled"], true, "{cancelled}");
    };
    let (first, second, ()) = tokio::join!(first, second, operator);
    store.until(1, 1).await;
    for (answer, phase) in [(first, "expression evaluation"), (second, "query queue")] {
        assert_eq!(answer.status.as_u16(), 499);
        let json = answer.json();
        assert_eq!(json["errorType"], "canceled");
        assert_eq!(json["error"], format!("query was canceled in {phase}"));
    }
    assert_eq!(listed(&world).await, Vec::<Value>::new());
    let next = world.call("GET /api/v1/query?query=1").await;
    assert_eq!(next.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_expressions_are_listed_in_part() {
    let store = Stubborn::new();
    let world = World::over(Arc::new(store.clone()), one_at_a_time());
    let call = format!(
        "POST /api/v1/query query=up{{a=\"{}\"}}",
        "é".repeat(50_000)
    );
    let look = async {
        store.until(1, 0).await;
        let queries = listed(&world).await;
        let shown = queries[0]["expression"].as_str().unwrap();
        assert!(shown.len() < 2_100 && shown.ends_with("é..."), "{shown}");
        world.call("DELETE /api/v1/status/queries/1").await
    };
    let (answer, _) = tokio::join!(world.call(&call), look);
    assert_eq!(answer.status.as_u16(), 499);
}
