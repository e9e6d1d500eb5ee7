//! `a=1&b=2`: parameters of requests.

/// The most parameters that are read.
const PARAMETERS_MAX: usize = 10_000;

/// Parameters in order, decoded; names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    parameters: Vec<(String, String)>,
    is_cut: bool,
}

impl Form {
    /// Returns the parameters of encoded texts, one text after the other.
    pub fn parse<'a>(encoded: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = encoded
            .into_iter()
            .flat_map(|text| text.split('&'))
            .filter(|pair| !pair.is_empty());
        let mut form = Self::default();
        for pair in pairs {
            if form.parameters.len() == PARAMETERS_MAX {
                form.is_cut = true;
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            form.parameters
                .push((decode(name, true), decode(value, true)));
        }
        form
    }

    /// Returns whether there were more parameters than the 10,000 that are read: such a form should be refused.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the first value of a parameter; `None` when it is not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.parameters
            .iter()
            .filter(move |(present, _)| present == name)
            .map(|(_, value)| value.as_str())
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the encoded text.
    pub fn encode(&self) -> String {
        let pairs: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode_component(name), encode_component(value)))
            .collect();
        pairs.join("&")
    }
}

/// Returns a path segment, decoded; `+` stays, and bytes that are not UTF-8 are replaced.
pub fn decode_component(text: &str) -> String {
    decode(text, false)
}

/// Returns a text, encoded so that it can stand in a path segment or a form.
pub fn encode_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            _ => {
                out.push('%');
                for half in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
                }
            }
        }
    }
    out
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let digit = |at: usize| {
        let digit = char::from(*bytes.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (b'+', _, _) if plus_is_space => {
                out.push(b' ');
                at += 1;
            }
            (byte, _, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_wins() {
        let form = Form::parse([
            "query=up%7Ba%3D%22%2B%22%7D+%2B+1&match[]=a",
            "match%5B%5D=b&flag&=x&bad=%zz%4",
        ]);
        assert_eq!(form.get("query"), Some("up{a=\"+\"} + 1"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((form.get("flag"), form.get("none")), (Some(""), None));
        assert_eq!(form.get("bad"), Some("%zz%4"));
        assert_eq!(Form::parse([form.encode().as_str()]), form);
        assert!(!form.is_cut());
        let many = Form::parse(["&a=1".repeat(PARAMETERS_MAX + 1).as_str()]);
        assert!(many.is_cut() && many.all("a").count() == PARAMETERS_MAX);
    }

    #[test]
    fn components_round_trip() {
        let text = "a b/ü+%";
        assert_eq!(encode_component(text), "a%20b%2F%C3%BC%2B%25");
        assert_eq!(decode_component(&encode_component(text)), text);
        assert_eq!(decode_component("a+b"), "a+b");
    }
}
