//! The operators `</` and `>/`: observations beyond a value are cut away.
//!
//! A bucket that holds the value is divided by interpolation. The new sum is that of the middles of what remains; when nothing is
//! cut, nothing changes.

use super::quantile::fraction_below;
use super::{Bucket, Counts, FloatHistogram};

/// Keeps what lies at or below `value`.
pub(crate) fn upper(histogram: &mut FloatHistogram, value: f64) {
    trim(histogram, value, true);
}

/// Keeps what lies above `value`.
pub(crate) fn lower(histogram: &mut FloatHistogram, value: f64) {
    trim(histogram, value, false);
}

/// What remains of a bucket.
#[derive(Clone, Copy, Debug)]
struct Kept {
    count: f64,
    middle: f64,
}

fn trim(histogram: &mut FloatHistogram, value: f64, keep_below: bool) {
    let original = histogram.clone();
    let mut changed = false;
    let (mut count, mut sum) = (0.0, 0.0);
    let mut keep = |bucket: Bucket| {
        let kept = kept(&original, bucket, value, keep_below);
        changed |= kept.count != bucket.count;
        if kept.count != 0.0 {
            count += kept.count;
            sum += kept.count * kept.middle;
        }
        kept.count
    };
    for (index, held) in histogram.negative.iter_mut().rev() {
        let (lower, upper) = original.bounds_of(*index);
        *held = keep(plain(-upper, -lower, *held));
    }
    if histogram.zero_count != 0.0 {
        let (lower, upper) = original.zero_bounds();
        histogram.zero_count = keep(Bucket {
            is_zero: true,
            ..plain(lower, upper, histogram.zero_count)
        });
    }
    for (index, held) in &mut histogram.positive {
        let (lower, upper) = original.bounds_of(*index);
        *held = keep(plain(lower, upper, *held));
    }
    if !changed {
        *histogram = original;
        return;
    }
    histogram.count = count;
    histogram.sum = sum;
    let drop_empty = |counts: &mut Counts| counts.retain(|(_, count)| *count != 0.0);
    drop_empty(&mut histogram.positive);
    drop_empty(&mut histogram.negative);
}

const fn plain(lower: f64, upper: f64, count: f64) -> Bucket {
    Bucket {
        lower,
        upper,
        count,
        closed: (false, true),
        is_zero: false,
    }
}

fn kept(histogram: &FloatHistogram, bucket: Bucket, value: f64, keep_below: bool) -> Kept {
    let Bucket {
        lower,
        upper,
        count,
        ..
    } = bucket;
    const NOTHING: Kept = Kept {
        count: 0.0,
        middle: 0.0,
    };
    let all = |middle| Kept { count, middle };
    if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
        return kept_of_endless(histogram, bucket, value, keep_below);
    }
    let middle = |lower, upper| middle(histogram, lower, upper, bucket.is_zero);
    let (inside, outside) = if keep_below {
        (value >= upper, value <= lower)
    } else {
        (value <= lower, value >= upper)
    };
    if inside {
        return all(middle(lower, upper));
    }
    if outside {
        return NOTHING;
    }
    let below = count * fraction_below(histogram, bucket, value);
    if keep_below {
        Kept {
            count: below,
            middle: middle(lower, value),
        }
    } else {
        Kept {
            count: count - below,
            middle: middle(value, upper),
        }
    }
}

/// Nothing is known of where observations lie in a bucket without an end: it is kept or dropped as a whole.
fn kept_of_endless(
    histogram: &FloatHistogram,
    bucket: Bucket,
    value: f64,
    keep_below: bool,
) -> Kept {
    let Bucket {
        lower,
        upper,
        count,
        ..
    } = bucket;
    let keeps_everything = if keep_below {
        value == f64::INFINITY
    } else {
        value == f64::NEG_INFINITY
    };
    let drops_everything = if keep_below {
        value == f64::NEG_INFINITY
    } else {
        value == f64::INFINITY
    };
    let kept = |kept: bool, middle: f64| Kept {
        count: if kept { count } else { 0.0 },
        middle,
    };
    if drops_everything {
        return kept(false, 0.0);
    }
    match (lower == f64::NEG_INFINITY, upper == f64::INFINITY) {
        (true, true) => kept(keeps_everything, 0.0),
        // A first bucket that reaches above zero is taken to begin there.
        (true, false) if upper > 0.0 => {
            let bucket = Bucket {
                lower: 0.0,
                ..bucket
            };
            self::kept(histogram, bucket, value, keep_below)
        }
        (true, false) if keep_below => kept(true, upper.min(value)),
        (true, false) => kept(keeps_everything, upper),
        (false, _) if keep_below => kept(keeps_everything, lower),
        (false, _) => kept(true, lower.max(value)),
    }
}

fn middle(histogram: &FloatHistogram, lower: f64, upper: f64, is_zero: bool) -> f64 {
    if histogram.has_custom_bounds() || is_zero {
        return (lower + upper) / 2.0;
    }
    let root = (lower * upper).sqrt();
    if upper < 0.0 || lower < 0.0 {
        -root
    } else {
        root
    }
}
