//! The side that dials: the second of the pair.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Deadline, SharedClock};
use files::SharedFileSystem;
use runtime::{Backoff, Token};
use transport::{
    CertificateDer, ConnectError, Connection, Connector, ConnectorConfig, IdentityError,
    IdentityStore, JoinError, JoinToken, PendingKey, join,
};
use wire::PairMessage;

use crate::link::{Certificates, End, Link};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a renewal that failed is left alone.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What dialling needs.
#[derive(Clone, Debug)]
pub struct Dialling {
    /// `HOST:PORT` of the one that listens.
    pub target: String,
    /// By which it joins, as long as it has no identity of that authority.
    pub token: Option<JoinToken>,
    /// Where the identity is kept.
    pub folder: PathBuf,
    /// The files.
    pub files: SharedFileSystem,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "{folder} holds no identity of the pair; give the token that `promontory token create --peer` makes at {target} (--cluster.token-file)"
    )]
    NoToken { folder: PathBuf, target: String },
}

/// Keeps the link to the one that listens until `stop`. Whatever is wrong is said and tried again: alerting goes on alone meanwhile.
pub async fn dial(link: Link, dialling: Dialling, stop: Token) {
    let mut rng = fastrand::Rng::new();
    let mut backoff = Backoff::new(Backoff::FLOOR, PAUSE_MAX);
    while !stop.is_stopped() {
        let Some(ended) = stop.run(dialling.connect(&link)).await else {
            return;
        };
        match ended {
            // The connector goes on until its connection is over.
            Ok((_connector, connection, identity)) => {
                let renewing = Renewing::new(identity, link.timer.clock());
                let end = link.drive(&connection, &renewing, &stop).await;
                if !matches!(end, End::Version { .. } | End::Unexpected(_)) {
                    backoff.reset();
                }
                tracing::warn!(peer = dialling.target, %end, "the pair's link is down; both tell");
            }
            Err(error) => {
                tracing::warn!(peer = dialling.target, %error, "the pair's link cannot be made yet");
            }
        }
        let pause = backoff.next(&mut rng);
        if stop.run(link.timer.sleep(pause)).await.is_none() {
            return;
        }
    }
}

impl Dialling {
    async fn connect(
        &self,
        link: &Link,
    ) -> Result<(Connector, Connection, IdentityStore), DialError> {
        let identity = self.identity(link).await?;
        let connector = Connector::new(&connector_config(), &identity)?;
        let connection = connector.connect(&self.target).await?;
        Ok((connector, connection, identity))
    }

    /// Returns the identity: the present one, unless the token is of another authority.
    async fn identity(&self, link: &Link) -> Result<IdentityStore, DialError> {
        let clock = || SharedClock::clone(link.timer.clock());
        let present = IdentityStore::open(Arc::clone(&self.files), &self.folder, clock())?;
        let token = match (present, &self.token) {
            (Some(present), Some(token)) if present.authority() != token.authority() => token,
            (Some(present), _) => return Ok(present),
            (None, Some(token)) => token,
            (None, None) => {
                return Err(DialError::NoToken {
                    folder: self.folder.clone(),
                    target: self.target.clone(),
                });
            }
        };
        let config = connector_config();
        let joined = join(
            &config,
            &self.target,
            token,
            &link.config.name,
            Arc::clone(&self.files),
            &self.folder,
            clock(),
        );
        let identity = joined.await?;
        tracing::info!(peer = self.target, "joined the pair");
        Ok(identity)
    }
}

fn connector_config() -> ConnectorConfig {
    ConnectorConfig {
        target_setting: "--cluster.peer",
        ..ConnectorConfig::default()
    }
}

/// Has the certificate renewed when two thirds of its life have passed.
struct Renewing {
    identity: IdentityStore,
    clock: SharedClock,
    state: Mutex<Renewal>,
}

#[derive(Debug)]
struct Renewal {
    after: Deadline,
    key: Option<PendingKey>,
}

impl Renewing {
    fn new(identity: IdentityStore, clock: &SharedClock) -> Self {
        let after = Deadline::after(clock.monotonic(), identity.renewal_in());
        Self {
            identity,
            clock: SharedClock::clone(clock),
            state: Mutex::new(Renewal { after, key: None }),
        }
    }

    fn state(&self) -> MutexGuard<'_, Renewal> {
        // At worst a renewal is asked for again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, chain: Vec<Vec<u8>>) -> Result<(), &'static str> {
        let Some(key) = self.state().key.take() else {
            return Err("a certificate that nobody asked for");
        };
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        match self.identity.renew(&key, chain) {
            Ok(()) => {
                let next = self.identity.renewal_in();
                self.state().after = Deadline::after(self.clock.monotonic(), next);
                tracing::info!("renewed the certificate for the pair");
            }
            Err(error) => tracing::error!(%error, "the certificate for the pair was not renewed"),
        }
        Ok(())
    }
}

impl Certificates for Renewing {
    fn due(&self) -> Option<PairMessage> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if !state.after.passed(now) {
            return None;
        }
        state.after = Deadline::after(now, RENEWAL_PAUSE);
        match PendingKey::generate() {
            Ok(key) => {
                let request = key.request().to_vec();
                state.key = Some(key);
                Some(PairMessage::Renew { request })
            }
            Err(error) => {
                tracing::error!(%error, "cannot make a key for the renewal of the certificate for the pair");
                None
            }
        }
    }

    fn take(&self, message: PairMessage) -> Result<Option<PairMessage>, &'static str> {
        match message {
            PairMessage::Certificate { chain } => self.renew(chain).map(|()| None),
            PairMessage::RenewalRefused { message } => {
                tracing::error!(message, "the certificate for the pair was not renewed");
                Ok(None)
            }
            _ => Err("only the one that dials asks for certificates"),
        }
    }
}
