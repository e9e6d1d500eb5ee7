//! Texts cut to what a service takes, with a mark that shows it.

/// Ends a text that was cut.
const MARK: char = '…';

/// Returns a text of at most `most` characters.
pub(crate) fn to_characters(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => cut(&text, most.saturating_sub(1)),
    }
}

/// Returns a text of at most `most` bytes.
pub(crate) fn to_bytes(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let room = most.saturating_sub(MARK.len_utf8());
    let kept = text
        .char_indices()
        .take_while(|(at, character)| at + character.len_utf8() <= room)
        .count();
    if most < MARK.len_utf8() {
        return String::new();
    }
    cut(&text, kept)
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).chain([MARK]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_visibly() {
        let characters = |text: &str, most| to_characters(text.to_owned(), most);
        assert_eq!(characters("äöü", 3), "äöü");
        assert_eq!(characters("äöüß", 3), "äö…");
        let bytes = |text: &str, most| to_bytes(text.to_owned(), most);
        assert_eq!(bytes("abcd", 4), "abcd");
        assert_eq!(bytes("abcde", 4), "a…");
        assert_eq!(bytes("äöü", 5), "ä…");
        assert_eq!(bytes("äöü", 2), "");
    }
}
