//! Reading YAML strictly: what is unknown or of the wrong kind is a mistake with its place, and reading goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use config::{Mistake, Node, NodeValue, Origin, Position, nearest};

use super::FileOptions;

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    path: &'a Path,
    pub(crate) options: FileOptions,
    pub(crate) mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(path: &'a Path, options: FileOptions) -> Self {
        Self {
            path,
            options,
            mistakes: Vec::new(),
        }
    }

    pub(crate) fn refuse(&mut self, at: Position, what: impl Into<String>) {
        self.mistakes.push(Mistake {
            origin: Origin::File {
                path: self.path.to_owned(),
                at,
            },
            what: what.into(),
        });
    }

    /// Refuses keys that are not `known`, and what is no map.
    pub(crate) fn known_keys(&mut self, node: &Node, place: &str, known: &[&str]) {
        for (key, at) in self.keys(node) {
            if self.options.ignore_unknown_fields || known.contains(&key) {
                continue;
            }
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("accepted: {}", known.join(", ")),
            };
            self.refuse(at, format!("field {key} not found in {place} ({hint})"));
        }
    }

    /// Returns the keys of a map and where they stand.
    fn keys<'n>(&mut self, node: &'n Node) -> Vec<(&'n str, Position)> {
        match &node.value {
            NodeValue::Null => Vec::new(),
            NodeValue::Map(entries) => entries
                .iter()
                .map(|(key, at, _)| (key.as_str(), *at))
                .collect(),
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                self.wrong_kind(node, "a map");
                Vec::new()
            }
        }
    }

    /// Returns the keys of the map under `key`.
    pub(crate) fn keys_of<'n>(&self, node: &'n Node, key: &str) -> Vec<(&'n str, Position)> {
        match node.get(key).map(|node| &node.value) {
            Some(NodeValue::Map(entries)) => entries
                .iter()
                .map(|(key, at, _)| (key.as_str(), *at))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the items of a list; none when there is no list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            NodeValue::List(items) => items,
            NodeValue::Null => &[],
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                self.wrong_kind(node, "a list");
                &[]
            }
        }
    }

    /// Returns the items of the list under `key`; none when there is none.
    pub(crate) fn items_of<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        node.get(key).map_or(&[], |node| self.items(node))
    }

    fn wrong_kind(&mut self, node: &Node, expected: &str) {
        let found = node.kind();
        self.refuse(node.at, format!("expected {expected}, found {found}"));
    }

    /// Returns a scalar; the empty text for an empty value.
    pub(crate) fn text(&mut self, node: &Node) -> String {
        match &node.value {
            NodeValue::Scalar(text) => text.clone(),
            NodeValue::Null => String::new(),
            NodeValue::List(_) | NodeValue::Map(_) => {
                self.wrong_kind(node, "a text");
                String::new()
            }
        }
    }

    /// Returns the text under `key`; empty when there is none.
    pub(crate) fn text_of(&mut self, node: &Node, key: &str) -> String {
        node.get(key)
            .map(|node| self.text(node))
            .unwrap_or_default()
    }

    /// Returns the map of texts under `key`; empty when there is none.
    pub(crate) fn map_of(&mut self, node: &Node, key: &str) -> BTreeMap<String, String> {
        match node.get(key) {
            None => BTreeMap::new(),
            Some(node) => self.map(node),
        }
    }

    fn map(&mut self, node: &Node) -> BTreeMap<String, String> {
        match &node.value {
            NodeValue::Null => BTreeMap::new(),
            NodeValue::Map(entries) => entries
                .iter()
                .map(|(key, _, value)| (key.clone(), self.text(value)))
                .collect(),
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                self.wrong_kind(node, "a map");
                BTreeMap::new()
            }
        }
    }

    /// Returns the duration under `key`, in Prometheus' form.
    pub(crate) fn duration_of(&mut self, node: &Node, key: &str) -> Option<Duration> {
        let node = node.get(key)?;
        let text = self.text(node);
        if text.is_empty() && node.value == NodeValue::Null {
            return None;
        }
        match model::parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.refuse(node.at, error.to_string());
                None
            }
        }
    }

    /// Returns the bound under `key`; what is negative is none, as in Prometheus.
    pub(crate) fn limit_of(&mut self, node: &Node, key: &str) -> usize {
        let Some(node) = node.get(key) else {
            return 0;
        };
        let text = self.text(node);
        match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).unwrap_or(0),
            Err(_) if node.value == NodeValue::Null => 0,
            Err(_) => {
                self.refuse(node.at, format!("{text:?} is not a whole number"));
                0
            }
        }
    }

    /// Returns a truth value, in the words that YAML 1.1 has for it.
    pub(crate) fn switch_of(&mut self, node: &Node, key: &str) -> bool {
        let Some(node) = node.get(key) else {
            return false;
        };
        let text = self.text(node);
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => true,
            "" | "false" | "no" | "off" | "n" => false,
            _ => {
                self.refuse(node.at, format!("{text:?} is neither true nor false"));
                false
            }
        }
    }
}
