//! Label sets and names as numbers, so that remembering what came before costs 16 bytes and no allocation.

use std::hash::{BuildHasher, Hash, RandomState};

use crate::series::{LabelPairs, Text};

/// A label set's or name's 128-bit mark under keys that only this parser knows: two differing sets share one with a probability
/// that does not matter, and no input can be made so that they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64, u64);

impl Fingerprint {
    /// Returns the mark of both together, in whatever order.
    fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0), self.1.wrapping_add(other.1))
    }
}

/// The keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Fingerprints(RandomState, RandomState);

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
        Fingerprint(self.0.hash_one(&value), self.1.hash_one(&value))
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
