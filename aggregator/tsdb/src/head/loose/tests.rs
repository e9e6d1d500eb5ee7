//! A series against its naive twin: a list of all that came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Histogram, STALE_NAN, TimeRange, TimestampMs, VOID_NAN, Value};
use proptest::prelude::*;
use rows::{CohortId, SeriesSample};
use storage::Segment;

use super::*;
use crate::merge_runs::merge_runs;

/// How far the time moves, what the value is, how far the log's position moves (by 3: a correction), and whose sample it is.
type Step = (i64, u8, u8, usize);

/// Places of a table: two neighbours in one strip, one in another.
const PLACES: [u32; 3] = [0, 5, 8];

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        12 => 14_990i64..15_010,
        6 => Just(0i64),
        2 => -400_000i64..0,
        1 => Just(5_000_000_000i64),
    ];
    let advance = prop_oneof![4 => Just(0u8), 1 => 1u8..4];
    (time, any::<u8>(), advance, 0..PLACES.len())
}

fn sample(at: i64, what: u8) -> SeriesSample {
    SeriesSample {
        cohort: CohortId(0),
        slot: 0,
        at: TimestampMs(at),
        value: match what {
            0..4 => Value::Float(STALE_NAN),
            4..8 => Value::Histogram(Arc::new(Histogram {
                sum: f64::from(what),
                ..Histogram::stale()
            })),
            other => Value::Float(f64::from(other) / 8.0),
        },
        start: TimestampMs(if what.is_multiple_of(16) {
            i64::from(what)
        } else {
            0
        }),
    }
}

/// By time: value as text, start time.
type Contents = BTreeMap<i64, (String, i64)>;

fn text(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        Value::Histogram(histogram) => format!("histogram {}", histogram.sum),
    }
}

fn contents(segments: &[Segment]) -> Contents {
    let mut all = Contents::new();
    for segment in segments {
        for (row, at) in segment.times.as_slice().iter().enumerate() {
            let value = segment.value(row).expect("all are present");
            let starts = segment.start_times.as_ref();
            let start = starts.map_or(0, |starts| starts[row].0);
            assert_eq!(all.insert(at.0, (text(&value), start)), None, "at {}", at.0);
        }
    }
    all
}

/// Returns time and value of the newest sample, if it is found without looking at pages.
fn newest(
    series: LooseView<'_>,
    until: u64,
    range: TimeRange,
    axes: &mut AxisReads,
) -> Option<(i64, String)> {
    let mut plain = PlainSeries::new(range);
    plain.begin();
    let at = series.append_newest(until, range, axes, &mut plain)?;
    let found = plain.finish().expect("one piece rises");
    let (times, values) = found.expect("it is in the range");
    assert_eq!(times.as_slice(), [at]);
    Some((at.0, text(&Value::Float(values[0]))))
}

/// A table with a place for each of so many series.
fn table(series: u32) -> LooseTable {
    let mut table = LooseTable::default();
    for id in 0..series {
        assert_eq!(table.place_of(id), id);
    }
    table
}

fn check(steps: &[Step], monotone_burst: bool) {
    let mut table = table(9);
    let (mut tools, mut scratch) = (Tools::default(), Scratch::default());
    let (mut at, mut position) = (1_700_000_000_000, 10);
    let mut all_came: [Vec<(Arrival, SeriesSample)>; PLACES.len()] = Default::default();
    for (apart, what, advance, of) in steps {
        at += if monotone_burst {
            -apart.abs() - 1
        } else {
            *apart
        };
        position += u64::from(*advance);
        let mut sample = sample(at, *what);
        let came = &mut all_came[*of];
        let corrected = came.len().checked_sub(1 + usize::from(*what));
        let mut arrival = Arrival::at(position);
        if *advance == 3
            && let Some(corrected) = corrected
        {
            sample.at = came[corrected].1.at;
            if what.is_multiple_of(3) {
                sample.value = Value::Float(VOID_NAN);
            }
            arrival = Arrival::of_correction(position);
        }
        let place = PLACES[*of];
        table.push(place, &sample, arrival, &mut tools, &mut scratch);
        came.push((arrival, sample));
        if !monotone_burst {
            let came = all_came.iter().flatten();
            at = came.map(|(_, sample)| sample.at.0).fold(at, i64::max);
        }
    }
    for (place, came) in PLACES.into_iter().zip(&all_came) {
        let series = table.get(place).expect("it has a place");
        check_series(series, came, position);
        if monotone_burst && let Some(rare) = &series.series.rare {
            let late = rare.late.pages.len();
            assert!(late <= 1 + came.len() / (LATE_ROWS - LATE_OPEN), "{late}");
        }
        let small = series.series.pages.iter().filter(|page| page.is_small());
        assert!(small.count() < 3 * 6, "each three of them halve");
    }
}

/// What a reader finds at any position.
fn check_series(series: LooseView<'_>, came: &[(Arrival, SeriesSample)], position: u64) {
    let (mut axes, mut scratch) = (AxisReads::default(), Scratch::default());
    for until in [0, 10, 10 + position / 3, position - 1, position, u64::MAX] {
        let mut expected = Contents::new();
        let seen = came
            .iter()
            .filter(|(arrival, _)| arrival.position() <= until);
        for (arrival, sample) in seen.clone() {
            let stored = (text(&sample.value), sample.start.0);
            if arrival.is_correction() {
                expected.insert(sample.at.0, stored);
            } else {
                expected.entry(sample.at.0).or_insert(stored);
            }
        }
        let void = text(&Value::Float(VOID_NAN));
        expected.retain(|_, (value, _)| *value != void);
        let mut runs = Vec::new();
        series.read(until, TimeRange::ALL, (&mut axes, &mut scratch), &mut runs);
        assert_eq!(contents(&merge_runs(runs)), expected, "until {until}");
        assert_eq!(series.touches(until, TimeRange::ALL), seen.count() > 0);
        for (_, last) in came.iter().rev().step_by(7).take(9) {
            let range = TimeRange::new(TimestampMs(last.at.0 - 300_000), last.at);
            if let Some(found) = newest(series, until, range, &mut axes) {
                let mut within = expected.range(range.start.0..=range.end.0);
                let (at, (value, start)) = within.next_back().expect("one was found");
                let expected = (*at, value.clone());
                assert_eq!((found, *start), (expected, 0), "until {until}");
            }
        }
        if until == u64::MAX && !came.is_empty() {
            check_sealed(series, came, &expected);
        }
    }
}

/// What a partition takes of a series: all of it, and all of a range.
fn check_sealed(series: LooseView<'_>, came: &[(Arrival, SeriesSample)], expected: &Contents) {
    let (mut axes, mut scratch) = (AxisReads::default(), Scratch::default());
    let mut shown = BTreeSet::new();
    series.times(&mut axes, &mut |times| {
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        shown.extend(times.iter().map(|at| at.0));
    });
    let all: BTreeSet<i64> = came.iter().map(|(_, sample)| sample.at.0).collect();
    assert!(expected.keys().all(|at| shown.contains(at)) && shown.is_subset(&all));
    let middle = came[came.len() / 2].1.at;
    for range in [
        TimeRange::ALL,
        TimeRange::new(TimestampMs::MIN, middle),
        TimeRange::new(middle, TimestampMs::MAX),
    ] {
        let within = |all: Contents| -> Contents {
            let within = |at: &i64| range.contains(TimestampMs(*at));
            all.into_iter().filter(|(at, _)| within(at)).collect()
        };
        let mut runs = Vec::new();
        series.read_joined(range, (&mut axes, &mut scratch), &mut runs);
        let read = within(contents(&merge_runs(runs)));
        assert_eq!(read, within(expected.clone()));

        let mut plain = PlainSeries::new(range);
        plain.begin();
        let tools = (&mut axes, &mut scratch);
        if series.append_plain(u64::MAX, range, tools, &mut plain) == Appended::Plain {
            let found = plain.finish().expect("main runs follow each other");
            let samples = found.into_iter().flat_map(|(times, values)| {
                let times = times.as_slice().iter().map(|at| at.0);
                times.zip(values.iter().map(|value| (text(&Value::Float(*value)), 0)))
            });
            assert_eq!(within(samples.collect()), read);
            assert!(series.arrival(range).is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_series_agrees_with_its_twin(steps in prop::collection::vec(step(), 1..900)) {
        check(&steps, false);
    }

    #[test]
    fn a_burst_backwards_makes_few_pages(steps in prop::collection::vec(step(), 1..900)) {
        check(&steps, true);
    }
}

#[test]
fn two_hours_of_scrapes_take_little_and_share_their_times() {
    let (mut tools, mut scratch) = (Tools::default(), Scratch::default());
    let mut all = table(100);
    let mut grown = 0;
    for scrape in 0..480_u32 {
        let jitter = i64::from(scrape * 7_919 % 5);
        let at = TimestampMs(1_700_000_000_000 + i64::from(scrape) * 15_000 + jitter);
        for place in 0..100 {
            let mut sample = sample(at.0, 255);
            // A counter with a steady rate and some noise.
            let noise = (scrape * 31 + place * 17) % 13;
            sample.value = Value::Float(f64::from(scrape * 150 + noise));
            let arrival = Arrival::at(u64::from(scrape * 50));
            grown += all.push(place, &sample, arrival, &mut tools, &mut scratch);
            let range = TimeRange::new(TimestampMs(at.0 - 1), at);
            let series = all.get(place).expect("it has a place");
            let found = newest(series, u64::MAX, range, &mut AxisReads::default());
            assert_eq!(found, Some((at.0, text(&sample.value))), "scrape {scrape}");
        }
    }
    let per_series = SERIES_BYTES + u64::try_from(grown / 100).unwrap();
    assert!(per_series < 900, "{per_series} bytes a series");
    let pages: Vec<usize> = all.series.iter().map(|series| series.pages.len()).collect();
    assert!(pages.iter().all(|pages| *pages <= 8), "{pages:?}");
    let (first, last) = (&all.series[0], &all.series[99]);
    for (page, of_other) in first.pages.iter().zip(&last.pages) {
        assert!(Arc::ptr_eq(&page.axis, &of_other.axis));
    }
}
