//! Label functions: templates of `label_replace`, and the order of `sort_by_label`.

use std::cmp::Ordering;

use regex::Captures;

/// Returns the most bytes that a template gives for values of so many bytes.
pub(crate) fn expanded_bytes_max(template: &str, value_bytes: usize) -> usize {
    let references = template.bytes().filter(|byte| *byte == b'$').count();
    template
        .len()
        .saturating_add(references.saturating_mul(value_bytes))
}

/// Appends `template` with `$1`, `${1}`, `$name` and `$$` filled in, as Go's `Expand` does.
pub(crate) fn expand(template: &str, captures: &Captures<'_>) -> String {
    // The crate's syntax is Go's: the longest name after `$`, braces to end it sooner.
    let mut out = String::new();
    captures.expand(template, &mut out);
    out
}

/// Compares texts with their numbers as numbers: "4m5" before "4m600".
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let ((chunk_a, rest_a), (chunk_b, rest_b)) = match (chunk(a), chunk(b)) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => (a, b),
        };
        let order = match (chunk_a.parse::<u64>(), chunk_b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => chunk_a.cmp(chunk_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Splits off the leading run of digits, or of anything else.
fn chunk(text: &str) -> Option<(&str, &str)> {
    let digits = text.chars().next()?.is_ascii_digit();
    let end = text
        .find(|c: char| c.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count_as_numbers() {
        for (less, more) in [
            ("2", "10"),
            ("4m5", "4m600"),
            ("1.2.3", "1.11.3"),
            ("a", "a1"),
            ("", "0"),
        ] {
            assert_eq!(natural_order(less, more), Ordering::Less, "{less} {more}");
        }
    }
}
