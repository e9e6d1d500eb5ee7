//! Upper and lower case, letter by letter as Go has it: a letter never becomes two.

/// Returns `text` in lower case.
pub(crate) fn lower(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            // The one letter whose lower case is two characters in full, and one of them alone letter by letter.
            '\u{130}' => 'i',
            _ => single(c, c.to_lowercase()),
        })
        .collect()
}

/// Returns `text` in upper case.
pub(crate) fn upper(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_uppercase())).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stay_as_many_as_they_were() {
        for (text, low, up) in [
            ("aBc-1", "abc-1", "ABC-1"),
            ("Straße", "straße", "STRAßE"),
            ("ΣΑΣ", "σασ", "ΣΑΣ"),
            ("İ", "i", "İ"),
        ] {
            assert_eq!((lower(text), upper(text)), (low.to_owned(), up.to_owned()));
        }
    }
}
