//! Floats as whole numbers over a power of ten.
//!
//! Most measurements were decimals before they were floats. A float *has* a decimal form of scale `s` when a whole number `m` exists
//! such that `m as f64 / 10^s` gives the float back, bit by bit; the check is that very division, so the form can be trusted whatever
//! the arithmetic that found it. -0.0, NaN and the infinities have none.

/// The largest scale: 10^22 is the last power of ten that is a float exactly.
pub(super) const SCALE_MAX: u8 = 22;

/// 10^scale.
pub(super) const POWERS: [f64; SCALE_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Whole numbers up to this are floats exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Bound of the whole floats kept at scale 0: differences of them stay far inside 64 bits.
const WHOLE_MAX: f64 = 2_305_843_009_213_693_952.0;
/// A value that needs this many more digits than those before is taken for an exception until more such values come.
const SCALE_STEP_MAX: u8 = 2;

/// Returns the whole number that is `value` at `scale`; `None` when there is none.
pub(super) fn to_whole(value: f64, scale: u8) -> Option<i64> {
    let power = POWERS[usize::from(scale)];
    let scaled = value * power;
    let max = if scale == 0 { WHOLE_MAX } else { EXACT_MAX };
    // Also for NaN, which is below nothing.
    let fits = scaled.abs() < max;
    if !fits {
        return None;
    }
    let whole = rounded(scaled);
    (to_float(whole, power).to_bits() == value.to_bits()).then_some(whole)
}

/// Returns the float that `whole` stands for.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "the encoder checked that this gives the value back"
)]
pub(super) fn to_float(whole: i64, power: f64) -> f64 {
    whole as f64 / power
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the caller checked the magnitude; the result is verified"
)]
fn rounded(value: f64) -> i64 {
    (value + 0.5f64.copysign(value)) as i64
}

/// Returns the smallest scale from `from` on at which `value` has a decimal form.
pub(super) fn scale_of(value: f64, from: u8) -> Option<u8> {
    if !value.is_finite() || (value == 0.0 && value.is_sign_negative()) {
        return None;
    }
    (from..=SCALE_MAX)
        .take_while(|scale| *scale == 0 || value.abs() * POWERS[usize::from(*scale)] < EXACT_MAX)
        .find(|scale| to_whole(value, *scale).is_some())
}

/// Returns a scale, `from` or more, at which all but a few values have a decimal form; `None` when there is none.
pub(super) fn common_scale(values: &[f64], from: u8) -> Option<u8> {
    let exceptions_max = values.len() / 8 + 1;
    let mut scale = from;
    let mut formless = 0;
    let mut outliers = 0;
    let mut outlier_scale = scale;
    for value in values {
        if to_whole(*value, scale).is_some() {
            continue;
        }
        match scale_of(*value, scale + 1) {
            None => formless += 1,
            Some(needed) if needed <= scale + SCALE_STEP_MAX => scale = needed,
            Some(needed) => {
                outliers += 1;
                outlier_scale = outlier_scale.max(needed);
                if outliers > values.len() / 16 {
                    scale = outlier_scale;
                    outliers = 0;
                }
            }
        }
        if formless > exceptions_max {
            return None;
        }
    }
    Some(scale)
}

/// Returns the middle one of the scales of three values: a single strange one does not set it.
pub(super) fn starting_scale(values: &[f64]) -> u8 {
    let at = |index: usize| {
        values
            .get(index)
            .and_then(|value| scale_of(*value, 0))
            .unwrap_or(0)
    };
    let mut scales = [
        at(0),
        at(values.len() / 2),
        at(values.len().saturating_sub(1)),
    ];
    scales.sort_unstable();
    // Never SCALE_MAX itself: the search goes on from the next.
    scales[1].min(SCALE_MAX - 1)
}
