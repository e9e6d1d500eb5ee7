//! The process about itself.

use http_shell::header::ACCEPT;
use http_shell::{Handler, StatusCode};
use ingest::Arrival;
use model::TimestampMs;
use rows::Epoch;

use super::world::{NOW, World, config, request};

#[tokio::test]
async fn nothing_is_queried_before_the_store_is_ready() {
    let world = World::new();
    *world.process.not_ready.lock().unwrap() =
        Some("storage: the log is being replayed".to_owned());
    for (call, status) in [
        ("GET /api/v1/query?query=1", 503),
        ("GET /api/v1/labels", 503),
        ("GET /-/ready", 503),
        ("HEAD /-/ready", 503),
        ("PUT /api/v1/query", 405),
        ("GET /-/healthy", 200),
        ("GET /metrics", 200),
        ("GET /api/v1/status/runtimeinfo", 200),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), status, "{call}");
        if status == 503 {
            assert_eq!(
                answer.body,
                "Service Unavailable: storage: the log is being replayed\n"
            );
        }
    }
    *world.process.not_ready.lock().unwrap() = None;
    assert_eq!(
        world.call("GET /-/ready").await.body,
        "Promontory is Ready.\n"
    );
}

#[tokio::test]
async fn a_reload_says_what_is_wrong() {
    let world = World::new();
    assert_eq!(world.call("POST /-/reload").await.status, StatusCode::OK);
    *world.process.mistakes.lock().unwrap() = Some("f.yml:1:1: odd".to_owned());
    let failed = world.call("PUT /-/reload").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.body, "failed to reload config: f.yml:1:1: odd\n");

    let mut off = config();
    off.lifecycle = false;
    let world = World::over(std::sync::Arc::new(storage::MemoryStore::new()), off);
    assert_eq!(
        world.call("POST /-/reload").await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_state_of_the_process_is_shown() {
    let world = World::new();
    let info = world.call("GET /api/v1/status/runtimeinfo").await.json();
    let info = info["data"].as_object().unwrap();
    assert_eq!(info.len(), 13);
    assert_eq!(
        (&info["startTime"], &info["serverTime"]),
        (
            &"1970-01-01T00:00:01Z".into(),
            &"1970-01-01T00:10:00Z".into()
        )
    );
    assert_eq!(
        (&info["corruptionCount"], &info["storageRetention"]),
        (&3.into(), &"15d".into())
    );
    let config = world.call("GET /api/v1/status/config").await.body;
    assert_eq!(
        config,
        r#"{"status":"success","data":{"yaml":"a: \"b\"\n"}}"#
    );
    let flags = world.call("GET /api/v1/status/flags").await.body;
    assert_eq!(
        flags,
        r#"{"status":"success","data":{"storage.path":"data"}}"#
    );
}

#[tokio::test]
async fn requests_are_counted_also_those_whose_client_goes_away() {
    let world = World::new();
    world.call("GET /api/v1/query?query=1").await;
    world.call("GET /api/v1/label/x/values").await;
    world.call("GET /nowhere").await;
    drop(world.api.handle(request("GET /api/v1/query?query=2")));
    let metrics = world.call("GET /metrics").await;
    assert!(
        metrics.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        r#"promontory_http_requests_total{handler="/api/v1/query",code="200"} 1"#,
        r#"promontory_http_requests_total{handler="/api/v1/label/:name/values",code="200"} 1"#,
        r#"promontory_http_requests_total{handler="unknown",code="404"} 1"#,
        r#"promontory_http_request_duration_seconds_bucket{handler="/api/v1/query",le="0.1"} 1"#,
        r#"promontory_http_request_duration_seconds_count{handler="/api/v1/query"} 1"#,
        r#"promontory_queries_total{outcome="success"} 1"#,
    ] {
        assert!(
            metrics.body.lines().any(|found| found == line),
            "{line} is not in\n{}",
            metrics.body
        );
    }
    let open = world
        .call_with(
            "GET /metrics",
            &[(ACCEPT, "application/openmetrics-text;version=1.0.0")],
        )
        .await;
    assert!(open.body.ends_with("# EOF\n"));
    assert!(world.registry.generation() > 0);
}

#[tokio::test]
async fn agents_are_listed_with_their_lag() {
    let world = World::new();
    let peer = transport::PeerIdentity::new("n-1".parse().unwrap(), Some("prod"), None).unwrap();
    let wall = TimestampMs::from(std::time::UNIX_EPOCH) + std::time::Duration::from_secs(NOW);
    let hello = wire::AgentHello {
        node: "node \"1\"".to_owned(),
        version: "0.1.0".to_owned(),
        epoch: Epoch(7),
        predecessor: None,
        interval: std::time::Duration::from_secs(1),
        epochs: Vec::new(),
        wall: wall + std::time::Duration::from_millis(250),
    };
    let now = clock::Monotonic::ORIGIN;
    let arrival = Arrival {
        peer: &peer,
        hello: &hello,
        transport: "quic",
        now,
        wall,
    };
    let session = world
        .agents
        .admit(&arrival, std::sync::Arc::new(|| {}))
        .unwrap();
    world.agents.rows_came(
        peer.agent(),
        session,
        wall - std::time::Duration::from_millis(1_500),
        (now, wall),
    );
    let listed = world.call("GET /api/v1/agents").await.json();
    let agent = &listed["data"]["agents"][0];
    assert_eq!(agent["agent"], "n-1");
    assert_eq!(
        (&agent["node"], &agent["cluster"], agent.get("tenant")),
        (&"node \"1\"".into(), &"prod".into(), None)
    );
    assert_eq!(
        (&agent["connected"], &agent["transport"]),
        (&true.into(), &"quic".into())
    );
    assert_eq!(
        (
            &agent["lastRow"],
            &agent["lagSeconds"],
            &agent["clockAheadSeconds"]
        ),
        (&598.5.into(), &1.5.into(), &0.25.into())
    );
    assert_eq!(agent["spool"]["bytes"], 0);
}
