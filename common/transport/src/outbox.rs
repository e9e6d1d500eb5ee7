//! Frames on their way out: a bounded queue per stream between the senders and the connection's writers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};

use wire::StreamId;

use crate::settings::OUTGOING_BYTES_MAX;

/// The queues of all streams of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: [Lane; StreamId::ALL.len()],
    /// Frames that were taken in and are not written yet.
    unwritten: watch::Sender<usize>,
}

#[derive(Debug)]
struct Lane {
    /// Bytes that may still be queued; closed with the connection.
    room: Semaphore,
    frames: Mutex<VecDeque<Bytes>>,
    arrived: Notify,
}

/// The outbox was closed.
#[derive(Debug)]
pub(crate) struct OutboxClosed;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            lanes: StreamId::ALL.map(|_| Lane {
                room: Semaphore::new(usize::try_from(OUTGOING_BYTES_MAX).unwrap_or(usize::MAX)),
                frames: Mutex::default(),
                arrived: Notify::new(),
            }),
            unwritten: watch::Sender::new(0),
        }
    }

    /// Waits for room and takes the frame in; cancelled before it returns, it has taken nothing.
    pub(crate) async fn send(&self, stream: StreamId, frame: Bytes) -> Result<(), OutboxClosed> {
        let lane = self.lane(stream);
        let room = lane.room.acquire_many(cost(&frame)).await;
        room.map_err(|_| OutboxClosed)?.forget();
        self.unwritten.send_modify(|count| *count += 1);
        lane.frames().push_back(frame);
        lane.arrived.notify_one();
        Ok(())
    }

    /// Returns the next frame of a stream; the writer calls [`written`](Self::written) when it has passed it on.
    pub(crate) fn take(&self, stream: StreamId) -> Option<Bytes> {
        self.lane(stream).frames().pop_front()
    }

    /// Waits until [`take`](Self::take) may have something.
    pub(crate) async fn arrival(&self, stream: StreamId) {
        self.lane(stream).arrived.notified().await;
    }

    /// Gives back the room of a frame that was taken.
    pub(crate) fn written(&self, stream: StreamId, frame: &Bytes) {
        let room = usize::try_from(cost(frame)).unwrap_or(0);
        self.lane(stream).room.add_permits(room);
        self.unwritten.send_modify(|count| *count -= 1);
    }

    /// Waits until everything that was taken in is written.
    pub(crate) async fn flushed(&self) {
        let mut unwritten = self.unwritten.subscribe();
        let flushed = unwritten.wait_for(|count| *count == 0).await;
        flushed.expect("the sender lives in `self`");
    }

    /// Refuses further frames, and those that wait for room.
    pub(crate) fn close(&self) {
        for lane in &self.lanes {
            lane.room.close();
        }
    }

    fn lane(&self, stream: StreamId) -> &Lane {
        &self.lanes[usize::from(stream.number())]
    }
}

impl Lane {
    fn frames(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        // Single pushes and pops: a panicking holder cannot leave the queue half changed.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame larger than the lane takes all of it, and so goes alone.
fn cost(frame: &Bytes) -> u32 {
    u32::try_from(frame.len().max(1))
        .unwrap_or(u32::MAX)
        .min(OUTGOING_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_full_lane_makes_its_senders_wait_and_no_others() {
        let outbox = Outbox::new();
        let large = Bytes::from(vec![0; 10_000_000]);
        outbox.send(StreamId::CatchUp, large).await.unwrap();
        let mut second = pin!(outbox.send(StreamId::CatchUp, Bytes::from_static(b"b")));
        let mut context = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        outbox.send(StreamId::Session, Bytes::new()).await.unwrap();

        let first = outbox.take(StreamId::CatchUp).unwrap();
        assert!(second.as_mut().poll(&mut context).is_pending());
        outbox.written(StreamId::CatchUp, &first);
        second.await.unwrap();

        outbox.close();
        assert!(outbox.send(StreamId::Session, Bytes::new()).await.is_err());
    }
}
