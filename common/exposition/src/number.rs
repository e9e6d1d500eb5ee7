//! Floats as Go writes and reads them, since every tool around Prometheus does.

use std::fmt::Write as _;

/// Returns `value` as Go's `strconv.FormatFloat(value, 'g', -1, 64)`: `1e+06`, `0.25`, `+Inf`, `NaN`. Text 0.0.4 is written so.
pub fn format_go_g(value: f64) -> String {
    let mut out = String::new();
    write_go_g(&mut out, value);
    out
}

/// Returns `value` as Go's `strconv.FormatFloat(value, 'f', -1, 64)`: never an exponent. The HTTP API and PromQL write so.
pub fn format_go_f(value: f64) -> String {
    let mut out = String::new();
    write_go_f(&mut out, value);
    out
}

/// Returns `value` as OpenMetrics writers do: like [`format_go_g`], but always visibly a float (`1.0`).
pub fn format_openmetrics(value: f64) -> String {
    let mut out = String::new();
    write_openmetrics(&mut out, value);
    out
}

/// Appends what [`format_go_g`] returns.
pub fn write_go_g(out: &mut String, value: f64) {
    if let Some(name) = not_finite(value) {
        return out.push_str(name);
    }
    let magnitude = value.abs();
    // Go's rule for the shortest form: an exponent when the decimal one would be below -4 or above 5.
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        append(out, format_args!("{value}"));
        return;
    }
    let start = out.len();
    append(out, format_args!("{value:e}"));
    let Some(at) = out.get(start..).and_then(|text| text.find('e')) else {
        return;
    };
    let exponent: i32 = out
        .get(start + at + 1..)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    // Rust writes `e6` and `e-5`; Go signs it and gives it two digits.
    out.truncate(start + at);
    append(
        out,
        format_args!(
            "e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.unsigned_abs()
        ),
    );
}

/// Appends what [`format_go_f`] returns.
pub fn write_go_f(out: &mut String, value: f64) {
    match not_finite(value) {
        Some(name) => out.push_str(name),
        None => append(out, format_args!("{value}")),
    }
}

/// Appends what [`format_openmetrics`] returns.
pub fn write_openmetrics(out: &mut String, value: f64) {
    let start = out.len();
    write_go_g(out, value);
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

fn not_finite(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
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
    fn numbers_are_written_as_go_writes_them() {
        // value, 'g', 'f', OpenMetrics
        for (value, g, f, openmetrics) in [
            (0.0, "0", "0", "0.0"),
            (-0.0, "-0", "-0", "-0.0"),
            (1.0, "1", "1", "1.0"),
            (-1.0, "-1", "-1", "-1.0"),
            (0.25, "0.25", "0.25", "0.25"),
            (100_000.0, "100000", "100000", "100000.0"),
            (999_999.0, "999999", "999999", "999999.0"),
            (999_999.5, "999999.5", "999999.5", "999999.5"),
            (1_000_000.0, "1e+06", "1000000", "1e+06"),
            (1_234_567.0, "1.234567e+06", "1234567", "1.234567e+06"),
            (1.5e9, "1.5e+09", "1500000000", "1.5e+09"),
            (0.0001, "0.0001", "0.0001", "0.0001"),
            (0.000_099_9, "9.99e-05", "0.0000999", "9.99e-05"),
            (1e-10, "1e-10", "0.0000000001", "1e-10"),
            (1e21, "1e+21", "1000000000000000000000", "1e+21"),
            (-2.5e-7, "-2.5e-07", "-0.00000025", "-2.5e-07"),
            (
                1.797_693_134_862_315_7e308,
                "1.7976931348623157e+308",
                "",
                "1.7976931348623157e+308",
            ),
            (5e-324, "5e-324", "", "5e-324"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
        ] {
            assert_eq!(format_go_g(value), g);
            if !f.is_empty() {
                assert_eq!(format_go_f(value), f);
            }
            assert_eq!(format_openmetrics(value), openmetrics);
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
        fn every_form_reads_back_to_the_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            for text in [format_go_g(value), format_go_f(value), format_openmetrics(value)] {
                prop_assert_eq!(parse_float(&text).map(f64::to_bits), Some(bits), "{}", text);
            }
        }
    }
}
