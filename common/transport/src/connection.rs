//! A connection between agent and aggregator, the same over QUIC and over TCP.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use runtime::Permit;
use tokio::sync::Mutex;
use wire::{DecodeError, EncodeError, FRAME_BYTES_MAX, Message, StreamId, encode_message};

use crate::closing::{CloseReason, ConnectionError};
use crate::frames::{Decoders, FrameLimit};
use crate::outbox::Outbox;
use crate::quic::Quic;
use crate::tcp::Tcp;

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl TransportKind {
    /// Returns the name as labels and people have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// Why a frame was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection has ended.
    #[error(transparent)]
    Ended(#[from] ConnectionError),
    /// The frame is larger than frames may be.
    #[error("a frame of {bytes} bytes cannot be sent: at most {FRAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The message cannot be a frame.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The connection has ended.
    #[error(transparent)]
    Ended(#[from] ConnectionError),
    /// A frame holds no message that may come from this peer; the next one can be received all the same.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// A snapshot of a connection's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Bytes sent: UDP payload, or TCP payload with TLS.
    pub bytes_sent: u64,
    /// Bytes received, counted alike.
    pub bytes_received: u64,
    /// Frames handed over for sending.
    pub frames_sent: u64,
    /// Frames handed out.
    pub frames_received: u64,
    /// Packets that QUIC had to give up as lost; 0 for TCP, where the kernel keeps that to itself.
    pub packets_lost: u64,
    /// The time to the peer and back; `None` before it was measured.
    pub round_trip: Option<Duration>,
}

/// A connection. Cloning gives another handle to the same one; when the last is dropped the connection is closed at once.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    carrier: Carrier,
    remote: SocketAddr,
    inlet: Mutex<Inlet>,
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
    /// The connection's place among those that the listener allows.
    _permit: Option<Permit>,
}

pub(crate) enum Carrier {
    Quic(Quic),
    Tcp(Tcp),
}

/// What belongs to whoever receives.
struct Inlet {
    decoders: Decoders,
    quic: crate::quic::Inlet,
}

impl Connection {
    pub(crate) fn new(
        carrier: Carrier,
        remote: SocketAddr,
        limit: FrameLimit,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                carrier,
                remote,
                inlet: Mutex::new(Inlet {
                    decoders: Decoders::new(limit),
                    quic: crate::quic::Inlet::default(),
                }),
                frames_sent: AtomicU64::new(0),
                frames_received: AtomicU64::new(0),
                _permit: permit,
            }),
        }
    }

    /// Returns what the connection runs over.
    pub fn kind(&self) -> TransportKind {
        match self.inner.carrier {
            Carrier::Quic(_) => TransportKind::Quic,
            Carrier::Tcp(_) => TransportKind::Tcp,
        }
    }

    /// Returns the peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.inner.remote
    }

    /// Hands an encoded frame ([`encode_message`]) over for sending; waits while the stream's queue (256 KiB) is full, that is while
    /// the peer does not read the stream or the link is slow.
    ///
    /// Cancelled before it returns, the frame is not sent. After it returned, the frame is sent, in order, unless the connection
    /// ends first: what must not be lost is kept until the peer acknowledges it.
    pub async fn send(&self, stream: StreamId, frame: Bytes) -> Result<(), SendError> {
        if frame.len() > 4 + FRAME_BYTES_MAX {
            return Err(SendError::TooLong { bytes: frame.len() });
        }
        if let Some(error) = self.end() {
            return Err(error.into());
        }
        let sent = match &self.inner.carrier {
            Carrier::Quic(quic) => quic.send(stream, frame).await,
            Carrier::Tcp(tcp) => tcp.outbox().send(stream, frame).await,
        };
        if sent.is_err() {
            return Err(self.closed().await.into());
        }
        self.inner.frames_sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Encodes a message and hands it over for sending, like [`send`](Self::send).
    pub async fn send_message<M: Message>(
        &self,
        stream: StreamId,
        message: &M,
    ) -> Result<(), SendError> {
        let mut frame = Vec::new();
        encode_message(message, &mut frame)?;
        self.send(stream, Bytes::from(frame)).await
    }

    /// Returns the next message, of the most urgent stream first. Cancelling loses nothing. One caller receives at a time; others
    /// wait. What arrived before the connection ended comes before the error.
    ///
    /// Not calling it is back-pressure: the peer may have 1 MiB on its way on each stream, then it waits.
    pub async fn receive<M: Message>(&self) -> Result<(StreamId, M), ReceiveError> {
        let mut inlet = self.inner.inlet.lock().await;
        let inlet = &mut *inlet;
        loop {
            match inlet.decoders.next() {
                Ok(Some((stream, message))) => {
                    self.inner.frames_received.fetch_add(1, Ordering::Relaxed);
                    return Ok((stream, message?));
                }
                Ok(None) => {}
                Err(lie) => {
                    let what = lie.to_string();
                    self.abort(CloseReason::Protocol, &what);
                    return Err(ConnectionError::Protocol { what }.into());
                }
            }
            self.read(inlet).await?;
        }
    }

    async fn read(&self, inlet: &mut Inlet) -> Result<(), ConnectionError> {
        let read = match &self.inner.carrier {
            Carrier::Quic(quic) => inlet.quic.read(quic, &mut inlet.decoders).await,
            Carrier::Tcp(tcp) => tcp.read(&mut inlet.decoders).await,
        };
        if let Err(ConnectionError::Protocol { what }) = &read {
            self.abort(CloseReason::Protocol, what);
        }
        read
    }

    /// Waits until the connection has ended, and returns why.
    pub async fn closed(&self) -> ConnectionError {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.closed().await,
            Carrier::Tcp(tcp) => tcp.closed().await,
        }
    }

    /// Returns why the connection has ended; `None` while it is open.
    pub fn end(&self) -> Option<ConnectionError> {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.end(),
            Carrier::Tcp(tcp) => tcp.end(),
        }
    }

    /// Closes after what was handed over before has reached the peer, for which it waits at most 2 s; further sends fail.
    pub async fn close(&self, reason: CloseReason, message: &str) {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.close(reason, message).await,
            Carrier::Tcp(tcp) => tcp.close(reason, message).await,
        }
    }

    /// Closes at once; frames on their way may be lost.
    pub fn abort(&self, reason: CloseReason, message: &str) {
        self.inner.abort(reason, message);
    }

    /// Returns the present figures.
    pub fn stats(&self) -> ConnectionStats {
        let mut stats = match &self.inner.carrier {
            Carrier::Quic(quic) => quic.stats(),
            Carrier::Tcp(tcp) => tcp.stats(),
        };
        stats.frames_sent = self.inner.frames_sent.load(Ordering::Relaxed);
        stats.frames_received = self.inner.frames_received.load(Ordering::Relaxed);
        stats
    }

    /// Waits until the aggregator has said that it accepts the handshake: with TLS 1.3 a client learns of a refused certificate
    /// only by what comes after.
    pub(crate) async fn ready(&self) -> Result<(), ConnectionError> {
        let mut inlet = self.inner.inlet.lock().await;
        let inlet = &mut *inlet;
        match &self.inner.carrier {
            Carrier::Quic(quic) => {
                while !inlet.quic.knows(StreamId::Session) {
                    inlet.quic.read(quic, &mut inlet.decoders).await?;
                }
                Ok(())
            }
            Carrier::Tcp(tcp) => tcp.ready().await,
        }
    }
}

impl Inner {
    fn abort(&self, reason: CloseReason, message: &str) {
        match &self.carrier {
            Carrier::Quic(quic) => quic.abort(reason, message),
            Carrier::Tcp(tcp) => tcp.abort(reason, message),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.abort(CloseReason::Done, "");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("kind", &self.kind())
            .field("remote", &self.inner.remote)
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// Waits until everything in `outbox` is written, unless the connection ends first.
pub(crate) async fn flush(outbox: &Outbox, ended: impl Future<Output = ConnectionError>) {
    tokio::select! {
        () = outbox.flushed() => {}
        _ = ended => {}
    }
}
