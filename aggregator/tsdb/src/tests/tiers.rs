//! Tiers of a whole store: what queries find in them is what they found in the samples, also when these are gone.

mod histories;

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use files::FileSystem as _;
use model::{Labels, Matcher, TimeRange, TimestampMs, VOID_NAN, Value};
use promql::{Engine, Grid, QueryOptions, QueryResult};
use rows::{CohortId, SeriesSample};
use storage::{
    AppendOutcome, Appender, Budget, BudgetExceeded, Lane, Queryable as _, Refusals, Unlimited,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::testing::*;
use crate::{Offline, RetentionClass, TierRetention, Tsdb};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: Duration = Duration::from_hours(24 * 365);

/// An agent that samples a counter, a gauge and something that comes and goes.
struct Story {
    world: World,
    agent: Agent,
    series: Vec<Labels>,
    random: fastrand::Rng,
    counter: f64,
    /// Milliseconds since the start of a day.
    at: i64,
}

/// The start of the first day of all stories.
const BEGIN: i64 = START_MS - START_MS % DAY;

impl Story {
    fn new(configure: impl FnOnce(&mut World)) -> (Self, Tsdb) {
        let mut world = World::new();
        world.config.shards = NonZeroU16::new(1);
        world.config.ahead_max = YEAR;
        world.config.retention = YEAR;
        world.config.tiers = TierRetention {
            five_minutes: Some(YEAR * 10),
            one_hour: Some(YEAR * 20),
        };
        configure(&mut world);
        let store = world.open().0;
        let name = |name: &str| labels(&[("__name__", name), ("job", name)]);
        let story = Self {
            world,
            agent: Agent::new("node-1", 1),
            series: vec![name("c_total"), name("g"), name("sometimes")],
            random: fastrand::Rng::with_seed(5),
            counter: 0.0,
            at: 0,
        };
        (story, store)
    }

    fn row(&mut self, at: i64) -> std::sync::Arc<rows::Row> {
        self.counter = match self.random.u32(0..400) {
            0 => 0.0,
            _ => self.counter + f64::from(self.random.u32(0..30)),
        };
        let gauge = f64::from(self.random.i32(-50..50));
        let sometimes = match self.random.u32(0..12) {
            0 => Some(model::STALE_NAN),
            1..3 => None,
            value => Some(f64::from(value)),
        };
        let values = [Some(self.counter), Some(gauge), sometimes];
        self.agent.row(0, at, &values)
    }

    fn send(&mut self, store: &Tsdb, rows: &[std::sync::Arc<rows::Row>]) {
        let definition = definition(0, "c", &self.series);
        store.define(&self.agent.source, definition).unwrap();
        let batch = self.agent.batch(rows, &[]);
        let outcome = append(store, &self.agent.source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        // Acknowledged rows are found some milliseconds later; whoever asks waits for that, as the HTTP API does.
        store.catch_up();
    }

    /// Says anew what the gauge was in each minute of a span: something else, or nothing.
    fn correct(&mut self, store: &Tsdb, span: std::ops::Range<i64>) {
        let definition = definition(0, "c", &self.series);
        store.define(&self.agent.source, definition).unwrap();
        let minutes = span.step_by(usize::try_from(MINUTE).unwrap());
        let samples: Vec<SeriesSample> = minutes
            .map(|at| SeriesSample {
                cohort: CohortId(0),
                slot: 1,
                at: TimestampMs(BEGIN + at),
                value: Value::Float(match self.random.u32(0..4) {
                    0 => VOID_NAN,
                    value => f64::from(value * 100),
                }),
                start: TimestampMs(0),
            })
            .collect();
        let batch = self.agent.batch(&[], &samples);
        let outcome = append(store, &self.agent.source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        store.catch_up();
    }

    /// A row each `step`, in a file per 12 hours; rows at midnight too.
    fn live(&mut self, store: &Tsdb, days: i64, step: i64) {
        let end = self.at + days * DAY;
        while self.at < end {
            let until = self.at + 12 * HOUR;
            let mut rows = Vec::new();
            while self.at < until {
                rows.push(self.row(BEGIN + self.at));
                self.at += step;
            }
            self.send(store, &rows);
            seal(store);
        }
        let now = BEGIN + self.at + HOUR - i64::try_from(self.world.wall_ms()).unwrap();
        if let Ok(ms) = u64::try_from(now) {
            self.world.clock.advance(Duration::from_millis(ms));
        }
        assert!(store.keep());
    }
}

impl World {
    fn wall_ms(&self) -> u64 {
        use clock::Clock as _;
        let wall = self
            .clock
            .wall()
            .duration_since(std::time::SystemTime::UNIX_EPOCH);
        u64::try_from(wall.unwrap().as_millis()).unwrap()
    }
}

fn seal(store: &Tsdb) {
    store.freeze().unwrap();
    assert!(
        store
            .ask_keeper(crate::keeper::KeeperRequest::Keep)
            .unwrap()
    );
}

type Answers = Vec<(String, Vec<(Labels, Vec<u64>)>)>;

const QUERIES: [&str; 10] = [
    "rate(c_total[10m])",
    "increase(c_total[1h])",
    "sum_over_time(g[30m])",
    "avg_over_time(g[5m])",
    "min_over_time(g[1h])",
    "max_over_time(sometimes[2h])",
    "count_over_time(sometimes[15m])",
    "last_over_time(sometimes[5m])",
    "delta(g[1h])",
    "sometimes",
];

fn answers(store: &Tsdb, grid: Grid, raw_only: bool) -> Answers {
    answers_of(&QUERIES, store, grid, raw_only)
}

fn answers_of(queries: &[&str], store: &Tsdb, grid: Grid, raw_only: bool) -> Answers {
    let options = QueryOptions {
        raw_only,
        ..QueryOptions::default()
    };
    let engine = Engine::default();
    let evaluate = |text: &&str| {
        let output = engine.range(store, text, grid, &options, &Unlimited);
        let QueryResult::Grid { series, .. } = output.unwrap().result else {
            panic!("a grid");
        };
        let bits = series.into_iter().map(|series| {
            let floats = series.column.floats.iter();
            // Zeros are equal, whatever their signs.
            (
                series.labels,
                floats.map(|value| (value + 0.0).to_bits()).collect(),
            )
        });
        ((*text).to_owned(), bits.collect())
    };
    queries.iter().map(evaluate).collect()
}

fn grid(from: i64, to: i64, step: i64) -> Grid {
    Grid {
        start: TimestampMs(BEGIN + from),
        end: TimestampMs(BEGIN + to),
        step_ms: step,
    }
}

/// Returns the values of a query for one series, at the times of the grid.
fn floats(store: &Tsdb, text: &str, grid: Grid) -> Vec<f64> {
    let output = Engine::default().range(store, text, grid, &QueryOptions::default(), &Unlimited);
    let QueryResult::Grid { series, .. } = output.unwrap().result else {
        panic!("a grid");
    };
    let columns = series
        .into_iter()
        .map(|series| series.column.floats.to_vec());
    columns.collect::<Vec<_>>().concat()
}

#[test]
fn tiers_answer_what_samples_answered_when_these_are_gone() {
    let (mut story, store) = Story::new(|_| {});
    story.live(&store, 3, MINUTE);
    let stats = store.stats();
    assert_eq!((stats.tiers_made, stats.tiers.0), (6, 6), "{stats:?}");
    let grids = [
        grid(HOUR * 3, 3 * DAY - 5 * MINUTE, 5 * MINUTE),
        grid(HOUR * 3, 3 * DAY - HOUR, 2 * HOUR),
        grid(DAY, DAY, 5 * MINUTE),
    ];
    let raw: Vec<Answers> = grids
        .iter()
        .map(|grid| answers(&store, *grid, true))
        .collect();
    assert!(raw.iter().flatten().all(|(_, series)| !series.is_empty()));
    let check = |store: &Tsdb, when: &str| {
        for (grid, raw) in grids.iter().zip(&raw) {
            for (tier, raw) in answers(store, *grid, false).iter().zip(raw) {
                assert_eq!(tier, raw, "{when}, {grid:?}");
            }
        }
    };
    check(&store, "beside samples");
    // A head in the last day, and a late row in the first: samples stand in for their tiers.
    // Of a new epoch: what the clock has passed over is forgotten.
    story.agent = Agent::new("node-1", 2);
    let row = story.row(BEGIN + 3 * HOUR + 7);
    story.send(&store, &[row]);
    assert_ne!(answers(&store, grids[0], false), raw[0]);
    assert_eq!(
        answers(&store, grids[0], false),
        answers(&store, grids[0], true)
    );
    seal(&store);
    assert_eq!(
        answers(&store, grids[0], false),
        answers(&store, grids[0], true)
    );
    // Merged in when all is quiet; the tiers are made anew.
    assert!(store.keep());
    story.world.clock.advance(Duration::from_hours(7));
    assert!(store.keep());
    assert_eq!(store.stats().tiers_made, 8);
    let raw: Vec<Answers> = grids
        .iter()
        .map(|grid| answers(&store, *grid, true))
        .collect();
    let check = |store: &Tsdb, when: &str| {
        for (grid, raw) in grids.iter().zip(&raw) {
            for (tier, raw) in answers(store, *grid, false).iter().zip(raw) {
                assert_eq!(tier, raw, "{when}, {grid:?}");
            }
        }
    };
    check(&store, "made anew");
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    let stats = store.stats();
    assert_eq!((stats.partitions, stats.tiers.0), (6, 6), "{stats:?}");
    assert!(
        answers(&store, grids[0], true)
            .iter()
            .all(|(_, series)| series.is_empty())
    );
    check(&store, "samples gone");
    drop(store);
    let (store, report) = story.world.open();
    assert_eq!((report.damages.len(), report.files_removed), (0, 0));
    check(&store, "opened again");
    // The finer tier ends first; then the coarser.
    // Ages count from the newest sample at the start.
    story
        .world
        .clock
        .advance(YEAR * 10 + Duration::from_hours(24));
    assert!(store.keep());
    assert_eq!(store.stats().tiers.0, 3);
    assert_eq!(answers(&store, grids[1], false)[1], raw[1][1]);
    story.world.clock.advance(YEAR * 10);
    assert!(store.keep());
    assert_eq!(store.stats().partitions, 0);
}

#[test]
fn deletes_reach_tiers() {
    let (mut story, store) = Story::new(|_| {});
    story.live(&store, 2, MINUTE);
    let matcher = vec![Matcher::equal("__name__", "g")];
    let range = TimeRange::new(
        TimestampMs(BEGIN + 2 * HOUR + 1),
        TimestampMs(BEGIN + 5 * HOUR),
    );
    store.delete(&[matcher], range).unwrap();
    let grid = grid(HOUR, 2 * DAY, 5 * MINUTE);
    let same = |when: &str| {
        assert_eq!(
            answers(&store, grid, false),
            answers(&store, grid, true),
            "{when}"
        )
    };
    same("masked");
    let made = store.stats().tiers_made;
    store.clean_deletes().unwrap();
    same("cleaned");
    assert!(store.stats().tiers_made > made);
    let raw = answers(&store, grid, true);
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    assert_eq!(answers(&store, grid, false), raw);
}

/// Counts samples that are read.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Budget for Counted {
    fn charge(&self, samples: u64, _bytes: u64) -> Result<(), BudgetExceeded> {
        self.0.fetch_add(samples, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, _bytes: u64) {}

    fn check(&self) -> Result<(), BudgetExceeded> {
        Ok(())
    }
}

#[test]
fn series_that_lie_on_two_shards_are_read_exactly() {
    let (mut story, store) = Story::new(|world| world.config.shards = NonZeroU16::new(2));
    // On one shard for two days, on the other for the second and the third.
    let shard_of = |agent: &str| xxh3_64(format!("{agent}\0c").as_bytes()) % 2;
    let other = (2..).map(|number| format!("node-{number}"));
    let other = other.filter(|other| shard_of(other) != shard_of("node-1"));
    story.live(&store, 2, MINUTE);
    let first = story.agent.id().clone();
    story.agent = Agent::new(&other.take(1).collect::<String>(), 1);
    assert_ne!(*story.agent.id(), first);
    story.at = DAY + 20_000;
    story.live(&store, 2, MINUTE);
    let shards = story.world.catalogue().partitions;
    let shards: std::collections::BTreeSet<u16> =
        shards.into_values().map(|entry| entry.shard).collect();
    assert_eq!(shards.len(), 2);
    assert_eq!(store.stats().tiers.0, 2 * 4);
    for (from, to, step) in [
        (HOUR, 3 * DAY - HOUR, 5 * MINUTE),
        (2 * HOUR, 3 * DAY - 2 * HOUR, 2 * HOUR),
    ] {
        let grid = grid(from, to, step);
        let raw = answers(&store, grid, true);
        for (tier, raw) in answers(&store, grid, false).iter().zip(&raw) {
            assert_eq!(tier, raw, "{grid:?}");
        }
    }
    // Days that the two have not in common are read from their tiers.
    let read = |grid: Grid, raw_only: bool| {
        let options = QueryOptions {
            raw_only,
            ..QueryOptions::default()
        };
        let counted = Counted::default();
        let text = "sum_over_time(g[2h])";
        let output = Engine::default().range(&store, text, grid, &options, &counted);
        output.unwrap();
        counted.0.into_inner()
    };
    let alone = grid(2 * HOUR, 22 * HOUR, 2 * HOUR);
    assert!(read(alone, false) * 20 < read(alone, true));
    let all = grid(2 * HOUR, 3 * DAY - 2 * HOUR, 2 * HOUR);
    assert!(read(all, false) * 3 < read(all, true) * 2);
}

#[test]
fn a_late_row_hides_nothing_of_a_day_of_which_one_class_is_gone() {
    let (mut story, store) = Story::new(|world| {
        world.config.retention = Duration::from_hours(24 * 15);
        world.config.retention_classes = vec![RetentionClass {
            name: "slo".to_owned(),
            matchers: vec![Matcher::equal("__name__", "g")],
            retention: YEAR,
        }];
    });
    story.live(&store, 2, MINUTE);
    story.world.clock.advance(Duration::from_hours(24 * 100));
    assert!(store.keep());
    let stats = store.stats();
    assert_eq!((stats.partitions, stats.tiers.0), (6, 4), "{stats:?}");
    let hours = grid(5 * HOUR, 7 * HOUR, HOUR);
    // Windows that no bucket fits.
    let grid = grid(HOUR, DAY, MINUTE);
    let of = |all: &Answers, name: &str| -> Answers {
        let named = all.iter().filter(|(text, _)| text.contains(name));
        named.cloned().collect()
    };
    let before = answers(&store, grid, false);
    assert!(
        of(&before, "c_total")
            .iter()
            .all(|(_, found)| found.len() == 1)
    );
    assert_eq!(of(&before, "(g["), of(&answers(&store, grid, true), "(g["));
    // Inside a bucket of each series.
    story.agent = Agent::new("node-1", 2);
    let row = story.row(BEGIN + 3 * HOUR + 90_000);
    story.send(&store, &[row]);
    let with_it = of(&answers(&store, grid, true), "(g[");
    assert_ne!(with_it, of(&before, "(g["));
    let check = |store: &Tsdb, when: &str| {
        let now = answers(store, grid, false);
        assert_eq!(of(&now, "(g["), with_it, "{when}");
        assert_eq!(of(&now, "c_total"), of(&before, "c_total"), "{when}");
    };
    check(&store, "in the head");
    seal(&store);
    check(&store, "in a file");
    assert!(store.keep());
    story.world.clock.advance(Duration::from_hours(7));
    assert!(store.keep());
    check(&store, "merged");
    drop(store);
    let store = story.world.open().0;
    check(&store, "opened again");
    // Between the buckets of a class that is gone: it is one more.
    let counts = || floats(&store, "count_over_time(c_total[1h])", hours);
    assert_eq!(counts(), [60.0; 3]);
    story.agent = Agent::new("node-1", 3);
    let row = story.row(BEGIN + 5 * HOUR + 30_000);
    story.send(&store, &[row]);
    assert_eq!(counts(), [60.0, 61.0, 60.0]);
    seal(&store);
    assert_eq!(counts(), [60.0, 61.0, 60.0]);
}

#[test]
fn deletes_are_carried_out_in_tiers_of_which_the_samples_are_gone() {
    let (mut story, store) = Story::new(|_| {});
    story.live(&store, 2, MINUTE);
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    let series = |store: &Tsdb| store.partition_space().unwrap().series;
    assert_eq!((store.stats().partitions, series(&store)), (4, 12));
    let grid = grid(HOUR, 2 * DAY, 5 * MINUTE);
    let named = |name: &str| [vec![Matcher::equal("__name__", name)]];
    let part = TimeRange::new(
        TimestampMs(BEGIN + 2 * HOUR + 1),
        TimestampMs(BEGIN + 5 * HOUR),
    );
    let before = answers(&store, grid, false);
    let mut store = Some(store);
    for (name, range, left) in [("g", TimeRange::ALL, 8), ("c_total", part, 8)] {
        // Numbers in names of files go on where they ended.
        drop(store.take());
        let store = &*store.insert(story.world.open().0);
        store.delete(&named(name), range).unwrap();
        let masked = answers(store, grid, false);
        assert_ne!(masked, before);
        store.clean_deletes().unwrap();
        let stats = store.stats();
        assert_eq!((stats.partitions_hit, series(store)), (0, left), "{name}");
        assert_eq!(answers(store, grid, false), masked, "{name}");
        assert_eq!(story.world.catalogue().deletes.len(), 0, "{name}");
    }
    let expected = answers(store.as_ref().unwrap(), grid, false);
    // What was not deleted is as it was.
    assert_eq!(expected[7], before[7]);
    drop(store);
    let store = story.world.open().0;
    assert_eq!(answers(&store, grid, false), expected);
    store.delete(&[], TimeRange::ALL).unwrap();
    store.clean_deletes().unwrap();
    assert_eq!(store.stats().partitions, 0);
}

#[test]
fn tiers_of_a_catalogue_that_was_lost_are_not_made_anew_of_what_is_left() {
    let (mut story, store) = Story::new(|world| {
        world.config.retention = Duration::from_hours(24 * 15);
        world.config.retention_classes = vec![RetentionClass {
            name: "slo".to_owned(),
            matchers: vec![Matcher::equal("__name__", "g")],
            retention: YEAR,
        }];
    });
    story.live(&store, 2, MINUTE);
    story.world.clock.advance(Duration::from_hours(24 * 20));
    assert!(store.keep());
    let grid = grid(HOUR, 2 * DAY - HOUR, 5 * MINUTE);
    let before = answers(&store, grid, false);
    drop(store);
    let disk = &story.world.disk;
    disk.remove(std::path::Path::new("/data/catalogue.redb"))
        .unwrap();
    let folder = &story.world.config.folder;
    let offline = Offline::open(std::sync::Arc::new(disk.clone()), folder);
    offline.unwrap().repair(true).unwrap();
    let (store, _) = story.world.open();
    for when in ["found again", "merged", "kept"] {
        assert_eq!(answers(&store, grid, false), before, "{when}");
        assert!(store.keep());
    }
    assert_eq!(store.stats().tiers.0, 4);
    assert_eq!(store.stats().tiers_made, 0);
}

#[test]
fn a_delete_up_to_midnight_is_nothing_to_the_next_day() {
    let (mut story, store) = Story::new(|_| {});
    story.live(&store, 2, MINUTE);
    let day = TimeRange::new(TimestampMs(BEGIN), TimestampMs(BEGIN + DAY - 1));
    store.delete(&[], day).unwrap();
    assert_eq!(store.stats().partitions_hit, 3, "its file and its tiers");
    let grid = grid(DAY, 2 * DAY, 5 * MINUTE);
    let raw = answers(&store, grid, true);
    assert_eq!(answers(&store, grid, false), raw, "masked");
    store.clean_deletes().unwrap();
    let stats = store.stats();
    assert_eq!((stats.partitions_hit, stats.tiers.0), (0, 2), "{stats:?}");
    assert_eq!(stats.tiers_made, 4, "none is made anew");
    assert_eq!(answers(&store, grid, false), raw, "cleaned");
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    assert_eq!(answers(&store, grid, false), raw, "samples gone");
}

#[test]
fn a_day_of_which_all_is_deleted_when_tiers_come_has_none_and_is_cleaned() {
    let (mut story, store) = Story::new(|world| world.config.tiers = TierRetention::default());
    story.live(&store, 2, MINUTE);
    let day = TimeRange::new(TimestampMs(BEGIN), TimestampMs(BEGIN + DAY - 1));
    store.delete(&[], day).unwrap();
    drop(store);
    story.world.config.tiers.one_hour = Some(YEAR * 2);
    let store = story.world.open().0;
    assert!(store.keep());
    store.clean_deletes().unwrap();
    let stats = store.stats();
    assert_eq!((stats.partitions_hit, stats.tiers.0), (0, 1), "{stats:?}");
    assert_eq!(stats.partitions, 2, "{stats:?}");
}

#[test]
fn damage_costs_the_tier_of_its_day_no_more_than_what_is_damaged() {
    let (mut story, store) = Story::new(|world| world.config.tiers = TierRetention::default());
    story.series = (0..80)
        .map(|id| labels(&[("__name__", "g"), ("id", &id.to_string())]))
        .collect();
    for half in 0..2 {
        let minutes = half * 720..(half + 1) * 720;
        let rows: Vec<_> = minutes
            .map(|minute| {
                // They take much space, and their sums are exact.
                let mut value = || Some(story.random.u64(0..1 << 40) as f64);
                let values: Vec<Option<f64>> = (0..80).map(|_| value()).collect();
                story.agent.row(0, BEGIN + minute * MINUTE, &values)
            })
            .collect();
        story.send(&store, &rows);
        seal(&store);
    }
    story.world.clock.advance(Duration::from_hours(6));
    assert!(store.keep());
    assert_eq!(store.stats().partitions, 1);
    drop(store);
    let name = story.world.catalogue().partitions.into_keys().next();
    let path = std::path::Path::new("/data/partitions").join(name.unwrap());
    let bytes = story.world.disk.contents(&path).unwrap().len() as u64;
    story.world.disk.flip_bit(&path, bytes / 2 * 8).unwrap();
    story.world.config.tiers.five_minutes = Some(YEAR * 10);
    let store = story.world.open().0;
    assert!(store.keep());
    let stats = store.stats();
    assert_eq!((stats.tiers.0, stats.partitions), (1, 2), "{stats:?}");
    assert!(stats.damages > 0);
    let left = contents(&store).len();
    assert!((40..80).contains(&left), "{left}");
    let grid = grid(HOUR, DAY - 5 * MINUTE, 5 * MINUTE);
    let raw = answers(&store, grid, true);
    assert_eq!(answers(&store, grid, false), raw);
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    assert_eq!(store.stats().partitions, 1);
    assert_eq!(answers(&store, grid, false), raw);
}

#[test]
fn samples_that_are_kept_for_hours_wait_for_the_tier_of_their_day() {
    let (mut story, store) = Story::new(|world| {
        world.config.retention = Duration::from_hours(6);
    });
    // Later than the clock, which shows an evening.
    story.at = DAY;
    for _ in 0..2 {
        story.live(&store, 1, MINUTE);
    }
    let counts = || {
        floats(
            &store,
            "count_over_time(c_total[1d])",
            grid(2 * DAY, 3 * DAY, DAY),
        )
    };
    for _ in 0..3 {
        // Midnight is the last of one day's and none of the next one's.
        assert_eq!(counts(), [1_440.0, 1_439.0]);
        story.world.clock.advance(Duration::from_hours(4));
        assert!(store.keep());
    }
    let stats = store.stats();
    assert_eq!((stats.partitions, stats.tiers.0), (4, 4), "{stats:?}");
    assert_eq!(counts(), [1_440.0, 1_439.0]);
}

/// Prints what a month at 5-minute steps costs from samples and from tiers.
/// `cargo test --release -p tsdb a_month_of_tiers -- --ignored --nocapture`; `PROMONTORY_TIER_SERIES` (1,000) and `PROMONTORY_TIER_DAYS` (30).
#[test]
#[ignore = "prints figures; takes minutes"]
#[expect(clippy::disallowed_methods, reason = "a measurement that is asked for")]
fn a_month_of_tiers() {
    let number = |name: &str, default: u32| {
        let value = std::env::var(name).ok().and_then(|text| text.parse().ok());
        value.unwrap_or(default)
    };
    let (count, days) = (
        number("PROMONTORY_TIER_SERIES", 1_000),
        number("PROMONTORY_TIER_DAYS", 30),
    );
    let (mut story, store) = Story::new(|_| {});
    story.series = (0..count)
        .map(|id| labels(&[("__name__", "c_total"), ("id", &id.to_string())]))
        .collect();
    let mut totals = vec![0.0; count as usize];
    for half in 0..i64::from(days) * 2 {
        story.agent = Agent::new("node-1", half.unsigned_abs() + 1);
        for part in 0..12 {
            let rows: Vec<_> = (0..240)
                .map(|row| {
                    let at = BEGIN + half * 12 * HOUR + part * HOUR + row * 15_000;
                    for total in &mut totals {
                        *total += f64::from(story.random.u32(0..1_000));
                    }
                    let values: Vec<Option<f64>> =
                        totals.iter().map(|total| Some(*total)).collect();
                    story.agent.row(0, at, &values)
                })
                .collect();
            story.send(&store, &rows);
        }
        seal(&store);
        story.world.clock.advance(Duration::from_hours(12));
    }
    story.world.clock.advance(Duration::from_hours(48));
    assert!(store.keep());
    let stats = store.stats();
    println!(
        "{count} series, {days} days at 15 s: samples {} MB, {} tier files {} MB",
        (stats.partition_bytes - stats.tiers.1) >> 20,
        stats.tiers.0,
        stats.tiers.1 >> 20
    );
    let end = i64::from(days) * DAY;
    for (step, texts) in [
        (
            5 * MINUTE,
            [
                "sum(rate(c_total[5m]))",
                "sum(avg_over_time(c_total[1h]))",
                "max(c_total)",
            ],
        ),
        (
            HOUR,
            [
                "sum(rate(c_total[1h]))",
                "sum(avg_over_time(c_total[6h]))",
                "max(c_total)",
            ],
        ),
    ] {
        for text in texts {
            let mut took = Vec::new();
            for raw_only in [true, false] {
                let options = QueryOptions {
                    raw_only,
                    ..QueryOptions::default()
                };
                let began = Instant::now();
                let grid = grid(6 * HOUR, end - HOUR, step);
                Engine::default()
                    .range(&store, text, grid, &options, &Unlimited)
                    .unwrap();
                took.push(began.elapsed().as_millis());
            }
            println!(
                "{text} by {} min: samples {} ms, tier {} ms",
                step / MINUTE,
                took[0],
                took[1]
            );
        }
    }
}

#[test]
fn what_is_corrected_is_gone_from_files_and_tiers() {
    let (mut story, store) = Story::new(|_| {});
    story.live(&store, 3, MINUTE);
    let grids = [
        grid(HOUR * 3, 3 * DAY - 5 * MINUTE, 5 * MINUTE),
        grid(HOUR * 3, 3 * DAY - HOUR, 2 * HOUR),
    ];
    let first = answers(&store, grids[0], true);
    let mut expected = Vec::new();
    // The second time over the end of what the first has corrected; then back to front.
    for (epoch, span) in [(2, 10 * HOUR..20 * HOUR), (3, 15 * HOUR..26 * HOUR)] {
        story.agent = Agent::new("node-1", epoch).lane(Lane::Correction);
        story.correct(&store, span);
        expected = answers(&store, grids[0], true);
        assert_ne!(expected, first);
        assert_eq!(answers(&store, grids[0], false), expected, "in the head");
        seal(&store);
        assert_eq!(answers(&store, grids[0], false), expected, "in a file");
    }
    let files = store.stats().partitions;
    assert!(store.keep());
    story.world.clock.advance(Duration::from_hours(7));
    assert!(store.keep());
    let stats = store.stats();
    assert!(
        stats.partitions < files && stats.tiers_made > 6,
        "{stats:?}"
    );
    for grid in grids {
        let raw = answers(&store, grid, true);
        for (tier, raw) in answers(&store, grid, false).iter().zip(&raw) {
            assert_eq!(tier, raw, "made anew, {grid:?}");
        }
    }
    assert_eq!(answers(&store, grids[0], true), expected, "merged");
    drop(store);
    let store = story.world.open().0;
    assert_eq!(answers(&store, grids[0], true), expected, "opened again");
    story
        .world
        .clock
        .advance(YEAR + Duration::from_hours(24 * 5));
    assert!(store.keep());
    for (tier, raw) in answers(&store, grids[0], false).iter().zip(&expected) {
        assert_eq!(tier, raw, "samples gone");
    }
}
