//! The listener's QUIC side.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Connecting, Endpoint, Incoming};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use wire::ALPN_JOIN;

use super::{Accepted, ListenerConfig, Shared, join};
use crate::certificate::identity_of;
use crate::closing::{CloseReason, ConnectionError};
use crate::connection::{Carrier, Connection};
use crate::frames::FrameLimit;
use crate::quic::Quic;
use crate::refusal::RefusalReason;
use crate::settings;

/// First packets kept for all handshakes that are not accepted yet.
const INCOMING_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// The same for one of them.
const INCOMING_BYTES_EACH: u64 = 64 * 1_024;

pub(super) fn server_config(
    config: &ListenerConfig,
    tls: Arc<rustls::ServerConfig>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut quic = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    quic.transport_config(settings::quic(config.segmentation_offload))
        .max_incoming(4_096)
        .incoming_buffer_size(INCOMING_BYTES_EACH)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX)
        .migration(true);
    Ok(quic)
}

/// Takes handshakes until the endpoint closes.
pub(super) async fn serve(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        let pending = shared.counters.handshakes();
        if pending >= u64::from(shared.config.handshakes_max) {
            shared.counters.refused(RefusalReason::Busy);
            incoming.refuse();
        } else if pending >= u64::from(shared.config.retry_above) && incoming.may_retry() {
            shared.counters.retried();
            // Fails only for an address that is validated already, which was just asked.
            drop(incoming.retry());
        } else {
            begin(incoming, &shared);
        }
    }
}

fn begin(incoming: Incoming, shared: &Arc<Shared>) {
    let from = incoming.remote_address();
    match incoming.accept() {
        Ok(connecting) => {
            let task = handshake(connecting, from, Arc::clone(shared));
            shared.tasks.spawn("quic handshake", task).detach();
        }
        Err(error) => refuse(shared, from, &ConnectionError::of_quic(&error, None)),
    }
}

async fn handshake(connecting: Connecting, from: SocketAddr, shared: Arc<Shared>) {
    let in_progress = shared.counters.handshake();
    let Ok(connection) = timeout(shared.config.handshake_timeout, connecting).await else {
        return refuse(&shared, from, &ConnectionError::TimedOut);
    };
    drop(in_progress);
    match connection {
        Ok(connection) => established(connection, shared).await,
        Err(error) => refuse(&shared, from, &ConnectionError::of_quic(&error, None)),
    }
}

async fn established(connection: quinn::Connection, shared: Arc<Shared>) {
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let chain = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let joining = protocol.as_deref() == Some(ALPN_JOIN);
    let limit = if joining {
        FrameLimit::Handshake
    } else {
        FrameLimit::Session
    };
    let remote = connection.remote_address();
    let quic = Quic::new(connection, shared.tasks.clone(), None);
    let wrap = |quic, permit| Connection::new(Carrier::Quic(quic), remote, limit, permit);
    let Some(permit) = shared.connections.try_acquire(1) else {
        return turn_away(&shared, &wrap(quic, None), RefusalReason::Busy).await;
    };
    if joining {
        quic.open(wire::StreamId::Session);
        return join::serve(wrap(quic, Some(permit)), &shared).await;
    }
    let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) else {
        return turn_away(&shared, &wrap(quic, None), RefusalReason::NoCertificate).await;
    };
    let Ok(peer) = identity_of(leaf) else {
        return turn_away(&shared, &wrap(quic, None), RefusalReason::BadCertificate).await;
    };
    // The first bytes to the agent: it waits for them to know that it is accepted.
    quic.open(wire::StreamId::Session);
    let connection = wrap(quic, Some(permit));
    hand_over(&shared, Accepted { peer, connection }).await;
}

/// Gives a connection to whoever accepts.
pub(super) async fn hand_over(shared: &Shared, accepted: Accepted) {
    let kind = accepted.connection.kind();
    tracing::debug!(agent = %accepted.peer.agent(), transport = kind.as_str(), "connection accepted");
    match shared.accepted.send(accepted).await {
        Ok(()) => shared.counters.accepted(kind),
        Err(closed) => {
            let connection = closed.into_item().connection;
            turn_away(shared, &connection, RefusalReason::ShuttingDown).await;
        }
    }
}

/// Ends an established connection that is not to be.
pub(super) async fn turn_away(shared: &Shared, connection: &Connection, reason: RefusalReason) {
    let refused = ConnectionError::Refused {
        reason,
        detail: connection.kind().as_str().to_owned(),
    };
    refuse(shared, connection.remote(), &refused);
    // In order: over TCP a hard end could overtake the reason.
    connection.close(CloseReason::Refused(reason), "").await;
}

/// Counts a handshake that failed.
pub(super) fn refuse(shared: &Shared, from: SocketAddr, error: &ConnectionError) {
    let reason = error.refusal().unwrap_or(match error {
        ConnectionError::TimedOut => RefusalReason::TimedOut,
        ConnectionError::Lost { .. } | ConnectionError::ClosedByPeer { .. } => {
            RefusalReason::Truncated
        }
        ConnectionError::Protocol { .. } => RefusalReason::Garbage,
        ConnectionError::ClosedHere { .. } | ConnectionError::Refused { .. } => {
            RefusalReason::Other
        }
    });
    shared.counters.refused(reason);
    tracing::debug!(%from, reason = reason.as_str(), %error, "handshake refused");
}
