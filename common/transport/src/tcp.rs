//! A connection over TLS and TCP: the streams share one byte stream ([`wire::Mux`]), with a few records of our own between
//! ([`control`]).
//!
//! Two tasks serve it. The reader moves bytes from the socket into the mux, whose windows bound what waits there, and so hears
//! pings and closes whether or not somebody receives; the writer sends what is due, most urgent first.

mod control;
mod reader;
mod writer;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use runtime::{Task, Tasks, Token};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;
use wire::{Mux, StreamId};

use crate::closing::{CloseReason, ConnectionError};
use crate::connection::{ConnectionStats, flush};
use crate::frames::Decoders;
use crate::outbox::Outbox;
use crate::settings::CLOSE_TIMEOUT;

pub(crate) struct Tcp {
    shared: Arc<Shared>,
    tasks: Mutex<Option<(Task<()>, Task<()>)>>,
}

/// What the two tasks and the connection's users share.
struct Shared {
    outbox: Outbox,
    mux: Mutex<Mux>,
    /// Something for the receiver.
    arrived: Notify,
    control: Mutex<Control>,
    /// Something for the writer besides frames.
    due: Notify,
    ready: watch::Sender<bool>,
    end: watch::Sender<Option<ConnectionError>>,
    counts: Arc<Counts>,
}

/// Bytes on the socket, and the round trip measured by pings, in microseconds (0: not yet).
#[derive(Debug)]
struct Counts {
    start: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    round_trip_us: AtomicU64,
}

/// What the writer has to say besides frames. Each item is one value, so that no peer can make it grow.
struct Control {
    ready: bool,
    pong: Option<u32>,
    close: Option<(CloseReason, String)>,
}

/// Bytes taken from the mux at once.
const READ_BYTES: usize = 16 * 1_024;

impl Tcp {
    /// Takes over an established TLS connection, until `stop`; the aggregator's side says that it is ready.
    pub(crate) fn new(
        stream: TlsStream<Counted<TcpStream>>,
        tasks: &Tasks,
        stop: Token,
        is_server: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            outbox: Outbox::new(),
            mux: Mutex::new(Mux::new()),
            arrived: Notify::new(),
            control: Mutex::new(Control {
                ready: is_server,
                pong: None,
                close: None,
            }),
            due: Notify::new(),
            ready: watch::Sender::new(is_server),
            end: watch::Sender::new(None),
            counts: Arc::clone(&stream.get_ref().0.counts),
        });
        let (read, write) = tokio::io::split(stream);
        let reader = tasks.spawn("tcp reader", reader::run(read, Arc::clone(&shared), stop));
        let writer = tasks.spawn("tcp writer", writer::run(write, Arc::clone(&shared)));
        Self {
            shared,
            tasks: Mutex::new(Some((reader, writer))),
        }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    /// Waits for received bytes and gives them to their stream's decoder. Cancelling loses nothing.
    pub(crate) async fn read(&self, decoders: &mut Decoders) -> Result<(), ConnectionError> {
        loop {
            // Looked at before the mux: what came before the end is handed out before it.
            let end = self.end();
            if self.shared.take_bytes(decoders)? {
                return Ok(());
            }
            if let Some(end) = end {
                return Err(end);
            }
            self.shared.arrived.notified().await;
        }
    }

    pub(crate) async fn ready(&self) -> Result<(), ConnectionError> {
        let mut ready = self.shared.ready.subscribe();
        tokio::select! {
            biased;
            _ = ready.wait_for(|ready| *ready) => Ok(()),
            error = self.closed() => Err(error),
        }
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        self.shared.ended().await
    }

    pub(crate) fn end(&self) -> Option<ConnectionError> {
        self.shared.end.borrow().clone()
    }

    pub(crate) async fn close(&self, reason: CloseReason, message: &str) {
        self.shared.outbox.close();
        let finished = async {
            flush(&self.shared.outbox, self.shared.ended()).await;
            self.shared.control().close = Some((reason, message.to_owned()));
            self.shared.due.notify_one();
            let tasks = self
                .tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some((reader, writer)) = tasks {
                drop(writer.await);
                // The peer hangs up when it has read the close. To hang up first could cost it what it has not read yet.
                drop(reader.await);
            }
        };
        drop(timeout(CLOSE_TIMEOUT, finished).await);
        self.abort(reason, message);
    }

    pub(crate) fn abort(&self, reason: CloseReason, message: &str) {
        self.shared.abort(reason, message);
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let counts = &self.shared.counts;
        let round_trip = counts.round_trip_us.load(Ordering::Relaxed);
        ConnectionStats {
            bytes_sent: counts.sent.load(Ordering::Relaxed),
            bytes_received: counts.received.load(Ordering::Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
            ..ConnectionStats::default()
        }
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").finish_non_exhaustive()
    }
}

impl Shared {
    /// Ends the connection for everybody; the first reason stays.
    fn finish(&self, error: ConnectionError) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(error);
            }
            first
        });
        self.outbox.close();
        self.arrived.notify_one();
        self.due.notify_one();
    }

    /// Ends the connection because this side wants it.
    fn abort(&self, reason: CloseReason, message: &str) {
        let mut control = self.control();
        let close = control
            .close
            .get_or_insert_with(|| (reason, message.to_owned()));
        let reason = close.0;
        drop(control);
        self.finish(ConnectionError::ClosedHere { reason });
    }

    async fn ended(&self) -> ConnectionError {
        let mut end = self.end.subscribe();
        let end = end.wait_for(Option::is_some).await;
        let end = end.expect("the sender lives in `self`");
        end.clone().expect("waited for")
    }

    /// Moves some of what was received to the decoders, most urgent stream first; returns whether there was anything.
    fn take_bytes(&self, decoders: &mut Decoders) -> Result<bool, ConnectionError> {
        for stream in StreamId::ALL {
            let mut bytes = Vec::new();
            if self.mux().read(stream, READ_BYTES, &mut bytes) > 0 {
                // The writer tells the peer that there is room again.
                self.due.notify_one();
                let pushed = decoders.push(stream, &bytes);
                pushed.map_err(|error| ConnectionError::Protocol {
                    what: error.to_string(),
                })?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn mux(&self) -> MutexGuard<'_, Mux> {
        // A panic within the mux would end the task that caused it, and the connection with it.
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that counts its bytes.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    socket: S,
    counts: Arc<Counts>,
}

impl<S> Counted<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            counts: Arc::new(Counts {
                start: Instant::now(),
                sent: AtomicU64::new(0),
                received: AtomicU64::new(0),
                round_trip_us: AtomicU64::new(0),
            }),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        count(&self.counts.received, read);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &result {
            count(&self.counts.sent, *written);
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = &result {
            count(&self.counts.sent, *written);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}
