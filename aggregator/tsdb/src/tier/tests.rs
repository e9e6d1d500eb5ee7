use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Histogram, STALE_NAN};
use proptest::prelude::*;
use storage::{RollupColumns, RollupUse, Select, SelectHints, Times};

use super::*;
use crate::catalogue::{Level, PartitionEntry, Tier};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn entry(
    day: i64,
    tier: Tier,
    (until, deleted, samples): (u64, u64, u64),
    class: &str,
) -> PartitionEntry {
    PartitionEntry {
        shard: 0,
        times: TimeRange::new(
            TimestampMs(day * DAY_MS),
            TimestampMs(day * DAY_MS + DAY_MS - 1),
        ),
        bytes: 1_000,
        samples,
        until,
        level: Level::Day,
        tier,
        class: class.to_owned(),
        deleted,
    }
}

fn plan(files: &[(&str, PartitionEntry)]) -> Option<(Tier, Vec<String>, Option<String>)> {
    let files: Vec<(String, PartitionEntry)> = files
        .iter()
        .map(|(name, entry)| ((*name).to_owned(), entry.clone()))
        .collect();
    let tiers = [Tier::Minutes5, Tier::Hour];
    let plan = plan_tiers(
        files.iter().map(|(name, entry)| (name, entry)),
        |tier, _| tiers.contains(&tier),
        |name| name == "damaged",
        |_| false,
    );
    plan.map(|plan| (plan.tier, plan.inputs, plan.replaces))
}

#[test]
fn tiers_are_made_of_merged_days_and_anew_when_these_change() {
    let raw = |numbers| entry(5, Tier::Raw, numbers, "");
    let tier = |tier, numbers| entry(5, tier, numbers, "");
    let sealed = PartitionEntry {
        level: Level::Sealed,
        ..raw((12, 0, 3))
    };
    let own = |name: &str| vec![name.to_owned()];
    assert_eq!(plan(&[]), None);
    assert_eq!(plan(&[("late", sealed.clone())]), None);
    assert_eq!(plan(&[("damaged", raw((10, 0, 100)))]), None);
    let day = ("day", raw((10, 0, 100)));
    let five = ("5m", tier(Tier::Minutes5, (10, 0, 100)));
    let hour = ("1h", tier(Tier::Hour, (10, 0, 100)));
    assert_eq!(
        plan(std::slice::from_ref(&day)),
        Some((Tier::Minutes5, own("day"), None))
    );
    assert_eq!(
        plan(&[day.clone(), five.clone()]),
        Some((Tier::Hour, own("day"), None))
    );
    let all = [day.clone(), five.clone(), hour.clone()];
    assert_eq!(plan(&all), None);
    // What comes late waits for its merge.
    let late = [day, five.clone(), hour.clone(), ("late", sealed)];
    assert_eq!(plan(&late), None);
    for changed in [(14, 0, 103), (10, 13, 90), (14, 0, 100)] {
        let anew = [("new", raw(changed)), five.clone(), hour.clone()];
        let expected = (Tier::Minutes5, own("new"), Some("5m".to_owned()));
        assert_eq!(plan(&anew), Some(expected), "{changed:?}");
    }
    // Retention took the rest: what is left is not what the tier sums up.
    assert_eq!(plan(&[("rest", raw((14, 0, 3))), five, hour]), None);
}

#[test]
fn a_class_that_is_gone_leaves_the_tier_alone_whatever_comes_later() {
    let raw = |class, numbers| entry(5, Tier::Raw, numbers, class);
    let mut tiers = [
        entry(5, Tier::Minutes5, (10, 0, 100), "default,long"),
        entry(5, Tier::Hour, (10, 0, 100), "default,long"),
    ];
    let long = ("long", raw("long", (10, 7, 30)));
    let default = ("default", raw("default", (10, 0, 70)));
    let planned = |files: &[(&str, PartitionEntry)], [five, hour]: &[PartitionEntry; 2]| {
        let tiers = [("5m", five.clone()), ("1h", hour.clone())];
        let planned = plan(&[files, &tiers].concat());
        planned.map(|(tier, inputs, _)| (tier, inputs.len()))
    };
    let shorter = ("default", raw("default", (10, 7, 60)));
    assert_eq!(
        planned(&[long.clone(), shorter], &tiers),
        Some((Tier::Minutes5, 2))
    );
    // A late file that goes is none of which they were made; nor is one of another day, or shard.
    let late = PartitionEntry {
        level: Level::Sealed,
        ..raw("", (12, 0, 3))
    };
    let other_day = entry(6, Tier::Raw, (10, 0, 100), "default");
    let other_shard = PartitionEntry {
        shard: 1,
        ..default.1.clone()
    };
    let whole = tiers.clone();
    for gone in [&late, &other_day, &other_shard] {
        bereave(tiers.iter_mut(), gone);
        assert_eq!(tiers, whole, "{gone:?}");
    }
    for _ in 0..2 {
        bereave(tiers.iter_mut(), &default.1);
        assert_eq!(tiers[0].class, "!default,long");
    }
    assert_eq!(planned(std::slice::from_ref(&long), &tiers), None);
    // Nor is one of another length made of what is left.
    let [five, _] = &tiers;
    assert_eq!(plan(&[long.clone(), ("5m", five.clone())]), None);
    // What comes later is not what has gone, even if it is as much.
    let again = ("default", raw("default", (14, 8, 70)));
    assert_eq!(planned(&[long.clone(), again], &tiers), None);
    // A catalogue that nobody has noted it in.
    let noted = |files: &[&PartitionEntry]| {
        let files = files.iter().copied().chain(&whole).cloned();
        let mut all: BTreeMap<String, PartitionEntry> =
            (0..).map(|at: u32| at.to_string()).zip(files).collect();
        find_bereft(&mut all);
        let tiers = all.into_values().filter(|entry| entry.tier != Tier::Raw);
        tiers.filter(|tier| tier.class.starts_with('!')).count()
    };
    assert_eq!(noted(&[&long.1, &default.1]), 0);
    assert_eq!(noted(&[&long.1, &other_day, &other_shard]), 2);
}

#[test]
fn files_that_are_split_otherwise_or_rewritten_as_they_were_are_the_same_to_a_tier() {
    let raw = |name, class, numbers| (name, entry(5, Tier::Raw, numbers, class));
    let five = ("5m", entry(5, Tier::Minutes5, (10, 0, 100), "default,long"));
    let hour = ("1h", entry(5, Tier::Hour, (10, 0, 100), "default,long"));
    for files in [
        vec![raw("day", "", (10, 0, 100))],
        vec![raw("a", "a", (10, 0, 60)), raw("b", "b", (10, 0, 40))],
        vec![raw("day", "default", (10, 7, 100))],
    ] {
        let files = [files, vec![five.clone(), hour.clone()]].concat();
        assert_eq!(plan(&files), None, "{files:?}");
    }
}

fn chosen(
    files: &[(PartitionEntry, bool)],
    heads: &[i64],
    aligned_to_ms: Option<u64>,
) -> Vec<usize> {
    let sources: Vec<Source<'_>> = files
        .iter()
        .map(|(entry, hit)| Source { entry, hit: *hit })
        .collect();
    let heads: Vec<(u16, TimeRange)> = heads
        .iter()
        .map(|day| (0, entry(*day, Tier::Raw, (0, 0, 0), "").times))
        .collect();
    let rollups = aligned_to_ms.map(|aligned_to_ms| RollupUse {
        columns: RollupColumns::ALL,
        aligned_to_ms,
    });
    let select = Select {
        matchers: &[],
        range: TimeRange::new(TimestampMs(5 * DAY_MS), TimestampMs(7 * DAY_MS)),
        hints: SelectHints {
            rollups,
            ..SelectHints::default()
        },
    };
    let read = choose(&sources, &heads, (&select, &BTreeSet::new()), |_| Some(10));
    let read = read.iter().enumerate().filter(|(_, read)| **read);
    read.map(|(at, _)| at).collect()
}

#[test]
fn the_coarsest_tier_that_fits_is_read_and_samples_where_none_does() {
    let files = |numbers, deleted| {
        [
            (entry(5, Tier::Raw, numbers, ""), false),
            (entry(5, Tier::Minutes5, (10, deleted, 100), ""), false),
            (entry(5, Tier::Hour, (10, deleted, 100), ""), false),
            (entry(6, Tier::Raw, (11, 0, 100), ""), false),
        ]
    };
    let minutes = |minutes: u64| Some(minutes * 60_000);
    let all = files((10, 0, 100), 0);
    assert_eq!(chosen(&all, &[], None), vec![0, 3]);
    assert_eq!(chosen(&all, &[], minutes(1)), vec![0, 3]);
    assert_eq!(chosen(&all, &[], minutes(10)), vec![1, 3]);
    assert_eq!(chosen(&all, &[], minutes(120)), vec![2, 3]);
    assert_eq!(chosen(&all, &[], Some(0)), vec![2, 3]);
    // Rows in the head, rows merged since, deletes: the tier is behind.
    assert_eq!(chosen(&all, &[5], minutes(10)), vec![0, 3]);
    assert_eq!(chosen(&all, &[6], minutes(10)), vec![1, 3]);
    assert_eq!(
        chosen(&files((12, 0, 110), 0), &[], minutes(10)),
        vec![0, 3]
    );
    assert_eq!(chosen(&files((10, 9, 90), 0), &[], minutes(10)), vec![0, 3]);
    let mut hit = all.clone();
    hit[1].1 = true;
    assert_eq!(chosen(&hit, &[], minutes(10)), vec![0, 3]);
    // Few samples are cheaper than many buckets.
    let few = [
        (entry(5, Tier::Raw, (10, 0, 20), ""), false),
        (entry(5, Tier::Minutes5, (10, 0, 20), ""), false),
    ];
    assert_eq!(chosen(&few, &[], minutes(10)), vec![0]);
}

#[test]
fn tiers_stand_for_samples_that_are_gone() {
    let five = (
        entry(5, Tier::Minutes5, (10, 0, 100), "default,long"),
        false,
    );
    let hour = (entry(5, Tier::Hour, (10, 0, 100), "default,long"), false);
    let both = [five.clone(), hour];
    assert_eq!(chosen(&both, &[5], None), Vec::<usize>::new());
    assert_eq!(chosen(&both, &[5], Some(1_000)), vec![0]);
    assert_eq!(chosen(&both, &[], Some(3_600_000)), vec![1]);
    let long = (entry(5, Tier::Raw, (10, 0, 30), "long"), false);
    // A coarser one that an earlier version has made of what is left.
    let rest = (entry(5, Tier::Hour, (10, 0, 30), "long"), false);
    assert_eq!(
        chosen(&[five.clone(), rest, long.clone()], &[], Some(3_600_000)),
        vec![0, 2]
    );
    let late = (entry(5, Tier::Raw, (12, 0, 1), ""), false);
    assert_eq!(chosen(&[five, long, late], &[], Some(1_000)), vec![0, 1, 2]);
}

fn segment(samples: &[(i64, f64)]) -> Segment {
    let times: Vec<TimestampMs> = samples.iter().map(|(at, _)| TimestampMs(*at)).collect();
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    Segment::floats(Times::new(times), values)
}

#[test]
fn histograms_are_not_summarised() {
    let times = Times::new(vec![TimestampMs(5)]);
    let histogram = Segment {
        times,
        presence: None,
        values: SegmentValues::Histograms(vec![Arc::new(Histogram::stale())].into()),
        start_times: None,
    };
    let length = BucketLength::FIVE_MINUTES;
    assert!(summarise(&[segment(&[(1, 1.0)]), histogram], length).is_none());
    assert!(summarise(&[], length).is_some_and(|buckets| buckets.is_empty()));
}

proptest! {
    #[test]
    fn a_page_has_the_buckets_that_end_in_its_column(
        gaps in prop::collection::vec((1_i64..2_000_000, prop_oneof![4 => (0_i32..9).prop_map(f64::from), 1 => Just(STALE_NAN)]), 0..80),
        hour in any::<bool>(),
    ) {
        let length = if hour { BucketLength::ONE_HOUR } else { BucketLength::FIVE_MINUTES };
        let mut at = -1;
        let samples: Vec<(i64, f64)> = gaps.into_iter().map(|(gap, value)| { at += gap; (at, value) }).filter(|(at, _)| *at < DAY_MS).collect();
        let buckets = summarise(&[segment(&samples)], length).unwrap();
        let mut found = Vec::new();
        for ends in columns_of_ends(day_range(0), length) {
            prop_assert!(ends.len() <= ENDS_MAX);
            let mut page = Vec::new();
            if let Some(first) = encode_tier_page(&ends, &buckets, length, &mut Scratch::default(), &mut page) {
                let page = crate::page::decode_page(&page, &mut Scratch::default()).unwrap();
                let ends = &ends[first..first + page.rows()];
                let segment = page.into_segment(Times::new(ends));
                prop_assert!(segment.is_present(0) && segment.is_present(ends.len() - 1));
                let SegmentValues::Rollup(rollups) = &segment.values else { panic!("summaries") };
                for (row, end) in ends.iter().enumerate().filter(|(row, _)| segment.is_present(*row)) {
                    let rollup = rollups.row(row, *end).unwrap();
                    found.push((*end, rollup.count, rollup.first.0, rollup.last.0, rollup.ended));
                }
            }
        }
        let expected: Vec<_> = buckets.iter().map(|(end, rollup)| (*end, rollup.count, rollup.first.0, rollup.last.0, rollup.ended)).collect();
        prop_assert_eq!(found, expected);
    }
}
