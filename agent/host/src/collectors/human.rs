//! Sizes as the kernel's block caches and file systems print them for people.

/// Letters for the powers of 1,024, in order.
const LETTERS: &str = "KMGTPEZY";

/// Splits `1.5G` into the number and the factor of its letter; without a letter the factor is 1.
pub(super) fn split_unit(text: &str) -> (&str, f64) {
    let text = text.trim();
    let power = text
        .chars()
        .next_back()
        .and_then(|last| LETTERS.find(last.to_ascii_uppercase()));
    match power {
        Some(power) => {
            let factor = (0..=power).fold(1.0, |factor, _| factor * 1_024.0);
            (text.get(..text.len() - 1).unwrap_or_default(), factor)
        }
        None => (text, 1.0),
    }
}

/// Reads `62.5k` as whole bytes.
pub(super) fn bytes(text: &str) -> Option<f64> {
    let (number, factor) = split_unit(text);
    let number: f64 = number.trim().parse().ok()?;
    Some((number * factor).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_powers_of_1024() {
        for (text, expected) in [
            ("720", Some(720.0)),
            (" 1.26k", Some(1_290.0)),
            ("2M", Some(2_097_152.0)),
            ("10.8T", Some(11_874_725_579_980.0)),
            ("", None),
            ("k", None),
            ("1.5x", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
