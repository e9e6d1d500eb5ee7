//! Durations as Prometheus writes them: `1h30m`, `250ms`, `15d`.

use std::fmt::Write as _;
use std::time::Duration;

/// Units, longest first: suffix and milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is empty.
    #[error("empty duration string")]
    Empty,
    /// The text does not have the form `<number><unit>...` with units from largest to smallest, each at most once.
    #[error(
        "not a valid duration string: {0:?} (expected numbers with units y, w, d, h, m, s, ms in this order, such as 1h30m)"
    )]
    Malformed(String),
    /// The sum exceeds 64-bit nanoseconds, Prometheus' own bound (about 292 years).
    #[error("duration out of range: {0:?}")]
    OutOfRange(String),
}

/// Returns the duration that `text` writes in Prometheus' form; a bare `0` is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let out_of_range = || DurationError::OutOfRange(text.to_owned());
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        // Advancing one iterator enforces both the order of the units and that none comes twice.
        let (_, unit_ms) = units
            .find(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        if digits == 0 {
            return Err(malformed());
        }
        let count: u64 = number.parse().map_err(|_| out_of_range())?;
        total_ms = count
            .checked_mul(*unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or_else(out_of_range)?;
        rest = tail;
    }
    if total_ms > i64::MAX.unsigned_abs() / 1_000_000 {
        return Err(out_of_range());
    }
    Ok(Duration::from_millis(total_ms))
}

/// Returns `duration`, rounded down to milliseconds, in Prometheus' form; years and weeks only when they come out even.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, unit_ms) in UNITS {
        let only_when_even = matches!(unit, "y" | "w");
        if rest >= unit_ms && (!only_when_even || rest.is_multiple_of(unit_ms)) {
            write!(out, "{}{unit}", rest / unit_ms).expect("writing to a string cannot fail");
            rest %= unit_ms;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_prometheus_does() {
        for (text, ms, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("324ms", 324, "324ms"),
            ("3s", 3_000, "3s"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("4d1h", 349_200_000, "4d1h"),
            ("14d", 1_209_600_000, "2w"),
            ("10y", 315_360_000_000, "10y"),
            ("1d24h", 172_800_000, "2d"),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
            assert_eq!(
                format_duration(Duration::from_millis(ms)),
                written,
                "{text}"
            );
        }
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for text in [
            "1",
            "1y1m1d",
            "-1w",
            "1.5d",
            "d",
            "",
            "1h1h",
            "5 m",
            "5M",
            "294y",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
