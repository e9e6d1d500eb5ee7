//! Sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::settings::KEEP_ALIVE;

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

/// Waits `duration`; for races, where a deadline is a competitor like any other.
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
