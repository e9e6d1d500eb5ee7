//! Constants in Go's spelling: strings, characters, numbers.

use crate::ast::Number;

/// Returns the value of a string literal of Go, in double or back quotes. Bytes that are no UTF-8 become U+FFFD.
pub fn unquote(literal: &str) -> Result<String, String> {
    let inner = literal
        .get(1..literal.len().saturating_sub(1))
        .unwrap_or_default();
    if literal.starts_with('`') {
        return Ok(inner.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, after) = unescape(rest, '"').ok_or("invalid syntax")?;
        match unit {
            Unit::Byte(byte) => bytes.push(byte),
            Unit::Character(character) => {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = after;
    }
    Ok(from_utf8(bytes))
}

/// Returns `bytes` as text; each byte that is not part of a character becomes one U+FFFD, as in Go.
pub(crate) fn from_utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let mut text = String::new();
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        text
    })
}

enum Unit {
    Byte(u8),
    Character(char),
}

/// Returns the first character or escape of `text`, and what follows.
fn unescape(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first != '\\' {
        let is_plain = first != quote && first != '\n';
        return is_plain.then_some((Unit::Character(first), characters.as_str()));
    }
    let escape = characters.next()?;
    let simple = match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        '\'' | '"' if escape == quote => quote,
        'x' => return numeric(characters.as_str(), 2, 16),
        'u' => return numeric(characters.as_str(), 4, 16),
        'U' => return numeric(characters.as_str(), 8, 16),
        '0'..='7' => return numeric(text.get(1..)?, 3, 8),
        _ => return None,
    };
    Some((Unit::Character(simple), characters.as_str()))
}

/// Reads exactly `count` digits: a byte when it fits in one, and the escape is one of bytes, by its number of digits.
fn numeric(text: &str, count: usize, radix: u32) -> Option<(Unit, &str)> {
    let digits = text.get(..count)?;
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    let rest = text.get(count..)?;
    if count < 4 {
        return Some((Unit::Byte(u8::try_from(value).ok()?), rest));
    }
    Some((Unit::Character(char::from_u32(value)?), rest))
}

/// Returns the number that a character constant stands for.
pub(crate) fn character(literal: &str) -> Result<Number, String> {
    let malformed = || format!("malformed character constant: {literal}");
    let inner = literal
        .get(1..literal.len().saturating_sub(1))
        .ok_or_else(malformed)?;
    let (unit, rest) = unescape(inner, '\'').ok_or_else(malformed)?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let code = match unit {
        Unit::Byte(byte) => u32::from(byte),
        Unit::Character(character) => u32::from(character),
    };
    Ok(Number {
        int: Some(i64::from(code)),
        float: f64::from(code),
        is_float: false,
    })
}

/// Returns the number that `text` spells.
pub(crate) fn number(text: &str) -> Result<Number, String> {
    if let Some(value) = integer(text) {
        return Ok(Number {
            int: i64::try_from(value).ok(),
            float: int_to_float(value),
            is_float: false,
        });
    }
    let digits = text.trim_start_matches(['+', '-']);
    let is_hex = digits.starts_with("0x") || digits.starts_with("0X");
    let float = if is_hex {
        hex_float(text)
    } else {
        decimal_float(text)
    };
    let float = float.ok_or_else(|| format!("illegal number syntax: {text:?}"))?;
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {text:?}"));
    }
    Ok(Number {
        int: float_to_int(float),
        float,
        is_float: true,
    })
}

/// Returns `value` as the nearest float.
#[expect(clippy::cast_precision_loss, reason = "what is asked for")]
const fn int_to_float(value: i128) -> f64 {
    value as f64
}

/// Returns `value` as an integer when it is one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and in range"
)]
pub(crate) fn float_to_int(value: f64) -> Option<i64> {
    // Two to the 63rd is the first float above the range.
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    (in_range && value.trunc() == value).then_some(value as i64)
}

/// Reads an integer of at most 64 bits with an optional sign and prefix.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, prefix, body) = match digits.get(..2) {
        Some("0x" | "0X") => (16, true, digits.get(2..)?),
        Some("0o" | "0O") => (8, true, digits.get(2..)?),
        Some("0b" | "0B") => (2, true, digits.get(2..)?),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, true, digits.get(1..)?),
        _ => (10, false, digits),
    };
    let plain = without_underscores(body, prefix)?;
    if plain.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(&plain, radix).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// Returns `digits` without the underscores between them; `None` when one stands elsewhere.
fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let bytes = digits.as_bytes();
    let separates = |at: usize| {
        let before = match at.checked_sub(1) {
            Some(before) => bytes[before].is_ascii_alphanumeric(),
            None => after_prefix,
        };
        before && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
    };
    let placed_well = digits.match_indices('_').all(|(at, _)| separates(at));
    placed_well.then(|| digits.replace('_', ""))
}

fn decimal_float(text: &str) -> Option<f64> {
    let plain = without_underscores(text, false)?;
    let is_number = plain
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let value: f64 = is_number.then(|| plain.parse().ok()).flatten()?;
    value.is_finite().then_some(value)
}

/// Reads `0x1.8p3`; digits beyond the 64 bits that a mantissa is given are refused.
fn hex_float(text: &str) -> Option<f64> {
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']).get(2..)?;
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value = u64::from_str_radix(
        &without_underscores(&format!("{whole}{fraction}"), true)?,
        16,
    )
    .ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    let value = int_to_float(i128::from(value)) * 2_f64.powi(shift);
    value
        .is_finite()
        .then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_lose_their_quotes() {
        let cases = [
            (r#""a\tb\"""#, Ok("a\tb\"")),
            (r#""\u00e9\x41\101\U0001F600""#, Ok("éAA😀")),
            (r#""\xff""#, Ok("\u{fffd}")),
            ("`a\\t\r\nb`", Ok("a\\t\nb")),
            (r#""\'""#, Err("invalid syntax")),
            ("\"\n\"", Err("invalid syntax")),
            (r#""\ud800""#, Err("invalid syntax")),
        ];
        for (literal, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(unquote(literal), expected, "{literal}");
        }
    }

    #[test]
    fn numbers_know_what_they_can_be() {
        let is = |int: Option<i64>, float: f64, is_float: bool| Number {
            int,
            float,
            is_float,
        };
        let cases = [
            ("42", is(Some(42), 42.0, false)),
            ("-0x1F", is(Some(-31), -31.0, false)),
            ("0b101", is(Some(5), 5.0, false)),
            ("017", is(Some(15), 15.0, false)),
            ("1_000", is(Some(1000), 1000.0, false)),
            ("1e3", is(Some(1000), 1000.0, true)),
            ("1.5", is(None, 1.5, true)),
            ("0x1p-2", is(None, 0.25, true)),
            (
                "18446744073709551615",
                is(None, 18_446_744_073_709_551_615.0, false),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in [
            "08",
            "1__0",
            "_1",
            "18446744073709551616",
            "1e999",
            "+",
            "0x",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
        assert_eq!(character("'a'").map(|number| number.int), Ok(Some(97)));
        assert!(character("'ab'").is_err());
    }
}
