//! Escapes that functions and the HTML engine share.

use std::fmt::Write as _;

use crate::format::{Bounded, is_printable};

/// Writes `text` as HTML.
pub(crate) fn html(out: &mut Bounded, text: &str) {
    replace(out, text, |character| {
        Some(match character {
            '\0' => "\u{fffd}",
            '"' => "&#34;",
            '\'' => "&#39;",
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => return None,
        })
    });
}

/// Writes `text` for a literal of JavaScript.
pub(crate) fn js(out: &mut Bounded, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..' ' => code_unit(out, character),
            _ if character.is_ascii() || is_printable(character) => out.push(character),
            _ => code_unit(out, character),
        }
    }
}

fn code_unit(out: &mut Bounded, character: char) {
    let mut escape = String::new();
    // Writing to a String does not fail.
    let _written = write!(escape, "\\u{:04X}", u32::from(character));
    out.push_str(&escape);
}

/// Writes `text` for the query of a URL, spaces as `+`.
pub(crate) fn query(out: &mut Bounded, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            _ => percent(out, byte, true),
        }
    }
}

/// Writes `%xx`.
pub(crate) fn percent(out: &mut Bounded, byte: u8, upper: bool) {
    let digits: &[u8; 16] = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    out.push('%');
    out.push(char::from(digits[usize::from(byte >> 4)]));
    out.push(char::from(digits[usize::from(byte & 15)]));
}

/// Writes `text` with some characters replaced.
pub(crate) fn replace(
    out: &mut Bounded,
    text: &str,
    replacement: impl Fn(char) -> Option<&'static str>,
) {
    let mut plain_from = 0;
    for (at, character) in text.char_indices() {
        if let Some(replacement) = replacement(character) {
            out.push_str(text.get(plain_from..at).unwrap_or_default());
            out.push_str(replacement);
            plain_from = at + character.len_utf8();
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
}

/// Reads a query's escapes back: `%xx`, and `+` as a space. `Err` names the escape that is none.
pub(crate) fn unescape_query(text: &str) -> Result<String, String> {
    unescape(text, true)
}

/// Reads the escapes of a path back.
pub(crate) fn unescape_path(text: &str) -> Result<String, String> {
    unescape(text, false)
}

fn unescape(text: &str, plus_is_space: bool) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = after
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits
                    .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    let shown = String::from_utf8_lossy(after.get(..2).unwrap_or(after));
                    return Err(format!("invalid URL escape {:?}", format!("%{shown}")));
                };
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    Ok(crate::literal::from_utf8(bytes))
}
