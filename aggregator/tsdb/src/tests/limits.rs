//! Limits on series: each refuses singly, its neighbours flow, and replay knows none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Labels;
use storage::{AppendOutcome, Appender, ProcessMemory, Queryable as _, RefusalReason, Refusals};

use crate::testing::*;
use crate::{Limits, Stats};

fn refused(reason: RefusalReason, samples: u64) -> AppendOutcome {
    let mut refusals = Refusals::default();
    refusals.add(reason, samples);
    AppendOutcome::Stored(refusals)
}

fn stored() -> AppendOutcome {
    AppendOutcome::Stored(Refusals::default())
}

/// Four series; the limits of the tests stand against the last one alone.
fn series() -> Vec<Labels> {
    [
        ("m", "0", "a"),
        ("n", "1", "b"),
        ("o", "2", "c"),
        ("m", "3", "a"),
    ]
    .into_iter()
    .map(|(metric, id, tenant)| labels(&[("__name__", metric), ("id", id), ("tenant", tenant)]))
    .collect()
}

/// Opens with these limits, sees the last series refused, then opens with every limit at nothing.
fn check(
    reason: RefusalReason,
    change: impl FnOnce(&mut Limits),
    used: impl FnOnce(&Stats) -> u64,
) {
    let mut world = World::new();
    change(&mut world.config.limits);
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series = series();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    for second in 0..3 {
        let row = agent.row(0, START_MS + second * 1_000, &[Some(second as f64); 4]);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), refused(reason, 1));
    }
    wait_until("the rows are applied", || {
        contents(&store).values().map(Vec::len).sum::<usize>() == 9
    });
    let before = contents(&store);
    assert!(!before.contains_key(&series[3]), "{reason}");
    let stats = store.stats();
    assert_eq!(
        stats.limits_used.series_refused.iter().collect::<Vec<_>>(),
        [(reason, 1)]
    );
    let limit = used(&stats);
    assert!(limit > 0, "{reason}: the limit is shown as used");
    drop(store);

    let limits = &mut world.config.limits;
    limits.series_per_agent = 0;
    limits.series_per_metric = Some(0);
    limits.series_per_tenant = Some(0);
    limits.new_series_per_minute = Some(0);
    limits.head_bytes_max = 0;
    world.config.memory = Some(ProcessMemory::new(1, || u64::MAX));
    let (store, report) = world.open();
    assert_eq!((report.batches, report.damages), (3, vec![]), "{reason}");
    assert_eq!(contents(&store), before, "{reason}: replay refuses nothing");
    // And whoever comes back with known series goes on.
    let mut agent = Agent::new("node-1", 2);
    store
        .define(&agent.source, definition(0, "fast", &series[..3]))
        .unwrap();
    let row = agent.row(0, START_MS + 9_000, &[Some(9.0); 3]);
    let batch = agent.batch(&[row], &[]);
    assert_eq!(append(&store, &agent.source, &batch), stored(), "{reason}");
}

#[test]
fn each_limit_refuses_singly_and_replay_knows_none() {
    check(
        RefusalReason::SeriesPerAgent,
        |limits| limits.series_per_agent = 3,
        |stats| stats.limits_used.series_per_agent,
    );
    check(
        RefusalReason::SeriesPerMetric,
        |limits| limits.series_per_metric = Some(1),
        |stats| stats.limits_used.series_per_metric,
    );
    check(
        RefusalReason::SeriesPerTenant,
        |limits| limits.series_per_tenant = Some(1),
        |stats| stats.limits_used.series_per_tenant,
    );
    check(
        RefusalReason::NewSeriesRate,
        |limits| limits.new_series_per_minute = Some(3),
        |stats| stats.limits_used.new_series_per_minute,
    );
}

#[test]
fn a_process_near_its_memory_seals_early_then_takes_no_new_series() {
    let mut world = World::new();
    world.config.shards = std::num::NonZeroU16::new(1);
    let used = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&used);
    let mib = 1 << 20;
    world.config.memory = Some(ProcessMemory::new(100 * mib, move || {
        seen.load(Ordering::Relaxed)
    }));
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series = series();
    let source = agent.source.clone();
    let define = |cohort: u32, series: &[Labels]| {
        let name = format!("cohort-{cohort}");
        store
            .define(&source, definition(cohort, &name, series))
            .unwrap();
    };
    define(0, &series[..1]);
    let row = agent.row(0, START_MS, &[Some(1.0)]);
    let batch = agent.batch(&[row], &[]);
    assert_eq!(append(&store, &agent.source, &batch), stored());

    used.store(95 * mib, Ordering::Relaxed);
    assert_eq!(store.stats().memory, Some((95 * mib, 100 * mib)));
    define(2, &series[2..3]);
    let (known, new) = (
        agent.row(0, START_MS + 2_000, &[Some(2.0)]),
        agent.row(2, START_MS + 2_000, &[Some(2.0)]),
    );
    let batch = agent.batch(&[known, new], &[]);
    assert_eq!(
        append(&store, &agent.source, &batch),
        refused(RefusalReason::Memory, 1),
        "the known series flows, the new one waits"
    );
    used.store(80 * mib, Ordering::Relaxed);
    define(2, &series[2..3]);
    let row = agent.row(2, START_MS + 3_000, &[Some(3.0)]);
    let batch = agent.batch(&[row], &[]);
    assert_eq!(append(&store, &agent.source, &batch), stored());

    // Early sealing needs a head that is worth a file: some MiB of values that do not compress.
    let wide: Vec<Labels> = (0..500)
        .map(|id| labels(&[("__name__", "wide"), ("id", &id.to_string())]))
        .collect();
    define(3, &wide);
    let mut random = fastrand::Rng::with_seed(7);
    let sealed = || store.stats().seals > 0;
    for step in 0..2_000 {
        let values: Vec<Option<f64>> = (0..500)
            .map(|_| Some(f64::from_bits(random.u64(..))))
            .collect();
        let row = agent.row(3, START_MS + step * 100, &values);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
        if sealed() {
            break;
        }
    }
    wait_until("the head is sealed early", sealed);
}

/// An agent with a cohort of six series that it defines once, and sends a row of when asked.
struct Steady {
    world: World,
    store: crate::Tsdb,
    agent: Agent,
    at: i64,
}

impl Steady {
    fn new(change: impl FnOnce(&mut World)) -> Self {
        let mut world = World::new();
        change(&mut world);
        let (store, _) = world.open();
        let agent = Agent::new("node-1", 1);
        let series: Vec<Labels> = (0..6)
            .map(|id| labels(&[("__name__", "m"), ("id", &id.to_string())]))
            .collect();
        let cohort = definition(0, "fast", &series);
        store.define(&agent.source, cohort).unwrap();
        Self {
            world,
            store,
            agent,
            at: START_MS,
        }
    }

    /// Lets time pass and sends a row; returns how many samples of it are refused.
    fn row_after(&mut self, pause: Duration) -> u64 {
        self.world.clock.advance(pause);
        self.at += i64::try_from(pause.as_millis()).unwrap();
        let row = self.agent.row(0, self.at, &[Some(1.0); 6]);
        let batch = self.agent.batch(&[row], &[]);
        match append(&self.store, &self.agent.source, &batch) {
            AppendOutcome::Stored(refusals) => refusals.total(),
            other => panic!("{other:?}"),
        }
    }

    /// Opens the store again, as after a crash and from its log alone, and finds in it what was there.
    fn check_replay(self) {
        self.store.catch_up();
        let before = contents(&self.store);
        drop(self.store);
        let (store, report) = self.world.open();
        assert_eq!(report.damages, []);
        assert_eq!(contents(&store), before);
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn series_over_the_limit_of_a_minute_are_taken_in_the_minutes_after_it() {
    let limit = |world: &mut World| world.config.limits.new_series_per_minute = Some(2);
    let mut steady = Steady::new(limit);
    assert_eq!(steady.row_after(Duration::ZERO), 4);
    assert_eq!(steady.row_after(MINUTE / 2), 4);
    assert_eq!(steady.row_after(MINUTE / 2), 2);
    assert_eq!(steady.row_after(MINUTE / 2), 2);
    assert_eq!(steady.row_after(MINUTE / 2), 0);
    let refused = steady.store.stats().limits_used.series_refused;
    assert_eq!(
        refused.iter().collect::<Vec<_>>(),
        [(RefusalReason::NewSeriesRate, 4)],
        "a series is counted as refused once"
    );
    steady.store.catch_up();
    let samples: Vec<usize> = contents(&steady.store).values().map(Vec::len).collect();
    assert_eq!(
        samples,
        [5, 5, 3, 3, 1, 1],
        "from the row on that came then"
    );
    steady.check_replay();
}

#[test]
fn series_that_memory_refused_are_taken_when_there_is_some_again() {
    let used = Arc::new(AtomicU64::new(99));
    let seen = Arc::clone(&used);
    let mut steady = Steady::new(|world| {
        let looks = move || seen.load(Ordering::Relaxed);
        world.config.memory = Some(ProcessMemory::new(100, looks));
    });
    assert_eq!(steady.row_after(Duration::ZERO), 6);
    assert_eq!(steady.row_after(MINUTE), 6);
    used.store(10, Ordering::Relaxed);
    assert_eq!(steady.row_after(MINUTE / 2), 6, "once a minute is enough");
    assert_eq!(steady.row_after(MINUTE / 2), 0);
    steady.check_replay();
}

#[test]
fn series_take_the_room_of_others_that_have_ended() {
    let limit = |world: &mut World| world.config.limits.series_per_agent = 2;
    let mut steady = Steady::new(limit);
    assert_eq!(steady.row_after(Duration::ZERO), 4);
    let others: Vec<Labels> = (0..2)
        .map(|id| labels(&[("__name__", "n"), ("id", &id.to_string())]))
        .collect();
    let cohort = definition(1, "slow", &others);
    steady.store.define(&steady.agent.source, cohort).unwrap();
    let mut row_of_others = |pause: Duration| {
        steady.world.clock.advance(pause);
        steady.at += i64::try_from(pause.as_millis()).unwrap();
        let row = steady.agent.row(1, steady.at, &[Some(1.0); 2]);
        let batch = steady.agent.batch(&[row], &[]);
        append(&steady.store, &steady.agent.source, &batch)
    };
    let ended = (0..40).position(|_| row_of_others(MINUTE * 4) == stored());
    let minutes = ended.map(|rows| (rows + 1) * 4);
    assert!(
        minutes.is_some_and(|minutes| (120..140).contains(&minutes)),
        "taken after {minutes:?} minutes: a cohort without rows counts for two hours"
    );
    steady.check_replay();
}
