//! Numbers and times as Prometheus writes them in messages.

/// Returns `value` as Go's `%f` does: six decimals.
pub(crate) fn format_fixed(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        gofloat::format_f(value)
    }
}

/// Returns `value` as Go's `%.2g` does: two digits that matter.
pub(crate) fn format_two_digits(value: f64) -> String {
    if !value.is_finite() {
        return gofloat::format_f(value);
    }
    let scientific = format!("{value:.1e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        // Rounded to two digits already; the shortest form drops zeros, as %g does.
        let rounded: f64 = scientific.parse().unwrap_or(value);
        return gofloat::format_f(rounded);
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Returns milliseconds since the epoch as RFC 3339 in UTC, without trailing zeros in the fraction.
pub fn rfc3339(ms: i64) -> String {
    let civil = crate::calendar::Civil::from_seconds(ms.div_euclid(1_000));
    let fraction = ms.rem_euclid(1_000);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:03}").trim_end_matches('0').to_owned()
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_written_as_go_does() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.123, "0.12"),
            (12.6, "13"),
            (123.0, "1.2e+02"),
            (100.0, "1e+02"),
            (99.9, "1e+02"),
            (0.000_01, "1e-05"),
        ] {
            assert_eq!(format_two_digits(value), text, "{value}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_136_239_445_120), "2006-01-02T22:04:05.12Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }
}
