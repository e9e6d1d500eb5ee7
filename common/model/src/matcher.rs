//! Label matchers: `=`, `!=`, `=~`, `!~`.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::re2;

/// The longest regular expression accepted, in bytes.
pub const REGEX_BYTES_MAX: usize = 16 * 1024;
/// The memory that a compiled expression, and the cache of its automaton, may take, each.
pub const REGEX_COMPILED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Expressions are compiled within the least of these bounds that does: so it is known what they take.
const COMPILED_BYTES: [usize; 3] = [16 * 1024, 128 * 1024, REGEX_COMPILED_BYTES_MAX];
/// What the cache of an automaton may take, as a multiple of that bound.
const CACHE_FACTOR: usize = 8;

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
    /// The expression does not parse.
    #[error("invalid regular expression {pattern:?}: {reason}")]
    BadRegex {
        /// The expression as given.
        pattern: String,
        /// What the compiler said, on one line.
        reason: String,
    },
    /// The expression is longer than [`REGEX_BYTES_MAX`].
    #[error(
        "regular expression of {bytes} bytes is longer than the {REGEX_BYTES_MAX} allowed; split it over several queries, or match by prefix"
    )]
    RegexTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The expression is short but compiles to more than [`REGEX_COMPILED_BYTES_MAX`].
    #[error(
        "regular expression {pattern:?} compiles to more than the {REGEX_COMPILED_BYTES_MAX} bytes allowed; use smaller repetitions and fewer character classes"
    )]
    RegexTooLarge {
        /// The expression as given.
        pattern: String,
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
    regex: Option<AnchoredRegex>,
    shortcut: Option<Shortcut>,
}

/// What many expressions come down to, answered without the automaton.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shortcut {
    /// `.*text.*`
    Contains(String),
    /// `text.*`
    Begins(String),
    /// `.*text`
    Ends(String),
}

impl Shortcut {
    fn of(pattern: &str) -> Option<Self> {
        let after = pattern.strip_prefix(".*");
        let text = after.unwrap_or(pattern);
        let before = text.strip_suffix(".*");
        let text = before.unwrap_or(text).to_owned();
        let is_plain = |c: char| !r"\.+*?()|[]{}^$".contains(c);
        if text.is_empty() || !text.chars().all(is_plain) {
            return None;
        }
        match (after.is_some(), before.is_some()) {
            (true, true) => Some(Self::Contains(text)),
            (false, true) => Some(Self::Begins(text)),
            (true, false) => Some(Self::Ends(text)),
            (false, false) => None,
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Contains(text) => value.contains(text),
            Self::Begins(text) => value.starts_with(text),
            Self::Ends(text) => value.ends_with(text),
        }
    }
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
            MatchOp::Regex | MatchOp::NotRegex => Some(AnchoredRegex::new(&value)?),
        };
        let shortcut = regex.as_ref().and_then(|_| Shortcut::of(&value));
        Ok(Self {
            name: name.into(),
            op,
            value,
            regex,
            shortcut,
        })
    }

    /// Returns the matcher `name="value"`, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            regex: None,
            shortcut: None,
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

    /// Returns the regular expression as it was compiled, in the syntax of the `regex` crate, anchors included; `None` for `=` and `!=`.
    pub fn compiled(&self) -> Option<&str> {
        self.regex.as_ref().map(|regex| regex.regex().as_str())
    }

    /// Returns whether a label of this value (`""` = absent) satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        let regex_matches = || match &self.shortcut {
            Some(shortcut) => shortcut.matches(value),
            None => (self.regex.as_ref()).is_some_and(|regex| regex.regex().is_match(value)),
        };
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => regex_matches(),
            MatchOp::NotRegex => !regex_matches(),
        }
    }

    /// Returns the most memory that it takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let texts = (size_of::<Self>() + self.name.len() + self.value.len()) as u64;
        texts + self.regex.as_ref().map_or(0, AnchoredRegex::memory_bytes)
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

/// An expression of RE2's syntax, anchored at both ends, `.` matching newlines, its size bounded: as matchers and `label_replace` take it.
#[derive(Clone, Debug)]
pub struct AnchoredRegex {
    regex: Regex,
    memory_bytes: u64,
}

impl AnchoredRegex {
    /// Compiles an expression.
    pub fn new(pattern: &str) -> Result<Self, MatcherError> {
        let (regex, memory_bytes) = compile(pattern, |translated| format!("^(?s:{translated})$"))?;
        Ok(Self {
            regex,
            memory_bytes,
        })
    }

    /// Returns the expression as it was compiled.
    pub const fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Returns the most memory that it takes, in bytes: forwards and backwards, each compiled and with its cache.
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// Returns the expression of RE2's syntax as templates take it: it may match anywhere; its size is bounded.
pub fn unanchored_regex(pattern: &str) -> Result<Regex, MatcherError> {
    compile(pattern, |translated| translated).map(|(regex, _)| regex)
}

/// Returns an expression, and the most memory that it takes.
fn compile(
    pattern: &str,
    wrap: impl FnOnce(String) -> String,
) -> Result<(Regex, u64), MatcherError> {
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(MatcherError::RegexTooLong {
            bytes: pattern.len(),
        });
    }
    let invalid = |reason: String| MatcherError::BadRegex {
        pattern: pattern.to_owned(),
        reason,
    };
    let bad = |error: &regex::Error| match error {
        regex::Error::CompiledTooBig(_) => MatcherError::RegexTooLarge {
            pattern: pattern.to_owned(),
        },
        _ => invalid(last_line(&error.to_string())),
    };
    let translated = re2::translate(pattern).map_err(&invalid)?;
    let wrapped = wrap(translated);
    let [small, middle, large] = COMPILED_BYTES;
    bounded(&wrapped, small)
        .or_else(|_| bounded(&wrapped, middle))
        .or_else(|_| bounded(&wrapped, large))
        .map_err(|error| bad(&error))
}

fn bounded(pattern: &str, bytes: usize) -> Result<(Regex, u64), regex::Error> {
    let cache = (CACHE_FACTOR * bytes).min(REGEX_COMPILED_BYTES_MAX);
    let regex = RegexBuilder::new(pattern)
        .size_limit(bytes)
        .dfa_size_limit(cache)
        .build()?;
    Ok((regex, 2 * (bytes + cache) as u64))
}

/// The compiler draws the expression and points at the place before it says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default().trim();
    line.trim_start_matches("error: ").to_owned()
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
    fn shortcuts_answer_as_the_expression_does() {
        for pattern in [
            "a.*", ".*a", ".*a.*", ".*a-b.*", "a&&b.*", ".*.*", ".*", "a", ".*a.*b.*", "a|b.*",
            "ab.*",
        ] {
            let matcher = regex(pattern);
            let compiled = AnchoredRegex::new(pattern).expect("valid");
            for value in [
                "", "a", "ab", "ba", "bab", "xa-by", "a&&bc", "a\n", "\na", "b",
            ] {
                assert_eq!(
                    matcher.matches(value),
                    compiled.regex().is_match(value),
                    "{pattern} {value:?}"
                );
            }
        }
    }

    #[test]
    fn what_an_expression_takes_is_told_by_its_size() {
        let small = regex("a|b.*").memory_bytes();
        let large = regex("[a-z0-9]{900}").memory_bytes();
        assert!((1..1 << 20).contains(&small), "{small}");
        assert!((2 << 20..16 << 20).contains(&large), "{large}");
        assert!(Matcher::equal("l", "a").memory_bytes() < 1_024);
    }

    #[test]
    fn an_expression_cannot_escape_its_anchors_or_its_bounds() {
        for pattern in ["a)|(b", "(", "\\xZZ"] {
            let refused = Matcher::new("l", MatchOp::Regex, pattern).expect_err("must be refused");
            assert!(
                matches!(refused, MatcherError::BadRegex { .. }),
                "{refused}"
            );
        }
        let refused = Matcher::new("l", MatchOp::Regex, "a{1000}{1000}{1000}");
        let refused = refused.expect_err("must be refused").to_string();
        assert!(
            refused.contains("more than the 2097152 bytes allowed"),
            "{refused}"
        );
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert_eq!(
            Matcher::new("l", MatchOp::Regex, long),
            Err(MatcherError::RegexTooLong {
                bytes: REGEX_BYTES_MAX + 1
            })
        );
    }
}
