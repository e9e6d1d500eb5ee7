//! TLS for HTTPS servers.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsVersion;
use super::files::{TlsFileError, certificates, key, read, roots};
use crate::crypto::{provider, sha256};

/// The time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An established TLS connection of a server.
pub type ServerTlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// What is asked of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate, if they have one; it must be of an authority in this file.
    IfGiven(PathBuf),
    /// A certificate of an authority in this file.
    Required(PathBuf),
}

/// A server's files and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTlsConfig {
    /// The certificate and those above it, in PEM, leaf first.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The protocols offered, in order of preference (`h2`, `http/1.1`); none: no negotiation.
    pub alpn: Vec<Vec<u8>>,
}

/// TLS for a server. Shared by reference count; each handshake uses the newest usable files.
pub struct ServerTls {
    config: ServerTlsConfig,
    current: Mutex<Loaded>,
}

struct Loaded {
    tls: Arc<ServerConfig>,
    /// Of the files that it was made from, or that turned out to be unusable since.
    digest: [u8; 32],
}

/// The bytes of the files.
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    clients: Option<(PathBuf, Vec<u8>)>,
}

impl ServerTls {
    /// Reads the files; all mistakes come out here, at start.
    pub fn open(config: ServerTlsConfig) -> Result<Self, TlsFileError> {
        let files = Files::read(&config)?;
        let current = Mutex::new(Loaded {
            tls: Arc::new(build(&config, &files)?),
            digest: files.digest(),
        });
        Ok(Self { config, current })
    }

    /// Does the handshake on an accepted connection, within 10 s.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerTlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.reload();
        let tls = Arc::clone(&self.current().tls);
        let accepting = TlsAcceptor::from(tls).accept(stream);
        timeout(HANDSHAKE_TIMEOUT, accepting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes over changed files; broken ones are reported, once, and the old ones stay.
    fn reload(&self) {
        let files = match Files::read(&self.config) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "cannot read the TLS files again; the certificate in use stays");
                return;
            }
        };
        let digest = files.digest();
        let mut current = self.current();
        if current.digest == digest {
            return;
        }
        current.digest = digest;
        match build(&self.config, &files) {
            Ok(tls) => {
                current.tls = Arc::new(tls);
                tracing::info!(file = %self.config.cert_file.display(), "took over the changed TLS files");
            }
            Err(error) => {
                tracing::error!(%error, "cannot use the changed TLS files; the certificate in use stays");
            }
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // Digest and configuration may disagree after a panic: the files are then read once more.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Returns the alternative names in the certificate that the client of `stream` showed: host names, addresses as text, mail
/// addresses and URIs. Empty when it showed none.
pub fn client_names<S>(stream: &ServerTlsStream<S>) -> Vec<String> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(Ok((_, leaf))) = chain.first().map(|leaf| X509Certificate::from_der(leaf)) else {
        return Vec::new();
    };
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

impl Files {
    fn read(config: &ServerTlsConfig) -> Result<Self, TlsFileError> {
        let clients = match &config.client_auth {
            ClientAuth::None => None,
            ClientAuth::IfGiven(path) | ClientAuth::Required(path) => {
                Some((path.clone(), read(path)?))
            }
        };
        Ok(Self {
            cert: read(&config.cert_file)?,
            key: read(&config.key_file)?,
            clients,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let clients = self.clients.as_ref().map(|(_, pem)| &pem[..]);
        let digests = [
            sha256(&[&self.cert]),
            sha256(&[&self.key]),
            sha256(&[clients.unwrap_or_default()]),
        ];
        sha256(&[&digests[0], &digests[1], &digests[2]])
    }
}

fn build(config: &ServerTlsConfig, files: &Files) -> Result<ServerConfig, TlsFileError> {
    let unusable = TlsFileError::unusable(&config.cert_file);
    let chain = certificates(&config.cert_file, &files.cert)?;
    let key = key(&config.key_file, &files.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(config.min_version.and_later())
        .map_err(&unusable)?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let roots = Arc::new(roots(path, pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = match config.client_auth {
                ClientAuth::IfGiven(_) => verifier.allow_unauthenticated(),
                ClientAuth::None | ClientAuth::Required(_) => verifier,
            };
            let verifier = verifier.build().map_err(|error| {
                TlsFileError::unusable(path)(rustls::Error::General(error.to_string()))
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut tls = builder.with_single_cert(chain, key).map_err(&unusable)?;
    tls.alpn_protocols.clone_from(&config.alpn);
    Ok(tls)
}
