//! Variables in the values of external labels, as Prometheus reads them: `$NAME`, `${NAME}`, and `$$` for a dollar.

/// Puts what `value` says of each variable in its place. A dollar before anything else stays; what begins as `${` and is no variable goes.
pub(super) fn expand(text: &str, value: &dyn Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, length) = name(after);
        match name {
            Some("$") => out.push('$'),
            Some(name) => out.push_str(&value(name)),
            None if length == 0 => out.push('$'),
            None => {}
        }
        rest = after.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Returns the name that a text behind a dollar begins with, and how many bytes it takes, braces included.
fn name(text: &str) -> (Option<&str>, usize) {
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.split_once('}') {
            Some(("", _)) => (None, "{}".len()),
            Some((name, _)) => (Some(name), name.len() + "{}".len()),
            None => (None, "{".len()),
        };
    }
    let is_special = |c: char| "*#$@!?-".contains(c) || c.is_ascii_digit();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = if text.starts_with(is_special) {
        1
    } else {
        text.find(|c| !is_plain(c)).unwrap_or(text.len())
    };
    (text.get(..length).filter(|name| !name.is_empty()), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_as_go_does() {
        let value = |name: &str| match name {
            "HOST" => "h1".to_owned(),
            "A_1" => "a".to_owned(),
            _ => String::new(),
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("$HOST", "h1"),
            ("x-${HOST}.y", "x-h1.y"),
            ("$HOST$A_1!", "h1a!"),
            ("$NONE|", "|"),
            ("$$HOST", "$HOST"),
            ("5$", "5$"),
            ("$ x", "$ x"),
            ("${}y", "y"),
            ("${HOST", "HOST"),
            ("$1a", "a"),
            ("ü$HOST€", "üh1€"),
        ] {
            assert_eq!(expand(text, &value), expected, "{text}");
        }
    }
}
