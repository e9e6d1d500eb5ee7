//! What becomes of a finished handshake: a session, a request to join, or a refusal.

use std::net::SocketAddr;

use runtime::Permit;
use rustls_pki_types::CertificateDer;
use wire::{ALPN_JOIN, ALPN_SESSION};

use super::stats::Handshake;
use super::{Accepted, Shared, join};
use crate::certificate::identity_of;
use crate::closing::{CloseReason, ConnectionError};
use crate::connection::{Carrier, Connection};
use crate::frames::FrameLimit;
use crate::peer::PeerIdentity;
use crate::refusal::RefusalReason;

/// The decision, made from what TLS knows.
pub(super) enum Verdict {
    Session(PeerIdentity, Permit),
    Join(Permit),
    Refuse(RefusalReason),
}

impl Verdict {
    /// Decides by protocol, certificate and free places; places for joining are apart from those of sessions, so that strangers
    /// cannot take these.
    pub(super) fn of(
        protocol: Option<&[u8]>,
        leaf: Option<&CertificateDer<'_>>,
        shared: &Shared,
    ) -> Self {
        match (protocol, leaf.map(identity_of)) {
            (Some(ALPN_JOIN), _) => match shared.joining.try_acquire(1) {
                Some(permit) => Self::Join(permit),
                None => Self::Refuse(RefusalReason::Busy),
            },
            (Some(ALPN_SESSION), Some(Ok(peer))) => match shared.connections.try_acquire(1) {
                Some(permit) => Self::Session(peer, permit),
                None => Self::Refuse(RefusalReason::Busy),
            },
            (Some(ALPN_SESSION), Some(Err(_))) => Self::Refuse(RefusalReason::BadCertificate),
            (Some(ALPN_SESSION), None) => Self::Refuse(RefusalReason::NoCertificate),
            // TLS over TCP lets a client through that offers no protocol at all.
            _ => Self::Refuse(RefusalReason::Protocol),
        }
    }

    pub(super) const fn is_welcome(&self) -> bool {
        matches!(self, Self::Session(..) | Self::Join(_))
    }

    pub(super) fn admit(self, carrier: Carrier, remote: SocketAddr) -> Admission {
        match self {
            Self::Session(peer, permit) => Admission::Session(Accepted {
                peer,
                connection: Connection::new(carrier, remote, FrameLimit::Session, Some(permit)),
            }),
            Self::Join(permit) => {
                let limit = FrameLimit::Handshake;
                Admission::Join(Connection::new(carrier, remote, limit, Some(permit)))
            }
            Self::Refuse(reason) => {
                let limit = FrameLimit::Handshake;
                Admission::Refused(Connection::new(carrier, remote, limit, None), reason)
            }
        }
    }
}

/// The decision, with its connection.
pub(super) enum Admission {
    Session(Accepted),
    Join(Connection),
    Refused(Connection, RefusalReason),
}

impl Admission {
    /// Carries the decision out. Who is refused counts as a handshake in progress until the reason was told.
    pub(super) async fn settle(self, shared: &Shared, in_progress: Handshake<'_>) {
        match self {
            Self::Session(accepted) => {
                drop(in_progress);
                hand_over(shared, accepted).await;
            }
            Self::Join(connection) => {
                drop(in_progress);
                join::serve(connection, shared).await;
            }
            Self::Refused(connection, reason) => turn_away(shared, &connection, reason).await,
        }
    }
}

/// Gives a connection to whoever accepts.
async fn hand_over(shared: &Shared, accepted: Accepted) {
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
async fn turn_away(shared: &Shared, connection: &Connection, reason: RefusalReason) {
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
