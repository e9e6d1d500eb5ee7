//! Lines of an `eval` that say what is expected besides values.

use regex::Regex;

/// A text that must match.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Any,
    Exactly(String),
    Search(Regex),
}

impl Pattern {
    /// Parses what follows the kind of an expectation: nothing, `msg: text` or `regex: expression`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Any);
        }
        if let Some(message) = text.strip_prefix("msg:") {
            return Ok(Self::Exactly(message.trim().to_owned()));
        }
        if let Some(pattern) = text.strip_prefix("regex:") {
            return Regex::new(pattern.trim())
                .map(Self::Search)
                .map_err(|error| error.to_string());
        }
        Err(format!("expected \"msg:\" or \"regex:\", found {text:?}"))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(message) => message == text,
            Self::Search(regex) => regex.is_match(text),
        }
    }
}

/// What is expected of one kind of annotation.
#[derive(Clone, Debug, Default)]
pub(super) enum Expected {
    #[default]
    Unchecked,
    None,
    Some(Vec<Pattern>),
}

impl Expected {
    pub(super) fn add(&mut self, pattern: Pattern) -> Result<(), String> {
        match self {
            Self::Unchecked => *self = Self::Some(vec![pattern]),
            Self::None => return Err("contradicts an earlier expectation".to_owned()),
            Self::Some(patterns) => patterns.push(pattern),
        }
        Ok(())
    }

    pub(super) fn none(&mut self) -> Result<(), String> {
        match self {
            Self::Unchecked | Self::None => *self = Self::None,
            Self::Some(_) => return Err("contradicts an earlier expectation".to_owned()),
        }
        Ok(())
    }

    /// Checks all annotations of the kind. Exact places hold only for the text as written.
    pub(super) fn check(
        &self,
        kind: &str,
        found: &[String],
        as_written: bool,
    ) -> Result<(), String> {
        match self {
            Self::Unchecked => Ok(()),
            Self::None if found.is_empty() => Ok(()),
            Self::None => Err(format!("unexpected {kind}: {found:?}")),
            Self::Some(_) if found.is_empty() => Err(format!("expected {kind}, found none")),
            Self::Some(_) if !as_written => Ok(()),
            Self::Some(patterns) => {
                if let Some(stray) = found
                    .iter()
                    .find(|text| !patterns.iter().any(|pattern| pattern.matches(text)))
                {
                    return Err(format!("unexpected {kind}: {stray:?}"));
                }
                match patterns
                    .iter()
                    .find(|pattern| !found.iter().any(|text| pattern.matches(text)))
                {
                    Some(missing) => Err(format!("no {kind} matches {missing:?}, found {found:?}")),
                    None => Ok(()),
                }
            }
        }
    }
}
