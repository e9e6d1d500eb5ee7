//! The way in and out, once each.

use std::time::Duration;

use model::{Matcher, TimeRange, TimestampMs};
use rows::{BatchNumber, NumberSet};
use storage::{AppendOutcome, Appender, Lane, Queryable, RefusalReason, Refusals, Unlimited};

use crate::testing::*;

fn stored() -> AppendOutcome {
    AppendOutcome::Stored(Refusals::default())
}

fn refused(reason: RefusalReason, samples: u64) -> AppendOutcome {
    let mut refusals = Refusals::default();
    refusals.add(reason, samples);
    AppendOutcome::Stored(refusals)
}

#[test]
fn what_is_acknowledged_is_found_before_and_after_a_power_cut() {
    let world = World::new();
    let (store, report) = world.open();
    assert!(report.created);
    let mut agent = Agent::new("node-1", 1);
    let series = [labels(&[("__name__", "a")]), labels(&[("__name__", "b")])];
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    for second in 0..200 {
        let at = START_MS + second * 1_000;
        let row = agent.row(
            0,
            at,
            &[Some(second as f64), (second % 3 == 0).then_some(-0.0)],
        );
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
        assert_eq!(
            append(&store, &agent.source, &batch),
            AppendOutcome::Duplicate
        );
    }
    wait_until("all rows are applied", || {
        contents(&store)[&series[0]].len() == 200
    });
    let before = contents(&store);
    assert_eq!(before[&series[1]].len(), 67);
    let mut known = NumberSet::new();
    known.settle_below(BatchNumber(200));
    assert_eq!(store.known(agent.id(), agent.source.epoch), known);
    let id = store.store_id();

    world.disk.crash(7);
    drop(store);
    let (store, report) = world.open();
    assert_eq!(
        (report.created, report.batches, report.samples),
        (false, 200, 267)
    );
    assert_eq!(report.damages, []);
    assert_eq!(contents(&store), before);
    assert_eq!(dump(&store).len(), 267);
    assert_eq!(store.known(agent.id(), agent.source.epoch), known);
    assert_eq!(store.store_id(), id);
}

#[test]
fn one_process_has_the_folder() {
    let world = World::new();
    let (store, _) = world.open();
    let error = world.try_open().map(|_| ()).unwrap_err();
    assert!(matches!(error, crate::OpenError::Lock(_)), "{error}");
    store.close();
    drop(world.try_open().unwrap());
}

#[test]
fn each_refusal_is_counted_and_costs_its_neighbours_nothing() {
    let mut world = World::new();
    world.config.limits.series_per_agent = 2;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series: Vec<_> = (0..3)
        .map(|id| labels(&[("id", &id.to_string())]))
        .collect();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    let values = [Some(1.0), Some(2.0), Some(3.0), Some(4.0)];
    let mut expected = Refusals::default();
    expected.add(RefusalReason::SeriesPerAgent, 1);
    expected.add(RefusalReason::Undefined, 1);
    let row = agent.row(0, START_MS, &values);
    let batch = agent.batch(&[row], &[]);
    assert_eq!(
        append(&store, &agent.source, &batch),
        AppendOutcome::Stored(expected)
    );

    let day = 24 * 60 * 60 * 1_000;
    for (at, reason) in [
        (START_MS - 16 * day, RefusalReason::TooOld),
        (START_MS + 11 * 60 * 1_000, RefusalReason::TooNew),
    ] {
        let row = agent.row(0, at, &values);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), refused(reason, 4));
    }
    let row = agent.row(9, START_MS, &values);
    let batch = agent.batch(&[row], &[]);
    assert_eq!(
        append(&store, &agent.source, &batch),
        refused(RefusalReason::Undefined, 4)
    );

    wait_until("the row is applied", || contents(&store).len() == 2);
    let before = contents(&store);
    store.close();
    // Replay repeats the decisions, whatever the clock and the limits say now.
    world.clock.advance(Duration::from_hours(1));
    world.config.limits.series_per_agent = 10;
    let (store, _) = world.open();
    assert_eq!(contents(&store), before);
}

#[test]
fn lanes_epochs_and_late_rows_continue_one_series() {
    let world = World::new();
    let (store, _) = world.open();
    let series = [labels(&[("__name__", "a")])];
    let mut live = Agent::new("node-1", 2);
    let mut old = Agent::new("node-1", 1).lane(Lane::CatchUp);
    for agent in [&live, &old] {
        store
            .define(&agent.source, definition(3, "fast", &series))
            .unwrap();
    }
    for step in 0..50 {
        for (agent, at) in [
            (&mut live, START_MS + step),
            (&mut old, START_MS - 1_000 + step),
        ] {
            let row = agent.row(3, at, &[Some(at as f64)]);
            let batch = agent.batch(&[row], &[]);
            assert_eq!(append(&store, &agent.source, &batch), stored());
        }
    }
    wait_until("all is applied", || {
        contents(&store)[&series[0]].len() == 100
    });
    let before = contents(&store);
    drop(store);
    let (store, report) = world.open();
    assert_eq!(report.damages, []);
    assert_eq!(contents(&store), before);
}

#[test]
fn names_and_values_come_from_the_index() {
    let world = World::new();
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series: Vec<_> = (0..5)
        .map(|id| labels(&[("__name__", "m"), ("id", &id.to_string())]))
        .collect();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    let row = agent.row(0, START_MS, &[Some(0.0); 5]);
    let batch = agent.batch(&[row], &[]);
    append(&store, &agent.source, &batch);
    wait_until("the row is applied", || contents(&store).len() == 5);
    let querier = store.querier().unwrap();
    let names = querier
        .label_names(&[], TimeRange::ALL, 0, &Unlimited)
        .unwrap();
    assert_eq!(names.names, ["__name__", "id"]);
    let values = querier
        .label_values("id", &[], TimeRange::ALL, 2, &Unlimited)
        .unwrap();
    assert_eq!((values.names.len(), values.truncated), (2, true));
    let one = vec![Matcher::equal("id", "3")];
    let (found, _) = querier
        .series(&[one], TimeRange::ALL, 0, &Unlimited)
        .unwrap();
    assert_eq!(found, [series[3].clone()]);
    let before = TimeRange::new(TimestampMs(0), TimestampMs(1));
    assert!(
        querier
            .series(&[], before, 0, &Unlimited)
            .unwrap()
            .0
            .is_empty()
    );
}
