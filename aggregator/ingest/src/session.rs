//! One agent's session, as a state machine: messages in, appends and replies out. No socket, no task, no clock.
//!
//! The driver owns the connection. It feeds each message to [`Session::receive`]; when the answer is [`Flow::Blocked`] the store's
//! intake is full, and it calls [`Session::retry`] after a pause and reads nothing meanwhile, so that the agent feels the flow
//! control of the transport. Whenever the session's wake function fires, and after each call, it sends what
//! [`Session::poll_reply`] yields and looks at [`Session::renewal`] and [`Session::is_over`].
//!
//! A batch goes: decode (each lane has a chain of bases of its own) -> append -> durable -> acknowledge. What cannot be decoded is
//! asked for once more as key rows, then put into the agent's quarantine. What cannot be made durable is sent back to the spool.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use model::TimestampMs;
use rows::{Batch, BatchDecoder, BatchNumber, CohortDefinition, Epoch, NumberSet};
use storage::{AppendOutcome, Appender, Busy, Lane, RefusalCounts, Source};
use transport::PeerIdentity;
use wire::{
    AgentHello, AgentMessage, EPOCHS_MAX, EpochKnown, RefusedSamples, SessionRefusal, StoreMessage,
    StreamId, Welcome,
};

use crate::agents::{Arrival, Generation, Wake};
use crate::completions::{Completion, Completions};
use crate::identity::enforce;
use crate::{Agents, Metrics};

/// How long an agent keeps a batch that the store could not make durable, before it sends it again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What all sessions share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Who is here.
    pub agents: Agents,
    /// Where rows go.
    pub store: Arc<dyn Appender>,
    /// What is counted.
    pub metrics: Metrics,
    /// Batches that one agent may have on their way, unacknowledged.
    pub window_batches: u32,
}

/// The two times of one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For intervals.
    pub monotonic: Monotonic,
    /// For stamps.
    pub wall: TimestampMs,
}

/// Whether the driver may go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Open,
    /// The store's intake is full: call [`Session::retry`] after a pause, and read nothing until it answers [`Flow::Open`].
    Blocked,
}

/// Why a session ends at once: the agent broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A message came before the hello, or a second hello, or on the wrong stream.
    #[error("unexpected {what} message")]
    Unexpected {
        /// The message.
        what: &'static str,
    },
    /// The epoch was not offered in the hello.
    #[error("epoch {0} was not offered in the hello")]
    UnknownEpoch(Epoch),
    /// More batches came than the window allows.
    #[error("more than the {window} batches of the window are on their way")]
    WindowExceeded {
        /// The bound.
        window: u32,
    },
    /// More epochs than a hello may offer.
    #[error(
        "the hello offers {offered} epochs; at most {EPOCHS_MAX} are allowed, and the agent's own must be among them"
    )]
    Epochs {
        /// How many it offers.
        offered: usize,
    },
}

/// One agent's session.
pub struct Session {
    shared: Shared,
    peer: PeerIdentity,
    transport: &'static str,
    wake: Wake,
    state: State,
    lanes: [LaneState; 2],
    /// What the store was too busy to take; nothing is read while it stands.
    pending: Option<Pending>,
    /// Batches that were asked for again as key rows.
    asked: BTreeSet<(Epoch, BatchNumber)>,
    completions: Arc<Completions>,
    replies: VecDeque<StoreMessage>,
    renewal: Option<Vec<u8>>,
}

enum State {
    Opening,
    Open {
        generation: Generation,
        epochs: Vec<Epoch>,
    },
    Over,
}

/// A lane's decoding chain; a lane carries one epoch after the other.
struct LaneState {
    lane: Lane,
    epoch: Option<Epoch>,
    decoder: BatchDecoder,
}

enum Pending {
    Define(Source, CohortDefinition),
    Append(Source, Arc<Batch>),
    Settle(Epoch, BatchNumber),
}

impl Session {
    /// Returns a session that waits for its hello. `wake` is called when replies are ready without a message having come, and
    /// when a newer session replaces this one.
    pub fn new(shared: Shared, peer: PeerIdentity, transport: &'static str, wake: Wake) -> Self {
        let lane = |lane| LaneState {
            lane,
            epoch: None,
            decoder: BatchDecoder::of_agents(),
        };
        Self {
            completions: Arc::new(Completions::new(Arc::clone(&wake))),
            shared,
            peer,
            transport,
            wake,
            state: State::Opening,
            lanes: [lane(Lane::Live), lane(Lane::CatchUp)],
            pending: None,
            asked: BTreeSet::new(),
            replies: VecDeque::new(),
            renewal: None,
        }
    }

    /// Takes a message. After an error the connection must be closed.
    pub fn receive(
        &mut self,
        now: Now,
        stream: StreamId,
        message: AgentMessage,
    ) -> Result<Flow, ProtocolError> {
        match message {
            AgentMessage::Hello(hello) => self.open(now, stream, &hello)?,
            AgentMessage::Define { epoch, definition } => {
                let source = self.source("define", stream, epoch)?;
                let definition = self.enforce(definition);
                self.pending = Some(Pending::Define(source, definition));
            }
            AgentMessage::Batch {
                epoch,
                number,
                body,
            } => self.decode(now, stream, (epoch, number), body)?,
            AgentMessage::Floor { epoch, floor } => {
                self.source("floor", stream, epoch)?;
                // What the spool dropped was asked for in vain.
                self.asked
                    .retain(|(asked, number)| *asked != epoch || *number >= floor);
                self.pending = Some(Pending::Settle(epoch, floor));
            }
            AgentMessage::Status(status) => {
                let generation = self.generation("status")?;
                self.shared
                    .agents
                    .status_came(self.peer.agent(), generation, status);
            }
            AgentMessage::Renew { request } => {
                self.generation("renew")?;
                self.renewal = Some(request);
            }
        }
        Ok(self.retry())
    }

    /// Offers the store again what it was too busy to take.
    pub fn retry(&mut self) -> Flow {
        let Some(pending) = &self.pending else {
            return Flow::Open;
        };
        let taken = match pending {
            Pending::Define(source, definition) => {
                self.shared.store.define(source, definition.clone())
            }
            Pending::Settle(epoch, floor) => {
                self.shared.store.settle(self.peer.agent(), *epoch, *floor)
            }
            Pending::Append(source, batch) => self.append(source, batch),
        };
        match taken {
            Ok(()) => {
                self.pending = None;
                Flow::Open
            }
            Err(Busy) => Flow::Blocked,
        }
    }

    /// Returns the next message for the agent, to be sent on the session stream.
    pub fn poll_reply(&mut self) -> Option<StoreMessage> {
        if self.replies.is_empty() {
            self.reply_to_completions();
        }
        self.replies.pop_front()
    }

    /// Returns the certificate signing request that the agent sent, once; answer with [`Self::answer_renewal`].
    pub fn renewal(&mut self) -> Option<Vec<u8>> {
        self.renewal.take()
    }

    /// Answers a renewal with a chain, leaf first, or with the reason why there is none.
    pub fn answer_renewal(&mut self, answer: Result<Vec<Vec<u8>>, String>) {
        self.replies.push_back(match answer {
            Ok(chain) => StoreMessage::Certificate { chain },
            Err(message) => StoreMessage::RenewalRefused { message },
        });
    }

    /// Returns whether the connection is to be closed, once all replies are sent: the hello was refused, or a newer session of this
    /// agent has replaced this one.
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Opening => false,
            State::Open { generation, .. } => !self
                .shared
                .agents
                .is_current(self.peer.agent(), *generation),
            State::Over => true,
        }
    }

    /// Returns whether the hello was accepted and the session goes on.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Returns whether the store still owes answers.
    pub fn awaits_store(&self) -> bool {
        self.completions.outstanding() > 0
    }

    /// Ends the session because the aggregator is stopping; the agent comes again.
    pub fn shut_down(&mut self) {
        self.replies.push_back(StoreMessage::Refused {
            reason: SessionRefusal::ShuttingDown,
            message: "the aggregator is stopping; rows wait in the spool".to_owned(),
        });
        self.leave();
    }

    /// Returns the agent's identity.
    pub const fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    fn open(
        &mut self,
        now: Now,
        stream: StreamId,
        hello: &AgentHello,
    ) -> Result<(), ProtocolError> {
        if !matches!(self.state, State::Opening) || stream != StreamId::Session {
            return Err(ProtocolError::Unexpected { what: "hello" });
        }
        let offers_itself = hello.epochs.iter().any(|offer| offer.epoch == hello.epoch);
        if hello.epochs.len() > EPOCHS_MAX || !offers_itself {
            return Err(ProtocolError::Epochs {
                offered: hello.epochs.len(),
            });
        }
        let arrival = Arrival {
            peer: &self.peer,
            hello,
            transport: self.transport,
            now: now.monotonic,
            wall: now.wall,
        };
        match self.shared.agents.admit(&arrival, Arc::clone(&self.wake)) {
            Ok(generation) => self.welcome(now, hello, generation),
            Err((reason, message)) => self.refuse(reason, message),
        }
        Ok(())
    }

    fn welcome(&mut self, now: Now, hello: &AgentHello, generation: Generation) {
        let known = hello.epochs.iter().map(|offer| EpochKnown {
            epoch: offer.epoch,
            numbers: self.shared.store.known(self.peer.agent(), offer.epoch),
        });
        self.replies.push_back(StoreMessage::Welcome(Welcome {
            store: self.shared.store.store_id(),
            known: known.collect(),
            window_batches: self.shared.window_batches,
            wall: now.wall,
        }));
        let epochs = hello.epochs.iter().map(|offer| offer.epoch).collect();
        self.state = State::Open { generation, epochs };
        self.shared.metrics.session_opened(self.transport);
        tracing::info!(agent = %self.peer.agent(), epoch = %hello.epoch, transport = self.transport, "session opened");
    }

    fn refuse(&mut self, reason: SessionRefusal, message: String) {
        self.shared.metrics.session_refused(reason);
        tracing::warn!(agent = %self.peer.agent(), reason = reason.as_str(), message, "session refused");
        self.replies
            .push_back(StoreMessage::Refused { reason, message });
        self.leave();
    }

    fn leave(&mut self) {
        if let State::Open { generation, .. } = self.state {
            self.shared.agents.left(self.peer.agent(), generation);
        }
        self.state = State::Over;
    }

    fn generation(&self, what: &'static str) -> Result<Generation, ProtocolError> {
        match &self.state {
            State::Open { generation, .. } => Ok(*generation),
            State::Opening | State::Over => Err(ProtocolError::Unexpected { what }),
        }
    }

    fn source(
        &self,
        what: &'static str,
        stream: StreamId,
        epoch: Epoch,
    ) -> Result<Source, ProtocolError> {
        match &self.state {
            State::Open { epochs, .. } if epochs.contains(&epoch) => Ok(Source {
                agent: self.peer.agent().clone(),
                epoch,
                lane: self.lanes[lane_index(stream)].lane,
            }),
            State::Open { .. } => Err(ProtocolError::UnknownEpoch(epoch)),
            State::Opening | State::Over => Err(ProtocolError::Unexpected { what }),
        }
    }

    fn enforce(&self, mut definition: CohortDefinition) -> CohortDefinition {
        for series in &mut definition.series {
            series.labels = enforce(&self.peer, &series.labels);
        }
        definition
    }

    fn decode(
        &mut self,
        now: Now,
        stream: StreamId,
        (epoch, number): (Epoch, BatchNumber),
        body: Arc<[u8]>,
    ) -> Result<(), ProtocolError> {
        let source = self.source("batch", stream, epoch)?;
        let generation = self.generation("batch")?;
        let on_their_way = self.completions.outstanding();
        if on_their_way >= self.shared.window_batches as usize {
            return Err(ProtocolError::WindowExceeded {
                window: self.shared.window_batches,
            });
        }
        match self.lanes[lane_index(stream)].decode(epoch, number, body) {
            Ok(batch) => {
                self.asked.remove(&(epoch, number));
                if let Some(newest) = newest(&batch) {
                    let now = (now.monotonic, now.wall);
                    self.shared
                        .agents
                        .rows_came(self.peer.agent(), generation, newest, now);
                }
                self.shared.metrics.batch_decoded(&batch);
                self.pending = Some(Pending::Append(source, Arc::new(batch)));
            }
            Err(error) => self.undecodable(epoch, number, &error),
        }
        Ok(())
    }

    /// Asks for the batch as key rows; when it comes to nothing a second time, has the agent put it aside.
    fn undecodable(&mut self, epoch: Epoch, number: BatchNumber, error: &rows::DecodeError) {
        let again = !self.asked.remove(&(epoch, number));
        self.shared.metrics.batch_undecodable(again);
        self.replies.push_back(if again {
            if self.asked.len() >= self.shared.window_batches as usize {
                // The spool dropped it, or it would be here: forgetting it costs one more question.
                self.asked.pop_first();
            }
            self.asked.insert((epoch, number));
            tracing::info!(agent = %self.peer.agent(), %epoch, %number, %error, "batch asked for again as key rows");
            StoreMessage::Resend { epoch, number }
        } else {
            tracing::error!(agent = %self.peer.agent(), %epoch, %number, %error, "batch quarantined at the agent");
            StoreMessage::Quarantine { epoch, number, message: error.to_string() }
        });
    }

    fn append(&self, source: &Source, batch: &Arc<Batch>) -> Result<(), Busy> {
        let ticket = self.completions.ticket(source.epoch, batch.number);
        self.shared.store.append(
            source,
            Arc::clone(batch),
            Box::new(move |outcome| ticket.complete(outcome)),
        )
    }

    /// Turns what the store said since into as few messages as possible.
    fn reply_to_completions(&mut self) {
        let mut acknowledged = Group::default();
        let mut failed = Group::default();
        for Completion {
            epoch,
            number,
            outcome,
        } in self.completions.take()
        {
            match outcome {
                AppendOutcome::Stored(refused) => {
                    self.shared.metrics.batch_stored(&refused);
                    acknowledged.add(
                        epoch,
                        number,
                        refused.counts(),
                        &mut self.replies,
                        acknowledge,
                    );
                }
                AppendOutcome::Duplicate => {
                    self.shared.metrics.batch_duplicate();
                    acknowledged.add(
                        epoch,
                        number,
                        &RefusalCounts::default(),
                        &mut self.replies,
                        acknowledge,
                    );
                }
                AppendOutcome::Failed(reason) => {
                    self.shared.metrics.batch_not_durable();
                    tracing::error!(agent = %self.peer.agent(), %epoch, %number, reason, "batch not durable, sent back to the spool");
                    failed.add(
                        epoch,
                        number,
                        &RefusalCounts::default(),
                        &mut self.replies,
                        send_back,
                    );
                }
            }
        }
        acknowledged.flush(&mut self.replies, acknowledge);
        failed.flush(&mut self.replies, send_back);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl LaneState {
    fn decode(
        &mut self,
        epoch: Epoch,
        number: BatchNumber,
        body: Arc<[u8]>,
    ) -> Result<Batch, rows::DecodeError> {
        if self.epoch != Some(epoch) {
            // Cohort ids count within an epoch, so a chain cannot go on in another.
            self.decoder = BatchDecoder::of_agents();
            self.epoch = Some(epoch);
        }
        self.decoder.decode(number, body)
    }
}

const fn lane_index(stream: StreamId) -> usize {
    match stream {
        StreamId::Session => 0,
        StreamId::CatchUp => 1,
    }
}

fn newest(batch: &Batch) -> Option<TimestampMs> {
    let rows = batch.rows.iter().map(|decoded| decoded.row.at);
    rows.chain(batch.samples.iter().map(|sample| sample.at))
        .max()
}

/// Numbers of one epoch that share an answer.
#[derive(Default)]
struct Group {
    epoch: Option<Epoch>,
    numbers: NumberSet,
    refused: RefusalCounts,
}

type Answer = fn(Epoch, NumberSet, &RefusalCounts) -> StoreMessage;

impl Group {
    fn add(
        &mut self,
        epoch: Epoch,
        number: BatchNumber,
        refused: &RefusalCounts,
        replies: &mut VecDeque<StoreMessage>,
        answer: Answer,
    ) {
        if self.epoch.is_some_and(|present| present != epoch) || !self.numbers.has_room_for(number)
        {
            self.flush(replies, answer);
        }
        self.epoch = Some(epoch);
        self.numbers.insert(number);
        self.refused.merge(refused);
    }

    fn flush(&mut self, replies: &mut VecDeque<StoreMessage>, answer: Answer) {
        let Self {
            epoch,
            numbers,
            refused,
        } = std::mem::take(self);
        if let Some(epoch) = epoch {
            replies.push_back(answer(epoch, numbers, &refused));
        }
    }
}

fn acknowledge(epoch: Epoch, numbers: NumberSet, refused: &RefusalCounts) -> StoreMessage {
    let refused = refused
        .iter()
        .map(|(reason, samples)| RefusedSamples {
            reason: reason.as_str().to_owned(),
            samples,
        })
        .collect();
    StoreMessage::Acknowledged {
        epoch,
        numbers,
        refused,
    }
}

fn send_back(epoch: Epoch, numbers: NumberSet, _refused: &RefusalCounts) -> StoreMessage {
    StoreMessage::Retry {
        epoch,
        numbers,
        after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests;
