//! What either side does with a connection.

use std::fmt;
use std::time::Duration;

use alerting::{Alerting, Pipeline};
use clock::{Deadline, SharedClock};
use files::JournaledError;
use model::TimestampMs;
use rows::AgentId;
use runtime::{TaskError, Tasks, Timer, Token};
use telemetry::Registry;
use transport::{CloseReason, Connection, ReceiveError, SendError};
use wire::{PAIR_PROTOCOL, PairHello, PairMessage, Share, StreamId};

use crate::status::{LinkView, Side, Status, show};

/// How long a connection may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Each side says so often, within the time that the other bears silence, that it lives.
const SIGNS_OF_LIFE: u32 = 5;
/// A difference between the clocks that is worth a word.
const CLOCKS_APART: f64 = 10.0;

/// What is the same for all connections.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The name of this aggregator.
    pub name: AgentId,
    /// Its version.
    pub version: &'static str,
    /// How long nothing may be heard before the link is taken to be down.
    pub silence_max: Duration,
}

/// The link as one of the two has it. Cloning shares it.
#[derive(Clone)]
pub struct Link {
    pub(crate) config: LinkConfig,
    pub(crate) tasks: Tasks,
    pub(crate) timer: Timer,
    alerting: Alerting,
    pub(crate) status: Status,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("this aggregator stops")]
    Stopped,
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    #[error(
        "the other speaks version {theirs} of the pair's protocol, and this one {PAIR_PROTOCOL}: run the same version of promontory on both"
    )]
    Version { theirs: u16 },
    #[error("a message that has no place here: {0}")]
    Unexpected(&'static str),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("a task of the link ended early")]
    Task(#[from] TaskError),
}

/// What only one of the two does over a connection: certificates.
pub(crate) trait Certificates: Send + Sync {
    /// Returns a message that is due, if one is. Asked for every second or so.
    fn due(&self) -> Option<PairMessage>;

    /// Takes a message; returns the answer, if there is one.
    fn take(&self, message: PairMessage) -> Result<Option<PairMessage>, &'static str>;
}

impl Link {
    /// Returns the link of an alerting that is in a pair; its figures are shown by `registry`.
    pub fn new(
        config: LinkConfig,
        alerting: Alerting,
        clock: SharedClock,
        tasks: Tasks,
        registry: &Registry,
    ) -> Self {
        show(registry, &alerting);
        let own = Side {
            name: config.name.to_string(),
            address: String::new(),
        };
        Self {
            status: Status::new(own, registry),
            config,
            tasks,
            timer: Timer::new(clock),
            alerting,
        }
    }

    /// Returns who is linked.
    pub fn view(&self) -> LinkView {
        self.status.view()
    }

    /// Drives a connection to its end.
    pub(crate) async fn drive(
        &self,
        connection: &Connection,
        certificates: &dyn Certificates,
        stop: &Token,
    ) -> End {
        let end = match stop.run(self.converse(connection, certificates)).await {
            Some(Err(end)) => end,
            Some(Ok(never)) => match never {},
            None => End::Stopped,
        };
        let reason = match &end {
            End::Stopped => CloseReason::ShuttingDown,
            End::Version { .. } | End::Unexpected(_) => CloseReason::Protocol,
            _ => CloseReason::Done,
        };
        connection.close(reason, &end.to_string()).await;
        self.status.went();
        if let Err(error) = self.change(Pipeline::peer_went).await {
            tracing::error!(%error, "the link's end could not be noted");
        }
        end
    }

    async fn converse(
        &self,
        connection: &Connection,
        certificates: &dyn Certificates,
    ) -> Result<std::convert::Infallible, End> {
        let hello = self.greet(connection).await?;
        let ahead = seconds_between(self.now(), hello.wall);
        tracing::info!(peer = hello.name, version = hello.version, address = %connection.remote(), clock_ahead_seconds = ahead, "the pair's link is up");
        if ahead.abs() > CLOCKS_APART {
            tracing::warn!(
                clock_ahead_seconds = ahead,
                "the clocks of the pair differ; silences begin and end by the clock of whoever looks"
            );
        }
        let peer = Side {
            name: hello.name,
            address: connection.remote().to_string(),
        };
        self.status.came(peer, hello.sees, ahead);
        self.change(|pipeline, _| pipeline.peer_came()).await?;
        tokio::select! {
            end = self.send_all(connection, certificates) => end,
            end = self.receive_all(connection, certificates) => end,
        }
    }

    async fn greet(&self, connection: &Connection) -> Result<PairHello, End> {
        let hello = PairHello {
            protocol: PAIR_PROTOCOL,
            version: self.config.version.to_owned(),
            name: self.config.name.to_string(),
            sees: connection.remote().to_string(),
            wall: self.now(),
        };
        send(connection, &PairMessage::Hello(hello)).await?;
        let received = tokio::select! {
            received = connection.receive::<PairMessage>() => received?.1,
            () = self.timer.sleep(HELLO_WITHIN) => return Err(End::Silent(HELLO_WITHIN)),
        };
        match received {
            PairMessage::Hello(hello) if hello.protocol == PAIR_PROTOCOL => Ok(hello),
            PairMessage::Hello(hello) => Err(End::Version {
                theirs: hello.protocol,
            }),
            _ => Err(End::Unexpected("it does not begin with a hello")),
        }
    }

    async fn send_all(
        &self,
        connection: &Connection,
        certificates: &dyn Certificates,
    ) -> Result<std::convert::Infallible, End> {
        let pause = self.config.silence_max / SIGNS_OF_LIFE;
        let next_sign = || Deadline::after(self.timer.now(), pause);
        let mut sign_at = next_sign();
        loop {
            while let Some(share) = self.next_share().await? {
                send(connection, &PairMessage::Share(share)).await?;
            }
            tokio::select! {
                () = self.alerting.shares() => {}
                // However often alerting changes: most changes are nothing to share.
                () = self.timer.until(sign_at) => {
                    let due = certificates.due();
                    send(connection, &due.unwrap_or(PairMessage::Alive)).await?;
                    sign_at = next_sign();
                }
            }
        }
    }

    async fn receive_all(
        &self,
        connection: &Connection,
        certificates: &dyn Certificates,
    ) -> Result<std::convert::Infallible, End> {
        let silence_max = self.config.silence_max;
        loop {
            let received = tokio::select! {
                received = connection.receive::<PairMessage>() => received?.1,
                () = self.timer.sleep(silence_max) => return Err(End::Silent(silence_max)),
            };
            match received {
                PairMessage::Alive => {}
                PairMessage::Share(share) => {
                    let is_configuration = matches!(share, Share::Configuration { .. });
                    self.change(|pipeline, now| pipeline.peer_says(share, now))
                        .await?;
                    if is_configuration {
                        self.compare_configurations().await?;
                    }
                }
                PairMessage::Hello(_) => return Err(End::Unexpected("a second hello")),
                message => {
                    let answer = certificates.take(message).map_err(End::Unexpected)?;
                    if let Some(answer) = answer {
                        send(connection, &answer).await?;
                    }
                }
            }
        }
    }

    /// Changes the pipeline on a thread for blocking work. What cannot be made durable now is with the next change.
    async fn change(
        &self,
        work: impl FnOnce(&mut Pipeline, TimestampMs) + Send + 'static,
    ) -> Result<(), TaskError> {
        let alerting = self.alerting.clone();
        let changing = self
            .tasks
            .spawn_blocking("change by the pair", move || alerting.change(work));
        let changed: Result<(), JournaledError> = changing.await?;
        if let Err(error) = changed {
            tracing::error!(%error, "what the other of the pair says cannot be made durable");
        }
        Ok(())
    }

    /// Warns when the other has another configuration.
    async fn compare_configurations(&self) -> Result<(), TaskError> {
        let alerting = self.alerting.clone();
        let comparing = self
            .tasks
            .spawn_blocking("compare configurations", move || {
                alerting.see(|pipeline, _| pipeline.pair())
            });
        let view = comparing.await?;
        if view.and_then(|view| view.has_same_config) == Some(false) {
            tracing::warn!(
                "the other aggregator of the pair has another configuration of alerting: people may be told by both, or by one alone; give both the same --alertmanager.config-file"
            );
        }
        Ok(())
    }

    async fn next_share(&self) -> Result<Option<Share>, TaskError> {
        let alerting = self.alerting.clone();
        let reading = self
            .tasks
            .spawn_blocking("share with the pair", move || alerting.next_share());
        reading.await
    }

    fn now(&self) -> TimestampMs {
        TimestampMs::from(self.timer.clock().wall())
    }
}

/// Returns how long the one is before the other; more than some weeks counts as some weeks.
fn seconds_between(one: TimestampMs, other: TimestampMs) -> f64 {
    let milliseconds = other.0.saturating_sub(one.0);
    let bounded = milliseconds.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    f64::from(i32::try_from(bounded).unwrap_or_default()) / 1000.0
}

async fn send(connection: &Connection, message: &PairMessage) -> Result<(), SendError> {
    connection.send_message(StreamId::Session, message).await
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("config", &self.config)
            .field("view", &self.view())
            .finish_non_exhaustive()
    }
}
