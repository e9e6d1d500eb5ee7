//! From the name of an aggregator to a connection: look-up, fresh sockets, a race of addresses and of both transports.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use runtime::{Tasks, Token};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::authority::SERVER_NAME;
use crate::closing::{ConnectionError, shorten};
use crate::connection::{Carrier, Connection, TransportKind};
use crate::connector::{ConnectError, ConnectorConfig};
use crate::frames::FrameLimit;
use crate::listener::Transports;
use crate::quic::Quic;
use crate::quic_runtime::QuicRuntime;
use crate::refusal::RefusalReason;
use crate::settings::{self, HANDSHAKE_TIMEOUT};
use crate::socket::{bind_udp, pause, tune_tcp};
use crate::tcp::{Counted, Tcp};

/// Addresses of one name that are tried; the next attempt looks the name up again.
const ADDRESSES_MAX: usize = 4;
/// The head start of each address before the next.
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// The time for a name look-up.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What sessions and joining have in common: from a name to a connection.
pub(crate) struct Dialer {
    pub(crate) transports: Transports,
    target_setting: &'static str,
    patience: Duration,
    tls: TlsConnector,
    quic: quinn::ClientConfig,
    limit: FrameLimit,
    pub(crate) tasks: Tasks,
    rng: Mutex<fastrand::Rng>,
}

impl Dialer {
    pub(crate) fn new(
        config: &ConnectorConfig,
        tls: rustls::ClientConfig,
        limit: FrameLimit,
    ) -> Result<Self, ConnectError> {
        let tls = Arc::new(tls);
        let crypto = QuicClientConfig::try_from(Arc::clone(&tls))
            .map_err(|error| ConnectError::Tls(rustls::Error::General(error.to_string())))?;
        let mut quic = quinn::ClientConfig::new(Arc::new(crypto));
        quic.transport_config(settings::dialer(config.segmentation_offload));
        Ok(Self {
            transports: config.transports,
            target_setting: config.target_setting,
            patience: config.quic_patience,
            tls: TlsConnector::from(tls),
            quic,
            limit,
            tasks: Tasks::new("connector"),
            rng: Mutex::new(fastrand::Rng::new()),
        })
    }

    pub(crate) async fn dial(
        &self,
        target: &str,
        transports: Transports,
    ) -> Result<Connection, ConnectError> {
        let addresses = self.resolve(target).await?;
        let quic_failed = Token::new();
        let quic = async {
            if transports == Transports::TcpOnly {
                return Err(Vec::new());
            }
            let result = race(&addresses, |address| self.quic(address)).await;
            if result.is_err() {
                quic_failed.stop();
            }
            result
        };
        let tcp = async {
            match transports {
                Transports::QuicOnly => return Err(Vec::new()),
                Transports::TcpOnly => {}
                // Beside a QUIC that takes its time, not after it.
                Transports::Both => {
                    quic_failed.run(pause(self.patience)).await;
                }
            }
            race(&addresses, |address| self.tcp(address)).await
        };
        either(quic, tcp)
            .await
            .map_err(|failures| explain(target, &failures))
    }

    async fn resolve(&self, target: &str) -> Result<Vec<SocketAddr>, ConnectError> {
        let failed = |source| ConnectError::Resolve {
            target: target.to_owned(),
            setting: self.target_setting,
            source,
        };
        let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(target)).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut addresses: Vec<SocketAddr> = found.map_err(failed)?.take(64).collect();
        // Spreads agents over the aggregators behind one name.
        self.rng().shuffle(&mut addresses);
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }

    async fn quic(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        let connecting = async {
            let local = if address.is_ipv4() {
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
            } else {
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
            };
            let socket = bind_udp(local, None).map_err(|error| lost(&error))?;
            let runtime = QuicRuntime::new(self.tasks.clone(), Arc::new(AtomicU64::new(0)));
            let endpoint = quinn::Endpoint::new(settings::endpoint(), None, socket, runtime)
                .map_err(|error| lost(&error))?;
            let connection = endpoint
                .connect_with(self.quic.clone(), address, SERVER_NAME)
                .map_err(|error| lost(&error))?
                .await
                .map_err(|error| ConnectionError::of_quic(&error, None))?;
            let quic = Quic::new(connection, self.tasks.clone(), Some(endpoint));
            self.ready(Carrier::Quic(quic), address).await
        };
        within_handshake(connecting).await
    }

    async fn tcp(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        let connecting = async {
            let socket = TcpStream::connect(address).await;
            let socket = socket.map_err(|error| lost(&error))?;
            tune_tcp(&socket).map_err(|error| lost(&error))?;
            let name = ServerName::try_from(SERVER_NAME).expect("a valid host name");
            let stream = self.tls.connect(name, Counted::new(socket)).await;
            let stream = stream.map_err(|error| {
                let detail = shorten(&error.to_string());
                match RefusalReason::of_io(&error) {
                    RefusalReason::Other => ConnectionError::Lost { what: detail },
                    reason => ConnectionError::Refused { reason, detail },
                }
            })?;
            let tcp = Tcp::new(TlsStream::Client(stream), &self.tasks, Token::new(), false);
            self.ready(Carrier::Tcp(tcp), address).await
        };
        within_handshake(connecting).await
    }

    async fn ready(
        &self,
        carrier: Carrier,
        address: SocketAddr,
    ) -> Result<Connection, ConnectionError> {
        let connection = Connection::new(carrier, address, self.limit, None);
        connection.ready().await?;
        Ok(connection)
    }

    pub(crate) fn rng(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("transports", &self.transports)
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

/// How an attempt failed.
#[derive(Debug)]
struct Failure {
    transport: TransportKind,
    address: SocketAddr,
    error: ConnectionError,
}

impl Failure {
    fn is_final(&self) -> bool {
        self.error.refusal().is_some_and(RefusalReason::is_final)
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Connection, ConnectionError>> + Send + 'a>>;

/// Tries all addresses, each a little after the one before; the first connection wins and the others are given up.
async fn race<'a, F>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<Connection, Vec<(SocketAddr, ConnectionError)>>
where
    F: Future<Output = Result<Connection, ConnectionError>> + Send + 'a,
{
    let mut head_start = Duration::ZERO;
    let mut attempts: Vec<(SocketAddr, Attempt<'a>)> = Vec::with_capacity(addresses.len());
    for address in addresses {
        let (attempt, delay) = (attempt(*address), head_start);
        let delayed = async move {
            pause(delay).await;
            attempt.await
        };
        attempts.push((*address, Box::pin(delayed)));
        head_start += ADDRESS_STAGGER;
    }
    let mut failures = Vec::new();
    std::future::poll_fn(|cx| {
        let mut at = 0;
        while let Some((address, attempt)) = attempts.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(connection)) => return Poll::Ready(Ok(connection)),
                Poll::Ready(Err(error)) => {
                    failures.push((*address, error));
                    drop(attempts.swap_remove(at));
                }
            }
        }
        if attempts.is_empty() {
            Poll::Ready(Err(std::mem::take(&mut failures)))
        } else {
            Poll::Pending
        }
    })
    .await
}

type Raced = Result<Connection, Vec<(SocketAddr, ConnectionError)>>;

/// Returns the first connection, or all failures; a refusal that is final ends the race.
async fn either(
    quic: impl Future<Output = Raced>,
    tcp: impl Future<Output = Raced>,
) -> Result<Connection, Vec<Failure>> {
    let (mut quic, mut tcp) = (pin!(quic), pin!(tcp));
    let (mut quic_runs, mut tcp_runs) = (true, true);
    let mut failures = Vec::new();
    while quic_runs || tcp_runs {
        let (transport, result) = tokio::select! {
            biased;
            result = &mut quic, if quic_runs => {
                quic_runs = false;
                (TransportKind::Quic, result)
            }
            result = &mut tcp, if tcp_runs => {
                tcp_runs = false;
                (TransportKind::Tcp, result)
            }
        };
        match result {
            Ok(connection) => return Ok(connection),
            Err(failed) => failures.extend(failed.into_iter().map(|(address, error)| Failure {
                transport,
                address,
                error,
            })),
        }
        if failures.iter().any(Failure::is_final) {
            break;
        }
    }
    Err(failures)
}

fn explain(target: &str, failures: &[Failure]) -> ConnectError {
    let refused = failures
        .iter()
        .find(|failure| failure.is_final())
        .or_else(|| failures.iter().find(|f| f.error.refusal().is_some()));
    if let Some(Failure {
        transport,
        address,
        error,
    }) = refused
    {
        let target = if *target == address.to_string() {
            target.to_owned()
        } else {
            format!("{target} ({address})")
        };
        return ConnectError::Refused {
            target,
            transport: *transport,
            reason: error.refusal().unwrap_or(RefusalReason::Other),
            detail: error.to_string(),
        };
    }
    let attempts: Vec<String> = failures
        .iter()
        .map(|f| format!("{} to {}: {}", f.transport.as_str(), f.address, f.error))
        .collect();
    ConnectError::Unreachable {
        target: target.to_owned(),
        attempts: attempts.join("; "),
    }
}

async fn within_handshake(
    connecting: impl Future<Output = Result<Connection, ConnectionError>>,
) -> Result<Connection, ConnectionError> {
    let in_time = timeout(HANDSHAKE_TIMEOUT, connecting).await;
    in_time.unwrap_or_else(|_| {
        let what = format!("no answer within {} s", HANDSHAKE_TIMEOUT.as_secs());
        Err(ConnectionError::Lost { what })
    })
}

fn lost(error: &impl std::error::Error) -> ConnectionError {
    ConnectionError::Lost {
        what: shorten(&error.to_string()),
    }
}
