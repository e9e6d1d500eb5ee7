//! What names a group.

use std::fmt;
use std::sync::Arc;

use model::Labels;

/// The labels that name a group: sorted, each name once, `job` among them. Unlike a series' labels, they may be empty: a group with
/// `x=""` is another one than a group without `x`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(Arc<[(Box<str>, Box<str>)]>);

impl GroupKey {
    /// Returns the key with these labels; of a name that comes twice, the last counts.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut sorted: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in labels {
            let (name, value) = (name.into(), value.into());
            match sorted.binary_search_by(|(present, _)| present.cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        Self(sorted.into())
    }

    /// Returns this key with other labels put over its own.
    #[must_use]
    pub fn with<'a>(&'a self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(self.iter().chain(labels))
    }

    /// Returns names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of a label; `None` when the key has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .binary_search_by(|(present, _)| (**present).cmp(name));
        found.ok().map(|at| &*self.0[at].1)
    }

    /// Returns the length of names and values together.
    pub fn text_bytes(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    /// Returns the series `name` of this group.
    pub(crate) fn series(&self, name: &str) -> Labels {
        let name = (model::METRIC_NAME, name);
        Labels::from_pairs(std::iter::once(name).chain(self.iter()))
            .expect("the names of a key are unique and not empty, and none is the metric's")
    }
}

impl fmt::Display for GroupKey {
    /// Writes `{job="a",x="1"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_tell_empty_from_absent() {
        let key = GroupKey::new([("x", "1"), ("job", "a"), ("x", "2")]);
        assert_eq!(key.to_string(), "{job=\"a\",x=\"2\"}");
        assert_eq!(key, GroupKey::new([("job", "a"), ("x", "2")]));
        let empty = key.with([("x", "")]);
        assert_ne!(empty, GroupKey::new([("job", "a")]));
        assert_eq!((empty.get("x"), empty.get("y")), (Some(""), None));
        assert_eq!(empty.series("m").to_string(), "m{job=\"a\"}");
    }
}
