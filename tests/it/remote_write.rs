//! Remote write into the real store: what comes is there to the bit, also after a restart, and what is told of it is true.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::{Clock as _, SimulatedClock, SystemClock};
use files::Simulated;
use ingest::{
    Metrics, Protocol, REMOTE_WRITE_ID, RemoteWrite, RemoteWriteConfig, WriteError, WriteOutcome,
    Written,
};
use model::{Buckets, CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Span, TimeRange, Value};
use rows::Epoch;
use runtime::run_apart;
use storage::{Queryable, RefusalReason, Select, Unlimited};
use telemetry::Registry;
use tests::processes::{PATIENCE, wait_until};
use tests::protobuf::Message;
use tsdb::{Tsdb, TsdbConfig};

/// In the middle of a span of two hours.
const BASE_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// Why nothing fails that a test does with its own data on a simulated disk.
const SOUND: &str = "what this test makes is sound";

struct World {
    disk: Simulated,
    config: TsdbConfig,
    clock: Arc<SimulatedClock>,
}

impl World {
    fn new() -> Self {
        let mut config = TsdbConfig::at("/data");
        config.shards = NonZeroU16::new(2);
        // The simulated clock stands still, so that every group would wait for all of it.
        config.log.spacing = Duration::ZERO;
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(BASE_MS.unsigned_abs());
        Self {
            disk: Simulated::new(),
            config,
            clock: Arc::new(SimulatedClock::starting_at(start)),
        }
    }

    fn open(&self) -> Arc<Tsdb> {
        let files = Arc::new(self.disk.clone());
        let clock = Arc::<SimulatedClock>::clone(&self.clock);
        let (store, _) = Tsdb::open(self.config.clone(), files, clock).expect(SOUND);
        Arc::new(store)
    }
}

/// Returns a receiver whose patience is of the real clock, so that whoever waits in vain is told so.
fn receiver(store: &Arc<Tsdb>) -> RemoteWrite {
    let registry = Registry::new();
    let config = RemoteWriteConfig {
        epoch: Epoch(1),
        memory_bytes_max: 32 << 20,
    };
    let metrics = Metrics::register(&registry);
    let (store, clock) = (Arc::<Tsdb>::clone(store), Arc::new(SystemClock::new()));
    RemoteWrite::new(store, config, clock, &registry, metrics)
}

fn write(receiver: &RemoteWrite, request: &Message) -> WriteOutcome {
    let (receiver, body) = (receiver.clone(), request.block());
    let writing = async move {
        let admitted = receiver.admit(body).await.expect(SOUND);
        let readied = receiver.read(admitted, Protocol::V2).expect(SOUND);
        receiver.write(readied).await
    };
    run_apart(writing).expect(SOUND)
}

fn request(symbols: &[&str], series: &[Message]) -> Message {
    let request = symbols.iter().fold(Message::default(), |request, symbol| {
        request.bytes(4, symbol.as_bytes())
    });
    series
        .iter()
        .fold(request, |request, one| request.message(5, one))
}

fn sample(value: f64, at: i64) -> Message {
    Message::default().double(1, value).int(2, at)
}

/// Returns each sample of a store as its series, time, start time and value.
fn contents(store: &Tsdb) -> Vec<(String, i64, i64, Value)> {
    let select = Select {
        matchers: &[],
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let querier = store.querier().expect(SOUND);
    let found = querier.select(&select, &Unlimited).expect(SOUND);
    let mut all = Vec::new();
    for series in &found {
        for segment in &series.segments {
            let starts = segment.start_times.as_deref();
            for (index, at) in segment.times.as_slice().iter().enumerate() {
                let start = starts.map_or(0, |starts| starts[index].0);
                let value = segment.value(index);
                all.extend(value.map(|value| (series.labels.to_string(), at.0, start, value)));
            }
        }
    }
    all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    all
}

fn floats(count: f64, zero: f64, positive: &[f64]) -> Histogram {
    Histogram {
        reset: CounterReset::Gauge,
        schema: 3,
        zero_threshold: 0.001,
        sum: 2.5,
        positive_spans: vec![Span {
            offset: -1,
            length: 2,
        }],
        negative_spans: Vec::new(),
        custom_bounds: Vec::new(),
        buckets: Buckets::Float {
            count,
            zero,
            positive: positive.to_vec(),
            negative: Vec::new(),
        },
    }
}

#[test]
fn histograms_of_all_kinds_and_their_start_times_are_stored_to_the_bit() {
    let world = World::new();
    let store = world.open();
    let remote_write = receiver(&store);
    let at = |minute: i64| BASE_MS + minute * MINUTE_MS;
    let of_floats = |minute: i64| {
        let span = Message::default().sint(1, -1).int(2, 2);
        Message::default()
            .double(2, 3.5)
            .double(3, 2.5)
            .sint(4, 3)
            .double(5, 0.001)
            .double(7, 0.25)
            .message(11, &span)
            .double(13, 1.25)
            .double(13, 2.0)
            .int(14, 3)
            .int(15, at(minute))
            .int(17, at(minute) - 7)
    };
    let of_custom = |minute: i64| {
        let span = Message::default().sint(1, 1).int(2, 2);
        Message::default()
            .int(1, 3)
            .double(3, 4.5)
            .sint(4, -53)
            .message(11, &span)
            .packed(12, &[4, 1])
            .int(15, at(minute))
            .double(16, 0.5)
            .double(16, 1.0)
    };
    let symbols = ["", "__name__", "of_floats", "of_custom", "hits_total"];
    let series = [
        Message::default()
            .packed(1, &[1, 2])
            .message(3, &of_floats(0))
            .message(3, &of_floats(1)),
        // Its start time is that of the series.
        Message::default()
            .packed(1, &[1, 3])
            .message(3, &of_custom(0))
            .int(6, at(0) - 9),
        Message::default()
            .packed(1, &[1, 4])
            .message(2, &sample(0.5, at(0)).int(3, at(0) - 5))
            .message(2, &sample(f64::from_bits(0x7ff0_0000_0000_0002), at(1))),
    ];
    let outcome = write(&remote_write, &request(&symbols, &series));
    let written = Written {
        samples: 2,
        histograms: 3,
        exemplars: 0,
    };
    assert_eq!((outcome.failed, outcome.written), (None, written));

    let histogram = |histogram| Value::Histogram(Arc::new(histogram));
    let float = floats(3.5, 0.25, &[1.25, 2.0]);
    let custom = Histogram {
        reset: CounterReset::Unknown,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: 4.5,
        positive_spans: vec![Span {
            offset: 1,
            length: 2,
        }],
        custom_bounds: vec![0.5, 1.0],
        buckets: Buckets::Integer {
            count: 3,
            zero: 0,
            positive: vec![2, 1],
            negative: Vec::new(),
        },
        ..float.clone()
    };
    let expected = [
        ("hits_total", 0, -5, Value::Float(0.5)),
        ("hits_total", 1, 0, Value::Float(model::STALE_NAN)),
        ("of_custom", 0, -9, histogram(custom)),
        ("of_floats", 0, -7, histogram(float.clone())),
        ("of_floats", 1, -7, histogram(float)),
    ]
    .map(|(name, minute, before, value)| {
        let start = if before == 0 { 0 } else { at(minute) + before };
        (name.to_owned(), at(minute), start, value)
    });
    let is_all = |store: &Tsdb| {
        let found = contents(store);
        found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, expected)| {
                let told = |one: &(String, i64, i64, Value)| (one.0.clone(), one.1, one.2);
                told(found) == told(expected) && found.3.same_bits(&expected.3)
            })
    };
    wait_until(PATIENCE, "all that was written", || {
        is_all(&store).then_some(())
    });
    drop((remote_write, store));
    let store = world.open();
    assert!(is_all(&store), "{:?}", contents(&store));
}

#[test]
fn what_the_store_refuses_is_counted_by_kind() {
    let mut world = World::new();
    let writer = REMOTE_WRITE_ID.parse().expect(SOUND);
    world.config.limits.exceptions.insert(writer, Some(2));
    let store = world.open();
    let remote_write = receiver(&store);
    let symbols = ["", "__name__", "kept", "also_kept", "surplus", "id", "x"];
    let exemplar = Message::default()
        .packed(1, &[5, 6])
        .double(2, 1.0)
        .int(3, BASE_MS);
    let span = Message::default().sint(1, 0).int(2, 1);
    let histogram = |at: i64| {
        Message::default()
            .int(1, 1)
            .double(3, 1.0)
            .message(11, &span)
            .packed(12, &[2])
            .int(15, at)
    };
    let series = [
        Message::default()
            .packed(1, &[1, 2])
            .message(2, &sample(1.0, BASE_MS - 40 * DAY_MS))
            .message(2, &sample(1.0, BASE_MS))
            .message(2, &sample(2.0, BASE_MS + 1))
            .message(2, &sample(1.0, BASE_MS + DAY_MS))
            .message(4, &exemplar),
        Message::default()
            .packed(1, &[1, 3])
            .message(3, &histogram(BASE_MS - 40 * DAY_MS))
            .message(3, &histogram(BASE_MS)),
        Message::default()
            .packed(1, &[1, 4])
            .message(2, &sample(1.0, BASE_MS))
            .message(4, &exemplar),
    ];
    let outcome = write(&remote_write, &request(&symbols, &series));
    let written = Written {
        samples: 2,
        histograms: 1,
        exemplars: 1,
    };
    assert_eq!((outcome.failed, outcome.written), (None, written));
    assert_eq!(
        outcome.refused.iter().collect::<Vec<_>>(),
        [
            (RefusalReason::SeriesPerAgent, 1),
            (RefusalReason::TooOld, 2),
            (RefusalReason::TooNew, 1)
        ]
    );
    let first = Some((RefusalReason::TooOld, "kept".to_owned()));
    assert_eq!(outcome.first_refused, first);
    let used = store.stats().limits_used;
    assert_eq!(used.series_per_agent, 0, "no agent has any");
    let of_writer = used.series_by_exception.iter().map(|(_, series)| *series);
    assert_eq!(of_writer.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_store_that_closes_while_requests_come_says_so_at_once() {
    let world = World::new();
    let store = world.open();
    let remote_write = receiver(&store);
    let symbols = ["", "__name__", "m"];
    let series = Message::default()
        .packed(1, &[1, 2])
        .message(2, &sample(1.0, BASE_MS));
    let request = request(&symbols, &[series]);
    assert_eq!(write(&remote_write, &request).failed, None);
    store.close();
    let began = SystemClock::new();
    let before = began.monotonic();
    let outcome = write(&remote_write, &request);
    let why = "the store is closing".to_owned();
    assert_eq!(outcome.failed, Some(WriteError::NotDurable(why)));
    let took = began.monotonic().saturating_since(before);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
