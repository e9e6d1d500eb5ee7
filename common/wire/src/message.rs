//! What agent and aggregator say to each other, as values. How it looks on the wire is `codec`'s business, and PROTOCOL.md's.

use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;
use rows::{BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};

/// The most epochs that one hello may offer: the live one and those that stand in the spool.
pub const EPOCHS_MAX: usize = 64;

/// From agent to aggregator.
#[derive(Clone, Debug)]
pub enum AgentMessage {
    /// Opens the session: the first message on the session stream, and only there.
    Hello(AgentHello),
    /// Defines slots, before the first batch on this connection that uses them.
    Define {
        /// The epoch that the cohort belongs to.
        epoch: Epoch,
        /// The slots.
        definition: CohortDefinition,
    },
    /// Rows.
    Batch {
        /// The epoch that the number counts in.
        epoch: Epoch,
        /// The batch's number; the same on every stream and towards every aggregator.
        number: BatchNumber,
        /// The encoded body (`rows::BatchEncoder`).
        body: Arc<[u8]>,
    },
    /// Numbers below `floor` will never come (again): the spool dropped them.
    Floor {
        /// The epoch.
        epoch: Epoch,
        /// The lowest number that may still come.
        floor: BatchNumber,
    },
    /// How the agent is; sent after the hello and every few seconds.
    Status(AgentStatus),
    /// Asks for a new certificate for the key of this certificate signing request (DER).
    Renew {
        /// The request.
        request: Vec<u8>,
    },
}

/// Who speaks, and what it has to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentHello {
    /// The name of the node, for people; what labels are made of comes from the certificate.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// The epoch of this run.
    pub epoch: Epoch,
    /// The epoch whose spool this run took over; `None` when the spool folder was empty.
    pub predecessor: Option<Epoch>,
    /// How often the fastest cohort is sampled.
    pub interval: Duration,
    /// What may come, the live epoch included; at most [`EPOCHS_MAX`].
    pub epochs: Vec<EpochOffer>,
    /// The agent's wall clock at sending.
    pub wall: TimestampMs,
}

/// The numbers of an epoch that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochOffer {
    /// The epoch.
    pub epoch: Epoch,
    /// Numbers below will never come (again): acknowledged by this destination, or dropped and counted as a gap.
    pub floor: BatchNumber,
    /// The first number that is not made yet.
    pub next: BatchNumber,
}

/// How an agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// Bytes in the spool.
    pub spool_bytes: u64,
    /// Bytes that the spool may take.
    pub spool_bytes_max: u64,
    /// When the oldest batch that is not acknowledged was made; `None` when all are.
    pub oldest_unacknowledged: Option<TimestampMs>,
    /// Batches that the spool dropped since the agent started.
    pub dropped_batches: u64,
    /// Samples in them.
    pub dropped_samples: u64,
}

/// From aggregator to agent.
#[derive(Clone, Debug)]
pub enum StoreMessage {
    /// Answers the hello: the session is open.
    Welcome(Welcome),
    /// Answers the hello: there will be no session; the connection closes.
    Refused {
        /// What the agent can do about it.
        reason: SessionRefusal,
        /// For people.
        message: String,
    },
    /// These batches are durable.
    Acknowledged {
        /// The epoch.
        epoch: Epoch,
        /// Its batches.
        numbers: NumberSet,
        /// Samples inside them that were refused, by reason; they need not be sent again.
        refused: Vec<RefusedSamples>,
    },
    /// This batch could not be decoded: send it once more, as key rows.
    Resend {
        /// The epoch.
        epoch: Epoch,
        /// The batch.
        number: BatchNumber,
    },
    /// This batch could not be decoded even as key rows: put it aside. Its number is settled, as if acknowledged.
    Quarantine {
        /// The epoch.
        epoch: Epoch,
        /// The batch.
        number: BatchNumber,
        /// For people.
        message: String,
    },
    /// These batches are not durable (the disk is full or failing): keep them, and send them again after a while.
    Retry {
        /// The epoch.
        epoch: Epoch,
        /// Its batches.
        numbers: NumberSet,
        /// How long to wait.
        after: Duration,
    },
    /// Answers [`AgentMessage::Renew`].
    Certificate {
        /// The new chain, leaf first (DER).
        chain: Vec<Vec<u8>>,
    },
    /// Answers [`AgentMessage::Renew`]: no.
    RenewalRefused {
        /// For people.
        message: String,
    },
}

/// The terms of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The store that answers.
    pub store: StoreId,
    /// What it has, for each epoch offered, in the order offered.
    pub known: Vec<EpochKnown>,
    /// Batches that may be on their way, unacknowledged, over all streams.
    pub window_batches: u32,
    /// The aggregator's wall clock at sending.
    pub wall: TimestampMs,
}

/// What a store has of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochKnown {
    /// The epoch.
    pub epoch: Epoch,
    /// Its durable numbers.
    pub numbers: NumberSet,
}

/// Samples refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSamples {
    /// The reason, as the counter's label has it (`series_per_agent`, `too_new`, ...).
    pub reason: String,
    /// How many.
    pub samples: u64,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionRefusal {
    /// Another running agent has this id.
    IdInUse,
    /// The two wall clocks are more than ten minutes apart.
    ClockSkew,
    /// The identity was revoked.
    Revoked,
    /// The aggregator has as many agents as it may.
    TooManyAgents,
    /// The hello breaks the protocol.
    Malformed,
    /// The aggregator is stopping.
    ShuttingDown,
}

impl SessionRefusal {
    /// Returns the value of the label `reason` of the counters on both sides.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdInUse => "id_in_use",
            Self::ClockSkew => "clock_skew",
            Self::Revoked => "revoked",
            Self::TooManyAgents => "too_many_agents",
            Self::Malformed => "malformed",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Asks to join: the only message on a connection of the join protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The join token's secret part, as given to the operator.
    pub token: String,
    /// The id that the agent would like to have.
    pub agent: String,
    /// A certificate signing request for the agent's key (DER).
    pub request: Vec<u8>,
}

/// Answers a [`JoinRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinReply {
    /// Welcome.
    Granted {
        /// The agent's certificate and those above it, leaf first (DER).
        chain: Vec<Vec<u8>>,
    },
    /// No.
    Refused {
        /// What the agent can do about it.
        reason: JoinRefusal,
        /// For people.
        message: String,
    },
}

/// Why an agent may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinRefusal {
    /// No such token.
    UnknownToken,
    /// The token has expired.
    Expired,
    /// The token was used as often as it may be.
    UsedUp,
    /// The token was revoked.
    Revoked,
    /// The request is malformed: a bad id, or not a signing request.
    Malformed,
    /// Too many requests are pending: try again later.
    Busy,
}

impl JoinRefusal {
    /// Returns the value of the label `reason` of the counters on both sides.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown_token",
            Self::Expired => "expired",
            Self::UsedUp => "used_up",
            Self::Revoked => "revoked",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
        }
    }
}
