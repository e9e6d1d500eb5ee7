//! A client for one request at a time: what the command-line tools and tests need.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use config::Secret;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper_util::rt::TokioIo;
use runtime::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use transport::{ClientTls, ClientTlsConfig};

use crate::web::with_causes;
use crate::{Form, Method, StatusCode};

/// Where a client calls.
#[derive(Clone, Debug)]
pub enum Target {
    /// `http://host:port/prefix` or `https://...`.
    Url {
        /// Whether TLS is spoken.
        tls: bool,
        /// Without the port.
        host: String,
        /// The port.
        port: u16,
        /// A prefix of all paths, without a `/` at its end.
        prefix: String,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Returns the target that a URL names; `http://` may be left out.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        let refuse = || ClientError::Url(url.to_owned());
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(refuse()),
            None => (false, url),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
        {
            Some((host, port)) => (host, port.parse().map_err(|_| refuse())?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['@', '?', '#', ' ']) {
            return Err(refuse());
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("/{prefix}")
        };
        Ok(Self::Url {
            tls,
            host: host.to_owned(),
            port,
            prefix,
        })
    }
}

impl Target {
    /// Returns host and port of a URL.
    pub(crate) fn host(&self) -> Option<(&str, u16)> {
        match self {
            Self::Url { host, port, .. } => Some((host, *port)),
            Self::Unix(_) => None,
        }
    }

    /// Returns the prefix of all paths, without a `/` at its end.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Url { prefix, .. } => prefix,
            Self::Unix(_) => "",
        }
    }
}

/// Returns what the header `Host` says.
pub(crate) fn authority(target: &Target) -> String {
    match target.host() {
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
        None => "localhost".to_owned(),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url {
                tls,
                host,
                port,
                prefix,
            } => {
                let scheme = if *tls { "https" } else { "http" };
                let (open, close) = if host.contains(':') {
                    ("[", "]")
                } else {
                    ("", "")
                };
                write!(f, "{scheme}://{open}{host}{close}:{port}{prefix}")
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be used.
    #[error("{0:?} is not a URL: expected http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    /// Nobody answers there.
    #[error("cannot connect to {target}: {reason}; is it running, and is this the right address?")]
    Connect {
        /// Where.
        target: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The server is not who it should be, or speaks no TLS.
    #[error(
        "cannot trust {target}: {reason}; does it speak TLS (https), and is its authority one of those trusted here?"
    )]
    Tls {
        /// Where.
        target: String,
        /// What happened.
        reason: String,
    },
    /// The answer broke the protocol, or is too large.
    #[error("cannot read the answer of {target}: {reason}")]
    Broken {
        /// Where.
        target: String,
        /// What happened.
        reason: String,
    },
    /// It took too long.
    #[error("no answer from {target} within {} ms", within.as_millis())]
    Time {
        /// Where.
        target: String,
        /// The bound.
        within: Duration,
    },
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Calls one target; a new connection for each call.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    within: Duration,
    body_bytes_max: usize,
    credentials: Option<(String, Secret)>,
    tls: ClientTlsConfig,
    tasks: Tasks,
}

impl Client {
    /// Returns a client that gives up after `within` and reads bodies of at most 1 GiB.
    pub fn new(target: Target, within: Duration) -> Self {
        let tls = ClientTlsConfig::default();
        let tasks = Tasks::new("http client");
        Self {
            target,
            within,
            body_bytes_max: 1 << 30,
            credentials: None,
            tls,
            tasks,
        }
    }

    /// Uses these files and checks where the target speaks TLS; otherwise the system's authorities are trusted.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = tls;
        self
    }

    /// Sends this user and password with each call.
    #[must_use]
    pub fn with_credentials(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.credentials = Some((user.into(), password));
        self
    }

    /// Returns where it calls.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Gets a path, query included.
    pub async fn get(&self, path: &str) -> Result<Reply, ClientError> {
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    /// Posts a form.
    pub async fn post_form(&self, path: &str, form: &Form) -> Result<Reply, ClientError> {
        self.call(
            Method::POST,
            path,
            Some("application/x-www-form-urlencoded"),
            form.encode().into(),
        )
        .await
    }

    /// Makes any call.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let request = self.request(method, path, content_type, body)?;
        let answered = timeout(self.within, self.exchange(request)).await;
        answered.map_err(|_| ClientError::Time {
            target: self.target.to_string(),
            within: self.within,
        })?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<hyper::Request<Full<Bytes>>, ClientError> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.prefix()))
            .header(HOST, authority(&self.target));
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some((user, password)) = &self.credentials {
            let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
            request = request.header(AUTHORIZATION, format!("Basic {pair}"));
        }
        request
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let connect_failed = |reason| ClientError::Connect {
            target: self.target.to_string(),
            reason,
        };
        match &self.target {
            Target::Url {
                tls, host, port, ..
            } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(connect_failed)?;
                if *tls {
                    let tls = ClientTls::open(&self.tls).map_err(|error| self.untrusted(&error))?;
                    let stream = tls
                        .connect(host, stream)
                        .await
                        .map_err(|error| self.untrusted(&error))?;
                    self.speak_http(stream, request).await
                } else {
                    self.speak_http(stream, request).await
                }
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect_failed)?;
                self.speak_http(stream, request).await
            }
        }
    }

    async fn speak_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Reply, ClientError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        let driver = self.tasks.spawn("http exchange", connection);
        let answer = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| self.broken(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.body_bytes_max)
                .collect()
                .await
                .map_err(|error| self.broken(&*error))?;
            Ok(Reply {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let reply = answer.await;
        driver.abort();
        reply
    }

    fn broken(&self, reason: &(dyn Error + 'static)) -> ClientError {
        broken(&self.target, reason)
    }

    fn untrusted(&self, reason: &(dyn Error + 'static)) -> ClientError {
        untrusted(&self.target, reason)
    }
}

pub(crate) fn broken(target: &Target, reason: &(dyn Error + 'static)) -> ClientError {
    ClientError::Broken {
        target: target.to_string(),
        reason: with_causes(reason),
    }
}

pub(crate) fn untrusted(target: &Target, reason: &(dyn Error + 'static)) -> ClientError {
    ClientError::Tls {
        target: target.to_string(),
        reason: with_causes(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (url, shown) in [
            ("localhost:9090", "http://localhost:9090"),
            ("http://h/prom/", "http://h:80/prom"),
            ("https://h", "https://h:443"),
            ("http://[::1]:9090", "http://[::1]:9090"),
            ("[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(Target::parse(url).expect(url).to_string(), shown);
        }
        for bad in [
            "",
            "ftp://h",
            "http://:80",
            "http://h:x",
            "http://u@h",
            "http://h?x",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
