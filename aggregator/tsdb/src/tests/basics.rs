//! The way in and out, once each.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use files::FileSystem;
use model::{Exemplar, Matcher, Metadata, MetricType, TimeRange, TimestampMs, Value};
use rows::{
    BatchContents, BatchDecoder, BatchNumber, CohortId, MetricMetadata, NumberSet, SampleContents,
    SeriesExemplar, SeriesSample, encode_samples,
};
use storage::{
    AppendOutcome, Appender, Lane, Queryable, RefusalReason, Refusals, Select, Unlimited,
};

use crate::Tsdb;
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

#[test]
fn sealed_rows_are_found_and_let_the_log_go() {
    let mut world = World::new();
    world.config.seal.head_bytes = 16_000;
    world.config.log.segment_bytes = 4_096;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series: Vec<_> = (0..10)
        .map(|id| labels(&[("id", &id.to_string())]))
        .collect();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    // Three hours at 15 s: two spans of time.
    for step in 0..720 {
        let values: Vec<_> = (0..10)
            .map(|id| Some(f64::from(step * id % 977) / 7.0))
            .collect();
        let at = START_MS - 3 * 60 * 60 * 1_000 + i64::from(step) * 15_000;
        let row = agent.row(0, at, &values);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
    }
    wait_until("it is sealed and the log let go", || {
        let stats = store.stats();
        stats.seals >= 2 && stats.partitions >= 2 && stats.log_segments < 20
    });
    wait_until("all is applied", || dump(&store).len() == 7_200);
    let before = contents(&store);
    assert_eq!(before[&series[9]].len(), 720);
    assert_eq!(dump(&store).len(), 7_200);
    drop(store);
    let (store, report) = world.open();
    assert!(report.samples < 7_000, "{report:?}");
    assert_eq!(contents(&store), before);
    assert_eq!(dump(&store).len(), 7_200);
    // By time, too, and then by retention.
    world.clock.advance(Duration::from_hours(2));
    wait_until("the rest is sealed", || store.stats().head_series == 0);
    assert_eq!(contents(&store), before);
    let some = TimeRange::new(TimestampMs(START_MS - 60_000), TimestampMs(START_MS));
    assert_eq!(contents_within(&store, some)[&series[1]].len(), 4);
    world.clock.advance(Duration::from_hours(16 * 24));
    wait_until("retention ends it", || store.stats().partitions == 0);
    assert!(contents(&store).is_empty());
    // Unlinked once nobody holds them any more, just after they left the view.
    wait_until("their files are gone", || {
        let left = world.disk.list(Path::new("/data/partitions"));
        left.unwrap().is_empty()
    });
}

#[test]
fn an_old_copy_of_the_folder_is_caught_up() {
    let world = World::new();
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series = [labels(&[("__name__", "a")])];
    let batches: Vec<_> = (0..60)
        .map(|second| {
            let row = agent.row(0, START_MS + second * 1_000, &[Some(second as f64)]);
            agent.batch(&[row], &[])
        })
        .collect();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    for batch in &batches[..20] {
        append(&store, &agent.source, batch);
    }
    store.close();
    let copy = World::new();
    for folder in ["/data", "/data/log", "/data/partitions"] {
        let folder = Path::new(folder);
        copy.disk.create_folders(folder).unwrap();
        for entry in world
            .disk
            .list(folder)
            .unwrap()
            .iter()
            .filter(|entry| !entry.folder)
        {
            let path = folder.join(&entry.name);
            let bytes = world.disk.contents(&path).unwrap();
            let file = copy.disk.open(&path, files::Open::create_new()).unwrap();
            file.write_at(0, &bytes).unwrap();
        }
    }
    drop(store);
    let (store, _) = world.open();
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    for batch in &batches[20..] {
        append(&store, &agent.source, batch);
    }
    store.close();
    let all = contents(&store);
    assert_eq!(all[&series[0]].len(), 60);

    let (restored, report) = copy.open();
    assert_eq!(report.damages, []);
    assert_eq!(restored.store_id(), store.store_id());
    let known = restored.known(agent.id(), agent.source.epoch);
    assert_eq!(known.last(), Some(BatchNumber(19)));
    restored
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    for (number, batch) in batches.iter().enumerate() {
        let expected = if number < 20 {
            AppendOutcome::Duplicate
        } else {
            stored()
        };
        assert_eq!(append(&restored, &agent.source, batch), expected);
    }
    restored.close();
    assert_eq!(contents(&restored), all);
    assert_eq!(dump(&restored).len(), 60);
}

#[test]
fn exemplars_metadata_and_start_times_survive_seals_and_starts() {
    let mut world = World::new();
    for seal in [u64::MAX, 1] {
        world.disk = files::Simulated::new();
        world.config.seal.head_bytes = seal;
        let (store, _) = world.open();
        let mut agent = Agent::new("node-1", 1);
        let series = [labels(&[("__name__", "a_total")])];
        store
            .define(&agent.source, definition(0, "fast", &series))
            .unwrap();
        let metadata = MetricMetadata {
            metric: Arc::from("a_total"),
            metadata: Metadata {
                kind: MetricType::Counter,
                help: "what it counts".to_owned(),
                unit: String::new(),
            },
        };
        for second in 0..5i64 {
            let mut row = Arc::unwrap_or_clone(agent.row(
                0,
                START_MS + second * 1_000,
                &[Some(second as f64)],
            ));
            if second == 1 {
                row.start_times = vec![(0, TimestampMs(START_MS - 5))];
            }
            row.exemplars = vec![(
                0,
                Exemplar {
                    labels: labels(&[("trace", &second.to_string())]),
                    value: 1.5,
                    at: TimestampMs(START_MS + second * 1_000 - 3),
                },
            )];
            let batch = agent.batch_with(&BatchContents {
                rows: &[Arc::new(row)],
                samples: &[],
                metadata: std::slice::from_ref(&metadata),
            });
            assert_eq!(append(&store, &agent.source, &batch), stored());
        }
        store.close();
        for store in [store, world.open().0] {
            let querier = store.querier().unwrap();
            let exemplars = querier.exemplars(&[], TimeRange::ALL, &Unlimited).unwrap();
            let times: Vec<_> = exemplars[0]
                .exemplars
                .iter()
                .map(|one| one.at.0 - START_MS)
                .collect();
            assert_eq!(
                (exemplars.len(), times),
                (1, vec![-3, 997, 1_997, 2_997, 3_997])
            );
            let found = querier.metadata(None, 0).unwrap();
            assert_eq!(
                (found.len(), &found[0].metadata[0]),
                (1, &metadata.metadata)
            );
            let known = START_MS - 5;
            let expected = [0, known, known, known, known].map(TimestampMs);
            assert_eq!(starts_of(&store, "a_total"), expected, "{seal}");
        }
    }
}

#[test]
fn an_exemplar_of_a_series_that_came_before_the_head_is_kept() {
    let world = World::new();
    let (store, _) = world.open();
    let source = Agent::new("node-1", 1).source;
    let series = [labels(&[("__name__", "a_total")])];
    store
        .define(&source, definition(0, "one by one", &series))
        .unwrap();
    let sample = SeriesSample {
        cohort: CohortId(0),
        slot: 0,
        at: TimestampMs(START_MS),
        value: Value::Float(1.0),
        start: TimestampMs(0),
    };
    let exemplar = SeriesExemplar {
        cohort: CohortId(0),
        slot: 0,
        exemplar: Exemplar {
            labels: labels(&[("trace", "1")]),
            value: 1.5,
            at: TimestampMs(START_MS + 1),
        },
    };
    let later = SeriesSample {
        at: TimestampMs(START_MS + 15_000),
        ..sample.clone()
    };
    let send = |number, samples: &[SeriesSample], exemplars: &[SeriesExemplar]| {
        let contents = SampleContents {
            samples,
            exemplars,
            metadata: &[],
        };
        let bytes = encode_samples(&contents).unwrap();
        let batch = BatchDecoder::new()
            .decode(BatchNumber(number), bytes)
            .unwrap();
        assert_eq!(append(&store, &source, &Arc::new(batch)), stored());
    };
    let found = || {
        let querier = store.querier().unwrap();
        let all = querier.exemplars(&[], TimeRange::ALL, &Unlimited).unwrap();
        all.iter().map(|one| one.exemplars.len()).sum::<usize>()
    };
    send(0, &[sample], &[]);
    store.freeze().unwrap();
    send(1, &[], &[exemplar]);
    send(2, &[later], &[]);
    wait_until("the later sample is found", || dump(&store).len() == 2);
    assert_eq!(found(), 1);
    store.freeze().unwrap();
    assert!(store.keep());
    assert_eq!(found(), 1, "sealed");
}

#[test]
fn start_times_outlive_the_heads_and_the_log_that_were_told() {
    let mut world = World::new();
    world.config.shards = NonZeroU16::new(1);
    world.config.seal.head_bytes = 16_000;
    world.config.log.segment_bytes = 4_096;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series = [labels(&[("__name__", "a_total")])];
    let rest: Vec<_> = (0..10)
        .map(|id| labels(&[("id", &id.to_string())]))
        .collect();
    for (cohort, series) in [(0, &series[..]), (1, &rest)] {
        let definition = definition(cohort, &format!("cohort-{cohort}"), series);
        store.define(&agent.source, definition).unwrap();
    }
    let hour = 60 * 60 * 1_000;
    let begin = START_MS - 3 * hour;
    let known = TimestampMs(begin - 5);
    let slow = |agent: &mut Agent, store: &Tsdb, at: i64, starts: &[TimestampMs]| {
        let mut row = Arc::unwrap_or_clone(agent.row(0, at, &[Some(1.0)]));
        row.start_times = starts.iter().map(|start| (0, *start)).collect();
        let batch = agent.batch(&[Arc::new(row)], &[]);
        assert_eq!(append(store, &agent.source, &batch), stored());
    };
    slow(&mut agent, &store, begin, &[known]);
    // Heads end in which the slow cohort has no row, and the log that knows of it goes. The open head is far from its end then: the
    // slow cohort's next row stays in the log.
    let settled = |store: &Tsdb| {
        let stats = store.stats();
        stats.seals >= 2 && stats.log_segments < 20 && stats.head_bytes < 8_000
    };
    let mut steps = 0..10_000;
    while !settled(&store) {
        let step = steps.next().expect("heads are sealed meanwhile");
        let values: Vec<_> = (0..10)
            .map(|id| Some(f64::from(step * id % 977) / 7.0))
            .collect();
        let row = agent.row(1, begin + i64::from(step) * 1_000, &values);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
    }
    slow(&mut agent, &store, begin + hour, &[]);
    store.close();
    assert_eq!(starts_of(&store, "a_total"), [known; 2]);
    drop(store);
    agent.reconnect();
    let (store, _) = world.open();
    assert_eq!(starts_of(&store, "a_total"), [known; 2]);
    slow(&mut agent, &store, begin + 2 * hour, &[]);
    store.close();
    assert_eq!(starts_of(&store, "a_total"), [known; 3]);
}

fn starts_of(store: &Tsdb, metric: &str) -> Vec<TimestampMs> {
    let select = Select {
        matchers: &[Matcher::equal("__name__", metric)],
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let querier = store.querier().unwrap();
    let data = querier.select(&select, &Unlimited).unwrap();
    let of_segment = |segment: &storage::Segment| {
        let rows = segment.times.as_slice().len();
        match &segment.start_times {
            Some(starts) => starts.to_vec(),
            None => vec![TimestampMs(0); rows],
        }
    };
    data[0].segments.iter().flat_map(of_segment).collect()
}

#[test]
fn a_head_is_as_old_as_its_first_row() {
    let mut world = World::new();
    world.config.shards = NonZeroU16::new(1);
    let age = world.config.seal.age;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let series = [labels(&[("__name__", "a")])];
    store
        .define(&agent.source, definition(0, "fast", &series))
        .unwrap();
    let minute = Duration::from_mins(1);
    world.clock.advance(age - minute);
    // The last one is seen after the shard has looked at its head with those before.
    for second in 0..3 {
        let row = agent.row(0, START_MS + second * 1_000, &[Some(1.0)]);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
        wait_until("the row is seen", || {
            dump(&store).len() as i64 == second + 1
        });
        world.clock.advance(minute);
    }
    assert!(store.keep());
    assert_eq!(store.stats().seals, 0, "the head is three minutes old");
    world.clock.advance(age);
    wait_until("it is sealed", || store.stats().seals == 1);
    assert_eq!(dump(&store).len(), 3);
}

#[test]
fn a_series_of_several_cohorts_comes_once_and_the_first_in_the_log_stands() {
    let mut world = World::new();
    for seal in [u64::MAX, 1] {
        world.disk = files::Simulated::new();
        world.config.seal.head_bytes = seal;
        let (store, _) = world.open();
        let series = [labels(&[("__name__", "a")])];
        let mut agents: Vec<_> = (0..4)
            .map(|id| Agent::new(&format!("node-{id}"), 1))
            .collect();
        for agent in &agents {
            store
                .define(&agent.source, definition(0, "fast", &series))
                .unwrap();
        }
        // Each agent has a value for the same time, and one for a time of its own.
        for (id, agent) in agents.iter_mut().enumerate() {
            let id = id as i64;
            for at in [START_MS, START_MS + 1 + id] {
                let row = agent.row(0, at, &[Some(id as f64)]);
                let batch = agent.batch(&[row], &[]);
                assert_eq!(append(&store, &agent.source, &batch), stored());
            }
        }
        store.close();
        for store in [store, world.open().0] {
            let value = |value: f64| format!("{:016x}", value.to_bits());
            let expected: Vec<_> = [(0, 0.0), (1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
                .map(|(at, found)| (START_MS + at, value(found)))
                .into();
            assert_eq!(contents(&store)[&series[0]], expected, "seal at {seal}");
            assert_eq!(dump(&store).len(), 8);
        }
    }
}

#[test]
fn a_folder_whose_catalogue_is_lost_or_damaged_is_left_alone() {
    let world = World::new();
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    store
        .define(
            &agent.source,
            definition(0, "fast", &[labels(&[("a", "b")])]),
        )
        .unwrap();
    let row = agent.row(0, START_MS, &[Some(1.0)]);
    let batch = agent.batch(&[row], &[]);
    append(&store, &agent.source, &batch);
    drop(store);
    let path = Path::new("/data/catalogue.redb");
    let original = world.disk.contents(path).unwrap();
    let bits = original.len() as u64 * 8;
    let mut refused = 0;
    for trial in 0..80u64 {
        let bit = trial * 7_919 * 101 % bits;
        world.disk.flip_bit(path, bit).unwrap();
        match world.try_open() {
            Ok((store, _)) => assert_eq!(dump(&store).len(), 1, "bit {bit}"),
            Err(crate::OpenError::Catalogue { .. }) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
        }
        // Opening may have repaired the file, so it is put back as a whole.
        let file = world.disk.open(path, files::Open::write()).unwrap();
        file.set_len(original.len() as u64).unwrap();
        file.write_at(0, &original).unwrap();
    }
    assert!(refused < 80);
    world.disk.remove(path).unwrap();
    let error = world.try_open().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn the_keeper_answers_until_the_store_is_closed() {
    let world = World::new();
    let (store, _) = world.open();
    assert!(store.keep());
    store.close();
    assert!(!store.keep());
}

#[test]
fn a_cohort_that_has_ended_is_closed_and_may_go_on() {
    let mut world = World::new();
    world.config.shards = NonZeroU16::new(1);
    world.config.seal.age = Duration::from_hours(1_000);
    let (store, _) = world.open();
    let [mut ends, mut lives] = ["node-1", "node-2"].map(|agent| Agent::new(agent, 1));
    let series: Vec<_> = (0..500)
        .map(|id| labels(&[("id", &id.to_string())]))
        .collect();
    let other = labels(&[("__name__", "other")]);
    for (agent, series) in [(&ends, &series[..]), (&lives, std::slice::from_ref(&other))] {
        let definition = definition(0, "c", series);
        store.define(&agent.source, definition).unwrap();
    }
    let row = |agent: &mut Agent, slots: usize, minute: i64, value: i64| {
        let values = vec![Some(value as f64); slots];
        let row = agent.row(0, START_MS + minute * 60_000, &values);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(append(&store, &agent.source, &batch), stored());
    };
    (0..5).for_each(|minute| row(&mut ends, series.len(), minute, minute));
    let samples = || {
        contents(&store)
            .get(&series[7])
            .cloned()
            .unwrap_or_default()
    };
    wait_until("all rows are applied", || samples().len() == 5);
    let (open, before) = (store.stats().head_bytes, samples());

    // Eight open rows take 32 KB; the shard looks when something comes.
    let mut minute = 0;
    while store.stats().head_bytes + 20_000 > open {
        assert!(minute < 1_000, "its rows stay open");
        world.clock.advance(Duration::from_mins(10));
        row(&mut lives, 1, minute, 0);
        minute += 1;
    }
    assert_eq!((samples(), store.stats().seals), (before, 0));

    // It goes on; what comes late has its place, and of two rows of one time the first stands.
    for (minute, value) in [(5, 5), (7, 7), (6, 6), (3, 9), (8, 8)] {
        row(&mut ends, series.len(), minute, value);
    }
    wait_until("all rows are applied", || samples().len() == 9);
    let expected: Vec<_> = (0..9)
        .map(|minute: i64| {
            let bits = format!("{:016x}", (minute as f64).to_bits());
            (START_MS + minute * 60_000, bits)
        })
        .collect();
    assert_eq!(samples(), expected);
}

/// What comes one by one takes long to replay, however small it is: so many samples are sealed, unless their series have only a few each.
#[test]
fn many_samples_that_come_one_by_one_are_sealed_before_replay_takes_long() {
    let mut world = World::new();
    world.config.shards = NonZeroU16::new(1);
    world.config.seal.loose_samples = 1_000;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let mut at = START_MS;
    let mut send = |series: u16, rounds: usize| {
        for _ in 0..rounds {
            at += 1_000;
            let sample = |slot| SeriesSample {
                cohort: CohortId(0),
                slot,
                at: TimestampMs(at),
                value: Value::Float(1.0),
                start: TimestampMs(0),
            };
            let samples: Vec<_> = (0..series).map(sample).collect();
            let batch = agent.batch(&[], &samples);
            let stored = append(&store, &agent.source, &batch);
            assert_eq!(stored, AppendOutcome::Stored(Refusals::default()));
        }
    };
    let of = |id: u16| labels(&[("__name__", "m"), ("id", &id.to_string())]);
    let series: Vec<_> = (0..20).map(of).collect();
    let source = Agent::new("node-1", 1).source;
    let defined = definition(0, "one by one", &series);
    store.define(&source, defined).unwrap();
    // Twenty series with a hundred samples each are more than a thousand, and too few for each.
    send(20, 100);
    wait_until("they are applied", || store.stats().head_series == 20);
    assert_eq!(store.stats().seals, 0);
    send(20, 28);
    wait_until("they are sealed", || store.stats().seals == 1);
    send(5, 195);
    assert_eq!(store.stats().seals, 1);
    send(5, 10);
    wait_until("they are sealed again", || store.stats().seals == 2);
}
