//! Floats as Go's `strconv.FormatFloat` writes them with as many digits as it takes, since every tool around Prometheus does.
//!
//! The digits are the fewest that read back as the same double; of several such decimals the nearest; of two that are equally near
//! the one whose last digit is even. Rust's own formatting takes the greater one there: `258141891248327.625` ends with `.63` in
//! Rust and with `.62` in Go.
//!
//! What is not finite is written `NaN`, `+Inf` and `-Inf`. Everything is appended to text or bytes ([`Sink`]) without allocating for
//! itself.
//!
//! Never here: reading numbers, and which form belongs where.

#![forbid(unsafe_code)]

mod plain;
mod shortest;
mod sink;

use std::ops::Range;

pub use shortest::Shortest;
pub use sink::Sink;

/// The decimal exponents that `%g` and `%v` write without an exponent.
const GENERAL: Range<f64> = 1e-4..1e6;
/// The same of numbers in JSON.
const JSON: Range<f64> = 1e-6..1e21;

/// Appends `value` as format `'f'` does: never with an exponent.
pub fn write_f(out: &mut impl Sink, value: f64) {
    if write_special(out, value) {
        return;
    }
    write_sign(out, value);
    plain::write(out, value.abs());
}

/// Appends `value` as format `'e'` does: `-1.5e+02`.
pub fn write_e(out: &mut impl Sink, value: f64) {
    if write_special(out, value) {
        return;
    }
    write_sign(out, value);
    Shortest::of(value).write_exponential(out);
}

/// Appends `value` as format `'g'` and the verb `%v` do: with an exponent below 0.0001 and from 1,000,000 on.
pub fn write_g(out: &mut impl Sink, value: f64) {
    write_within(out, value, &GENERAL);
}

/// Appends `value` as Prometheus writes samples: with an exponent below 0.000001 and from 1e+21 on.
pub fn write_sample(out: &mut impl Sink, value: f64) {
    write_within(out, value, &JSON);
}

/// Appends a whole number.
pub fn write_whole(out: &mut impl Sink, number: u64) {
    plain::write_whole(out, number);
}

/// Returns what [`write_f`] writes.
pub fn format_f(value: f64) -> String {
    written(value, write_f)
}

/// Returns what [`write_e`] writes.
pub fn format_e(value: f64) -> String {
    written(value, write_e)
}

/// Returns what [`write_g`] writes.
pub fn format_g(value: f64) -> String {
    written(value, write_g)
}

/// Returns what [`write_sample`] writes.
pub fn format_sample(value: f64) -> String {
    written(value, write_sample)
}

fn written(value: f64, write: impl Fn(&mut String, f64)) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

/// Writes without an exponent what is zero or lies in `plain`.
fn write_within(out: &mut impl Sink, value: f64, plain: &Range<f64>) {
    let magnitude = value.abs();
    if magnitude == 0.0 || plain.contains(&magnitude) {
        write_f(out, value);
    } else {
        write_e(out, value);
    }
}

/// Writes what is not finite; returns whether it was.
fn write_special(out: &mut impl Sink, value: f64) -> bool {
    if value.is_finite() {
        return false;
    }
    out.append(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"+Inf"
    } else {
        b"-Inf"
    });
    true
}

fn write_sign(out: &mut impl Sink, value: f64) {
    if value.is_sign_negative() {
        out.append(b"-");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        // value, 'g', 'f', 'e', of a sample
        for (value, g, f, e, sample) in [
            (0.0, "0", "0", "0e+00", "0"),
            (-0.0, "-0", "-0", "-0e+00", "-0"),
            (1.0, "1", "1", "1e+00", "1"),
            (-1.0, "-1", "-1", "-1e+00", "-1"),
            (0.25, "0.25", "0.25", "2.5e-01", "0.25"),
            (999_999.0, "999999", "999999", "9.99999e+05", "999999"),
            (
                999_999.5,
                "999999.5",
                "999999.5",
                "9.999995e+05",
                "999999.5",
            ),
            (1_000_000.0, "1e+06", "1000000", "1e+06", "1000000"),
            (
                1_234_567.0,
                "1.234567e+06",
                "1234567",
                "1.234567e+06",
                "1234567",
            ),
            (0.0001, "0.0001", "0.0001", "1e-04", "0.0001"),
            (
                0.000_099_9,
                "9.99e-05",
                "0.0000999",
                "9.99e-05",
                "0.0000999",
            ),
            (-2.5e-7, "-2.5e-07", "-0.00000025", "-2.5e-07", "-2.5e-07"),
            (1e-10, "1e-10", "0.0000000001", "1e-10", "1e-10"),
            (
                1e20,
                "1e+20",
                "100000000000000000000",
                "1e+20",
                "100000000000000000000",
            ),
            (1e21, "1e+21", "1000000000000000000000", "1e+21", "1e+21"),
            (
                1.797_693_134_862_315_7e308,
                "1.7976931348623157e+308",
                "",
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
            (5e-324, "5e-324", "", "5e-324", "5e-324"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN", "NaN", "NaN"),
        ] {
            assert_eq!(format_g(value), g);
            assert_eq!(format_e(value), e);
            assert_eq!(format_sample(value), sample);
            if !f.is_empty() {
                assert_eq!(format_f(value), f);
            }
        }
        assert_eq!(format_f(f64::MAX).len(), 309);
        assert_eq!(format_f(5e-324).len(), 326);
    }

    /// As Prometheus' promtool prints these.
    #[test]
    fn of_two_nearest_the_even_one_is_written() {
        for (eighths, text) in [
            (2_065_135_129_986_621.0, "258141891248327.62"),
            (2_065_135_129_986_623.0, "258141891248327.88"),
            (2_251_799_813_685_251.0, "281474976710656.4"),
        ] {
            let value = eighths / 8.0;
            assert_eq!(format_f(value), text);
            assert_eq!(format_sample(value), text);
            assert_eq!(format_f(-value), format!("-{text}"));
        }
    }

    /// Returns whether both texts are the same but for a tie at the last digit.
    fn same_digits(ours: &str, rust: &str) -> bool {
        let (Some(ours_start), Some(rust_start)) = (
            ours.get(..ours.len().saturating_sub(1)),
            rust.get(..rust.len().saturating_sub(1)),
        ) else {
            return false;
        };
        ours_start == rust_start
    }

    proptest! {
        #[test]
        fn every_form_reads_back_and_is_no_longer_than_rusts(bits in any::<u64>(), whole in any::<i64>(), places in 0_i32..9) {
            #[expect(clippy::cast_precision_loss, reason = "any number does")]
            let whole = whole as f64;
            let decimals = (whole % 1e9) / 10_f64.powi(places);
            for value in [f64::from_bits(bits), whole, whole / 1024.0, decimals] {
                prop_assume!(!value.is_nan());
                for text in [format_f(value), format_e(value), format_g(value), format_sample(value)] {
                    prop_assert_eq!(text.parse().map(f64::to_bits), Ok(value.to_bits()), "{}", text);
                }
                if value.is_finite() {
                    let (ours, rust) = (format_f(value), format!("{value}"));
                    prop_assert!(ours == rust || same_digits(&ours, &rust), "{} or {}", ours, rust);
                }
            }
        }

        #[test]
        fn bytes_are_the_text(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let mut bytes = Vec::new();
            write_sample(&mut bytes, value);
            prop_assert_eq!(bytes, format_sample(value).into_bytes());
        }
    }
}
