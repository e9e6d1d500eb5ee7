//! Numbers for people.

use crate::error::Failure;
use crate::format::general;
use crate::function::{Function, Kind};
use crate::time::{Duration, Time};
use crate::value::Value;

pub(crate) const HUMANIZE_DURATION: Function =
    Function::new("humanizeDuration", &[Kind::Any], |_, args| {
        Ok(duration(float(&args[0])?).into())
    });

const LARGE: &[&str] = &["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: &[&str] = &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: &[&str] = &["m", "u", "n", "p", "f", "a", "z", "y"];

/// Four significant digits.
fn four(value: f64) -> String {
    general(value, Some(4))
}

/// Returns the number in `value`: texts are read, durations are seconds.
#[expect(clippy::cast_precision_loss, reason = "a float is asked for")]
pub(crate) fn float(value: &Value) -> Result<f64, Failure> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Duration(duration) => Ok(duration.in_units(1_000_000_000)),
        Value::String(text) => parse_float(text)
            .ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax").into()),
        other => Err(format!("can't convert {} to float", other.type_name()).into()),
    }
}

/// As Go reads floats: also `inf`, `nan` and hexadecimal ones.
fn parse_float(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    let hex = text
        .trim_start_matches(['+', '-'])
        .get(..2)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    (hex && text.contains(['p', 'P']))
        .then(|| crate::literal::number(text).ok())
        .flatten()
        .map(|number| number.float)
}

/// Returns `value` divided or multiplied by `step` until it has a few digits, and the prefix for that.
fn scaled(
    value: f64,
    step: f64,
    prefixes: &'static [&'static str],
    enough: impl Fn(f64) -> bool,
    scale: impl Fn(f64, f64) -> f64,
) -> (f64, &'static str) {
    let mut scaled = (value, "");
    for prefix in prefixes {
        if enough(scaled.0.abs()) {
            break;
        }
        scaled = (scale(scaled.0, step), prefix);
    }
    scaled
}

fn small(value: f64) -> (f64, &'static str) {
    scaled(
        value,
        1000.0,
        SMALL,
        |magnitude| magnitude >= 1.0,
        |value, step| value * step,
    )
}

pub(crate) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four(value);
    }
    let (value, prefix) = if value.abs() >= 1.0 {
        scaled(
            value,
            1000.0,
            LARGE,
            |magnitude| magnitude < 1000.0,
            |value, step| value / step,
        )
    } else {
        small(value)
    };
    four(value) + prefix
}

pub(crate) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four(value);
    }
    let (value, prefix) = scaled(
        value,
        1024.0,
        LARGE_BINARY,
        |magnitude| magnitude < 1024.0,
        |value, step| value / step,
    );
    four(value) + prefix
}

pub(crate) fn percentage(value: f64) -> String {
    four(value * 100.0) + "%"
}

/// Returns seconds as `1d 2h 3m 4s`, `1.5s` or `15ms`.
fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return four(value) + "s";
    }
    if value.abs() < 1.0 {
        let (value, prefix) = small(value);
        return four(value) + prefix + "s";
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = whole_seconds(value);
    let (days, hours, minutes, seconds) = (
        whole / 86_400,
        whole / 3_600 % 24,
        whole / 60 % 60,
        whole % 60,
    );
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", four(value))
    }
}

/// Beyond the range of integers this is their least, as on the processors that Prometheus runs on.
#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn whole_seconds(value: f64) -> i64 {
    if value < 9_223_372_036_854_775_808.0 {
        value as i64
    } else {
        i64::MIN
    }
}

/// Returns Unix seconds as an instant; milliseconds are the finest.
pub(crate) fn to_time(value: f64) -> Result<Time, Failure> {
    let nanoseconds = value * 1e9;
    if !value.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_775_808.0).contains(&nanoseconds) {
        let value = general(value, None);
        return Err(format!(
            "{value} cannot be represented as a nanoseconds timestamp since it overflows int64"
        )
        .into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be in range; the bound itself saturates"
    )]
    let milliseconds = nanoseconds as i64 / 1_000_000;
    Ok(Time::from_unix_ms(milliseconds))
}

pub(crate) fn timestamp(value: f64) -> Result<String, Failure> {
    if !value.is_finite() {
        return Ok(four(value));
    }
    Ok(to_time(value)?.to_string())
}

/// Returns seconds as a duration; the longest when they are more.
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
pub(crate) fn to_duration(value: f64) -> Duration {
    Duration::from_nanoseconds((value * 1e9) as i64)
}
