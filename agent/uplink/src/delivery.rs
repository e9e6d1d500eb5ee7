//! What lies in the spool, to one aggregator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use model::TimestampMs;
use rows::{BatchNumber, Epoch, NumberSet, StoreId, TranscodeError};
use spool::{DestinationId, Gap, Offer, ReadError, ReadFrom, Record, Spool};
use wire::{
    AgentHello, AgentMessage, AgentStatus, EPOCHS_MAX, EpochKnown, EpochOffer, RefusedSamples,
    SessionRefusal, StoreMessage, StreamId, Welcome,
};

use crate::lane::{BatchId, Lane, Next};

/// Reasons counted singly; more are counted together.
const REASONS_MAX: usize = 32;
/// A status goes along with a batch when it is due within so much of its interval, in parts: alone it would wake agent and network once
/// more.
const STATUS_EARLY_PART: u32 = 5;
/// Events that wait to be looked at; the oldest go first.
const EVENTS_MAX: usize = 64;

/// How a delivery behaves.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryConfig {
    /// A backlog older than this drains beside what is live, not before it.
    pub backlog_in_order: Duration,
    /// With batches on their way and no answer for so long, the connection is given up.
    pub answer_within: Duration,
    /// How often the aggregator is told how the agent is.
    pub status_interval: Duration,
    /// Batches on their way, whatever the aggregator allows.
    pub window_max: u32,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            backlog_in_order: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            status_interval: Duration::from_secs(5),
            window_max: 256,
        }
    }
}

/// What an agent says of itself in its hello.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The node's name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// How often the fastest cohort is sampled.
    pub interval: Duration,
}

/// The aggregator broke the protocol, or does not answer: give the connection up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// A message came where none of its kind may.
    #[error("unexpected {what} from the aggregator")]
    Unexpected {
        /// The message.
        what: &'static str,
    },
    /// The session was refused.
    #[error("session refused: {message}")]
    Refused {
        /// For the counters.
        reason: SessionRefusal,
        /// For people.
        message: String,
    },
    /// Nothing came for too long.
    #[error("no answer from the aggregator for {} s with batches on their way", within.as_secs())]
    Silent {
        /// The bound.
        within: Duration,
    },
}

/// Something that people or other parts should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// The session is open.
    Opened {
        /// The store.
        store: StoreId,
        /// How far this clock is ahead of the aggregator's, in milliseconds.
        clock_ahead_ms: i64,
    },
    /// The store has less than it had acknowledged: it was restored from a backup, or is another one. What still lies in the spool is
    /// sent again.
    StoreKnowsLess {
        /// The epoch.
        epoch: Epoch,
        /// Batches acknowledged once that it does not have.
        batches: u64,
    },
    /// A batch was put aside: the aggregator cannot decode it.
    Quarantined {
        /// The epoch.
        epoch: Epoch,
        /// The batch.
        number: BatchNumber,
        /// Why.
        message: String,
        /// Its body; `None` when it is in the spool no more.
        body: Option<Arc<[u8]>>,
    },
    /// A batch in the spool cannot be read any more, after damage.
    Unreadable {
        /// The epoch.
        epoch: Epoch,
        /// The batch.
        number: BatchNumber,
        /// Samples in it.
        samples: u32,
    },
    /// The spool was full: batches were dropped before every destination had them.
    Gap(Gap),
    /// A new certificate, leaf first.
    Certificate(Vec<Vec<u8>>),
    /// There is none.
    RenewalRefused(String),
    /// There are more epochs in the spool than one hello may offer, and those offered are done: connect again.
    MoreEpochs,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// Batches sent, resends included.
    pub batches_sent: u64,
    /// Bytes of their bodies.
    pub body_bytes_sent: u64,
    /// Batches acknowledged.
    pub batches_acknowledged: u64,
    /// Batches sent again as key rows.
    pub batches_resent: u64,
    /// Batches that came back because the store could not make them durable.
    pub batches_sent_back: u64,
    /// Batches put aside.
    pub batches_quarantined: u64,
    /// Batches that could not be read any more.
    pub batches_unreadable: u64,
    /// Samples that the store refused, by reason.
    pub samples_refused: BTreeMap<String, u64>,
    /// Sessions opened.
    pub sessions: u64,
    /// Batches on their way now.
    pub on_their_way: usize,
}

/// Brings the spool's batches to one aggregator.
#[derive(Debug)]
pub struct Delivery {
    config: DeliveryConfig,
    destination: DestinationId,
    introduction: Introduction,
    state: State,
    /// Numbers that were put aside or could not be read: the store need not have them.
    given_up: BTreeMap<Epoch, NumberSet>,
    /// The gaps of the spool that were told.
    gaps_told: Vec<Gap>,
    events: VecDeque<Event>,
    stats: DeliveryStats,
}

#[derive(Debug)]
enum State {
    Down,
    Greeting {
        offers: Vec<Offer>,
        hello: Option<AgentMessage>,
        since: Monotonic,
    },
    Open(Box<Session>),
}

/// An open session.
#[derive(Debug)]
struct Session {
    window: usize,
    /// The epochs that were offered, and so may be sent.
    offered: BTreeSet<Epoch>,
    more_epochs: bool,
    live: Lane,
    /// The first batch of the live lane; the catch-up lane ends before it.
    live_from: BatchId,
    catch_up: Option<Lane>,
    /// Batches sent and not answered, with their streams.
    on_their_way: BTreeMap<BatchId, StreamId>,
    /// Batches to be sent again, as key rows.
    again: BTreeMap<BatchId, StreamId>,
    redo: Option<Lane>,
    /// Nothing is sent before: the store has trouble.
    paused_until: Monotonic,
    last_answer: Monotonic,
    status_due: Monotonic,
    /// How many batches were dropped or given up when the floors were told last.
    never_coming_told: u64,
    outbox: VecDeque<(StreamId, AgentMessage)>,
}

impl Delivery {
    /// Returns a delivery to `destination`, not connected.
    pub fn new(
        config: DeliveryConfig,
        destination: DestinationId,
        introduction: Introduction,
    ) -> Self {
        Self {
            config,
            destination,
            introduction,
            state: State::Down,
            given_up: BTreeMap::new(),
            gaps_told: Vec::new(),
            events: VecDeque::new(),
            stats: DeliveryStats::default(),
        }
    }

    /// Returns the counters.
    pub fn stats(&self) -> DeliveryStats {
        let on_their_way = if let State::Open(session) = &self.state {
            session.on_their_way.len()
        } else {
            0
        };
        DeliveryStats {
            on_their_way,
            ..self.stats.clone()
        }
    }

    /// Returns whether a session is open.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Begins a session on a new connection.
    pub fn connected(&mut self, now: Monotonic, wall: TimestampMs, spool: &Spool) {
        let offers = spool.offers(self.destination);
        // The newest epoch is this run's: it comes last, and always along.
        let (own, older) = offers
            .split_last()
            .map_or((None, &[][..]), |(own, older)| (Some(own), older));
        let offered: Vec<Offer> = older
            .iter()
            .take(EPOCHS_MAX - 1)
            .chain(own)
            .copied()
            .collect();
        let hello = AgentHello {
            node: self.introduction.node.clone(),
            version: self.introduction.version.clone(),
            epoch: spool.epoch(),
            predecessor: spool.predecessor(),
            interval: self.introduction.interval,
            epochs: offered
                .iter()
                .map(|offer| EpochOffer {
                    epoch: offer.epoch,
                    floor: offer.floor,
                    next: offer.next,
                })
                .collect(),
            wall,
        };
        self.state = State::Greeting {
            offers: offered,
            hello: Some(AgentMessage::Hello(hello)),
            since: now,
        };
    }

    /// Ends the session: the connection is gone. What was on its way will be sent again.
    pub fn disconnected(&mut self) {
        self.state = State::Down;
    }

    /// Asks for a new certificate; the answer is an [`Event`].
    pub fn renew(&mut self, request: Vec<u8>) {
        if let State::Open(session) = &mut self.state {
            session
                .outbox
                .push_back((StreamId::Session, AgentMessage::Renew { request }));
        }
    }

    /// Takes a message of the aggregator.
    pub fn receive(
        &mut self,
        now: Monotonic,
        wall: TimestampMs,
        message: StoreMessage,
        spool: &mut Spool,
    ) -> Result<(), DeliveryError> {
        match (&mut self.state, message) {
            (State::Greeting { .. }, StoreMessage::Welcome(welcome)) => {
                self.open(now, wall, &welcome, spool)
            }
            (_, StoreMessage::Refused { reason, message }) => {
                Err(DeliveryError::Refused { reason, message })
            }
            (State::Open(session), message) => {
                session.last_answer = now;
                self.receive_open(now, message, spool)
            }
            (State::Greeting { .. } | State::Down, _) => Err(DeliveryError::Unexpected {
                what: "message before the welcome",
            }),
        }
    }

    /// Returns the next message to send and its stream; `None`: nothing, until rows are made, a message comes, or
    /// [`next_timeout`](Self::next_timeout).
    pub fn poll_send(
        &mut self,
        now: Monotonic,
        spool: &mut Spool,
    ) -> Result<Option<(StreamId, AgentMessage)>, ReadError> {
        match &mut self.state {
            State::Down => Ok(None),
            State::Greeting { hello, .. } => {
                Ok(hello.take().map(|hello| (StreamId::Session, hello)))
            }
            State::Open(_) => self.poll_open(now, spool),
        }
    }

    /// Returns what people or other parts should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`poll_send`](Self::poll_send) or [`check`](Self::check) may have something to say although nothing happened.
    pub fn next_timeout(&self) -> Option<Monotonic> {
        match &self.state {
            State::Down => None,
            State::Greeting { since, .. } => Some(*since + self.config.answer_within),
            State::Open(session) => {
                let silent = (!session.on_their_way.is_empty())
                    .then(|| session.last_answer + self.config.answer_within);
                let again = (!session.again.is_empty()).then_some(session.paused_until);
                [silent, again, Some(session.status_due)]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// Fails when the aggregator owes an answer for too long.
    pub fn check(&self, now: Monotonic) -> Result<(), DeliveryError> {
        let since = match &self.state {
            State::Down => return Ok(()),
            State::Greeting { since, .. } => *since,
            State::Open(session) if session.on_their_way.is_empty() => return Ok(()),
            State::Open(session) => session.last_answer,
        };
        if now.saturating_since(since) < self.config.answer_within {
            return Ok(());
        }
        Err(DeliveryError::Silent {
            within: self.config.answer_within,
        })
    }

    fn open(
        &mut self,
        now: Monotonic,
        wall: TimestampMs,
        welcome: &Welcome,
        spool: &mut Spool,
    ) -> Result<(), DeliveryError> {
        let State::Greeting { offers, .. } = std::mem::replace(&mut self.state, State::Down) else {
            return Err(DeliveryError::Unexpected { what: "welcome" });
        };
        let answers_offers = welcome.known.len() == offers.len()
            && welcome
                .known
                .iter()
                .zip(&offers)
                .all(|(known, offer)| known.epoch == offer.epoch);
        if !answers_offers || welcome.window_batches == 0 {
            return Err(DeliveryError::Unexpected {
                what: "welcome that does not answer the hello",
            });
        }
        self.stats.sessions += 1;
        self.event(Event::Opened {
            store: welcome.store,
            clock_ahead_ms: wall.0.saturating_sub(welcome.wall.0),
        });
        self.believe(&welcome.known, &offers, spool);
        self.forget_settled_gaps(&welcome.known, spool);
        self.tell_gaps(spool);
        let mut outbox = VecDeque::new();
        let offered: BTreeSet<Epoch> = offers.iter().map(|offer| offer.epoch).collect();
        let all = spool.offers(self.destination);
        for offer in all
            .iter()
            .filter(|offer| offered.contains(&offer.epoch) && offer.floor.0 > 0)
        {
            outbox.push_back((
                StreamId::Session,
                AgentMessage::Floor {
                    epoch: offer.epoch,
                    floor: offer.floor,
                },
            ));
        }
        let (live_from, backlog_from) = self.starts(&all, wall, spool);
        self.state = State::Open(Box::new(Session {
            window: welcome.window_batches.min(self.config.window_max) as usize,
            more_epochs: all.len() > offered.len(),
            offered,
            live: Lane::new(spool, live_from),
            live_from,
            catch_up: backlog_from.map(|from| Lane::new(spool, from)),
            on_their_way: BTreeMap::new(),
            again: BTreeMap::new(),
            redo: None,
            paused_until: now,
            last_answer: now,
            status_due: now,
            never_coming_told: spool.stats().dropped_batches
                + self.stats.batches_quarantined
                + self.stats.batches_unreadable,
            outbox,
        }));
        Ok(())
    }

    /// Takes the store's word for what it has, which may be less than it had acknowledged.
    fn believe(&mut self, known: &[EpochKnown], offers: &[Offer], spool: &mut Spool) {
        let mut knows_less = false;
        for (known, offer) in known.iter().zip(offers) {
            let mut lost = spool.lost(known.epoch);
            let given_up = self.given_up.get(&known.epoch);
            lost.extend(given_up.iter().flat_map(|numbers| numbers.intervals()));
            lost.extend(known.numbers.intervals());
            let batches = missing_below(offer.floor, lost);
            if batches > 0 {
                knows_less = true;
                self.event(Event::StoreKnowsLess {
                    epoch: known.epoch,
                    batches,
                });
            }
        }
        if knows_less {
            spool.forget_acknowledgements(self.destination);
            for (epoch, numbers) in &self.given_up {
                spool.acknowledge_set(self.destination, *epoch, numbers);
            }
        }
        for known in known {
            spool.acknowledge_set(self.destination, known.epoch, &known.numbers);
        }
    }

    /// Gaps are remembered until the store has settled their numbers: before, it seems to know less than it should.
    fn forget_settled_gaps(&mut self, known: &[EpochKnown], spool: &mut Spool) {
        let is_settled = |gap: &&Gap| {
            let known = known.iter().find(|known| known.epoch == gap.epoch);
            known.is_none_or(|known| {
                let mut intervals = known.numbers.intervals();
                intervals.any(|(first, last)| first <= gap.first && gap.last <= last)
            })
        };
        let told = self
            .gaps_told
            .iter()
            .filter(|gap| spool.gaps().contains(gap));
        let settled: Vec<Gap> = told.filter(is_settled).copied().collect();
        if !settled.is_empty() {
            spool.forget_gaps(&settled);
            self.gaps_told.retain(|gap| !settled.contains(gap));
        }
    }

    /// Tells once what the spool had to drop; the aggregator learns of it by the floors.
    fn tell_gaps(&mut self, spool: &Spool) {
        if spool.gaps() == self.gaps_told {
            return;
        }
        let told = std::mem::replace(&mut self.gaps_told, spool.gaps().to_vec());
        for gap in spool.gaps() {
            let mut news = *gap;
            let before = told
                .iter()
                .find(|told| told.epoch == gap.epoch && told.first == gap.first);
            if let Some(before) = before {
                news.first = before.last.next();
                news.from = before.to;
                news.batches = gap.batches.saturating_sub(before.batches);
                news.samples = gap.samples.saturating_sub(before.samples);
            }
            if news.batches > 0 {
                self.event(Event::Gap(news));
            }
        }
    }

    /// Counts a batch that will never come, though it was not dropped.
    fn give_up(&mut self, spool: &mut Spool, (epoch, number): BatchId) {
        if self.given_up.len() >= EPOCHS_MAX && !self.given_up.contains_key(&epoch) {
            self.given_up.pop_first();
        }
        // A set that is full forgets the number: the store will seem to lack it once.
        self.given_up.entry(epoch).or_default().insert(number);
        spool.acknowledge(self.destination, epoch, number);
    }

    /// Where the live lane starts and, when the backlog is long, where the catch-up lane does.
    fn starts(
        &self,
        offers: &[Offer],
        wall: TimestampMs,
        spool: &mut Spool,
    ) -> (BatchId, Option<BatchId>) {
        let next = offers.last().map_or_else(
            || (spool.epoch(), BatchNumber(0)),
            |own| (own.epoch, own.next),
        );
        let Some((oldest, created)) = oldest_pending(spool, self.destination) else {
            return (next, None);
        };
        // A batch from the future was made before the wall clock stepped back: how old it is nobody knows.
        let in_order = self.config.backlog_in_order.as_millis();
        let is_recent = |created: TimestampMs| u128::from(wall.0.abs_diff(created.0)) <= in_order;
        if created.is_none_or(is_recent) {
            (oldest, None)
        } else {
            (next, Some(oldest))
        }
    }

    fn receive_open(
        &mut self,
        now: Monotonic,
        message: StoreMessage,
        spool: &mut Spool,
    ) -> Result<(), DeliveryError> {
        let State::Open(session) = &mut self.state else {
            return Err(DeliveryError::Unexpected {
                what: "message without a session",
            });
        };
        match message {
            StoreMessage::Acknowledged {
                epoch,
                numbers,
                refused,
            } => {
                self.stats.batches_acknowledged += session.settle(epoch, &numbers);
                spool.acknowledge_set(self.destination, epoch, &numbers);
                self.count_refused(refused);
            }
            StoreMessage::Resend { epoch, number } => {
                self.stats.batches_resent += 1;
                session.send_again(now, (epoch, number));
            }
            StoreMessage::Retry {
                epoch,
                numbers,
                after,
            } => {
                let sent_back: Vec<BatchId> = session
                    .on_their_way
                    .keys()
                    .filter(|id| id.0 == epoch && numbers.contains(id.1))
                    .copied()
                    .collect();
                self.stats.batches_sent_back += sent_back.len() as u64;
                for id in sent_back {
                    session.send_again(now + after, id);
                }
            }
            StoreMessage::Quarantine {
                epoch,
                number,
                message,
            } => {
                session.settle(
                    epoch,
                    &NumberSet::from_intervals([(number, number)]).unwrap_or_default(),
                );
                self.stats.batches_quarantined += 1;
                let body = read_body(spool, (epoch, number));
                self.give_up(spool, (epoch, number));
                self.event(Event::Quarantined {
                    epoch,
                    number,
                    message,
                    body,
                });
            }
            StoreMessage::Certificate { chain } => self.event(Event::Certificate(chain)),
            StoreMessage::RenewalRefused { message } => self.event(Event::RenewalRefused(message)),
            StoreMessage::Welcome(_) => {
                return Err(DeliveryError::Unexpected {
                    what: "second welcome",
                });
            }
            StoreMessage::Refused { reason, message } => {
                return Err(DeliveryError::Refused { reason, message });
            }
        }
        Ok(())
    }

    fn count_refused(&mut self, refused: Vec<RefusedSamples>) {
        for RefusedSamples { reason, samples } in refused {
            let full = self.stats.samples_refused.len() >= REASONS_MAX
                && !self.stats.samples_refused.contains_key(&reason);
            let reason = if full { "other".to_owned() } else { reason };
            *self.stats.samples_refused.entry(reason).or_default() += samples;
        }
    }

    fn poll_open(
        &mut self,
        now: Monotonic,
        spool: &mut Spool,
    ) -> Result<Option<(StreamId, AgentMessage)>, ReadError> {
        loop {
            let State::Open(session) = &mut self.state else {
                return Ok(None);
            };
            if session.status_due <= now {
                self.tell_status(now, None, spool);
                continue;
            }
            if let Some(message) = session.outbox.pop_front() {
                return Ok(Some(message));
            }
            if now < session.paused_until {
                return Ok(None);
            }
            let Some((stream, next)) = session.next(self.destination, spool)? else {
                return Ok(None);
            };
            match next {
                Next::Send {
                    batch,
                    definitions,
                    body,
                } => {
                    self.stats.batches_sent += 1;
                    self.stats.body_bytes_sent += body.len() as u64;
                    session.send(now, (stream, batch), definitions, body);
                    let early = self.config.status_interval / STATUS_EARLY_PART;
                    if session.status_due <= now + early {
                        self.tell_status(now, Some(batch), spool);
                    }
                }
                Next::Unreadable {
                    batch: (epoch, number),
                    error,
                    samples,
                    body,
                } => {
                    tracing::error!(%epoch, %number, %error, "a spooled batch cannot be read any more");
                    session.again.remove(&(epoch, number));
                    session.on_their_way.remove(&(epoch, number));
                    self.give_up(spool, (epoch, number));
                    self.put_aside((epoch, number), &error, samples, body);
                }
                Next::End => {
                    let delivered = session.on_their_way.is_empty();
                    if delivered && std::mem::take(&mut session.more_epochs) {
                        self.event(Event::MoreEpochs);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Tells the aggregator how the agent is; `along` is the batch that goes out with it.
    fn tell_status(&mut self, now: Monotonic, along: Option<BatchId>, spool: &mut Spool) {
        let State::Open(session) = &mut self.state else {
            return;
        };
        session.status_due = now + self.config.status_interval;
        let never_coming = spool.stats().dropped_batches
            + self.stats.batches_quarantined
            + self.stats.batches_unreadable;
        session.tell_floors(never_coming, self.destination, spool);
        let status = status(spool, self.destination, along);
        session
            .outbox
            .push_back((StreamId::Session, AgentMessage::Status(status)));
        self.tell_gaps(spool);
    }

    fn put_aside(
        &mut self,
        (epoch, number): BatchId,
        error: &TranscodeError,
        samples: u32,
        body: Arc<[u8]>,
    ) {
        match error {
            TranscodeError::Decode(_) => {
                self.stats.batches_unreadable += 1;
                self.event(Event::Unreadable {
                    epoch,
                    number,
                    samples,
                });
            }
            TranscodeError::Encode(_) => {
                self.stats.batches_quarantined += 1;
                self.event(Event::Quarantined {
                    epoch,
                    number,
                    message: error.to_string(),
                    body: Some(body),
                });
            }
        }
    }

    fn event(&mut self, event: Event) {
        push_event(&mut self.events, event);
    }
}

fn push_event(events: &mut VecDeque<Event>, event: Event) {
    if events.len() >= EVENTS_MAX {
        events.pop_front();
    }
    events.push_back(event);
}

impl Session {
    /// Takes batches off the way; returns how many were on it.
    fn settle(&mut self, epoch: Epoch, numbers: &NumberSet) -> u64 {
        let before = self.on_their_way.len();
        self.on_their_way
            .retain(|id, _| id.0 != epoch || !numbers.contains(id.1));
        self.again
            .retain(|id, _| id.0 != epoch || !numbers.contains(id.1));
        (before - self.on_their_way.len()) as u64
    }

    /// Notes a batch to be sent once more, not before `due`.
    fn send_again(&mut self, due: Monotonic, id: BatchId) {
        let Some(stream) = self.on_their_way.remove(&id) else {
            return;
        };
        self.again.insert(id, stream);
        self.paused_until = self.paused_until.max(due);
        // The receiver's chain is broken or about to be: go on with key rows.
        match (stream, &mut self.catch_up) {
            (StreamId::CatchUp, Some(lane)) => lane.forget_sent(),
            _ => self.live.forget_sent(),
        }
    }

    /// What is to be sent next: what came back first, then what is live, then the backlog.
    fn next(
        &mut self,
        destination: DestinationId,
        spool: &mut Spool,
    ) -> Result<Option<(StreamId, Next)>, ReadError> {
        while let Some((id, stream)) = self
            .again
            .first_key_value()
            .map(|(id, stream)| (*id, *stream))
        {
            let next = self.redo(id, spool)?;
            self.again.remove(&id);
            if !matches!(next, Next::End) {
                return Ok(Some((stream, next)));
            }
            // The spool has dropped it meanwhile; the floor tells the aggregator.
        }
        if self.on_their_way.len() >= self.window {
            return Ok(None);
        }
        let Self {
            offered,
            on_their_way,
            live_from,
            ..
        } = self;
        let is_open = |spool: &Spool, id: BatchId| {
            offered.contains(&id.0)
                && !on_their_way.contains_key(&id)
                && !spool.is_acknowledged(destination, id.0, id.1)
        };
        let live_from = *live_from;
        let next = self.live.next(spool, |spool, id| {
            (id.0 != live_from.0 || id.1 >= live_from.1) && is_open(spool, id)
        })?;
        if !matches!(next, Next::End) {
            return Ok(Some((StreamId::Session, next)));
        }
        // Half of the window is left to what is live.
        let behind = on_their_way
            .values()
            .filter(|stream| **stream == StreamId::CatchUp)
            .count();
        let Some(lane) = self
            .catch_up
            .as_mut()
            .filter(|_| behind < self.window.div_ceil(2))
        else {
            return Ok(if self.catch_up.is_none() {
                Some((StreamId::Session, Next::End))
            } else {
                None
            });
        };
        let next = lane.next(spool, |spool, id| {
            id != live_from && !is_live(id, live_from) && is_open(spool, id)
        })?;
        let arrived = lane
            .followed()
            .is_some_and(|id| id == live_from || is_live(id, live_from));
        if arrived || matches!(next, Next::End) {
            self.catch_up = None;
        }
        Ok(Some((StreamId::CatchUp, next)))
    }

    /// Finds a batch once more, by a lane of its own that goes on through the spool as long as batches come in order.
    fn redo(&mut self, id: BatchId, spool: &mut Spool) -> Result<Next, ReadError> {
        let goes_on = |lane: &Lane| {
            lane.followed()
                .is_some_and(|followed| followed.0 == id.0 && followed.1 < id.1)
        };
        let mut lane = match self.redo.take().filter(goes_on) {
            Some(lane) => lane,
            None => Lane::new(spool, id),
        };
        lane.forget_sent();
        let next = lane.next(spool, |_, candidate| candidate == id)?;
        Ok(match next {
            Next::Send { batch, body, .. } => {
                self.redo = Some(lane);
                // The stream has carried the definitions with the first sending.
                Next::Send {
                    batch,
                    definitions: Vec::new(),
                    body,
                }
            }
            other => other,
        })
    }

    fn send(
        &mut self,
        now: Monotonic,
        (stream, batch): (StreamId, BatchId),
        definitions: Vec<rows::CohortDefinition>,
        body: Arc<[u8]>,
    ) {
        if self.on_their_way.is_empty() {
            // Nothing was owed until now, however long ago the last answer came.
            self.last_answer = now;
        }
        let (epoch, number) = batch;
        for definition in definitions {
            self.outbox
                .push_back((stream, AgentMessage::Define { epoch, definition }));
        }
        self.outbox.push_back((
            stream,
            AgentMessage::Batch {
                epoch,
                number,
                body,
            },
        ));
        self.on_their_way.insert(batch, stream);
    }

    /// When batches were dropped or given up, says that they will not come.
    fn tell_floors(&mut self, never_coming: u64, destination: DestinationId, spool: &Spool) {
        if never_coming == self.never_coming_told {
            return;
        }
        self.never_coming_told = never_coming;
        for offer in spool
            .offers(destination)
            .iter()
            .filter(|offer| self.offered.contains(&offer.epoch))
        {
            self.outbox.push_back((
                StreamId::Session,
                AgentMessage::Floor {
                    epoch: offer.epoch,
                    floor: offer.floor,
                },
            ));
        }
    }
}

/// Whether a batch belongs to the live lane that starts at `live_from`.
fn is_live(id: BatchId, live_from: BatchId) -> bool {
    id.0 == live_from.0 && id.1 >= live_from.1
}

/// How many numbers below `floor` are in none of these closed intervals.
fn missing_below(floor: BatchNumber, mut intervals: Vec<(BatchNumber, BatchNumber)>) -> u64 {
    intervals.sort_unstable();
    let (mut missing, mut from) = (0, 0);
    for (first, last) in intervals {
        missing += first.0.min(floor.0).saturating_sub(from);
        from = from.max(last.0.saturating_add(1));
    }
    missing + floor.0.saturating_sub(from)
}

/// `along`: the batch that goes out with the status waits for nothing yet, and does not count when it is the oldest.
fn status(spool: &mut Spool, destination: DestinationId, along: Option<BatchId>) -> AgentStatus {
    let waits = along.is_none() || spool.backlog(destination).oldest != along;
    let oldest_unacknowledged = waits
        .then(|| oldest_pending(spool, destination))
        .flatten()
        .and_then(|(_, created)| created);
    let stats = spool.stats();
    AgentStatus {
        spool_bytes: stats.bytes,
        spool_bytes_max: stats.bytes_max,
        oldest_unacknowledged,
        dropped_batches: stats.dropped_batches,
        dropped_samples: stats.dropped_samples,
    }
}

/// The oldest batch that is not acknowledged, and when it was made (`None` when it cannot be read).
fn oldest_pending(
    spool: &mut Spool,
    destination: DestinationId,
) -> Option<(BatchId, Option<TimestampMs>)> {
    let oldest = spool.backlog(destination).oldest?;
    let mut reader = spool.reader(ReadFrom::Batch(oldest.0, oldest.1));
    while let Ok(Some(record)) = spool.next_record(&mut reader) {
        if let Record::Batch(batch) = record {
            return Some((oldest, Some(batch.created)));
        }
    }
    Some((oldest, None))
}

fn read_body(spool: &mut Spool, (epoch, number): BatchId) -> Option<Arc<[u8]>> {
    let mut reader = spool.reader(ReadFrom::Batch(epoch, number));
    loop {
        match spool.next_record(&mut reader).ok()?? {
            Record::Batch(batch) => {
                return ((batch.epoch, batch.number) == (epoch, number)).then(|| batch.body.into());
            }
            Record::Definition { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
