//! Why a text is not PromQL.

use std::fmt;

use crate::{LineColumn, TextRange};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where.
    pub range: TextRange,
    /// The same as people count.
    pub place: LineColumn,
    /// What is wrong, in Prometheus' words where it has some.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: parse error: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All mistakes found, in order of place; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    first: ParseError,
    rest: Vec<ParseError>,
}

impl ParseErrors {
    /// Returns them sorted by place; `None` when there are none.
    pub(crate) fn from_list(mut list: Vec<ParseError>) -> Option<Self> {
        list.sort_by_key(|error| error.range);
        let mut list = list.into_iter();
        let first = list.next()?;
        Some(Self {
            first,
            rest: list.collect(),
        })
    }

    pub(crate) fn single(range: TextRange, text: &str, message: &str) -> Self {
        Self {
            first: ParseError {
                range,
                place: range.line_column(text),
                message: message.to_owned(),
                hint: None,
            },
            rest: Vec::new(),
        }
    }

    /// Returns the first mistake.
    pub fn first(&self) -> &ParseError {
        &self.first
    }

    /// Returns all mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &ParseError> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl fmt::Display for ParseErrors {
    /// Writes the first mistake, as Prometheus does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)
    }
}

impl std::error::Error for ParseErrors {}
