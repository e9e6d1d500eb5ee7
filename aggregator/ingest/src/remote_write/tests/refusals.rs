//! What is stored of a request and what is not, and what becomes of slots that were refused.

use super::*;

fn simulated() -> (Arc<Recorder>, Arc<SimulatedClock>, RemoteWrite) {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(
        Arc::<Recorder>::clone(&store),
        Arc::<SimulatedClock>::clone(&clock),
    );
    (store, clock, receiver)
}

fn one(name: &str) -> Message {
    request(&[series(&[("__name__", name)], &[(1.0, 1)])])
}

#[tokio::test]
async fn what_was_written_is_told_apart_by_kind() {
    let (store, _, receiver) = simulated();
    let latency = series(&[("__name__", "latency")], &[]).message(4, &histogram(5, 1));
    let floats: Vec<(f64, i64)> = (0..10).map(|at| (1.0, at)).collect();
    *store.answer.lock().unwrap() = refusals(&[RefusedSample {
        is_histogram: true,
        ..refused(0, 1, RefusalReason::TooOld)
    }]);
    let body = request(&[series(&[("__name__", "good")], &floats), latency]);
    let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(outcome.written, written(10, 0, 0));
    let first = Some((RefusalReason::TooOld, "latency".to_owned()));
    assert_eq!(outcome.first_refused, first);
}

#[tokio::test]
async fn exemplars_that_are_left_out_are_counted() {
    let receiver = over(Arc::new(MemoryStore::new()));
    let exemplar = |text: &str| {
        Message::default()
            .message(1, &label("trace_id", text))
            .double(2, 0.5)
            .int(3, 990)
    };
    let named = series(&[("__name__", "hits")], &[(1.0, 1)])
        .message(3, &exemplar("abc"))
        .message(3, &exemplar(&"x".repeat(2_000)));
    let nameless = series(&[("job", "a")], &[(1.0, 1)]).message(3, &exemplar("abc"));
    let body = request(&[named, nameless]);
    let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(outcome.written, written(1, 0, 1));
    assert_eq!(outcome.rejections.exemplars, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_the_intake_was_full_is_told() {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(RuntimeClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(Arc::<Recorder>::clone(&store), clock);
    *store.room.lock().unwrap() = Some(1);
    let samples: Vec<(f64, i64)> = (0..40_000).map(|at| (0.5, at)).collect();
    let body = request(&[series(&[("__name__", "m")], &samples)]);
    let readied = read(&receiver, body.compressed(), Protocol::V1).await;
    let outcome = receiver.write(readied.unwrap()).await;
    assert_eq!(outcome.failed, Some(WriteError::Busy));
    assert_eq!(outcome.written, written(16_384, 0, 0));
}

#[tokio::test]
async fn a_refused_series_is_tried_again_whatever_others_do_meanwhile() {
    let (store, clock, receiver) = simulated();
    *store.answer.lock().unwrap() = refusals(&[refused(0, 0, RefusalReason::SeriesPerAgent)]);
    write(&receiver, &one("x"), Protocol::V1).await.unwrap();
    *store.answer.lock().unwrap() = None;
    write(&receiver, &one("y"), Protocol::V1).await.unwrap();
    store.take();
    clock.advance(Duration::from_mins(1));
    // A request without it, then one with it, then it is decided on.
    write(&receiver, &one("y"), Protocol::V1).await.unwrap();
    assert_eq!(store.take(), ["0/1"]);
    for told in [&["define 0 0 1", "0/0"][..], &["0/0"]] {
        write(&receiver, &one("x"), Protocol::V1).await.unwrap();
        assert_eq!(store.take(), told);
    }
}

#[tokio::test]
async fn every_slot_that_a_limit_refused_is_tried_again_and_no_other() {
    let (store, clock, receiver) = simulated();
    let all = |kind: i64| {
        let symbols = ["", "__name__", "a", "b", "c", "d"];
        let of = |name| {
            refs(&[1, name])
                .message(2, &sample(1.0, 1))
                .message(5, &Message::default().int(1, kind))
        };
        request_2(&symbols, &[of(2), of(3), of(4), of(5)])
    };
    // What came first is too old, which nothing can mend.
    *store.answer.lock().unwrap() = refusals(&[
        refused(0, 0, RefusalReason::TooOld),
        refused(0, 1, RefusalReason::SeriesPerMetric),
        refused(0, 3, RefusalReason::Memory),
    ]);
    let outcome = write(&receiver, &all(0), Protocol::V2).await.unwrap();
    assert_eq!(outcome.written, written(1, 0, 0));
    *store.answer.lock().unwrap() = None;
    store.take();
    clock.advance(Duration::from_mins(1));
    // Of another type now: a slot that was taken would be defined unlike before.
    write(&receiver, &all(1), Protocol::V2).await.unwrap();
    let told = store.take();
    assert_eq!(told[..2], ["define 0 1 1", "define 0 3 1"]);
    write(&receiver, &all(1), Protocol::V2).await.unwrap();
    assert_eq!(store.take(), ["0/0 0/1 0/2 0/3"]);
}

#[tokio::test]
async fn series_that_are_forgotten_are_not_tried_again() {
    let (store, clock, receiver) = simulated();
    *store.answer.lock().unwrap() = refusals(&[refused(0, 0, RefusalReason::SeriesPerAgent)]);
    write(&receiver, &one("x"), Protocol::V1).await.unwrap();
    *store.answer.lock().unwrap() = None;
    for _ in 0..4 {
        clock.advance(Duration::from_mins(30));
        write(&receiver, &one("y"), Protocol::V1).await.unwrap();
    }
    assert_eq!(receiver.0.book().refused_slots(), 0);
}

#[tokio::test]
async fn series_without_samples_take_no_slot() {
    let (store, _, receiver) = simulated();
    let bad = series(&[("__name__", "h")], &[]).message(4, &histogram(3, 1).int(1, 9));
    let body = request(&[series(&[("__name__", "empty")], &[]), bad]);
    let outcome = write(&receiver, &body, Protocol::V1).await.unwrap();
    assert_eq!(outcome.rejections.samples, 1);
    assert_eq!(store.take(), Vec::<String>::new());
    assert_eq!(receiver.0.book().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_not_waited_for() {
    let store = Arc::new(Recorder::default());
    let clock = Arc::new(RuntimeClock::starting_at(SystemTime::UNIX_EPOCH));
    let receiver = receiver(Arc::<Recorder>::clone(&store), clock);
    *store.busy.lock().unwrap() = u32::MAX;
    *store.failing.lock().unwrap() = Some("the store is closing".to_owned());
    let began = receiver.0.clock.monotonic();
    let error = write(&receiver, &one("m"), Protocol::V1).await.unwrap_err();
    let why = "the store is closing".to_owned();
    assert_eq!(error, WriteError::NotDurable(why));
    assert_eq!(receiver.0.clock.monotonic(), began);
}

#[tokio::test]
async fn whoever_stops_waits_for_requests_under_way_and_takes_no_more() {
    let (store, _, receiver) = simulated();
    *store.held.lock().unwrap() = Some(Vec::new());
    let readied = read(&receiver, one("m").compressed(), Protocol::V1).await;
    let mut writing = std::pin::pin!(receiver.write(readied.unwrap()));
    let mut stopping = std::pin::pin!(receiver.stop());
    tokio::select! {
        biased;
        _ = writing.as_mut() => panic!("it is not stored"),
        () = stopping.as_mut() => panic!("a request is under way"),
        () = std::future::ready(()) => {}
    }
    let late = write(&receiver, &one("m"), Protocol::V1).await.unwrap_err();
    assert!(late.to_string().contains("stopping"), "{late}");
    store.release();
    assert_eq!(writing.await.written, written(1, 0, 0));
    stopping.await;
}

#[tokio::test]
async fn metadata_is_known_once_it_is_stored() {
    let store = MemoryStore::new();
    let receiver = over(Arc::new(store.clone()));
    let described = Message::default()
        .int(1, 1)
        .bytes(2, b"hits")
        .bytes(4, b"Hits.");
    let body = one("hits").message(3, &described);
    let known = || store.querier().unwrap().metadata(None, 0).unwrap().len();
    // The client went away.
    drop(read(&receiver, body.compressed(), Protocol::V1).await);
    assert_eq!(known(), 0);
    let again = || read(&receiver, body.compressed(), Protocol::V1);
    let readied = again().await.unwrap();
    assert_eq!(readied.described.len(), 1);
    receiver.write(readied).await;
    assert_eq!(known(), 1);
    assert!(again().await.unwrap().described.is_empty());
}
