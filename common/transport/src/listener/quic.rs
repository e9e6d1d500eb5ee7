//! The listener's QUIC side.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Connecting, Endpoint, Incoming};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use wire::StreamId;

use super::admission::{Admission, Verdict, refuse};
use super::{ListenerConfig, Shared};
use crate::closing::ConnectionError;
use crate::connection::Carrier;
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
    quic.transport_config(settings::listener(config.segmentation_offload))
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
    match connection {
        Ok(connection) => {
            admit(connection, &shared)
                .settle(&shared, in_progress)
                .await
        }
        Err(error) => refuse(&shared, from, &ConnectionError::of_quic(&error, None)),
    }
}

fn admit(connection: quinn::Connection, shared: &Shared) -> Admission {
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let chain = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    let verdict = Verdict::of(protocol.as_deref(), leaf, shared);
    let remote = connection.remote_address();
    let quic = Quic::new(connection, shared.tasks.clone(), None);
    if verdict.is_welcome() {
        // The first bytes to the agent: it waits for them to know that it is accepted.
        quic.open(StreamId::Session);
    }
    verdict.admit(Carrier::Quic(quic), remote)
}
