//! Guesses at what was meant.

use crate::functions::FUNCTIONS;
use crate::token::{AggregateOp, Modifier, TokenKind};

/// Returns "did you mean" for an unknown function.
pub(super) fn function(name: &str) -> Option<String> {
    let names = FUNCTIONS
        .iter()
        .map(|function| function.name)
        .chain(AggregateOp::ALL.iter().map(|op| op.as_str()));
    closest(name, names)
}

/// Returns "did you mean" for a word where a keyword would fit.
pub(super) fn keyword(word: &str, kind: TokenKind) -> Option<String> {
    if kind != TokenKind::Word(None) {
        return None;
    }
    closest(
        word,
        Modifier::ALL
            .iter()
            .map(|modifier| modifier.as_str())
            .chain(["and", "or", "unless"]),
    )
}

fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    // Longer words are no typos of anything known.
    if word.len() > 40 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let tolerance = match word.len() {
        0..=2 => return None,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .map(|candidate| {
            let edits = edits(word.as_bytes(), candidate.as_bytes());
            (edits, !candidate.starts_with(&word), candidate)
        })
        .filter(|(edits, ..)| (1..=tolerance).contains(edits))
        .min()
        .map(|(_, _, candidate)| format!("did you mean {candidate:?}?"))
}

/// Returns the insertions, deletions, replacements and swaps of neighbours between two words.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_guessed() {
        for (typo, meant) in [
            ("rat", Some("rate")),
            ("histogram_quantil", Some("histogram_quantile")),
            ("labl_replace", Some("label_replace")),
            ("smu", Some("sum")),
            ("frobnicate", None),
        ] {
            let expected = meant.map(|meant| format!("did you mean {meant:?}?"));
            assert_eq!(function(typo), expected, "{typo}");
        }
    }
}
