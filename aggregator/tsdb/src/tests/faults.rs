//! Disks that fill up, fail, rot and lose power.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{Fault, FileSystem, Open, Operation};
use model::{Labels, Matcher, TimeRange, TimestampMs, Value};
use rows::{Batch, CohortId, SeriesSample};
use storage::{AppendOutcome, Appender, Queryable as _, Refusals, Unlimited};

use super::model::histogram;
use crate::cache::Cache;
use crate::layout::CohortKey;
use crate::partition::Partition;
use crate::testing::*;
use crate::{DeleteError, Tsdb};

fn stored() -> AppendOutcome {
    AppendOutcome::Stored(Refusals::default())
}

/// So many are a little more than the replay hands to the shards at once.
const BATCHES_REPLAYED: i64 = 5_400;

/// The cohort of a feed that has rows.
const ROWS: &str = "fast";

/// An agent that sends one row of three series a second, and perhaps a number and a histogram with times of their own.
pub(super) struct Feed {
    agent: Agent,
    series: Vec<Labels>,
    /// In another cohort; of two shards, on the other one.
    one_by_one: (String, Vec<Labels>),
    batches: Vec<Arc<Batch>>,
}

impl Feed {
    /// Returns one of rows alone.
    pub(super) fn new(batches: i64) -> Self {
        Self::of(batches, 0)
    }

    /// Returns one that has something for each of two shards in every batch.
    pub(super) fn for_two_shards(batches: i64) -> Self {
        Self::of(batches, 2)
    }

    fn of(batches: i64, one_by_one: u16) -> Self {
        let mut agent = Agent::new("node-1", 1);
        let named = |name: &str, count| -> Vec<Labels> {
            let series = (0..count).map(|id: u16| labels(&[(name, &id.to_string())]));
            series.collect()
        };
        let batches = (0..batches)
            .map(|second| {
                let at = START_MS + second * 1_000;
                let row = agent.row(0, at, &Self::row(second).map(Some));
                let samples = (0..one_by_one).zip(Self::values_one_by_one(second));
                let samples: Vec<SeriesSample> = samples
                    .map(|(slot, value)| SeriesSample {
                        cohort: CohortId(1),
                        slot,
                        at: TimestampMs(at),
                        value,
                        start: TimestampMs(0),
                    })
                    .collect();
                agent.batch(&[row], &samples)
            })
            .collect();
        let shard = |name: &str| {
            let (agent, name) = (agent.id().clone(), Arc::from(name));
            CohortKey { agent, name }.shard(2)
        };
        let mut names = (0..).map(|number| format!("one by one {number}"));
        let name = names.find(|name| shard(name) != shard(ROWS)).unwrap();
        Self {
            series: named("id", 3),
            one_by_one: (name, named("one", one_by_one)),
            agent,
            batches,
        }
    }

    fn row(second: i64) -> [f64; 3] {
        let second = second as f64;
        [second, second * 0.37, 1.0 / (second + 1.0)]
    }

    fn values_one_by_one(second: i64) -> [Value; 2] {
        let count = second.unsigned_abs() + 3;
        [
            Value::Float(second as f64 * 0.11),
            Value::Histogram(histogram(count)),
        ]
    }

    fn define(&self, store: &Tsdb) {
        let (name, one_by_one) = &self.one_by_one;
        for (cohort, name, series) in [(0, ROWS, &self.series), (1, name, one_by_one)] {
            if !series.is_empty() {
                let definition = definition(cohort, name, series);
                store.define(&self.agent.source, definition).unwrap();
            }
        }
    }

    /// Returns the number of shards that get something.
    fn shards(&self) -> u64 {
        1 + u64::from(!self.one_by_one.1.is_empty())
    }

    fn append(&self, store: &Tsdb, batch: usize) -> AppendOutcome {
        append(store, &self.agent.source, &self.batches[batch])
    }

    /// What the store must have of these batches.
    fn samples(&self, batches: &BTreeSet<usize>) -> Vec<(Labels, i64, String)> {
        let of_batch = |batch: &usize| {
            let second = *batch as i64;
            let row = Self::row(second).map(Value::Float).into_iter();
            let rows = self.series.iter().zip(row);
            let others = self.one_by_one.1.iter();
            let others = others.zip(Self::values_one_by_one(second));
            let sample = |(labels, value): (&Labels, Value)| {
                (labels.clone(), START_MS + second * 1_000, text_of(&value))
            };
            rows.chain(others).map(sample).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = batches.iter().flat_map(of_batch).collect();
        all.sort();
        all
    }
}

#[test]
fn a_full_disk_stops_acknowledgements_only_and_intake_resumes_by_itself() {
    let world = World::new();
    let (store, _) = world.open();
    let feed = Feed::new(200);
    feed.define(&store);
    let mut acknowledged = BTreeSet::new();
    for batch in 0..10 {
        assert_eq!(feed.append(&store, batch), stored());
        acknowledged.insert(batch);
    }
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    let mut failed = 0;
    for batch in 10..100 {
        match feed.append(&store, batch) {
            AppendOutcome::Failed(why) => {
                assert!(why.contains("free space"), "{why}");
                failed += 1;
            }
            outcome => {
                assert_eq!(outcome, stored());
                acknowledged.insert(batch);
            }
        }
        if failed == 5 {
            break;
        }
    }
    assert_eq!(failed, 5, "the disk is full");
    assert!(store.stats().log_failing.is_some());
    wait_until("what was acknowledged is found", || {
        dump(&store) == feed.samples(&acknowledged)
    });

    world.disk.set_capacity(None);
    for batch in 10..200 {
        let outcome = feed.append(&store, batch);
        if acknowledged.insert(batch) {
            assert_eq!(outcome, stored());
        } else {
            assert_eq!(outcome, AppendOutcome::Duplicate);
        }
    }
    assert_eq!(store.stats().log_failing, None);
    world.disk.crash(3);
    drop(store);
    let (store, report) = world.open();
    assert_eq!(report.damages, []);
    assert_eq!(dump(&store), feed.samples(&acknowledged));
}

#[test]
fn a_failed_write_or_sync_costs_a_segment_and_nothing_else() {
    for (operation, fault) in [
        (Operation::SyncData, Fault::Error(ErrorKind::Other)),
        (Operation::Write, Fault::Short),
        (Operation::Write, Fault::Error(ErrorKind::StorageFull)),
        (Operation::SyncFolder, Fault::Error(ErrorKind::Other)),
        (Operation::Open, Fault::Error(ErrorKind::PermissionDenied)),
    ] {
        for which in 0..6 {
            let world = World::new();
            let (store, _) = world.open();
            let feed = Feed::new(12);
            feed.define(&store);
            let mut acknowledged = BTreeSet::new();
            let mut send = |store: &Tsdb, batch: usize| {
                // At most one group fails twice in a row: the second attempt may meet the next fault.
                while feed.append(store, batch) != stored() {}
                acknowledged.insert(batch);
            };
            (0..3).for_each(|batch| send(&store, batch));
            world.disk.fail(operation, which..which + 2, fault);
            (3..12).for_each(|batch| send(&store, batch));
            world.disk.crash(which);
            drop(store);
            let (store, report) = world.open();
            assert_eq!(report.damages, [], "{operation:?} {which}");
            assert_eq!(
                dump(&store),
                feed.samples(&acknowledged),
                "{operation:?} {which}"
            );
        }
    }
}

#[test]
fn nothing_is_frozen_behind_a_group_that_failed() {
    let world = World::new();
    let (store, _) = world.open();
    let feed = Feed::new(3);
    feed.define(&store);
    assert_eq!(feed.append(&store, 0), stored());
    // Both attempts fail, after the bytes are written: replay finds the second.
    world
        .disk
        .fail(Operation::SyncData, 0..2, Fault::Error(ErrorKind::Other));
    assert!(matches!(feed.append(&store, 1), AppendOutcome::Failed(_)));
    world.disk.heal();
    let none = [vec![Matcher::equal("id", "none")]];
    let deleted = store.delete(&none, TimeRange::ALL);
    assert!(
        matches!(deleted, Err(DeleteError::Failed(_))),
        "{deleted:?}"
    );
    drop(store);
    let (store, _) = world.open();
    feed.define(&store);
    // Whether it is stored now or was found: an answer that lets the agent forget it is true.
    let outcome = feed.append(&store, 1);
    assert!(
        [stored(), AppendOutcome::Duplicate].contains(&outcome),
        "{outcome:?}"
    );
    assert_eq!(feed.append(&store, 2), stored());
    store.delete(&none, TimeRange::ALL).unwrap();
    store.close();
    assert_eq!(dump(&store), feed.samples(&(0..3).collect()));
}

#[test]
fn a_seal_amid_a_replay_leaves_nothing_to_be_replayed_again() {
    let mut world = World::new();
    world.config.shards = std::num::NonZeroU16::new(1);
    world.config.ahead_max = std::time::Duration::from_hours(24);
    let (store, _) = world.open();
    let feed = Feed::new(BATCHES_REPLAYED);
    feed.define(&store);
    for batch in 0..feed.batches.len() {
        assert_eq!(feed.append(&store, batch), stored());
    }
    drop(store);
    // What one group of replayed records becomes is sealed, the few that come behind it are not.
    world.config.seal.head_bytes = 14_000;
    let (store, _) = world.open();
    wait_until("a head is sealed", || store.stats().seals > 0);
    let stats = store.stats();
    assert_eq!((stats.seals, stats.head_series), (1, 3));
    drop(store);
    let (store, _) = world.open();
    let all = (0..feed.batches.len()).collect();
    assert!(dump(&store) == feed.samples(&all));
}

#[test]
fn what_is_only_written_survives_the_process_and_a_power_cut_leaves_no_wrong_value() {
    for seed in 0..20 {
        let mut world = World::new();
        world.config.log.durability = crate::Durability::Written;
        world.config.log.segment_bytes = 2_048;
        let (store, _) = world.open();
        let feed = Feed::new(40);
        let everything = feed.samples(&(0..40).collect());
        feed.define(&store);
        for batch in 0..40 {
            assert_eq!(feed.append(&store, batch), stored());
        }
        drop(store);
        let (store, report) = world.open();
        assert_eq!(report.damages, []);
        assert_eq!(dump(&store), everything);
        world.disk.crash(seed);
        drop(store);
        let (store, _) = world.open();
        let left = dump(&store);
        assert!(left.iter().all(|sample| everything.contains(sample)));
    }
}

/// Runs the feed on a disk whose power goes at some change; returns what was acknowledged before.
fn feed_until_power_goes(world: &World, feed: &Feed) -> BTreeSet<usize> {
    let mut acknowledged = BTreeSet::new();
    let Ok((store, _)) = world.try_open() else {
        return acknowledged;
    };
    feed.define(&store);
    for batch in 0..feed.batches.len() {
        match feed.append(&store, batch) {
            AppendOutcome::Stored(_) => {
                acknowledged.insert(batch);
                if world.config.seal.head_bytes == 1 {
                    let sealed = acknowledged.len() as u64 * feed.shards();
                    wait_until("it is sealed or the power is gone", || {
                        store.stats().seals == sealed || world.disk.power_is_cut()
                    });
                }
            }
            _ => break,
        }
    }
    acknowledged
}

/// Runs a feed on a disk whose power goes at every `step`th of its changes in turn, with as many crashes of each as there are seeds:
/// what was written and not synced survives, is torn or is lost as the seed says. Returns how many crashes there were.
pub(super) fn every_crash_point(
    configure: &dyn Fn(&mut World),
    feed: &Feed,
    step: usize,
    seeds: Range<u64>,
) -> usize {
    let mut world = World::new();
    configure(&mut world);
    feed_until_power_goes(&world, feed);
    let changes = world.disk.changes();
    let mut points = 0;
    for (cut, seed) in cuts(changes, step, seeds) {
        let mut world = World::new();
        configure(&mut world);
        world.disk.cut_power_in(cut);
        let acknowledged = feed_until_power_goes(&world, feed);
        world.disk.crash(seed);
        let (store, report) = world.open();
        assert_eq!(report.damages, [], "cut at {cut}, seed {seed}");
        let known = store.known(feed.agent.id(), feed.agent.source.epoch);
        let found: BTreeSet<usize> = (0..feed.batches.len())
            .filter(|batch| known.contains(feed.batches[*batch].number))
            .collect();
        assert!(
            acknowledged.is_subset(&found),
            "cut at {cut}, seed {seed}: {acknowledged:?} {found:?}"
        );
        assert_eq!(
            dump(&store),
            feed.samples(&found),
            "cut at {cut}, seed {seed}"
        );
        feed.define(&store);
        for batch in 0..feed.batches.len() {
            let expected = if found.contains(&batch) {
                AppendOutcome::Duplicate
            } else {
                stored()
            };
            assert_eq!(
                feed.append(&store, batch),
                expected,
                "cut at {cut}, seed {seed}"
            );
        }
        store.close();
        let all = (0..feed.batches.len()).collect();
        assert_eq!(
            dump(&store),
            feed.samples(&all),
            "cut at {cut}, seed {seed}"
        );
        points += 1;
    }
    points
}

/// Returns each cut with each seed made of it.
pub(super) fn cuts(
    changes: u64,
    step: usize,
    seeds: Range<u64>,
) -> impl Iterator<Item = (u64, u64)> {
    let seeded = move |cut| {
        seeds
            .clone()
            .map(move |seed| (cut, cut * 31 + 5 + seed * 7_919))
    };
    (0..changes).step_by(step).flat_map(seeded)
}

/// Small segments, so that the log has many beginnings and ends.
pub(super) fn small_segments(world: &mut World) {
    world.config.log.segment_bytes = 2_048;
}

/// A seal after every batch.
pub(super) fn seal_often(world: &mut World) {
    small_segments(world);
    world.config.seal.head_bytes = 1;
}

#[test]
fn no_crash_point_loses_or_doubles_a_batch() {
    every_crash_point(&small_segments, &Feed::new(40), 1, 0..1);
}

#[test]
fn no_crash_point_of_a_seal_loses_or_doubles_a_batch() {
    every_crash_point(&seal_often, &Feed::new(6), 7, 0..1);
}

#[test]
fn no_crash_point_between_the_seals_of_two_shards_loses_or_doubles_a_batch() {
    every_crash_point(&seal_often, &Feed::for_two_shards(5), 7, 0..1);
}

#[test]
fn a_seal_that_fails_is_tried_again_and_loses_and_doubles_nothing() {
    for (operation, fault) in [
        (Operation::SyncData, Fault::Error(ErrorKind::Other)),
        (Operation::Write, Fault::Short),
        (Operation::SetLen, Fault::Error(ErrorKind::StorageFull)),
        (Operation::Rename, Fault::Error(ErrorKind::Other)),
        (Operation::SyncFolder, Fault::Error(ErrorKind::Other)),
        (Operation::Open, Fault::Error(ErrorKind::PermissionDenied)),
    ] {
        for which in [0, 1, 3, 7, 20] {
            let mut world = World::new();
            world.config.seal.age = std::time::Duration::from_secs(60);
            let (store, _) = world.open();
            let feed = Feed::new(21);
            feed.define(&store);
            for batch in 0..20 {
                assert_eq!(feed.append(&store, batch), stored());
            }
            wait_until("all rows are applied", || dump(&store).len() == 60);
            world.disk.fail(operation, which..which + 2, fault);
            world.clock.advance(std::time::Duration::from_secs(60));
            // A row, so that the shard looks at the age of its head. The log may meet the fault first, and go on in another segment.
            while feed.append(&store, 20) != stored() {}
            wait_until("it is sealed", || store.stats().seals > 0);
            world.disk.heal();
            let all = feed.samples(&(0..21).collect());
            wait_until("the last row is applied", || {
                dump(&store).len() == all.len()
            });
            assert_eq!(dump(&store), all, "{operation:?} {which}");
            world.disk.crash(which);
            drop(store);
            let (store, report) = world.open();
            assert_eq!(report.damages, [], "{operation:?} {which}");
            // The last row may have come behind the seal.
            assert!(report.samples <= 3, "{operation:?} {which} {report:?}");
            assert_eq!(dump(&store), all, "{operation:?} {which}");
            let partitions = world.disk.list(Path::new("/data/partitions")).unwrap();
            assert_eq!(partitions.len() as u64, store.stats().partitions);
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_costs_little_is_reported_and_never_gives_a_wrong_value() {
    flip_bits_of_the_log(60);
}

/// Flips one bit of the log so many times, each in a store of its own.
pub(super) fn flip_bits_of_the_log(trials: u64) {
    let feed = Feed::new(150);
    let everything = feed.samples(&(0..150).collect());
    let mut seen = 0;
    for trial in 0..trials {
        let mut world = World::new();
        world.config.log.segment_bytes = 4_096;
        let (store, _) = world.open();
        feed.define(&store);
        for batch in 0..150 {
            assert_eq!(feed.append(&store, batch), stored());
        }
        drop(store);
        let folder = Path::new("/data/log");
        let segments = world.disk.list(folder).unwrap();
        let segment = &segments[trial as usize % segments.len()];
        let bit = (trial * 7_919 * 13) % (segment.len * 8);
        world
            .disk
            .flip_bit(&folder.join(&segment.name), bit)
            .unwrap();
        let (store, report) = world.open();
        let left: BTreeSet<_> = dump(&store).into_iter().collect();
        assert!(
            left.iter().all(|sample| everything.contains(sample)),
            "trial {trial}"
        );
        let lost = everything.len() - left.len();
        // A batch, and those that lean on it until the log has the bases once more.
        assert!(lost <= 3 * 66, "trial {trial} lost {lost}");
        if lost > 0 {
            seen += 1;
            assert!(report.damage_count > 0, "trial {trial}");
            assert_eq!(report.damages[0].file, folder.join(&segment.name));
        }
        // The numbers of what is lost are not known, so an agent that still has it sends it again.
        feed.define(&store);
        for batch in 0..150 {
            feed.append(&store, batch);
        }
        store.close();
        assert!(dump(&store) == everything, "trial {trial}");
        drop(store);
        assert!(
            dump(&world.open().0) == everything,
            "trial {trial}, opened once more"
        );
    }
    assert!(seen > 5, "{seen} of the trials cost anything");
}

#[test]
fn a_log_of_a_later_version_is_left_as_it_is() {
    let world = World::new();
    let (store, _) = world.open();
    let feed = Feed::new(1);
    feed.define(&store);
    assert_eq!(feed.append(&store, 0), stored());
    drop(store);
    let path = Path::new("/data/log/0000000000000001.log");
    let mut log = world.disk.contents(path).unwrap();
    for copy in [0, 512] {
        log[copy + 8] = 9;
        let sum = crc32c::crc32c(&log[copy..copy + 92]);
        log[copy + 92..copy + 96].copy_from_slice(&sum.to_le_bytes());
    }
    let file = world.disk.open(path, Open::write()).unwrap();
    file.write_at(0, &log).unwrap();
    let refused = world.try_open().map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("newer version"), "{refused}");
    assert_eq!(world.disk.contents(path).unwrap(), log);
}

#[test]
fn batches_whose_definitions_are_lost_are_not_known_and_can_be_sent_again() {
    let feed = Feed::new(10);
    let everything = feed.samples(&(0..10).collect());
    let world = World::new();
    let (store, _) = world.open();
    feed.define(&store);
    for batch in 0..10 {
        assert_eq!(feed.append(&store, batch), stored());
    }
    drop(store);
    let file = Path::new("/data/log/0000000000000001.log");
    let log = world.disk.contents(file).unwrap();
    // The name of the cohort stands in its definition, the segment's first record, and nowhere else.
    let at = log.windows(4).position(|bytes| bytes == b"fast").unwrap();
    world.disk.flip_bit(file, at as u64 * 8).unwrap();
    let (store, report) = world.open();
    assert_eq!(dump(&store), []);
    assert_eq!(report.damage_count, 11, "{:?}", report.damages);
    feed.define(&store);
    for batch in 0..10 {
        assert_eq!(feed.append(&store, batch), stored());
    }
    store.close();
    assert_eq!(dump(&store), everything);
    drop(store);
    assert_eq!(dump(&world.open().0), everything);
}

/// A partition of one file, sealed: the store is closed.
fn sealed_feed(feed: &Feed) -> (World, PathBuf) {
    let mut world = World::new();
    world.config.shards = std::num::NonZeroU16::new(1);
    world.config.seal.age = std::time::Duration::from_secs(10);
    let (store, _) = world.open();
    feed.define(&store);
    for batch in 0..100 {
        assert_eq!(feed.append(&store, batch), stored());
    }
    wait_until("all rows are applied", || dump(&store).len() == 300);
    world.clock.advance(std::time::Duration::from_secs(10));
    wait_until("it is sealed", || {
        store.stats().seals > 0 && store.stats().head_series == 0
    });
    drop(store);
    let folder = Path::new("/data/partitions");
    let file = folder.join(&world.disk.list(folder).unwrap()[0].name);
    (world, file)
}

/// A disk that fails for a moment costs the queries of that moment, not those after it.
#[test]
fn a_partition_is_read_again_once_its_disk_is_well() {
    let feed = Feed::new(100);
    let (world, _) = sealed_feed(&feed);
    let mut failed = 0;
    for which in 0..40 {
        let (store, _) = world.open();
        world.disk.fail(
            Operation::Read,
            which..which + 1,
            Fault::Error(ErrorKind::Other),
        );
        let query = || {
            let querier = store.querier().unwrap();
            let series = querier.series(&[], TimeRange::ALL, 0, &Unlimited);
            series.map(|(series, ..)| series.len())
        };
        failed += usize::from(query().is_err());
        world.disk.heal();
        assert_eq!(query().unwrap(), 3, "after read {which} failed");
        assert_eq!(dump(&store).len(), 300, "after read {which} failed");
        assert_eq!(store.stats().damages, 0);
    }
    assert!(failed > 0);
}

#[test]
fn a_flipped_bit_in_a_partition_hides_the_pages_it_hit_is_reported_and_never_gives_a_wrong_value() {
    flip_bits_of_a_partition(60);
}

/// Flips one bit of a partition so many times, and back.
pub(super) fn flip_bits_of_a_partition(trials: u64) {
    let feed = Feed::new(100);
    let everything: BTreeSet<_> = feed.samples(&(0..100).collect()).into_iter().collect();
    let (world, file) = sealed_feed(&feed);
    let cache = Arc::new(Cache::new(0));
    let partition = Partition::open(&world.disk, &file, &cache).unwrap();
    let blocks = partition.places_of_blocks();
    drop(partition);
    let bits = world.disk.len(&file).unwrap() * 8;
    let (mut hidden, mut mended) = (0, 0);
    for trial in 0..trials {
        // Most of the file is not in use: a third hits anything, a third the database's header, a third blocks.
        let within = match trial % 3 {
            0 => 0..bits / 8,
            1 => 0..512,
            _ => blocks[usize::try_from(trial / 3).unwrap() % blocks.len()]
                .1
                .clone(),
        };
        let bit = within.start * 8 + trial * 104_729 * 37 % ((within.end - within.start) * 8);
        world.disk.flip_bit(&file, bit).unwrap();
        let (store, _) = world.open();
        let found: BTreeSet<_> = contents(&store)
            .into_iter()
            .flat_map(|(labels, samples)| {
                samples
                    .into_iter()
                    .map(move |(at, value)| (labels.clone(), at, value))
            })
            .collect();
        assert!(found.is_subset(&everything), "bit {bit}");
        let stats = store.stats();
        if found != everything {
            hidden += 1;
            let in_pages = blocks
                .iter()
                .any(|(pages, block)| *pages && block.contains(&(bit / 8)));
            assert!(in_pages, "bit {bit} cost more than pages");
            assert!(stats.damages > 0, "bit {bit}");
        }
        mended += usize::from(found == everything && stats.damages > 0);
        for damage in stats.damages_listed {
            assert_eq!(damage.file, file);
        }
        drop(store);
        world.disk.flip_bit(&file, bit).unwrap();
    }
    assert!(
        hidden > 0 && mended > 0,
        "{hidden} cost pages, {mended} nothing"
    );
    println!("{trials} flipped bits: {hidden} cost pages, {mended} cost nothing and were reported");
    assert_eq!(dump(&world.open().0).len(), 300);
}
