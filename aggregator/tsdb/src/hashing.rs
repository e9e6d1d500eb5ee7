//! Hashes of labels and of their texts, in memory only: nothing on the disk depends on them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use model::Labels;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Of this process: nobody can choose label sets that collide.
static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

/// Returns the hash of a label set; another for each seed, and in each process.
pub(crate) fn hash_of(labels: &Labels, seed: u64) -> u64 {
    let (text, ends) = labels.packed();
    // Where names and values end is hashed by hand: they are a few numbers, and not bytes.
    let ends = ends.iter().fold(*SECRET ^ seed, |hash, end| {
        (hash.rotate_left(23) ^ u64::from(*end)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    xxh3_64_with_seed(text.as_bytes(), ends)
}

/// Hashes labels of one name; another hash in each process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairHash(u64);

impl PairHash {
    pub(crate) fn of_name(name: &str) -> Self {
        Self(xxh3_64_with_seed(name.as_bytes(), !*SECRET))
    }

    /// Returns the hash of the label with this value.
    pub(crate) fn with(self, value: &str) -> u128 {
        xxh3_128_with_seed(value.as_bytes(), self.0)
    }
}

/// Hashes texts; seeded anew for each map, so nobody can choose texts that collide.
#[derive(Clone, Debug)]
pub(crate) struct TextHash(u64);

impl Default for TextHash {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for TextHash {
    type Hasher = TextHasher;

    fn build_hasher(&self) -> TextHasher {
        TextHasher(self.0)
    }
}

#[derive(Debug)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends a text in a hash: there is one text only.
    fn write_u8(&mut self, _: u8) {}
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// The lower half is a hash as good as the whole.
    #[expect(clippy::cast_possible_truncation, reason = "the half is meant")]
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

/// For numbers that this process gave, whose low bits say little.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_name_ends_and_the_seed_count() {
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
        let sets = [
            labels(&[("a", "bc")]),
            labels(&[("ab", "c")]),
            labels(&[("a", "b"), ("c", "d")]),
            labels(&[("a", "bcd")]),
        ];
        let mut hashes: Vec<u64> = sets
            .iter()
            .flat_map(|set| [hash_of(set, 0), hash_of(set, 1)])
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 8);
        let (one, other) = (TextHash::default(), TextHash::default());
        assert_eq!(one.hash_one("text"), one.hash_one("text"));
        assert_ne!(one.hash_one("text"), other.hash_one("text"));
    }
}
