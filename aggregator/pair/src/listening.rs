//! The side that listens: the first of the pair.

use std::fmt;
use std::sync::Arc;

use ingest::{JoinError, Tokens};
use model::TimestampMs;
use rows::AgentId;
use runtime::{Task, Token};
use transport::{
    Accepted, Authority, CertificateDer, CloseReason, Credential, Listener, PeerIdentity,
    PendingJoin, RefusalReason,
};
use wire::{JoinRefusal, JoinRequest, PairMessage};

use crate::link::{Certificates, Link};

/// What listening needs.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The port.
    pub listener: Arc<Listener>,
    /// Whose certificates are taken there.
    pub authority: Arc<Authority>,
    /// Who may join it.
    pub tokens: Arc<Tokens>,
}

/// Serves the other of the pair until `stop`. One has the link at a time: a newer connection of the same name takes the place of the
/// older, and one of another name is refused.
pub async fn listen(link: Link, listening: Listening, stop: Token) {
    let accepting = async {
        let mut current: Option<Current> = None;
        while let Some(accepted) = listening.listener.accept().await {
            current = take_over(current, &link, &listening, accepted, &stop).await;
        }
        if let Some(current) = current {
            current.end().await;
        }
    };
    let joining = async {
        while let Some(pending) = listening.listener.next_join().await {
            answer(&link, &listening, pending).await;
        }
    };
    let stopping = async {
        stop.stopped().await;
        listening.listener.stop();
    };
    tokio::join!(accepting, joining, stopping);
}

/// Who has the link.
struct Current {
    name: AgentId,
    stop: Token,
    serving: Task<()>,
}

impl Current {
    async fn end(self) {
        self.stop.stop();
        // A panic is logged where it happens.
        let _ended = self.serving.await;
    }
}

async fn take_over(
    current: Option<Current>,
    link: &Link,
    listening: &Listening,
    accepted: Accepted,
    stop: &Token,
) -> Option<Current> {
    let Accepted { peer, connection } = accepted;
    if let Some(current) = current {
        if &current.name != peer.agent() && !current.serving.is_finished() {
            let message = format!("{} is the other of this pair already", current.name);
            tracing::warn!(peer = %peer.agent(), address = %connection.remote(), message, "refused a third one");
            link.status.refuse();
            let reason = CloseReason::Refused(RefusalReason::Busy);
            connection.close(reason, &message).await;
            return Some(current);
        }
        current.end().await;
    }
    let (name, stop) = (peer.agent().clone(), stop.child());
    let issuing = Issuing {
        authority: Arc::clone(&listening.authority),
        peer,
    };
    let (link, serving_stop) = (link.clone(), stop.clone());
    let tasks = link.tasks.clone();
    let serving = tasks.spawn("pair", async move {
        let end = link.drive(&connection, &issuing, &serving_stop).await;
        tracing::warn!(peer = %issuing.peer.agent(), %end, "the pair's link is down; both tell");
    });
    Some(Current {
        name,
        stop,
        serving,
    })
}

/// Renews the certificate of whoever dials.
struct Issuing {
    authority: Arc<Authority>,
    peer: PeerIdentity,
}

impl Certificates for Issuing {
    fn due(&self) -> Option<PairMessage> {
        None
    }

    fn take(&self, message: PairMessage) -> Result<Option<PairMessage>, &'static str> {
        let PairMessage::Renew { request } = message else {
            return Err("only the one that listens issues certificates");
        };
        Ok(Some(
            match self.authority.issue_agent(&request, &self.peer) {
                Ok(chain) => PairMessage::Certificate {
                    chain: chain.into_iter().map(|one| one.to_vec()).collect(),
                },
                Err(error) => PairMessage::RenewalRefused {
                    message: error.to_string(),
                },
            },
        ))
    }
}

type Granted = (PeerIdentity, Vec<CertificateDer<'static>>);

async fn answer(link: &Link, listening: &Listening, pending: PendingJoin) {
    let (from, listening) = (pending.from(), listening.clone());
    let now = TimestampMs::from(link.timer.clock().wall());
    // The token's use is made durable: a sync.
    let deciding = link.tasks.spawn_blocking("join the pair", move || {
        let decision = decide(&listening, pending.request(), now);
        (pending, decision)
    });
    match deciding.await {
        Ok((pending, Ok((peer, chain)))) => {
            tracing::info!(peer = %peer.agent(), %from, "joined the pair");
            pending.grant(chain);
        }
        Ok((pending, Err((reason, message)))) => {
            tracing::warn!(%from, reason = reason.as_str(), message, "may not join the pair");
            pending.refuse(reason, message);
        }
        Err(error) => tracing::error!(%from, %error, "joining the pair failed"),
    }
}

fn decide(
    listening: &Listening,
    request: &JoinRequest,
    now: TimestampMs,
) -> Result<Granted, (JoinRefusal, String)> {
    let malformed = |error: &dyn fmt::Display| (JoinRefusal::Malformed, error.to_string());
    let credential: Credential = request.token.parse().map_err(|error| malformed(&error))?;
    let name = request.agent.parse().map_err(|error| malformed(&error))?;
    let peer = PeerIdentity::new(name, None, None).map_err(|error| malformed(&error))?;
    let redeemed = listening.tokens.redeem(&credential, now);
    redeemed.map_err(|error| match error {
        JoinError::Refused { reason, message } => (reason, message),
        JoinError::Database(error) => (JoinRefusal::Busy, format!("{error}; try again later")),
    })?;
    let chain = listening.authority.issue_agent(&request.request, &peer);
    Ok((peer, chain.map_err(|error| malformed(&error))?))
}
