//! Reading YAML strictly: what is unknown or of the wrong kind is a mistake with its place, and reading goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Mistake, Node, NodeValue, Origin, Position, nearest, parse_size};

/// Reads the nodes of one file, and gathers what is wrong with them.
///
/// A method returns `None` for what is empty or was refused, so that the caller's default stands and all mistakes come together.
#[derive(Debug)]
pub struct Reader<'a> {
    path: &'a Path,
    /// What was wrong so far, in the order found.
    pub mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    /// Returns a reader of the file at `path`, which is named in mistakes and is what relative paths are relative to.
    pub const fn new(path: &'a Path) -> Self {
        Self {
            path,
            mistakes: Vec::new(),
        }
    }

    /// Returns the file that is read.
    pub const fn path(&self) -> &'a Path {
        self.path
    }

    /// Notes a mistake, and returns nothing in place of a value.
    pub fn refuse<T>(&mut self, at: Position, what: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake {
            origin: Origin::File {
                path: self.path.to_owned(),
                at,
            },
            what: what.into(),
        });
        None
    }

    /// Notes that `key` is not one of those that may stand here.
    pub fn unknown(&mut self, at: Position, key: &str, accepted: &[&str]) {
        let hint = nearest(key, accepted.iter().copied())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        let accepted = accepted.join(", ");
        self.refuse::<()>(
            at,
            format!("unknown key {key:?}{hint} (accepted here: {accepted})"),
        );
    }

    /// Returns the entries of a map; none of an empty value.
    pub fn entries<'n>(&mut self, node: &'n Node) -> Vec<(&'n str, Position, &'n Node)> {
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

    /// Returns the items of a list; none of an empty value.
    pub fn items<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            NodeValue::List(items) => items,
            NodeValue::Null => &[],
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                self.wrong_kind::<()>(node, "a list");
                &[]
            }
        }
    }

    /// Returns a scalar.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            NodeValue::Scalar(text) => Some(text.clone()),
            NodeValue::Null => None,
            NodeValue::List(_) | NodeValue::Map(_) => self.wrong_kind(node, "a text"),
        }
    }

    /// Returns a list of scalars; an empty item is an empty text.
    pub fn texts(&mut self, node: &Node) -> Vec<String> {
        let items = self.items(node);
        let texts = items.iter().map(|item| self.text(item).unwrap_or_default());
        texts.collect()
    }

    /// Returns a truth value, in the words that YAML 1.1 has for it.
    pub fn flag(&mut self, node: &Node) -> Option<bool> {
        let text = self.text(node)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => self.refuse(node.at, format!("{text:?} is neither true nor false")),
        }
    }

    /// Returns a whole number from 0.
    pub fn count(&mut self, node: &Node) -> Option<u64> {
        let text = self.text(node)?;
        let number = text.parse().ok();
        number.or_else(|| self.refuse(node.at, format!("{text:?} is not a whole number from 0")))
    }

    /// Returns a size such as `10MB`.
    pub fn size(&mut self, node: &Node) -> Option<u64> {
        let text = self.text(node)?;
        match parse_size(&text) {
            Ok(bytes) => Some(bytes),
            Err(error) => self.refuse(node.at, error),
        }
    }

    /// Returns a duration in Prometheus' form.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        match model::parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(error) => self.refuse(node.at, error.to_string()),
        }
    }

    /// Returns the path of a file; a relative one begins at the folder of the file that is read.
    pub fn file(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.text(node).filter(|text| !text.is_empty())?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        Some(folder.join(text))
    }

    /// Returns the index of a word among those accepted.
    pub fn word(&mut self, node: &Node, accepted: &[&str]) -> Option<usize> {
        let text = self.text(node)?;
        let found = accepted.iter().position(|word| *word == text);
        found.or_else(|| {
            let accepted = accepted.join(", ");
            self.refuse(node.at, format!("{text:?} is not one of {accepted}"))
        })
    }

    fn wrong_kind<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = node.kind();
        self.refuse(node.at, format!("expected {expected}, found {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_yaml;

    #[test]
    fn values_are_read_and_mistakes_gathered() {
        let path = Path::new("etc/f.yml");
        let text =
            "a: yes\nb: 12\nc: 1m\nd: 10MB\ne: x/y\nf: [p, ]\ng: maybe\nh: -1\ni: [\"\"]\nj: {}\n";
        let root = parse_yaml(path, text).expect("valid");
        let node = |key: &str| root.get(key).expect(key);
        let mut reader = Reader::new(path);
        assert_eq!(reader.flag(node("a")), Some(true));
        assert_eq!(reader.count(node("b")), Some(12));
        assert_eq!(reader.duration(node("c")), Some(Duration::from_secs(60)));
        assert!(reader.size(node("d")).is_some());
        assert_eq!(reader.file(node("e")), Some(PathBuf::from("etc/x/y")));
        assert_eq!(reader.texts(node("f")), ["p"]);
        assert_eq!(reader.texts(node("i")), [""]);
        assert_eq!(reader.word(node("b"), &["11", "12"]), Some(1));
        assert!(reader.mistakes.is_empty());
        assert_eq!(reader.flag(node("g")), None);
        assert_eq!(reader.count(node("h")), None);
        assert!(reader.items(node("j")).is_empty());
        reader.unknown(node("j").at, "jobname", &["job_name"]);
        let said: Vec<String> = reader.mistakes.iter().map(Mistake::to_string).collect();
        assert_eq!(
            said,
            [
                "etc/f.yml:7:4: \"maybe\" is neither true nor false",
                "etc/f.yml:8:4: \"-1\" is not a whole number from 0",
                "etc/f.yml:10:4: expected a list, found a map",
                "etc/f.yml:10:4: unknown key \"jobname\"; did you mean job_name? (accepted here: job_name)",
            ]
        );
    }
}
