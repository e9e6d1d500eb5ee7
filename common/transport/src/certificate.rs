//! What the crate reads out of certificates, and the pair of key and chain that TLS shows.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::crypto::provider;
use crate::peer::PeerIdentity;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no certificate.
    #[error("cannot read the certificate: its bytes are not X.509")]
    Malformed,
    /// A chain without a certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// The certificate names no agent.
    #[error(
        "the certificate names no agent: it has no URI of the form spiffe://promontory/.../agent/ID"
    )]
    NoIdentity,
    /// Key and certificate are of different pairs, or of an unsupported kind.
    #[error("cannot use the private key with the certificate")]
    Key(#[source] rustls::Error),
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then.
    pub not_before: SystemTime,
    /// Until then.
    pub not_after: SystemTime,
}

impl Validity {
    /// Reads the validity of a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = parse(certificate)?;
        let time = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        Ok(Self {
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
        })
    }

    /// Returns how long after `now` two thirds of the life have passed; zero when they have.
    pub fn renewal_in(&self, now: SystemTime) -> Duration {
        let life = self
            .not_after
            .duration_since(self.not_before)
            .unwrap_or_default();
        let due = self.not_before + life * 2 / 3;
        due.duration_since(now).unwrap_or_default()
    }
}

/// Reads the identity of an agent from its certificate.
pub(crate) fn identity_of(
    certificate: &CertificateDer<'_>,
) -> Result<PeerIdentity, CertificateError> {
    let parsed = parse(certificate)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| CertificateError::Malformed)?
        .ok_or(CertificateError::NoIdentity)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name {
            Some(*uri)
        } else {
            None
        }
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse().map_err(|_| CertificateError::NoIdentity),
        _ => Err(CertificateError::NoIdentity),
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let (_rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
    Ok(parsed)
}

/// A private key with the chain that certifies it, leaf first.
#[derive(Clone)]
pub struct KeyAndChain {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl KeyAndChain {
    /// Puts a key and its chain together; refuses a key of another pair.
    pub fn new(
        key: PrivateKeyDer<'static>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let validity = Validity::of(leaf)?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Key)?;
        Ok(Self {
            certified: Arc::new(certified),
            validity,
        })
    }

    /// Returns how long the leaf is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Returns the chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl fmt::Debug for KeyAndChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAndChain")
            .field("certificates", &self.chain().len())
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// What TLS shows to peers; changing it concerns new handshakes only, open connections go on.
#[derive(Debug)]
pub(crate) struct HotCertificate {
    current: RwLock<KeyAndChain>,
}

impl HotCertificate {
    pub(crate) fn new(current: KeyAndChain) -> Self {
        Self {
            current: RwLock::new(current),
        }
    }

    pub(crate) fn current(&self) -> KeyAndChain {
        // A replacement is one assignment: a panicking holder cannot leave it half done.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    pub(crate) fn replace(&self, with: KeyAndChain) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = with;
    }
}

impl ResolvesServerCert for HotCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }
}

impl ResolvesClientCert for HotCertificate {
    fn resolve(
        &self,
        _root_hints: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }

    fn has_certs(&self) -> bool {
        true
    }
}
