//! Names with texts: as they come in with an alert, and as many alerts keep them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names with texts as they come in, borrowed from the request that brought them where that is possible: sorted by name. Of a name that
/// comes twice the last holds, as in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(Vec<Pair<'a>>);

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a, N: Into<Cow<'a, str>>, V: Into<Cow<'a, str>>> FromIterator<(N, V)> for Pairs<'a> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let mut pairs: Vec<Pair<'a>> = pairs
            .map(|(name, text)| (name.into(), text.into()))
            .collect();
        // The sort keeps the order of equal names, and the first of them stays.
        pairs.reverse();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        pairs.dedup_by(|(later, _), (first, _)| later == first);
        Self(pairs)
    }
}

impl Pairs<'_> {
    /// Returns names and texts in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs
            .into_iter()
            .map(|(name, text)| (name.0, text.0))
            .collect())
    }
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Names with texts that are kept, by name. Cloning is cheap (one reference count), and many alerts share the texts that they have alike
/// (see `Interner`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations(Arc<[(Arc<str>, Arc<str>)]>);

impl Annotations {
    pub(crate) fn new(pairs: &Pairs<'_>, interner: &mut Interner) -> Self {
        let shared = pairs
            .iter()
            .map(|(name, text)| (interner.intern(name), interner.intern(text)));
        Self(shared.collect())
    }

    /// Returns names and texts in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    pub(crate) fn are(&self, pairs: &Pairs<'_>) -> bool {
        self.iter().eq(pairs.iter())
    }
}

/// Keeps each text once, however many alerts have it. A text that nobody has any more goes when the interner has grown to twice what was
/// in use last: it holds at most twice as many texts as are in use, and [`SWEPT_MIN`].
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    sweep_at: usize,
}

/// So many texts are no reason to look for those that nobody has.
const SWEPT_MIN: usize = 1_024;

impl Interner {
    /// Returns the one copy of `text`.
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.sweep_at.max(SWEPT_MIN) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = self.texts.len() * 2;
        }
        let kept = Arc::<str>::from(text);
        self.texts.insert(Arc::clone(&kept));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_holds() {
        let pairs: Pairs<'_> = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")]
            .into_iter()
            .collect();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "4")]);
    }

    #[test]
    fn texts_are_kept_once_and_go_with_those_who_have_them() {
        let mut interner = Interner::default();
        let kept: Vec<Arc<str>> = (0..1_500)
            .map(|n| interner.intern(&format!("{}", n % 500)))
            .collect();
        assert_eq!(interner.texts.len(), 500);
        assert!(Arc::ptr_eq(&kept[3], &kept[503]));
        for n in 0..100_000 {
            interner.intern(&format!("gone {n}"));
            assert!(interner.texts.len() <= SWEPT_MIN, "{n}");
        }
        assert!(Arc::ptr_eq(&interner.intern("499"), &kept[499]));
    }
}
