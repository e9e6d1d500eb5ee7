//! A client for URLs that people configure: webhooks and the like.
//!
//! Unlike [`crate::Client`], which calls one known server, this follows redirects, goes through proxies, bounds what it reads, and
//! checks each address before it is dialled ([`Reach`]). Its errors name hosts but never paths, queries or headers, which are often
//! secret.

mod proxy;
mod url;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, PROXY_AUTHORIZATION,
};
use hyper_util::rt::TokioIo;
use runtime::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use transport::{ClientTls, ClientTlsConfig};

pub use proxy::Proxy;
pub use url::HttpUrl;

use crate::dial::{DialError, Reach, dial};
use crate::web::with_causes;
use crate::{Method, Reply, StatusCode};

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// What is sent to somebody else's host no more once a redirect leads there.
const PERSONAL: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// How a client calls.
#[derive(Clone, Debug)]
pub struct OutgoingConfig {
    /// Files and checks of TLS.
    pub tls: ClientTlsConfig,
    /// What calls go through.
    pub proxy: Option<Proxy>,
    /// Whether redirects are followed, at most 10.
    pub follow_redirects: bool,
    /// Where calls may go; redirects and proxies too.
    pub reach: Reach,
    /// The time for all of a call.
    pub within: Duration,
    /// What is read of an answer's body; the rest is left.
    pub body_bytes_max: usize,
}

impl Default for OutgoingConfig {
    /// Ten seconds and 64 KiB, by no proxy.
    fn default() -> Self {
        Self {
            tls: ClientTlsConfig::default(),
            proxy: None,
            follow_redirects: true,
            reach: Reach::default(),
            within: Duration::from_secs(10),
            body_bytes_max: 64 * 1024,
        }
    }
}

/// Why a call got no answer. Displays without anything secret.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The URL cannot be used.
    #[error("the URL is not one of http or https")]
    Url,
    /// A header cannot be sent.
    #[error("the header {0} holds a character that headers may not hold")]
    Header(HeaderName),
    /// Its address is out of reach.
    #[error("cannot call {host}: {reason}")]
    Refused {
        /// The host.
        host: String,
        /// Which address, and why not.
        reason: DialError,
    },
    /// Nobody is there.
    #[error("cannot call {host}: {reason}")]
    Connection {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The conversation broke off; the request may have arrived.
    #[error("{host} broke off: {reason}")]
    BrokenOff {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// TLS cannot be set up, or the other side cannot be trusted.
    #[error("cannot trust {host}: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// It took too long.
    #[error("no answer from {host} within {} ms", within.as_millis())]
    Time {
        /// The host that was called first.
        host: String,
        /// The bound.
        within: Duration,
    },
    /// Redirects lead nowhere.
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: HttpUrl,
    /// Headers beside those that every call has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Makes calls, each on a connection of its own.
#[derive(Clone, Debug)]
pub struct Outgoing {
    config: OutgoingConfig,
    tasks: Tasks,
}

impl Outgoing {
    /// Returns a client.
    pub fn new(config: OutgoingConfig) -> Self {
        Self {
            config,
            tasks: Tasks::new("outgoing http"),
        }
    }

    /// Makes a call and returns the answer that is no redirect. Dropping the future breaks the call off.
    pub async fn call(&self, call: Call) -> Result<Reply, OutgoingError> {
        let host = call.url.host().to_owned();
        let within = self.config.within;
        timeout(within, self.follow(call))
            .await
            .map_err(|_| OutgoingError::Time { host, within })?
    }

    async fn follow(&self, mut call: Call) -> Result<Reply, OutgoingError> {
        for _ in 0..=REDIRECTS_MAX {
            let reply = self.exchange(&call).await?;
            let Some(next) = self.redirect(&call, &reply) else {
                return Ok(reply);
            };
            call = next?;
        }
        Err(OutgoingError::Redirects)
    }

    /// Returns the call that a redirect asks for.
    fn redirect(&self, call: &Call, reply: &Reply) -> Option<Result<Call, OutgoingError>> {
        let keeps = match reply.status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            _ => return None,
        };
        let location = reply.headers.get(LOCATION)?;
        if !self.config.follow_redirects {
            return None;
        }
        let next = location.to_str().ok().and_then(|to| call.url.join(to));
        let Some(url) = next else {
            return Some(Err(OutgoingError::Url));
        };
        let mut next = Call {
            url,
            ..call.clone()
        };
        if !next.url.is_same_host(&call.url) {
            for name in &PERSONAL {
                next.headers.remove(name);
            }
        }
        if !keeps && next.method != Method::HEAD {
            next.method = Method::GET;
            next.body = Bytes::new();
            for name in [CONTENT_TYPE, CONTENT_LENGTH] {
                next.headers.remove(name);
            }
        }
        Some(Ok(next))
    }

    async fn exchange(&self, call: &Call) -> Result<Reply, OutgoingError> {
        let url = &call.url;
        match self.config.proxy.as_ref().filter(|proxy| proxy.is_for(url)) {
            None => {
                let stream = self.dial(url).await?;
                let request = request(call, url.path_and_query())?;
                self.speak(url, stream, request).await
            }
            Some(proxy) if url.is_tls() => {
                let stream = self.dial(&proxy.url).await?;
                let stream = proxy.tunnel(url, stream).await?;
                let request = request(call, url.path_and_query())?;
                self.speak(url, stream, request).await
            }
            Some(proxy) => {
                let stream = self.dial(&proxy.url).await?;
                let mut request = request(call, &url.to_string())?;
                if let Some(credentials) = proxy.credentials() {
                    request
                        .headers_mut()
                        .insert(PROXY_AUTHORIZATION, credentials);
                }
                self.speak(&proxy.url, stream, request).await
            }
        }
    }

    async fn dial(&self, url: &HttpUrl) -> Result<tokio::net::TcpStream, OutgoingError> {
        let host = || url.host().to_owned();
        dial(url.host(), url.port(), self.config.reach)
            .await
            .map_err(|error| match error {
                DialError::Refused(_) => OutgoingError::Refused {
                    host: host(),
                    reason: error,
                },
                DialError::Failed(error) => OutgoingError::Connection {
                    host: host(),
                    reason: error.to_string(),
                },
            })
    }

    /// Speaks with the host of `peer`, through TLS if its URL says so.
    async fn speak<S>(
        &self,
        peer: &HttpUrl,
        stream: S,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Reply, OutgoingError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !peer.is_tls() {
            return self.speak_http(peer, stream, request).await;
        }
        let untrusted = |reason| OutgoingError::Tls {
            host: peer.host().to_owned(),
            reason,
        };
        let tls =
            ClientTls::open(&self.config.tls).map_err(|error| untrusted(with_causes(&error)))?;
        let stream = tls
            .connect(peer.host(), stream)
            .await
            .map_err(|error| untrusted(with_causes(&error)))?;
        self.speak_http(peer, stream, request).await
    }

    async fn speak_http<S>(
        &self,
        peer: &HttpUrl,
        stream: S,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Reply, OutgoingError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| OutgoingError::BrokenOff {
            host: peer.host().to_owned(),
            reason: with_causes(&error),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // The guard stops the connection however this ends, also when the call is dropped.
        let _driver = Driver(self.tasks.spawn("outgoing http exchange", connection));
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            let room = self.config.body_bytes_max - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
            if bytes.len() >= self.config.body_bytes_max {
                break;
            }
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: bytes.into(),
        })
    }
}

/// Ends a connection with its exchange.
struct Driver<T>(runtime::Task<T>);

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(call: &Call, target: &str) -> Result<hyper::Request<Full<Bytes>>, OutgoingError> {
    let mut request = hyper::Request::builder()
        .method(call.method.clone())
        .uri(target)
        .body(Full::new(call.body.clone()))
        .map_err(|_| OutgoingError::Url)?;
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(call.url.authority()).map_err(|_| OutgoingError::Url)?;
        headers.insert(HOST, host);
    }
    if !headers.contains_key(AUTHORIZATION)
        && let Some(credentials) = call.url.credentials()
    {
        headers.insert(AUTHORIZATION, credentials);
    }
    Ok(request)
}
