//! String literals: double and single quotes with escapes, back quotes without. Their values are bytes, since `"\xff"` is one.

use std::fmt::Write as _;

/// Returns the length of the literal at the start of `text`, quotes included; `quote` is its first byte.
pub(crate) fn quoted_len(text: &str, quote: u8) -> Result<usize, String> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None if quote == b'`' => return Err("unterminated raw string".to_owned()),
            None => return Err("unterminated quoted string".to_owned()),
            Some(b'\n') if quote != b'`' => return Err("unterminated quoted string".to_owned()),
            Some(byte) if *byte == quote => return Ok(at + 1),
            Some(b'\\') if quote != b'`' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                at += 1 + escape(rest, quote)?.0;
            }
            Some(_) => at += 1,
        }
    }
}

/// Returns the value of a literal that [`quoted_len`] has accepted.
pub(crate) fn unquote(literal: &str) -> Vec<u8> {
    let bytes = literal.as_bytes();
    let Some((quote, inner)) = bytes
        .split_first()
        .and_then(|(quote, rest)| Some((*quote, rest.split_last()?.1)))
    else {
        return Vec::new();
    };
    if quote == b'`' {
        // As in Go: carriage returns are no part of raw strings.
        return inner
            .iter()
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(byte) = inner.get(at) {
        at += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let rest = literal.get(at + 1..).unwrap_or_default();
        match escape(rest, quote) {
            Ok((length, Escaped::Byte(byte))) => {
                out.push(byte);
                at += length;
            }
            Ok((length, Escaped::Char(c))) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += length;
            }
            Err(_) => return out,
        }
    }
    out
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// Reads the escape whose backslash is behind; returns its length and value.
fn escape(rest: &str, quote: u8) -> Result<(usize, Escaped), String> {
    let unterminated = || "escape sequence not terminated".to_owned();
    let first = rest.chars().next().ok_or_else(unterminated)?;
    let simple = |byte| Ok((1, Escaped::Byte(byte)));
    let (skip, digits, radix) = match first {
        'a' => return simple(7),
        'b' => return simple(8),
        'f' => return simple(12),
        'n' => return simple(b'\n'),
        'r' => return simple(b'\r'),
        't' => return simple(b'\t'),
        'v' => return simple(11),
        '\\' => return simple(b'\\'),
        c if c == char::from(quote) => return simple(quote),
        '0'..='7' => (0, 3, 8),
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        other => return Err(format!("unknown escape sequence {}", code_point(other))),
    };
    let mut value: u32 = 0;
    let mut following = rest.get(skip..).unwrap_or_default().chars();
    for _ in 0..digits {
        let c = following.next().ok_or_else(unterminated)?;
        let digit = c
            .to_digit(radix)
            .ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
        // Eight hexadecimal digits fill 32 bits exactly.
        value = value * radix + digit;
    }
    let invalid = || "escape sequence is an invalid Unicode code point".to_owned();
    let escaped = if digits <= 3 {
        Escaped::Byte(u8::try_from(value).map_err(|_| invalid())?)
    } else {
        Escaped::Char(char::from_u32(value).ok_or_else(invalid)?)
    };
    Ok((skip + digits, escaped))
}

fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

/// Returns `bytes` as a double-quoted literal that reads back the same.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() && u32::from(c) < 0x80 => write_escape(&mut out, u32::from(c)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            write_escape(&mut out, u32::from(*byte));
        }
    }
    out.push('"');
    out
}

fn write_escape(out: &mut String, byte: u32) {
    write!(out, "\\x{byte:02x}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(literal: &str) -> Result<Vec<u8>, String> {
        let length = quoted_len(literal, literal.as_bytes()[0])?;
        assert_eq!(length, literal.len(), "{literal}");
        Ok(unquote(literal))
    }

    #[test]
    fn escapes_are_bytes_and_code_points() {
        for (literal, bytes) in [
            (r#""a\nb""#, b"a\nb".as_slice()),
            (r"'it\'s'", b"it's"),
            (r#""\xff\101""#, &[0xff, b'A']),
            (r#""\u00e9""#, "é".as_bytes()),
            (r#""\U0001F600""#, "😀".as_bytes()),
            (r"`a\n`", br"a\n"),
        ] {
            assert_eq!(value(literal).as_deref(), Ok(bytes), "{literal}");
        }
    }

    #[test]
    fn bad_literals_are_refused() {
        for literal in [
            r#""\q""#,
            r#""\x4""#,
            r#""\uD800""#,
            r#""\400""#,
            "\"a\nb\"",
            "\"a",
            "`a",
        ] {
            assert!(
                quoted_len(literal, literal.as_bytes()[0]).is_err(),
                "{literal}"
            );
        }
    }

    #[test]
    fn quoting_reads_back() {
        for bytes in [
            b"plain".as_slice(),
            b"a\"b\\c\n\r\t\x00",
            &[0xff, 0xfe],
            "é\u{7f}".as_bytes(),
        ] {
            assert_eq!(value(&quote(bytes)).as_deref(), Ok(bytes));
        }
    }
}
