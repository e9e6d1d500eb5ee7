//! The agent's way to the aggregator.
//!
//! [`Connector::connect`] tries QUIC first, from a fresh socket and with a fresh name look-up, and TCP when QUIC has failed or has not
//! answered within two seconds: a network that swallows UDP costs two seconds, not the connection. While on TCP,
//! [`Connector::better_transport`] tries QUIC again now and then and completes with a new connection once that works; the caller
//! opens its session there, and the aggregator lets the newer connection of an epoch replace the older. Nothing is lost, since
//! batches keep their numbers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use runtime::Task;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connection, TransportKind};
use crate::dialer::Dialer;
use crate::frames::FrameLimit;
use crate::identity::IdentityStore;
use crate::listener::Transports;
use crate::refusal::RefusalReason;
use crate::session_tls::session_config;

/// How long the last packets of closed connections are waited for: three times what QUIC gives a peer to answer, on a slow path.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// Which transports may be used.
    pub transports: Transports,
    /// How long QUIC is alone before TCP is tried beside it.
    pub quic_patience: Duration,
    /// The longest time between two tries of QUIC while on TCP; each waits a random time between half of it and all of it.
    pub probe_interval: Duration,
    /// The setting by which people say where to connect, for messages.
    pub target_setting: &'static str,
    /// Whether UDP datagrams may leave in bunches (GSO); off for network cards that fail at it.
    pub segmentation_offload: bool,
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self {
            transports: Transports::Both,
            quic_patience: Duration::from_secs(2),
            probe_interval: Duration::from_secs(40),
            target_setting: "--aggregator",
            segmentation_offload: true,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address now.
    #[error("cannot resolve {target}; check {setting} (HOST:PORT) and the name service")]
    Resolve {
        /// What was to be resolved.
        target: String,
        /// The setting that says so.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One of the two sides does not want the other; trying again is pointless until somebody acts when
    /// [`RefusalReason::is_final`].
    #[error("refused at {target} over {}: {reason} ({detail})", transport.as_str())]
    Refused {
        /// The address that was dialled.
        target: String,
        /// Over which transport.
        transport: TransportKind,
        /// Why.
        reason: RefusalReason,
        /// What the library, or the peer, says.
        detail: String,
    },
    /// Nothing worked; trying again may.
    #[error(
        "cannot reach {target}: {attempts}; check that the aggregator runs and that UDP or TCP passes to it"
    )]
    Unreachable {
        /// What was dialled.
        target: String,
        /// What was tried, and how it failed.
        attempts: String,
    },
    /// TLS cannot be set up with the identity.
    #[error("cannot set up TLS with the identity")]
    Tls(#[source] rustls::Error),
}

impl ConnectError {
    /// Returns the value of the label `reason` of a counter of failed attempts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Refused { reason, .. } => reason.as_str(),
            Self::Unreachable { .. } => "unreachable",
            Self::Tls(_) => "tls",
        }
    }
}

/// Connects an agent with its aggregator.
#[derive(Debug)]
pub struct Connector {
    dialer: Arc<Dialer>,
    probe_interval: Duration,
    probe: tokio::sync::Mutex<Probe>,
}

/// The search for QUIC while on TCP; kept apart from the future that waits for it, so that cancelling that loses no progress.
#[derive(Debug, Default)]
struct Probe {
    /// When to try next.
    due: Option<Instant>,
    /// The try that runs.
    running: Option<Task<Result<Connection, ConnectError>>>,
}

impl Connector {
    /// Returns a connector that shows the certificate of `identity`, always the newest.
    pub fn new(config: &ConnectorConfig, identity: &IdentityStore) -> Result<Self, ConnectError> {
        let clock = Arc::clone(identity.clock());
        let tls = session_config(identity.roots(), Arc::clone(identity.hot()), clock);
        let tls = tls.map_err(ConnectError::Tls)?;
        Ok(Self {
            dialer: Arc::new(Dialer::new(config, tls, FrameLimit::Session)?),
            probe_interval: config.probe_interval,
            probe: tokio::sync::Mutex::default(),
        })
    }

    /// Connects to `target` (`HOST:PORT`); takes at most about 8 s. Cancelling leaves nothing behind.
    pub async fn connect(&self, target: &str) -> Result<Connection, ConnectError> {
        // What an earlier connection waited for is of no use any more, unless somebody still waits for it.
        if let Ok(mut probe) = self.probe.try_lock() {
            *probe = Probe::default();
        }
        self.dialer.dial(target, self.dialer.transports).await
    }

    /// Tries QUIC alone, once.
    pub async fn probe_quic(&self, target: &str) -> Result<Connection, ConnectError> {
        self.dialer.dial(target, Transports::QuicOnly).await
    }

    /// Completes with a QUIC connection once there is one to be had; for use beside a connection over TCP. Cancelling loses
    /// nothing, not even time: the next call goes on where this one was. Never completes unless both transports may be used.
    pub async fn better_transport(&self, target: &str) -> Connection {
        if self.dialer.transports != Transports::Both {
            return std::future::pending().await;
        }
        let mut probe = self.probe.lock().await;
        loop {
            if let Some(running) = &mut probe.running {
                let result = running.await;
                *probe = Probe::default();
                match result {
                    Ok(Ok(connection)) if connection.end().is_none() => return connection,
                    Ok(Ok(_ended)) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "QUIC still does not work"),
                    Err(error) => tracing::debug!(%error, "the try of QUIC was cut short"),
                }
            }
            let due = *probe.due.get_or_insert_with(|| {
                let part = self.dialer.rng().f64();
                Instant::now() + self.probe_interval.mul_f64(0.5 + part / 2.0)
            });
            sleep_until(due).await;
            let (dialer, target) = (Arc::clone(&self.dialer), target.to_owned());
            let dial = async move { dialer.dial(&target, Transports::QuicOnly).await };
            probe.running = Some(self.dialer.tasks.spawn("probe quic", dial));
        }
    }

    /// Waits until connections that were closed have told their peers, at most a second; before its runtime ends. All of them must have
    /// been dropped.
    pub async fn finish(&self) {
        if timeout(FINISH_WITHIN, self.dialer.tasks.join())
            .await
            .is_err()
        {
            tracing::debug!(
                tasks = self.tasks(),
                "the runtime of connections ends before they did"
            );
        }
    }

    /// Returns how many tasks of connections run.
    pub fn tasks(&self) -> usize {
        self.dialer.tasks.count()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
