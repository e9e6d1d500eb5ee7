//! An agent's identity: its key, its certificate and the root that it trusts, kept in one file beside the spool.
//!
//! `identity.pem` (mode 0600) holds the private key and the chain, leaf first, root last, and is replaced as a whole: after a crash
//! key and certificate belong together. A renewal makes a new key; until the aggregator has answered, the old pair serves on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use files::{FileSystem, SharedFileSystem};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::authority::Fingerprint;
use crate::certificate::{CertificateError, HotCertificate, KeyAndChain, Validity, identity_of};
use crate::folder::{FolderError, read_bounded, write_private};
use crate::peer::PeerIdentity;
use crate::text::push_pem;

const FILE: &str = "identity.pem";
/// Certificates in a chain: leaf, root and a few between.
pub(crate) const CHAIN_MAX: usize = 5;

/// Why an identity cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its file holds something else.
    #[error(
        "cannot use {path}: it must hold a private key and its certificates in PEM; remove it and join again with a new token"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Option<CertificateError>,
    },
    /// A key or a request could not be made.
    #[error("cannot make a key and a certificate signing request")]
    Key(#[source] rcgen::Error),
    /// The certificate that was received cannot be used.
    #[error("cannot use the certificate that the aggregator issued")]
    Issued(#[from] CertificateError),
    /// The certificate that was received is for somebody else, or from somebody else.
    #[error("cannot use the certificate that the aggregator issued: {what}")]
    Foreign {
        /// What does not fit.
        what: &'static str,
    },
}

/// A new key that has no certificate yet.
pub struct PendingKey {
    key: KeyPair,
    request: Vec<u8>,
}

impl PendingKey {
    /// Makes a key and its signing request.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Key)?;
        let mut params = CertificateParams::default();
        // Empty: the authority decides all names.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key);
        let request = request.map_err(IdentityError::Key)?.der().to_vec();
        Ok(Self { key, request })
    }

    /// Returns the signing request (DER).
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Returns the key and its chain as they stand in a file.
    pub(crate) fn to_pem(&self, chain: &[CertificateDer<'_>]) -> String {
        let mut text = String::new();
        push_pem(&mut text, "PRIVATE KEY", self.key.serialized_der());
        for certificate in chain {
            push_pem(&mut text, "CERTIFICATE", certificate);
        }
        text
    }
}

impl fmt::Debug for PendingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingKey")
    }
}

/// The identity that an agent shows, on disk and in memory. Shared by reference count between connector and uplink.
#[derive(Debug)]
pub struct IdentityStore {
    files: SharedFileSystem,
    path: PathBuf,
    clock: SharedClock,
    peer: PeerIdentity,
    root: CertificateDer<'static>,
    hot: Arc<HotCertificate>,
}

impl IdentityStore {
    /// Opens the identity in `folder`; `None` when the agent has not joined yet.
    pub fn open(
        files: SharedFileSystem,
        folder: &Path,
        clock: SharedClock,
    ) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE);
        let Some(text) = read_bounded(&*files, &path)? else {
            return Ok(None);
        };
        let damaged = |source| IdentityError::Damaged {
            path: path.clone(),
            source,
        };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| damaged(None))?;
        let chain = CertificateDer::pem_slice_iter(&text)
            .take(CHAIN_MAX + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| damaged(None))?;
        let root = root_of(&chain).ok_or_else(|| damaged(None))?;
        let peer = identity_of(&chain[0]).map_err(|error| damaged(Some(error)))?;
        let pair = KeyAndChain::new(key, chain).map_err(|error| damaged(Some(error)))?;
        Ok(Some(Self {
            files,
            path,
            clock,
            peer,
            root,
            hot: Arc::new(HotCertificate::new(pair)),
        }))
    }

    /// Keeps the identity that a join gave, in `folder`.
    pub fn create(
        files: SharedFileSystem,
        folder: &Path,
        clock: SharedClock,
        key: &PendingKey,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let root = root_of(&chain).ok_or(CertificateError::Empty)?;
        let peer = identity_of(&chain[0])?;
        let path = folder.join(FILE);
        let pair = store(&*files, &path, key, chain)?;
        Ok(Self {
            files,
            path,
            clock,
            peer,
            root,
            hot: Arc::new(HotCertificate::new(pair)),
        })
    }

    /// Returns who the agent is.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// Returns the fingerprint of the authority that the agent trusts.
    pub fn authority(&self) -> Fingerprint {
        Fingerprint::of(&self.root)
    }

    /// Returns how long the present certificate is valid.
    pub fn validity(&self) -> Validity {
        self.hot.current().validity()
    }

    /// Returns how long until the certificate should be renewed: at two thirds of its life; zero when that has passed.
    pub fn renewal_in(&self) -> Duration {
        self.validity().renewal_in(self.clock.wall())
    }

    /// Takes over a renewed certificate: writes it, then shows it in new handshakes. Open connections go on. When it fails the
    /// present certificate stays.
    pub fn renew(
        &self,
        key: &PendingKey,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<(), IdentityError> {
        let root = root_of(&chain).ok_or(CertificateError::Empty)?;
        let foreign = |what| Err(IdentityError::Foreign { what });
        if root != self.root {
            return foreign("it leads to another root");
        }
        if identity_of(&chain[0])?.agent() != self.peer.agent() {
            return foreign("it names another agent");
        }
        if Validity::of(&chain[0])?.not_after <= self.clock.wall() {
            return foreign("it has expired already; compare the clocks of both machines");
        }
        self.hot
            .replace(store(&*self.files, &self.path, key, chain)?);
        tracing::info!(agent = %self.peer.agent(), "renewed the certificate");
        Ok(())
    }

    pub(crate) fn hot(&self) -> &Arc<HotCertificate> {
        &self.hot
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // A root that cannot be read trusts nobody: the handshake then says so.
        roots.add_parsable_certificates([self.root.clone()]);
        roots
    }
}

fn root_of(chain: &[CertificateDer<'static>]) -> Option<CertificateDer<'static>> {
    let fits = (2..=CHAIN_MAX).contains(&chain.len());
    chain.last().filter(|_| fits).cloned()
}

fn store(
    files: &dyn FileSystem,
    path: &Path,
    key: &PendingKey,
    chain: Vec<CertificateDer<'static>>,
) -> Result<KeyAndChain, IdentityError> {
    let text = key.to_pem(&chain);
    let der = PrivatePkcs8KeyDer::from(key.key.serialize_der());
    // Refuses a certificate of another key before the old one is overwritten.
    let pair = KeyAndChain::new(PrivateKeyDer::Pkcs8(der), chain)?;
    write_private(files, path, text.as_bytes())?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use clock::SimulatedClock;
    use files::Disk;

    use super::*;
    use crate::Authority;

    fn clock() -> Arc<SimulatedClock> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Arc::new(SimulatedClock::starting_at(wall))
    }

    fn identity(agent: &str) -> PeerIdentity {
        PeerIdentity::new(agent.parse().unwrap(), Some("c"), None).unwrap()
    }

    #[test]
    fn an_identity_survives_a_restart_and_a_renewal() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let ca = Authority::open_or_create(
            &Disk,
            &folder.path().join("ca"),
            Arc::<SimulatedClock>::clone(&clock),
        )
        .unwrap();
        let home = folder.path().join("agent");
        assert!(
            IdentityStore::open(Arc::new(Disk), &home, Arc::<SimulatedClock>::clone(&clock))
                .unwrap()
                .is_none()
        );

        let key = PendingKey::generate().unwrap();
        let chain = ca.issue_agent(key.request(), &identity("n1")).unwrap();
        let made = IdentityStore::create(
            Arc::new(Disk),
            &home,
            Arc::<SimulatedClock>::clone(&clock),
            &key,
            chain,
        )
        .unwrap();
        assert_eq!(made.authority(), ca.fingerprint());
        let first_end = made.validity().not_after;

        clock.advance(made.renewal_in());
        assert_eq!(made.renewal_in(), Duration::ZERO);
        let key = PendingKey::generate().unwrap();
        let chain = ca.issue_agent(key.request(), &identity("n1")).unwrap();
        made.renew(&key, chain).unwrap();
        assert!(made.validity().not_after > first_end);
        assert!(made.renewal_in() > Duration::from_secs(15 * 3_600));

        let again = IdentityStore::open(Arc::new(Disk), &home, clock)
            .unwrap()
            .unwrap();
        assert_eq!(again.peer(), &identity("n1"));
        assert_eq!(again.validity(), made.validity());
    }

    #[test]
    fn a_renewal_for_somebody_else_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let ca = Authority::open_or_create(
            &Disk,
            &folder.path().join("ca"),
            Arc::<SimulatedClock>::clone(&clock),
        )
        .unwrap();
        let other = Authority::open_or_create(
            &Disk,
            &folder.path().join("other"),
            Arc::<SimulatedClock>::clone(&clock),
        )
        .unwrap();
        let key = PendingKey::generate().unwrap();
        let chain = ca.issue_agent(key.request(), &identity("n1")).unwrap();
        let store =
            IdentityStore::create(Arc::new(Disk), folder.path(), clock, &key, chain).unwrap();
        let before = std::fs::read(folder.path().join(FILE)).unwrap();

        let next = PendingKey::generate().unwrap();
        let another_agent = ca.issue_agent(next.request(), &identity("n2")).unwrap();
        let another_root = other.issue_agent(next.request(), &identity("n1")).unwrap();
        let another_key = ca.issue_agent(key.request(), &identity("n1")).unwrap();
        for bad in [another_agent, another_root, another_key, Vec::new()] {
            assert!(store.renew(&next, bad).is_err());
        }
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), before);
    }

    #[test]
    fn a_damaged_file_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();
        let error = IdentityStore::open(Arc::new(Disk), folder.path(), clock()).unwrap_err();
        assert!(error.to_string().contains("identity.pem"), "{error}");
    }
}
