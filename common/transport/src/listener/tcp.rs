//! The listener's TCP side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Permit, Permits};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use tokio_rustls::server::TlsStream as ServerStream;

use super::Shared;
use super::admission::{Admission, Verdict, refuse};
use crate::closing::{ConnectionError, shorten};
use crate::connection::Carrier;
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
    match stream {
        Ok(stream) => {
            let admission = admit(stream, from, &shared);
            if !matches!(admission, Admission::Refused(..)) {
                drop(half_open);
            }
            admission.settle(&shared, in_progress).await;
        }
        Err(error) => {
            let refused = ConnectionError::Refused {
                reason: RefusalReason::of_io(&error),
                detail: shorten(&error.to_string()),
            };
            refuse(&shared, from, &refused);
        }
    }
}

fn admit(stream: ServerStream<Counted<TcpStream>>, from: SocketAddr, shared: &Shared) -> Admission {
    let tls = stream.get_ref().1;
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    let verdict = Verdict::of(tls.alpn_protocol(), leaf, shared);
    let welcome = verdict.is_welcome();
    let closing = shared.closing.clone();
    let tcp = Tcp::new(TlsStream::Server(stream), &shared.tasks, closing, welcome);
    verdict.admit(Carrier::Tcp(tcp), from)
}
