//! The one cryptography provider, and the two primitives that the crate needs beside TLS.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use clock::SharedClock;
use rustls::crypto::CryptoProvider;
use rustls::crypto::tls13::OkmBlock;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Returns the provider; named everywhere, so that no process-wide default is ever consulted.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The operating system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("cannot read random bytes from the operating system")]
pub struct NoRandomness;

/// Returns bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    PROVIDER
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Returns the SHA-256 of `parts`, one after another.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .expect("named a TLS 1.3 suite");
    let mut context = suite.common.hash_provider.start();
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Returns the HMAC-SHA-256 of `data`.
pub(crate) fn hmac_sha256(key: &OkmBlock, data: &[u8]) -> [u8; 32] {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .expect("named a TLS 1.3 suite");
    let tag = suite.hkdf_provider.hmac_sign(key, data);
    tag.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Certificates are judged by the program's clock, not by the machine's.
#[derive(Debug)]
pub(crate) struct ClockTime(pub(crate) SharedClock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = self.0.wall().duration_since(SystemTime::UNIX_EPOCH);
        since_epoch.ok().map(UnixTime::since_unix_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = sha256(&[b"a", b"bc"]);
        assert_eq!(crate::text::hex(&digest), expected);
    }
}
