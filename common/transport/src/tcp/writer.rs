//! The task that puts bytes on the socket.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use wire::StreamId;

use super::Shared;
use super::control::Record;
use crate::closing::{ConnectionError, shorten};
use crate::settings::{CLOSE_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE};

/// Bytes given to TLS at once; after each such write the most urgent stream is looked at again.
const WRITE_BYTES: usize = 32 * 1_024;

/// A frame and what of it has not gone into the mux yet.
struct Sending {
    frame: Bytes,
    rest: Bytes,
}

type Lanes = [Option<Sending>; StreamId::ALL.len()];

/// Writes until the connection ends.
pub(super) async fn run(mut socket: impl AsyncWrite + Unpin, shared: Arc<Shared>) {
    if let Err(error) = write(&mut socket, &shared).await {
        let what = shorten(&error.to_string());
        shared.finish(ConnectionError::Lost { what });
    }
}

/// Returns once the connection has ended, or a close was asked for and said.
async fn write(socket: &mut (impl AsyncWrite + Unpin), shared: &Shared) -> io::Result<()> {
    let mut lanes = Lanes::default();
    let mut next_ping = Instant::now();
    loop {
        // Not kept while idle: ten thousand idle connections hold no buffers.
        let mut bytes = Vec::new();
        if Instant::now() >= next_ping {
            Record::Ping(shared.counts.now_us()).encode(&mut bytes);
            next_ping = Instant::now() + KEEP_ALIVE;
        }
        encode_control(shared, &mut bytes);
        fill_mux(shared, &mut lanes);
        shared.mux().transmit(WRITE_BYTES, &mut bytes);
        if shared.end.borrow().is_some() {
            return say_close(socket, shared).await;
        }
        if !bytes.is_empty() {
            tokio::select! {
                put = put(socket, &bytes, IDLE_TIMEOUT) => put?,
                // In the middle of a record no other can be said.
                _ = shared.ended() => return Ok(()),
            }
            continue;
        }
        // What has no credit yet waits for it, as long as the closing side has patience.
        if shared.control().close.is_some() && shared.mux().is_flushed() {
            return say_close(socket, shared).await;
        }
        let outbox = &shared.outbox;
        tokio::select! {
            () = shared.due.notified() => {}
            () = outbox.arrival(StreamId::Session) => {}
            () = outbox.arrival(StreamId::CatchUp) => {}
            () = sleep_until(next_ping) => {}
        }
    }
}

/// Tells the peer why, if this side closes.
async fn say_close(socket: &mut (impl AsyncWrite + Unpin), shared: &Shared) -> io::Result<()> {
    let close = shared.control().close.clone();
    if let Some((reason, message)) = close {
        let mut bytes = Vec::new();
        Record::Close(reason, message).encode(&mut bytes);
        put(socket, &bytes, CLOSE_TIMEOUT).await?;
    }
    timeout(CLOSE_TIMEOUT, socket.shutdown())
        .await
        .unwrap_or(Ok(()))
}

async fn put(
    socket: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    within: std::time::Duration,
) -> io::Result<()> {
    let put = async {
        socket.write_all(bytes).await?;
        socket.flush().await
    };
    timeout(within, put)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn encode_control(shared: &Shared, bytes: &mut Vec<u8>) {
    let mut control = shared.control();
    if std::mem::take(&mut control.ready) {
        Record::Ready.encode(bytes);
    }
    if let Some(number) = control.pong.take() {
        Record::Pong(number).encode(bytes);
    }
}

/// Moves frames into the mux as far as it has room; a frame that is wholly there counts as written.
fn fill_mux(shared: &Shared, lanes: &mut Lanes) {
    for (stream, lane) in StreamId::ALL.into_iter().zip(lanes) {
        loop {
            if lane.is_none() {
                *lane = shared.outbox.take(stream).map(|frame| Sending {
                    rest: frame.clone(),
                    frame,
                });
            }
            let Some(sending) = lane else { break };
            let moved = shared.mux().write(stream, &sending.rest);
            sending.rest.advance(moved);
            if !sending.rest.is_empty() {
                break;
            }
            shared.outbox.written(stream, &sending.frame);
            *lane = None;
        }
    }
}
