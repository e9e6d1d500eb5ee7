//! Label matchers: `=`, `!=`, `=~`, `!~`.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The longest regular expression accepted, in bytes.
pub const REGEX_BYTES_MAX: usize = 16 * 1024;
/// The memory that a compiled expression, and the cache of its automaton, may take, each.
const REGEX_COMPILED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// Why a matcher cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// The expression does not parse or compiles to more than the bound.
    #[error("invalid regular expression {pattern:?}: {reason}")]
    BadRegex {
        /// The expression as given.
        pattern: String,
        /// What the compiler said, on one line.
        reason: String,
    },
    /// The expression is longer than [`REGEX_BYTES_MAX`].
    #[error("regular expression of {bytes} bytes is longer than the {REGEX_BYTES_MAX} allowed")]
    RegexTooLong {
        /// Its length.
        bytes: usize,
    },
}

/// A condition on one label; an absent label has the value `""`.
///
/// Regular expressions have RE2's syntax and linear time, are anchored at both ends, and `.` matches newlines (as in
/// Prometheus 3). They are compiled once, here.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Returns the matcher `name op value`; compiles the value of a regular expression.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(&value)?),
        };
        Ok(Self {
            name: name.into(),
            op,
            value,
            regex,
        })
    }

    /// Returns the matcher `name="value"`, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            regex: None,
        }
    }

    /// Returns the label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the comparison.
    pub const fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns the value or the expression, as given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns whether a label of this value (`""` = absent) satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        let regex_matches = || {
            self.regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(value))
        };
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => regex_matches(),
            MatchOp::NotRegex => !regex_matches(),
        }
    }

    /// Returns whether series without the label satisfy the matcher; a selector needs one matcher that says no.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op, self.value)
    }
}

fn compile(pattern: &str) -> Result<Regex, MatcherError> {
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(MatcherError::RegexTooLong {
            bytes: pattern.len(),
        });
    }
    let bad = |reason: String| MatcherError::BadRegex {
        pattern: pattern.to_owned(),
        reason: reason
            .lines()
            .last()
            .unwrap_or_default()
            .trim()
            .trim_start_matches("error: ")
            .to_owned(),
    };
    // Compiled bare first: inside the anchoring group a stray ")" could close it and change the meaning.
    regex_syntax_check(pattern).map_err(&bad)?;
    bounded(&format!("^(?s:{pattern})$")).map_err(bad)
}

fn regex_syntax_check(pattern: &str) -> Result<(), String> {
    bounded(pattern).map(drop)
}

fn bounded(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_COMPILED_BYTES_MAX)
        .dfa_size_limit(REGEX_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Matcher {
        Matcher::new("l", MatchOp::Regex, pattern).expect("a valid expression")
    }

    #[test]
    fn expressions_are_anchored_and_dot_matches_newlines() {
        assert!(regex("a.*").matches("a\nb"));
        assert!(!regex("b").matches("abc"));
        assert!(regex("a|b").matches("b"));
        assert!(!regex("a|b").matches("ab"));
        assert!(regex(".*").matches_empty());
        assert!(
            !Matcher::new("l", MatchOp::NotRegex, "a.+")
                .expect("valid")
                .matches("ab")
        );
    }

    #[test]
    fn an_expression_cannot_escape_its_anchors_or_its_bounds() {
        for pattern in ["a)|(b", "(", "\\xZZ", "a{1000}{1000}{1000}"] {
            let refused = Matcher::new("l", MatchOp::Regex, pattern).expect_err("must be refused");
            assert!(
                matches!(refused, MatcherError::BadRegex { .. }),
                "{refused}"
            );
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert_eq!(
            Matcher::new("l", MatchOp::Regex, long),
            Err(MatcherError::RegexTooLong {
                bytes: REGEX_BYTES_MAX + 1
            })
        );
    }
}
