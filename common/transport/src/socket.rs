//! Sockets, and the runtime that QUIC sees.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use runtime::Tasks;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::settings::KEEP_ALIVE;

/// The least that a QUIC packet of a peer can have (RFC 9000, section 10.3: what is shorter cannot even be a stateless reset).
const PACKET_BYTES_MIN: usize = 21;

/// Binds a UDP socket, with a receive buffer of `receive_bytes` if the kernel grants it.
pub(crate) fn bind_udp(address: SocketAddr, receive_bytes: Option<usize>) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    if let Some(wanted) = receive_bytes {
        enlarge(&socket, wanted);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A bigger buffer rides out pauses of the process; a smaller one costs retransmissions, so it is worth a warning but no more.
fn enlarge(socket: &Socket, wanted: usize) {
    let granted = socket
        .set_recv_buffer_size(wanted)
        .and_then(|()| socket.recv_buffer_size());
    match granted {
        Ok(granted) if granted >= wanted => {}
        Ok(granted) => tracing::warn!(
            wanted,
            granted,
            "the kernel grants a smaller UDP receive buffer than wanted; raise net.core.rmem_max to avoid losses under load"
        ),
        Err(error) => {
            tracing::warn!(wanted, %error, "cannot set the size of the UDP receive buffer")
        }
    }
}

/// Settings of every TCP socket: no delay for small frames; the kernel notices a peer whose machine is gone.
pub(crate) fn tune_tcp(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE * 2)
        .with_interval(KEEP_ALIVE);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

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
        TokioRuntime.new_timer(at)
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

/// Waits `duration`; for races, where a deadline is a competitor like any other.
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

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
