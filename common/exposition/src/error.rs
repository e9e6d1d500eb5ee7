//! Why an exposition was refused.

/// The most bytes of offending text that an error repeats.
const FOUND_BYTES_MAX: usize = 80;

/// Where an exposition breaks its format, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected {expected}, found {found}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u64,
    /// The byte of the line, from 1.
    pub column: usize,
    /// What the format asks for there.
    pub expected: &'static str,
    /// What is there: quoted, shortened, or words such as "end of line".
    pub found: String,
}

/// A [`ParseError`] before its line is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Bytes before the fault in its line.
    pub(crate) offset: usize,
    pub(crate) expected: &'static str,
    pub(crate) found: String,
}

impl Fault {
    /// `rest` is what follows the fault in its line.
    pub(crate) fn new(offset: usize, expected: &'static str, rest: &[u8]) -> Self {
        Self {
            offset,
            expected,
            found: shortened(rest),
        }
    }

    pub(crate) fn on(self, line: u64) -> ParseError {
        ParseError {
            line,
            column: self.offset + 1,
            expected: self.expected,
            found: self.found,
        }
    }
}

/// Quotes `text`, at most [`FOUND_BYTES_MAX`] bytes of it.
pub(crate) fn shortened(text: &[u8]) -> String {
    if text.is_empty() {
        return "end of line".to_owned();
    }
    let head = text.get(..FOUND_BYTES_MAX).unwrap_or(text);
    let more = if head.len() < text.len() { "..." } else { "" };
    format!("\"{}\"{more}", head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offending_text_is_quoted_and_bounded() {
        assert_eq!(shortened(b""), "end of line");
        assert_eq!(shortened(b"a\"\xff"), r#""a\"\xff""#);
        let long = shortened(&[b'x'; 1_000]);
        assert_eq!(long.len(), FOUND_BYTES_MAX + 5);
        assert!(long.ends_with("x\"..."));
    }
}
