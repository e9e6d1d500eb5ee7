//! The task that takes bytes from the socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use runtime::Token;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::control::{Record, Splitter};
use super::{Counts, Shared};
use crate::closing::{CloseReason, ConnectionError, shorten};
use crate::refusal::RefusalReason;
use crate::settings::IDLE_TIMEOUT;

/// Bytes taken from TLS at once.
const READ_BYTES: usize = 4 * 1_024;

/// Reads until the connection ends.
pub(super) async fn run(mut socket: impl AsyncRead + Unpin, shared: Arc<Shared>, stop: Token) {
    // Whoever receives must hear of the end, also when this task is aborted.
    let _end = EndOnDrop(&shared);
    let end = tokio::select! {
        end = read(&mut socket, &shared) => end,
        _ = shared.ended() => return,
        () = stop.stopped() => return shared.abort(CloseReason::ShuttingDown, ""),
    };
    // After a close the peer hangs up as it should.
    let closing = shared.control().close.as_ref().map(|(reason, _)| *reason);
    shared.finish(closing.map_or(end, |reason| ConnectionError::ClosedHere { reason }));
}

struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let reason = CloseReason::ShuttingDown;
        self.0.finish(ConnectionError::ClosedHere { reason });
    }
}

async fn read(socket: &mut (impl AsyncRead + Unpin), shared: &Shared) -> ConnectionError {
    let mut splitter = Splitter::default();
    let mut bytes = [0; READ_BYTES];
    loop {
        let length = match timeout(IDLE_TIMEOUT, socket.read(&mut bytes)).await {
            Err(_silence) => return ConnectionError::TimedOut,
            Ok(Err(error)) => return failed(&error),
            Ok(Ok(0)) => {
                let what = "the peer hung up without a word".to_owned();
                return ConnectionError::Lost { what };
            }
            Ok(Ok(length)) => length,
        };
        let mut end = None;
        let received = splitter.receive(&bytes[..length], &mut shared.mux(), |record| {
            end = end.take().or_else(|| take(record, shared));
        });
        shared.arrived.notify_one();
        // Credit may have come.
        shared.due.notify_one();
        if let Some(end) = end {
            return end;
        }
        if let Err(error) = received {
            let what = error.to_string();
            return ConnectionError::Protocol { what };
        }
    }
}

/// Acts on a record; returns the connection's end if it is that.
fn take(record: Record, shared: &Shared) -> Option<ConnectionError> {
    match record {
        Record::Ready => {
            shared.ready.send_replace(true);
        }
        Record::Ping(number) => shared.control().pong = Some(number),
        Record::Pong(number) => shared.counts.pong_arrived(number),
        Record::Close(reason, message) => {
            return Some(ConnectionError::ClosedByPeer { reason, message });
        }
    }
    None
}

fn failed(error: &io::Error) -> ConnectionError {
    let detail = shorten(&error.to_string());
    match RefusalReason::of_io(error) {
        RefusalReason::Truncated | RefusalReason::TimedOut | RefusalReason::Other => {
            ConnectionError::Lost { what: detail }
        }
        // A TLS alert after the handshake: the peer did not like our certificate.
        reason => ConnectionError::Refused { reason, detail },
    }
}

impl Counts {
    /// Returns the low bits of the microseconds since the connection's start: the number of a ping.
    pub(super) fn now_us(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the difference of two of these matters"
        )]
        let low = self.start.elapsed().as_micros() as u32;
        low
    }

    fn pong_arrived(&self, sent_us: u32) {
        let round_trip = self.now_us().wrapping_sub(sent_us);
        // Zero means "not measured".
        let round_trip = u64::from(round_trip.max(1));
        self.round_trip_us.store(round_trip, Ordering::Relaxed);
    }
}
