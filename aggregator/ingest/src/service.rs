//! Sessions over real connections, and joining: the shell around [`Session`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::{Deadline, SharedClock};
use model::TimestampMs;
use rows::AgentId;
use runtime::{Tasks, Timer, Token};
use telemetry::Registry;
use tokio::sync::Notify;
use transport::{
    Accepted, Authority, CloseReason, Connection, Credential, Listener, PeerIdentity, PendingJoin,
    ReceiveError, RefusalReason, SendError,
};
use wire::{AgentMessage, JoinRefusal, StreamId};

use crate::agents::{OWN_ID, RULES_ID, Wake};
use crate::remote_write::REMOTE_WRITE_ID;
use crate::session::{Flow, Now, ProtocolError, Session, Shared};
use crate::tokens::{JoinError, Tokens};

/// How long a store that was busy is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How long a connection may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long a stopping service waits for the store to answer what it has taken.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Serves agents: accepts their connections, runs their sessions, lets new ones join.
#[derive(Clone)]
pub struct Service {
    shared: Shared,
    tokens: Arc<Tokens>,
    authority: Arc<Authority>,
    listener: Arc<Listener>,
    clock: SharedClock,
    tasks: Tasks,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("no hello within {} s", HELLO_WITHIN.as_secs())]
    NoHello,
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Service {
    /// Returns a service on `listener`; its figures are shown by `registry`.
    pub fn new(
        shared: Shared,
        tokens: Arc<Tokens>,
        authority: Arc<Authority>,
        listener: Arc<Listener>,
        clock: SharedClock,
        registry: &Registry,
    ) -> Self {
        show_listener(registry, &listener);
        Self {
            shared,
            tokens,
            authority,
            listener,
            clock,
            tasks: Tasks::new("ingest"),
        }
    }

    /// Serves until `stop`; then takes no more, answers what the store has taken, and says good-bye.
    pub async fn run(&self, stop: &Token) {
        let accepting = async {
            while let Some(accepted) = self.listener.accept().await {
                let (service, stop) = (self.clone(), stop.child());
                self.tasks
                    .spawn(
                        "session",
                        async move { service.serve(accepted, &stop).await },
                    )
                    .detach();
            }
        };
        let joining = async {
            while let Some(request) = self.listener.next_join().await {
                self.answer_join(request).await;
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(accepting, joining) } => {}
            () = stop.stopped() => self.listener.stop(),
        }
        self.tasks.join().await;
    }

    async fn serve(&self, accepted: Accepted, stop: &Token) {
        let Accepted { peer, connection } = accepted;
        let notify = Arc::new(Notify::new());
        let wake: Wake = {
            let notify = Arc::clone(&notify);
            Arc::new(move || notify.notify_one())
        };
        let mut session = Session::new(self.shared.clone(), peer, connection.kind().as_str(), wake);
        match self.drive(&mut session, &connection, &notify, stop).await {
            Ok(reason) => connection.close(reason, "").await,
            Err(SessionEnd::Protocol(error)) => {
                self.shared.metrics.protocol_broken();
                tracing::warn!(agent = %session.peer().agent(), %error, "session ended: the agent broke the protocol");
                connection
                    .close(CloseReason::Protocol, &error.to_string())
                    .await;
            }
            Err(SessionEnd::Receive(ReceiveError::Malformed(error))) => {
                self.shared.metrics.protocol_broken();
                tracing::warn!(agent = %session.peer().agent(), %error, "session ended: a malformed message");
                connection
                    .close(CloseReason::Protocol, &error.to_string())
                    .await;
            }
            Err(error) => {
                tracing::info!(agent = %session.peer().agent(), %error, "session ended");
                connection.abort(CloseReason::Done, "");
            }
        }
    }

    async fn drive(
        &self,
        session: &mut Session,
        connection: &Connection,
        notify: &Notify,
        stop: &Token,
    ) -> Result<CloseReason, SessionEnd> {
        let timer = Timer::new(Arc::clone(&self.clock));
        let hello_by = Deadline::after(self.clock.monotonic(), HELLO_WITHIN);
        let mut flow = Flow::Open;
        loop {
            self.send_replies(session, connection).await?;
            if session.is_over() {
                // An open session is over when a newer one has replaced it; a refused one was never open.
                return Ok(if session.is_open() {
                    CloseReason::Replaced
                } else {
                    CloseReason::Done
                });
            }
            tokio::select! {
                () = notify.notified() => {}
                () = stop.stopped() => break,
                () = timer.sleep(BUSY_PAUSE), if flow == Flow::Blocked => flow = session.retry(),
                () = timer.until(hello_by), if !session.is_open() => return Err(SessionEnd::NoHello),
                received = connection.receive::<AgentMessage>(), if flow == Flow::Open => {
                    let (stream, message) = received?;
                    flow = session.receive(self.now(), stream, message)?;
                }
            }
        }
        let drain_by = Deadline::after(self.clock.monotonic(), DRAIN_WITHIN);
        while session.awaits_store() && !drain_by.passed(self.clock.monotonic()) {
            self.send_replies(session, connection).await?;
            tokio::select! {
                () = notify.notified() => {}
                () = timer.until(drain_by) => {}
            }
        }
        session.shut_down();
        self.send_replies(session, connection).await?;
        Ok(CloseReason::ShuttingDown)
    }

    async fn send_replies(
        &self,
        session: &mut Session,
        connection: &Connection,
    ) -> Result<(), SessionEnd> {
        if let Some(request) = session.renewal() {
            let renewed = self.renew(session.peer(), &request);
            session.answer_renewal(renewed);
        }
        while let Some(reply) = session.poll_reply() {
            connection.send_message(StreamId::Session, &reply).await?;
        }
        Ok(())
    }

    fn renew(&self, peer: &PeerIdentity, request: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let chain = self
            .authority
            .issue_agent(request, peer)
            .map_err(|error| error.to_string())?;
        Ok(chain
            .into_iter()
            .map(|certificate| certificate.to_vec())
            .collect())
    }

    async fn answer_join(&self, pending: PendingJoin) {
        let service = self.clone();
        let from = pending.from();
        // The token's use is made durable: a sync, so not on a thread of the runtime.
        let decided = self.tasks.spawn_blocking("join", move || {
            let decision = service.decide_join(pending.request());
            (pending, decision)
        });
        match decided.await {
            Ok((pending, Ok((agent, chain)))) => {
                self.shared.metrics.joined();
                tracing::info!(%agent, %from, "agent joined");
                pending.grant(chain);
            }
            Ok((pending, Err((reason, message)))) => {
                self.shared.metrics.join_refused(reason);
                tracing::warn!(%from, reason = reason.as_str(), message, "join refused");
                pending.refuse(reason, message);
            }
            Err(error) => tracing::error!(%from, %error, "join failed"),
        }
    }

    fn decide_join(
        &self,
        request: &wire::JoinRequest,
    ) -> Result<(PeerIdentity, Vec<transport::CertificateDer<'static>>), (JoinRefusal, String)>
    {
        let malformed = |error: &dyn fmt::Display| (JoinRefusal::Malformed, error.to_string());
        let credential: Credential = request.token.parse().map_err(|error| malformed(&error))?;
        let agent = request.agent.parse().map_err(|error| malformed(&error))?;
        refuse_reserved(&agent)?;
        let now = TimestampMs::from(self.clock.wall());
        let token = self
            .tokens
            .redeem(&credential, now)
            .map_err(|error| match error {
                JoinError::Refused { reason, message } => (reason, message),
                JoinError::Database(error) => {
                    (JoinRefusal::Busy, format!("{error}; try again later"))
                }
            })?;
        let peer = PeerIdentity::new(agent, token.cluster.as_deref(), token.tenant.as_deref())
            .map_err(|error| malformed(&error))?;
        let chain = self
            .authority
            .issue_agent(&request.request, &peer)
            .map_err(|error| malformed(&error))?;
        Ok((peer, chain))
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.clock.monotonic(),
            wall: TimestampMs::from(self.clock.wall()),
        }
    }
}

/// Refuses the ids under which the aggregator stores what it says of itself, what comes by remote write, and what rules record: an agent of such an id would
/// write their series.
fn refuse_reserved(agent: &AgentId) -> Result<(), (JoinRefusal, String)> {
    if ![OWN_ID, REMOTE_WRITE_ID, RULES_ID].contains(&agent.as_str()) {
        return Ok(());
    }
    let message =
        format!("the id {agent} is the aggregator's own; give the agent another one (--agent.id)");
    Err((JoinRefusal::Malformed, message))
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// Shows what the listener counts.
fn show_listener(registry: &Registry, listener: &Arc<Listener>) {
    let refused = registry.counter_family(
        "promontory_ingest_handshakes_refused_total",
        "Handshakes of agents refused.",
        ["reason"],
        RefusalReason::ALL.len(),
    );
    let connections = registry.gauge(
        "promontory_ingest_connections",
        "Connections of agents open now.",
    );
    let garbage = registry.counter(
        "promontory_ingest_garbage_datagrams_total",
        "UDP datagrams on the agents' port that cannot be QUIC.",
    );
    let listener = Arc::downgrade(listener);
    registry.on_gather(move || {
        let Some(listener) = listener.upgrade() else {
            return;
        };
        let stats = listener.stats();
        connections.set(f64::from(stats.connections));
        garbage.raise_to(as_float(stats.garbage_datagrams));
        for (reason, count) in &stats.refused {
            refused.with([reason.as_str()]).raise_to(as_float(*count));
        }
    });
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_agent_may_join_as_the_aggregator() {
        for id in [OWN_ID, REMOTE_WRITE_ID, RULES_ID] {
            let own = id.parse().expect("an id");
            let (reason, message) = refuse_reserved(&own).expect_err("reserved");
            assert_eq!(reason, JoinRefusal::Malformed);
            assert!(message.contains(id), "{message}");
        }
        let near = format!("{OWN_ID}-2").parse().expect("an id");
        assert!(refuse_reserved(&near).is_ok());
    }
}
