//! The TLS of agents and aggregators: version 1.3 only, both sides certified, no resumption, no early data.
//!
//! One port serves two protocols, told apart by ALPN: sessions, which need a certificate, and joining, which cannot have one yet.
//! A client certificate that is shown is always verified; that a session shows one is checked right after the handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::SharedClock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as TlsError,
    RootCertStore, ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use wire::{ALPN_JOIN, ALPN_SESSION};

use crate::authority::Fingerprint;
use crate::certificate::HotCertificate;
use crate::crypto::{ClockTime, provider};

/// Returns what the aggregator's port speaks; agents whose certificate expired less than `expired_grace` ago are let in.
pub(crate) fn server_config(
    root: &CertificateDer<'static>,
    certificate: Arc<HotCertificate>,
    clock: SharedClock,
    expired_grace: Duration,
) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::General(error.to_string()))?;
    let verifier = Arc::new(LateRenewal {
        verifier,
        grace: expired_grace,
    });
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN_SESSION.to_vec(), ALPN_JOIN.to_vec()];
    // A resumed session would outlive the certificate that opened it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Returns what an agent speaks once it has an identity.
pub(crate) fn session_config(
    roots: RootCertStore,
    certificate: Arc<HotCertificate>,
    clock: SharedClock,
) -> Result<ClientConfig, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TlsError::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN_SESSION.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Returns what an agent speaks to join: it trusts the one root whose fingerprint its token has.
pub(crate) fn join_config(
    verifier: Arc<PinnedRoot>,
    clock: SharedClock,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Verifies agents, and forgives a certificate that expired while there was nobody to renew it.
///
/// Agents renew over their session. Without this, an aggregator that was away for a day would come back to a fleet that it must
/// refuse, although each agent still proves that it has its key.
#[derive(Debug)]
struct LateRenewal {
    verifier: Arc<dyn ClientCertVerifier>,
    grace: Duration,
}

impl ClientCertVerifier for LateRenewal {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now);
        let Err(TlsError::InvalidCertificate(CertificateError::ExpiredContext {
            not_after, ..
        })) = verified
        else {
            return verified;
        };
        if now.as_secs() > not_after.as_secs().saturating_add(self.grace.as_secs()) {
            return verified;
        }
        // Everything else must hold as it did at the end of its life.
        self.verifier
            .verify_client_cert(end_entity, intermediates, not_after)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Accepts a server whose chain holds the root with a given fingerprint, and verifies under that root.
#[derive(Debug)]
pub(crate) struct PinnedRoot {
    fingerprint: Fingerprint,
    /// Set when a server showed another root: the text of a TLS error cannot carry that.
    mismatch: AtomicBool,
}

impl PinnedRoot {
    pub(crate) fn new(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            mismatch: AtomicBool::new(false),
        }
    }

    /// Returns whether a server without the pinned root was met.
    pub(crate) fn mismatched(&self) -> bool {
        self.mismatch.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let pinned = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.fingerprint);
        let Some(root) = pinned else {
            self.mismatch.store(true, Ordering::Relaxed);
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| TlsError::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
