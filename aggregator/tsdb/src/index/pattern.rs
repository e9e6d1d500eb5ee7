//! What a regular expression says of the values that it can match.

use model::Matcher;
use regex_syntax::Parser;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

/// The most literals that are looked up one by one; beyond, all values are tried.
const LITERALS_MAX: usize = 1_024;
const LITERAL_BYTES_MAX: usize = 1_024;

/// A superset of the values that an anchored expression matches: whoever uses it still asks the matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `.*`
    Anything,
    /// `.+`
    NotEmpty,
    /// None but these.
    Literals(Vec<String>),
    /// None but those that begin so; may be empty.
    Prefix(String),
}

impl Pattern {
    /// Returns what a regular expression says; of any other matcher, nothing.
    pub(super) fn of(matcher: &Matcher) -> Self {
        match matcher.value() {
            ".*" => return Self::Anything,
            ".+" => return Self::NotEmpty,
            _ => {}
        }
        let compiled = matcher.compiled().unwrap_or_default();
        let Ok(parsed) = Parser::new().parse(compiled) else {
            return Self::Prefix(String::new());
        };
        let found = Extractor::new()
            .kind(ExtractKind::Prefix)
            .limit_literal_len(LITERAL_BYTES_MAX)
            .limit_total(LITERALS_MAX)
            .extract(&parsed);
        if let Some(literals) = found.literals().filter(|_| found.is_exact()) {
            let texts = literals
                .iter()
                .map(|literal| std::str::from_utf8(literal.as_bytes()).map(str::to_owned));
            if let Ok(texts) = texts.collect() {
                return Self::Literals(texts);
            }
        }
        let prefix = found.longest_common_prefix().unwrap_or_default();
        let whole = prefix
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid());
        Self::Prefix(whole.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use model::MatchOp;

    use super::*;

    #[test]
    fn literals_and_prefixes_are_found() {
        let literals = |texts: &[&str]| {
            Pattern::Literals(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let prefix = |text: &str| Pattern::Prefix(text.to_owned());
        let cases = [
            (".*", Pattern::Anything),
            (".+", Pattern::NotEmpty),
            ("node-1", literals(&["node-1"])),
            ("a\\.b", literals(&["a.b"])),
            ("(a|b|cd)", literals(&["a", "b", "cd"])),
            ("^(?:a|b)$", literals(&["a", "b"])),
            ("web-(1|2)", literals(&["web-1", "web-2"])),
            ("colou?r", literals(&["colour", "color"])),
            ("5..", prefix("5")),
            ("node_.*|node-.+", prefix("node")),
            ("checkout-.*", prefix("checkout-")),
            (".*a1b.*", prefix("")),
            ("a*", prefix("")),
            ("ü.*", prefix("ü")),
            // RE2's meaning, not the crate's.
            ("[a&&b]c", literals(&["&c", "ac", "bc"])),
            ("\\Qa.b\\E.*", prefix("a.b")),
        ];
        for (expression, expected) in cases {
            let matcher = Matcher::new("l", MatchOp::Regex, expression).unwrap();
            assert_eq!(Pattern::of(&matcher), expected, "{expression}");
        }
    }
}
