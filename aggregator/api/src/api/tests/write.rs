//! Remote write, as senders see it: codes, headers, texts.

use std::time::Duration;

use http_shell::Handler;
use http_shell::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use ingest::{RemoteWrite, RemoteWriteConfig};
use rows::Epoch;
use storage::MemoryStore;

use super::world::{World, config, request};

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
/// `up{} = 1 at 1000`, of 1.0.
const UP: &[u8] = b"\x0a\x1e\x0a\x0e\x0a\x08__name__\x12\x02up\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xe8\x07";
/// The same of 2.0.
const UP_2: &[u8] = b"\x22\x00\x22\x08__name__\x22\x02up\x2a\x12\x0a\x02\x01\x02\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xe8\x07";
/// A series of 1.0 without a name, after a good one.
const NAMELESS: &[u8] = b"\x0a\x0e\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xe8\x07";

/// A block of snappy's that holds `bytes` as they are.
fn block(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    let length = u8::try_from(bytes.len()).unwrap();
    let mut block = vec![length, 60 << 2, length - 1];
    block.extend_from_slice(bytes);
    block
}

fn world() -> (World, MemoryStore) {
    let store = MemoryStore::new();
    let mut world = World::over(std::sync::Arc::new(store.clone()), config());
    receive(&mut world, std::sync::Arc::new(store.clone()));
    (world, store)
}

/// Brings what is sent from now on to this store.
fn receive(world: &mut World, store: std::sync::Arc<dyn storage::Appender>) {
    let registry = telemetry::Registry::new();
    let parts = &mut world.api.parts;
    let config = RemoteWriteConfig {
        epoch: Epoch(3),
        memory_bytes_max: 32 << 20,
    };
    parts.remote_write = Some(RemoteWrite::new(
        store,
        config,
        std::sync::Arc::clone(&parts.clock),
        &registry,
        ingest::Metrics::register(&registry),
    ));
}

struct Answer {
    status: u16,
    text: String,
    headers: HeaderMap,
}

impl Answer {
    /// Samples, histograms and exemplars written, as the headers say.
    fn written(&self) -> Option<[String; 3]> {
        let of = |what: &str| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            Some(self.headers.get(name)?.to_str().unwrap().to_owned())
        };
        Some([of("samples")?, of("histograms")?, of("exemplars")?])
    }
}

async fn send(world: &World, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = request("POST /api/v1/write");
    for (name, value) in headers {
        let name = match *name {
            "type" => CONTENT_TYPE,
            _ => CONTENT_ENCODING,
        };
        request
            .headers
            .insert(name, HeaderValue::from_str(value).unwrap());
    }
    request.body = body.into();
    let response = world.api.handle(request).await;
    Answer {
        status: response.status.as_u16(),
        text: String::from_utf8(response.body.to_vec()).unwrap(),
        headers: response.headers,
    }
}

#[tokio::test]
async fn good_requests_are_answered_204_without_a_body() {
    let (world, store) = world();
    let snappy = ("encoding", "snappy");
    for (headers, body, written) in [
        (vec![("type", V1), snappy], UP, None),
        (
            vec![
                (
                    "type",
                    "application/x-protobuf;proto=prometheus.WriteRequest",
                ),
                snappy,
            ],
            UP,
            None,
        ),
        (vec![], UP, None),
        (
            vec![("type", V2), snappy],
            UP_2,
            Some(["1", "0", "0"].map(str::to_owned)),
        ),
    ] {
        let answer = send(&world, &headers, block(body)).await;
        assert_eq!((answer.status, &*answer.text), (204, ""), "{headers:?}");
        assert_eq!(answer.written(), written);
    }
    let found = world.call("GET /api/v1/query?query=up&time=1").await;
    assert_eq!(found.json()["data"]["result"][0]["value"][1], "1");
    drop(store);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_415() {
    let (world, _) = world();
    for (headers, why) in [
        (
            [("type", "application/json"), ("encoding", "snappy")],
            "expected application/x-protobuf as the first (media) part, got application/json content-type",
        ),
        (
            [
                ("type", "application/x-protobuf;proto=foo.Bar"),
                ("encoding", "snappy"),
            ],
            "unknown message foo.Bar",
        ),
        (
            [
                ("type", "application/x-protobuf;what"),
                ("encoding", "snappy"),
            ],
            "expected parameters to be key-values, got what",
        ),
        (
            [("type", V1), ("encoding", "gzip")],
            "gzip encoding (compression) is not accepted by this server; only snappy is acceptable",
        ),
    ] {
        let answer = send(&world, &headers, block(UP)).await;
        assert_eq!(answer.status, 415);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_partial_write_is_answered_400_and_says_what_was_written() {
    let (world, _) = world();
    let body = [UP, NAMELESS].concat();
    let answer = send(&world, &[("type", V1)], block(&body)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text,
        "invalid: 1 series left out, 1 samples in all; the first: no metric name (label __name__): {}\n\
         everything else is stored; do not send this again\n"
    );
    assert_eq!(answer.written(), None);
    // Another value at the same time: the store keeps the first.
    let mut other = UP_2.to_vec();
    let at = other.len() - 5;
    other[at] = 0x01;
    assert_eq!(send(&world, &[("type", V2)], block(UP_2)).await.status, 204);
    let answer = send(&world, &[("type", V2)], block(&other)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.written(), Some(["1", "0", "0"].map(str::to_owned)));
    let broken = send(&world, &[("type", V2)], block(b"\x22\xff")).await;
    assert_eq!(broken.status, 400);
    assert!(
        broken
            .text
            .starts_with("cannot decode the body as io.prometheus.write.v2.Request")
    );
    assert_eq!(broken.written(), Some(["0", "0", "0"].map(str::to_owned)));
    let bomb = send(&world, &[("type", V1)], vec![0xff, 0xff, 0xff, 0x7f, 0]).await;
    assert_eq!(bomb.status, 413);
    let no_block = send(&world, &[("type", V1)], b"nonsense".to_vec()).await;
    assert_eq!(no_block.status, 400);
    assert!(
        no_block
            .text
            .starts_with("cannot decompress the body as a snappy block")
    );
}

#[tokio::test]
async fn it_can_be_switched_off_and_waits_for_the_store() {
    let off = World::new();
    let answer = send(&off, &[("type", V1)], block(UP)).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("--web.disable-remote-write-receiver"));
    let (world, _) = world();
    *world.process.not_ready.lock().unwrap() = Some("replaying".to_owned());
    for (media_type, body, written) in [
        (V1, UP, None),
        (V2, UP_2, Some(["0", "0", "0"].map(str::to_owned))),
    ] {
        let answer = send(&world, &[("type", media_type)], block(body)).await;
        assert_eq!(
            (answer.status, &*answer.text),
            (503, "Service Unavailable: replaying\n")
        );
        assert_eq!(answer.headers[RETRY_AFTER], "5");
        assert_eq!(answer.written(), written);
    }
    assert_eq!(world.call("GET /api/v1/write").await.status.as_u16(), 405);
}

#[tokio::test]
async fn a_store_that_cannot_take_is_answered_with_a_pause() {
    let (mut world, _) = world();
    receive(&mut world, std::sync::Arc::new(Full { why: None }));
    let sending = async { send(&world, &[("type", V1)], block(UP)).await };
    let passing = async {
        loop {
            world.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::select! {
        answer = sending => answer,
        () = passing => unreachable!("time passes for ever"),
    };
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers[RETRY_AFTER], "5");

    // When it says that it is more than full, nobody waits.
    let why = Some("the store is closing");
    receive(&mut world, std::sync::Arc::new(Full { why }));
    let answer = send(&world, &[("type", V2)], block(UP_2)).await;
    assert_eq!(
        (answer.status, &*answer.text),
        (503, "the store is closing\n")
    );
    assert_eq!(answer.headers[RETRY_AFTER], "5");
    assert_eq!(answer.written(), Some(["0", "0", "0"].map(str::to_owned)));
}

/// A store that is always full, and may say why.
#[derive(Debug)]
struct Full {
    why: Option<&'static str>,
}

impl storage::Appender for Full {
    fn store_id(&self) -> rows::StoreId {
        rows::StoreId(1)
    }

    fn known(&self, _: &rows::AgentId, _: Epoch) -> rows::NumberSet {
        rows::NumberSet::new()
    }

    fn settle(
        &self,
        _: &rows::AgentId,
        _: Epoch,
        _: rows::BatchNumber,
    ) -> Result<(), storage::Busy> {
        Err(storage::Busy)
    }

    fn define(&self, _: &storage::Source, _: rows::CohortDefinition) -> Result<(), storage::Busy> {
        Err(storage::Busy)
    }

    fn failing(&self) -> Option<String> {
        self.why.map(str::to_owned)
    }

    fn append(
        &self,
        _: &storage::Source,
        _: std::sync::Arc<rows::Batch>,
        _: storage::Done,
    ) -> Result<(), storage::Busy> {
        Err(storage::Busy)
    }
}
