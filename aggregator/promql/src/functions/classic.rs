//! Quantiles and fractions of classic histograms: cumulative counts by upper bound.
//!
//! Buckets are asked for many instants: they come in order of their bounds ([`f64::total_cmp`]), and in a buffer that is changed in place.

/// A bucket: its upper bound and how many observations lie at or below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// What had to be changed for counts to rise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub(crate) bucket_min: f64,
    pub(crate) bucket_max: f64,
    pub(crate) difference_max: f64,
}

/// Differences below this part of a count are rounding.
const ROUNDING: f64 = 1e-12;

/// Returns the `q`-quantile and what had to be forced. `buckets` are not empty, and are left merged.
pub(crate) fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let forced = match prepare(buckets) {
        Some(forced) if buckets.len() >= 2 => forced,
        _ => return (f64::NAN, None),
    };
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if observations == 0.0 {
        return (f64::NAN, None);
    }
    let mut rank = q * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank);
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (buckets[at].upper - start) * (rank / count), forced)
}

/// Returns the fraction of observations between two bounds. `buckets` are left merged.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if prepare(buckets).is_none() || buckets.len() < 2 {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks: [Option<f64>; 2] = [None, None];
    let mut rank = 0.0;
    let mut below = f64::NEG_INFINITY;
    for (index, bucket) in buckets.iter().enumerate() {
        // Positive first buckets begin at zero.
        let from = match index {
            0 if bucket.upper > 0.0 => 0.0,
            0 => f64::NEG_INFINITY,
            _ => below,
        };
        for (slot, bound) in ranks.iter_mut().zip([lower, upper]) {
            if slot.is_some() {
                continue;
            }
            if from >= bound {
                *slot = Some(rank);
            } else if bucket.upper > bound {
                *slot = Some(inside(rank, from, *bucket, bound));
            }
        }
        rank = bucket.count;
        below = bucket.upper;
    }
    let [low, high] = ranks.map(|rank| rank.unwrap_or(total).min(total));
    (high - low) / total
}

/// Returns the rank of a bound inside a bucket; buckets without an end are not divided.
fn inside(rank: f64, from: f64, bucket: Bucket, bound: f64) -> f64 {
    if from == f64::NEG_INFINITY {
        return bucket.count;
    }
    if bucket.upper == f64::INFINITY {
        return rank;
    }
    rank + (bucket.count - rank) * (bound - from) / (bucket.upper - from)
}

/// Merges equal bounds and makes counts rise: returns what had to be forced for that. `None` without a bucket that holds everything.
fn prepare(buckets: &mut Vec<Bucket>) -> Option<Option<Forced>> {
    debug_assert!(buckets.is_sorted_by(|a, b| a.upper.total_cmp(&b.upper).is_le()));
    buckets.last().filter(|last| last.upper == f64::INFINITY)?;
    buckets.dedup_by(|bucket, last| {
        let same = last.upper == bucket.upper;
        if same {
            last.count += bucket.count;
        }
        same
    });
    Some(make_monotonic(buckets))
}

fn make_monotonic(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut before = buckets.first()?.count;
    let mut forced: Option<Forced> = None;
    for bucket in buckets.iter_mut().skip(1) {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if nearly_equal(before, count) {
            bucket.count = before;
            continue;
        }
        if count < before {
            let difference = before - count;
            bucket.count = before;
            forced = Some(match forced {
                None => Forced {
                    bucket_min: bucket.upper,
                    bucket_max: bucket.upper,
                    difference_max: difference,
                },
                Some(so_far) => Forced {
                    bucket_min: so_far.bucket_min.min(bucket.upper),
                    bucket_max: so_far.bucket_max.max(bucket.upper),
                    difference_max: so_far.difference_max.max(difference),
                },
            });
            continue;
        }
        before = count;
    }
    forced
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < ROUNDING * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Vec<Bucket> {
        counts
            .iter()
            .map(|(upper, count)| Bucket {
                upper: *upper,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn quantiles_are_interpolated_within_buckets() {
        let histogram = buckets(&[
            (0.0, 0.0),
            (2.0, 1.0),
            (4.0, 2.0),
            (6.0, 3.0),
            (f64::INFINITY, 3.0),
        ]);
        for (q, value) in [(1.0 / 6.0, 1.0), (0.5, 3.0), (5.0 / 6.0, 5.0), (1.0, 6.0)] {
            let (found, forced) = bucket_quantile(q, &mut histogram.clone());
            assert!((found - value).abs() < 1e-9, "{q}: {found}");
            assert_eq!(forced, None);
        }
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 1.0)])).0.is_nan());
    }

    #[test]
    fn falling_counts_are_raised_and_told() {
        let (value, forced) = bucket_quantile(
            0.5,
            &mut buckets(&[(1.0, 4.0), (2.0, 3.0), (3.0, 8.0), (f64::INFINITY, 8.0)]),
        );
        assert_eq!(value, 1.0);
        assert_eq!(
            forced,
            Some(Forced {
                bucket_min: 2.0,
                bucket_max: 2.0,
                difference_max: 1.0
            })
        );
    }

    #[test]
    fn fractions_are_the_inverse_of_quantiles() {
        let histogram = buckets(&[(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (f64::INFINITY, 100.0)]);
        for (lower, upper, fraction) in [
            (0.0, 1.0, 0.01),
            (2.0, 5.0, 0.03),
            (4.0, 5.0, 0.0),
            (f64::NEG_INFINITY, f64::INFINITY, 1.0),
            (2.0, 1.0, 0.0),
        ] {
            let found = bucket_fraction(lower, upper, &mut histogram.clone());
            assert!(
                (found - fraction).abs() < 1e-12,
                "{lower}..{upper}: {found}"
            );
        }
    }
}
