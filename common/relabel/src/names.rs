//! Which names labels may have.

/// What `metric_name_validation_scheme` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Any text that is not empty.
    #[default]
    Utf8,
    /// Letters, digits and underscores (in names of metrics colons too), not beginning with a digit.
    Legacy,
}

impl Names {
    /// Returns whether a label may have this name.
    pub fn allow_label(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_classic(name, |byte| byte == b'_'),
        }
    }

    /// Returns whether a metric may have this name.
    pub fn allow_metric(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_classic(name, |byte| matches!(byte, b'_' | b':')),
        }
    }
}

fn is_classic(name: &str, extra: impl Fn(u8) -> bool) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || extra(byte);
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names_are_ascii() {
        for (name, label, metric) in [
            ("a_1", true, true),
            ("a:b", false, true),
            ("1a", false, false),
            ("a.b", false, false),
            ("", false, false),
        ] {
            assert_eq!(Names::Legacy.allow_label(name), label, "{name}");
            assert_eq!(Names::Legacy.allow_metric(name), metric, "{name}");
            assert_eq!(Names::Utf8.allow_label(name), !name.is_empty(), "{name}");
        }
    }
}
