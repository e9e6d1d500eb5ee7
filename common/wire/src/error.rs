//! What can be wrong with bytes and messages.

/// The bytes of a stream are not frames: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame says that it is longer than its kind may be.
    #[error("frame of kind {kind} says that it has {length} bytes, at most {limit} are taken")]
    TooLong {
        /// Its kind.
        kind: u8,
        /// What it says.
        length: u32,
        /// What it may say.
        limit: usize,
    },
    /// A frame too short to have a kind.
    #[error("frame without a kind")]
    Empty,
    /// A frame of a kind that this version of the protocol has not got.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// More bytes were pushed than a frame and a read need: take the frames out first.
    #[error("{bytes} bytes wait to be taken out as frames")]
    Unread {
        /// How many.
        bytes: usize,
    },
}

/// A frame is not the message that it should be: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A kind that has no place in this direction, or in this protocol.
    #[error("a frame of kind {kind:?} does not come from this side")]
    Direction {
        /// The kind.
        kind: crate::FrameKind,
    },
    /// The envelope is not what an encoder writes.
    #[error("a frame of kind {kind:?} is malformed: {what}")]
    Malformed {
        /// The kind.
        kind: crate::FrameKind,
        /// What is wrong.
        what: &'static str,
    },
}

/// A message that no receiver would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A part of it is too long.
    #[error("{what} has {length} bytes or items, at most {limit} can be sent")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length.
        length: usize,
        /// What it may be.
        limit: usize,
    },
    /// The envelope was not written.
    #[error("cannot encode a frame of kind {kind:?}")]
    Envelope {
        /// The kind.
        kind: crate::FrameKind,
    },
}
