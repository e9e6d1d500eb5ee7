//! Small texts that several services are sent: hashes, URLs, forms.

use ring::digest::SHA256;

/// Returns the SHA-256 of a text in hexadecimal digits. That of a group's key is by what services tell incidents apart.
pub(crate) fn hash(text: &str) -> String {
    hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

/// Returns the first 8 bytes of the SHA-256 of a text as a number.
pub(crate) fn digest(text: &str) -> u64 {
    let bytes = ring::digest::digest(&SHA256, text.as_bytes());
    let first = bytes.as_ref().iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a URL with more of a path: in front of its query, with one `/` between.
pub(crate) fn below(url: &str, path: &str) -> String {
    let (base, query) = match url.find(['?', '#']) {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    format!("{}/{path}{query}", base.trim_end_matches('/'))
}

/// Returns parameters as Go encodes them: sorted, a space as `+`.
pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    let encode = |text| http_shell::encode_component(text).replace("%20", "+");
    let mut parameters = parameters.to_vec();
    parameters.sort_by_key(|(name, _)| *name);
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// Returns the parts of a list with commas that are not empty.
pub(crate) fn parts(text: &str) -> Vec<String> {
    let parts = text.trim().split(',').filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_go_on_before_their_query() {
        assert_eq!(below("https://h/a/?k=1", "b/c"), "https://h/a/b/c?k=1");
        assert_eq!(below("https://h", "b"), "https://h/b");
    }

    #[test]
    fn forms_are_sorted_and_encoded() {
        assert_eq!(form(&[("b", "1 2"), ("a", "ü&")]), "a=%C3%BC%26&b=1+2");
        assert_eq!(parts(" a,,b, c"), ["a", "b", " c"]);
        assert_eq!(
            hash(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest(""), 0xe3b0_c442_98fc_1c14);
    }
}
