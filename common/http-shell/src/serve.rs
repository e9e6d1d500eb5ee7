//! The server: listeners, connections, limits, stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use config::{Mistakes, WebConfig};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Permit, Permits, Tasks, Token};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::auth::Authenticator;
use crate::encoding::compress;
use crate::{Caller, Handler, Request, Response, StatusCode};

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Listen {
    /// `HOST:PORT`; port 0 takes a free one. `web_config` is exporter-toolkit's file.
    Tcp {
        /// The address.
        address: String,
        /// The web configuration file, when there is one.
        web_config: Option<PathBuf>,
    },
    /// A unix socket; an old one in its place is removed. Only root and the owner of this process may call.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's backlog. Each costs up to `head_bytes_max` while it is idle.
    pub connections_max: u32,
    /// Bytes of request line and headers; more is refused with 431.
    pub head_bytes_max: usize,
    /// Bytes of a body; more is refused with 413.
    pub body_bytes_max: usize,
    /// How long a head may take to come, from the moment the connection is idle; then the connection is closed.
    pub head_time_max: Duration,
    /// How long a body may take to come; then the answer is 408.
    pub body_time_max: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            head_bytes_max: 64 * 1024,
            body_bytes_max: 10 * 1024 * 1024,
            head_time_max: Duration::from_secs(60),
            body_time_max: Duration::from_secs(30),
            handshake_time_max: Duration::from_secs(5),
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --web.listen-address")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The web configuration is wrong.
    #[error(transparent)]
    WebConfig(#[from] Mistakes),
    /// The certificates of the web configuration cannot be used.
    #[error("cannot use the certificates of {path}: {source}")]
    Tls {
        /// The web configuration file.
        path: PathBuf,
        /// What is wrong with them.
        source: transport::TlsError,
    },
}

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections closed because the handshake failed, or a head broke the protocol or came too slowly.
    pub failed: u64,
    /// Requests refused for want of the right user and password.
    pub unauthorized: u64,
}

/// A server that listens, and serves once told to.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

struct Shared {
    limits: Limits,
    connections: Permits,
    tasks: Tasks,
    authenticator: Authenticator,
    tls: Option<transport::TlsAcceptor>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The user that this process runs as; who may call a unix socket besides root.
    owner_uid: u32,
    stats: Counters,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    failed: AtomicU64,
    unauthorized: AtomicU64,
}

impl Server {
    /// Starts to listen; `tasks` will hold one task per connection.
    pub async fn bind(listen: &Listen, limits: Limits, tasks: &Tasks) -> Result<Self, BindError> {
        let web = match listen {
            Listen::Tcp { web_config: Some(path), .. } => WebConfig::read(path)?,
            Listen::Tcp { .. } | Listen::Unix { .. } => WebConfig::default(),
        };
        let tls = web.tls.as_ref().map(transport::TlsAcceptor::from_files).transpose();
        let tls = tls.map_err(|source| BindError::Tls { path: web_config_path(listen), source })?;
        let listener = Listener::bind(listen).await?;
        let headers = web.headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let shared = Shared {
            limits,
            connections: Permits::new("http connections", limits.connections_max),
            tasks: tasks.clone(),
            authenticator: Authenticator::new(web.users, tasks.clone()),
            tls,
            headers: headers.collect(),
            owner_uid: listener.owner_uid(),
            stats: Counters::default(),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Returns the address listened on; `None` for a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix { .. } => None,
        }
    }

    /// Serves until `stop`, then finishes the requests that have begun.
    pub async fn serve(self, handler: Arc<dyn Handler>, stop: Token) {
        let Self { listener, shared } = self;
        while let Some(accepted) = stop.run(shared.next(&listener)).await {
            let Some((stream, caller, permit)) = accepted else { continue };
            let (shared, handler, stop) = (Arc::clone(&shared), Arc::clone(&handler), stop.child());
            let tasks = shared.tasks.clone();
            tasks
                .spawn("http connection", async move {
                    if let Err(error) = shared.converse(stream, caller, handler, stop).await {
                        shared.stats.failed.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(%error, "http connection failed");
                    }
                    drop(permit);
                })
                .detach();
        }
    }

    /// Returns a reader of what the server has seen, valid while it serves.
    pub fn stats(&self) -> impl Fn() -> ServerStats + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            ServerStats {
                connections: read(&shared.stats.connections),
                failed: read(&shared.stats.failed),
                unauthorized: read(&shared.stats.unauthorized),
            }
        }
    }

    /// Returns whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.shared.tls.is_some()
    }
}

impl Listener {
    async fn bind(listen: &Listen) -> Result<Self, BindError> {
        let refuse = |address: &dyn fmt::Display| {
            let address = address.to_string();
            move |source| BindError::Listen { address, source }
        };
        match listen {
            Listen::Tcp { address, .. } => {
                TcpListener::bind(address).await.map(Self::Tcp).map_err(refuse(address))
            }
            Listen::Unix { path } => {
                bind_unix(path).map(|listener| Self::Unix { listener, path: path.clone() }).map_err(refuse(&path.display()))
            }
        }
    }

    /// A socket's file belongs to who made it.
    fn owner_uid(&self) -> u32 {
        match self {
            Self::Tcp(_) => 0,
            Self::Unix { path, .. } => std::fs::metadata(path).map_or(0, |metadata| metadata.uid()),
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Caller::Remote { address, user: None }))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Caller::Local { uid }))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "socket not removed");
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Only root and the owner may connect: the kernel checks the mode, and each call's user id is checked again.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn web_config_path(listen: &Listen) -> PathBuf {
    match listen {
        Listen::Tcp { web_config, .. } => web_config.clone().unwrap_or_default(),
        Listen::Unix { .. } => PathBuf::new(),
    }
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("tls handshake: {0}")]
    Handshake(io::Error),
    #[error("tls handshake took too long")]
    HandshakeTime,
    #[error(transparent)]
    Http(#[from] hyper::Error),
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
        self: &Arc<Self>,
        stream: Stream,
        caller: Caller,
        handler: Arc<dyn Handler>,
        stop: Token,
    ) -> Result<(), ConnectionError> {
        match (stream, &self.tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let handshake = timeout(self.limits.handshake_time_max, tls.accept(stream)).await;
                let stream = handshake.map_err(|_| ConnectionError::HandshakeTime)?.map_err(ConnectionError::Handshake)?;
                self.speak_http(stream, caller, handler, stop).await
            }
            (Stream::Tcp(stream), None) => self.speak_http(stream, caller, handler, stop).await,
            (Stream::Unix(stream), _) => self.speak_http(stream, caller, handler, stop).await,
        }
    }

    async fn speak_http<S: AsyncRead + AsyncWrite + Unpin + Send>(
        self: &Arc<Self>,
        stream: S,
        caller: Caller,
        handler: Arc<dyn Handler>,
        stop: Token,
    ) -> Result<(), ConnectionError> {
        let service = service_fn(|request| {
            let (shared, handler, caller) = (Arc::clone(self), Arc::clone(&handler), caller.clone());
            async move { Ok::<_, hyper::Error>(shared.answer(request, caller, &*handler).await) }
        });
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

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        caller: Caller,
        handler: &dyn Handler,
    ) -> hyper::Response<Full<Bytes>> {
        let accepted = request.headers().clone();
        let is_head = request.method() == hyper::Method::HEAD;
        let response = match self.admit(&request, caller).await {
            Ok(caller) => match self.read(request, caller).await {
                Ok(request) => handler.handle(request).await,
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        let Response { status, mut headers, body } = compress(&accepted, response);
        headers.extend(self.headers.iter().cloned());
        if is_head {
            headers.insert(hyper::header::CONTENT_LENGTH, body.len().into());
        }
        let mut answer = hyper::Response::new(Full::new(if is_head { Bytes::new() } else { body }));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        answer
    }

    async fn admit(&self, request: &hyper::Request<Incoming>, caller: Caller) -> Result<Caller, Response> {
        match caller {
            Caller::Local { uid } if uid != 0 && uid != self.owner_uid => {
                self.stats.unauthorized.fetch_add(1, Ordering::Relaxed);
                Err(Response::text(StatusCode::FORBIDDEN, "only root and the owner of the process may use this socket"))
            }
            Caller::Remote { address, .. } if !self.authenticator.is_open() => {
                let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                match self.authenticator.user(authorization).await {
                    Some(user) => Ok(Caller::Remote { address, user: Some(user) }),
                    None => {
                        self.stats.unauthorized.fetch_add(1, Ordering::Relaxed);
                        let refusal = Response::text(StatusCode::UNAUTHORIZED, "Unauthorized");
                        Err(refusal.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic")))
                    }
                }
            }
            Caller::Local { .. } | Caller::Remote { .. } => Ok(caller),
        }
    }

    async fn read(&self, request: hyper::Request<Incoming>, caller: Caller) -> Result<Request, Response> {
        let (head, body) = request.into_parts();
        let limit = self.limits.body_bytes_max;
        let collected = timeout(self.limits.body_time_max, Limited::new(body, limit).collect()).await;
        let body = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Response::text(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body is larger than the {limit} bytes allowed"),
                ));
            }
            Ok(Err(error)) => return Err(Response::text(StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))),
            Err(_) => return Err(Response::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        };
        Ok(Request {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
            caller,
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}
