//! Where in the text of a query something stands.

use std::fmt;

/// A stretch of the query's text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextRange {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl TextRange {
    /// Returns the stretch from `start` to before `end`; both saturate at 4 GiB.
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: clamp(start),
            end: clamp(end),
        }
    }

    /// Returns the smallest stretch that holds both.
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// Returns the stretch that lies to `to` as this one does to `from`, which does not come after it.
    #[must_use]
    pub(crate) fn moved(self, from: u32, to: u32) -> Self {
        let place = |at: u32| at.saturating_sub(from).saturating_add(to);
        Self {
            start: place(self.start),
            end: place(self.end),
        }
    }

    /// Returns the line and column of the first byte in `text`.
    pub fn line_column(self, text: &str) -> LineColumn {
        LineColumn::of(text, self.start as usize)
    }
}

/// A place as people count: both from 1, columns in bytes, as Prometheus reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineColumn {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

impl LineColumn {
    /// Returns the place of byte `at` of `text`.
    pub fn of(text: &str, at: usize) -> Self {
        let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        Self {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
        }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one() {
        let text = "sum(\n  x\n)";
        for (at, place) in [(0, "1:1"), (3, "1:4"), (5, "2:1"), (7, "2:3"), (99, "3:2")] {
            assert_eq!(LineColumn::of(text, at).to_string(), place, "{at}");
        }
    }
}
