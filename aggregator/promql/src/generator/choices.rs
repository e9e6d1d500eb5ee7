//! Where choices come from.

/// A sequence of choices: endless from a seed, or from bytes until these end, when every choice is the first.
#[derive(Clone, Debug)]
pub struct Choices {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Seed(u64),
    Bytes { bytes: Vec<u8>, at: usize },
}

impl Choices {
    /// Returns the choices of a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            source: Source::Seed(seed),
        }
    }

    /// Returns the choices that bytes make, as a fuzzer changes them.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            source: Source::Bytes {
                bytes: bytes.to_vec(),
                at: 0,
            },
        }
    }

    /// Returns a number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: u32) -> u32 {
        let number = match &mut self.source {
            // SplitMix64: any seed will do, and no dependency is needed.
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ (mixed >> 31)
            }
            Source::Bytes { bytes, at } => {
                let byte = bytes.get(*at).copied().unwrap_or(0);
                *at += 1;
                u64::from(byte)
            }
        };
        u32::try_from(number % u64::from(bound.max(1))).unwrap_or(0)
    }

    /// Returns one of the values.
    ///
    /// # Panics
    /// When there is none.
    pub fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        let bound = u32::try_from(values.len()).unwrap_or(u32::MAX);
        &values[self.below(bound) as usize]
    }

    /// Returns yes in one case of so many, and no when choices have ended.
    pub fn one_in(&mut self, cases: u32) -> bool {
        self.below(cases) == cases.saturating_sub(1)
    }
}
