//! Quantiles, fractions and moments of native histograms.

use super::{Bucket, FloatHistogram};
use crate::functions::float::KahanSum;

/// What observations of NaN do to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// The quantile lies among them.
    Result,
    /// They push the quantile up.
    Skew,
    /// They are in no fraction.
    Excluded,
}

/// Returns the `q`-quantile.
pub(crate) fn quantile(q: f64, histogram: &FloatHistogram) -> (f64, Option<NanEffect>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let has_nans = histogram.sum.is_nan();
    let forward = has_nans || q < 0.5;
    let mut buckets = histogram.all_buckets();
    let observed: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut rank = if forward {
        q * histogram.count
    } else {
        buckets.reverse();
        (1.0 - q) * histogram.count
    };
    let mut count = 0.0;
    let mut found = None;
    for bucket in &buckets {
        found = Some(*bucket);
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    let Some(mut bucket) = found else {
        return (f64::NAN, None);
    };
    if let Some(value) = bound(histogram, &mut bucket) {
        return (value, None);
    }
    count = count.min(histogram.count);
    if count < rank {
        if has_nans {
            return (f64::NAN, Some(NanEffect::Result));
        }
        return (bucket.upper, None);
    }
    rank = if forward {
        rank - (count - bucket.count)
    } else {
        count - rank
    };
    let effect = (has_nans && observed < histogram.count).then_some(NanEffect::Skew);
    (interpolate(histogram, bucket, rank / bucket.count), effect)
}

/// Bounds a bucket without an end, and the zero bucket; returns the result where there is nothing to interpolate.
fn bound(histogram: &FloatHistogram, bucket: &mut Bucket) -> Option<f64> {
    if bucket.is_zero {
        (bucket.lower, bucket.upper) = histogram.zero_bounds();
    } else if histogram.has_custom_bounds() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        }
        if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
    }
    None
}

fn is_linear(histogram: &FloatHistogram, bucket: Bucket) -> bool {
    histogram.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
}

fn interpolate(histogram: &FloatHistogram, bucket: Bucket, fraction: f64) -> f64 {
    let Bucket { lower, upper, .. } = bucket;
    if is_linear(histogram, bucket) {
        return lower + (upper - lower) * fraction;
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    }
}

/// Returns the part of a bucket that lies at or below `value`, which is inside it.
pub(crate) fn fraction_below(histogram: &FloatHistogram, bucket: Bucket, value: f64) -> f64 {
    let Bucket { lower, upper, .. } = bucket;
    if is_linear(histogram, bucket) {
        return (value - lower) / (upper - lower);
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    let log_value = value.abs().log2();
    if value > 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - (log_value - log_upper) / (log_lower - log_upper)
    }
}

/// Returns the fraction of observations between two bounds.
pub(crate) fn fraction(
    lower: f64,
    upper: f64,
    histogram: &FloatHistogram,
) -> (f64, Option<NanEffect>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    let buckets = histogram.all_buckets();
    let observed: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let effect =
        (histogram.sum.is_nan() && observed < histogram.count).then_some(NanEffect::Excluded);
    if lower >= upper {
        return (0.0, effect);
    }
    let limit = if histogram.sum.is_nan() {
        observed
    } else {
        histogram.count
    };
    let mut ranks: [Option<f64>; 2] = [None, None];
    let mut rank = 0.0;
    for mut bucket in buckets {
        if bucket.is_zero {
            (bucket.lower, bucket.upper) = histogram.zero_bounds();
        } else if bucket.lower == f64::NEG_INFINITY
            && bucket.upper > 0.0
            && bucket.upper.is_finite()
        {
            bucket.lower = 0.0;
        }
        for (slot, value) in ranks.iter_mut().zip([lower, upper]) {
            if slot.is_some() {
                continue;
            }
            if bucket.lower >= value {
                *slot = Some(rank);
            } else if bucket.upper > value {
                *slot = Some(if bucket.lower == f64::NEG_INFINITY {
                    rank + bucket.count
                } else if bucket.upper == f64::INFINITY {
                    rank
                } else {
                    rank + bucket.count * fraction_below(histogram, bucket, value)
                });
            }
        }
        rank += bucket.count;
    }
    let [low, high] = ranks.map(|rank| rank.unwrap_or(limit).min(limit));
    ((high - low) / histogram.count, effect)
}

/// Returns the variance, each bucket standing at its middle.
pub(crate) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let total = histogram
        .all_buckets()
        .into_iter()
        .filter(|bucket| bucket.count != 0.0)
        .fold(KahanSum::default(), |total, bucket| {
            let middle = if histogram.has_custom_bounds() {
                (bucket.lower + bucket.upper) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                let root = (bucket.upper * bucket.lower).sqrt();
                if bucket.upper < 0.0 { -root } else { root }
            };
            let delta = middle - mean;
            total.plus(bucket.count * delta * delta)
        });
    (total.sum + total.compensation) / histogram.count
}
