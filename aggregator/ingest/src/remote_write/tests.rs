//! Bodies of friends and strangers, and what the store is told.

use std::time::SystemTime;

use clock::SimulatedClock;
use model::{Labels, Matcher, STALE_NAN, TimeRange, Value};
use proptest::prelude::*;
use rows::{CohortDefinition, CohortId, NumberSet, StoreId};
use runtime::RuntimeClock;
use storage::{Busy, Done, MemoryStore, Queryable, RefusedSample, Select, Unlimited};

use super::*;

mod bounds;
mod refusals;

/// Writes protocol buffers.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    #[expect(clippy::cast_possible_truncation, reason = "7 bits at a time")]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    fn sint(self, field: u64, value: i64) -> Self {
        self.int(field, (value << 1) ^ (value >> 63))
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn compressed(&self) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&self.0).unwrap()
    }
}

fn label(name: &str, value: &str) -> Message {
    Message::default()
        .bytes(1, name.as_bytes())
        .bytes(2, value.as_bytes())
}

fn sample(value: f64, at: i64) -> Message {
    Message::default().double(1, value).int(2, at)
}

/// A series of 1.0.
fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> Message {
    let mut series = Message::default();
    for (name, value) in labels {
        series = series.message(1, &label(name, value));
    }
    for (value, at) in samples {
        series = series.message(2, &sample(*value, *at));
    }
    series
}

fn request(series: &[Message]) -> Message {
    let all = series.iter();
    all.fold(Message::default(), |request, one| request.message(1, one))
}

/// A request of 2.0 with these symbols.
fn request_2(symbols: &[&str], series: &[Message]) -> Message {
    let request = symbols.iter().fold(Message::default(), |request, symbol| {
        request.bytes(4, symbol.as_bytes())
    });
    series
        .iter()
        .fold(request, |request, one| request.message(5, one))
}

/// The references of a series of 2.0.
fn refs(references: &[u64]) -> Message {
    let mut packed = Message::default();
    for reference in references {
        packed.varint(*reference);
    }
    Message::default().bytes(1, &packed.0)
}

/// Three observations in two buckets, the others in the zero bucket.
fn histogram(count: u64, at: i64) -> Message {
    let span = Message::default().sint(1, -1).int(2, 2);
    let mut deltas = Message::default();
    deltas.varint(4);
    deltas.varint(1);
    Message::default()
        .int(1, count.cast_signed())
        .double(3, 2.5)
        .sint(4, 3)
        .double(5, 0.001)
        .int(6, count.cast_signed() - 3)
        .message(11, &span)
        .bytes(12, &deltas.0)
        .int(14, 3)
        .int(15, at)
}

/// A histogram of custom buckets, two and one observations in the first two; its count is missing.
fn custom(offset: i64) -> Message {
    let span = Message::default().sint(1, offset).int(2, 2);
    Message::default()
        .double(3, 2.5)
        .sint(4, -53)
        .message(11, &span)
        .bytes(12, &[4, 1])
        .int(15, 1)
        .double(16, 1.0)
        .double(16, 2.0)
}

/// What the store was told, and what it answers.
#[derive(Default)]
struct Recorder {
    told: Mutex<Vec<String>>,
    busy: Mutex<u32>,
    /// Batches that it still takes; `None`: any number.
    room: Mutex<Option<usize>>,
    answer: Mutex<Option<AppendOutcome>>,
    /// What is to be answered later; `None`: all is at once.
    held: Mutex<Option<Vec<Done>>>,
    failing: Mutex<Option<String>>,
    numbers: Mutex<Vec<u64>>,
}

impl Appender for Recorder {
    fn store_id(&self) -> StoreId {
        StoreId(1)
    }

    fn known(&self, _: &AgentId, _: Epoch) -> NumberSet {
        NumberSet::new()
    }

    fn settle(&self, _: &AgentId, _: Epoch, _: BatchNumber) -> Result<(), Busy> {
        Ok(())
    }

    fn define(&self, _: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        let CohortDefinition {
            cohort,
            first_slot,
            series,
            ..
        } = definition;
        let text = format!("define {} {first_slot} {}", cohort.0, series.len());
        self.told.lock().unwrap().push(text);
        Ok(())
    }

    fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap().clone()
    }

    fn append(&self, _: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        let mut busy = self.busy.lock().unwrap();
        if *busy > 0 {
            *busy -= 1;
            return Err(Busy);
        }
        if let Some(room) = &mut *self.room.lock().unwrap() {
            *room = room.checked_sub(1).ok_or(Busy)?;
        }
        let decoded = rows::BatchDecoder::new()
            .decode(batch.number, Arc::clone(&batch.bytes))
            .unwrap();
        assert_eq!(decoded.samples.len(), batch.samples.len());
        self.numbers.lock().unwrap().push(batch.number.0);
        let slots: Vec<String> = batch
            .samples
            .iter()
            .map(|sample| format!("{}/{}", sample.cohort.0, sample.slot))
            .collect();
        self.told.lock().unwrap().push(slots.join(" "));
        if let Some(held) = &mut *self.held.lock().unwrap() {
            held.push(done);
            return Ok(());
        }
        let answer = self.answer.lock().unwrap().clone();
        done(answer.unwrap_or_else(|| AppendOutcome::Stored(Refusals::default())));
        Ok(())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Answers all that is held, and holds nothing more.
    fn release(&self) {
        let held = self.held.lock().unwrap().take();
        for done in held.into_iter().flatten() {
            done(AppendOutcome::Stored(Refusals::default()));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

/// What requests may hold together.
const MEMORY_BYTES_MAX: u64 = 32 << 20;

fn receiver(store: Arc<dyn Appender>, clock: SharedClock) -> RemoteWrite {
    let registry = Registry::new();
    let metrics = crate::Metrics::register(&registry);
    let config = RemoteWriteConfig {
        epoch: Epoch(5),
        memory_bytes_max: MEMORY_BYTES_MAX,
    };
    RemoteWrite::new(store, config, clock, &registry, metrics)
}

fn over(store: Arc<dyn Appender>) -> RemoteWrite {
    receiver(
        store,
        Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH)),
    )
}

async fn read(
    receiver: &RemoteWrite,
    body: Vec<u8>,
    protocol: Protocol,
) -> Result<Readied, WriteError> {
    receiver.read(receiver.admit(body).await?, protocol)
}

/// Writes a request, and fails when not all that is good is stored.
async fn write(
    receiver: &RemoteWrite,
    request: &Message,
    protocol: Protocol,
) -> Result<WriteOutcome, WriteError> {
    let readied = read(receiver, request.compressed(), protocol).await?;
    let outcome = receiver.write(readied).await;
    outcome.failed.clone().map_or(Ok(outcome), Err)
}

fn refused(cohort: u32, slot: u16, reason: RefusalReason) -> RefusedSample {
    RefusedSample {
        cohort: CohortId(cohort),
        slot,
        is_histogram: false,
        reason,
    }
}

fn refusals(samples: &[RefusedSample]) -> Option<AppendOutcome> {
    let mut refusals = Refusals::default();
    for sample in samples {
        refusals.add_sample(*sample);
    }
    Some(AppendOutcome::Stored(refusals))
}

fn written(samples: u64, histograms: u64, exemplars: u64) -> Written {
    Written {
        samples,
        histograms,
        exemplars,
    }
}

fn contents(store: &MemoryStore) -> Vec<String> {
    let matchers: &[Matcher] = &[];
    let select = Select {
        matchers,
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let found = store
        .querier()
        .unwrap()
        .select(&select, &Unlimited)
        .unwrap();
    found
        .iter()
        .flat_map(|series| {
            let labels = series.labels.clone();
            series.samples(TimeRange::ALL).map(move |sample| {
                let value = match sample.value {
                    Value::Float(value) => format!("{:x}", value.to_bits()),
                    Value::Histogram(histogram) => {
                        format!("{:?} {}", histogram.reset, histogram.sum)
                    }
                };
                format!("{labels} {} {value}", sample.at.0)
            })
        })
        .collect()
}

#[tokio::test]
async fn a_request_of_1_0_is_stored_with_all_that_it_says() {
    let store = MemoryStore::new();
    let receiver = over(Arc::new(store.clone()));
    let exemplar = Message::default()
        .message(1, &label("trace_id", "abc"))
        .double(2, 0.5)
        .int(3, 990);
    let hits = series(
        &[("__name__", "hits"), ("job", "a")],
        &[(1.5, 1_000), (STALE_NAN, 2_000)],
    )
    .message(3, &exemplar);
    let latency = series(&[("__name__", "latency")], &[]).message(4, &histogram(5, 1_000));
    let described = Message::default()
        .int(1, 1)
        .bytes(2, b"hits")
        .bytes(4, b"Hits.");
    let body = request(&[hits, latency]).message(3, &described);
    for _ in 0..2 {
        // The second time, everything is there already.
        let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
        assert_eq!(outcome.written, written(2, 1, 1));
        assert_eq!((outcome.rejections, outcome.refused), Default::default());
    }
    assert_eq!(
        contents(&store),
        [
            "hits{job=\"a\"} 1000 3ff8000000000000",
            "hits{job=\"a\"} 2000 7ff0000000000002",
            "latency 1000 Gauge 2.5",
        ]
    );
    let querier = store.querier().unwrap();
    let metadata = querier.metadata(None, 0).unwrap();
    assert_eq!(
        (&*metadata[0].metric, &*metadata[0].metadata[0].help),
        ("hits", "Hits.")
    );
    let exemplars = querier.exemplars(&[], TimeRange::ALL, &Unlimited).unwrap();
    assert_eq!(exemplars[0].exemplars[0].at.0, 990);
    assert_eq!(exemplars[0].labels.to_string(), "hits{job=\"a\"}");
}

#[tokio::test]
async fn a_request_of_2_0_is_stored_with_start_times_and_metadata() {
    let store = MemoryStore::new();
    let receiver = over(Arc::new(store.clone()));
    let symbols = [
        "",
        "__name__",
        "hits_total",
        "job",
        "a",
        "Hits.",
        "trace_id",
        "x",
    ];
    let exemplar = refs(&[6, 7]).double(2, 3.0);
    let hits = refs(&[1, 2, 3, 4])
        .message(2, &sample(1.0, 1_000).int(3, 400))
        .message(2, &sample(2.0, 2_000))
        .message(4, &exemplar)
        .message(5, &Message::default().int(1, 1).int(3, 5))
        .int(6, 300);
    let outcome = write(&receiver, &request_2(&symbols, &[hits]), Protocol::V2)
        .await
        .unwrap();
    assert_eq!(outcome.written, written(2, 0, 1));
    let select = Select {
        matchers: &[],
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let querier = store.querier().unwrap();
    let found = querier.select(&select, &Unlimited).unwrap();
    let starts = found[0].segments[0].start_times.as_deref().unwrap();
    assert_eq!(
        starts.iter().map(|start| start.0).collect::<Vec<_>>(),
        [400, 300]
    );
    let metadata = querier.metadata(None, 0).unwrap();
    assert_eq!(metadata[0].metadata[0].kind, model::MetricType::Counter);
    let exemplars = querier.exemplars(&[], TimeRange::ALL, &Unlimited).unwrap();
    assert_eq!(
        exemplars[0].exemplars[0].at.0, 2_000,
        "no time of its own: the sample's"
    );
}

#[tokio::test]
async fn bad_series_are_left_out_and_the_first_is_named() {
    let good = series(&[("__name__", "up")], &[(1.0, 1)]);
    let one = &[(1.0, 1)][..];
    let long = "v".repeat(3_000);
    let bad_utf8 = Message::default()
        .message(1, &label("__name__", "up"))
        .message(1, &Message::default().bytes(1, b"a").bytes(2, b"\xff"))
        .message(2, &sample(1.0, 1));
    let many: Vec<(String, String)> = (0..70).map(|n| (format!("l{n}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let negative = histogram(5, 1).bytes(12, &[1]);
    for (bad, why) in [
        (
            series(&[("job", "a")], one),
            "no metric name (label __name__): {job=\"a\"}",
        ),
        (series(&[("__name__", "")], one), "no metric name"),
        (
            series(&[("__name__", "up"), ("", "x")], one),
            "empty label name",
        ),
        (
            series(&[("__name__", "up"), ("a", "1"), ("a", "2")], one),
            "label name \"a\" is not unique: {__name__=\"up\", a=\"1\", a=\"2\"}",
        ),
        (
            series(&[("__name__", &long)], one),
            "a value of 3000 bytes, at most 2048 are taken",
        ),
        (
            series(&many, one),
            "labels or more, a series has at most 64",
        ),
        (bad_utf8, "a label's value is not UTF-8"),
        (
            series(&[("__name__", "h")], &[]).message(4, &negative),
            "of h: positive side: spans need 2 buckets, have 3 buckets",
        ),
        (
            series(&[("__name__", "h")], &[]).message(4, &histogram(3, 1).int(1, 9)),
            "of h: 3 observations found in buckets, but the count is 9",
        ),
        (
            series(&[("__name__", "h")], &[]).message(4, &custom(-1).int(1, 3)),
            "of h: positive side: span number 1 with offset -1: negative span offset",
        ),
        (
            series(&[("__name__", "h")], &[]).message(4, &custom(0).int(1, 4).int(6, 1)),
            "of h: histogram with schema -53: custom buckets: must have a zero count of 0",
        ),
    ] {
        let store = MemoryStore::new();
        let receiver = over(Arc::new(store.clone()));
        let body = request(&[good.clone(), bad.clone(), bad]);
        let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
        assert_eq!(outcome.written.samples, 1, "{why}");
        assert_eq!(outcome.rejections.samples, 2, "{why}");
        let first = outcome.rejections.first.unwrap();
        assert!(first.contains(why), "{first} is not {why}");
        assert_eq!(contents(&store).len(), 1);
    }
}

#[tokio::test]
async fn series_of_2_0_are_taken_by_the_letter() {
    let symbols = ["", "__name__", "up", "job", "a"];
    let one = sample(1.0, 1);
    let good = refs(&[1, 2]).message(2, &one);
    for (bad, why) in [
        (
            refs(&[1, 2, 3]).message(2, &one),
            "labels_refs has 3 entries, an odd number",
        ),
        (
            refs(&[1, 9]).message(2, &one),
            "a reference to symbol 9, of which there are 5",
        ),
        (
            refs(&[3, 4, 1, 2]).message(2, &one),
            "labels are not sorted: \"__name__\" comes after \"job\"",
        ),
        (
            refs(&[1, 2, 1, 2]).message(2, &one),
            "label name \"__name__\" is not unique",
        ),
        (
            refs(&[1, 2, 3, 0]).message(2, &one),
            "a label has an empty name or value",
        ),
        (refs(&[3, 4]).message(2, &one), "no metric name"),
        (
            refs(&[1, 2]),
            "a series must have at least one sample or histogram: up",
        ),
        (
            refs(&[1, 2]).message(2, &one).message(3, &histogram(5, 1)),
            "a series has samples and histograms, it may have one of them: up",
        ),
    ] {
        let receiver = over(Arc::new(MemoryStore::new()));
        let body = request_2(&symbols, &[good.clone(), bad]);
        let outcome = write(&receiver, &body, Protocol::V2).await.unwrap();
        assert_eq!(outcome.written, written(1, 0, 0), "{why}");
        let first = outcome.rejections.first.unwrap();
        assert!(first.contains(why), "{first} is not {why}");
    }
    let receiver = over(Arc::new(MemoryStore::new()));
    let nameless = request_2(&["x"], &[]);
    let error = write(&receiver, &nameless, Protocol::V2).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("first symbol is not the empty string"),
        "{error}"
    );
}

#[tokio::test]
async fn hostile_bodies_are_refused_before_they_cost_anything() {
    let receiver = &over(Arc::new(MemoryStore::new()));
    let read = |body: Vec<u8>, protocol| async move {
        let readied = read(receiver, body, protocol).await;
        readied.map(drop)
    };
    let claims = |length: u64| {
        let mut body = Message::default();
        body.varint(length);
        body.0.extend_from_slice(&[0; 100]);
        body.0
    };
    for protocol in [Protocol::V1, Protocol::V2] {
        let too_large = read(claims(33 << 20), protocol).await.unwrap_err();
        assert!(
            matches!(too_large, WriteError::TooLarge { .. }),
            "{too_large}"
        );
        let lie = read(claims(30 << 20), protocol).await.unwrap_err();
        assert!(lie.to_string().contains("cannot hold"), "{lie}");
        assert!(matches!(
            read(Vec::new(), protocol).await,
            Err(WriteError::Compression(_)) | Ok(())
        ));
        assert!(matches!(
            read(b"hello".to_vec(), protocol).await,
            Err(WriteError::Compression(_))
        ));
        let field = if protocol == Protocol::V1 { 1 } else { 5 };
        let empty = Message(Message::default().bytes(field, &[]).0.repeat(5_000_000));
        // In 2.0 each is refused on its own, and counts.
        let many = read(empty.compressed(), protocol).await.unwrap_err();
        assert_eq!(
            many.to_string(),
            "the request has more than 100000 series; send less at once"
        );
        let inner = Message(Message::default().bytes(2, &[]).0.repeat(1_000_000));
        let samples = Message::default().message(field, &inner);
        let error = read(samples.compressed(), protocol).await.unwrap_err();
        assert!(
            error.to_string().contains("more than 500000 samples"),
            "{error}"
        );
        for wire in [3, 4, 6, 7] {
            let body = Message(vec![8 | wire]).compressed();
            let error = read(body, protocol).await.unwrap_err();
            assert!(matches!(error, WriteError::Malformed { .. }), "{error}");
        }
    }
    let whole = request(&[series(&[("__name__", "up")], &[(1.0, 1)]).message(4, &histogram(3, 4))]);
    for cut in 0..whole.0.len() {
        let message = Message(whole.0[..cut].to_vec()).compressed();
        drop(read(message, Protocol::V1).await);
        let mut block = whole.compressed();
        block.truncate(cut);
        drop(read(block, Protocol::V2).await);
    }
}

#[tokio::test]
async fn a_series_has_one_slot_whatever_comes_between() {
    let store = Arc::new(Recorder::default());
    let receiver = over(Arc::<Recorder>::clone(&store));
    let of = |id: &str, at| series(&[("__name__", "m"), ("id", id)], &[(1.0, at)]);
    let body = request(&[of("a", 1), of("b", 1)]);
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["define 0 0 2", "0/0 0/1"]);
    // Labels on both sides of the samples name the same series for as long as they come so.
    let scattered = Message::default()
        .message(1, &label("__name__", "m"))
        .message(2, &sample(1.0, 2))
        .message(1, &label("id", "a"));
    let body = request(&[of("c", 2), of("b", 2), scattered]);
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["define 0 2 1", "0/0 0/1 0/2"]);
}

#[tokio::test]
async fn slots_that_a_limit_refused_are_defined_again_after_a_minute() {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(
        Arc::<Recorder>::clone(&store),
        Arc::<SimulatedClock>::clone(&clock),
    );
    let body = request(&[series(&[("__name__", "m")], &[(1.0, 1)])]);
    *store.answer.lock().unwrap() = refusals(&[refused(0, 0, RefusalReason::SeriesPerAgent)]);
    let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(outcome.written, Written::default());
    let first = Some((RefusalReason::SeriesPerAgent, "m".to_owned()));
    assert_eq!(outcome.first_refused, first);
    assert_eq!(store.take(), ["define 0 0 1", "0/0"]);
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["0/0"], "too early");
    clock.advance(Duration::from_mins(1));
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["define 0 0 1", "0/0"]);
}

#[tokio::test]
async fn a_cohort_that_the_store_forgot_is_defined_anew() {
    let store = Arc::new(Recorder::default());
    let receiver = over(Arc::<Recorder>::clone(&store));
    let body = request(&[series(&[("__name__", "m")], &[(1.0, 1)])]);
    write(&receiver, &body, Protocol::V1).await.unwrap();
    store.take();
    *store.answer.lock().unwrap() = refusals(&[refused(0, 0, RefusalReason::Undefined)]);
    let error = write(&receiver, &body, Protocol::V1).await.unwrap_err();
    assert!(matches!(error, WriteError::NotDurable(_)));
    store.take();
    *store.answer.lock().unwrap() = None;
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["define 1 0 1", "1/0"]);
}

#[tokio::test]
async fn idle_series_make_room_and_worn_cohorts_are_left() {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(
        Arc::<Recorder>::clone(&store),
        Arc::<SimulatedClock>::clone(&clock),
    );
    let of = |from: usize, to: usize| {
        let all: Vec<Message> = (from..to)
            .map(|id| series(&[("__name__", "m"), ("id", &id.to_string())], &[(1.0, 1)]))
            .collect();
        request(&all)
    };
    // As many as a cohort has: one series lives on, all others have gone.
    write(&receiver, &of(0, 512), Protocol::V1).await.unwrap();
    for _ in 0..4 {
        clock.advance(Duration::from_mins(30));
        store.take();
        write(&receiver, &of(7, 8), Protocol::V1).await.unwrap();
    }
    assert_eq!(receiver.0.book().len(), 1);
    let told = store.take();
    assert!(
        told == ["1/0"] || told == ["define 1 0 1", "1/0"],
        "{told:?}"
    );
}

#[tokio::test]
async fn a_number_that_was_not_used_is_used_for_the_next_batch() {
    let store = Arc::new(Recorder::default());
    let receiver = over(Arc::<Recorder>::clone(&store));
    let body = request(&[series(&[("__name__", "m")], &[(1.0, 1)])]);
    *store.answer.lock().unwrap() = Some(AppendOutcome::Failed("the disk is full".to_owned()));
    let error = write(&receiver, &body, Protocol::V1).await.unwrap_err();
    assert_eq!(error, WriteError::NotDurable("the disk is full".to_owned()));
    *store.answer.lock().unwrap() = None;
    write(&receiver, &body, Protocol::V1).await.unwrap();
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(*store.numbers.lock().unwrap(), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_intake_is_waited_for_but_not_for_ever() {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(RuntimeClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(Arc::<Recorder>::clone(&store), clock);
    let body = request(&[series(&[("__name__", "m")], &[(1.0, 1)])]);
    *store.busy.lock().unwrap() = 3;
    write(&receiver, &body, Protocol::V1).await.unwrap();
    *store.busy.lock().unwrap() = u32::MAX;
    let error = write(&receiver, &body, Protocol::V1).await.unwrap_err();
    assert_eq!(error, WriteError::Busy);
    *store.busy.lock().unwrap() = 0;
    write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(*store.numbers.lock().unwrap(), [0, 1], "no hole is left");
}

#[tokio::test]
async fn a_large_request_makes_several_batches() {
    let store = Arc::new(Recorder::default());
    let receiver = over(Arc::<Recorder>::clone(&store));
    let samples: Vec<(f64, i64)> = (0..40_000).map(|at| (0.5, at)).collect();
    let body = request(&[series(&[("__name__", "m")], &samples)]);
    let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(outcome.written, written(40_000, 0, 0));
    assert_eq!(store.numbers.lock().unwrap().len(), 3);
}

#[test]
fn labels_are_read_as_they_came() {
    let body = request(&[series(
        &[("b", "2"), ("__name__", "m"), ("c", "")],
        &[(1.0, 1)],
    )]);
    let request = Request::read(&body.compressed(), Protocol::V1, Vec::new()).unwrap();
    let labels = request.labels(&request.series[0]).unwrap();
    let sorted = Labels::from_pairs([("__name__", "m"), ("b", "2")]).unwrap();
    assert_eq!(labels, sorted);
}

/// A part of a series' message; the last ones are as no encoder writes them.
fn any_part() -> impl Strategy<Value = Message> {
    const NOW: i64 = 1_795_948_098_123;
    let part = |message: Message, number: u64| Message::default().message(number, &message);
    let exemplar = label("trace_id", "a");
    prop_oneof![
        4 => (0..3_u8).prop_map(move |job| part(label("job", &job.to_string()), 1)),
        4 => (-1..2_i32, 0..3_i64).prop_map(move |(value, later)| part(sample(f64::from(value), NOW + later), 2)),
        2 => Just(part(Message::default().int(2, NOW), 2)),
        1 => Just(part(Message::default().message(1, &exemplar).double(2, 1.0).int(3, NOW), 3)),
        1 => Just(part(Message::default().int(2, NOW).double(1, 2.0), 2)),
        1 => Just(Message::default().int(9, 7)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_guess_that_holds_is_what_walking_finds(parts in prop::collection::vec(any_part(), 0..5)) {
        let name = Message::default().message(1, &label("__name__", "hits"));
        let message = parts.iter().fold(name, |message, part| Message([message.0, part.0.clone()].concat()));
        let body = request(&[message]).compressed();
        let read = || Request::read(&body, Protocol::V1, Vec::new()).unwrap();
        let (guessed, mut walked) = (read(), read());
        walked.walk_all().unwrap();
        let [of_guess, of_walk] = [&guessed, &walked].map(|request| &request.series[0]);
        prop_assert!(walked.holds(of_walk));
        if guessed.holds(of_guess) {
            prop_assert_eq!((of_guess.key, &of_guess.samples), (of_walk.key, &of_walk.samples));
            let told = |request: &Request| format!("{:?} {:?}", request.samples, request.exemplars);
            prop_assert_eq!(told(&guessed), told(&walked));
        }
    }
}

#[tokio::test]
async fn labels_that_do_not_end_where_they_seem_to_are_found() {
    let store = MemoryStore::new();
    let receiver = over(Arc::new(store.clone()));
    let at = 1_795_948_098_123;
    let plain = series(&[("__name__", "plain")], &[(1.0, at)]);
    let odd = series(&[("__name__", "odd")], &[])
        .int(9, 1)
        .message(2, &sample(2.0, at));
    let body = request(&[plain, odd]);
    for _ in 0..2 {
        let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
        assert_eq!(outcome.written, written(2, 0, 0));
        assert_eq!(outcome.rejections, Rejections::default());
    }
    let one = |name: &str, value: f64| format!("{name} {at} {:x}", value.to_bits());
    let mut found = contents(&store);
    found.sort();
    assert_eq!(found, [one("odd", 2.0), one("plain", 1.0)]);
}
