//! Which names a push may use, and how a name outside the classic alphabet is written in a path.

use exposition::{is_label_name, is_metric_name};

/// Names that begin so belong to Prometheus itself.
const RESERVED_PREFIX: &str = "__";
/// What begins a name whose other characters are escaped.
const ESCAPED_PREFIX: &str = "U__";
/// The most hexadecimal digits that stand for one character.
const HEX_DIGITS_MAX: usize = 6;

/// Which names are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Letters, digits, `_`, and `:` in the names of metrics.
    #[default]
    Classic,
    /// Any text that is not empty.
    Utf8,
}

impl Names {
    pub(crate) fn accept_metric(self, name: &str) -> bool {
        match self {
            Self::Classic => is_metric_name(name),
            Self::Utf8 => !name.is_empty(),
        }
    }

    pub(crate) fn accept_label(self, name: &str) -> bool {
        let is_name = match self {
            Self::Classic => is_label_name(name),
            Self::Utf8 => !name.is_empty(),
        };
        is_name && !name.starts_with(RESERVED_PREFIX)
    }

    /// Returns the name that a part of a path means: with UTF-8 names, `U__` begins one in which `__` stands for `_` and `_1F600_`
    /// for a character.
    pub(crate) fn of_path(self, part: &str) -> String {
        let escaped = match self {
            Self::Classic => None,
            Self::Utf8 => part.strip_prefix(ESCAPED_PREFIX).and_then(unescape),
        };
        escaped.unwrap_or_else(|| part.to_owned())
    }
}

/// `None`: that is no escaped name, so it means itself.
fn unescape(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        let (code, after) = after.split_once('_')?;
        out.push(match code {
            "" => '_',
            digits if digits.len() <= HEX_DIGITS_MAX => {
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        });
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_mean_what_they_stand_for() {
        for (part, classic, utf8) in [
            ("plain", "plain", "plain"),
            ("U__my_2e_label", "U__my_2e_label", "my.label"),
            ("U__a__b", "U__a__b", "a_b"),
            ("U___1F600_", "U___1F600_", "\u{1F600}"),
            ("U__broken_", "U__broken_", "U__broken_"),
            ("U__no_zz_hex", "U__no_zz_hex", "U__no_zz_hex"),
            ("U__far_1234567_", "U__far_1234567_", "U__far_1234567_"),
            (
                "U__surrogate_d800_",
                "U__surrogate_d800_",
                "U__surrogate_d800_",
            ),
        ] {
            assert_eq!(Names::Classic.of_path(part), classic);
            assert_eq!(Names::Utf8.of_path(part), utf8);
        }
    }

    #[test]
    fn reserved_and_strange_names_are_refused() {
        for (name, classic, utf8) in [
            ("a", true, true),
            ("_a", true, true),
            ("__a", false, false),
            ("a.b", false, true),
            ("", false, false),
        ] {
            assert_eq!(Names::Classic.accept_label(name), classic, "{name}");
            assert_eq!(Names::Utf8.accept_label(name), utf8, "{name}");
        }
        assert!(Names::Classic.accept_metric("a:b") && !Names::Classic.accept_metric("a.b"));
    }
}
