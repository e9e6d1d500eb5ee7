//! Connections between agents and aggregators, and TLS for everybody else.
//!
//! - **Agents and aggregators** speak QUIC, or the same streams over TLS and TCP where UDP is blocked; the callers see one
//!   [`Connection`]. Both sides are certified (TLS 1.3 only) by the aggregator's own [`Authority`]. [`Listener`] is the aggregator's
//!   port, [`Connector`] the agent's way to it, [`join`] the way from a [`JoinToken`] to an [`IdentityStore`].
//! - **HTTP** servers and clients get checked configurations from [`ServerTls`] and [`ClientTls`].
//!
//! Invariants:
//! 1. Nothing of an unauthenticated peer costs more than a bounded handshake; every refusal has a [`RefusalReason`], told to the
//!    peer where possible and counted here.
//! 2. Identity comes from the certificate, and the certificate from the token: nothing that an agent says changes it.
//! 3. Certificates change without a restart, and no open connection notices.
//! 4. Memory per connection is bounded by its windows, its outgoing queues and one frame per stream; an idle one holds almost
//!    nothing. Cancelling any call loses nothing that was promised.
//!
//! How this looks on the wire and on disk: PROTOCOL.md.
//!
//! Never here: what messages mean, token bookkeeping, HTTP.

#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod closing;
mod connection;
mod connector;
mod crypto;
mod dialer;
mod folder;
mod frames;
mod identity;
mod join;
mod listener;
mod outbox;
mod peer;
mod quic;
mod quic_runtime;
mod refusal;
mod reset;
mod session_tls;
mod settings;
mod socket;
mod tcp;
mod text;
mod tls;
mod token;

pub use authority::{
    Authority, AuthorityError, Fingerprint, SERVER_NAME, SIGNING_REQUEST_BYTES_MAX,
};
pub use certificate::{CertificateError, KeyAndChain, Validity};
pub use closing::{CloseReason, ConnectionError};
pub use connection::{Connection, ConnectionStats, ReceiveError, SendError, TransportKind};
pub use connector::{ConnectError, Connector, ConnectorConfig};
pub use crypto::NoRandomness;
pub use folder::FolderError;
pub use identity::{IdentityError, IdentityStore, PendingKey};
pub use join::{JoinError, join};
pub use listener::{
    Accepted, ListenError, Listener, ListenerConfig, ListenerStats, PendingJoin, Transports,
};
pub use peer::{PeerIdentity, PeerIdentityError};
pub use refusal::RefusalReason;
pub use rustls_pki_types::CertificateDer;
pub use tls::{
    ClientAuth, ClientTls, ClientTlsConfig, ClientTlsStream, ServerTls, ServerTlsConfig,
    ServerTlsStream, TlsFileError, TlsVersion, client_names,
};
pub use token::{Credential, JoinToken, TokenError, TokenId, TokenSecret};

#[cfg(test)]
mod tests;
