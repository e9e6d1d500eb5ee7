//! JSON whose members keep their order, written as Go writes it: what the services on the other side have always been sent.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number as it is written.
    Number(serde_json::Number),
    Text(String),
    List(Vec<Self>),
    Object(Object),
}

/// Members in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Object {
    /// Adds a member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a text, unless it is empty.
    #[must_use]
    pub(crate) fn with_text(self, name: &str, text: String) -> Self {
        self.with_some(name, (!text.is_empty()).then_some(text))
    }

    /// Adds a member, if there is a value.
    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a list, unless it is empty.
    #[must_use]
    pub(crate) fn with_list(self, name: &str, list: Vec<Json>) -> Self {
        self.with_some(name, (!list.is_empty()).then_some(list))
    }

    /// Adds a flag, if it is set.
    #[must_use]
    pub(crate) fn with_flag(self, name: &str, flag: bool) -> Self {
        self.with_some(name, flag.then_some(true))
    }

    /// Adds the members of another object.
    #[must_use]
    pub(crate) fn with_all(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_members(self) -> impl Iterator<Item = (String, Json)> {
        self.0.into_iter()
    }

    /// Returns the text of a body: a line.
    pub(crate) fn into_body(self) -> Vec<u8> {
        format!("{}\n", Json::Object(self)).into_bytes()
    }
}

impl Json {
    /// Returns how many bytes this takes.
    pub(crate) fn bytes(&self) -> usize {
        self.to_string().len()
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Self>> for Json {
    fn from(list: Vec<Self>) -> Self {
        Self::List(list)
    }
}

impl From<&BTreeMap<String, String>> for Json {
    fn from(map: &BTreeMap<String, String>) -> Self {
        let members = map
            .iter()
            .map(|(name, value)| (name.clone(), Self::Text(value.clone())));
        Self::Object(Object(members.collect()))
    }
}

impl FromIterator<(String, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                let members = members
                    .into_iter()
                    .map(|(name, value)| (name, Self::from(value)));
                Self::Object(members.collect())
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write_text(f, text),
            Self::List(list) => {
                f.write_char('[')?;
                for (index, item) in list.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{item}")?;
                }
                f.write_char(']')
            }
            Self::Object(Object(members)) => {
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes a text so that it can stand in HTML, too: Go does.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(f, "\\u{:04x}", u32::from(character))?;
            }
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_texts_are_safe_in_html() {
        let object = Object::default()
            .with("z", 1)
            .with_text("empty", String::new())
            .with_flag("off", false)
            .with_list("none", Vec::new())
            .with("a", "<b>&\"\\\n\u{1}\u{2028}ü\u{7f}")
            .with("list", vec![Json::Null, Json::Bool(true)]);
        assert_eq!(
            String::from_utf8(object.into_body()).unwrap(),
            "{\"z\":1,\"a\":\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028ü\u{7f}\",\"list\":[null,true]}\n"
        );
    }
}
