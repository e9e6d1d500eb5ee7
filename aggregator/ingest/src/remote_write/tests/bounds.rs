//! What requests cost in memory, singly and together.

use runtime::{Task, Tasks};

use super::*;

const KIB_16: usize = 16 << 10;

fn text_bytes(readied: &Readied) -> usize {
    let all = readied.parts.iter().flat_map(|part| &part.metadata);
    all.map(|one| one.metadata.help.len() + one.metric.len())
        .sum()
}

/// A request of 2.0 whose series are all described, by the texts of these symbols in turn.
fn described(symbols: &[&str], metric_of: impl Fn(u64) -> u64, helps: &[i64]) -> Message {
    let series: Vec<Message> = (0..16_384_u64)
        .zip(helps.iter().cycle())
        .map(|(number, help)| {
            refs(&[1, metric_of(number)])
                .message(2, &Message::default().int(2, 1))
                .message(5, &Message::default().int(1, 1).int(3, *help))
        })
        .collect();
    request_2(symbols, &series)
}

#[tokio::test]
async fn what_each_series_says_of_its_metric_is_copied_once() {
    let receiver = over(Arc::new(MemoryStore::new()));
    let helps = ["a".repeat(KIB_16), "b".repeat(KIB_16)];
    let symbols = ["", "__name__", "m", &*helps[0], &*helps[1]];
    let body = described(&symbols, |_| 2, &[3, 4]);
    let readied = read(&receiver, body.compressed(), Protocol::V2)
        .await
        .unwrap();
    assert_eq!(readied.described.len(), 2);
    assert!(text_bytes(&readied) < body.0.len());
    // All that is held, lists of series and samples included.
    let held = receiver.0.room.bytes_in_use();
    assert!(held < 16 * body.0.len(), "{held} of {}", body.0.len());
}

#[tokio::test]
async fn a_text_that_many_families_share_is_not_copied_for_all() {
    let receiver = over(Arc::new(MemoryStore::new()));
    let help = "a".repeat(KIB_16);
    let names: Vec<String> = (0..16_384).map(|number| format!("m{number}")).collect();
    let mut symbols = vec!["", "__name__", &*help];
    symbols.extend(names.iter().map(String::as_str));
    let body = described(&symbols, |number| number + 3, &[2]);
    let readied = read(&receiver, body.compressed(), Protocol::V2)
        .await
        .unwrap();
    let bytes = text_bytes(&readied);
    assert!((KIB_16..=16 * body.0.len()).contains(&bytes), "{bytes}");
    let outcome = receiver.write(readied).await;
    assert_eq!(outcome.written, written(16_384, 0, 0), "metadata waits");
    assert_eq!(outcome.rejections, Rejections::default());
}

#[tokio::test]
async fn histograms_of_nothing_are_refused_by_what_they_become() {
    let receiver = over(Arc::new(MemoryStore::new()));
    let named = series(&[("__name__", "h")], &[]).0;
    let many = Message::default().bytes(4, &[]).0.repeat(500_000);
    let body = request(&[Message([named, many].concat())]);
    let error = write(&receiver, &body, Protocol::V1).await.unwrap_err();
    assert!(
        error.to_string().contains("bytes of decoded histograms"),
        "{error}"
    );
}

#[tokio::test]
async fn labels_by_number_are_bounded_as_texts() {
    let store = Arc::new(Recorder::default());
    let receiver = over(Arc::<Recorder>::clone(&store));
    let long = "x".repeat(2_000);
    let names: Vec<String> = (0..20_000).map(|number| format!("m{number}")).collect();
    let mut symbols = vec!["", "__name__", "a", "b", "c", &*long];
    symbols.extend(names.iter().map(String::as_str));
    let series: Vec<Message> = (0..20_000)
        .map(|number| refs(&[1, 6 + number, 2, 5, 3, 5, 4, 5]).message(2, &sample(1.0, 1)))
        .collect();
    let body = request_2(&symbols, &series);
    *store.busy.lock().unwrap() = u32::MAX;
    let readied = read(&receiver, body.compressed(), Protocol::V2)
        .await
        .unwrap();
    let first = readied.request.rejections.first.clone().unwrap();
    drop(readied);
    assert!(first.contains("bytes of labels of new series"), "{first}");
    assert!(receiver.0.book().pending_bytes() <= 16 * body.0.len());
    // The next one brings what this one might not.
    let known = receiver.0.book().len();
    assert!(0 < known && known < 20_000);
    read(&receiver, body.compressed(), Protocol::V2)
        .await
        .unwrap();
    assert!(receiver.0.book().len() > known);
}

#[tokio::test]
async fn definitions_that_the_store_does_not_take_are_bounded() {
    /// Is full.
    #[derive(Debug)]
    struct Full;

    impl Appender for Full {
        fn store_id(&self) -> StoreId {
            StoreId(1)
        }

        fn known(&self, _: &AgentId, _: Epoch) -> NumberSet {
            NumberSet::new()
        }

        fn settle(&self, _: &AgentId, _: Epoch, _: BatchNumber) -> Result<(), Busy> {
            Err(Busy)
        }

        fn define(&self, _: &Source, _: CohortDefinition) -> Result<(), Busy> {
            Err(Busy)
        }

        fn append(&self, _: &Source, _: Arc<Batch>, _: Done) -> Result<(), Busy> {
            Err(Busy)
        }
    }

    let receiver = over(Arc::new(Full));
    let long = "x".repeat(2_000);
    let pending = || receiver.0.book().pending_bytes();
    for part in 0..32 {
        let series: Vec<Message> = (0..800)
            .map(|number| {
                let id = format!("{part}/{number}");
                series(&[("__name__", "m"), ("a", &long), ("id", &id)], &[(1.0, 1)])
            })
            .collect();
        if let Err(error) = read(&receiver, request(&series).compressed(), Protocol::V1).await {
            assert_eq!(error, WriteError::Busy);
            assert!((16 << 20..20 << 20).contains(&pending()));
            return;
        }
    }
    panic!("{} bytes of definitions wait", pending());
}

#[test]
fn references_beyond_what_a_series_may_have_are_not_gathered() {
    let many = refs(&vec![1; 1_000_000]).message(2, &sample(1.0, 1));
    let body = request_2(&["", "__name__"], &[many]);
    let request = Request::read(&body.compressed(), Protocol::V2, Vec::new()).unwrap();
    assert!(request.bytes() < 3 * body.0.len());
    assert!(request.key_bytes() < 8_192, "{}", request.key_bytes());
    let why = request.labels(&request.series[0]).unwrap_err();
    assert!(why.contains("500000 labels or more"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_the_store_are_bounded_together() {
    const SAMPLES: usize = 100_000;
    let store = Arc::new(Recorder::default());
    *store.held.lock().unwrap() = Some(Vec::new());
    let clock = Arc::new(RuntimeClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(Arc::<Recorder>::clone(&store), clock);
    let named = series(&[("__name__", "m")], &[]).0;
    let many = Message::default().bytes(2, &[]).0.repeat(SAMPLES);
    let body = request(&[Message([named, many].concat())]).compressed();
    let tasks = Tasks::new("test");
    let requests: Vec<Task<Result<WriteOutcome, WriteError>>> = (0..64)
        .map(|_| {
            let (receiver, body) = (receiver.clone(), body.clone());
            tasks.spawn("request", async move {
                let admitted = receiver.admit(body).await?;
                Ok(receiver.write(receiver.read(admitted, Protocol::V1)?).await)
            })
        })
        .collect();
    // By then, whoever found no room was told.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(receiver.0.room.bytes_in_use() as u64 <= MEMORY_BYTES_MAX);
    store.release();
    let (mut stored, mut busy) = (0_u64, 0);
    for request in requests {
        match request.await.unwrap() {
            Ok(outcome) => {
                assert_eq!(outcome.written, written(SAMPLES as u64, 0, 0));
                stored += 1;
            }
            Err(error) => {
                assert_eq!(error, WriteError::Busy);
                busy += 1;
            }
        }
    }
    let bytes = stored * (SAMPLES * size_of::<SeriesSample>()) as u64;
    assert!(stored >= 2 && bytes <= MEMORY_BYTES_MAX, "{stored}");
    assert_eq!(stored + busy, 64);
    assert_eq!(receiver.0.room.bytes_in_use(), 0);
}
