//! The classic parser: splits at commas outside of quotes and takes what is behind the operator as it is.

use model::{MatchOp, Matcher};

pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let mut tokens = Vec::new();
    let (mut in_quotes, mut escaped, mut from) = (false, false, 0);
    for (at, character) in text.char_indices() {
        match character {
            ',' if !in_quotes => {
                tokens.push(text.get(from..at).unwrap_or_default());
                from = at + 1;
                // As in Alertmanager, a comma changes nothing about a backslash before it.
                continue;
            }
            '"' if escaped => escaped = false,
            '"' => in_quotes = !in_quotes,
            '\\' => escaped = !escaped,
            ',' => {}
            _ => escaped = false,
        }
    }
    let last = text.get(from..).unwrap_or_default().trim();
    if !last.is_empty() {
        tokens.push(last);
    }
    tokens.into_iter().map(parse_one).collect()
}

pub(super) fn parse_one(text: &str) -> Result<Matcher, String> {
    let malformed = || format!("bad matcher format: {text}");
    let trimmed = text.trim();
    let name_bytes = trimmed
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(name_bytes);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(malformed());
    }
    let rest = rest.trim_start();
    let operators = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("=", MatchOp::Equal),
    ];
    let found = operators
        .iter()
        .find_map(|(operator, op)| Some((*op, rest.strip_prefix(operator)?)));
    let (op, value) = found.ok_or_else(malformed)?;
    let value = unescape(value.trim_start())?;
    Matcher::new(name, op, value).map_err(|error| error.to_string())
}

/// Takes quotes off, when there are any, and reads `\n`, `\"` and `\\`; other backslashes stay.
fn unescape(raw: &str) -> Result<String, String> {
    let misplaced = || format!("matcher value contains unescaped double quote: {raw}");
    let inner = raw.strip_prefix('"');
    let mut quote_open = inner.is_some();
    let mut value = String::new();
    let mut characters = inner.unwrap_or(raw).chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' if !quote_open || characters.peek().is_some() => return Err(misplaced()),
            '"' => quote_open = false,
            _ => value.push(character),
        }
    }
    if quote_open {
        return Err(misplaced());
    }
    Ok(value)
}
