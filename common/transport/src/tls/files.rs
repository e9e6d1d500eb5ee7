//! Certificates and keys that operators keep in files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The largest file that is read; the bundle of all public authorities has about 250 KB.
const FILE_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// Where systems keep the public authorities.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why TLS cannot be set up from files.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A file cannot be read.
    #[error("cannot read {path} for TLS")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// None of the usual places has authorities.
    #[error("no public authorities found on this system; install ca-certificates or set ca_file")]
    NoSystemRoots,
    /// The files are read but do not fit, or not together.
    #[error("cannot use {path} for TLS")]
    Unusable {
        /// The file that is to blame, as far as one can tell.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

impl TlsFileError {
    pub(super) fn unusable(path: &Path) -> impl Fn(rustls::Error) -> Self {
        move |source| Self::Unusable {
            path: path.to_owned(),
            source,
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let failed = |source| TlsFileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsFileError::Content {
            path: path.to_owned(),
            what: "certificate",
        })
}

pub(super) fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsFileError::Content {
        path: path.to_owned(),
        what: "private key",
    })
}

pub(super) fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    // System bundles contain oddities that no verifier takes; what is left must be something.
    roots.add_parsable_certificates(certificates(path, pem)?);
    if roots.is_empty() {
        return Err(TlsFileError::Content {
            path: path.to_owned(),
            what: "usable authority",
        });
    }
    Ok(roots)
}

pub(super) fn system_roots() -> Result<RootCertStore, TlsFileError> {
    for path in SYSTEM_ROOTS {
        let path = Path::new(path);
        if let Ok(pem) = read(path) {
            return roots(path, &pem);
        }
    }
    Err(TlsFileError::NoSystemRoots)
}
