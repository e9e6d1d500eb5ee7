//! What goes wrong with a template, and where.

use std::fmt;
use std::sync::Arc;

/// Why a template was refused or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no template.
    Syntax,
    /// A template cannot be made safe as HTML: what it writes to is unknown or differs between branches.
    Escaping,
    /// A function, a field or a type does not fit the data.
    Execution,
    /// A bound was reached: steps, output, nesting, size of a value.
    Limit,
}

/// A mistake and its place. Printed in Go's form: `template: FILE:LINE:COLUMN: what`; line and column count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What sort of mistake.
    pub kind: ErrorKind,
    /// The name under which the text was given: a file or, for instance, an alert.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "template: {}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

impl std::error::Error for Error {}

/// Why a function failed; the place is added by whoever called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Limit,
            message: message.into(),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            kind: ErrorKind::Execution,
            message,
        }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind,
            message: error.to_string(),
        }
    }
}

/// A text and the name it goes by.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl Source {
    pub(crate) fn error(&self, kind: ErrorKind, at: usize, message: impl Into<String>) -> Error {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Error {
            kind,
            file: Arc::clone(&self.file),
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before.chars().count()
                - before.get(..line_start).unwrap_or("").chars().count(),
            message: message.into(),
        }
    }
}
