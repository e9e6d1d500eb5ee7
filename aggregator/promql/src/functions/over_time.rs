//! Summaries of the floats in a window, which holds at least one.

use model::TimestampMs;

use super::float::{KahanSum, Mean};
use super::quantile::quantile;

pub(crate) fn sum(values: &[f64]) -> f64 {
    values
        .iter()
        .copied()
        .fold(KahanSum::default(), KahanSum::plus)
        .total()
}

pub(crate) fn average(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return f64::NAN;
    };
    let mut mean = Mean::starting_at(*first);
    for value in rest {
        mean.add(*value);
    }
    mean.value()
}

/// Returns the index of the least or greatest; NaN loses against everything, `last` prefers the last of equals.
pub(crate) fn extreme(values: &[f64], greatest: bool, last: bool) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        let held = values[best];
        let better = if greatest {
            *value > held
        } else {
            *value < held
        };
        if better || held.is_nan() || (last && *value == held) {
            best = index;
        }
    }
    best
}

/// Returns the population variance (Welford, compensated).
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    for value in values {
        count += 1.0;
        let delta = value - (mean.sum + mean.compensation);
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / count
}

/// Returns the median absolute deviation; NaN when any value is.
pub(crate) fn median_deviation(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    let median = quantile(0.5, &mut sorted);
    for value in &mut sorted {
        *value = (*value - median).abs();
    }
    quantile(0.5, &mut sorted)
}

/// Returns how often neighbours differ; NaN equals NaN.
#[expect(
    clippy::cast_precision_loss,
    reason = "windows hold far fewer than 2^53 samples"
)]
pub(crate) fn changes(values: &[f64]) -> f64 {
    values
        .windows(2)
        .filter(|pair| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan()))
        .count() as f64
}

/// Returns Holt-Winters' double exponential smoothing; `None` for fewer than two values.
pub(crate) fn double_exponential_smoothing(
    values: &[f64],
    smoothing: f64,
    trend: f64,
) -> Option<f64> {
    let [first, second, ..] = values else {
        return None;
    };
    let (mut before, mut level) = (0.0, *first);
    let mut slope = second - first;
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    Some(level)
}

/// Returns the timestamp in seconds of a sample.
pub(crate) fn time_of(times: &[TimestampMs], index: usize) -> f64 {
    times.get(index).map_or(f64::NAN, |time| time.as_seconds())
}
