//! Reading YAML strictly: what is unknown or of the wrong kind is a mistake with its place, and reading goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Mistake, Node, NodeValue, Origin, Position, nearest};

use crate::matcher::{MatcherMode, parse_matchers, sort};
use model::Matcher;

pub(crate) struct Reader<'a> {
    path: &'a Path,
    pub(crate) mode: MatcherMode,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(path: &'a Path, mode: MatcherMode) -> Self {
        Self {
            path,
            mode,
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes a mistake, and returns nothing in place of a value.
    pub(crate) fn refuse<T>(&mut self, at: Position, what: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake {
            origin: Origin::File {
                path: self.path.to_owned(),
                at,
            },
            what: what.into(),
        });
        None
    }

    pub(crate) fn unknown<'k>(
        &mut self,
        at: Position,
        key: &str,
        place: &str,
        accepted: impl IntoIterator<Item = &'k str>,
    ) {
        let accepted: Vec<&str> = accepted.into_iter().collect();
        let hint = match nearest(key, accepted.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("accepted: {}", accepted.join(", ")),
        };
        self.refuse::<()>(at, format!("field {key} not found in {place} ({hint})"));
    }

    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> Vec<(&'n str, Position, &'n Node)> {
        match &node.value {
            NodeValue::Null => Vec::new(),
            NodeValue::Map(entries) => entries
                .iter()
                .map(|(key, at, value)| (key.as_str(), *at, value))
                .collect(),
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                self.wrong_kind::<()>(node, "a map");
                Vec::new()
            }
        }
    }

    /// Returns the items of a list; nothing when there is no list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            NodeValue::List(items) => Some(items),
            NodeValue::Null => None,
            NodeValue::Scalar(_) | NodeValue::Map(_) => self.wrong_kind(node, "a list"),
        }
    }

    fn wrong_kind<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = node.kind();
        self.refuse(node.at, format!("expected {expected}, found {found}"))
    }

    /// Returns a scalar; nothing for an empty value.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            NodeValue::Scalar(text) => Some(text.clone()),
            NodeValue::Null => None,
            NodeValue::List(_) | NodeValue::Map(_) => self.wrong_kind(node, "a text"),
        }
    }

    pub(crate) fn texts(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = self.items(node)?;
        // An empty item is an empty text.
        Some(
            items
                .iter()
                .map(|item| self.text(item).unwrap_or_default())
                .collect(),
        )
    }

    pub(crate) fn map(&mut self, node: &Node) -> BTreeMap<String, String> {
        let entries = self.entries(node);
        let pairs = entries
            .into_iter()
            .map(|(key, _, value)| (key.to_owned(), self.text(value).unwrap_or_default()));
        pairs.collect()
    }

    /// Returns a truth value, in the words that YAML 1.1 has for it.
    pub(crate) fn flag(&mut self, node: &Node) -> Option<bool> {
        let text = self.text(node)?;
        match text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                Some(true)
            }
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n"
            | "N" => Some(false),
            _ => self.refuse(node.at, format!("{text:?} is neither true nor false")),
        }
    }

    pub(crate) fn integer(&mut self, node: &Node) -> Option<i64> {
        let text = self.text(node)?;
        text.parse()
            .ok()
            .or_else(|| self.refuse(node.at, format!("{text:?} is not a whole number")))
    }

    /// Returns a duration in Prometheus' form.
    pub(crate) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        model::parse_duration(&text)
            .map_or_else(|error| self.refuse(node.at, error.to_string()), Some)
    }

    /// Returns a duration in Go's form: `1h30m`, `1.5s`; a number alone counts nanoseconds.
    pub(crate) fn go_duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        go_duration(&text)
            .or_else(|| self.refuse(node.at, format!("time: invalid duration {text:?}")))
    }

    /// Returns the path of a file; relative ones begin at the folder of the configuration.
    pub(crate) fn file(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.text(node).filter(|text| !text.is_empty())?;
        Some(
            self.path
                .parent()
                .unwrap_or_else(|| Path::new(""))
                .join(text),
        )
    }

    pub(crate) fn url(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        match check_url(&text) {
            Ok(()) => Some(text),
            Err(error) => self.refuse(node.at, error),
        }
    }

    /// Returns the matchers in a list of texts.
    pub(crate) fn matchers(&mut self, node: &Node) -> Vec<Matcher> {
        let mut matchers = Vec::new();
        for item in self.items(node).unwrap_or_default() {
            let Some(text) = self.text(item) else {
                continue;
            };
            match parse_matchers(&text, self.mode) {
                Ok(parsed) => {
                    matchers.extend(parsed.matchers);
                    self.warnings.extend(parsed.warning);
                }
                Err(error) => {
                    self.refuse::<()>(item.at, error);
                }
            }
        }
        sort(&mut matchers);
        matchers
    }
}

/// Whether `text` is a URL of HTTP; `Err` says why not, in Alertmanager's words.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    if text.chars().any(|character| character.is_ascii_control()) {
        return Err(format!(
            "parse {text:?}: net/url: invalid control character in URL"
        ));
    }
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let scheme = if is_scheme {
        scheme.to_ascii_lowercase()
    } else {
        String::new()
    };
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(format!("unsupported scheme {scheme:?} for URL"));
    }
    let rest = text.get(scheme.len() + 1..).unwrap_or_default();
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let host = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        return Err("missing host for URL".to_owned());
    }
    Ok(())
}

fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        let cases = [
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0", Some(Duration::ZERO)),
            ("1d", None),
            ("-1s", None),
            ("", None),
            ("s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(go_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn urls_need_a_scheme_and_a_host() {
        let cases = [
            ("http://a", Ok(())),
            ("HTTPS://a:1/b?c#d", Ok(())),
            ("a", Err("unsupported scheme \"\" for URL")),
            ("ftp://a", Err("unsupported scheme \"ftp\" for URL")),
            ("http:///b", Err("missing host for URL")),
            ("http:b", Err("missing host for URL")),
        ];
        for (text, expected) in cases {
            assert_eq!(check_url(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
