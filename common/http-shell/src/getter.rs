//! A client that gets one URL again and again, over a connection that is kept.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use runtime::{Task, Tasks};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use transport::{ClientTls, ClientTlsConfig};

use crate::client::{authority, broken, untrusted};
use crate::{ClientError, StatusCode, Target};

/// The most bytes of an answer's head; a longer one breaks the connection off.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Gets from one target. One request at a time; a connection that was closed meanwhile is opened anew.
///
/// Nothing is bounded in time: whoever waits drops the future, and with it the connection.
#[derive(Debug)]
pub struct Getter {
    target: Target,
    tls: ClientTlsConfig,
    tasks: Tasks,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: Task<Result<(), hyper::Error>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer whose body is read piece by piece.
#[derive(Debug)]
pub struct Answer<'g> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    getter: &'g Getter,
}

impl Getter {
    /// Returns a getter that opens connections with `tls` where the target speaks it; files are read at each opening.
    pub const fn new(target: Target, tls: ClientTlsConfig, tasks: Tasks) -> Self {
        Self {
            target,
            tls,
            tasks,
            connection: None,
        }
    }

    /// Gets `path` (query included) below the target's prefix.
    pub async fn get(
        &mut self,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Answer<'_>, ClientError> {
        let kept = match self.connection.take() {
            // A server may have closed a connection that was idle: then a new one is tried, once.
            Some(connection) => self.exchange(connection, path, headers).await.ok(),
            None => None,
        };
        let (connection, answer) = match kept {
            Some(kept) => kept,
            None => {
                let connection = self.connect().await?;
                self.exchange(connection, path, headers).await?
            }
        };
        self.connection = Some(connection);
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            getter: self,
        })
    }

    /// Closes the connection, if one is open.
    pub fn close(&mut self) {
        self.connection = None;
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(Connection, hyper::Response<Incoming>), ClientError> {
        let mut request = hyper::Request::builder()
            .uri(format!("{}{path}", self.target.prefix()))
            .body(Empty::new())
            .map_err(|error| broken(&self.target, &error))?;
        let host = HeaderValue::try_from(authority(&self.target));
        let host = host.map_err(|error| broken(&self.target, &error))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().extend(headers.clone());
        let sender = &mut connection.sender;
        let answer = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let answer = answer.await.map_err(|error| broken(&self.target, &error))?;
        Ok((connection, answer))
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let (Target::Url { tls, .. }, Some((host, port))) = (&self.target, self.target.host())
        else {
            let reason = std::io::ErrorKind::Unsupported.into();
            return Err(ClientError::Connect {
                target: self.target.to_string(),
                reason,
            });
        };
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|reason| ClientError::Connect {
            target: self.target.to_string(),
            reason,
        })?;
        if !tls {
            return self.speak_http(stream).await;
        }
        let tls = ClientTls::open(&self.tls).map_err(|error| untrusted(&self.target, &error))?;
        let stream = tls.connect(host, stream).await;
        self.speak_http(stream.map_err(|error| untrusted(&self.target, &error))?)
            .await
    }

    async fn speak_http<S>(&self, stream: S) -> Result<Connection, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&self.target, &error))?;
        let driver = self.tasks.spawn("http connection", connection);
        Ok(Connection { sender, driver })
    }
}

impl Answer<'_> {
    /// Returns the next piece of the body; `None` at its end. An answer that is dropped before costs the connection.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| broken(&self.getter.target, &error))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}
