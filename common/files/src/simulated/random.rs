//! Decisions from a seed.

/// SplitMix64: small, and good enough to decide which sectors survive.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to and including `most`.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        let choices = most as u64 + 1;
        usize::try_from(self.next() % choices).unwrap_or(most)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}
