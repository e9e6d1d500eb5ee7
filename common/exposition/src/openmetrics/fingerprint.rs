//! Label sets and names as numbers, so that remembering what came before costs 8 bytes and no allocation.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use crate::series::{LabelPairs, Text};

/// A label set's or name's mark under a key that only this parser knows.
///
/// Two that differ share a mark by chance once in 2^64 pairs: a family of 100,000 metrics is refused wrongly once in some billion
/// parses, and no input can be made so that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64);

/// A set of marks, which are hashes already.
pub(super) type FingerprintSet = HashSet<Fingerprint, BuildHasherDefault<Itself>>;

/// "Hashes" a mark to itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, mark: u64) {
        self.0 = mark;
    }
}

impl Fingerprint {
    /// Returns the mark of both together, in whatever order.
    fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// The key.
#[derive(Clone, Debug, Default)]
pub(super) struct Fingerprints(RandomState);

/// The marks of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// Of its labels without the reserved one: of its metric.
    pub(super) group: Fingerprint,
    /// Of its suffix and all labels: of its series.
    pub(super) series: Fingerprint,
}

impl Fingerprints {
    pub(super) fn of(&self, value: impl Hash) -> Fingerprint {
        Fingerprint(self.0.hash_one(&value))
    }

    /// Returns the marks of a sample; a label with an empty value counts as absent.
    pub(super) fn of_sample(
        &self,
        suffix: &str,
        labels: LabelPairs<'_>,
        is_reserved: impl Fn(Text<'_>) -> bool,
    ) -> Marks {
        let mut group = Fingerprint::default();
        let mut series = self.of(suffix);
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let pair = self.of((name, value));
            series = series.and(pair);
            if !is_reserved(name) {
                group = group.and(pair);
            }
        }
        Marks { group, series }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_empty_values_do_not_matter() {
        let keys = Fingerprints::default();
        let marks = |text| keys.of_sample("_bucket", LabelPairs::new(text), |name| name == "le");
        let of = |text| marks(text).group;
        assert_eq!(of("a=\"1\",b=\"2\""), of("b=\"2\",a=\"1\",c=\"\""));
        assert_eq!(of("a=\"1\",le=\"1\""), of("le=\"2\",\"a\"=\"1\""));
        assert_ne!(of("a=\"1\""), of("a=\"2\""));
        assert_ne!(of("a=\"1\""), of(""));
        assert_ne!(
            marks("a=\"1\",le=\"1\"").series,
            marks("a=\"1\",le=\"2\"").series
        );
    }
}
