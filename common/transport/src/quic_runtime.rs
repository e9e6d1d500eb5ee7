//! The runtime that QUIC sees.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use runtime::Tasks;
use tokio::time::{Sleep, sleep_until};

/// The least that a QUIC packet of a peer can have (RFC 9000, section 10.3: what is shorter cannot even be a stateless reset).
const PACKET_BYTES_MIN: usize = 21;

/// What QUIC runs on: tasks in our set, sockets that count what cannot be QUIC.
#[derive(Debug)]
pub(crate) struct QuicRuntime {
    tasks: Tasks,
    garbage: Arc<AtomicU64>,
}

impl QuicRuntime {
    pub(crate) fn new(tasks: Tasks, garbage: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { tasks, garbage })
    }
}

impl Runtime for QuicRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(sleep_until(at.into()))))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.spawn("quic driver", future).detach();
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(WatchedSocket {
            inner: TokioRuntime.wrap_udp_socket(socket)?,
            garbage: Arc::clone(&self.garbage),
        }))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A timer that leaves nothing behind when it is set anew. One of tokio's that is set later stays where it was until then, and wakes its
/// thread for nothing; and nearly every timer of QUIC is set later before it expires.
#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.0.set(sleep_until(at.into()));
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}

/// QUIC drops what it cannot read without a word; this counts it.
#[derive(Debug)]
struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    garbage: Arc<AtomicU64>,
}

impl AsyncUdpSocket for WatchedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buffer, meta) in bufs.iter().zip(meta.iter()).take(received) {
            let datagrams = buffer.get(..meta.len).unwrap_or_default();
            let garbage = datagrams
                .chunks(meta.stride.max(1))
                .filter(|datagram| !may_be_quic(datagram))
                .count();
            if garbage > 0 {
                let garbage = u64::try_from(garbage).unwrap_or(u64::MAX);
                self.garbage.fetch_add(garbage, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Returns whether a datagram has the outside of a packet of QUIC version 1: long header with that version, or short header; both
/// may be "greased" in the second bit by peers that negotiated it, which ours do not.
fn may_be_quic(datagram: &[u8]) -> bool {
    if datagram.len() < PACKET_BYTES_MIN {
        return false;
    }
    match datagram {
        [first, version @ ..] if first & 0x80 != 0 => version.starts_with(&[0, 0, 0, 1]),
        [first, ..] => first & 0x40 != 0,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_timer_that_is_set_anew_keeps_its_last_time() {
        let now = || tokio::time::Instant::now().into_std();
        let start = now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timer = Timer(Box::pin(sleep_until(start.into())));
        // Far too late, then earlier; a moment, then later.
        for (first, last) in [(3_600_000, 20), (21, 40)] {
            for ms in [first, last] {
                Pin::new(&mut timer).reset(at(ms));
                // Registered with what it was set to, unless that has passed.
                let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut timer).poll(cx))).await;
                assert!(polled.is_pending() || now() >= at(ms));
            }
            Pin::new(&mut timer).reset(at(last));
            poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
            assert!(now() >= at(last), "{last}");
        }
    }

    #[test]
    fn what_cannot_be_quic_is_told_by_its_outside() {
        let packet = |start: &[u8]| {
            let mut packet = start.to_vec();
            packet.resize(1_200, 0x55);
            packet
        };
        assert!(may_be_quic(&packet(&[0xc0, 0, 0, 0, 1])));
        assert!(may_be_quic(&packet(&[0x40])));
        assert!(!may_be_quic(&packet(&[0xc0, 1, 2, 3, 4])));
        assert!(!may_be_quic(&packet(&[0x00])));
        assert!(!may_be_quic(&[0x40; 20]));
        assert!(!may_be_quic(&[]));
    }
}
