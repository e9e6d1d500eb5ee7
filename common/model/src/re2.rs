//! Regular expressions in RE2's syntax, which is what Prometheus takes, put into that of the `regex` crate.
//!
//! Both have linear time and agree on most; what differs is translated or refused, so that an expression means here what it means
//! there: `\d`, `\s`, `\w` and `\b` know ASCII only; `\Q...\E` quotes; `&&`, `--`, `~~` and `[` within a class are plain characters;
//! a `{` that begins no repetition is a plain character; parentheses are checked to be pairs, so that an expression can be put into a group; `\123` is octal; there is no `(?x)`. What the crate takes beyond RE2 in
//! places where nothing else could be meant (more names after `\p`, `a**`) is let through.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// The most that one repetition may ask for, as in RE2.
const REPEAT_MAX: u32 = 1_000;

/// Returns `pattern` in the syntax of the `regex` crate; the error says what RE2 would not take either.
pub(crate) fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut open_groups = 0u32;
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut out)?,
            '[' => class(&mut rest, &mut out)?,
            '(' => {
                open_groups += 1;
                group(&mut rest, &mut out)?;
            }
            ')' => {
                // Of the caller's own group around the expression, which none may close.
                open_groups = open_groups.checked_sub(1).ok_or("unexpected )")?;
                out.push(')');
            }
            '{' => match repetition(&mut rest)? {
                Some(repetition) => out.push_str(&repetition),
                None => out.push_str("\\{"),
            },
            '}' => out.push_str("\\}"),
            // What the crate would read as more than itself, now or later.
            '#' | '&' | '~' | '-' => push_literal(c, &mut out),
            _ => out.push(c),
        }
    }
    if open_groups > 0 {
        return Err("missing closing )".to_owned());
    }
    Ok(out)
}

/// An escape outside of a class, behind its backslash.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let Some(c) = rest.peek().copied() else {
        return Err("trailing backslash at end of expression".to_owned());
    };
    match c {
        'Q' => {
            rest.next();
            quoted(rest, out);
        }
        'A' | 'z' | 'b' | 'B' => {
            rest.next();
            out.push_str(match c {
                'A' => "\\A",
                'z' => "\\z",
                'b' => "(?-u:\\b)",
                _ => "(?-u:\\B)",
            });
        }
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'p' | 'P' => {
            rest.next();
            out.push_str(&named_class(c, rest)?);
        }
        _ => push_literal(escaped_character(rest)?, out),
    }
    Ok(())
}

/// What stands between `\Q` and `\E`, or the end.
fn quoted(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.peek() == Some(&'E') {
            rest.next();
            return;
        }
        push_literal(c, out);
    }
}

/// A class of Perl's or Unicode's, behind its letter; good within a class and outside.
fn named_class(letter: char, rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let plain = match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => "[\\t\\n\\x0c\\r ]",
        'S' => "[^\\t\\n\\x0c\\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return unicode_class(letter == 'P', rest),
    };
    Ok(plain.to_owned())
}

fn unicode_class(mut negated: bool, rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let name: String = match rest.next() {
        Some('{') => {
            let mut name = String::new();
            loop {
                match rest.next() {
                    Some('}') => break name,
                    Some(c) => name.push(c),
                    None => return Err("invalid character class range: missing }".to_owned()),
                }
            }
        }
        Some(c) => c.to_string(),
        None => return Err("invalid character class range: \\p".to_owned()),
    };
    let bare = name.strip_prefix('^').unwrap_or(&name);
    negated ^= bare.len() < name.len();
    Ok(format!("\\{}{{{bare}}}", if negated { 'P' } else { 'p' }))
}

/// An escape that stands for one character, behind its backslash.
fn escaped_character(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let Some(c) = rest.next() else {
        return Err("trailing backslash at end of expression".to_owned());
    };
    let character = match c {
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => return hexadecimal(rest),
        // Octal, of up to three digits; one digit alone but 0 would be a reference to a group, which RE2 has not.
        '0'..='7' => {
            let mut digits = c.to_string();
            while digits.len() < 3
                && let Some(next) = rest.next_if(|next| ('0'..='7').contains(next))
            {
                digits.push(next);
            }
            if digits.len() == 1 && c != '0' {
                return Err(format!("invalid escape sequence: `\\{c}`"));
            }
            u32::from_str_radix(&digits, 8)
                .ok()
                .and_then(char::from_u32)
                .ok_or_else(|| format!("invalid escape sequence: `\\{digits}`"))?
        }
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return Err(format!("invalid escape sequence: `\\{c}`")),
    };
    Ok(character)
}

/// `\x7F` or `\x{10FFFF}`, behind the x.
fn hexadecimal(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let braced = rest.next_if_eq(&'{').is_some();
    let digits: String = if braced {
        std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect()
    } else {
        rest.by_ref().take(2).collect()
    };
    let whole = if braced {
        rest.next().is_some() && (1..=6).contains(&digits.len())
    } else {
        digits.len() == 2
    };
    u32::from_str_radix(&digits, 16)
        .ok()
        .and_then(char::from_u32)
        .filter(|_| whole && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| format!("invalid escape sequence: `\\x{digits}`"))
}

/// A class, behind its opening bracket: each character is written as its number, so that the crate sees no operators.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = rest.peek().copied() else {
            return Err("missing closing ]".to_owned());
        };
        match c {
            ']' if !first => {
                rest.next();
                out.push(']');
                return Ok(());
            }
            '[' if rest.clone().nth(1) == Some(':') => match posix_class(rest)? {
                Some(name) => out.push_str(&name),
                None => range(rest, out)?,
            },
            '\\' if rest.clone().nth(1).is_some_and(is_class_letter) => {
                rest.next();
                let letter = rest.next().unwrap_or_default();
                out.push_str(&named_class(letter, rest)?);
            }
            _ => range(rest, out)?,
        }
        first = false;
    }
}

fn is_class_letter(c: char) -> bool {
    "dDsSwWpP".contains(c)
}

/// One character of a class, or a range of them.
fn range(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let low = class_character(rest)?;
    let mut ahead = rest.clone();
    let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']');
    if !is_range {
        push_number(low, out);
        return Ok(());
    }
    rest.next();
    let high = class_character(rest)?;
    if high < low {
        return Err(format!("invalid character class range: `{low}-{high}`"));
    }
    push_number(low, out);
    out.push('-');
    push_number(high, out);
    Ok(())
}

fn class_character(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    match rest.next() {
        Some('\\') => escaped_character(rest),
        Some(c) => Ok(c),
        None => Err("missing closing ]".to_owned()),
    }
}

/// `[:alpha:]`, or nothing when the brackets are plain characters.
fn posix_class(rest: &mut Peekable<Chars<'_>>) -> Result<Option<String>, String> {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
        "space", "upper", "word", "xdigit",
    ];
    let ahead: String = rest.clone().take(32).collect();
    let Some((inside, _)) = ahead
        .strip_prefix("[:")
        .and_then(|inside| inside.split_once(":]"))
    else {
        return Ok(None);
    };
    let name = inside.strip_prefix('^').unwrap_or(inside);
    if !NAMES.contains(&name) {
        return Err(format!("invalid character class range: `[:{inside}:]`"));
    }
    let found = format!("[:{inside}:]");
    for _ in found.chars() {
        rest.next();
    }
    Ok(Some(found))
}

/// A group's opening, behind its parenthesis.
fn group(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('(');
    if rest.next_if_eq(&'?').is_none() {
        return Ok(());
    }
    out.push('?');
    let flags: String =
        std::iter::from_fn(|| rest.next_if(|c| !matches!(c, ':' | ')' | '<'))).collect();
    let named = rest.peek() == Some(&'<') && matches!(flags.as_str(), "" | "P");
    if !named && !flags.chars().all(|c| "imsU-".contains(c)) {
        return Err(format!("invalid or unsupported Perl syntax: `(?{flags}`"));
    }
    out.push_str(&flags);
    Ok(())
}

/// `{n}`, `{n,}` or `{n,m}`, behind its brace; nothing when the brace is a plain character.
fn repetition(rest: &mut Peekable<Chars<'_>>) -> Result<Option<String>, String> {
    let ahead: String = rest.clone().take_while(|c| *c != '}').take(24).collect();
    if rest.clone().nth(ahead.chars().count()) != Some('}') {
        return Ok(None);
    }
    let (least, most) = match ahead.split_once(',') {
        None => (ahead.as_str(), None),
        Some((least, most)) => (least, Some(most)),
    };
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    if !is_number(least) || !most.is_none_or(|most| most.is_empty() || is_number(most)) {
        return Ok(None);
    }
    for bound in [Some(least), most].into_iter().flatten() {
        if !bound.is_empty() && bound.parse::<u32>().map_or(true, |n| n > REPEAT_MAX) {
            return Err(format!("invalid repeat count: `{{{ahead}}}`"));
        }
    }
    let repetition = format!("{{{ahead}}}");
    for _ in repetition.chars().skip(1) {
        rest.next();
    }
    Ok(Some(repetition))
}

fn push_literal(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != ' ' {
        push_number(c, out);
    } else {
        out.push(c);
    }
}

fn push_number(c: char, out: &mut String) {
    // Writing to a text cannot fail.
    write!(out, "\\x{{{:x}}}", u32::from(c)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let translated = translate(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        let anchored = format!("^(?s:{translated})$");
        Regex::new(&anchored)
            .unwrap_or_else(|why| panic!("{pattern} -> {anchored}: {why}"))
            .is_match(text)
    }

    #[test]
    fn an_expression_means_what_it_means_to_prometheus() {
        for (pattern, yes, no) in [
            ("\\d+", "123", "١٢٣"),
            ("\\D", "١", "1"),
            ("\\w+", "a_1", "ä"),
            ("[\\w.]+", "a.b", "ä"),
            ("[^\\d]", "a", "5"),
            ("[\\D5]", "5", "6"),
            ("a\\s", "a\t", "a\u{b}"),
            ("\\S", "\u{a0}", " "),
            ("\\bfoo\\b", "foo", "fooo"),
            ("f\\Boo", "foo", "f"),
            ("\\Qa.b*\\E+", "a.b**", "axb"),
            ("\\Qa.b", "a.b", "axb"),
            ("[a&&b]", "&", "c"),
            ("[a~~b]", "~", "c"),
            ("[+--]", ",", "a"),
            ("[a-]", "-", "b"),
            ("[]a]", "]", "b"),
            ("[^]a]", "b", "]"),
            ("[[a]", "[", "b"),
            ("[[:alpha:]_]+", "a_", "1"),
            ("[[:^alpha:]]", "1", "a"),
            ("[a:]", ":", "b"),
            ("a{", "a{", "a"),
            ("a{,5}", "a{,5}", "aa"),
            ("a{x}", "a{x}", "a"),
            ("a{2}", "aa", "a"),
            ("a{1,}b", "aab", "b"),
            ("a{01}", "a{01}", "a"),
            ("}", "}", "{"),
            ("\\x41\\x{42}", "AB", "ab"),
            ("\\101", "A", "a"),
            ("\\.\\-\\_\\<\\\"", ".-_<\"", ""),
            ("(?i)node", "NODE", "nod"),
            ("(?i:a)b", "Ab", "AB"),
            ("(?-s)a.b", "axb", "a\nb"),
            ("a.b", "a\nb", "ab"),
            ("(?P<x>a)(?<y>b)", "ab", "a"),
            ("\\pL\\PL", "a1", "1a"),
            ("\\p{Greek}\\p{^Greek}", "αa", "aα"),
            ("[\\p{Greek}x]", "α", "y"),
            ("a # b", "a # b", "a"),
            ("web-[0-9]{1,3}|db-.+", "web-12", "web-1234"),
            ("\\n|[\\n\\t]", "\n", "n"),
        ] {
            assert!(matches(pattern, yes), "{pattern} matches {yes:?}");
            assert!(!matches(pattern, no), "{pattern} does not match {no:?}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "\\1",
            "\\8",
            "\\h",
            "\\u{41}",
            "\\Z",
            "\\",
            "[a",
            "[\\",
            "[b-a]",
            "[[:foo:]]",
            "(?x)a",
            "(?=a)",
            "(?<!a)",
            "a)|(b",
            ")",
            "(",
            "((a)",
            "a{1001}",
            "a{2,1001}",
            "\\xZZ",
            "\\x{",
            "\\p{",
            "\\C",
        ] {
            let refused = translate(pattern).map_or(true, |text| Regex::new(&text).is_err());
            assert!(refused, "{pattern} -> {:?}", translate(pattern));
        }
    }

    proptest! {
        #[test]
        fn plain_text_matches_itself(text in "[^\\\\\\[\\](){}.*+?|^$]{0,12}") {
            prop_assert!(matches(&text, &text));
        }

        #[test]
        fn nothing_panics(pattern in "[\\\\\\[\\](){}.*+?|^$:,a-c0-9QEdDpP-]{0,16}") {
            translate(&pattern).ok();
        }
    }
}
