//! Joining, from the aggregator's side: one request, one reply.

use std::fmt;
use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wire::{JoinRefusal, JoinReply, JoinRequest, StreamId};

use super::Shared;
use crate::closing::CloseReason;
use crate::connection::Connection;
use crate::refusal::RefusalReason;

/// A request to join that waits for an answer; dropped without one, the agent is told to try again later.
pub struct PendingJoin {
    request: JoinRequest,
    from: SocketAddr,
    reply: oneshot::Sender<JoinReply>,
}

impl PendingJoin {
    /// Returns the request; nothing in it is verified.
    pub fn request(&self) -> &JoinRequest {
        &self.request
    }

    /// Returns where it came from.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// Lets the agent join with the certificate that [`Authority::issue_agent`](crate::Authority::issue_agent) made.
    pub fn grant(self, chain: Vec<CertificateDer<'static>>) {
        let chain = chain.into_iter().map(|der| der.to_vec()).collect();
        self.answer(JoinReply::Granted { chain });
    }

    /// Refuses; `message` is for people.
    pub fn refuse(self, reason: JoinRefusal, message: impl Into<String>) {
        let message = message.into();
        self.answer(JoinReply::Refused { reason, message });
    }

    fn answer(self, reply: JoinReply) {
        // The agent may have left: nobody is waiting then.
        drop(self.reply.send(reply));
    }
}

impl fmt::Debug for PendingJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingJoin")
            .field("agent", &self.request.agent)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Takes the request, has it decided and answers.
pub(super) async fn serve(connection: Connection, shared: &Shared) {
    let exchange = async {
        let (_, request) = connection.receive::<JoinRequest>().await.ok()?;
        let reply = decide(request, &connection, shared).await;
        // A reply that does not arrive is asked for again.
        drop(connection.send_message(StreamId::Session, &reply).await);
        connection.close(CloseReason::Done, "").await;
        Some(())
    };
    match timeout(shared.config.join_timeout, exchange).await {
        Ok(Some(())) => {}
        Ok(None) => {
            shared.counters.refused(RefusalReason::Garbage);
            connection.abort(CloseReason::Protocol, "expected a request to join");
        }
        Err(_too_slow) => {
            shared.counters.refused(RefusalReason::TimedOut);
            let reason = CloseReason::Refused(RefusalReason::TimedOut);
            connection.abort(reason, "joining took too long");
        }
    }
}

async fn decide(request: JoinRequest, connection: &Connection, shared: &Shared) -> JoinReply {
    let (reply, decided) = oneshot::channel();
    let pending = PendingJoin {
        request,
        from: connection.remote(),
        reply,
    };
    let busy = || JoinReply::Refused {
        reason: JoinRefusal::Busy,
        message: "too many requests to join; try again later".to_owned(),
    };
    if shared.joins.try_send(pending).is_err() {
        shared.counters.refused(RefusalReason::Busy);
        return busy();
    }
    shared.counters.joined();
    decided.await.unwrap_or_else(|_| busy())
}
