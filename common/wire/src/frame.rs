//! Frames: length, kind, payload.

use rows::BODY_BYTES_MAX;

use crate::FrameError;

/// The most bytes of a frame that is not a batch, length field aside.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The most bytes of any frame, length field aside: a batch with its kind and envelope.
pub const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + 64;
/// The most bytes of a frame before the handshake is done, length field aside.
pub const HANDSHAKE_BYTES_MAX: usize = 64 << 10;

/// Bytes before the payload: length (4, little-endian, of what follows), kind (1).
const HEADER_BYTES: usize = 5;
/// What may wait in a decoder beyond one frame: a generous read.
const READ_BYTES_MAX: usize = 1 << 20;
/// A buffer that grew beyond this for a large frame is given back: connections are many, large frames few.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// From the agent: opens a session.
    Hello = 1,
    /// From the agent: defines slots.
    Define = 2,
    /// From the agent: rows.
    Batch = 3,
    /// From the agent: these will never come.
    Floor = 4,
    /// From the agent: how it is.
    Status = 5,
    /// From the agent: asks for a certificate.
    Renew = 6,
    /// To join: the request.
    JoinRequest = 32,
    /// To join: the reply.
    JoinReply = 33,
    /// From the store: the session is open.
    Welcome = 64,
    /// From the store: no session.
    Refused = 65,
    /// From the store: these are durable.
    Acknowledged = 66,
    /// From the store: once more, as key rows.
    Resend = 67,
    /// From the store: put it aside.
    Quarantine = 68,
    /// From the store: later.
    Retry = 69,
    /// From the store: a certificate.
    Certificate = 70,
    /// From the store: no certificate.
    RenewalRefused = 71,
    /// In a pair: opens it.
    PairHello = 96,
    /// In a pair: the sender lives.
    PairAlive = 97,
    /// In a pair: what the sender has.
    PairRecords = 98,
    /// In a pair: that was all.
    PairSynced = 99,
    /// In a pair: may I notify?
    PairAsk = 100,
    /// In a pair: you may, or not.
    PairAnswer = 101,
    /// In a pair: I have.
    PairRelease = 102,
    /// In a pair: which configuration the sender has.
    PairConfiguration = 103,
}

impl FrameKind {
    const ALL: [Self; 24] = [
        Self::Hello,
        Self::Define,
        Self::Batch,
        Self::Floor,
        Self::Status,
        Self::Renew,
        Self::JoinRequest,
        Self::JoinReply,
        Self::Welcome,
        Self::Refused,
        Self::Acknowledged,
        Self::Resend,
        Self::Quarantine,
        Self::Retry,
        Self::Certificate,
        Self::RenewalRefused,
        Self::PairHello,
        Self::PairAlive,
        Self::PairRecords,
        Self::PairSynced,
        Self::PairAsk,
        Self::PairAnswer,
        Self::PairRelease,
        Self::PairConfiguration,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Returns the most bytes that a frame of this kind may have, length field aside.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Batch => FRAME_BYTES_MAX,
            _ => MESSAGE_BYTES_MAX,
        }
    }
}

/// A frame within the bytes of a [`FrameDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: FrameKind,
    /// What it holds: for [`decode_message`](crate::decode_message).
    pub payload: &'a [u8],
}

/// Appends a frame of `kind` whose payload `put` appends; returns the length to be stated.
pub(crate) fn put_frame<E>(
    out: &mut Vec<u8>,
    kind: FrameKind,
    put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    too_long: impl FnOnce(usize) -> E,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
    put(out)?;
    let length = out.len() - start - 4;
    let stated = u32::try_from(length)
        .ok()
        .filter(|_| length <= kind.bytes_max());
    let Some(stated) = stated else {
        return Err(too_long(length));
    };
    out[start..start + 4].copy_from_slice(&stated.to_le_bytes());
    Ok(())
}

/// Cuts the bytes of a stream into frames.
///
/// Push what was read, then take out all frames before reading on. It holds at most one frame and one read; a length that is not
/// allowed is refused as soon as it can be seen, before its frame is waited for.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given out as frames.
    taken: usize,
    limit: usize,
}

impl FrameDecoder {
    /// Returns a decoder that takes any frame.
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            limit: FRAME_BYTES_MAX,
        }
    }

    /// Returns a decoder that takes frames of at most [`HANDSHAKE_BYTES_MAX`] bytes, until it is [opened](Self::open): for a peer that
    /// has not said who it is.
    pub const fn for_handshake() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            limit: HANDSHAKE_BYTES_MAX,
        }
    }

    /// Takes any frame from now on.
    pub const fn open(&mut self) {
        self.limit = FRAME_BYTES_MAX;
    }

    /// Adds bytes as they were read; refused when more wait than a frame and a read need.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        let waiting = self.buffer.len() + bytes.len();
        if waiting > 4 + self.limit + READ_BYTES_MAX {
            return Err(FrameError::Unread { bytes: waiting });
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the next whole frame; `None` when more bytes are needed. After an error there are no more frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let rest = &self.buffer[self.taken..];
        let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, byte] = *header;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length == 0 {
            return Err(FrameError::Empty);
        }
        let kind = FrameKind::from_byte(byte).ok_or(FrameError::UnknownKind(byte))?;
        let limit = kind.bytes_max().min(self.limit);
        let end = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
            .map(|length| 4 + length)
            .ok_or(FrameError::TooLong {
                kind: byte,
                length,
                limit,
            })?;
        if rest.len() < end {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += end;
        Ok(Some(Frame {
            kind,
            payload: &self.buffer[start + HEADER_BYTES..start + end],
        }))
    }

    /// Returns the number of bytes that wait for the rest of their frame.
    pub const fn waiting(&self) -> usize {
        self.buffer.len() - self.taken
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(
            &mut out,
            kind,
            |out| {
                out.extend_from_slice(payload);
                Ok(())
            },
            |length| length,
        )
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10), cut in 1usize..70) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(FrameKind::Batch, payload)).collect();
            let mut decoder = FrameDecoder::new();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece).unwrap();
                while let Some(frame) = decoder.next_frame().unwrap() { seen.push(frame.payload.to_vec()); }
            }
            prop_assert_eq!(seen, payloads);
            prop_assert_eq!(decoder.waiting(), 0);
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = FrameDecoder::new();
            decoder.push(&bytes).unwrap();
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn lengths_are_refused_when_they_are_seen() {
        let header = |length: usize, kind: u8| {
            [&u32::try_from(length).unwrap().to_le_bytes()[..], &[kind]].concat()
        };
        let result = |mut decoder: FrameDecoder, bytes: &[u8]| {
            decoder.push(bytes).unwrap();
            decoder.next_frame().map(|frame| frame.is_some())
        };
        let cases = [
            (header(FRAME_BYTES_MAX, 3), Ok(false)),
            (header(0, 3), Err(FrameError::Empty)),
            (header(5, 199), Err(FrameError::UnknownKind(199))),
            (header(1, 4), Ok(true)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(result(FrameDecoder::new(), &bytes), expected);
        }
        for (length, kind, limit) in [
            (FRAME_BYTES_MAX + 1, 3, FRAME_BYTES_MAX),
            (MESSAGE_BYTES_MAX + 1, 1, MESSAGE_BYTES_MAX),
            (u32::MAX as usize, 2, MESSAGE_BYTES_MAX),
        ] {
            let error = result(FrameDecoder::new(), &header(length, kind)).unwrap_err();
            let length = u32::try_from(length).unwrap();
            assert_eq!(
                error,
                FrameError::TooLong {
                    kind,
                    length,
                    limit
                }
            );
        }
        let early = header(HANDSHAKE_BYTES_MAX + 1, 1);
        assert!(result(FrameDecoder::for_handshake(), &early).is_err());
        let mut opened = FrameDecoder::for_handshake();
        opened.open();
        assert_eq!(result(opened, &early), Ok(false));
    }

    #[test]
    fn bytes_that_nobody_takes_out_are_refused() {
        let mut decoder = FrameDecoder::for_handshake();
        let chunk = vec![0; 256 << 10];
        let refused = (0..8).map(|_| decoder.push(&chunk)).find_map(Result::err);
        assert!(matches!(refused, Some(FrameError::Unread { .. })));
    }
}
