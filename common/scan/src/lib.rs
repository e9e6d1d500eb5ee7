//! Readers of what the kernel prints, most of them of bytes. None panics, whatever the bytes, and none allocates but [`text`], where it must,
//! and [`pod_uid`].
//!
//! Never here: files, and what a file's lines mean.

#![forbid(unsafe_code)]

mod cgroup;

use std::borrow::Cow;

pub use cgroup::{cgroup_parts, container_id, pod_uid};

/// Returns the lines, without their ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// Returns the words of a line: what stands between runs of blanks.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Splits at the first `separator`.
pub fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Reads a decimal number that fills `word`.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a number with sign, fraction or exponent that fills `word`.
pub fn float(word: &[u8]) -> Option<f64> {
    match number(word) {
        Some(whole) => Some(whole as f64),
        None => std::str::from_utf8(word).ok()?.parse().ok(),
    }
}

/// Reads a whole number with an optional sign that fills `word`: decimal, or hexadecimal after `0x`.
pub fn integer(word: &[u8]) -> Option<f64> {
    let (sign, digits) = match word.split_first()? {
        (b'-', rest) => (-1.0, rest),
        (b'+', rest) => (1.0, rest),
        _ => (1.0, word),
    };
    let number = match digits.strip_prefix(b"0x") {
        Some(digits) => hexadecimal(digits)?,
        None => number(digits)?,
    };
    Some(sign * number as f64)
}

/// Reads a hexadecimal number, without a prefix, that fills `word`.
pub fn hexadecimal(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        sum.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// Returns text for a label; each run of bytes that are not UTF-8 becomes one U+FFFD.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut in_run = false;
    for chunk in bytes.utf8_chunks() {
        in_run &= chunk.valid().is_empty();
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() && !in_run {
            text.push(char::REPLACEMENT_CHARACTER);
            in_run = true;
        }
    }
    Cow::Owned(text)
}

/// A number as decimal text, without allocating.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// Returns the digits of `number`.
    pub fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    /// Returns them as text.
    pub fn as_str(&self) -> &str {
        self.digits
            .get(self.start..)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_whole_words() {
        for (word, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("1x", None),
        ] {
            assert_eq!(number(word.as_bytes()), expected, "{word}");
        }
        assert_eq!(float(b"-1.5e3"), Some(-1500.0));
        assert_eq!(
            float(b"18446744073709551616"),
            Some(18_446_744_073_709_551_616.0)
        );
        assert_eq!(float(b"one"), None);
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\xff\xfe\xffb\xff", "a\u{fffd}b\u{fffd}"),
            (b"\xe2\x82", "\u{fffd}"),
        ] {
            assert_eq!(text(bytes), expected);
        }
        for (word, expected) in [
            ("-12", Some(-12.0)),
            ("0x1f", Some(31.0)),
            ("+1", Some(1.0)),
            ("0x", None),
            ("-", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(integer(word.as_bytes()), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_what_display_prints(number in any::<u64>()) {
            let expected = number.to_string();
            let decimal = Decimal::new(number);
            prop_assert_eq!(decimal.as_str(), expected.as_str());
            prop_assert_eq!(super::number(expected.as_bytes()), Some(number));
        }
    }
}
