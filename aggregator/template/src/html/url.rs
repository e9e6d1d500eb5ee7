//! URLs in attributes.

use super::UNSAFE;
use crate::escape::percent;
use crate::format::Bounded;

/// Writes a URL, or part of one, with what does not belong into it percent-encoded; escapes that are there stay.
pub(super) fn normalize(out: &mut Bounded, text: &str) {
    process(out, text, true);
}

/// Writes a text for the query of a URL.
pub(super) fn escape(out: &mut Bounded, text: &str) {
    process(out, text, false);
}

fn process(out: &mut Bounded, text: &str, keeps_reserved: bool) {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let is_escape = || {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let kept = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?'
            | b'@' | b'[' | b']' => keeps_reserved,
            b'%' => keeps_reserved && is_escape(),
            _ => false,
        };
        if kept {
            out.push(char::from(*byte));
        } else {
            percent(out, *byte, false);
        }
    }
}

/// Whether a URL has no scheme or one that runs no scripts.
pub(super) fn is_safe(text: &str) -> bool {
    match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => ["http", "https", "mailto"]
            .iter()
            .any(|safe| safe.eq_ignore_ascii_case(scheme)),
        _ => true,
    }
}

/// Writes the value of a `srcset`: URLs with sizes, separated by commas.
pub(super) fn srcset(out: &mut Bounded, text: &str) {
    let is_space = |character: char| matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    for (index, candidate) in text.split(',').enumerate() {
        if index > 0 {
            out.push(',');
        }
        let unpadded = candidate.trim_start_matches(is_space);
        let (padding, _) = candidate.split_at(candidate.len() - unpadded.len());
        let (url, size) = unpadded.split_at(unpadded.find(is_space).unwrap_or(unpadded.len()));
        let size_is_plain = size
            .chars()
            .all(|character| is_space(character) || character.is_ascii_alphanumeric());
        if is_safe(url) && size_is_plain {
            out.push_str(padding);
            normalize(out, url);
            out.push_str(size);
        } else {
            out.push('#');
            out.push_str(UNSAFE);
        }
    }
}
