//! What two aggregators of a pair say to each other, as values.

use model::TimestampMs;

/// The version of what follows a [`PairHello`]; two that differ do not talk.
pub const PAIR_PROTOCOL: u16 = 2;

/// From either aggregator of a pair to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairMessage {
    /// The first message of each side.
    Hello(PairHello),
    /// Says that the sender lives.
    Alive,
    /// From the one that dialled: asks for a new certificate for the key of this certificate signing request (DER).
    Renew {
        /// The request.
        request: Vec<u8>,
    },
    /// Answers [`PairMessage::Renew`].
    Certificate {
        /// The new chain, leaf first (DER).
        chain: Vec<Vec<u8>>,
    },
    /// Answers [`PairMessage::Renew`]: no.
    RenewalRefused {
        /// For people.
        message: String,
    },
    /// What the alerting of the one has for that of the other.
    Share(Share),
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairHello {
    /// [`PAIR_PROTOCOL`] of the sender.
    pub protocol: u16,
    /// The sender's version.
    pub version: String,
    /// The sender's name, for people.
    pub name: String,
    /// The address at which the sender sees the other.
    pub sees: String,
    /// The sender's wall clock at sending.
    pub wall: TimestampMs,
}

/// What one alerting has for the other; in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Records, each the newest that the sender has of its key.
    Records(Vec<SharedRecord>),
    /// All that the sender had when the connection was made has been sent.
    Synced,
    /// Asks for leave to notify at this place: a group and an integration of a receiver, as in the records of notifications.
    Ask {
        /// The place.
        place: Vec<u8>,
    },
    /// Answers [`Share::Ask`], after all records that the decision was made by.
    Answer {
        /// The place.
        place: Vec<u8>,
        /// Whether the other may; then it gives the leave back ([`Share::Release`]).
        granted: bool,
    },
    /// Gives a leave back, after the record of what was told.
    Release {
        /// The place.
        place: Vec<u8>,
    },
    /// Says which configuration of alerting the sender has from now on: those with the same digest are the same.
    Configuration {
        /// The digest.
        digest: u64,
    },
}

/// A record of alerting's store, as it is written there: a value of a later version may have more in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRecord {
    /// Of what.
    pub table: SharedTable,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedTable {
    /// Silences.
    Silences,
    /// Entries of the notification log.
    Notifications,
}
