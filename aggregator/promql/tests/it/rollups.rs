//! Summaries instead of samples must not change what windows over whole buckets give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, STALE_NAN, TimeRange, TimestampMs, Value};
use promql::{Engine, Grid, QueryOptions, QueryResult};
use proptest::prelude::*;
use proptest::sample::select;
use rows::Presence;
use storage::{
    BucketLength, Budget, MemoryStore, Querier, QueryError, Queryable, Rollup, RollupBuilder,
    RollupColumns, Rollups, Segment, SegmentValues, Select, SeriesData, Times, Unlimited,
};

use crate::selected::{Selected, Selecting};

const MINUTE: i64 = 60_000;
/// Buckets of one file.
const FILE_MS: i64 = 4 * MINUTE;

/// A store that keeps summaries of what came before `until`, and samples since.
#[derive(Clone, Debug)]
struct Tiered {
    store: MemoryStore,
    until: TimestampMs,
    /// Whether the samples before are gone, and summaries must do for every query.
    gone: bool,
    /// Whether files keep to themselves: a bucket that two of them have parts of comes twice.
    parted: bool,
}

impl Queryable for Tiered {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::new(Selected {
            inner: self.store.querier()?,
            by: self.clone(),
        }))
    }
}

fn length() -> BucketLength {
    BucketLength::from_ms(60_000).expect("a length")
}

impl Tiered {
    /// Returns the summaries of the samples before `until`, file by file, over all ends that any series has.
    fn summarised(&self, series: &SeriesData, columns: RollupColumns) -> Vec<Segment> {
        let mut files: Vec<BTreeMap<TimestampMs, Rollup>> = vec![BTreeMap::new()];
        let mut builder = RollupBuilder::new(length());
        let mut file = None;
        let take = |buckets: &mut BTreeMap<_, Rollup>, bucket: Option<(TimestampMs, Rollup)>| {
            if let Some((end, rollup)) = bucket {
                let held = buckets.get(&end).copied();
                buckets.insert(end, held.map_or(rollup, |held| held.joined(rollup)));
            }
        };
        for sample in series.samples(TimeRange::ALL) {
            if sample.at >= self.until {
                break;
            }
            let Value::Float(value) = sample.value else {
                panic!("floats only");
            };
            let own = sample.at.0.div_euclid(FILE_MS);
            let buckets = files.last_mut().expect("one at least");
            if file.replace(own).is_some_and(|file| file != own) {
                take(buckets, builder.finish());
                if self.parted {
                    files.push(BTreeMap::new());
                }
            }
            let buckets = files.last_mut().expect("one at least");
            take(buckets, builder.push(sample.at, value));
        }
        take(files.last_mut().expect("one at least"), builder.finish());
        let segments = files
            .iter()
            .map(|buckets| self.segment_of(buckets, columns));
        segments.collect()
    }

    fn segment_of(
        &self,
        buckets: &BTreeMap<TimestampMs, Rollup>,
        columns: RollupColumns,
    ) -> Segment {
        let first = buckets.keys().next().map_or(MINUTE, |end| end.0);
        let last = buckets.keys().next_back().map_or(MINUTE, |end| end.0);
        let ends: Vec<TimestampMs> = (first / MINUTE..=last / MINUTE)
            .map(|bucket| TimestampMs(bucket * MINUTE))
            .collect();
        let mut presence = Presence::filled(ends.len(), false);
        let absent = Rollup {
            count: 99,
            ..Rollup::of(TimestampMs(0), 12_345.0)
        };
        let rows: Vec<(TimestampMs, Rollup)> = ends
            .iter()
            .enumerate()
            .map(|(row, end)| {
                presence.set(row, buckets.contains_key(end));
                (*end, buckets.get(end).copied().unwrap_or(absent))
            })
            .collect();
        let whole = presence.count() == rows.len();
        Segment {
            times: Times::new(ends),
            presence: (!whole).then(|| Arc::new(presence)),
            values: SegmentValues::Rollup(Rollups::from_rows(length(), self.until, &rows, columns)),
            start_times: None,
        }
    }
}

impl Selecting for Tiered {
    fn select(
        &self,
        inner: &dyn Querier,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        let Some(rollups) = select.hints.rollups else {
            return inner.select(select, budget);
        };
        if !rollups.fits(length()) && !self.gone {
            return inner.select(select, budget);
        }
        let wide = Select {
            range: TimeRange::ALL,
            ..select.clone()
        };
        let found = inner.select(&wide, budget)?;
        Ok(found
            .into_iter()
            .map(|series| {
                let after: Vec<_> = series
                    .samples(TimeRange::new(self.until, TimestampMs::MAX))
                    .map(|sample| match sample.value {
                        Value::Float(value) => (sample.at, value),
                        Value::Histogram(_) => panic!("floats only"),
                    })
                    .collect();
                let (times, values): (Vec<_>, Vec<f64>) = after.into_iter().unzip();
                let mut segments = self.summarised(&series, rollups.columns);
                segments.push(Segment::floats(Times::new(times), values));
                SeriesData {
                    segments,
                    labels: series.labels,
                }
            })
            .collect())
    }
}

/// How a random series goes on: by how much time, and with what.
type Steps = Vec<(i64, Option<f64>)>;

fn steps(value: impl Strategy<Value = Option<f64>> + 'static) -> impl Strategy<Value = Steps> {
    let gap = prop_oneof![
        6 => Just(15_000_i64),
        3 => 1_i64..40_000,
        1 => Just(MINUTE),
        1 => 60_000_i64..400_000,
    ];
    prop::collection::vec((gap, value), 1..70)
}

/// Counters with resets, gauges, with gaps, marks, and values that are no numbers; all of them whole.
fn series() -> impl Strategy<Value = (bool, Steps)> {
    let strange = || {
        select(vec![
            STALE_NAN,
            STALE_NAN,
            f64::NAN,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ])
    };
    prop_oneof![
        // Nothing: a reset.
        steps(prop_oneof![9 => (0_i32..50).prop_map(|more| Some(f64::from(more))), 1 => Just(None)])
            .prop_map(|steps| (true, steps)),
        steps(prop_oneof![8 => (-9_i32..9).prop_map(|value| Some(f64::from(value))), 1 => strange().prop_map(Some)])
            .prop_map(|steps| (false, steps)),
    ]
}

fn store_of(all: &[(bool, Steps)]) -> MemoryStore {
    let store = MemoryStore::new();
    for (number, (counter, steps)) in all.iter().enumerate() {
        let number = number.to_string();
        let labels = Labels::from_pairs([("__name__", "m_total"), ("n", number.as_str())])
            .expect("names are unique");
        let (mut at, mut total) = (0, 0.0);
        for (gap, value) in steps {
            at += gap;
            let value = match (counter, value) {
                (true, Some(more)) => {
                    total += more;
                    total
                }
                (_, Some(value)) => *value,
                (_, None) => {
                    total = 3.0;
                    total
                }
            };
            store.insert(&labels, TimestampMs(at), Value::Float(value));
        }
    }
    store
}

fn values(
    store: &dyn Queryable,
    text: &str,
    grid: Grid,
    options: &QueryOptions,
) -> Vec<(Labels, Vec<f64>)> {
    let output = Engine::default()
        .range(store, text, grid, options, &Unlimited)
        .expect("evaluates");
    let QueryResult::Grid { series, .. } = output.result else {
        panic!("a grid");
    };
    series
        .into_iter()
        .map(|series| (series.labels, series.column.floats))
        .collect()
}

/// Compares to the bit, but for the payload of NaN and the sign of 0; absence is told from NaN.
fn same(a: f64, b: f64, tolerance: f64) -> bool {
    let absent = |value: f64| value.to_bits() == STALE_NAN.to_bits();
    if absent(a) || absent(b) || a.is_nan() || b.is_nan() {
        return absent(a) == absent(b) && a.is_nan() == b.is_nan();
    }
    a == b || (a - b).abs() <= tolerance
}

fn compare(
    raw: &[(Labels, Vec<f64>)],
    tier: &[(Labels, Vec<f64>)],
    tolerance: f64,
) -> Result<(), String> {
    let labels = |all: &[(Labels, Vec<f64>)]| {
        let labels = all.iter().map(|(labels, _)| labels.clone());
        labels.collect::<Vec<_>>()
    };
    if labels(raw) != labels(tier) {
        return Err(format!(
            "other series: {:?} {:?}",
            labels(raw),
            labels(tier)
        ));
    }
    for ((labels, raw), (_, tier)) in raw.iter().zip(tier) {
        let differs = raw
            .iter()
            .zip(tier)
            .position(|(raw, tier)| !same(*raw, *tier, tolerance));
        if let Some(at) = differs {
            return Err(format!("{labels} at {at}: raw {raw:?}, tier {tier:?}"));
        }
    }
    Ok(())
}

const RANGED: [&str; 14] = [
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "present_over_time",
    "last_over_time",
    "first_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "rate",
    "increase",
    "delta",
    "absent_over_time",
];

/// Functions that need samples: asked for, they get them.
const UNSUPPORTED: [&str; 6] = [
    "irate",
    "changes",
    "resets",
    "stddev_over_time",
    "deriv",
    "ts_of_max_over_time",
];

fn aligned_grid() -> impl Strategy<Value = Grid> {
    (-2_i64..25, 1_i64..6, 0_i64..12).prop_map(|(start, step, steps)| Grid {
        start: TimestampMs(start * MINUTE),
        end: TimestampMs((start + step * steps) * MINUTE),
        step_ms: step * MINUTE,
    })
}

fn lookback() -> impl Strategy<Value = QueryOptions> {
    select(vec![None, Some(60), Some(90), Some(7)]).prop_map(|seconds| QueryOptions {
        lookback: seconds.map(Duration::from_secs),
        ..QueryOptions::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn aligned_windows_give_what_samples_give(
        all in prop::collection::vec(series(), 1..3), until in 0_i64..40, grid in aligned_grid(), options in lookback(),
        range in 1_i64..8, offset in -2_i64..4, parted in any::<bool>(),
    ) {
        let store = store_of(&all);
        let tiered = Tiered { store: store.clone(), until: TimestampMs(until * MINUTE), gone: false, parted };
        for function in RANGED.iter().chain(&UNSUPPORTED) {
            let text = format!("{function}(m_total[{range}m] offset {offset}m)");
            let raw = values(&store, &text, grid, &options);
            let tier = values(&tiered, &text, grid, &options);
            prop_assert_eq!(compare(&raw, &tier, 0.0), Ok(()), "{} {:?}", text, tiered);
        }
        for text in [
            format!("m_total offset {offset}m"), "timestamp(m_total)".to_owned(), "sum(m_total)".to_owned(), "m_total @ 600".to_owned(),
            format!("max_over_time(rate(m_total[{range}m])[4m:1m])"), format!("sum_over_time(m_total[{range}m:2m])"),
        ] {
            let raw = values(&store, &text, grid, &options);
            let tier = values(&tiered, &text, grid, &options);
            prop_assert_eq!(compare(&raw, &tier, 0.0), Ok(()), "{} {:?}", text, tiered);
        }
    }

    #[test]
    fn fractions_differ_by_rounding_alone(
        increments in prop::collection::vec((1_i64..40_000, 0.0_f64..1e6), 2..60), grid in aligned_grid(), range in 1_i64..8, until in 0_i64..40,
        parted in any::<bool>(),
    ) {
        let store = MemoryStore::new();
        let labels = Labels::from_pairs([("__name__", "m_total")]).expect("names are unique");
        let (mut at, mut total) = (0, 0.0);
        for (gap, more) in increments {
            at += gap;
            total = if more < 3e5 { more } else { total + more };
            store.insert(&labels, TimestampMs(at), Value::Float(total));
        }
        let tiered = Tiered { store: store.clone(), until: TimestampMs(until * MINUTE), gone: false, parted };
        for function in RANGED {
            let text = format!("{function}(m_total[{range}m])");
            let options = QueryOptions::default();
            let raw = values(&store, &text, grid, &options);
            let tier = values(&tiered, &text, grid, &options);
            // All are positive: nothing cancels out.
            let greatest = raw.iter().flat_map(|(_, values)| values).copied().filter(|value| !value.is_nan()).fold(1.0, f64::max);
            prop_assert_eq!(compare(&raw, &tier, greatest * 1e-12), Ok(()), "{}", text);
        }
    }

    #[test]
    fn other_windows_are_made_of_the_buckets_within(
        all in prop::collection::vec(series(), 1..3), start in 0_i64..1_500_000, range in 1_i64..600_000, step in 1_i64..200_000,
        parted in any::<bool>(),
    ) {
        let store = store_of(&all);
        let tiered = Tiered { store: store.clone(), until: TimestampMs::MAX, gone: true, parted };
        let options = QueryOptions::default();
        for index in 0..5 {
            let at = start + index * step;
            let once = |at: i64| Grid::instant(TimestampMs(at));
            let (last, first) = (at.div_euclid(MINUTE) * MINUTE, -(range - at).div_euclid(MINUTE) * MINUTE);
            let held = last - first;
            for function in ["count_over_time", "sum_over_time", "last_over_time"] {
                let tier = values(&tiered, &format!("{function}(m_total[{range}ms])"), once(at), &options);
                if held > 0 {
                    let raw = values(&store, &format!("{function}(m_total[{held}ms])"), once(last), &options);
                    prop_assert_eq!(compare(&raw, &tier, 0.0), Ok(()), "{} at {}", function, at);
                } else {
                    prop_assert!(tier.is_empty());
                }
            }
            // Between two ends the earlier one stands.
            let (raw, tier) = (values(&store, "m_total", once(last), &options), values(&tiered, "m_total", once(at), &options));
            prop_assert_eq!(compare(&raw, &tier, 0.0), Ok(()), "at {}", at);
        }
    }

    #[test]
    fn instants_after_the_last_bucket_see_what_samples_show(all in prop::collection::vec(series(), 1..3), until in 1_i64..20, after in 1_i64..400_000, parted in any::<bool>()) {
        let store = store_of(&all);
        let until = until * MINUTE;
        let tiered = Tiered { store: store.clone(), until: TimestampMs(until), gone: true, parted };
        let options = QueryOptions::default();
        let grid = Grid::instant(TimestampMs(until + after));
        for text in ["m_total", "timestamp(m_total)"] {
            prop_assert_eq!(compare(&values(&store, text, grid, &options), &values(&tiered, text, grid, &options), 0.0), Ok(()), "{}", text);
        }
    }
}

#[test]
fn a_query_can_ask_for_samples() {
    let store = store_of(&[(false, vec![(10_000, Some(1.0)), (10_000, Some(2.0))])]);
    let tiered = Tiered {
        store,
        until: TimestampMs::MAX,
        gone: true,
        parted: false,
    };
    let raw = QueryOptions {
        raw_only: true,
        ..QueryOptions::default()
    };
    // The window holds no whole bucket, but samples.
    let grid = Grid::instant(TimestampMs(25_000));
    let text = "count_over_time(m_total[20s])";
    assert!(values(&tiered, text, grid, &QueryOptions::default()).is_empty());
    let found = values(&tiered, text, grid, &raw);
    assert_eq!(found[0].1, [2.0]);
}
