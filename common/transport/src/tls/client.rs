//! TLS for HTTPS clients.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::TlsVersion;
use super::files::{TlsFileError, certificates, key, read, roots, system_roots};
use crate::crypto::provider;

/// The time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An established TLS connection of a client.
pub type ClientTlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// A client's files and checks; by default the system's authorities are trusted and no certificate is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsConfig {
    /// The authorities trusted, in PEM; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, in PEM, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server must have, when it is not the one dialled.
    pub server_name: Option<String>,
    /// Believe any server. For tests by operators; whoever is in between reads and changes everything.
    pub insecure_skip_verify: bool,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The protocols offered, in order of preference.
    pub alpn: Vec<Vec<u8>>,
}

/// TLS for a client. The files are read when it is made: make a new one to take over changed files.
pub struct ClientTls {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl ClientTls {
    /// Reads the files; all mistakes come out here.
    pub fn open(config: &ClientTlsConfig) -> Result<Self, TlsFileError> {
        let general = config.ca_file.clone().unwrap_or_default();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(config.min_version.and_later())
            .map_err(TlsFileError::unusable(&general))?;
        let builder = if config.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone))
        } else {
            let roots = match &config.ca_file {
                Some(path) => roots(path, &read(path)?)?,
                None => system_roots()?,
            };
            builder.with_root_certificates(roots)
        };
        let mut tls = match &config.identity {
            None => builder.with_no_client_auth(),
            Some((cert_file, key_file)) => {
                let chain = certificates(cert_file, &read(cert_file)?)?;
                let key = key(key_file, &read(key_file)?)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(TlsFileError::unusable(cert_file))?
            }
        };
        tls.alpn_protocols.clone_from(&config.alpn);
        Ok(Self {
            connector: TlsConnector::from(Arc::new(tls)),
            server_name: config.server_name.clone(),
        })
    }

    /// Does the handshake with `host` (a name, or an address without port) on an open connection, within 10 s.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<ClientTlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        timeout(HANDSHAKE_TIMEOUT, self.connector.connect(name, stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// Believes every server, as `insecure_skip_verify` asks; signatures are checked all the same.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
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
