//! The aggregator's own certificate authority.
//!
//! One folder, two files: `authority.pem` (key and root certificate, mode 0600) and `root.pem` (the root alone, for people and
//! tools). The root is an ECDSA P-256 key valid for ten years; leaves live a day and are replaced at two thirds of it. A
//! certificate is valid from one hour before it is made, so that a peer whose clock is a little off gets as far as the session,
//! where the difference is measured and said in words.
//!
//! The authority decides every name in a certificate; of a signing request only the public key is taken, after its signature
//! was checked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clock::SharedClock;
use files::FileSystem;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

use crate::certificate::{CertificateError, KeyAndChain, Validity};
use crate::crypto::{NoRandomness, random, sha256};
use crate::folder::{FolderError, read_bounded, write_private, write_public};
use crate::peer::PeerIdentity;
use crate::reset::ResetKey;
use crate::text::{hex, push_pem};

/// The name in every server certificate, whatever address it is dialled by: agents check it rather than host names, since only
/// the authority issues certificates for servers.
pub const SERVER_NAME: &str = "aggregator.promontory.internal";

const ROOT_LIFE: Duration = Duration::from_secs(3_652 * 24 * 3_600);
const BACKDATED: Duration = Duration::from_secs(3_600);
/// The longest signing request that is looked at; ours have about 200 bytes.
pub const SIGNING_REQUEST_BYTES_MAX: usize = 4_096;
const FILE: &str = "authority.pem";
const ROOT_FILE: &str = "root.pem";

/// The SHA-256 of a root certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(sha256(&[certificate]))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the authority cannot be opened or cannot issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its file holds something else.
    #[error(
        "cannot use {path}: it must hold the private key and the root certificate in PEM; restore it from a backup, or remove it to begin a new authority (every agent must then join again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The root has expired.
    #[error(
        "the root certificate in {path} has expired; remove it to begin a new authority (every agent must then join again)"
    )]
    Expired {
        /// The file.
        path: PathBuf,
    },
    /// The signing request is not one, or its signature is wrong.
    #[error("the certificate signing request is malformed or not signed by its own key")]
    Request,
    /// A name cannot stand in a certificate.
    #[error(
        "cannot issue a server certificate for {name:?}: it is neither a host name nor an IP address"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Key or certificate could not be made.
    #[error("cannot make a certificate")]
    Issue(#[source] rcgen::Error),
    /// What was made cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// A certificate authority with its private key.
pub struct Authority {
    clock: SharedClock,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    leaf_life: Duration,
}

impl Authority {
    /// How long leaves live unless told otherwise.
    pub const LEAF_LIFE: Duration = Duration::from_secs(24 * 3_600);

    /// Opens the authority in `folder`, or makes the folder and a new authority there.
    pub fn open_or_create(
        files: &dyn FileSystem,
        folder: &Path,
        clock: SharedClock,
    ) -> Result<Self, AuthorityError> {
        let path = folder.join(FILE);
        let authority = match read_bounded(files, &path)? {
            Some(text) => Self::from_pem(&text, clock, &path)?,
            None => Self::create(files, folder, clock)?,
        };
        // Written each time: people delete or overwrite what looks like a copy.
        let mut public = String::new();
        push_pem(&mut public, "CERTIFICATE", &authority.root);
        write_public(files, &folder.join(ROOT_FILE), public.as_bytes())?;
        Ok(authority)
    }

    /// Changes how long new leaves live.
    #[must_use]
    pub fn with_leaf_life(mut self, leaf_life: Duration) -> Self {
        self.leaf_life = leaf_life;
        self
    }

    /// Returns the fingerprint that join tokens carry.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.root)
    }

    /// Returns the root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Returns the key by which an aggregator ends the connections of the process before it.
    pub(crate) fn reset_key(&self) -> ResetKey {
        ResetKey::derive(self.issuer.key().serialized_der())
    }

    /// Returns the clock that the authority dates certificates by.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Issues a server certificate with a new key, for [`SERVER_NAME`] and for `names` (host names and IP addresses).
    pub fn issue_server(&self, names: &[String]) -> Result<KeyAndChain, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Issue)?;
        let mut params = self.leaf("promontory aggregator", ExtendedKeyUsagePurpose::ServerAuth)?;
        for name in std::iter::once(SERVER_NAME).chain(names.iter().map(String::as_str)) {
            params.subject_alt_names.push(server_name(name)?);
        }
        let chain = self.sign(&params, &key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(KeyAndChain::new(key, chain)?)
    }

    /// Issues an agent's certificate for the public key of the signing request `request` (DER); returns the chain, leaf first,
    /// root last. Whatever else the request asks for is ignored.
    pub fn issue_agent(
        &self,
        request: &[u8],
        identity: &PeerIdentity,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        if request.len() > SIGNING_REQUEST_BYTES_MAX {
            return Err(AuthorityError::Request);
        }
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
                .map_err(|_| AuthorityError::Request)?;
        let mut params = self.leaf("promontory agent", ExtendedKeyUsagePurpose::ClientAuth)?;
        let uri = identity.to_string().try_into();
        let uri = uri.map_err(AuthorityError::Issue)?;
        params.subject_alt_names.push(SanType::URI(uri));
        self.sign(&params, &request.public_key)
    }

    fn create(
        files: &dyn FileSystem,
        folder: &Path,
        clock: SharedClock,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Issue)?;
        // A name of its own: with one name for all, a verifier takes another authority's certificate for a forged one of this.
        let name = format!("promontory authority {}", hex(&random::<8>()?));
        let mut params = params(&name, clock.wall(), ROOT_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(AuthorityError::Issue)?;
        let mut text = String::new();
        push_pem(&mut text, "PRIVATE KEY", key.serialized_der());
        push_pem(&mut text, "CERTIFICATE", root.der());
        write_private(files, &folder.join(FILE), text.as_bytes())?;
        let root = root.der().clone();
        tracing::info!(folder = %folder.display(), fingerprint = %Fingerprint::of(&root), "made a certificate authority");
        Ok(Self {
            clock,
            issuer: Issuer::new(params, key),
            root,
            leaf_life: Self::LEAF_LIFE,
        })
    }

    fn from_pem(text: &[u8], clock: SharedClock, path: &Path) -> Result<Self, AuthorityError> {
        let damaged = || AuthorityError::Damaged {
            path: path.to_owned(),
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|_| damaged())?;
        let key = KeyPair::try_from(&key).map_err(|_| damaged())?;
        let root = CertificateDer::from_pem_slice(text).map_err(|_| damaged())?;
        if Validity::of(&root)?.not_after <= clock.wall() {
            return Err(AuthorityError::Expired {
                path: path.to_owned(),
            });
        }
        // Refuses a certificate of another key, which would issue leaves that nobody accepts.
        let pair = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        KeyAndChain::new(pair, vec![root.clone()]).map_err(|_| damaged())?;
        let issuer = Issuer::from_ca_cert_der(&root, key).map_err(|_| damaged())?;
        Ok(Self {
            clock,
            issuer,
            root,
            leaf_life: Self::LEAF_LIFE,
        })
    }

    fn leaf(
        &self,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<CertificateParams, AuthorityError> {
        let mut params = params(common_name, self.clock.wall(), self.leaf_life)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl rcgen::PublicKeyData,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let leaf = params.signed_by(key, &self.issuer);
        let leaf = leaf.map_err(AuthorityError::Issue)?;
        Ok(vec![leaf.der().clone(), self.root.clone()])
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .field("leaf_life", &self.leaf_life)
            .finish_non_exhaustive()
    }
}

fn params(
    common_name: &str,
    now: SystemTime,
    life: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATED);
    params.not_after = epoch + since_epoch + life;
    let mut serial = random::<16>()?;
    serial[0] &= 0x7f; // a positive number, as RFC 5280 asks
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    let refused = || AuthorityError::Name {
        name: name.to_owned(),
    };
    match rustls_pki_types::ServerName::try_from(name).map_err(|_| refused())? {
        rustls_pki_types::ServerName::IpAddress(ip) => Ok(SanType::IpAddress(ip.into())),
        _ => Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SimulatedClock;
    use files::Disk;

    use super::*;
    use crate::certificate::identity_of;

    fn clock() -> SharedClock {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Arc::new(SimulatedClock::starting_at(wall))
    }

    #[test]
    fn a_reopened_authority_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("ca");
        let first = Authority::open_or_create(&Disk, &inside, clock()).unwrap();
        let again = Authority::open_or_create(&Disk, &inside, clock()).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(inside.join(FILE))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn the_token_decides_the_identity_not_the_request() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(&Disk, folder.path(), clock()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut asked = CertificateParams::new(vec!["root.example".to_owned()]).unwrap();
        asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = asked.serialize_request(&key).unwrap();
        let identity = PeerIdentity::new("n1".parse().unwrap(), Some("prod"), None).unwrap();
        let chain = authority.issue_agent(request.der(), &identity).unwrap();
        assert_eq!(identity_of(&chain[0]).unwrap(), identity);
        let parsed = x509_parser::parse_x509_certificate(&chain[0]).unwrap().1;
        assert!(!parsed.is_ca());
        assert_eq!(chain[1], *authority.root());
    }

    #[test]
    fn requests_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(&Disk, folder.path(), clock()).unwrap();
        let identity = PeerIdentity::new("n1".parse().unwrap(), None, None).unwrap();
        let key = KeyPair::generate().unwrap();
        let good = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let mut forged = good.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        for bad in [
            &forged[..],
            &[],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0; 5_000],
        ] {
            assert!(matches!(
                authority.issue_agent(bad, &identity),
                Err(AuthorityError::Request)
            ));
        }
    }

    #[test]
    fn a_damaged_file_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        drop(Authority::open_or_create(&Disk, folder.path(), clock()).unwrap());
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let other = tempfile::tempdir().unwrap();
        drop(Authority::open_or_create(&Disk, other.path(), clock()).unwrap());
        let foreign = std::fs::read_to_string(other.path().join(FILE)).unwrap();
        let (key, _) = text.split_once("-----BEGIN CERTIFICATE").unwrap();
        let (_, certificate) = foreign.split_once("-----BEGIN CERTIFICATE").unwrap();
        let mixed = format!("{key}-----BEGIN CERTIFICATE{certificate}");
        for bad in ["", "nonsense", key, &mixed] {
            std::fs::write(&path, bad).unwrap();
            let error = Authority::open_or_create(&Disk, folder.path(), clock()).unwrap_err();
            assert!(error.to_string().contains("authority.pem"), "{error}");
        }
    }

    #[test]
    fn two_thirds_of_a_life_are_sixteen_hours() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let authority =
            Authority::open_or_create(&Disk, folder.path(), Arc::clone(&clock)).unwrap();
        let pair = authority
            .issue_server(&["localhost".to_owned(), "::1".to_owned()])
            .unwrap();
        let due = pair.validity().renewal_in(clock.wall());
        // 25 h from the backdated start to the end; two thirds of them after that start.
        assert_eq!(due, Duration::from_secs(25 * 3_600 * 2 / 3 - 3_600));
        assert!(authority.issue_server(&["a b".to_owned()]).is_err());
    }
}
