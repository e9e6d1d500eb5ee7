//! Style sheets, as far as needed to know where strings, URLs and comments begin and end.

use super::context::{Context, Quote, State};
use super::transition::{beginning, skip_space, url_part};

/// Reads on in a style sheet.
pub(super) fn transition(context: &Context, text: &str) -> Result<(Context, usize), String> {
    match context.state {
        State::CssString(quote) | State::CssUrl(Some(quote)) => {
            in_string(context, text, &['\\', quote.character()])
        }
        State::CssUrl(None) => {
            in_string(context, text, &['\\', '\t', '\n', '\u{c}', '\r', ' ', ')'])
        }
        State::CssBlockComment => Ok(in_comment(context, text, text.find("*/").map(|at| at + 2))),
        State::CssLineComment => Ok(in_comment(context, text, text.find(['\n', '\u{c}', '\r']))),
        _ => Ok(in_sheet(context, text)),
    }
}

fn in_comment(context: &Context, text: &str, end: Option<usize>) -> (Context, usize) {
    let mut next = context.clone();
    if end.is_some() {
        next.state = State::Css;
    }
    (next, end.unwrap_or(text.len()))
}

/// Strings count as URLs as well: nothing else in them is worth telling apart.
fn in_sheet(context: &Context, text: &str) -> (Context, usize) {
    let mut next = context.clone();
    for (at, special) in text.match_indices(['(', '"', '\'', '/']) {
        let after = text.get(at + 1..).unwrap_or_default();
        match special {
            "(" => {
                let before = text
                    .get(..at)
                    .unwrap_or_default()
                    .trim_end_matches(is_space);
                if !ends_with_word(before, "url") {
                    continue;
                }
                let space = skip_space(after);
                let (quote, bytes) = match after.as_bytes().get(space) {
                    Some(b'"') => (Some(Quote::Double), 1),
                    Some(b'\'') => (Some(Quote::Single), 1),
                    _ => (None, 0),
                };
                next.state = State::CssUrl(quote);
                return (next, at + 1 + space + bytes);
            }
            "/" if after.starts_with('/') => {
                next.state = State::CssLineComment;
                return (next, at + 2);
            }
            "/" if after.starts_with('*') => {
                next.state = State::CssBlockComment;
                return (next, at + 2);
            }
            "/" => {}
            quote => {
                next.state = State::CssString(if quote == "\"" {
                    Quote::Double
                } else {
                    Quote::Single
                });
                return (next, at + 1);
            }
        }
    }
    (next, text.len())
}

fn in_string(context: &Context, text: &str, specials: &[char]) -> Result<(Context, usize), String> {
    let mut next = context.clone();
    // Digits of an escape may follow it: each is read again with what comes up to the one after it.
    let (mut from, mut escape_before) = (0, 0);
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(specials)) {
        let at = from + found;
        from = at + 1;
        if text.as_bytes().get(at) != Some(&b'\\') {
            next.state = State::Css;
            return Ok((next, from));
        }
        let escaped = text.get(from..).and_then(|rest| rest.chars().next());
        let Some(escaped) = escaped else {
            let shown = beginning(text);
            return Err(format!(
                "unfinished escape sequence in CSS string: {shown:?}"
            ));
        };
        from += escaped.len_utf8();
        let read = text.get(escape_before..from).unwrap_or_default();
        next.url_part = url_part(next.url_part, &decode(read));
        escape_before = at;
    }
    let read = text.get(from..).unwrap_or_default();
    next.url_part = url_part(next.url_part, &decode(read));
    Ok((next, text.len()))
}

pub(super) const fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}

/// Whether `text` ends with the identifier `word`.
fn ends_with_word(text: &str, word: &str) -> bool {
    let start = text
        .len()
        .checked_sub(word.len())
        .and_then(|at| text.split_at_checked(at));
    start.is_some_and(|(before, end)| {
        end.eq_ignore_ascii_case(word) && !before.ends_with(is_name_character)
    })
}

pub(super) fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_') || !character.is_ascii()
}

/// Returns `text` with its escapes read: `\` and up to six digits, with a space behind them; `\` and another character.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let digits = escape
            .bytes()
            .take(6)
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let (number, after) = escape.split_at(digits);
        rest = match u32::from_str_radix(number, 16) {
            Ok(code) => {
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                after
                    .strip_prefix("\r\n")
                    .or_else(|| after.strip_prefix(is_space))
                    .unwrap_or(after)
            }
            Err(_) => {
                let character = escape.chars().next();
                out.extend(character);
                escape
                    .get(character.map_or(0, char::len_utf8)..)
                    .unwrap_or_default()
            }
        };
    }
    out + rest
}
