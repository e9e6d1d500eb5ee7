//! Messages to frames and back.
//!
//! The envelope of a frame is bincode 2 (its standard configuration: little-endian, variable-length integers) of a private mirror of the
//! message, so that the public types can change without the bytes changing behind our back; the golden vectors of the tests and
//! PROTOCOL.md fix what they are. Decoding always has a limit. What a mirror holds is checked as it becomes a message.

mod agent;
mod join;
mod pair;
mod parts;
mod renewal;
mod store;
#[cfg(test)]
mod tests;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::frame::put_frame;
use crate::{
    AgentMessage, DecodeError, EncodeError, Frame, FrameKind, JoinReply, JoinRequest, PairMessage,
    StoreMessage,
};

/// What decoding an envelope may allocate; several times what a frame may hold.
const DECODED_BYTES_MAX: usize = 8 << 20;
const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// Something that travels as a frame: [`AgentMessage`], [`StoreMessage`], [`JoinRequest`], [`JoinReply`],
/// [`PairMessage`].
pub trait Message: sealed::Codec {}

impl Message for AgentMessage {}
impl Message for StoreMessage {}
impl Message for JoinRequest {}
impl Message for JoinReply {}
impl Message for PairMessage {}

mod sealed {
    use super::{DecodeError, EncodeError, Frame, FrameKind};

    /// How a message becomes the payload of a frame.
    pub trait Codec: Sized {
        fn kind(&self) -> FrameKind;
        fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
        fn take(frame: Frame<'_>) -> Result<Self, DecodeError>;
    }
}

/// Appends the frame of `message` to `out`, which is as it was after an error.
pub fn encode_message<M: Message>(message: &M, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let kind = message.kind();
    let result = put_frame(
        out,
        kind,
        |out| message.put(out),
        |length| EncodeError::TooLong {
            what: "the frame",
            length,
            limit: kind.bytes_max(),
        },
    );
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Returns the message of `frame`.
pub fn decode_message<M: Message>(frame: Frame<'_>) -> Result<M, DecodeError> {
    M::take(frame)
}

/// Appends an envelope.
fn put_envelope(
    out: &mut Vec<u8>,
    kind: FrameKind,
    envelope: impl Encode,
) -> Result<(), EncodeError> {
    bincode::encode_into_std_write(envelope, out, CONFIGURATION)
        .map(|_| ())
        .map_err(|_| EncodeError::Envelope { kind })
}

/// Returns an envelope that fills its frame.
fn take_envelope<'a, E: BorrowDecode<'a, ()>>(frame: Frame<'a>) -> Result<E, DecodeError> {
    let (envelope, rest) = take_envelope_and_rest(frame)?;
    if rest.is_empty() {
        Ok(envelope)
    } else {
        Err(malformed(frame.kind, "it is longer than its contents"))
    }
}

/// Returns an envelope, and what follows it.
fn take_envelope_and_rest<'a, E: BorrowDecode<'a, ()>>(
    frame: Frame<'a>,
) -> Result<(E, &'a [u8]), DecodeError> {
    let (envelope, length) = bincode::borrow_decode_from_slice(frame.payload, CONFIGURATION)
        .map_err(|_| malformed(frame.kind, "its envelope does not decode"))?;
    Ok((envelope, frame.payload.get(length..).unwrap_or_default()))
}

const fn malformed(kind: FrameKind, what: &'static str) -> DecodeError {
    DecodeError::Malformed { kind, what }
}
