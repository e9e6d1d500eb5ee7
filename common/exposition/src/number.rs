//! Floats as Go writes and reads them, since every tool around Prometheus does.

use std::fmt::Write as _;

/// Returns `value` as OpenMetrics writers do: like Go's `%g`, but always visibly a float (`1.0`).
pub fn format_openmetrics(value: f64) -> String {
    let mut out = String::new();
    write_openmetrics(&mut out, value);
    out
}

/// Appends what [`format_openmetrics`] returns.
pub fn write_openmetrics(out: &mut String, value: f64) {
    let start = out.len();
    gofloat::write_g(out, value);
    if value.is_finite() && !out.bytes().skip(start).any(|b| b == b'.' || b == b'e') {
        out.push_str(".0");
    }
}

/// Returns the number that `text` is, as Go's `strconv.ParseFloat` takes it in Prometheus: decimal, without hexadecimal forms
/// and underscores; `inf`, `infinity` (with a sign or not) and `nan` (without one) in any case. `None` for anything else, and for
/// finite digits beyond the range of a double.
pub fn parse_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let spelt = unsigned.starts_with(|c: char| c.is_ascii_alphabetic());
    if value.is_finite() || (spelt && (value.is_infinite() || unsigned.len() == text.len())) {
        Some(value)
    } else {
        None
    }
}

pub(crate) fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("numbers format without failing, and a String takes what it is given");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_visibly_floats() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.25, "0.25"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1.5e9, "1.5e+09"),
            (0.000_099_9, "9.99e-05"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_openmetrics(value), text);
        }
    }

    #[test]
    fn numbers_are_read_as_prometheus_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("+1", 1.0),
            ("-1.5e3", -1_500.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("0000000000000000000000000000000000000000001.2e-1", 0.12),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse_float(text), Some(value), "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
        assert!(parse_float("nan").is_some_and(f64::is_nan));
        for text in [
            "", "-", ".", "e5", "1e", "0x1", "0x1p-3", "0b1", "1_2", " 1", "1 ", "-nan", "+NaN",
            "1e999", "-1e999", "in", "1.1.1", "\u{663}",
        ] {
            assert_eq!(parse_float(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_back_to_the_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = format_openmetrics(value);
            prop_assert_eq!(parse_float(&text).map(f64::to_bits), Some(bits), "{}", text);
        }
    }
}
