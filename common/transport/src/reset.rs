//! Telling agents at once that the aggregator they were connected to has died.
//!
//! A QUIC server that was killed leaves peers that send into the void until their timers run out. The next process on the port does
//! not know their connections, but can say so if it can make the tokens that the last one gave out (RFC 9000, 10.3). So their key is
//! derived from the authority's private key, which stays the same over restarts.

use quinn_proto::crypto::{CryptoError, HmacKey};
use rustls::crypto::tls13::OkmBlock;

use crate::crypto::{hmac_sha256, sha256};

/// Keeps this use of the private key apart from all others.
const PURPOSE: &[u8] = b"promontory stateless reset 1";
const SIGNATURE_BYTES: usize = 32;

/// The secret behind connection ids and the tokens that end them.
#[derive(Clone)]
pub(crate) struct ResetKey([u8; 32]);

impl ResetKey {
    /// Derives the key from the private key of an authority.
    pub(crate) fn derive(private_key: &[u8]) -> Self {
        Self(sha256(&[PURPOSE, private_key]))
    }

    /// Returns the key by which a server knows its connection ids again.
    pub(crate) fn of_connection_ids(&self) -> u64 {
        let mut key = [0; 8];
        key.copy_from_slice(&self.signature(b"connection ids")[..8]);
        u64::from_le_bytes(key)
    }

    fn signature(&self, data: &[u8]) -> [u8; SIGNATURE_BYTES] {
        hmac_sha256(&OkmBlock::new(&self.0), data)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.signature(data));
    }

    fn signature_len(&self) -> usize {
        SIGNATURE_BYTES
    }

    /// Tokens are compared by those who got them; nobody asks here.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let is_ours = self.signature(data) == signature;
        is_ours.then_some(()).ok_or(CryptoError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_authority_makes_the_same_tokens_and_another_one_others() {
        let token = |key: &[u8]| ResetKey::derive(key).signature(b"a connection id");
        assert_eq!(token(b"one"), token(b"one"));
        assert_ne!(token(b"one"), token(b"two"));
        let ids = |key: &[u8]| ResetKey::derive(key).of_connection_ids();
        assert_eq!(ids(b"one"), ids(b"one"));
        assert_ne!(ids(b"one"), ids(b"two"));
    }

    #[test]
    fn signatures_are_checked() {
        let key = ResetKey::derive(b"one");
        let mut signature = [0; SIGNATURE_BYTES];
        key.sign(b"data", &mut signature);
        assert!(key.verify(b"data", &signature).is_ok());
        assert!(key.verify(b"date", &signature).is_err());
        assert!(key.verify(b"data", &signature[1..]).is_err());
    }
}
