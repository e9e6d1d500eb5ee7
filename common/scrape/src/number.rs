//! Numbers as most expositions write them, read without the general parser.

use exposition::parse_float;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Mantissas up to here are exact.
const EXACT_MAX: u64 = 1 << 53;
/// So many digits cannot overflow.
const DIGITS_MAX: usize = 18;

/// Returns the value that `text` writes, to the bit what [`parse_float`] returns; of NaNs always [`f64::NAN`].
///
/// Digits with a point and a small exponent are one exact mantissa times or over one exact power of ten, which rounds once.
pub(crate) fn value(text: &[u8]) -> Option<f64> {
    simple(text).or_else(|| {
        let value = parse_float(str::from_utf8(text).ok()?)?;
        Some(if value.is_nan() { f64::NAN } else { value })
    })
}

fn simple(text: &[u8]) -> Option<f64> {
    let (is_negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut mantissa = 0_u64;
    let mut digits = 0;
    let mut fraction = None;
    let mut exponent = 0_i32;
    for (at, byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                digits += 1;
                if digits > DIGITS_MAX {
                    return None;
                }
            }
            b'.' if fraction.is_none() => fraction = Some(digits),
            b'e' => {
                exponent = small_exponent(unsigned.get(at + 1..)?)?;
                break;
            }
            _ => return None,
        }
    }
    if digits == 0 || mantissa > EXACT_MAX {
        return None;
    }
    exponent -= i32::try_from(fraction.map_or(0, |before| digits - before)).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let mantissa = mantissa as f64;
    let power = POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 {
        mantissa / power
    } else {
        mantissa * power
    };
    Some(if is_negative { -value } else { value })
}

/// `+06`, `-5`, `12`.
fn small_exponent(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    match digits {
        [a @ b'0'..=b'9'] => Some(sign * i32::from(a - b'0')),
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => {
            Some(sign * (i32::from(a - b'0') * 10 + i32::from(b - b'0')))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use gofloat::format_g;
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        let slow = parse_float(text).map(f64::to_bits);
        let fast = value(text.as_bytes()).map(f64::to_bits);
        assert_eq!(fast, slow, "{text}");
    }

    #[test]
    fn shortcuts_change_nothing() {
        for text in [
            "0",
            "-0",
            "1",
            "007",
            "1.",
            ".5",
            "-.5",
            "1.5e3",
            "1e+06",
            "1e-05",
            "1E3",
            "1e",
            "1e+",
            "1.2.3",
            "",
            "-",
            ".",
            "+1",
            "--1",
            "9007199254740993",
            "0.1",
            "123456789012345678",
            "1234567890123456789",
            "3.4028234663852886e+38",
            "1e22",
            "1e23",
            "1e100",
            "+Inf",
            "inf",
            "12345678901234567e-22",
            "0x10",
            "1_000",
            " 1",
        ] {
            same(text);
        }
    }

    proptest! {
        #[test]
        fn any_number_is_read_alike(bits in any::<u64>(), whole in any::<i64>(), cents in any::<i32>()) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                same(&format_g(value));
            }
            same(&whole.to_string());
            same(&format_g(f64::from(cents) / 100.0));
        }

        #[test]
        fn any_text_is_read_alike(text in "[-+0-9.eE]{0,24}") {
            same(&text);
        }
    }
}
