//! A folder of merged days with retention classes, deletes and both downsampling tiers: what the offline tools say of it.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use files::{FileSystem as _, Open};
use model::{Buckets, CounterReset, Histogram, Labels, Matcher, Span, TimeRange, TimestampMs};
use rows::Row;
use storage::{AppendOutcome, Appender as _, Queryable as _, Refusals};

use super::{copy, offline, read};
use crate::testing::*;
use crate::{FileKind, PartitionStatus, RepairAction, RetentionClass, TierRetention, Tsdb};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const YEAR: Duration = Duration::from_hours(24 * 365);
/// The start of the first of the two days.
const BEGIN: i64 = START_MS - START_MS % DAY;

/// A counter, a gauge, a histogram, and one of the class `slo`.
fn series() -> [Labels; 4] {
    ["c_total", "g", "h", "slo:h"].map(|name| labels(&[("__name__", name)]))
}

fn row(agent: &mut Agent, at: i64) -> Arc<Row> {
    let count = (at / MINUTE).unsigned_abs() % 1_000;
    let value = Some(count as f64);
    let mut row = Arc::unwrap_or_clone(agent.row(0, at, &[value, value, Some(0.0), Some(0.0)]));
    let histogram = Arc::new(Histogram {
        reset: CounterReset::NotReset,
        sum: count as f64,
        positive_spans: vec![Span {
            offset: 0,
            length: 2,
        }],
        buckets: Buckets::Integer {
            count,
            zero: 0,
            positive: vec![count / 2, count - count / 2],
            negative: vec![],
        },
        ..Histogram::stale()
    });
    row.histograms = vec![(2, Arc::clone(&histogram)), (3, histogram)];
    Arc::new(row)
}

/// Two days of rows each minute, merged, with tiers, of which a delete hides an hour of the gauge and of the histogram; and what a query
/// finds in the samples.
fn days() -> (World, Tsdb, Contents) {
    let mut world = World::new();
    world.config.shards = NonZeroU16::new(1);
    world.config.ahead_max = YEAR;
    world.config.retention = Duration::from_hours(24 * 15);
    world.config.retention_classes = vec![RetentionClass {
        name: "slo".to_owned(),
        matchers: vec![Matcher::equal("__name__", "slo:h")],
        retention: YEAR,
    }];
    world.config.tiers = TierRetention {
        five_minutes: Some(YEAR * 2),
        one_hour: Some(YEAR * 3),
    };
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let cohort = definition(0, "c", &series());
    store.define(&agent.source, cohort).unwrap();
    for half in 0..4 {
        let minutes = (half * 720..(half + 1) * 720).map(|minute| BEGIN + minute * MINUTE);
        let rows: Vec<_> = minutes.map(|at| row(&mut agent, at)).collect();
        let batch = agent.batch(&rows, &[]);
        let outcome = append(&store, &agent.source, &batch);
        assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        store.catch_up();
        store.freeze().unwrap();
        assert!(store.keep());
    }
    let end = Duration::from_millis((BEGIN + 2 * DAY - START_MS).unsigned_abs());
    world.clock.advance(end + Duration::from_hours(7));
    assert!(store.keep());
    assert_eq!(store.stats().tiers.0, 4);
    let matchers = ["g", "h"].map(|name| vec![Matcher::equal("__name__", name)]);
    let hour = TimeRange::new(
        TimestampMs(BEGIN + 60 * MINUTE),
        TimestampMs(BEGIN + 120 * MINUTE),
    );
    store.delete(&matchers, hour).unwrap();
    let before = contents(&store);
    (world, store, before)
}

/// Returns what a dump finds, each sample as often as it is told of.
fn dumped(world: &World) -> Contents {
    let mut found = Contents::new();
    let summary = offline(world)
        .dump(&[], TimeRange::ALL, &mut |sample| {
            let samples = found.entry(sample.labels.clone()).or_default();
            samples.push((sample.at.0, text_of(sample.value)));
        })
        .unwrap();
    assert_eq!(summary.damages, []);
    found.values_mut().for_each(|samples| samples.sort());
    found
}

fn tiers(listed: &[PartitionStatus]) -> Vec<&PartitionStatus> {
    listed.iter().filter(|file| file.tier.is_some()).collect()
}

#[test]
fn days_with_tiers_are_found_whole() {
    let (world, store, before) = days();
    drop(store);
    let offline = offline(&world);
    let report = offline.check(&mut |_| {}).unwrap();
    assert_eq!(report.damages, []);
    assert_eq!(offline.repair(true).unwrap().actions, []);
    let listed = offline.list().unwrap();
    let of_class = |class: &str| listed.iter().filter(|file| file.class == class).count();
    assert_eq!((of_class("slo"), of_class("default")), (2, 2), "{listed:?}");
    assert_eq!(tiers(&listed).len(), 4);
    // A tier is listed with what it sums up, and has fewer.
    for tier in tiers(&listed) {
        let file = report
            .files
            .iter()
            .find(|file| file.path.ends_with(&tier.file));
        let file = file.unwrap();
        assert_eq!(file.kind, FileKind::Partition);
        assert!(file.samples > 0 && file.samples < tier.samples, "{tier:?}");
    }
    let whole = before.values().map(Vec::len).sum::<usize>();
    assert_eq!(whole, 4 * 2_880 - 2 * 61);
}

#[test]
fn a_sample_that_tiers_have_too_is_dumped_once() {
    let (world, store, before) = days();
    store.close();
    drop(store);
    assert_eq!(dumped(&world), before, "beside samples");
    let (world, store, before) = days();
    store.clean_deletes().unwrap();
    drop(store);
    assert_eq!(dumped(&world), before, "deletes carried out");
    // The samples of one class go, and tiers are what is left of its histogram.
    let (store, _) = world.open();
    world.clock.advance(Duration::from_hours(24 * 20));
    assert!(store.keep());
    drop(store);
    let is_left = |labels: &Labels| matches!(labels.metric_name(), Some("h" | "slo:h"));
    let mut left = before;
    left.retain(|labels, _| is_left(labels));
    assert_eq!(dumped(&world), left, "samples of a class gone");
    let (store, _) = world.open();
    world.clock.advance(YEAR);
    assert!(store.keep());
    drop(store);
    assert_eq!(dumped(&world), left, "all samples gone");
    let (store, _) = world.open();
    // Ages count from the newest sample at the start.
    world.clock.advance(YEAR * 2 + Duration::from_hours(48));
    assert!(store.keep());
    assert_eq!(store.stats().tiers.0, 2);
    drop(store);
    assert_eq!(dumped(&world), left, "the finer tier gone");
}

#[test]
fn a_damaged_tier_is_repaired_and_no_sample_is_lost() {
    let (original, store, before) = days();
    store.close();
    drop(store);
    let listed = offline(&original).list().unwrap();
    let name = tiers(&listed)[0].file.clone();
    let path = Path::new("/data/partitions").join(&name);
    let bytes = read(&original.disk, &path);
    let entry_of = |world: &World| {
        let named = |(found, _): &(String, _)| found.starts_with(name.trim_end_matches(".redb"));
        let found = world.catalogue().partitions.into_iter().find(named);
        found.expect("the tier is named").1
    };
    let sums_up = entry_of(&original).samples;
    let (mut repaired, mut whole) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 16) {
        let world = copy(&original);
        let file = world.disk.open(&path, Open::write()).unwrap();
        file.write_at(at as u64, &[bytes[at] ^ 0x10]).unwrap();
        let report = offline(&world).check(&mut |_| {}).unwrap();
        let done = offline(&world).repair(true).unwrap();
        assert_eq!(
            done.actions.is_empty(),
            report.damage_count == 0,
            "byte {at}"
        );
        repaired += done.actions.len();
        for action in &done.actions {
            let (RepairAction::Rewrite { file, .. } | RepairAction::SetAside { file, .. }) = action
            else {
                panic!("byte {at}: {action:?}");
            };
            assert_eq!(*file, name, "byte {at}");
            if let RepairAction::Rewrite { lost, .. } = action {
                // One of which nothing is lost sums up what it did; any other is made anew.
                let expected = if *lost == 0 { sums_up } else { 0 };
                assert_eq!(entry_of(&world).samples, expected, "byte {at}");
                whole += usize::from(*lost == 0);
            }
        }
        assert_eq!(offline(&world).check(&mut |_| {}).unwrap().damages, []);
        assert_eq!(dumped(&world), before, "byte {at}");
        assert_eq!(contents(&world.open().0), before, "byte {at}");
    }
    assert!(
        repaired > 0 && whole > 0,
        "{repaired} of 16 places are read, {whole} cost nothing"
    );
}
