//! gRPC over a unix socket, as much as a client of a container runtime needs: HTTP/2 by `h2`, messages by `prost`.
//!
//! tonic would bring tower, hyper and their like for the two shapes of calls that are used.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;
use runtime::{Task, Tasks};
use tokio::net::UnixStream;

use super::messages::Method;

/// The largest message that is taken: a list of 10,000 containers has about half of it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What may be under way before it is taken.
const WINDOW_BYTES: u32 = 1 << 20;
/// Flags and length before each message.
const PREFIX_BYTES: usize = 5;

/// gRPC's number for a method that the server does not have.
const UNIMPLEMENTED: &str = "12";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The runtime does not have this method.
    #[error("the runtime has no {0}")]
    Unimplemented(&'static str),
    /// The runtime refused.
    #[error("the runtime answers {path} with status {status}: {message}")]
    Status {
        path: &'static str,
        status: String,
        message: String,
    },
    /// The connection is no good.
    #[error("the connection to the runtime failed")]
    Http2(#[from] h2::Error),
    /// The socket cannot be reached.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// What came is no message of that kind.
    #[error("the runtime sent something else than a message: {0}")]
    Message(String),
    /// It took too long.
    #[error("the runtime did not answer in time")]
    Timeout,
}

/// A connection to a runtime; dropping it closes it.
#[derive(Debug)]
pub(super) struct Client {
    requests: SendRequest<Bytes>,
    driver: Task<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Connects; must be called within a runtime.
    pub(super) async fn connect(socket: &Path, tasks: &Tasks) -> Result<Self, CallError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(CallError::Connect)?;
        let (requests, connection) = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .handshake(stream)
            .await?;
        let driver = tasks.spawn("connection to the container runtime", async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the container runtime ended");
            }
        });
        Ok(Self { requests, driver })
    }

    /// Calls a method that answers once.
    pub(super) async fn call<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<M::Response, CallError> {
        let mut answers = self.stream::<M>(request).await?;
        let answer = answers.next().await?;
        answer.ok_or_else(|| CallError::Message(format!("{} answers nothing", M::PATH)))
    }

    /// Calls a method that answers again and again.
    pub(super) async fn stream<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<Answers<M>, CallError> {
        let head = Request::post(format!("http://localhost{}", M::PATH))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| CallError::Message(error.to_string()))?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(head, false)?;
        body.send_data(framed(request), true)?;
        let response = response.await?;
        if response.status() != StatusCode::OK {
            let status = format!("HTTP {}", response.status());
            return Err(failed::<M>(status, String::new()));
        }
        // An answer without messages may have its end in its head.
        ended::<M>(response.headers())?;
        Ok(Answers {
            body: response.into_body(),
            waiting: BytesMut::new(),
            method: std::marker::PhantomData,
        })
    }
}

/// The answers of a call.
pub(super) struct Answers<M> {
    body: RecvStream,
    waiting: BytesMut,
    method: std::marker::PhantomData<M>,
}

impl<M: Method> Answers<M> {
    /// Returns the next answer; `None` when there are no more. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<M::Response>, CallError> {
        loop {
            if let Some(message) = unframed(&mut self.waiting)? {
                let message = M::Response::decode(message);
                return Ok(Some(
                    message.map_err(|e| CallError::Message(e.to_string()))?,
                ));
            }
            match self.body.data().await {
                Some(data) => {
                    let data = data?;
                    self.waiting.put_slice(&data);
                    self.body.flow_control().release_capacity(data.len())?;
                }
                None => {
                    let trailers = self.body.trailers().await?;
                    ended::<M>(&trailers.unwrap_or_default())?;
                    return Ok(None);
                }
            }
        }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// Takes a message from the start of `bytes`, when it is there as a whole.
fn unframed(bytes: &mut BytesMut) -> Result<Option<Bytes>, CallError> {
    let Some((mut prefix, _)) = bytes.split_at_checked(PREFIX_BYTES) else {
        return Ok(None);
    };
    let (is_compressed, length) = (prefix.get_u8() != 0, prefix.get_u32() as usize);
    if is_compressed {
        let why = "it is compressed, which was not asked for";
        return Err(CallError::Message(why.to_owned()));
    }
    if length > MESSAGE_BYTES_MAX {
        let why = format!("it has {length} bytes, and at most {MESSAGE_BYTES_MAX} are taken");
        return Err(CallError::Message(why));
    }
    if bytes.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    bytes.advance(PREFIX_BYTES);
    Ok(Some(bytes.split_to(length).freeze()))
}

/// Returns the error that headers or trailers tell of.
fn ended<M: Method>(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match text("grpc-status") {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(failed::<M>(
            status,
            text("grpc-message").unwrap_or_default(),
        )),
    }
}

fn failed<M: Method>(status: String, message: String) -> CallError {
    let path = M::PATH;
    match status.as_str() {
        UNIMPLEMENTED => CallError::Unimplemented(path),
        _ => CallError::Status {
            path,
            status,
            message,
        },
    }
}
