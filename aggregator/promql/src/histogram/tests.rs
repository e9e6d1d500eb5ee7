use proptest::prelude::*;

use super::*;

fn exponential(schema: i8, positive: &[(i32, f64)]) -> FloatHistogram {
    FloatHistogram {
        reset: CounterReset::Unknown,
        schema,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 1.0 + positive.iter().map(|(_, count)| count).sum::<f64>(),
        sum: 10.0,
        positive: positive.to_vec(),
        negative: Vec::new(),
        bounds: Vec::new(),
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: counts.iter().sum(),
        bounds: bounds.to_vec(),
        positive: (0..).zip(counts.iter().copied()).collect(),
        ..exponential(0, &[])
    }
}

#[test]
fn the_coarser_schema_wins() {
    let mut fine = exponential(1, &[(1, 2.0), (2, 3.0), (3, 4.0)]);
    let coarse = exponential(0, &[(1, 10.0), (2, 20.0)]);
    assert_eq!(fine.add(&coarse), Ok(Combined::default()));
    assert_eq!(fine.schema, 0);
    assert_eq!(fine.positive, vec![(1, 15.0), (2, 24.0)]);
}

#[test]
fn only_common_bounds_survive() {
    let mut left = custom(&[2.0, 4.0, 6.0], &[1.0, 2.0, 5.0, 7.0]);
    let right = custom(&[2.0, 3.0, 4.0, 6.0], &[1.0, 0.0, 1.0, 5.0, 8.0]);
    assert!(right.detect_reset(&left), "the bucket up to 4 fell");
    let combined = left.add(&right).expect("both have custom bounds");
    assert!(combined.bounds_reconciled);
    assert_eq!(left.bounds, vec![2.0, 4.0, 6.0]);
    assert_eq!(
        left.positive,
        vec![(0, 2.0), (1, 3.0), (2, 10.0), (3, 15.0)]
    );
    assert_eq!(left.add(&exponential(0, &[])), Err(Incompatible));
}

#[test]
fn histograms_are_written_as_prometheus_does() {
    let histogram = FloatHistogram {
        zero_count: 2.0,
        count: 20.0,
        positive: vec![(0, 1.0), (1, 2.0)],
        negative: vec![(0, 1.0), (1, 2.0)],
        ..exponential(0, &[])
    };
    assert_eq!(
        histogram.to_string(),
        "{count:20, sum:10, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn conversion_round_trips(
        positive in prop::collection::btree_map(-50_i32..50, 1_u32..1_000, 0..20),
        negative in prop::collection::btree_map(-50_i32..50, 1_u32..1_000, 0..20),
    ) {
        let counts = |map: std::collections::BTreeMap<i32, u32>| -> Counts {
            map.into_iter().map(|(index, count)| (index, f64::from(count))).collect()
        };
        let histogram = FloatHistogram { negative: counts(negative), ..exponential(2, &counts(positive)) };
        let model = histogram.clone().into_model();
        prop_assert!(model.validate().is_ok());
        prop_assert_eq!(FloatHistogram::from_model(&model), histogram);
    }

    #[test]
    fn subtraction_undoes_addition(
        a in prop::collection::btree_map(-20_i32..20, 1_u32..1_000, 1..20),
        b in prop::collection::btree_map(-20_i32..20, 1_u32..1_000, 1..20),
    ) {
        let histogram = |map: &std::collections::BTreeMap<i32, u32>| {
            let counts: Counts = map.iter().map(|(index, count)| (*index, f64::from(*count))).collect();
            exponential(0, &counts)
        };
        let (a, b) = (histogram(&a), histogram(&b));
        let mut sum = a.clone();
        sum.add(&b).expect("same kind");
        sum.subtract(&b).expect("same kind");
        sum.compact();
        prop_assert!(sum.equals(&a));
    }

    #[test]
    fn trimming_at_a_value_divides_the_histogram(
        counts in prop::collection::btree_map(-10_i32..10, 1_u32..1_000, 1..20), value in 0.01_f64..100.0,
    ) {
        let counts: Counts = counts.into_iter().map(|(index, count)| (index, f64::from(count))).collect();
        let whole = exponential(0, &counts);
        let (mut below, mut above) = (whole.clone(), whole.clone());
        trim::upper(&mut below, value);
        trim::lower(&mut above, value);
        prop_assert!((below.count + above.count - whole.count).abs() < 1e-6 * whole.count);
    }
}
