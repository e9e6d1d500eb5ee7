//! Simple linear regression.

use model::TimestampMs;

use super::float::KahanSum;

/// Returns slope per second and the value at `origin` (milliseconds) of the least-squares line; there are at least two samples.
#[expect(clippy::cast_precision_loss, reason = "differences of milliseconds")]
pub(crate) fn linear_regression(times: &[TimestampMs], values: &[f64], origin: i64) -> (f64, f64) {
    let first = values.first().copied().unwrap_or(f64::NAN);
    let constant = values.iter().skip(1).all(|value| *value == first);
    if constant {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let mut sums = [KahanSum::default(); 4];
    let mut count = 0.0;
    for (time, value) in times.iter().zip(values) {
        count += 1.0;
        let x = time.0.saturating_sub(origin) as f64 / 1e3;
        for (sum, term) in sums.iter_mut().zip([x, *value, x * value, x * x]) {
            *sum = sum.plus(term);
        }
    }
    let [x, y, xy, xx] = sums.map(|sum| sum.sum + sum.compensation);
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}
