//! A series against its naive twin: a list of all that came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Histogram, STALE_NAN, TimeRange, TimestampMs, VOID_NAN, Value};
use proptest::prelude::*;
use rows::{CohortId, SeriesSample};
use storage::Segment;

use super::*;
use crate::merge_runs::merge_runs;

/// How far the time moves, what the value is, how far the log's position moves; by 3: a correction.
type Step = (i64, u8, u8);

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        12 => 14_990i64..15_010,
        1 => Just(0i64),
        2 => -400_000i64..0,
        1 => Just(5_000_000_000i64),
    ];
    (time, any::<u8>(), 0u8..4)
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

fn check(steps: &[Step], monotone_burst: bool) {
    let mut series = LooseSeries::default();
    let (mut tools, mut scratch) = (Tools::default(), Scratch::default());
    let (mut at, mut position) = (1_700_000_000_000, 10);
    let mut came: Vec<(Arrival, SeriesSample)> = Vec::new();
    for (apart, what, advance) in steps {
        at += if monotone_burst {
            -apart.abs() - 1
        } else {
            *apart
        };
        position += u64::from(*advance);
        let mut sample = sample(at, *what);
        let corrected = came.len().checked_sub(1 + usize::from(*what));
        if *advance == 3
            && let Some(corrected) = corrected
        {
            let (_, earlier): &(Arrival, SeriesSample) = &came[corrected];
            sample.at = earlier.at;
            if what.is_multiple_of(3) {
                sample.value = Value::Float(VOID_NAN);
            }
            let arrival = Arrival::of_correction(position);
            series.push(&sample, arrival, &mut tools, &mut scratch);
            came.push((arrival, sample));
            continue;
        }
        let arrival = Arrival::at(position);
        series.push(&sample, arrival, &mut tools, &mut scratch);
        came.push((arrival, sample));
        at = came
            .iter()
            .map(|(_, sample)| sample.at.0)
            .max()
            .unwrap_or(at)
            .max(at);
        if monotone_burst {
            at = came.last().expect("pushed").1.at.0;
        }
    }
    let mut axes = AxisReads::default();
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
        if until == u64::MAX {
            check_sealed(&series, &came, &expected);
        }
    }
    if monotone_burst && steps.len() >= LATE_OPEN {
        let late = &series.rare.as_ref().expect("all but one are late").late;
        assert!(late.pages.len() <= 1 + steps.len() / (LATE_ROWS - LATE_OPEN));
    }
}

/// What a partition takes of a series: all of it, and all of a range.
fn check_sealed(series: &LooseSeries, came: &[(Arrival, SeriesSample)], expected: &Contents) {
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
    let mut all: Vec<LooseSeries> = (0..100).map(|_| LooseSeries::default()).collect();
    let mut grown = 0;
    for scrape in 0..480_u32 {
        let jitter = i64::from(scrape * 7_919 % 5);
        let at = TimestampMs(1_700_000_000_000 + i64::from(scrape) * 15_000 + jitter);
        for (index, series) in (0_u32..).zip(&mut all) {
            let mut sample = sample(at.0, 255);
            // A counter with a steady rate and some noise.
            let noise = (scrape * 31 + index * 17) % 13;
            sample.value = Value::Float(f64::from(scrape * 150 + noise));
            let arrival = Arrival::at(u64::from(scrape * 50));
            grown += series.push(&sample, arrival, &mut tools, &mut scratch);
        }
    }
    let per_series = size_of::<LooseSeries>() + usize::try_from(grown / 100).unwrap();
    assert!(per_series < 900, "{per_series} bytes a series");
    let pages: Vec<usize> = all.iter().map(|series| series.pages.len()).collect();
    assert!(pages.iter().all(|pages| *pages <= 8), "{pages:?}");
    for (page, of_other) in all[0].pages.iter().zip(&all[99].pages) {
        assert!(Arc::ptr_eq(&page.axis, &of_other.axis));
    }
}
