//! The shell: one task that owns the spool, makes batches of what collectors bring, and keeps a session with the aggregator.
//!
//! The spool's writes and syncs block, briefly; the task runs them where they are. On a worker of a runtime with several each of them
//! moves the others' tasks to another thread and back, some six times for a batch, so an agent runs the uplink apart, on a thread and a
//! runtime of its own that has its connection as well. Rows that come while there is no connection go into the spool all the same.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clock::{Deadline, SharedClock};
use files::SharedFileSystem;
use model::TimestampMs;
use runtime::{Backoff, QueueReceiver, Timer, Token, block_here};
use spool::{DestinationError, Spool};
use transport::{
    CertificateDer, CloseReason, ConnectError, Connection, ConnectionError, Connector,
    IdentityStore, PendingKey, ReceiveError, TransportKind,
};
use wire::{StoreMessage, StreamId, encode_message};

use crate::delivery::{
    Delivery, DeliveryConfig, DeliveryError, DeliveryStats, Event, Introduction,
};
use crate::maker::{Maker, MakerStats, Update};
use crate::quarantine::Quarantine;

/// How long a stopping agent waits for the acknowledgement of what it has sent.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// How long a renewal that failed is left alone.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);
/// How long a spool that could not be read is left alone.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Where to send, and how.
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// The aggregator, `HOST:PORT`.
    pub aggregator: String,
    /// What the agent says of itself.
    pub introduction: Introduction,
    /// How batches are delivered.
    pub delivery: DeliveryConfig,
    /// Where batches that the aggregator cannot decode are put aside.
    pub quarantine: PathBuf,
}

/// What the rest of the agent may know of its uplink.
#[derive(Clone, Debug, Default)]
pub struct UplinkStats {
    /// What was made.
    pub made: MakerStats,
    /// What was delivered.
    pub delivered: DeliveryStats,
    /// The spool.
    pub spool: spool::Stats,
    /// What the session runs over; `None` while there is none.
    pub connected: Option<TransportKind>,
    /// Attempts to connect that failed.
    pub connects_failed: u64,
    /// Why the last one failed, or the last session ended.
    pub last_error: Option<String>,
}

/// A view of the uplink's figures. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct UplinkView(Arc<Mutex<UplinkStats>>);

impl UplinkView {
    /// Returns the figures as of the last thing that happened.
    pub fn stats(&self) -> UplinkStats {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut UplinkStats)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Owns the spool and brings it to the aggregator.
pub struct Uplink {
    config: UplinkConfig,
    clock: SharedClock,
    timer: Timer,
    spool: Spool,
    maker: Maker,
    delivery: Delivery,
    quarantine: Quarantine,
    identity: Arc<IdentityStore>,
    connector: Connector,
    updates: QueueReceiver<Update>,
    /// A renewal that was asked for: its key.
    renewing: Option<PendingKey>,
    renew_after: Deadline,
    /// After the spool could not be read: when to try again.
    read_after: Option<Deadline>,
    view: UplinkView,
    backoff: Backoff,
    rng: fastrand::Rng,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Send(#[from] transport::SendError),
    #[error(transparent)]
    Encode(#[from] wire::EncodeError),
    #[error("more epochs lie in the spool than one session may offer")]
    MoreEpochs,
}

/// A frame that waits for its stream to take it; rows go on into the spool meanwhile.
struct Outgoing {
    stream: StreamId,
    frame: Bytes,
}

/// What a session ended with.
enum Ended {
    /// The agent stops.
    Stopped,
    /// A QUIC connection is there to be used instead.
    Better(Connection),
}

impl Uplink {
    /// Returns an uplink that sends what `updates` brings, and what lies in `spool` already.
    pub fn new(
        config: UplinkConfig,
        mut spool: Spool,
        files: SharedFileSystem,
        (identity, connector): (Arc<IdentityStore>, Connector),
        updates: QueueReceiver<Update>,
        clock: SharedClock,
    ) -> Result<Self, DestinationError> {
        let destination = spool.destination(&config.aggregator)?;
        let delivery = Delivery::new(config.delivery, destination, config.introduction.clone());
        Ok(Self {
            maker: Maker::new(&spool),
            quarantine: Quarantine::new(files, config.quarantine.clone()),
            renew_after: Deadline::after(clock.monotonic(), identity.renewal_in()),
            timer: Timer::new(Arc::clone(&clock)),
            config,
            clock,
            spool,
            delivery,
            identity,
            connector,
            updates,
            renewing: None,
            read_after: None,
            view: UplinkView::default(),
            backoff: Backoff::default(),
            rng: fastrand::Rng::new(),
        })
    }

    /// Returns a view of the figures.
    pub fn view(&self) -> UplinkView {
        self.view.clone()
    }

    /// Runs until `stop` and the end of updates; then waits a moment for acknowledgements and syncs the spool.
    pub async fn run(mut self, stop: Token) {
        let mut next: Option<Connection> = None;
        while !stop.is_stopped() {
            let connection = match next.take() {
                Some(better) => better,
                None => match self.connect(&stop).await {
                    Some(connection) => connection,
                    None => continue,
                },
            };
            match self.session(&connection, &stop).await {
                Ok(Ended::Stopped) => connection.close(CloseReason::ShuttingDown, "").await,
                Ok(Ended::Better(better)) => {
                    tracing::info!("back on QUIC");
                    next = Some(better);
                    connection.close(CloseReason::Replaced, "").await;
                }
                Err(error) => self.session_failed(&connection, &error, &stop).await,
            }
            self.delivery.disconnected();
            self.publish(|stats| stats.connected = None);
        }
        // Collectors have stopped: what they brought last still goes into the spool.
        while let Some(update) = self.updates.try_receive() {
            self.take(update);
        }
        let Self {
            spool, connector, ..
        } = self;
        block_here(|| spool.close());
        connector.finish().await;
    }

    async fn session_failed(&mut self, connection: &Connection, error: &SessionEnd, stop: &Token) {
        connection.abort(CloseReason::Done, "");
        tracing::warn!(%error, aggregator = self.config.aggregator, "session ended");
        self.publish(|stats| stats.last_error = Some(error.to_string()));
        if !matches!(error, SessionEnd::MoreEpochs) {
            let pause = self.backoff.next(&mut self.rng);
            self.collect_for(pause, stop).await;
        }
    }

    /// Tries once to connect, spooling meanwhile; after a failure waits a while.
    async fn connect(&mut self, stop: &Token) -> Option<Connection> {
        let target = self.config.aggregator.clone();
        let connected = {
            let Self {
                connector,
                updates,
                maker,
                spool,
                clock,
                timer,
                ..
            } = self;
            let mut connecting = std::pin::pin!(connector.connect(&target));
            loop {
                let upkeep = block_here(|| upkeep_due(spool, clock));
                tokio::select! {
                    connected = connecting.as_mut() => break connected,
                    () = stop.stopped() => return None,
                    update = updates.receive() => match update {
                        Some(update) => block_here(|| take(maker, spool, clock, update)),
                        None => stop.stopped().await,
                    },
                    () = until(timer, upkeep) => {}
                }
            }
        };
        match connected {
            Ok(connection) => Some(connection),
            Err(error) => {
                self.connect_failed(&error);
                let pause = self.backoff.next(&mut self.rng);
                self.collect_for(pause, stop).await;
                None
            }
        }
    }

    fn connect_failed(&self, error: &ConnectError) {
        tracing::warn!(%error, aggregator = self.config.aggregator, "cannot connect; rows wait in the spool");
        self.publish(|stats| {
            stats.connects_failed += 1;
            stats.last_error = Some(error.to_string());
        });
    }

    /// Spools what comes, for this long.
    async fn collect_for(&mut self, pause: Duration, stop: &Token) {
        let until_then = Deadline::after(self.clock.monotonic(), pause);
        while !until_then.passed(self.clock.monotonic()) {
            let upkeep = block_here(|| upkeep_due(&mut self.spool, &self.clock));
            tokio::select! {
                () = self.timer.until(until_then) => return,
                () = stop.stopped() => return,
                update = self.updates.receive() => match update {
                    Some(update) => self.take(update),
                    None => stop.stopped().await,
                },
                () = until(&self.timer, upkeep) => {}
            }
        }
    }

    /// Runs one session to its end.
    async fn session(
        &mut self,
        connection: &Connection,
        stop: &Token,
    ) -> Result<Ended, SessionEnd> {
        self.delivery.connected(
            self.clock.monotonic(),
            TimestampMs::from(self.clock.wall()),
            &self.spool,
        );
        self.publish(|stats| stats.connected = Some(connection.kind()));
        tracing::info!(
            aggregator = self.config.aggregator,
            transport = connection.kind().as_str(),
            "connected"
        );
        let target = self.config.aggregator.clone();
        let is_tcp = connection.kind() == TransportKind::Tcp;
        let mut outgoing = None;
        loop {
            self.refill(&mut outgoing)?;
            let wake = self.wake_at();
            let Self {
                connector,
                updates,
                timer,
                ..
            } = self;
            tokio::select! {
                sent = send(connection, outgoing.as_ref()) => {
                    sent?;
                    outgoing = None;
                }
                received = connection.receive::<StoreMessage>() => {
                    let (_, message) = received?;
                    self.receive(message)?;
                }
                update = updates.receive() => match update {
                    Some(update) => self.take(update),
                    None => return self.drain(connection, outgoing).await,
                },
                () = until(timer, wake) => self.delivery.check(self.clock.monotonic())?,
                better = connector.better_transport(&target), if is_tcp => return Ok(Ended::Better(better)),
                () = stop.stopped() => return self.drain(connection, outgoing).await,
            }
        }
    }

    /// Sends what is left, and waits a moment for its acknowledgement.
    async fn drain(
        &mut self,
        connection: &Connection,
        mut outgoing: Option<Outgoing>,
    ) -> Result<Ended, SessionEnd> {
        while let Some(update) = self.updates.try_receive() {
            self.take(update);
        }
        let drain_by = Deadline::after(self.clock.monotonic(), DRAIN_WITHIN);
        loop {
            self.refill(&mut outgoing)?;
            let idle = outgoing.is_none() && self.delivery.stats().on_their_way == 0;
            if idle || drain_by.passed(self.clock.monotonic()) {
                return Ok(Ended::Stopped);
            }
            tokio::select! {
                sent = send(connection, outgoing.as_ref()) => {
                    sent?;
                    outgoing = None;
                }
                received = connection.receive::<StoreMessage>() => {
                    let (_, message) = received?;
                    self.receive(message)?;
                }
                () = self.timer.until(drain_by) => {}
            }
        }
    }

    /// Puts the next frame into an empty place; does what else is due.
    fn refill(&mut self, outgoing: &mut Option<Outgoing>) -> Result<(), SessionEnd> {
        if outgoing.is_none() {
            *outgoing = self.next_frame()?;
        }
        self.renew_if_due();
        self.publish(|_| {});
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Option<Outgoing>, SessionEnd> {
        let now = self.clock.monotonic();
        if self
            .read_after
            .is_some_and(|read_after| !read_after.passed(now))
        {
            return Ok(None);
        }
        self.read_after = None;
        let next = block_here(|| {
            upkeep_due(&mut self.spool, &self.clock);
            self.delivery.poll_send(now, &mut self.spool)
        });
        self.handle_events()?;
        match next {
            Ok(Some((stream, message))) => {
                let mut frame = Vec::new();
                encode_message(&message, &mut frame)?;
                Ok(Some(Outgoing {
                    stream,
                    frame: frame.into(),
                }))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "cannot read the spool; trying again");
                self.read_after = Some(Deadline::after(now, READ_PAUSE));
                Ok(None)
            }
        }
    }

    fn receive(&mut self, message: StoreMessage) -> Result<(), SessionEnd> {
        let (now, wall) = (self.clock.monotonic(), TimestampMs::from(self.clock.wall()));
        block_here(|| self.delivery.receive(now, wall, message, &mut self.spool))?;
        if self.delivery.is_open() {
            self.backoff.reset();
        }
        self.handle_events()
    }

    fn handle_events(&mut self) -> Result<(), SessionEnd> {
        while let Some(event) = self.delivery.poll_event() {
            match event {
                Event::Opened {
                    store,
                    clock_ahead_ms,
                } => {
                    tracing::info!(%store, clock_ahead_ms, "session open");
                }
                Event::StoreKnowsLess { epoch, batches } => {
                    tracing::error!(%epoch, batches, "the aggregator has less than it had acknowledged: restored from a backup, or another one; what is still in the spool is sent again");
                }
                Event::Quarantined {
                    epoch,
                    number,
                    message,
                    body,
                } => {
                    tracing::error!(%epoch, %number, message, "batch put into quarantine");
                    block_here(|| {
                        self.quarantine
                            .put((epoch, number), body.as_deref().unwrap_or_default())
                    });
                }
                Event::Gap(gap) => {
                    tracing::error!(
                        epoch = %gap.epoch, first = %gap.first, last = %gap.last, batches = gap.batches, samples = gap.samples,
                        from = %gap.from, to = %gap.to,
                        "rows were dropped: the spool was full; raise --spool.max-bytes"
                    );
                }
                Event::Unreadable {
                    epoch,
                    number,
                    samples,
                } => {
                    tracing::error!(%epoch, %number, samples, "batch lost to damage in the spool");
                }
                Event::Certificate(chain) => self.take_certificate(chain),
                Event::RenewalRefused(message) => {
                    tracing::error!(message, "certificate not renewed");
                    self.renewing = None;
                }
                Event::MoreEpochs => return Err(SessionEnd::MoreEpochs),
            }
        }
        Ok(())
    }

    fn renew_if_due(&mut self) {
        let now = self.clock.monotonic();
        if !self.delivery.is_open() || !self.renew_after.passed(now) {
            return;
        }
        self.renew_after = Deadline::after(now, RENEWAL_PAUSE);
        match PendingKey::generate() {
            Ok(key) => {
                self.delivery.renew(key.request().to_vec());
                self.renewing = Some(key);
            }
            Err(error) => {
                tracing::error!(%error, "cannot make a key for the renewal of the certificate")
            }
        }
    }

    fn take_certificate(&mut self, chain: Vec<Vec<u8>>) {
        let Some(key) = self.renewing.take() else {
            return;
        };
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        match block_here(|| self.identity.renew(&key, chain)) {
            Ok(()) => {
                self.renew_after =
                    Deadline::after(self.clock.monotonic(), self.identity.renewal_in())
            }
            Err(error) => tracing::error!(%error, "certificate not renewed"),
        }
    }

    fn take(&mut self, update: Update) {
        block_here(|| take(&mut self.maker, &mut self.spool, &self.clock, update));
    }

    /// When something is to be done although nothing happens.
    fn wake_at(&mut self) -> Option<Deadline> {
        let now = self.clock.monotonic();
        let delivery = self
            .delivery
            .next_timeout()
            .map(|at| Deadline::after(now, at.saturating_since(now)));
        let upkeep = block_here(|| upkeep_due(&mut self.spool, &self.clock));
        let renewal = self.delivery.is_open().then_some(self.renew_after);
        [delivery, upkeep, renewal, self.read_after]
            .into_iter()
            .flatten()
            .min()
    }

    fn publish(&self, change: impl FnOnce(&mut UplinkStats)) {
        let (made, delivered, spool) = (
            self.maker.stats(),
            self.delivery.stats(),
            self.spool.stats(),
        );
        self.view.change(|stats| {
            (stats.made, stats.delivered, stats.spool) = (made, delivered, spool);
            change(stats);
        });
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uplink")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn take(maker: &mut Maker, spool: &mut Spool, clock: &SharedClock, update: Update) {
    if let Err(error) = maker.make(spool, &update, TimestampMs::from(clock.wall())) {
        tracing::error!(%error, "rows lost: they could not be put into the spool");
    }
}

/// Does the spool's upkeep, and returns when more is due.
fn upkeep_due(spool: &mut Spool, clock: &SharedClock) -> Option<Deadline> {
    let now = clock.monotonic();
    spool
        .sync_if_due(now)
        .map(|at| Deadline::after(now, at.saturating_since(now)))
}

/// Hands a frame over, if there is one. Cancelled, it is not sent, and can be sent again.
async fn send(
    connection: &Connection,
    outgoing: Option<&Outgoing>,
) -> Result<(), transport::SendError> {
    match outgoing {
        Some(Outgoing { stream, frame }) => connection.send(*stream, frame.clone()).await,
        None => std::future::pending().await,
    }
}

async fn until(timer: &Timer, deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => timer.until(deadline).await,
        None => std::future::pending().await,
    }
}
