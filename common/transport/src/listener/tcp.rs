//! The listener's TCP side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Permit, Permits};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use tokio_rustls::server::TlsStream as ServerStream;
use wire::{ALPN_JOIN, ALPN_SESSION};

use super::quic::{hand_over, refuse, turn_away};
use super::{Accepted, Shared, join};
use crate::certificate::identity_of;
use crate::closing::{ConnectionError, shorten};
use crate::connection::{Carrier, Connection};
use crate::frames::FrameLimit;
use crate::refusal::RefusalReason;
use crate::socket::{pause, tune_tcp};
use crate::tcp::{Counted, Tcp};

/// The pause after the kernel refused a socket, as it does when the process has too many files open.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes sockets for ever.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let half_open = Permits::new("half-open connections", shared.config.handshakes_max);
    loop {
        match listener.accept().await {
            Ok((socket, from)) => match half_open.try_acquire(1) {
                Some(permit) => {
                    let task = handshake(socket, from, permit, Arc::clone(&shared));
                    shared.tasks.spawn("tcp handshake", task).detach();
                }
                // The socket closes as it is dropped.
                None => shared.counters.refused(RefusalReason::Busy),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; is the limit of open files reached?");
                pause(PAUSE).await;
            }
        }
    }
}

async fn handshake(socket: TcpStream, from: SocketAddr, half_open: Permit, shared: Arc<Shared>) {
    let in_progress = shared.counters.handshake();
    let acceptor = shared.tls().tcp;
    let accepting = async {
        tune_tcp(&socket)?;
        acceptor.accept(Counted::new(socket)).await
    };
    let Ok(stream) = timeout(shared.config.handshake_timeout, accepting).await else {
        return refuse(&shared, from, &ConnectionError::TimedOut);
    };
    drop(in_progress);
    drop(half_open);
    match stream {
        Ok(stream) => established(stream, from, shared).await,
        Err(error) => {
            let refused = ConnectionError::Refused {
                reason: RefusalReason::of_io(&error),
                detail: shorten(&error.to_string()),
            };
            refuse(&shared, from, &refused);
        }
    }
}

async fn established(
    stream: ServerStream<Counted<TcpStream>>,
    from: SocketAddr,
    shared: Arc<Shared>,
) {
    let tls = stream.get_ref().1;
    let peer = tls
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or(RefusalReason::NoCertificate)
        .and_then(|leaf| identity_of(leaf).map_err(|_| RefusalReason::BadCertificate));
    let protocol = tls.alpn_protocol();
    let joining = protocol == Some(ALPN_JOIN);
    let limit = if joining {
        FrameLimit::Handshake
    } else {
        FrameLimit::Session
    };
    let verdict = match (protocol, shared.connections.try_acquire(1)) {
        (_, None) => Err(RefusalReason::Busy),
        (Some(ALPN_JOIN), Some(permit)) => Ok((permit, None)),
        (Some(ALPN_SESSION), Some(permit)) => peer.map(|peer| (permit, Some(peer))),
        // TLS over TCP lets a client through that offers no protocol at all.
        (_, Some(_)) => Err(RefusalReason::Protocol),
    };
    let closing = shared.closing.clone();
    let tcp = Tcp::new(
        TlsStream::Server(stream),
        &shared.tasks,
        closing,
        verdict.is_ok(),
    );
    let wrap = |permit| Connection::new(Carrier::Tcp(tcp), from, limit, permit);
    match verdict {
        Ok((permit, Some(peer))) => {
            let connection = wrap(Some(permit));
            hand_over(&shared, Accepted { peer, connection }).await;
        }
        Ok((permit, None)) => join::serve(wrap(Some(permit)), &shared).await,
        Err(reason) => turn_away(&shared, &wrap(None), reason).await,
    }
}
