//! The server: connections, their bounds, and the stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Permit, Permits, Tasks, Token, Workers};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exchange::Exchanges;
use crate::lenient::Lenient;
use crate::listen::{Listener, Stream};
use crate::pieces::InPieces;
use crate::stall::Impatient;
use crate::web::{Tls, Web, with_causes};
use crate::{BindError, Caller, Handler, Limits, Listen};

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that ended early: a handshake failed, a head broke the protocol, an answer was not taken.
    pub failed: u64,
    /// Connections closed because no whole head came in time: they were idle, or too slow.
    pub timed_out: u64,
    /// Requests refused for want of the right user and password.
    pub unauthorized: u64,
}

/// A server that listens, and serves once told to.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    shared: Arc<Shared>,
    patient: Option<Patient>,
}

/// Where connections are served that may wait: those whose first request is not urgent, over plain TCP. Of the others, TLS hides it, and
/// callers over a unix socket are few. The first byte may take [`Limits::head_time_max`] to come, and then the head.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The workers; they serve the connection to its end.
    pub workers: Arc<Workers>,
    /// What the lines of urgent requests begin with: `POST /api/v1/write`.
    pub urgent: &'static [&'static str],
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    connections: Permits,
    tasks: Tasks,
    web: Arc<Web>,
    is_tls: bool,
    exchanges: Exchanges,
    stats: Arc<Counters>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    pub(crate) unauthorized: AtomicU64,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("tls handshake: {0}")]
    Handshake(io::Error),
    #[error("tls handshake took too long")]
    HandshakeTime,
    #[error("no request came in time")]
    HeadTime,
    #[error("cannot read, or hand on, the connection: {0}")]
    HandOn(io::Error),
    #[error("the client's certificate has none of the names that client_allowed_sans lists")]
    ClientName,
    #[error("{}", with_causes(.0))]
    Http(#[from] hyper::Error),
}

impl Server {
    /// Starts to listen; `tasks` will hold one task per connection.
    pub async fn bind(listen: &Listen, limits: Limits, tasks: &Tasks) -> Result<Self, BindError> {
        let web = Arc::new(Web::open(listen, tasks)?);
        let listener = Listener::bind(listen).await?;
        let stats = Arc::<Counters>::default();
        let shared = Shared {
            limits,
            connections: Permits::new("http connections", limits.connections_max),
            tasks: tasks.clone(),
            is_tls: web.now().tls.is_some(),
            exchanges: Exchanges::new(
                limits,
                Arc::clone(&web),
                listener.owner_uid(),
                tasks.clone(),
                Arc::clone(&stats),
            ),
            web,
            stats,
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
            patient: None,
        })
    }

    /// Leaves connections to others that may wait.
    pub fn with_patient(mut self, patient: Patient) -> Self {
        self.patient = Some(patient);
        self
    }

    /// Returns the address listened on; `None` for a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.listener.local_address()
    }

    /// Serves until `stop`, then finishes the requests that have begun: they are tasks, to be joined.
    pub async fn serve(self, handler: Arc<dyn Handler>, stop: Token) {
        let Self {
            listener,
            shared,
            patient,
        } = self;
        while let Some(accepted) = stop.run(shared.next(&listener)).await {
            let Some((stream, caller, permit)) = accepted else {
                continue;
            };
            let conversation = Conversation {
                shared: Arc::clone(&shared),
                caller,
                handler: Arc::clone(&handler),
                stop: stop.child(),
                _permit: permit,
            };
            let (tasks, patient) = (&shared.tasks, patient.clone());
            match (stream, patient) {
                (Stream::Tcp(stream), Some(patient)) if !shared.is_tls => {
                    let sorting = conversation.sort(stream, patient);
                    tasks.spawn("http connection", sorting).detach();
                }
                (stream, _) => {
                    let conversing = conversation.hold(stream);
                    tasks.spawn("http connection", conversing).detach();
                }
            }
        }
    }

    /// Returns a reader of what the server has seen, valid while it serves.
    pub fn stats(&self) -> impl Fn() -> ServerStats + Send + Sync + 'static {
        let stats = Arc::clone(&self.shared.stats);
        move || stats.read()
    }

    /// Returns whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.shared.is_tls
    }
}

/// A connection, apart from its stream.
struct Conversation {
    shared: Arc<Shared>,
    caller: Caller,
    handler: Arc<dyn Handler>,
    stop: Token,
    _permit: Permit,
}

impl Conversation {
    async fn hold(self, stream: Stream) {
        let Self {
            shared,
            caller,
            handler,
            stop,
            _permit,
        } = self;
        if let Err(error) = shared.converse(stream, caller, handler, stop).await {
            shared.stats.count(&error);
        }
    }

    /// Waits for what comes first, and leaves the stream to who has the time for it.
    async fn sort(self, stream: TcpStream, patient: Patient) {
        let shared = Arc::clone(&self.shared);
        let time = shared.limits.head_time_max;
        let first = self.stop.run(timeout(time, patient.is_urgent(&stream)));
        let handed_on = match first.await {
            None => return,
            Some(Err(_)) => Err(ConnectionError::HeadTime),
            Some(Ok(Ok(true))) => return self.hold(Stream::Tcp(stream)).await,
            Some(Ok(Ok(false))) => stream.into_std().map_err(ConnectionError::HandOn),
            Some(Ok(Err(error))) => Err(ConnectionError::HandOn(error)),
        };
        let stream = match handed_on {
            Ok(stream) => stream,
            Err(error) => return shared.stats.count(&error),
        };
        let conversing = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => self.hold(Stream::Tcp(stream)).await,
                Err(error) => self.shared.stats.count(&ConnectionError::HandOn(error)),
            }
        };
        let (tasks, workers) = (&shared.tasks, &patient.workers);
        tasks
            .spawn_among(workers, "http connection", conversing)
            .detach();
    }
}

impl Patient {
    /// Waits for the first bytes, which stay unread, and returns whether an urgent request begins with them.
    async fn is_urgent(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut bytes = [0; 64];
        let count = stream.peek(&mut bytes).await?;
        let begun = bytes.get(..count).unwrap_or_default();
        Ok(self.urgent.iter().any(|line| {
            let common = line.len().min(count);
            count > 0 && line.as_bytes().get(..common) == begun.get(..common)
        }))
    }
}

impl Shared {
    /// Waits for a place first, so that connections beyond the bound stay in the kernel's backlog.
    async fn next(&self, listener: &Listener) -> Option<(Stream, Caller, Permit)> {
        let permit = self.connections.acquire(1).await;
        match listener.accept().await {
            Ok((stream, caller)) => {
                self.stats.connections.fetch_add(1, Ordering::Relaxed);
                Some((stream, caller, permit))
            }
            Err(error) => {
                // Out of file descriptors, usually: pause, lest the loop spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    async fn converse(
        &self,
        stream: Stream,
        caller: Caller,
        handler: Arc<dyn Handler>,
        stop: Token,
    ) -> Result<(), ConnectionError> {
        let tls = self.web.now().tls.clone();
        match (stream, tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let Some(stream) = stop.run(self.shake_hands(&tls, stream)).await else {
                    return Ok(());
                };
                self.speak_http(stream?, caller, handler, stop).await
            }
            (Stream::Tcp(stream), None) => self.speak_http(stream, caller, handler, stop).await,
            (Stream::Unix(stream), _) => self.speak_http(stream, caller, handler, stop).await,
        }
    }

    async fn shake_hands(
        &self,
        tls: &Tls,
        stream: TcpStream,
    ) -> Result<transport::ServerTlsStream<TcpStream>, ConnectionError> {
        let handshake = timeout(self.limits.handshake_time_max, tls.server.accept(stream)).await;
        let stream = handshake
            .map_err(|_| ConnectionError::HandshakeTime)?
            .map_err(ConnectionError::Handshake)?;
        let names = transport::client_names(&stream);
        let is_allowed = |name: &String| tls.client_names.contains(name);
        if !tls.client_names.is_empty() && !names.iter().any(is_allowed) {
            return Err(ConnectionError::ClientName);
        }
        Ok(stream)
    }

    async fn speak_http<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: S,
        caller: Caller,
        handler: Arc<dyn Handler>,
        stop: Token,
    ) -> Result<(), ConnectionError> {
        let (caller, handler) = (&caller, &*handler);
        let service = service_fn(|request| async move {
            let response = self.exchanges.answer(request, caller, handler).await;
            Ok::<_, hyper::Error>(response)
        });
        let stream = Impatient::new(stream, self.limits.stall_time_max);
        let stream = Lenient::new(InPieces(stream));
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head_time_max)
                .max_buf_size(self.limits.head_bytes_max)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = stop.stopped() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}

impl Counters {
    fn count(&self, error: &ConnectionError) {
        let counter = match error {
            ConnectionError::Http(error) if error.is_timeout() => &self.timed_out,
            ConnectionError::HeadTime => &self.timed_out,
            ConnectionError::Http(_)
            | ConnectionError::Handshake(_)
            | ConnectionError::HandshakeTime
            | ConnectionError::HandOn(_)
            | ConnectionError::ClientName => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "http connection ended early");
    }

    fn read(&self) -> ServerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            connections: read(&self.connections),
            failed: read(&self.failed),
            timed_out: read(&self.timed_out),
            unauthorized: read(&self.unauthorized),
        }
    }
}

#[cfg(test)]
mod tests;
