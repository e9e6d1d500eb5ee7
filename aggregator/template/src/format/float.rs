//! Floats in Go's forms. Digits of a precision are Rust's, which are exact as well; only how they are laid out differs.

use gofloat::Shortest;

/// No float has more digits behind the point than this; there are zeros further on.
const FRACTION_MAX: usize = 1_100;

/// Returns the shortest form that reads back as `value`: `%v`.
pub(crate) fn shortest(value: f64) -> String {
    general(value, None)
}

/// `%g`: with an exponent when it is below -4 or not below the precision; without a precision the shortest digits that tell the
/// number, and an exponent from 6 on.
pub(crate) fn general(value: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.max(1));
    let Some(mut decimal) = Decimal::of(value, precision.map(|precision| precision - 1)) else {
        return not_finite(value);
    };
    let digits = decimal.digits.trim_end_matches('0').len().max(1);
    decimal.digits.truncate(digits);
    let from = precision.map_or(6, |precision| i32::try_from(precision).unwrap_or(i32::MAX));
    // The shortest form of 123456789 has nine digits, yet Go takes six for the decision.
    if decimal.exponent < -4 || decimal.exponent >= from {
        decimal.exponential()
    } else {
        decimal.plain()
    }
}

/// `%e` with `precision` digits behind the point.
pub(super) fn exponential(value: f64, precision: usize) -> String {
    Decimal::of(value, Some(precision))
        .map_or_else(|| not_finite(value), |decimal| decimal.exponential())
}

/// `%f` with `precision` digits behind the point.
pub(super) fn fixed(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let exact = precision.min(FRACTION_MAX);
    format!("{value:.exact$}") + &"0".repeat(precision - exact)
}

fn not_finite(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}

/// `d.ddd` times ten to the exponent.
#[derive(Clone, Debug)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// Returns `value` with `fraction` digits behind the first, or as many as it takes; `None` when it is not finite.
    fn of(value: f64, fraction: Option<usize>) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let Some(fraction) = fraction else {
            let shortest = Shortest::of(value);
            return Some(Self {
                negative: value.is_sign_negative(),
                digits: shortest.digits().to_owned(),
                exponent: shortest.exponent(),
            });
        };
        let text = format!("{:.*e}", fraction.min(FRACTION_MAX), value.abs());
        let (mantissa, exponent) = text.split_once('e')?;
        let mut digits = mantissa.replace('.', "");
        let missing = fraction.saturating_sub(FRACTION_MAX);
        digits.extend(std::iter::repeat_n('0', missing));
        Some(Self {
            negative: value.is_sign_negative(),
            digits,
            exponent: exponent.parse().ok()?,
        })
    }

    const fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    fn exponential(&self) -> String {
        let (first, rest) = self.digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if self.exponent < 0 { '-' } else { '+' };
        format!(
            "{}{first}{point}{rest}e{sign}{:02}",
            self.sign(),
            self.exponent.abs()
        )
    }

    fn plain(&self) -> String {
        let sign = self.sign();
        let Ok(exponent) = usize::try_from(self.exponent) else {
            let zeros = usize::try_from(-1 - self.exponent).unwrap_or(0);
            return format!("{sign}0.{:0<zeros$}{}", "", self.digits);
        };
        match self.digits.split_at_checked(exponent + 1) {
            Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
            _ => format!("{sign}{:0<width$}", self.digits, width = exponent + 1),
        }
    }
}

/// `%x`: the mantissa in hexadecimal, times two to the exponent.
pub(super) fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let (negative, mut mantissa, mut exponent) = parts(value);
    let sign = if negative { "-" } else { "" };
    if mantissa == 0 {
        exponent = 0;
    } else {
        // 1 stands before the point and 52 bits behind.
        while mantissa < 1 << 52 {
            mantissa <<= 1;
            exponent -= 1;
        }
        exponent += 52;
    }
    if let Some(dropped) = precision
        .and_then(|precision| 13_usize.checked_sub(precision))
        .filter(|dropped| *dropped > 0)
    {
        let shift = dropped * 4;
        let half = 1_u64 << (shift - 1);
        let rest = mantissa & ((1 << shift) - 1);
        mantissa >>= shift;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa >= 1 << 53 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    match precision {
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
        Some(precision) => {
            fraction.truncate(precision);
            let missing = precision.saturating_sub(fraction.len());
            fraction.extend(std::iter::repeat_n('0', missing));
        }
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{sign}0x{}{point}{fraction}p{exponent_sign}{:02}",
        mantissa >> 52,
        exponent.abs()
    )
}

/// `%b`: the mantissa as a whole number, times two to the exponent.
pub(super) fn binary(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let (negative, mantissa, exponent) = parts(value);
    let sign = if negative { "-" } else { "" };
    format!("{sign}{mantissa}p{exponent:+}")
}

/// Returns sign, mantissa and exponent of `mantissa` times two to the `exponent`.
fn parts(value: f64) -> (bool, u64, i64) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let biased = i64::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
    let (mantissa, biased) = if biased == 0 {
        (fraction, 1)
    } else {
        (fraction | 1 << 52, biased)
    };
    (value.is_sign_negative(), mantissa, biased - 1075)
}

/// The flag `#`: a point always, and for `%g` all digits of the precision.
pub(super) fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    if text.ends_with(['N', 'f']) && !text.starts_with(|first: char| first.is_ascii_digit()) {
        return text.to_owned();
    }
    let marker = if matches!(verb, 'x' | 'X') { 'p' } else { 'e' };
    let (number, tail) = text.find(marker).map_or((text, ""), |at| text.split_at(at));
    let unsigned = number.trim_start_matches(['-', '+']);
    let significant = unsigned.trim_start_matches(['0', '.']);
    let mut shown = significant
        .chars()
        .filter(|character| *character != '.')
        .count();
    let mut number = number.to_owned();
    if !unsigned.contains('.') {
        shown += usize::from(unsigned == "0");
        number.push('.');
    }
    if matches!(verb, 'v' | 'g' | 'G' | 'x') {
        let missing = precision.unwrap_or(6).saturating_sub(shown);
        number.extend(std::iter::repeat_n('0', missing));
    }
    number + tail
}
