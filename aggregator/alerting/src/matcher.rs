//! Matchers as texts: `{severity="critical",team=~"a|b"}`, with or without braces.
//!
//! Alertmanager has two parsers. The classic one knows names of letters, digits, `_` and `:` and is lenient with values; the one for
//! UTF-8 takes any name and is strict. By default both are asked, so that old configurations keep their meaning.

mod classic;
mod utf8;

use model::{MatchOp, Matcher};
use template::quote;

/// Which parser reads matchers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatcherMode {
    /// That for UTF-8; the classic one where that fails or disagrees, with a warning.
    #[default]
    Fallback,
    /// That for UTF-8 alone.
    Utf8,
    /// The classic one alone.
    Classic,
}

impl MatcherMode {
    /// Whether labels may have this name.
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            Self::Fallback | Self::Utf8 => !name.is_empty(),
            Self::Classic => is_classic_label_name(name),
        }
    }
}

/// Whether `name` has only letters, digits and underscores, and does not begin with a digit.
pub(crate) fn is_classic_label_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(allowed) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads one matcher, without braces: in the classic dialect, all behind the operator is its value, commas too. `Err` says what is wrong,
/// in Alertmanager's words.
pub fn parse_matcher(text: &str, mode: MatcherMode) -> Result<Matcher, String> {
    match mode {
        MatcherMode::Utf8 => utf8::parse_one(text),
        MatcherMode::Classic => classic::parse_one(text),
        MatcherMode::Fallback => match (utf8::parse_one(text), classic::parse_one(text)) {
            (Ok(matcher), Err(_)) => Ok(matcher),
            (_, classic) => classic,
        },
    }
}

/// Matchers, and what to tell their author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedMatchers {
    /// In the order of the text.
    pub matchers: Vec<Matcher>,
    /// That the text does not mean the same to both parsers, and how to write it.
    pub warning: Option<String>,
}

/// Reads any number of matchers. `Err` says what is wrong, in Alertmanager's words.
pub fn parse_matchers(text: &str, mode: MatcherMode) -> Result<ParsedMatchers, String> {
    let without_warning = |matchers| ParsedMatchers {
        matchers,
        warning: None,
    };
    match mode {
        MatcherMode::Utf8 => return utf8::parse(text).map(without_warning),
        MatcherMode::Classic => return classic::parse(text).map(without_warning),
        MatcherMode::Fallback => {}
    }
    match (utf8::parse(text), classic::parse(text)) {
        (Err(_), Err(error)) => Err(error),
        (Ok(matchers), Err(_)) => Ok(without_warning(matchers)),
        (Ok(matchers), Ok(classic)) if matchers == classic => Ok(without_warning(matchers)),
        (Ok(_), Ok(matchers)) => Ok(ParsedMatchers {
            warning: Some(format!(
                "matchers {text:?} mean something else to the parser for UTF-8; the classic meaning holds: {}",
                written(&matchers)
            )),
            matchers,
        }),
        (Err(error), Ok(matchers)) => Ok(ParsedMatchers {
            warning: Some(format!(
                "matchers {text:?} cannot be read by the parser for UTF-8 ({error}); write them as {}",
                written(&matchers)
            )),
            matchers,
        }),
    }
}

fn written(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(format_matcher).collect();
    texts.join(",")
}

/// Returns a matcher as Alertmanager writes it: keys of groups are made of these.
pub fn format_matcher(matcher: &Matcher) -> String {
    let (name, op, value) = (matcher.name(), matcher.op(), matcher.value());
    if name.contains(is_reserved) {
        return format!("{}{op}{}", quote(name), quote(value));
    }
    let value = value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"");
    format!("{name}{op}\"{value}\"")
}

/// Whether a character ends a word in the parser for UTF-8, so that a name with it is quoted.
fn is_reserved(character: char) -> bool {
    character.is_whitespace() || "{}!=~,\\\"'`".contains(character)
}

/// Sorts matchers as Alertmanager does: the keys of groups depend on it.
pub(crate) fn sort(matchers: &mut [Matcher]) {
    let rank = |op: MatchOp| match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    };
    matchers.sort_by(|a, b| {
        (a.name(), a.value(), rank(a.op())).cmp(&(b.name(), b.value(), rank(b.op())))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, mode: MatcherMode) -> String {
        match parse_matchers(text, mode) {
            Ok(parsed) => {
                let warned = if parsed.warning.is_some() {
                    " (warned)"
                } else {
                    ""
                };
                written(&parsed.matchers) + warned
            }
            Err(error) => error,
        }
    }

    #[test]
    fn both_parsers_agree_on_what_is_plain() {
        let cases = [
            ("", ""),
            ("{}", ""),
            (r#"a="b""#, r#"a="b""#),
            (
                r#"{a="b",c!="d",e=~"f.*",g!~"h"}"#,
                r#"a="b",c!="d",e=~"f.*",g!~"h""#,
            ),
            (r#"{ a = "b" , }"#, r#"a="b""#),
            (r#"a="b,c\"d""#, r#"a="b,c\"d""#),
            ("a=b", r#"a="b""#),
        ];
        for (text, expected) in cases {
            for mode in [MatcherMode::Utf8, MatcherMode::Fallback] {
                assert_eq!(show(text, mode), expected, "{text} {mode:?}");
            }
        }
    }

    #[test]
    fn the_parser_for_utf8_is_strict() {
        let cases = [
            ("{", "0:1: end of input: expected close brace"),
            ("}", "0:1: }: expected opening brace"),
            (
                "{a",
                "end of input: expected an operator such as '=', '!=', '=~' or '!~'",
            ),
            ("a==b", "2:3: unexpected =: expected label value"),
            (
                "a=b c=d",
                "4:5: unexpected c: expected a comma or close brace",
            ),
            (
                "a=b,,",
                "4:5: unexpected ,: expected a matcher or close brace after comma",
            ),
            (
                "a!b",
                "1:2: !: expected one of '=~': expected an operator such as '=', '!=', '=~' or '!~'",
            ),
            ("{a=b}}", "5:6: }: expected end of input"),
            (r#"a="b"#, r#"2:4: "b: missing end ": expected label value"#),
            ("=b", "0:1: unexpected =: expected label name"),
            ("ä=\"ü\"", "ä=\"ü\""),
            ("\"a b\"=\"c\"", "\"a b\"=\"c\""),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, MatcherMode::Utf8), expected, "{text}");
        }
    }

    #[test]
    fn the_classic_parser_is_lenient() {
        let cases = [
            (r#"a=b c"#, r#"a="b c""#),
            (r#"a=\"b\""#, r#"a="\"b\"""#),
            (r#"a="b\d""#, r#"a="b\\d""#),
            ("a=", r#"a="""#),
            ("ä=b", "bad matcher format: ä=b"),
            (
                r#"a="b"#,
                r#"matcher value contains unescaped double quote: "b"#,
            ),
            (
                r#"a=b"c"#,
                r#"matcher value contains unescaped double quote: b"c"#,
            ),
            ("a=b,", r#"a="b""#),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, MatcherMode::Classic), expected, "{text}");
        }
    }

    #[test]
    fn one_matcher_is_one() {
        let cases = [
            (r#"a="b""#, Ok(r#"a="b""#)),
            ("a=b,c=d", Ok(r#"a="b,c=d""#)),
            ("ä=b", Ok(r#"ä="b""#)),
            (
                r#"a="b",c="d""#,
                Err("matcher value contains unescaped double quote: \"b\",c=\"d\""),
            ),
            (r#"{a="b"}"#, Err(r#"bad matcher format: {a="b"}"#)),
            ("", Err("bad matcher format: ")),
        ];
        for (text, expected) in cases {
            let found = parse_matcher(text, MatcherMode::Fallback);
            let found = found.map(|matcher| format_matcher(&matcher));
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{text}");
        }
        let strict = |text| parse_matcher(text, MatcherMode::Utf8).map(|_| ());
        assert_eq!(
            strict("{a=b}"),
            Err("unexpected open or close brace: {a=b}".to_owned())
        );
        assert_eq!(
            strict("a=b,c=d"),
            Err("expected 1 matcher, found 2".to_owned())
        );
        assert_eq!(strict(""), Err("no matchers".to_owned()));
    }

    #[test]
    fn by_default_old_texts_keep_their_meaning() {
        let cases = [
            ("a=b c", r#"a="b c" (warned)"#),
            (r#"a="\x41""#, r#"a="\\x41" (warned)"#),
            ("ä=b", "ä=\"b\""),
            ("a", "bad matcher format: a"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, MatcherMode::Fallback), expected, "{text}");
        }
    }
}
