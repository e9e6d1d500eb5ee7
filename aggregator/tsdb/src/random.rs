//! Random numbers for identities and salts.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a number drawn from the operating system's randomness: the standard library seeds its hash maps with it, which spares a
/// dependency for the few numbers that a store draws.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}
