//! Label sets.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Why pairs do not form a label set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A name is the empty string.
    #[error("empty label name (its value is {value:?})")]
    EmptyName {
        /// The value that came with it.
        value: String,
    },
    /// A name comes twice.
    #[error("label name {name:?} is not unique")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Names and values together exceed 4 GiB, or there are more than 2^31 of them.
    #[error("label set of {bytes} bytes is too large")]
    TooLarge {
        /// Their length.
        bytes: usize,
    },
}

/// A label set: sorted by name (bytewise), names unique and not empty, values not empty.
///
/// A label with an empty value is the same as no label, so such pairs are left out when a set is built. Cloning is cheap (one
/// reference count). Names and values are UTF-8; which characters a name may have is the business of the format that it came in.
#[derive(Clone)]
pub struct Labels(Arc<Packed>);

/// All text in one string; `ends` has, for each label, the end of its name and the end of its value.
struct Packed {
    text: Box<str>,
    ends: Box<[u32]>,
}

static EMPTY: LazyLock<Labels> = LazyLock::new(|| {
    Labels(Arc::new(Packed {
        text: Box::from(""),
        ends: Box::from([]),
    }))
});

impl Labels {
    /// Returns the set without labels.
    pub fn empty() -> Self {
        EMPTY.clone()
    }

    /// Returns the set of `pairs`, in any order; pairs with an empty value are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, LabelsError> {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        if let Some(repeat) = pairs
            .windows(2)
            .find(|pair| pair[0].0.as_ref() == pair[1].0.as_ref())
        {
            return Err(LabelsError::Duplicate {
                name: repeat[0].0.as_ref().to_owned(),
            });
        }
        if let Some((_, value)) = pairs.first().filter(|(name, _)| name.as_ref().is_empty()) {
            return Err(LabelsError::EmptyName {
                value: value.as_ref().to_owned(),
            });
        }
        pairs.retain(|(_, value)| !value.as_ref().is_empty());
        pack(
            pairs
                .iter()
                .map(|(name, value)| (name.as_ref(), value.as_ref())),
        )
    }

    /// Returns the value of the label `name`; `None` when there is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Sets are small: a scan that stops at the first larger name beats a binary search.
        self.iter()
            .take_while(|(present, _)| *present <= name)
            .find(|(present, _)| *present == name)
            .map(|(_, v)| v)
    }

    /// Returns the value of `name`, or `""`, as matchers see it.
    pub fn value_or_empty(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Returns the metric's name, the label `__name__`.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Returns names and values in order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        let packed = &*self.0;
        let end = move |index: usize| packed.ends.get(index).map_or(0, |end| *end as usize);
        (0..self.len()).map(move |label| {
            let start = if label == 0 { 0 } else { end(2 * label - 1) };
            let (middle, stop) = (end(2 * label), end(2 * label + 1));
            let part = |from: usize, to: usize| packed.text.get(from..to).unwrap_or_default();
            (part(start, middle), part(middle, stop))
        })
    }

    /// Returns a number that two sets alive at once share only when one is a clone of the other: equal sets made apart have others.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    /// Returns whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Returns the text of all names and values, one after the other, and where each of them ends: what is to be hashed.
    pub fn packed(&self) -> (&str, &[u32]) {
        (&self.0.text, &self.0.ends)
    }

    /// Returns the length of all names and values together, in bytes.
    pub fn text_bytes(&self) -> usize {
        self.0.text.len()
    }

    /// Returns a builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder {
            pairs: self
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// Returns this set with only those labels whose names `keep` accepts.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let keep = &keep;
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        pack(self.iter().filter(move |(name, _)| keep(name))).unwrap_or_else(|_| Self::empty())
    }

    /// Returns this set without the metric's name.
    pub fn without_name(&self) -> Self {
        if self.metric_name().is_none() {
            self.clone()
        } else {
            self.filtered(|name| name != METRIC_NAME)
        }
    }
}

/// `pairs` are sorted, unique and without empty parts.
fn pack<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<Labels, LabelsError> {
    let (mut bytes, mut count) = (0, 0);
    for (name, value) in pairs.clone() {
        bytes += name.len() + value.len();
        count += 1;
    }
    if u32::try_from(bytes).is_err() {
        return Err(LabelsError::TooLarge { bytes });
    }
    if bytes == 0 {
        return Ok(Labels::empty());
    }
    let mut text = String::with_capacity(bytes);
    let mut ends = Vec::with_capacity(count * 2);
    for (name, value) in pairs {
        for part in [name, value] {
            text.push_str(part);
            ends.push(u32::try_from(text.len()).map_err(|_| LabelsError::TooLarge { bytes })?);
        }
    }
    Ok(Labels(Arc::new(Packed {
        text: text.into_boxed_str(),
        ends: ends.into_boxed_slice(),
    })))
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.text == other.0.text && self.0.ends == other.0.ends)
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
        self.0.ends.hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Compares label by label, name before value, as Prometheus sorts series.
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, others) = (&*self.0, &*other.0);
        // Parts end at the same places up to the first that does not, so that the text until the nearer of its two ends is compared as one.
        let differs = own
            .ends
            .iter()
            .zip(&others.ends)
            .position(|(own, other)| own != other);
        let Some(part) = differs else {
            // One has all labels of the other, or more.
            let shorter = own.text.len().min(others.text.len());
            return own.text.as_bytes()[..shorter]
                .cmp(&others.text.as_bytes()[..shorter])
                .then(own.ends.len().cmp(&others.ends.len()));
        };
        let nearer = own.ends[part].min(others.ends[part]) as usize;
        own.text.as_bytes()[..nearer]
            .cmp(&others.text.as_bytes()[..nearer])
            .then(own.ends[part].cmp(&others.ends[part]))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Labels {
    /// Writes `name{label="value", ...}` as Prometheus prints series; names outside the classic alphabet are quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classic_metric = self
            .metric_name()
            .filter(|name| is_classic_metric_name(name));
        f.write_str(classic_metric.unwrap_or_default())?;
        let mut rest = self
            .iter()
            .filter(|(name, _)| classic_metric.is_none() || *name != METRIC_NAME)
            .peekable();
        if rest.peek().is_none() && classic_metric.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        for (index, (name, value)) in rest.enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match (name, is_classic_label_name(name)) {
                (METRIC_NAME, _) => write_quoted(f, value)?,
                (_, true) => {
                    write!(f, "{name}=")?;
                    write_quoted(f, value)?;
                }
                (_, false) => {
                    write_quoted(f, name)?;
                    f.write_str("=")?;
                    write_quoted(f, value)?;
                }
            }
        }
        f.write_str("}")
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

fn is_classic_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_classic_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// A label set under change: the last value set for a name wins, an empty value removes it.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, unique.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Returns a builder without labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the present value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name)
            .ok()
            .and_then(|at| self.pairs.get(at))
            .map(|(_, value)| value.as_str())
    }

    /// Returns names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Keeps only those labels whose names `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(name, _)| keep(name));
        self
    }

    /// Sets `name` to `value`; an empty value removes the label, an empty name does nothing.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        if value.is_empty() {
            return self.remove(&name);
        }
        if !name.is_empty() {
            match self.position(&name) {
                Ok(at) => self.pairs[at].1 = value,
                Err(at) => self.pairs.insert(at, (name, value)),
            }
        }
        self
    }

    /// Removes the label `name`, if there is one.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(at) = self.position(name) {
            self.pairs.remove(at);
        }
        self
    }

    /// Returns the label set.
    ///
    /// # Panics
    /// When names and values together exceed 4 GiB: bound them where they enter.
    pub fn build(&self) -> Labels {
        pack(
            self.pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .expect("labels are bounded where they enter, far below 4 GiB")
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs
            .binary_search_by(|(present, _)| present.as_str().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).expect("valid pairs")
    }

    #[test]
    fn sets_are_sorted_unique_and_without_empty_values() {
        let set = labels(&[("z", "1"), ("a", "2"), ("m", "")]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [("a", "2"), ("z", "1")]);
        assert_eq!(set.get("m"), None);
        assert_eq!(set.value_or_empty("m"), "");
        assert!(matches!(
            Labels::from_pairs([("a", "1"), ("a", "1")]),
            Err(LabelsError::Duplicate { .. })
        ));
        assert!(matches!(
            Labels::from_pairs([("", "1")]),
            Err(LabelsError::EmptyName { .. })
        ));
    }

    #[test]
    fn sets_print_as_prometheus_prints_them() {
        assert_eq!(labels(&[(METRIC_NAME, "up")]).to_string(), "up");
        assert_eq!(
            labels(&[(METRIC_NAME, "up"), ("job", "a\"b\\\n")]).to_string(),
            "up{job=\"a\\\"b\\\\\\n\"}"
        );
        assert_eq!(
            labels(&[(METRIC_NAME, "a.b"), ("l.x", "v")]).to_string(),
            "{\"a.b\", \"l.x\"=\"v\"}"
        );
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    proptest! {
        #[test]
        fn the_builder_agrees_with_a_map(edits in prop::collection::vec(("[a-d]{0,2}", "[x-z]{0,2}"), 0..20)) {
            let mut builder = LabelsBuilder::new();
            let mut map = std::collections::BTreeMap::new();
            for (name, value) in &edits {
                builder.set(name.clone(), value.clone());
                if value.is_empty() { map.remove(name); } else if !name.is_empty() { map.insert(name.clone(), value.clone()); }
            }
            let built = builder.build();
            prop_assert_eq!(&built, &Labels::from_pairs(map.iter()).expect("a map has unique names"));
            for (name, value) in &map { prop_assert_eq!(built.get(name), Some(value.as_str())); }
        }

        #[test]
        fn order_is_that_of_the_pairs(a in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{1,2}", 0..4), b in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{1,2}", 0..4)) {
            let (x, y) = (Labels::from_pairs(a.iter()).expect("unique"), Labels::from_pairs(b.iter()).expect("unique"));
            prop_assert_eq!(x.cmp(&y), a.iter().cmp(b.iter()));
        }
    }
}
