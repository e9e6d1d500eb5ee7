//! The store about itself, and what it is told to do.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use http_shell::StatusCode;
use model::{Matcher, TimeRange, TimestampMs};
use tokio::time::timeout;

use super::world::{World, config};
use crate::{Admin, AdminError, HeadReport, PartitionReport, Replay};

/// What the tests make of the store's operator side: notes what it is told.
#[derive(Debug, Default)]
pub(crate) struct Operated {
    told: Mutex<Vec<String>>,
    failing: Mutex<Option<AdminError>>,
    /// Held by whoever does not want it to come to an end with its cleaning.
    gate: tokio::sync::Mutex<()>,
}

impl Operated {
    fn tell(&self, what: String) -> Result<(), AdminError> {
        self.told.lock().unwrap().push(what);
        self.failing.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Admin for Operated {
    fn replay(&self) -> Replay {
        Replay {
            first: 2,
            last: 9,
            current: 4,
            state: "in progress",
        }
    }

    fn head(&self, limit: usize) -> Result<HeadReport, AdminError> {
        let counts = |name: &str| vec![(name.to_owned(), limit as u64)];
        Ok(HeadReport {
            series: 3,
            label_pairs: 5,
            columns: 7,
            times: (limit > 1).then(|| TimeRange::new(TimestampMs(1_000), TimestampMs(2_000))),
            series_by_metric: counts("up"),
            values_by_label: counts("job"),
            bytes_by_label: counts("job"),
            series_by_pair: counts("job=\"a\""),
            active_by_agent: counts("n-1"),
            active_by_metric: counts("up"),
            active_by_tenant: Vec::new(),
        })
    }

    fn partitions(&self) -> Result<Vec<PartitionReport>, AdminError> {
        let partition = PartitionReport {
            file: "0-1-2.redb".to_owned(),
            shard: 1,
            times: TimeRange::new(TimestampMs(1_000), TimestampMs(1_700_000_000_000)),
            bytes: 4_096,
            samples: 12,
            series: Some(3),
            level: 1,
            tier: "raw".to_owned(),
            class: "long".to_owned(),
        };
        let unreadable = PartitionReport {
            series: None,
            ..partition.clone()
        };
        Ok(vec![partition, unreadable])
    }

    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), AdminError> {
        let sets: Vec<String> = matcher_sets
            .iter()
            .map(|set| {
                set.iter()
                    .map(Matcher::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect();
        self.tell(format!(
            "delete {} {} {}",
            sets.join(" or "),
            range.start.0,
            range.end.0
        ))
    }

    fn clean_deletes(&self) -> Result<(), AdminError> {
        drop(self.gate.blocking_lock());
        self.tell("clean".to_owned())
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, AdminError> {
        self.tell(format!("snapshot {skip_head}"))
            .map(|()| "20260801T000000Z-ab".to_owned())
    }
}

#[tokio::test]
async fn what_the_store_holds_is_shown_as_prometheus_does() {
    let world = World::new();
    let status = world.call("GET /api/v1/status/tsdb?limit=4").await;
    assert_eq!(
        status.body,
        r#"{"status":"success","data":{"headStats":{"numSeries":3,"numLabelPairs":5,"chunkCount":7,"minTime":1000,"maxTime":2000},"seriesCountByMetricName":[{"name":"up","value":4}],"labelValueCountByLabelName":[{"name":"job","value":4}],"memoryInBytesByLabelName":[{"name":"job","value":4}],"seriesCountByLabelValuePair":[{"name":"job=\"a\"","value":4}],"activeSeriesCountByAgent":[{"name":"n-1","value":4}],"activeSeriesCountByMetricName":[{"name":"up","value":4}],"activeSeriesCountByTenant":[]}}"#
    );
    let status = world.call("GET /api/v1/status/tsdb").await.json();
    assert_eq!(status["data"]["seriesCountByMetricName"][0]["value"], 10);
    let empty = world.call("GET /api/v1/status/tsdb?limit=1").await.json();
    assert_eq!(
        (
            &empty["data"]["headStats"]["minTime"],
            &empty["data"]["headStats"]["maxTime"]
        ),
        (&i64::MAX.into(), &i64::MIN.into())
    );
    for (limit, why) in [
        ("0", "limit must be a positive number"),
        ("-1", "limit must be a positive number"),
        ("x", "limit must be a positive number"),
        ("10001", "limit must not exceed 10000"),
    ] {
        let answer = world
            .call(&format!("GET /api/v1/status/tsdb?limit={limit}"))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["error"], why, "{limit}");
    }
    let blocks = world.call("GET /api/v1/status/tsdb/blocks").await.json();
    let blocks = blocks["data"]["blocks"].as_array().unwrap();
    let first = &blocks[0];
    assert_eq!(first["ulid"].as_str().unwrap().len(), 26);
    assert_eq!(first["compaction"]["sources"][0], first["ulid"]);
    assert_eq!(
        (&first["minTime"], &first["maxTime"], &first["version"]),
        (&1_000.into(), &1_700_000_000_001_i64.into(), &1.into())
    );
    assert_eq!(
        first["stats"],
        serde_json::json!({"numSamples": 12, "numSeries": 3})
    );
    assert_eq!(
        (
            &first["file"],
            &first["bytes"],
            &first["tier"],
            &first["class"]
        ),
        (
            &"0-1-2.redb".into(),
            &4_096.into(),
            &"raw".into(),
            &"long".into()
        )
    );
    assert_eq!(blocks[1]["stats"], serde_json::json!({"numSamples": 12}));
}

#[tokio::test]
async fn the_replay_is_shown_while_it_lasts() {
    let world = World::new();
    *world.process.not_ready.lock().unwrap() = Some("storage: replaying".to_owned());
    assert_eq!(
        world.call("GET /api/v1/status/walreplay").await.body,
        r#"{"status":"success","data":{"min":2,"max":9,"current":4,"state":"in progress"}}"#
    );
    for call in [
        "GET /api/v1/status/tsdb",
        "GET /api/v1/status/tsdb/blocks",
        "POST /api/v1/admin/tsdb/delete_series?match[]=up",
        "POST /api/v1/admin/tsdb/snapshot",
    ] {
        assert_eq!(
            world.call(call).await.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{call}"
        );
    }
    assert_eq!(world.operated.told(), [""; 0]);
}

#[tokio::test]
async fn the_store_is_told_what_the_operator_wants() {
    let world = World::new();
    for (call, status, told) in [
        (
            "POST /api/v1/admin/tsdb/delete_series?match[]=up&match[]={job=~%22a|b%22}&start=1&end=2",
            204,
            "delete __name__=\"up\" or job=~\"a|b\" 1000 2000",
        ),
        (
            "PUT /api/v1/admin/tsdb/delete_series match%5B%5D=up&start=5",
            204,
            "delete __name__=\"up\" 5000 9223309901257974999",
        ),
        (
            "POST /api/v1/admin/tsdb/delete_series?match[]=up&start=2&end=1",
            204,
            "",
        ),
        ("POST /api/v1/admin/tsdb/clean_tombstones", 204, "clean"),
        ("PUT /api/v1/admin/tsdb/snapshot", 200, "snapshot false"),
        (
            "POST /api/v1/admin/tsdb/snapshot?skip_head=true",
            200,
            "snapshot true",
        ),
        ("GET /api/v1/admin/tsdb/snapshot", 405, ""),
        ("GET /api/v1/admin/tsdb/delete_series?match[]=up", 405, ""),
        ("POST /api/v1/admin/tsdb/delete_series", 400, ""),
        ("POST /api/v1/admin/tsdb/delete_series?match[]={}", 400, ""),
        (
            "POST /api/v1/admin/tsdb/delete_series?match[]=up&start=x",
            400,
            "",
        ),
        ("POST /api/v1/admin/tsdb/snapshot?skip_head=maybe", 400, ""),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), status, "{call}: {}", answer.body);
        assert_eq!(world.operated.told().join(";"), told, "{call}");
        match status {
            204 => assert_eq!(answer.body, ""),
            200 => assert_eq!(
                answer.body,
                r#"{"status":"success","data":{"name":"20260801T000000Z-ab"}}"#
            ),
            _ => {}
        }
    }
    *world.operated.failing.lock().unwrap() =
        Some(AdminError::Failed("the disk is full".to_owned()));
    let failed = world.call("POST /api/v1/admin/tsdb/clean_tombstones").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        (&failed.json()["errorType"], &failed.json()["error"]),
        (&"internal".into(), &"the disk is full".into())
    );
}

#[tokio::test]
async fn without_the_flag_nothing_is_told() {
    let mut off = config();
    off.admin = false;
    let world = World::over(Arc::new(storage::MemoryStore::new()), off);
    for call in [
        "POST /api/v1/admin/tsdb/delete_series?match[]=up",
        "POST /api/v1/admin/tsdb/clean_tombstones",
        "PUT /api/v1/admin/tsdb/snapshot",
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{call}");
        let json = answer.json();
        assert_eq!(json["errorType"], "unavailable");
        assert!(
            json["error"]
                .as_str()
                .unwrap()
                .starts_with("admin APIs disabled"),
            "{json}"
        );
    }
    assert_eq!(world.operated.told(), [""; 0]);
}

#[tokio::test]
async fn what_takes_long_holds_up_no_question() {
    let world = World::new();
    let gate = world.operated.gate.lock().await;
    let clean = || Box::pin(world.call("POST /api/v1/admin/tsdb/clean_tombstones"));
    let mut cleaning = [clean(), clean(), clean()];
    for call in &mut cleaning {
        let pending = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
    }
    for question in [
        "GET /api/v1/status/tsdb",
        "GET /api/v1/status/tsdb/blocks",
        "POST /api/v1/admin/tsdb/delete_series?match[]=up",
    ] {
        let answer = timeout(Duration::from_secs(10), world.call(question)).await;
        assert!(answer.unwrap().status.is_success(), "{question}");
    }
    drop(gate);
    for call in cleaning {
        assert_eq!(call.await.status, StatusCode::NO_CONTENT);
    }
}
