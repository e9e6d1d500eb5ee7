//! Writers, seals and queries at the same time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use model::{Matcher, TimeRange, TimestampMs, Value};
use rows::{CohortId, SeriesSample};
use storage::{AppendOutcome, Queryable, Refusals, Select, Unlimited, WantedLabels};

use crate::testing::*;

const WRITERS: i64 = 3;
const ROWS: i64 = 300;

#[test]
fn queries_see_whole_rows_that_never_go_away_while_heads_are_sealed() {
    let mut world = World::new();
    world.config.seal.head_bytes = 6_000;
    world.config.log.segment_bytes = 16 * 1024;
    let (store, _) = world.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || write(store, writer))
            })
            .collect();
        let reader = scope.spawn(|| read(&store, &done));
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert!(store.stats().seals > 0);
    store.close();
    assert_eq!(dump(&store).len() as i64, WRITERS * ROWS * 4);
    drop(store);
    assert_eq!(dump(&world.open().0).len() as i64, WRITERS * ROWS * 4);
}

fn write(store: &crate::Tsdb, writer: i64) {
    let mut agent = Agent::new(&format!("node-{writer}"), 1);
    let series: Vec<_> = (0..4)
        .map(|id| labels(&[("node", &writer.to_string()), ("id", &id.to_string())]))
        .collect();
    storage::Appender::define(store, &agent.source, definition(0, "fast", &series)).unwrap();
    let mut pending = Vec::new();
    for second in 0..ROWS {
        let values = [Some(second as f64), Some(1.0), Some(2.0), Some(3.0)];
        let row = agent.row(0, START_MS + second * 1_000, &values);
        let batch = agent.batch(&[row], &[]);
        pending.push(send(store, &agent.source, &batch));
        if pending.len() > 8 {
            let outcome = pending.remove(0).recv().unwrap();
            assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        }
    }
    for told in pending {
        assert_eq!(
            told.recv().unwrap(),
            AppendOutcome::Stored(Refusals::default())
        );
    }
}

fn read(store: &crate::Tsdb, done: &AtomicBool) {
    let mut last = [0; WRITERS as usize];
    loop {
        let ended = done.load(Ordering::Acquire);
        let querier = store.querier().unwrap();
        let of_writer = |writer: usize| {
            let select = Select {
                matchers: &[Matcher::equal("node", writer.to_string())],
                range: TimeRange::ALL,
                hints: Default::default(),
            };
            let series = querier.select(&select, &Unlimited).unwrap();
            let counts: Vec<usize> = series
                .iter()
                .map(|series| series.samples(TimeRange::ALL).count())
                .collect();
            // Rows are whole, and without gaps from the first on.
            assert!(
                counts.windows(2).all(|pair| pair[0] == pair[1]),
                "{counts:?}"
            );
            counts.first().copied().unwrap_or(0)
        };
        for (writer, last) in last.iter_mut().enumerate() {
            let count = of_writer(writer);
            assert!(count >= *last, "{count} rows, {last} before");
            assert_eq!(of_writer(writer), count, "a view does not change");
            *last = count;
        }
        if ended {
            return;
        }
    }
}

#[test]
fn queries_and_new_series_that_come_one_by_one_do_not_wait_for_each_other() {
    const SERIES: u16 = 50;
    let world = World::new();
    let store = Arc::new(world.open().0);
    let done = Arc::new(AtomicBool::new(false));
    // Not scoped: should they hang, the batch that is not answered is what fails.
    let readers = [(); 2].map(|()| {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Acquire) {
                count_series(&store);
            }
        })
    });
    let mut agent = Agent::new("node", 1);
    for cohort in 0..300 {
        let name = format!("loose/{cohort}");
        let series: Vec<_> = (0..SERIES)
            .map(|id| labels(&[("cohort", &name), ("id", &id.to_string())]))
            .collect();
        let defined = definition(cohort, &name, &series);
        storage::Appender::define(&*store, &agent.source, defined).unwrap();
        let sample = |slot| SeriesSample {
            cohort: CohortId(cohort),
            slot,
            at: TimestampMs(START_MS),
            value: Value::Float(1.0),
            start: TimestampMs(0),
        };
        let samples: Vec<_> = (0..SERIES).map(sample).collect();
        let batch = agent.batch(&[], &samples);
        let outcome = append(&*store, &agent.source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(count_series(&store), 300 * usize::from(SERIES));
}

fn count_series(store: &crate::Tsdb) -> usize {
    let select = Select {
        matchers: &[],
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let mut count = 0;
    let querier = store.querier().unwrap();
    let all = WantedLabels::All;
    querier
        .select_each(&select, all, &Unlimited, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    count
}
