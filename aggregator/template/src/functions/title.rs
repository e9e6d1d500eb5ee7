//! Upper case, lower case, and capitals at the start of words.

/// Returns `text` in upper case, character by character: `ß` stays.
pub(crate) fn upper(text: &str) -> String {
    text.chars().map(to_upper).collect()
}

/// Returns `text` in lower case, character by character.
pub(crate) fn lower(text: &str) -> String {
    text.chars().map(to_lower).collect()
}

fn to_upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}

fn to_lower(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}

/// Returns `text` with the first letter of every word in title case; the other letters in lower case, or as they are.
pub(crate) fn title(text: &str, lowers_rest: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_letter = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if is_joint(character) {
            // Between two letters a word goes on: "don't", "example.org".
            after_letter &= characters.peek().is_some_and(|next| is_of_word(*next));
            out.push(character);
        } else if !is_of_word(character) {
            after_letter = false;
            out.push(character);
        } else if !after_letter {
            push_title(&mut out, character);
            // Digits may come before: "3Rd".
            after_letter = character.is_alphabetic();
        } else if lowers_rest {
            out.extend(character.to_lowercase());
        } else {
            out.push(character);
        }
    }
    out
}

fn push_title(out: &mut String, character: char) {
    match character {
        // Two letters in one character, of which only the first is large.
        'Ǆ' | 'ǅ' | 'ǆ' => out.push('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push('ǲ'),
        _ => {
            let mut upper = character.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

/// Letters, digits, marks and what connects them.
fn is_of_word(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(
            character,
            '_' | '\u{300}'..='\u{36f}' | '\u{203f}' | '\u{2040}'
        )
}

const fn is_joint(character: char) -> bool {
    matches!(
        character,
        '\'' | '.' | ':' | '\u{b7}' | '\u{2018}' | '\u{2019}' | '\u{2024}' | '\u{2027}'
    )
}
