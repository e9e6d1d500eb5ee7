//! From the bytes of a connection's streams to messages.

use wire::{DecodeError, FrameDecoder, FrameError, Message, StreamId, decode_message};

/// How large the peer's frames may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameLimit {
    /// As large as frames get.
    Session,
    /// For a peer of whom nothing is known.
    Handshake,
}

/// What a whole frame of a stream holds.
pub(crate) type Decoded<M> = (StreamId, Result<M, DecodeError>);

/// One decoder per stream.
#[derive(Debug)]
pub(crate) struct Decoders {
    limit: FrameLimit,
    lanes: [FrameDecoder; StreamId::ALL.len()],
}

impl Decoders {
    pub(crate) fn new(limit: FrameLimit) -> Self {
        Self {
            limit,
            lanes: StreamId::ALL.map(|_| limit.decoder()),
        }
    }

    /// Adds bytes as they came on a stream.
    pub(crate) fn push(&mut self, stream: StreamId, bytes: &[u8]) -> Result<(), FrameError> {
        self.lanes[usize::from(stream.number())].push(bytes)
    }

    /// Returns the next whole message, of the most urgent stream first.
    pub(crate) fn next<M: Message>(&mut self) -> Result<Option<Decoded<M>>, FrameError> {
        for (stream, lane) in StreamId::ALL.into_iter().zip(&mut self.lanes) {
            if let Some(frame) = lane.next_frame()? {
                return Ok(Some((stream, decode_message(frame))));
            }
        }
        self.let_go();
        Ok(None)
    }

    /// Gives back the memory of decoders that hold nothing: most connections are idle most of the time.
    fn let_go(&mut self) {
        for lane in &mut self.lanes {
            if lane.waiting() == 0 {
                *lane = self.limit.decoder();
            }
        }
    }
}

impl FrameLimit {
    const fn decoder(self) -> FrameDecoder {
        match self {
            Self::Session => FrameDecoder::new(),
            Self::Handshake => FrameDecoder::for_handshake(),
        }
    }
}
