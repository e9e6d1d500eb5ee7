//! Texts and characters as literals of Go.

use std::fmt::Write as _;

/// Returns `text` as a string literal of Go: in double quotes, with escapes for what does not print.
pub fn quote(text: &str) -> String {
    quoted(text, '"', is_printable)
}

/// The same with escapes for all that is not ASCII.
pub(super) fn quote_ascii(text: &str) -> String {
    quoted(text, '"', |character| {
        character.is_ascii() && is_printable(character)
    })
}

/// Returns `character` in single quotes.
pub(super) fn quote_char(character: char, ascii: bool) -> String {
    quoted(character.encode_utf8(&mut [0; 4]), '\'', |character| {
        is_printable(character) && (character.is_ascii() || !ascii)
    })
}

/// Whether `text` can stand between back quotes on one line.
pub(super) fn can_be_raw(text: &str) -> bool {
    text.chars().all(|character| match character {
        '\t' => true,
        '`' | '\u{7f}' | '\u{feff}' => false,
        _ => character >= ' ',
    })
}

fn quoted(text: &str, mark: char, keeps: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for character in text.chars() {
        let code = u32::from(character);
        // Writing to a String does not fail.
        let _written = match character {
            '\u{7}' => out.write_str("\\a"),
            '\u{8}' => out.write_str("\\b"),
            '\u{c}' => out.write_str("\\f"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\u{b}' => out.write_str("\\v"),
            '\\' => out.write_str("\\\\"),
            _ if character == mark => write!(out, "\\{character}"),
            _ if keeps(character) => out.write_char(character),
            _ if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(mark);
    out
}

/// Whether `character` is a letter, mark, number, punctuation, symbol or the space.
pub(crate) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    // The standard library knows, but says so only by how it escapes; behind a letter, marks that combine are kept.
    let mut buffer = [b'a'; 5];
    let bytes = 1 + character.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..bytes]).is_ok_and(|text| text.escape_debug().count() == 2)
}
