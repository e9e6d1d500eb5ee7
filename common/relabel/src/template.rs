//! Templates that a match is expanded into: `$1`, `${1}`, `$name`, `${name}`, `$$`.

use model::AnchoredRegex;

use crate::VALUE_BYTES_MAX;

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A group by its number; one that the expression has not expands to nothing.
    Group(usize),
    /// A group by its name.
    Named(String),
}

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut parts, before);
            rest = if let Some(after) = after.strip_prefix('$') {
                push_text(&mut parts, "$");
                after
            } else if let Some((name, after)) = reference(after) {
                parts.push(match group_number(name) {
                    Some(number) => Part::Group(number),
                    None => Part::Named(name.to_owned()),
                });
                after
            } else {
                // Malformed: the dollar stands for itself.
                push_text(&mut parts, "$");
                after
            };
        }
        push_text(&mut parts, rest);
        Self { parts }
    }

    /// Returns whether the template has references to groups.
    pub(crate) fn has_references(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// Returns what the template becomes when `regex` matches the whole of `text`; `None` when it does not, or when that is longer
    /// than [`VALUE_BYTES_MAX`].
    pub(crate) fn expand(&self, regex: &AnchoredRegex, text: &str) -> Option<String> {
        let captures = regex.regex().captures(text)?;
        let mut out = String::new();
        for part in &self.parts {
            let piece = match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Group(number) => captures.get(*number).map(|group| group.as_str()),
                Part::Named(name) => captures.name(name).map(|group| group.as_str()),
            };
            out.push_str(piece.unwrap_or_default());
            if out.len() > VALUE_BYTES_MAX {
                return None;
            }
        }
        Some(out)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(present)) => present.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// Returns the name that follows a dollar, and what comes after it.
fn reference(after: &str) -> Option<(&str, &str)> {
    let (inside, is_braced) = match after.strip_prefix('{') {
        Some(inside) => (inside, true),
        None => (after, false),
    };
    let end = inside
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let rest = if is_braced {
        rest.strip_prefix('}')?
    } else {
        rest
    };
    (!name.is_empty()).then_some((name, rest))
}

/// Returns the number that a name is: with digits only, and no zero in front.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let has_zero_in_front = name.starts_with('0') && name.len() > 1;
    name.parse()
        .ok()
        .filter(|_| is_number && !has_zero_in_front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_in_go() {
        let regex = AnchoredRegex::new("(?P<first>[a-z]+)-([0-9]*)(x)?").expect("valid");
        for (template, expanded) in [
            ("$1", "ab"),
            ("${1}_$2", "ab_12"),
            ("$1_$2", "12"),
            ("$first/${first}", "ab/ab"),
            ("$0", "ab-12"),
            ("$00$01", ""),
            ("$3$4$nobody", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-${b", "a$-${b"),
            ("${}", "${}"),
            ("$1x", ""),
            ("plain", "plain"),
            ("", ""),
        ] {
            let found = Template::new(template).expand(&regex, "ab-12");
            assert_eq!(found.as_deref(), Some(expanded), "{template}");
        }
        assert_eq!(Template::new("$1").expand(&regex, "12-ab"), None);
    }

    #[test]
    fn expansion_is_bounded() {
        let regex = AnchoredRegex::new("(.*)").expect("valid");
        let text = "x".repeat(VALUE_BYTES_MAX / 2);
        assert!(Template::new("$1$1").expand(&regex, &text).is_some());
        assert!(Template::new("$1$1$1").expand(&regex, &text).is_none());
    }

    #[test]
    fn only_references_are_references() {
        assert!(Template::new("a$1").has_references());
        assert!(!Template::new("a$$1").has_references());
    }
}
