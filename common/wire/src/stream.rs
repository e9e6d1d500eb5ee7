//! Protocol names and streams.

/// The ALPN name of sessions; a later version has another name, and an endpoint that speaks both offers both.
pub const ALPN_SESSION: &[u8] = b"promontory/1";
/// The ALPN name of joining: one request, one reply.
pub const ALPN_JOIN: &[u8] = b"promontory-join/1";

/// A stream of frames within a session's connection.
///
/// Over QUIC these are pairs of one-way streams that begin with their number; over TCP they share one connection ([`Mux`](crate::Mux)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// Hello, definitions, live batches, status; all that the store says.
    Session,
    /// Batches of a backlog, and those that are sent again; of lower priority.
    CatchUp,
}

impl StreamId {
    /// All streams, the most urgent first.
    pub const ALL: [Self; 2] = [Self::Session, Self::CatchUp];

    /// Returns the stream's number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Session => 0,
            Self::CatchUp => 1,
        }
    }

    /// Returns the stream with this number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Session),
            1 => Some(Self::CatchUp),
            _ => None,
        }
    }
}
