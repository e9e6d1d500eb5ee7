//! The aggregator's port: QUIC and TLS/TCP side by side, sessions and joining.
//!
//! What reaches the program is authenticated: [`Listener::accept`] hands out connections whose peer showed a certificate of the
//! authority, [`Listener::next_join`] requests from those that have none yet. Everything before that is bounded: handshakes in
//! progress (and the time for each), connections, requests to join. Whoever is turned away is counted by reason.
//!
//! The server's certificate is renewed here at two thirds of its life; open connections do not notice.

mod admission;
mod join;
mod quic;
mod stats;
mod tcp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use runtime::{Permits, QueueReceiver, QueueSender, Tasks, Timer, Token, WhenFull, queue};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, AuthorityError};
use crate::certificate::HotCertificate;
use crate::connection::Connection;
use crate::peer::PeerIdentity;
use crate::quic_runtime::QuicRuntime;
use crate::session_tls::server_config;
use crate::settings::{self, HANDSHAKE_TIMEOUT};
use crate::socket::bind_udp;

pub use join::PendingJoin;
use stats::Counters;
pub use stats::ListenerStats;

/// Connections of peers that join, at a time: more than may wait for an answer, so that those beyond are told to come back.
const JOINING_MAX: u32 = 256;

/// Which transports a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    /// QUIC and TCP on the same port.
    Both,
    /// QUIC alone.
    QuicOnly,
    /// TCP alone.
    TcpOnly,
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// The address of both sockets; with port 0 both get the same free one.
    pub address: SocketAddr,
    /// Which transports.
    pub transports: Transports,
    /// Further names in the server's certificate; agents do not need any.
    pub server_names: Vec<String>,
    /// Connections at a time; further handshakes are refused as busy.
    pub connections_max: u32,
    /// Handshakes at a time, for each transport; further ones are refused as busy.
    pub handshakes_max: u32,
    /// QUIC handshakes in progress beyond which an address must first prove that it is its own (a Retry packet).
    pub retry_above: u32,
    /// The time for a handshake.
    pub handshake_timeout: Duration,
    /// Requests to join that wait for an answer; further ones are refused as busy.
    pub joins_max: usize,
    /// How long after its end an agent's certificate still opens a session, in which it is renewed at once: agents must be able to
    /// come back after a long outage, of theirs or of the aggregator's.
    pub expired_grace: Duration,
    /// The time for joining, from handshake to answer.
    pub join_timeout: Duration,
    /// Whether UDP datagrams may leave in bunches (GSO); off for network cards that fail at it.
    pub segmentation_offload: bool,
    /// The UDP receive buffer that is asked of the kernel.
    pub receive_buffer_bytes: usize,
}

impl ListenerConfig {
    /// Returns the defaults for an address.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            transports: Transports::Both,
            server_names: Vec::new(),
            connections_max: 12_000,
            handshakes_max: 1_024,
            retry_above: 256,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            joins_max: 64,
            expired_grace: Duration::from_secs(30 * 24 * 3_600),
            join_timeout: Duration::from_secs(10),
            segmentation_offload: true,
            receive_buffer_bytes: 4 * 1_024 * 1_024,
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A socket cannot be bound.
    #[error(
        "cannot listen on {address} ({transport}); is another program using the port? Take another one"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be set up with the authority's root.
    #[error("cannot set up TLS with the root certificate")]
    Tls(#[source] rustls::Error),
}

/// A connection that came in, and whose it is.
#[derive(Debug)]
pub struct Accepted {
    /// Who, as the certificate says.
    pub peer: PeerIdentity,
    /// The connection.
    pub connection: Connection,
}

/// The listening port. Dropping it closes the sockets and the connections that came through them.
pub struct Listener {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Tasks,
    stop: Token,
    accepted: Mutex<QueueReceiver<Accepted>>,
    joins: Mutex<QueueReceiver<PendingJoin>>,
}

/// What the tasks of a listener share.
struct Shared {
    config: ListenerConfig,
    certificate: Arc<HotCertificate>,
    /// Replaced as a whole when the authority changes.
    tls: RwLock<Tls>,
    endpoint: Option<quinn::Endpoint>,
    counters: Counters,
    connections: Permits,
    /// Those of peers without a certificate.
    joining: Permits,
    accepted: QueueSender<Accepted>,
    joins: QueueSender<PendingJoin>,
    /// Those of connections and handshakes; they outlive the listening itself.
    tasks: Tasks,
    /// Stopped when the open connections are to end.
    closing: Token,
}

#[derive(Clone)]
struct Tls {
    authority: Arc<Authority>,
    tcp: TlsAcceptor,
    quic: quinn::ServerConfig,
}

impl Listener {
    /// Binds the sockets and begins to serve. Must be called within the runtime.
    pub async fn bind(
        config: ListenerConfig,
        authority: Arc<Authority>,
    ) -> Result<Self, ListenError> {
        let first = authority.issue_server(&config.server_names)?;
        let certificate = Arc::new(HotCertificate::new(first));
        let reset_key = authority.reset_key();
        let tls = Tls::new(&config, authority, &certificate)?;
        let (udp, tcp, address) = bind_sockets(&config).await?;
        let tasks = Tasks::new("listener");
        let garbage = Arc::new(AtomicU64::new(0));
        let quic_runtime = QuicRuntime::new(tasks.clone(), Arc::clone(&garbage));
        let endpoint = udp
            .map(|socket| {
                let settings = settings::server_endpoint(reset_key);
                quinn::Endpoint::new(settings, Some(tls.quic.clone()), socket, quic_runtime)
            })
            .transpose()
            .map_err(|source| ListenError::Bind {
                address,
                transport: "udp",
                source,
            })?;
        let (accepted_in, accepted) = queue("accepted connections", 1_024, WhenFull::Wait);
        let (joins_in, joins) = queue("requests to join", config.joins_max, WhenFull::Reject);
        let shared = Arc::new(Shared {
            connections: Permits::new("connections", config.connections_max),
            joining: Permits::new("joining connections", JOINING_MAX),
            counters: Counters::new(garbage),
            certificate,
            tls: RwLock::new(tls),
            endpoint,
            accepted: accepted_in,
            joins: joins_in,
            tasks: tasks.clone(),
            closing: Token::new(),
            config,
        });
        let stop = Token::new();
        let listener = Self {
            shared,
            address,
            tasks,
            stop,
            accepted: Mutex::new(accepted),
            joins: Mutex::new(joins),
        };
        listener.serve(tcp);
        Ok(listener)
    }

    /// Returns the address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next authenticated connection; `None` after [`stop`](Self::stop). Cancelling loses none.
    pub async fn accept(&self) -> Option<Accepted> {
        let mut accepted = self.accepted.lock().await;
        self.stop.run(accepted.receive()).await.flatten()
    }

    /// Waits for the next request to join; `None` after [`stop`](Self::stop). Cancelling loses none.
    pub async fn next_join(&self) -> Option<PendingJoin> {
        let mut joins = self.joins.lock().await;
        self.stop.run(joins.receive()).await.flatten()
    }

    /// Changes the authority: new handshakes get a certificate of `authority` and must show one; open connections go on.
    pub fn set_authority(&self, authority: Arc<Authority>) -> Result<(), ListenError> {
        let shared = &self.shared;
        let pair = authority.issue_server(&shared.config.server_names)?;
        let tls = Tls::new(&shared.config, authority, &shared.certificate)?;
        shared.certificate.replace(pair);
        if let Some(endpoint) = &shared.endpoint {
            endpoint.set_server_config(Some(tls.quic.clone()));
        }
        *shared.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// Gives the server a new certificate now, as happens by itself at two thirds of its life.
    pub fn renew_certificate(&self) -> Result<(), ListenError> {
        Ok(self.shared.renew_certificate()?)
    }

    /// Takes no more connections; the open ones go on.
    pub fn stop(&self) {
        self.stop.stop();
        if let Some(endpoint) = &self.shared.endpoint {
            endpoint.set_server_config(None);
        }
    }

    /// Stops, closes what is still open and waits until all of it has ended and the port is free, at most `within`.
    pub async fn close(self, within: Duration) {
        let tasks = self.tasks.clone();
        // The last of the listener's hold on the endpoint, which lives until its connections have said good-bye.
        drop(self);
        if tokio::time::timeout(within, tasks.join()).await.is_err() {
            tracing::warn!(tasks = ?tasks.names(), "the listener's tasks did not end in time");
            tasks.abort_all();
        }
    }

    /// Returns the present figures.
    pub fn stats(&self) -> ListenerStats {
        let shared = &self.shared;
        shared.counters.snapshot(shared.connections.stats().in_use)
    }

    fn serve(&self, tcp: Option<TcpListener>) {
        let shared = &self.shared;
        let stop = || self.stop.clone();
        if let Some(endpoint) = shared.endpoint.clone() {
            let serve = quic::serve(endpoint, Arc::clone(shared));
            let stop = stop();
            let serve = async move { stop.run(serve).await };
            self.tasks.spawn("accept quic", serve).detach();
        }
        if let Some(socket) = tcp {
            let serve = tcp::serve(socket, Arc::clone(shared));
            let stop = stop();
            let serve = async move { stop.run(serve).await };
            self.tasks.spawn("accept tcp", serve).detach();
        }
        let renew = renew(Arc::downgrade(shared));
        let stop = stop();
        let renew = async move { stop.run(renew).await };
        self.tasks.spawn("renew certificate", renew).detach();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
        self.shared.closing.stop();
        if let Some(endpoint) = &self.shared.endpoint {
            endpoint.close(crate::CloseReason::ShuttingDown.code().into(), b"");
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn tls(&self) -> Tls {
        // A replacement is one assignment: a panicking holder cannot leave it half done.
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }

    fn renew_certificate(&self) -> Result<(), AuthorityError> {
        let authority = self.tls().authority;
        let pair = authority.issue_server(&self.config.server_names)?;
        self.certificate.replace(pair);
        tracing::info!("renewed the server certificate");
        Ok(())
    }
}

impl Tls {
    fn new(
        config: &ListenerConfig,
        authority: Arc<Authority>,
        certificate: &Arc<HotCertificate>,
    ) -> Result<Self, ListenError> {
        let clock = Arc::clone(authority.clock());
        let tls = server_config(
            authority.root(),
            Arc::clone(certificate),
            clock,
            config.expired_grace,
        );
        let tls = Arc::new(tls.map_err(ListenError::Tls)?);
        Ok(Self {
            quic: quic::server_config(config, Arc::clone(&tls)).map_err(ListenError::Tls)?,
            tcp: TlsAcceptor::from(tls),
            authority,
        })
    }
}

/// Renews the server's certificate at two thirds of its life, as long as the listener lives.
async fn renew(shared: std::sync::Weak<Shared>) {
    const RETRY: Duration = Duration::from_secs(60);
    loop {
        let Some(alive) = shared.upgrade() else {
            return;
        };
        let timer = Timer::new(Arc::clone(alive.tls().authority.clock()));
        let validity = alive.certificate.current().validity();
        let due = validity.renewal_in(timer.clock().wall());
        drop(alive);
        // Looked at again after a while in any case: the wall clock may be stepped.
        timer.sleep(due.min(RETRY)).await;
        let Some(alive) = shared.upgrade() else {
            return;
        };
        let validity = alive.certificate.current().validity();
        if validity.renewal_in(timer.clock().wall()) > Duration::ZERO {
            continue;
        }
        if let Err(error) = alive.renew_certificate() {
            tracing::error!(%error, "cannot renew the server certificate; trying again in a minute");
            timer.sleep(RETRY).await;
        }
    }
}

type Sockets = (Option<std::net::UdpSocket>, Option<TcpListener>, SocketAddr);

/// Binds both sockets to one port; a free one is searched a few times, for it must be free for both.
async fn bind_sockets(config: &ListenerConfig) -> Result<Sockets, ListenError> {
    let mut tries = if config.address.port() == 0 { 16 } else { 1 };
    loop {
        tries -= 1;
        match try_bind_sockets(config).await {
            Err(ListenError::Bind { source, .. })
                if tries > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

async fn try_bind_sockets(config: &ListenerConfig) -> Result<Sockets, ListenError> {
    let mut address = config.address;
    let failed = |address, transport| {
        move |source| ListenError::Bind {
            address,
            transport,
            source,
        }
    };
    let mut tcp = None;
    if config.transports != Transports::QuicOnly {
        let socket = TcpListener::bind(address).await;
        let socket = socket.map_err(failed(address, "tcp"))?;
        address = socket.local_addr().map_err(failed(address, "tcp"))?;
        tcp = Some(socket);
    }
    let mut udp = None;
    if config.transports != Transports::TcpOnly {
        let socket = bind_udp(address, Some(config.receive_buffer_bytes));
        let socket = socket.map_err(failed(address, "udp"))?;
        address = socket.local_addr().map_err(failed(address, "udp"))?;
        udp = Some(socket);
    }
    Ok((udp, tcp, address))
}
