//! Streams over one connection, for when UDP is blocked: what QUIC would do, on top of TCP.
//!
//! Each end cuts the bytes of its streams into chunks and sends no more than the other end has granted: a stream that is not read
//! stops, the others go on. Records are drawn in PROTOCOL.md. Pure: bytes read from the socket go into [`Mux::receive`], bytes for the
//! socket come out of [`Mux::transmit`].
//!
//! Memory: per stream, at most [`STREAM_WINDOW_BYTES`] received and not read, and [`WRITE_BUFFER_BYTES`] written and not sent.

use std::collections::VecDeque;

use crate::StreamId;

/// Bytes of a stream that may be on their way or wait to be read.
pub const STREAM_WINDOW_BYTES: usize = 1 << 20;
/// Bytes of a stream that may wait to be sent.
pub const WRITE_BUFFER_BYTES: usize = 256 << 10;

/// The most bytes of a chunk: what urgent bytes may have to wait for.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// Kind (1), stream (1), value (4, little-endian).
const HEADER_BYTES: usize = 6;
/// The value is a length; so many bytes follow.
const KIND_DATA: u8 = 0;
/// The value is how many more bytes may be sent.
const KIND_CREDIT: u8 = 1;
/// Credit is granted when so many bytes were read, so that grants are few.
const GRANT_BYTES: usize = STREAM_WINDOW_BYTES / 4;
/// A buffer that grew beyond this is given back when it is empty: connections are many, bursts few.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// The other end breaks the rules: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// A record of a kind that this version has not got.
    #[error("record of unknown kind {0}")]
    UnknownKind(u8),
    /// A stream that this version has not got.
    #[error("record for unknown stream {0}")]
    UnknownStream(u8),
    /// A chunk that is empty or longer than any may be.
    #[error("chunk of {0} bytes, allowed are 1 to 16384")]
    Chunk(u32),
    /// More bytes than were granted.
    #[error("{bytes} bytes came for stream {stream:?}, which may get {granted}")]
    Overrun {
        /// The stream.
        stream: StreamId,
        /// What came.
        bytes: usize,
        /// What was granted.
        granted: usize,
    },
    /// More credit than a window has.
    #[error("credit of {credit} bytes for stream {stream:?} makes more than a window")]
    Credit {
        /// The stream.
        stream: StreamId,
        /// The credit.
        credit: u32,
    },
}

/// One end of a connection that carries all streams, both ways.
#[derive(Debug)]
pub struct Mux {
    lanes: [Lane; StreamId::ALL.len()],
    /// The header that is being received.
    header: Vec<u8>,
    /// The chunk that is being received, and how much of it is to come.
    chunk: Option<(StreamId, usize)>,
}

#[derive(Debug)]
struct Lane {
    /// Received, not read.
    incoming: VecDeque<u8>,
    /// What the other end may still send.
    granted: usize,
    /// Read, and not granted again.
    read: usize,
    /// Written, not sent.
    outgoing: VecDeque<u8>,
    /// What this end may still send.
    credit: usize,
}

impl Mux {
    /// Returns one end of a new connection.
    pub fn new() -> Self {
        Self {
            lanes: StreamId::ALL.map(|_| Lane::new()),
            header: Vec::with_capacity(HEADER_BYTES),
            chunk: None,
        }
    }

    /// Takes bytes as they were read from the socket.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), MuxError> {
        while !bytes.is_empty() {
            if let Some((stream, missing)) = self.chunk {
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                self.lane(stream).incoming.extend(part);
                self.chunk = (part.len() < missing).then_some((stream, missing - part.len()));
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at((HEADER_BYTES - self.header.len()).min(bytes.len()));
            self.header.extend_from_slice(part);
            bytes = rest;
            if let [kind, stream, a, b, c, d] = self.header[..] {
                self.header.clear();
                self.begin(kind, stream, u32::from_le_bytes([a, b, c, d]))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8, stream: u8, value: u32) -> Result<(), MuxError> {
        let stream = StreamId::from_number(stream).ok_or(MuxError::UnknownStream(stream))?;
        let lane = self.lane(stream);
        let amount = usize::try_from(value).unwrap_or(usize::MAX);
        match kind {
            KIND_DATA => {
                if !(1..=CHUNK_BYTES_MAX).contains(&amount) {
                    return Err(MuxError::Chunk(value));
                }
                lane.granted = lane.granted.checked_sub(amount).ok_or(MuxError::Overrun {
                    stream,
                    bytes: amount,
                    granted: lane.granted,
                })?;
                self.chunk = Some((stream, amount));
            }
            KIND_CREDIT => {
                lane.credit = lane
                    .credit
                    .checked_add(amount)
                    .filter(|credit| *credit <= STREAM_WINDOW_BYTES)
                    .ok_or(MuxError::Credit {
                        stream,
                        credit: value,
                    })?;
            }
            _ => return Err(MuxError::UnknownKind(kind)),
        }
        Ok(())
    }

    /// Returns the number of bytes of `stream` that can be read.
    pub fn readable(&self, stream: StreamId) -> usize {
        self.lanes[usize::from(stream.number())].incoming.len()
    }

    /// Moves up to `bytes_max` bytes of `stream` to the end of `out`; returns how many. The other end may then send as many more, which
    /// [`transmit`](Self::transmit) tells it.
    pub fn read(&mut self, stream: StreamId, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let lane = self.lane(stream);
        let count = move_front(&mut lane.incoming, bytes_max, out);
        lane.read += count;
        count
    }

    /// Takes bytes to be sent on `stream`, as many as there is room for; returns how many.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        let lane = self.lane(stream);
        let count = bytes.len().min(WRITE_BUFFER_BYTES - lane.outgoing.len());
        lane.outgoing.extend(&bytes[..count]);
        count
    }

    /// Returns how many bytes [`write`](Self::write) would take.
    pub fn writable(&self, stream: StreamId) -> usize {
        WRITE_BUFFER_BYTES - self.lanes[usize::from(stream.number())].outgoing.len()
    }

    /// Returns whether all that was written has been given to [`transmit`](Self::transmit).
    pub fn is_flushed(&self) -> bool {
        self.lanes.iter().all(|lane| lane.outgoing.is_empty())
    }

    /// Appends bytes for the socket to `out`, about `bytes_max` of them (at most a header and a grant per stream more); returns how many.
    /// Grants come first, then chunks of the most urgent stream that has bytes and credit.
    pub fn transmit(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        for (lane, stream) in self.lanes.iter_mut().zip(StreamId::ALL) {
            if lane.read >= GRANT_BYTES {
                put_header(out, KIND_CREDIT, stream, lane.read);
                lane.granted += lane.read;
                lane.read = 0;
            }
        }
        for (lane, stream) in self.lanes.iter_mut().zip(StreamId::ALL) {
            loop {
                let room = bytes_max.saturating_sub(out.len() - start);
                let count = lane.outgoing.len().min(lane.credit).min(CHUNK_BYTES_MAX);
                let count = count.min(room);
                if count == 0 {
                    break;
                }
                put_header(out, KIND_DATA, stream, count);
                move_front(&mut lane.outgoing, count, out);
                lane.credit -= count;
            }
        }
        out.len() - start
    }

    fn lane(&mut self, stream: StreamId) -> &mut Lane {
        &mut self.lanes[usize::from(stream.number())]
    }
}

impl Default for Mux {
    fn default() -> Self {
        Self::new()
    }
}

impl Lane {
    const fn new() -> Self {
        Self {
            incoming: VecDeque::new(),
            granted: STREAM_WINDOW_BYTES,
            read: 0,
            outgoing: VecDeque::new(),
            credit: STREAM_WINDOW_BYTES,
        }
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, stream: StreamId, value: usize) {
    out.extend_from_slice(&[kind, stream.number()]);
    // Chunks and windows are far smaller.
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

fn move_front(queue: &mut VecDeque<u8>, bytes_max: usize, out: &mut Vec<u8>) -> usize {
    let count = queue.len().min(bytes_max);
    let (front, back) = queue.as_slices();
    let from_front = count.min(front.len());
    out.extend_from_slice(&front[..from_front]);
    out.extend_from_slice(&back[..count - from_front]);
    queue.drain(..count);
    if queue.is_empty() && queue.capacity() > KEPT_BYTES_MAX {
        *queue = VecDeque::new();
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Moves what can be moved from one end to the other, in pieces.
    fn carry(from: &mut Mux, to: &mut Mux, piece: usize) -> usize {
        let mut wire = Vec::new();
        from.transmit(1 << 20, &mut wire);
        for piece in wire.chunks(piece) {
            to.receive(piece).unwrap();
        }
        wire.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn streams_arrive_in_order_whatever_is_read_when(
            writes in prop::collection::vec((prop::bool::ANY, 0usize..100_000), 1..40),
            reads in prop::collection::vec((prop::bool::ANY, 0usize..200_000), 1..40),
            piece in 1usize..5_000,
        ) {
            let (mut a, mut b) = (Mux::new(), Mux::new());
            let id = |catch_up: bool| if catch_up { StreamId::CatchUp } else { StreamId::Session };
            let (mut sent, mut got) = ([vec![], vec![]], [vec![], vec![]]);
            for (step, (stream, length)) in writes.iter().enumerate() {
                let bytes: Vec<u8> = (0..*length).map(|n| (n * 31 + step).to_le_bytes()[0]).collect();
                let taken = a.write(id(*stream), &bytes);
                sent[usize::from(*stream)].extend_from_slice(&bytes[..taken]);
                carry(&mut a, &mut b, piece);
                let (stream, length) = reads[step % reads.len()];
                b.read(id(stream), length, &mut got[usize::from(stream)]);
                carry(&mut b, &mut a, piece);
            }
            loop {
                let moved = carry(&mut a, &mut b, piece);
                let read = StreamId::ALL.map(|stream| b.read(stream, usize::MAX, &mut got[usize::from(stream.number())]));
                if moved + carry(&mut b, &mut a, piece) + read[0] + read[1] == 0 { break; }
            }
            prop_assert!(a.is_flushed());
            prop_assert!(sent == got);
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..200)) {
            let mut mux = Mux::new();
            let _refused = mux.receive(&bytes);
        }
    }

    #[test]
    fn a_stream_that_is_not_read_stops_and_the_other_goes_on() {
        let (mut a, mut b) = (Mux::new(), Mux::new());
        let block = vec![1; WRITE_BUFFER_BYTES];
        for _ in 0..20 {
            a.write(StreamId::Session, &block);
            while carry(&mut a, &mut b, 4_096) > 0 {}
        }
        assert_eq!(b.readable(StreamId::Session), STREAM_WINDOW_BYTES);
        assert_eq!(a.writable(StreamId::Session), 0);
        assert_eq!(a.write(StreamId::CatchUp, &[1, 2, 3]), 3);
        carry(&mut a, &mut b, 4_096);
        assert_eq!(b.readable(StreamId::CatchUp), 3);
    }

    #[test]
    fn who_breaks_the_rules_is_told_so() {
        let record =
            |kind: u8, stream: u8, value: u32| [&[kind, stream][..], &value.to_le_bytes()].concat();
        let stream = StreamId::Session;
        for (bytes, expected) in [
            (record(7, 0, 1), MuxError::UnknownKind(7)),
            (record(0, 2, 1), MuxError::UnknownStream(2)),
            (record(0, 0, 0), MuxError::Chunk(0)),
            (record(0, 0, 16_385), MuxError::Chunk(16_385)),
            (record(1, 0, 1), MuxError::Credit { stream, credit: 1 }),
        ] {
            assert_eq!(Mux::new().receive(&bytes), Err(expected));
        }
        let chunk = [record(0, 0, 16_384), vec![0; 16_384]].concat();
        let mut mux = Mux::new();
        let error = (0..100).find_map(|_| mux.receive(&chunk).err()).unwrap();
        let bytes = 16_384;
        assert_eq!(
            error,
            MuxError::Overrun {
                stream,
                bytes,
                granted: 0
            }
        );
        assert_eq!(mux.readable(stream), STREAM_WINDOW_BYTES);
    }
}
