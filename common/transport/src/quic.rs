//! A connection over QUIC: each direction of each stream is a one-way QUIC stream, opened when first needed, whose first byte
//! names it.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{RecvStream, WriteError};
use quinn_proto::VarInt;
use runtime::{Task, Tasks, Token};
use tokio::time::timeout;
use wire::StreamId;

use crate::closing::{CloseReason, ConnectionError, MESSAGE_BYTES_MAX};
use crate::connection::{ConnectionStats, flush};
use crate::frames::Decoders;
use crate::outbox::{Outbox, OutboxClosed};
use crate::settings::CLOSE_TIMEOUT;

/// Bytes taken from QUIC at once.
const READ_BYTES: usize = 8 * 1_024;

#[derive(Debug)]
pub(crate) struct Quic {
    connection: quinn::Connection,
    outbox: Arc<Outbox>,
    tasks: Tasks,
    writers: Mutex<[Option<Task<()>>; StreamId::ALL.len()]>,
    /// Stopped when the writers are to end their streams.
    finish: Token,
    closed_here: OnceLock<CloseReason>,
    /// A client's endpoint and socket, which live as long as the connection.
    _endpoint: Option<quinn::Endpoint>,
}

impl Quic {
    /// Takes over an established connection.
    pub(crate) fn new(
        connection: quinn::Connection,
        tasks: Tasks,
        endpoint: Option<quinn::Endpoint>,
    ) -> Self {
        Self {
            connection,
            outbox: Arc::new(Outbox::new()),
            tasks,
            writers: Mutex::default(),
            finish: Token::new(),
            closed_here: OnceLock::new(),
            _endpoint: endpoint,
        }
    }

    /// Opens the outgoing direction of a stream, unless it is open.
    pub(crate) fn open(&self, stream: StreamId) {
        let mut writers = self.writers();
        writers[usize::from(stream.number())].get_or_insert_with(|| {
            let connection = self.connection.clone();
            let outbox = Arc::clone(&self.outbox);
            let finish = self.finish.clone();
            self.tasks.spawn("quic writer", async move {
                if let Err(error) = write(&connection, &outbox, stream, &finish).await {
                    tracing::debug!(?stream, %error, "a QUIC stream ended");
                    outbox.close();
                    // The peer refuses one stream only when it breaks the protocol; the connection is of no use then.
                    connection.close(VarInt::from_u32(CloseReason::Protocol.code()), b"");
                }
            })
        });
    }

    pub(crate) async fn send(&self, stream: StreamId, frame: Bytes) -> Result<(), OutboxClosed> {
        self.outbox.send(stream, frame).await?;
        self.open(stream);
        Ok(())
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        self.map(&self.connection.closed().await)
    }

    pub(crate) fn end(&self) -> Option<ConnectionError> {
        self.connection.close_reason().map(|error| self.map(&error))
    }

    pub(crate) async fn close(&self, reason: CloseReason, message: &str) {
        self.outbox.close();
        let finished = async {
            flush(&self.outbox, self.closed()).await;
            self.finish.stop();
            let writers = std::mem::take(&mut *self.writers());
            for writer in writers.into_iter().flatten() {
                // Its failure has ended the connection already.
                drop(writer.await);
            }
        };
        if timeout(CLOSE_TIMEOUT, finished).await.is_err() {
            tracing::debug!(remote = %self.connection.remote_address(), "closed before all was sent");
        }
        self.abort(reason, message);
    }

    pub(crate) fn abort(&self, reason: CloseReason, message: &str) {
        let reason = *self.closed_here.get_or_init(|| reason);
        self.outbox.close();
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let code = VarInt::from_u32(reason.code());
        self.connection.close(code, &message.as_bytes()[..end]);
        self.finish.stop();
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let stats = self.connection.stats();
        ConnectionStats {
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            round_trip: Some(stats.path.rtt),
            ..ConnectionStats::default()
        }
    }

    fn map(&self, error: &quinn::ConnectionError) -> ConnectionError {
        ConnectionError::of_quic(error, self.closed_here.get().copied())
    }

    fn writers(&self) -> std::sync::MutexGuard<'_, [Option<Task<()>>; StreamId::ALL.len()]> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Higher goes first.
const fn priority(stream: StreamId) -> i32 {
    match stream {
        StreamId::Session => 1,
        StreamId::CatchUp => 0,
    }
}

async fn write(
    connection: &quinn::Connection,
    outbox: &Outbox,
    stream: StreamId,
    finish: &Token,
) -> Result<(), WriteError> {
    let mut out = connection.open_uni().await?;
    out.set_priority(priority(stream))?;
    out.write_all(&[stream.number()]).await?;
    loop {
        while let Some(frame) = outbox.take(stream) {
            out.write_chunk(frame.clone()).await?;
            outbox.written(stream, &frame);
        }
        tokio::select! {
            () = outbox.arrival(stream) => {}
            () = finish.stopped() => break,
        }
    }
    out.finish()?;
    // Until the peer's QUIC has everything: a close would cut off what is still on its way.
    drop(out.stopped().await);
    Ok(())
}

/// The receiving side.
#[derive(Debug, Default)]
pub(crate) struct Inlet {
    streams: [Incoming; StreamId::ALL.len()],
    /// Streams whose first byte has not come; QUIC's limit on streams bounds them.
    unnamed: Vec<RecvStream>,
}

#[derive(Debug, Default)]
enum Incoming {
    #[default]
    Unopened,
    Open(RecvStream),
    Finished,
}

impl Inlet {
    /// Returns whether the peer has opened a stream.
    pub(crate) fn knows(&self, stream: StreamId) -> bool {
        !matches!(
            self.streams[usize::from(stream.number())],
            Incoming::Unopened
        )
    }

    /// Waits for bytes or for a new stream; the bytes go to the stream's decoder. Cancelling loses nothing.
    pub(crate) async fn read(
        &mut self,
        quic: &Quic,
        decoders: &mut Decoders,
    ) -> Result<(), ConnectionError> {
        let mut accepting = pin!(quic.connection.accept_uni());
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(progress) = self.poll_streams(cx, quic, decoders) {
                    return Poll::Ready(progress);
                }
                match std::task::ready!(accepting.as_mut().poll(cx)) {
                    Ok(stream) => {
                        self.unnamed.push(stream);
                        accepting.set(quic.connection.accept_uni());
                    }
                    Err(error) => return Poll::Ready(Err(quic.map(&error))),
                }
            }
        })
        .await
    }

    fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        quic: &Quic,
        decoders: &mut Decoders,
    ) -> Poll<Result<(), ConnectionError>> {
        let mut at = 0;
        while let Some(stream) = self.unnamed.get_mut(at) {
            let mut name = [0];
            match stream.poll_read(cx, &mut name) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(1)) => {
                    let stream = self.unnamed.swap_remove(at);
                    return Poll::Ready(self.name(stream, name[0]));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(broken("a stream without a name"))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(read_failed(quic, &error))),
            }
        }
        for (id, incoming) in StreamId::ALL.into_iter().zip(&mut self.streams) {
            let Incoming::Open(stream) = incoming else {
                continue;
            };
            let mut bytes = [0; READ_BYTES];
            match stream.poll_read(cx, &mut bytes) {
                Poll::Pending => {}
                Poll::Ready(Ok(0)) => *incoming = Incoming::Finished,
                Poll::Ready(Ok(length)) => {
                    let pushed = decoders.push(id, &bytes[..length]);
                    return Poll::Ready(pushed.map_err(|error| broken(&error.to_string())));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(read_failed(quic, &error))),
            }
        }
        Poll::Pending
    }

    fn name(&mut self, stream: RecvStream, name: u8) -> Result<(), ConnectionError> {
        let id =
            StreamId::from_number(name).ok_or_else(|| broken("a stream with an unknown name"))?;
        let place = &mut self.streams[usize::from(id.number())];
        if !matches!(place, Incoming::Unopened) {
            return Err(broken("a stream opened twice"));
        }
        *place = Incoming::Open(stream);
        Ok(())
    }
}

fn broken(what: &str) -> ConnectionError {
    ConnectionError::Protocol {
        what: what.to_owned(),
    }
}

fn read_failed(quic: &Quic, error: &quinn::ReadError) -> ConnectionError {
    match error {
        quinn::ReadError::ConnectionLost(error) => quic.map(error),
        quinn::ReadError::Reset(_) => broken("a stream was reset"),
        quinn::ReadError::ClosedStream
        | quinn::ReadError::IllegalOrderedRead
        | quinn::ReadError::ZeroRttRejected => ConnectionError::Lost {
            what: error.to_string(),
        },
    }
}
