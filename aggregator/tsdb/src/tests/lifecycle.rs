//! The life of partitions: merges, retention, deletes.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::Clock as _;
use files::{Fault, FileSystem, Open, Operation};
use model::{Labels, Matcher, TimeRange, TimestampMs};
use storage::{AppendOutcome, Appender, MemoryStore, Queryable, Refusals, Select, Unlimited};

use super::faults::cuts;
use crate::catalogue::{Level, PartitionEntry};
use crate::keeper::{KeeperRequest, ReadFile, Replaced};
use crate::testing::*;
use crate::{RetentionClass, Tsdb};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// An agent with one cohort, a store, and a twin that never merges.
struct Story {
    world: World,
    store: Option<Tsdb>,
    twin: MemoryStore,
    agent: Agent,
    series: Vec<Labels>,
    /// Minutes since the start.
    minute: i64,
}

impl Story {
    fn new(configure: impl FnOnce(&mut World)) -> Self {
        let mut world = World::new();
        world.config.ahead_max = Duration::from_hours(24 * 365);
        world.config.retention = Duration::from_hours(24 * 365);
        configure(&mut world);
        let series = (0..4)
            .map(|id| {
                let job = if id % 2 == 0 { "even" } else { "odd" };
                labels(&[("__name__", "m"), ("id", &id.to_string()), ("job", job)])
            })
            .collect();
        let store = world.open().0;
        let story = Self {
            world,
            store: Some(store),
            twin: MemoryStore::new(),
            agent: Agent::new("node-1", 1),
            series,
            minute: 0,
        };
        story.define();
        story
    }

    fn store(&self) -> &Tsdb {
        self.store.as_ref().unwrap()
    }

    fn define(&self) {
        for store in [self.store() as &dyn Appender, &self.twin] {
            store
                .define(&self.agent.source, definition(0, "c", &self.series))
                .unwrap();
        }
    }

    fn at(minute: i64) -> i64 {
        START_MS + minute * MINUTE
    }

    /// A row a minute for so long, then sealed.
    fn live(&mut self, minutes: i64) {
        // Cohorts that nobody used for long are forgotten.
        self.define();
        let rows: Vec<_> = (self.minute..self.minute + minutes)
            .map(|minute| self.row(Self::at(minute), minute))
            .collect();
        self.minute += minutes;
        self.send(&rows);
        let ms = u64::try_from(minutes * MINUTE).unwrap();
        self.world.clock.advance(Duration::from_millis(ms));
        self.seal();
    }

    fn row(&mut self, at: i64, salt: i64) -> Arc<rows::Row> {
        let salt = salt as f64;
        let values = [Some(salt), Some(salt * 0.25), None, Some(1.0 / salt)];
        self.agent.row(0, at, &values)
    }

    fn send(&mut self, rows: &[Arc<rows::Row>]) {
        let batch = self.agent.batch(rows, &[]);
        let source = self.agent.source.clone();
        let outcome = append(self.store(), &source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        append(&self.twin, &source, &batch);
    }

    /// Freezes and seals what is in memory.
    fn seal(&self) {
        let seals = self.store().stats().seals;
        self.store().freeze().unwrap();
        assert!(self.store().ask_keeper(KeeperRequest::Keep).unwrap());
        assert!(self.store().stats().seals > seals);
    }

    fn reopen(&mut self, crash: Option<u64>) {
        if let Some(seed) = crash {
            self.world.disk.crash(seed);
        }
        self.store = None;
        let (store, report) = self.world.open();
        assert_eq!(report.damages, []);
        self.store = Some(store);
        self.define();
    }

    fn check(&self) {
        assert_eq!(contents(self.store()), contents(&self.twin));
        let files = self.world.disk.list(Path::new("/data/partitions")).unwrap();
        assert_eq!(
            files.len() as u64,
            self.store().stats().partitions,
            "{files:?}"
        );
    }

    fn partitions(&self) -> u64 {
        self.store().stats().partitions
    }
}

#[test]
fn spans_and_days_become_one_file_each_and_nothing_changes_for_queries() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..36 {
        story.live(60);
    }
    let before = story.partitions();
    assert!(before >= 36);
    story.check();
    assert!(story.store().keep());
    story.check();
    // 22:13 to 24:00, a whole day, and 10 hours and a bit in spans of two hours.
    assert_eq!(story.partitions(), 1 + 1 + 6);
    let stats = story.store().stats();
    assert!(
        stats.merges > 3 && stats.merged_files >= before - 8,
        "{stats:?}"
    );
    assert_eq!(stats.merge_failures, 0);
    story.reopen(Some(3));
    story.check();
    assert!(story.store().keep());
    assert_eq!(story.partitions(), 8);
}

#[test]
fn late_rows_are_merged_into_their_day_when_they_are_many_or_it_is_quiet() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..30 {
        story.live(60);
    }
    assert!(story.store().keep());
    let merged = story.partitions();
    // One row beside, and one at the same time as another, which stands.
    let rows = [
        story.row(START_MS + 5 * HOUR + 7, 1),
        story.row(START_MS + 6 * HOUR, 2),
    ];
    story.send(&rows);
    story.seal();
    story.check();
    assert!(story.store().keep());
    assert_eq!(story.partitions(), merged + 2, "a trickle waits");
    story.check();
    story.world.clock.advance(Duration::from_hours(7));
    assert!(story.store().keep());
    assert!(story.partitions() <= merged, "it was quiet for some hours");
    story.check();
    story.reopen(None);
    story.check();
}

#[test]
fn a_span_that_is_still_written_does_not_gather_files_without_end() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    let mut most = 0;
    for _ in 0..100 {
        story.live(1);
        assert!(story.store().keep());
        most = most.max(story.partitions());
    }
    story.check();
    assert!(most <= 12, "{most}");
    let read = story.store().stats().merged_files;
    assert!(read <= 100 * 5, "each file is merged a few times: {read}");
}

#[test]
fn a_query_under_way_finds_what_it_began_with() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..30 {
        story.live(60);
    }
    let before = contents(story.store());
    let querier = story.store().querier().unwrap();
    assert!(story.store().keep());
    let all = Matcher::equal("__name__", "m");
    let select = Select {
        matchers: std::slice::from_ref(&all),
        range: TimeRange::ALL,
        hints: Default::default(),
    };
    let found = querier.select(&select, &Unlimited).unwrap();
    let samples: usize = found
        .iter()
        .map(|series| series.samples(TimeRange::ALL).count())
        .sum();
    assert_eq!(samples, before.values().map(Vec::len).sum::<usize>());
    assert_eq!(story.store().stats().damages, 0);
    drop(querier);
    story.check();
}

#[test]
fn classes_are_split_at_merges_and_go_at_their_own_time() {
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.retention = Duration::from_hours(24 * 30);
        world.config.retention_classes = vec![RetentionClass {
            name: "short".to_owned(),
            matchers: vec![Matcher::equal("job", "odd")],
            retention: Duration::from_hours(48),
        }];
    });
    for _ in 0..28 {
        story.live(60);
    }
    assert!(story.store().keep());
    story.check();
    let all = contents(story.store());
    story.world.clock.advance(Duration::from_hours(49));
    assert!(story.store().keep() && story.store().keep());
    let mut left = all;
    left.retain(|labels, _| labels.get("job") == Some("even"));
    assert_eq!(contents(story.store()), left);
    assert!(story.store().stats().partitions_expired > 0);
}

#[test]
fn classes_that_change_lose_nothing_that_any_of_them_keeps() {
    let class = |name: &str, job: &str| RetentionClass {
        name: name.to_owned(),
        matchers: vec![Matcher::equal("job", job)],
        retention: Duration::from_hours(24 * 300),
    };
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.retention = Duration::from_hours(24 * 30);
        world.config.retention_classes = vec![class("slo", "odd")];
    });
    for _ in 0..28 {
        story.live(60);
    }
    assert!(story.store().keep());
    let all = contents(story.store());
    // One is renamed, and another one takes what none took.
    story.world.config.retention_classes = vec![class("slos", "odd"), class("rest", "even")];
    story.reopen(None);
    story.world.clock.advance(Duration::from_hours(24 * 40));
    for _ in 0..2 {
        assert!(story.store().keep());
        assert_eq!(contents(story.store()), all);
    }
    // They are split anew by now, and no more than what is kept for longer stays once the other class is gone.
    story.world.config.retention_classes = vec![class("slos", "odd")];
    story.reopen(None);
    story.world.clock.advance(Duration::from_hours(24 * 40));
    assert!(story.store().keep() && story.store().keep());
    let mut odd = all;
    odd.retain(|labels, _| labels.get("job") == Some("odd"));
    assert_eq!(contents(story.store()), odd);
}

#[test]
fn an_old_copy_is_not_emptied_when_it_is_opened_nor_a_store_by_a_wrong_clock() {
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.retention = Duration::from_hours(24 * 15);
    });
    story.live(600);
    let all = contents(story.store());
    let clock = Arc::clone(&story.world.clock);
    let right = clock.wall();
    clock.step_wall(right + Duration::from_hours(24 * 365));
    assert!(story.store().keep() && story.store().keep());
    assert_eq!(contents(story.store()), all, "the clock is wrong");
    story.store = None;
    clock.advance(Duration::from_hours(24 * 60));
    story.reopen(None);
    assert!(story.store().keep() && story.store().keep());
    assert_eq!(contents(story.store()), all, "opened after months");
    clock.advance(Duration::from_hours(24 * 15 + 1));
    assert!(story.store().keep());
    assert_eq!(story.store().stats().partitions, 0);
}

#[test]
fn the_oldest_partitions_go_when_bytes_are_short() {
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.log.segment_bytes = 1_024;
    });
    for _ in 0..3 {
        story.live(24 * 60);
        assert!(story.store().keep());
    }
    let stats = story.store().stats();
    let log: u64 = (story.world.disk)
        .list(Path::new("/data/log"))
        .unwrap()
        .iter()
        .map(|entry| entry.len)
        .sum();
    assert_eq!(stats.log_bytes, log);
    story.world.config.retention_bytes = Some(stats.partition_bytes + log - 1);
    story.reopen(None);
    assert!(story.store().keep());
    let after = story.store().stats();
    assert_eq!(after.partitions_expired, 1);
    assert!(after.time_range.unwrap().0 > stats.time_range.unwrap().0);
}

#[test]
fn the_log_counts_as_much_as_it_takes() {
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.log.segment_bytes = 64 << 20;
        world.config.retention_bytes = Some(64 << 20);
    });
    story.live(60);
    for _ in 0..30 {
        story.reopen(None);
        let row = story.row(Story::at(story.minute), 1);
        story.minute += 1;
        story.send(&[row]);
    }
    assert!(story.store().keep());
    assert_eq!(story.store().stats().partitions_expired, 0);
    assert!(story.store().stats().log_segments > 20);
}

#[test]
fn retention_makes_room_for_heads_that_cannot_be_sealed() {
    let mut story = Story::new(|world| {
        world.config.shards = std::num::NonZeroU16::new(1);
        world.config.retention = Duration::from_hours(24);
    });
    story.live(600);
    story.world.clock.advance(Duration::from_hours(36));
    story.minute += 36 * 60;
    story.define();
    let row = story.row(Story::at(story.minute), 1);
    story.send(&[row]);
    let used = story.world.disk.used_bytes();
    // Room for a transaction of the catalogue, and for no file.
    story.world.disk.set_capacity(Some(used + 16 * 1024));
    story.store().freeze().unwrap();
    wait_until("the head is sealed", || story.store().stats().seals == 2);
    assert_eq!(story.store().stats().partitions_expired, 6);
}

fn odd() -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::equal("job", "odd")]]
}

/// Returns what the twin has, without what a delete of `range` takes from series of the job `odd` below `position`.
fn without_odd(mut all: Contents, range: TimeRange) -> Contents {
    for (labels, samples) in &mut all {
        if labels.get("job") == Some("odd") {
            samples.retain(|(at, _)| !range.contains(TimestampMs(*at)));
        }
    }
    all.retain(|_, samples| !samples.is_empty());
    all
}

#[test]
fn a_delete_is_seen_at_once_survives_everything_and_hits_only_what_came_before() {
    let mut story = Story::new(|_| {});
    for _ in 0..30 {
        story.live(60);
    }
    // Of these some are in memory when the delete comes.
    let rows: Vec<_> = (0..20)
        .map(|minute| story.row(Story::at(story.minute) + minute * MINUTE, minute))
        .collect();
    story.minute += 20;
    story.send(&rows);
    let range = TimeRange::new(
        TimestampMs(START_MS + 3 * HOUR),
        TimestampMs(START_MS + 40 * HOUR),
    );
    story.store().delete(&odd(), range).unwrap();
    let expected = without_odd(contents(&story.twin), range);
    assert_eq!(contents(story.store()), expected);
    let samples: usize = expected.values().map(Vec::len).sum();
    assert_eq!(dump(story.store()).len(), samples);

    // The same times once more, and newer ones: they came later.
    let again = [story.row(START_MS + 4 * HOUR, 77)];
    let before = contents(&story.twin);
    story.send(&again);
    let newer = story.row(Story::at(story.minute), 78);
    story.send(&[newer]);
    let mut expected = expected;
    for (labels, samples) in contents(&story.twin) {
        let known = before.get(&labels).cloned().unwrap_or_default();
        let new = samples.into_iter().filter(|sample| !known.contains(sample));
        expected.entry(labels).or_default().extend(new);
    }
    let odd_again = story.world.config.shards;
    assert!(odd_again.is_some());
    for (labels, samples) in &mut expected {
        if labels.get("job") == Some("odd") && labels.get("id") != Some("2") {
            let value = if labels.get("id") == Some("1") {
                77.0 * 0.25
            } else {
                1.0 / 77.0
            };
            samples.push((START_MS + 4 * HOUR, format!("{:016x}", f64::to_bits(value))));
        }
        samples.sort();
    }
    let check = |story: &Story, when: &str| assert_eq!(contents(story.store()), expected, "{when}");
    story.seal();
    check(&story, "after the delete");
    story.reopen(Some(7));
    check(&story, "after a crash");
    assert!(story.store().stats().partitions_hit > 0);
    assert!(story.store().keep());
    check(&story, "after merges");
    story.store().clean_deletes().unwrap();
    check(&story, "after cleaning");
    assert_eq!(story.store().stats().partitions_hit, 0);
    story.reopen(Some(9));
    check(&story, "after another crash");
}

#[test]
fn a_merge_that_did_not_know_of_a_delete_is_not_committed() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    story.live(30);
    let before = story.world.catalogue();
    story.store().delete(&odd(), TimeRange::ALL).unwrap();
    story.live(30);
    let expected = contents(story.store());
    // A merge took its view before the delete was committed, and of files some of which have rows from after it: the delete does not hit
    // what it makes of them.
    let present = story.world.catalogue();
    let until = present.partitions.values().map(|entry| entry.until).max();
    let new = before.partitions.iter().map(|(name, entry)| {
        let (from, name) = (
            Path::new("/data/partitions").join(name),
            format!("{name}-1.redb"),
        );
        let to = from.with_file_name(&name);
        story.world.disk.link(&from, &to).unwrap();
        let until = until.unwrap();
        (
            name,
            PartitionEntry {
                until,
                ..entry.clone()
            },
        )
    });
    let new: Vec<_> = new.collect();
    let old = before.partitions.iter().map(|(name, entry)| ReadFile {
        name: name.clone(),
        entry: entry.clone(),
        deletes: Vec::new(),
    });
    let (old, added) = (old.collect(), new.clone());
    let asked = |answer| KeeperRequest::Replace {
        old,
        new,
        lossy: false,
        answer,
    };
    let replaced = story.store().ask_keeper(asked);
    assert_eq!(contents(story.store()), expected);
    assert_eq!(replaced, Some(Replaced::Gone));
    for (name, _) in added {
        let path = Path::new("/data/partitions").join(name);
        story.world.disk.remove(&path).unwrap();
    }
    story.store().clean_deletes().unwrap();
    assert_eq!(contents(story.store()), expected);
}

#[test]
fn series_of_which_nothing_is_left_have_no_labels_any_more() {
    let mut story = Story::new(|_| {});
    story.live(30);
    let values = |story: &Story| {
        let querier = story.store().querier().unwrap();
        let names = querier.label_values("job", &[], TimeRange::ALL, 0, &Unlimited);
        let series = querier
            .series(&odd(), TimeRange::ALL, 0, &Unlimited)
            .unwrap();
        (names.unwrap().names, series.0.len())
    };
    assert_eq!(
        values(&story),
        (vec!["even".to_owned(), "odd".to_owned()], 2)
    );
    let half = TimeRange::new(TimestampMs(START_MS), TimestampMs(START_MS + 10 * MINUTE));
    story.store().delete(&odd(), half).unwrap();
    assert_eq!(values(&story).1, 2);
    story.store().delete(&odd(), TimeRange::ALL).unwrap();
    assert_eq!(values(&story), (vec!["even".to_owned()], 0));
    story.store().clean_deletes().unwrap();
    assert_eq!(values(&story), (vec!["even".to_owned()], 0));
    story.store().delete(&[], TimeRange::ALL).unwrap();
    assert_eq!(contents(story.store()), Contents::new());
    story.store().clean_deletes().unwrap();
    assert_eq!(story.partitions(), 0);
}

#[test]
fn a_merge_wants_space_and_gives_up_without_harm() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..30 {
        story.live(60);
    }
    let used = story.world.disk.used_bytes();
    story.world.disk.set_capacity(Some(used + 1024 * 1024));
    assert!(!story.store().keep());
    assert_eq!(story.store().stats().merge_failures, 1);
    story.check();
    story.world.disk.set_capacity(None);
    assert!(story.store().keep());
    story.check();
}

/// Returns the path of the first file of the last day that is over, and what the catalogue says of it.
fn file_of_the_last_day(story: &Story) -> (PathBuf, PartitionEntry) {
    let files = story.world.catalogue().partitions;
    let day = |entry: &PartitionEntry| entry.times.start.0.div_euclid(24 * HOUR);
    let last = files.values().map(day).max().unwrap() - 1;
    let of_day = files.into_iter().filter(|(_, entry)| day(entry) == last);
    let first = of_day.min_by_key(|(_, entry)| entry.times.start);
    let (name, entry) = first.unwrap();
    (Path::new("/data/partitions").join(name), entry)
}

#[test]
fn a_file_that_cannot_be_read_holds_up_its_day_alone() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..50 {
        story.live(60);
    }
    let (path, missing) = file_of_the_last_day(&story);
    let aside = path.with_extension("elsewhere");
    let disk = story.world.disk.clone();
    disk.rename(&path, &aside).unwrap();
    assert!(!story.store().keep());
    let files = story.world.catalogue().partitions.into_values();
    let older: Vec<_> = files
        .filter(|entry| entry.times.end < missing.times.start)
        .map(|entry| entry.level)
        .collect();
    assert_eq!(older, [Level::Day; 2]);
    // Nothing is tried again at once; a delete is said to be carried out only where it is.
    assert!(story.store().keep());
    let range = TimeRange::new(missing.times.start, missing.times.start);
    story.store().delete(&odd(), range).unwrap();
    assert!(story.store().clean_deletes().is_err());
    disk.rename(&aside, &path).unwrap();
    story.world.clock.advance(Duration::from_mins(10));
    story.store().clean_deletes().unwrap();
    assert_eq!(story.store().stats().partitions_hit, 0);
    let expected = without_odd(contents(&story.twin), range);
    assert_eq!(contents(story.store()), expected);
    assert_eq!(story.store().stats().damages, 0);
}

/// Leaves so many of a file's bytes, the first ones.
fn cut_off(story: &Story, path: &Path, left: fn(usize) -> usize) {
    let bytes = story.world.disk.contents(path).unwrap();
    story.world.disk.remove(path).unwrap();
    let file = story.world.disk.open(path, Open::create_new()).unwrap();
    file.write_at(0, &bytes[..left(bytes.len())]).unwrap();
}

#[test]
fn a_file_of_which_no_block_is_lost_is_merged_like_any_other_and_its_damage_is_counted() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..50 {
        story.live(60);
    }
    let (path, _) = file_of_the_last_day(&story);
    // The database of so few samples is for the most part room for more.
    cut_off(&story, &path, |bytes| bytes / 2);
    assert!(story.store().keep());
    assert_eq!(story.store().stats().damages, 1);
    assert!(!story.world.disk.exists(&path).unwrap());
    let aside = path.with_extension("redb.damaged");
    assert!(!story.world.disk.exists(&aside).unwrap());
    story.check();
}

#[test]
fn what_is_readable_of_a_damaged_file_goes_on_and_the_file_is_set_aside() {
    let mut story = Story::new(|world| world.config.shards = std::num::NonZeroU16::new(1));
    for _ in 0..50 {
        story.live(60);
    }
    let (path, damaged) = file_of_the_last_day(&story);
    cut_off(&story, &path, |_| 4_096);
    assert!(story.store().keep());
    assert!(story.store().stats().damages > 0);
    // All else of its day is merged, and deletes are carried out there.
    let mut expected = contents(&story.twin);
    for samples in expected.values_mut() {
        samples.retain(|(at, _)| !damaged.times.contains(TimestampMs(*at)));
    }
    assert_eq!(contents(story.store()), expected);
    assert_eq!(story.partitions(), 4);
    story.store().delete(&odd(), TimeRange::ALL).unwrap();
    story.store().clean_deletes().unwrap();
    assert_eq!(story.store().stats().partitions_hit, 0);
    story.reopen(None);
    let expected = without_odd(expected, TimeRange::ALL);
    assert_eq!(contents(story.store()), expected);
    let aside = path.with_extension("redb.damaged");
    assert!(story.world.disk.exists(&aside).unwrap());
}

/// The twin of [`every_crash_point`]: what is to be found after each step.
struct Expected {
    before: Contents,
    after: Contents,
}

/// One step of a life: what comes before it, and the step, which says whether it succeeded.
pub(super) struct Step {
    hours: i64,
    prepare: fn(&mut Story),
    take: fn(&Story) -> bool,
}

impl Step {
    fn story(&self) -> Story {
        let mut story = Story::new(|world| {
            world.config.shards = std::num::NonZeroU16::new(1);
            world.config.log.segment_bytes = 4_096;
        });
        for _ in 0..self.hours {
            story.live(60);
        }
        (self.prepare)(&mut story);
        story
    }
}

/// Takes a step on a disk whose power goes at every `stride`th of its changes in turn, with as many crashes of each as there are seeds.
/// What is found after the crash is what was before the step or what was to be after it, and after it when it had succeeded. Returns how
/// many crashes there were.
pub(super) fn every_crash_point(step: &Step, stride: usize, seeds: Range<u64>) -> usize {
    let story = step.story();
    let before = contents(story.store());
    let from = story.world.disk.changes();
    assert!((step.take)(&story));
    let changes = story.world.disk.changes() - from;
    let expected = Expected {
        before,
        after: contents(story.store()),
    };
    let mut points = 0;
    for (cut, seed) in cuts(changes, stride, seeds) {
        let mut story = step.story();
        story.world.disk.cut_power_in(cut);
        let succeeded = (step.take)(&story);
        story.reopen(Some(seed));
        let found = contents(story.store());
        if succeeded || found != expected.before {
            assert_eq!(found, expected.after, "cut at {cut}, seed {seed}");
        }
        let files = story
            .world
            .disk
            .list(Path::new("/data/partitions"))
            .unwrap();
        assert_eq!(files.len() as u64, story.partitions(), "cut at {cut}");
        // It goes on as if nothing had been.
        assert!((step.take)(&story), "cut at {cut}, seed {seed}");
        assert_eq!(contents(story.store()), expected.after, "cut at {cut}");
        points += 1;
    }
    points
}

/// Every so manieth change of the disk is a crash point here: all of them, several times, are in `thousands`.
const STRIDE: usize = 3;

/// The day ends after less than two hours of each story; this lets its files be merged.
fn let_the_day_settle(story: &mut Story) {
    story.world.clock.advance(Duration::from_hours(5));
}

pub(super) const MERGE: Step = Step {
    hours: 3,
    prepare: let_the_day_settle,
    take: |story| story.store().keep(),
};

pub(super) const DELETE: Step = Step {
    hours: 2,
    prepare: |story| {
        // Some of it is in memory.
        let rows: Vec<_> = (0..9)
            .map(|minute| story.row(START_MS + minute * MINUTE + 1, minute))
            .collect();
        story.send(&rows);
        wait_until("they are applied", || {
            contents(story.store()) == contents(&story.twin)
        });
    },
    take: |story| {
        let range = TimeRange::new(TimestampMs(START_MS), TimestampMs(START_MS + HOUR));
        story.store().delete(&odd(), range).is_ok()
    },
};

pub(super) const CLEAN_DELETES: Step = Step {
    hours: 3,
    prepare: |story| {
        let range = TimeRange::new(TimestampMs(START_MS), TimestampMs(START_MS + 5 * HOUR));
        let_the_day_settle(story);
        assert!(story.store().keep());
        story.store().delete(&odd(), range).unwrap();
    },
    take: |story| story.store().clean_deletes().is_ok(),
};

pub(super) const RETAIN: Step = Step {
    hours: 3,
    prepare: |story| {
        let_the_day_settle(story);
        assert!(story.store().keep());
        story
            .world
            .clock
            .advance(Duration::from_hours(24 * 365 - 7));
    },
    take: |story| story.store().keep(),
};

/// Files of one class become files of two.
pub(super) const SPLIT_ANEW: Step = Step {
    hours: 3,
    prepare: |story| {
        let_the_day_settle(story);
        assert!(story.store().keep());
        story.world.config.retention_classes = vec![RetentionClass {
            name: "long".to_owned(),
            matchers: vec![Matcher::equal("job", "odd")],
            retention: Duration::from_hours(24 * 700),
        }];
        story.reopen(None);
        story.world.clock.advance(Duration::from_hours(24));
    },
    // One file of each class and day.
    take: |story| story.store().keep() && story.partitions() == 4,
};

/// Deletes are carried out in tiers of which the samples are gone.
pub(super) const CLEAN_TIERS: Step = Step {
    hours: 3,
    prepare: |story| {
        story.world.config.tiers.one_hour = Some(Duration::from_hours(24 * 7_000));
        story.reopen(None);
        story
            .world
            .clock
            .advance(Duration::from_hours(24 * 365 + 5));
        for _ in 0..2 {
            assert!(story.store().keep());
        }
        let stats = story.store().stats();
        assert_eq!((stats.tiers.0, stats.partitions), (2, 2), "{stats:?}");
        story.store().delete(&odd(), TimeRange::ALL).unwrap();
    },
    take: |story| {
        let cleaned = story.store().clean_deletes().is_ok();
        let left = match story.store().partition_space() {
            Ok(space) => space.series == 2,
            // Without power nobody can look.
            Err(_) => story.world.disk.power_is_cut(),
        };
        let hit = story.store().stats().partitions_hit;
        cleaned && left && (hit, story.partitions()) == (0, 2)
    },
};

#[test]
fn no_crash_point_of_a_merge_loses_or_doubles_anything() {
    let points = every_crash_point(&MERGE, STRIDE, 0..1);
    assert!(points > 10, "{points}");
}

#[test]
fn no_crash_point_of_a_delete_brings_half_of_it() {
    let points = every_crash_point(&DELETE, STRIDE, 0..1);
    assert!(points > 5, "{points}");
}

#[test]
fn no_crash_point_of_cleaning_deletes_loses_or_brings_back_anything() {
    let points = every_crash_point(&CLEAN_DELETES, STRIDE, 0..1);
    assert!(points > 10, "{points}");
}

#[test]
fn no_crash_point_of_splitting_days_anew_loses_or_doubles_anything() {
    let points = every_crash_point(&SPLIT_ANEW, STRIDE, 0..1);
    assert!(points > 10, "{points}");
}

#[test]
fn no_crash_point_of_cleaning_tiers_loses_one_or_leaves_it_as_it_was() {
    let points = every_crash_point(&CLEAN_TIERS, STRIDE, 0..1);
    assert!(points > 10, "{points}");
}

#[test]
fn no_crash_point_of_retention_brings_anything_back() {
    let points = every_crash_point(&RETAIN, STRIDE, 0..1);
    assert!(points > 0, "{points}");
}

#[test]
fn a_merge_that_meets_faults_is_tried_again_and_loses_and_doubles_nothing() {
    for (operation, fault) in [
        (Operation::SyncData, Fault::Error(ErrorKind::Other)),
        (Operation::Write, Fault::Short),
        (Operation::Write, Fault::Error(ErrorKind::StorageFull)),
        (Operation::SetLen, Fault::Error(ErrorKind::StorageFull)),
        (Operation::Rename, Fault::Error(ErrorKind::Other)),
        (Operation::SyncFolder, Fault::Error(ErrorKind::Other)),
        (Operation::Open, Fault::Error(ErrorKind::PermissionDenied)),
    ] {
        for which in [0, 1, 2, 5, 11] {
            let mut story = MERGE.story();
            story.world.disk.fail(operation, which..which + 2, fault);
            story.store().keep();
            story.world.disk.heal();
            // Whether it failed or worked around the fault: queries find what they did.
            let found = contents(story.store());
            assert_eq!(found, contents(&story.twin), "{operation:?} {which}");
            let mut tries = 0;
            while !story.store().keep() {
                tries += 1;
                assert!(tries < 20, "{operation:?} {which}");
            }
            story.check();
            story.reopen(Some(which));
            story.check();
        }
    }
}
