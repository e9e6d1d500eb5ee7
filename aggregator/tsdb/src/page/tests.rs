use model::{Buckets, CounterReset, STALE_NAN, Span};
use proptest::prelude::*;

use super::*;

/// Any bits at all, with the awkward ones often.
fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::NAN, -f64::NAN, STALE_NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, f64::MIN,
            f64::from_bits(1), 9_007_199_254_740_993.0, 4e18, -1e22, 1e300, 0.1, 0.30000000000000004, 1.0 / 3.0,
        ]),
    ]
}

/// Columns as they occur, and as they do not.
fn floats() -> impl Strategy<Value = Vec<f64>> {
    let decimal =
        (0u32..8, prop::collection::vec(-50_000i64..50_000, 1..200)).prop_map(|(scale, whole)| {
            whole
                .into_iter()
                .map(|m| m as f64 / 10f64.powi(scale.cast_signed()))
                .collect()
        });
    let counter = (
        0u64..1 << 50,
        prop::collection::vec(0u64..300, 1..200),
        prop::sample::select(vec![1.0, 100.0, 1e9]),
    )
        .prop_map(|(start, steps, divisor)| {
            steps
                .iter()
                .scan(start, |value, step| {
                    *value += step;
                    Some(*value as f64 / divisor)
                })
                .collect()
        });
    let constant = (any_float(), 1usize..300).prop_map(|(value, count)| vec![value; count]);
    let wild = prop::collection::vec(any_float(), 1..200);
    let column = prop_oneof![decimal, counter, constant, wild];
    (
        column,
        prop::collection::vec((any::<prop::sample::Index>(), any_float()), 0..6),
    )
        .prop_map(|(mut column, strangers): (Vec<f64>, _)| {
            for (at, stranger) in strangers {
                let at = at.index(column.len());
                column[at] = stranger;
            }
            column
        })
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let spans = prop::collection::vec((-3i32..100, 0u32..5), 0..3);
    let reset = prop::sample::select(vec![
        CounterReset::Unknown,
        CounterReset::Reset,
        CounterReset::NotReset,
        CounterReset::Gauge,
    ]);
    (
        spans.clone(),
        spans,
        prop::sample::select(vec![0i8, 3, -53]),
        any_float(),
        reset,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(positive, negative, schema, sum, reset, float, seed)| {
            let mut random = fastrand::Rng::with_seed(seed);
            let to_spans = |spans: Vec<(i32, u32)>| -> Vec<Span> {
                spans
                    .into_iter()
                    .map(|(offset, length)| Span { offset, length })
                    .collect()
            };
            let (positive_spans, negative_spans) = (to_spans(positive), to_spans(negative));
            let len = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
            let mut counts = |spans: &[Span]| {
                (0..len(spans))
                    .map(|_| random.u64(..) >> random.u32(0..64))
                    .collect::<Vec<_>>()
            };
            let (p, n) = (counts(&positive_spans), counts(&negative_spans));
            let as_floats = |counts: &[u64]| {
                counts
                    .iter()
                    .map(|count| *count as f64 / 4.0)
                    .collect::<Vec<_>>()
            };
            Histogram {
                reset,
                schema,
                zero_threshold: 1e-128,
                sum,
                positive_spans,
                negative_spans,
                custom_bounds: if schema == -53 {
                    vec![0.1, 0.25, 1.0, 1.0 / 3.0]
                } else {
                    vec![]
                },
                buckets: if float {
                    Buckets::Float {
                        count: 7.5,
                        zero: -0.0,
                        positive: as_floats(&p),
                        negative: as_floats(&n),
                    }
                } else {
                    Buckets::Integer {
                        count: u64::MAX,
                        zero: 1,
                        positive: p,
                        negative: n,
                    }
                },
            }
        })
}

fn presence(rows: usize) -> impl Strategy<Value = Option<Presence>> {
    let weights = prop::sample::select(vec![0.0, 0.05, 0.5, 0.97, 1.0]);
    prop_oneof![
        Just(None),
        (weights, any::<u64>()).prop_map(move |(weight, seed)| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut presence = Presence::filled(rows, false);
            for row in 0..rows {
                presence.set(row, random.f64() < weight);
            }
            Some(presence)
        }),
        (0..=rows, 0..=rows).prop_map(move |(from, to)| {
            let mut presence = Presence::filled(rows, false);
            for row in from.min(to)..from.max(to) {
                presence.set(row, true);
            }
            Some(presence)
        }),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    values: Vec<Value>,
    presence: Option<Presence>,
    starts: Option<Vec<TimestampMs>>,
}

fn case() -> impl Strategy<Value = Case> {
    let values = prop_oneof![
        4 => floats().prop_map(|values| values.into_iter().map(Value::Float).collect::<Vec<_>>()),
        1 => prop::collection::vec(histogram(), 1..8).prop_flat_map(|shapes| {
            prop::collection::vec(prop::sample::select(shapes), 1..40)
                .prop_map(|values| values.into_iter().map(|value| Value::Histogram(Arc::new(value))).collect::<Vec<_>>())
        }),
        1 => prop::collection::vec(prop_oneof![any_float().prop_map(Value::Float), histogram().prop_map(|h| Value::Histogram(Arc::new(h)))], 1..20),
    ];
    values.prop_flat_map(|values| {
        let rows = values.len();
        (
            Just(values),
            presence(rows),
            prop::option::of(prop::collection::vec(
                prop_oneof![Just(0i64), any::<i64>()],
                rows,
            )),
        )
            .prop_map(|(values, presence, starts)| Case {
                values,
                presence,
                starts: starts.map(|starts| starts.into_iter().map(TimestampMs).collect()),
            })
    })
}

fn encode(case: &Case) -> Vec<u8> {
    let floats: Option<Vec<f64>> = case
        .values
        .iter()
        .map(|value| {
            if let Value::Float(value) = value {
                Some(*value)
            } else {
                None
            }
        })
        .collect();
    let histograms: Option<Vec<Arc<Histogram>>> = case
        .values
        .iter()
        .map(|value| {
            if let Value::Histogram(value) = value {
                Some(Arc::clone(value))
            } else {
                None
            }
        })
        .collect();
    let values = match (&floats, &histograms) {
        (Some(floats), _) => ColumnValues::Floats(floats),
        (_, Some(histograms)) => ColumnValues::Histograms(histograms),
        _ => ColumnValues::Mixed(&case.values),
    };
    let column = Column {
        rows: case.values.len(),
        presence: case.presence.as_ref(),
        values,
        start_times: case.starts.as_deref(),
    };
    let mut out = Vec::new();
    encode_page(&column, &mut Scratch::default(), &mut out).unwrap();
    out
}

fn segment_of(page: DecodedPage) -> Segment {
    let times: Vec<TimestampMs> = (0..).take(page.rows()).map(TimestampMs).collect();
    page.into_segment(Times::new(times))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_column_survives_to_the_bit(case in case()) {
        let bytes = encode(&case);
        let summary = page_summary(&bytes).unwrap();
        let page = decode_page(&bytes, &mut Scratch::default()).unwrap();
        prop_assert_eq!((page.rows(), summary.rows), (case.values.len(), case.values.len()));
        let segment = segment_of(page);
        let present = |row: usize| case.presence.as_ref().is_none_or(|presence| presence.contains(row));
        for (row, value) in case.values.iter().enumerate() {
            let back = segment.value(row);
            prop_assert_eq!(back.is_some(), present(row));
            if let Some(back) = back {
                prop_assert!(back.same_bits(value), "row {}: {:?} became {:?}", row, value, back);
                if let Some(starts) = &case.starts {
                    prop_assert_eq!(segment.start_times.as_ref().unwrap()[row], starts[row]);
                }
            }
        }
        let stored: Vec<&Value> = case.values.iter().enumerate().filter(|(row, _)| present(*row)).map(|(_, value)| value).collect();
        prop_assert_eq!(summary.count, stored.len());
        let all_floats = case.values.iter().all(|value| matches!(value, Value::Float(_)));
        let numbers = || stored.iter().filter_map(|value| if let Value::Float(value) = value { Some(*value) } else { None }).filter(|value| !value.is_nan());
        let bounds = numbers().reduce(f64::min).zip(numbers().reduce(f64::max));
        prop_assert_eq!(summary.bounds, bounds.filter(|_| all_floats));
    }

    #[test]
    fn damaged_pages_never_panic(case in case(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&case);
        for (at, to) in hits {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
        page_summary(&bytes).ok();
        if let Ok(page) = decode_page(&bytes, &mut Scratch::default()) {
            segment_of(page);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        page_summary(&bytes).ok();
        decode_page(&bytes, &mut Scratch::default()).ok();
        if let Ok(times) = decode_times(&bytes, &mut Scratch::default()) {
            Times::new(times);
        }
    }

    #[test]
    fn time_columns_survive(start in any::<i32>(), steps in prop::collection::vec(prop_oneof![Just(15_000i64), 1i64..40_000], 0..300)) {
        let mut at = i64::from(start);
        let times: Vec<TimestampMs> = std::iter::once(0).chain(steps).map(|step| { at += step; TimestampMs(at) }).collect();
        let mut bytes = Vec::new();
        encode_times(&times, &mut Scratch::default(), &mut bytes);
        prop_assert_eq!(decode_times(&bytes, &mut Scratch::default()).unwrap(), times);
    }
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let floats = vec![0.0; ROWS_MAX + 1];
    let mut out = vec![1, 2, 3];
    for rows in [0, ROWS_MAX + 1] {
        let column = Column {
            rows,
            presence: None,
            values: ColumnValues::Floats(&floats),
            start_times: None,
        };
        assert!(encode_page(&column, &mut Scratch::default(), &mut out).is_err());
    }
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn strange_values_do_not_spoil_a_column() {
    let bytes = |values: &[f64]| {
        let mut out = Vec::new();
        let column = Column {
            rows: values.len(),
            presence: None,
            values: ColumnValues::Floats(values),
            start_times: None,
        };
        encode_page(&column, &mut Scratch::default(), &mut out).unwrap();
        out.len()
    };
    let clean: Vec<f64> = (0..120)
        .map(|i| f64::from(i * i * 37 % 61) / 100.0)
        .collect();
    let plain = bytes(&clean);
    assert!(plain <= 110, "{plain}");
    for stranger in [STALE_NAN, f64::INFINITY, -0.0, 1.0 / 3.0, 1e200] {
        let mut column = clean.clone();
        column[77] = stranger;
        let with_stranger = bytes(&column);
        assert!(
            with_stranger <= plain + 30,
            "{stranger}: {with_stranger} bytes instead of {plain}"
        );
    }
    assert!(bytes(&[1.0; 120]) <= 6);
}
