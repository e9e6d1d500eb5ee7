//! Joining, from the agent's side: a token becomes an identity.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use files::SharedFileSystem;
use rows::AgentId;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use wire::{JoinRefusal, JoinReply, JoinRequest, StreamId};

use crate::authority::Fingerprint;
use crate::closing::CloseReason;
use crate::connection::{Connection, ReceiveError, SendError};
use crate::connector::{ConnectError, ConnectorConfig};
use crate::dialer::Dialer;
use crate::frames::FrameLimit;
use crate::identity::{IdentityError, IdentityStore, PendingKey};
use crate::session_tls::{PinnedRoot, join_config};
use crate::token::JoinToken;

/// The time for the aggregator's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an agent did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server is of another authority than the token's; the token was not shown to it.
    #[error(
        "the server at {target} does not belong to the authority that the token names ({expected}); check {setting}, or use a token of that aggregator"
    )]
    WrongAuthority {
        /// What was dialled.
        target: String,
        /// The token's fingerprint.
        expected: Fingerprint,
        /// The setting that says what is dialled.
        setting: &'static str,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The aggregator said no.
    #[error("the aggregator at {target} refused the token ({}): {message}", reason.as_str())]
    Refused {
        /// What was dialled.
        target: String,
        /// Why.
        reason: JoinRefusal,
        /// Its words.
        message: String,
    },
    /// The request could not be sent.
    #[error("cannot send the request to join")]
    Send(#[from] SendError),
    /// The answer could not be received.
    #[error("cannot receive the answer to the request to join")]
    Receive(#[from] ReceiveError),
    /// No answer.
    #[error("the aggregator at {target} did not answer the request to join within 10 s; try again")]
    NoAnswer {
        /// What was dialled.
        target: String,
    },
    /// The certificate is not usable, or cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Joins the aggregator at `target` (`HOST:PORT`) as `agent` and keeps the identity in `folder`.
///
/// The server's chain must hold the root whose fingerprint the token carries; only then is the token shown. Cancelled before it
/// returns, a use of the token may be spent.
pub async fn join(
    config: &ConnectorConfig,
    target: &str,
    token: &JoinToken,
    agent: &AgentId,
    files: SharedFileSystem,
    folder: &Path,
    clock: SharedClock,
) -> Result<IdentityStore, JoinError> {
    let key = PendingKey::generate()?;
    let request = JoinRequest {
        token: token.credential().to_text(),
        agent: agent.to_string(),
        request: key.request().to_vec(),
    };
    let connection = connect(config, target, token, Arc::clone(&clock)).await?;
    let answer = timeout(ANSWER_TIMEOUT, ask(&connection, &request)).await;
    connection.abort(CloseReason::Done, "");
    let answer = answer.map_err(|_| JoinError::NoAnswer {
        target: target.to_owned(),
    })?;
    match answer? {
        JoinReply::Granted { chain } => {
            let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
            let root = chain.last().map(Fingerprint::of);
            if root != Some(token.authority()) {
                let what = "it does not lead to the root that the token names";
                return Err(IdentityError::Foreign { what }.into());
            }
            Ok(IdentityStore::create(files, folder, clock, &key, chain)?)
        }
        JoinReply::Refused { reason, message } => Err(JoinError::Refused {
            target: target.to_owned(),
            reason,
            message: crate::closing::shorten(&message),
        }),
    }
}

async fn connect(
    config: &ConnectorConfig,
    target: &str,
    token: &JoinToken,
    clock: SharedClock,
) -> Result<Connection, JoinError> {
    let pinned = Arc::new(PinnedRoot::new(token.authority()));
    let tls = join_config(Arc::clone(&pinned), clock).map_err(ConnectError::Tls)?;
    let dialer = Dialer::new(config, tls, FrameLimit::Handshake)?;
    let connected = dialer.dial(target, config.transports).await;
    connected.map_err(|error| {
        if pinned.mismatched() {
            JoinError::WrongAuthority {
                target: target.to_owned(),
                expected: token.authority(),
                setting: config.target_setting,
            }
        } else {
            error.into()
        }
    })
}

async fn ask(connection: &Connection, request: &JoinRequest) -> Result<JoinReply, JoinError> {
    connection.send_message(StreamId::Session, request).await?;
    let (_, reply) = connection.receive().await?;
    Ok(reply)
}
