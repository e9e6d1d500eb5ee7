//! What TCP lacks and QUIC has: an accepted handshake, signs of life, a reason with the close.
//!
//! Records like those of [`wire::Mux`] (kind, stream, value little-endian), with kinds of their own and stream 0, between its records:
//!
//! | kind | value | payload |
//! |---|---|---|
//! | 128 ready | 0; the aggregator's first record: the handshake is accepted | |
//! | 129 ping | any number | |
//! | 130 pong | the number of the ping | |
//! | 131 close | length, 4 to 260 | a reason (4 bytes, little-endian) and a text for people |

use wire::{Mux, MuxError};

use crate::closing::{CloseReason, MESSAGE_BYTES_MAX, shorten};

const HEADER_BYTES: usize = 6;
/// The one kind of the mux that has a payload.
const MUX_DATA: u8 = 0;
const READY: u8 = 128;
const PING: u8 = 129;
const PONG: u8 = 130;
const CLOSE: u8 = 131;

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Ready,
    Ping(u32),
    Pong(u32),
    Close(CloseReason, String),
}

/// Bytes that are no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Mux(#[from] MuxError),
    #[error("a close of {0} bytes, allowed are 4 to 260")]
    Close(u32),
}

impl Record {
    /// Appends the record's bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready => put_header(out, READY, 0),
            Self::Ping(number) => put_header(out, PING, *number),
            Self::Pong(number) => put_header(out, PONG, *number),
            Self::Close(reason, message) => {
                let text = &message.as_bytes()[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
                let length = u32::try_from(4 + text.len()).expect("cut to fit");
                put_header(out, CLOSE, length);
                out.extend_from_slice(&reason.code().to_le_bytes());
                out.extend_from_slice(text);
            }
        }
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, value: u32) {
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Tells control records from the mux's, which it passes on.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The header that is being received; at most 6 bytes.
    header: Vec<u8>,
    /// Bytes of the mux's chunk that are still to come.
    passing: usize,
    /// The close that is being received, and how much of it is to come.
    close: Option<(Vec<u8>, usize)>,
}

impl Splitter {
    /// Takes bytes as they were read from the socket; `on_record` gets the control records among them.
    pub(super) fn receive(
        &mut self,
        mut bytes: &[u8],
        mux: &mut Mux,
        mut on_record: impl FnMut(Record),
    ) -> Result<(), RecordError> {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let (part, rest) = bytes.split_at(self.passing.min(bytes.len()));
                mux.receive(part)?;
                self.passing -= part.len();
                bytes = rest;
            } else if let Some((payload, missing)) = &mut self.close {
                let (part, rest) = bytes.split_at((*missing).min(bytes.len()));
                payload.extend_from_slice(part);
                *missing -= part.len();
                bytes = rest;
                if *missing == 0 {
                    on_record(parse_close(payload));
                    self.close = None;
                }
            } else {
                let (part, rest) =
                    bytes.split_at((HEADER_BYTES - self.header.len()).min(bytes.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if let [kind, _, a, b, c, d] = self.header[..] {
                    self.begin(kind, u32::from_le_bytes([a, b, c, d]), mux, &mut on_record)?;
                    self.header.clear();
                }
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        kind: u8,
        value: u32,
        mux: &mut Mux,
        on_record: &mut impl FnMut(Record),
    ) -> Result<(), RecordError> {
        match kind {
            READY => on_record(Record::Ready),
            PING => on_record(Record::Ping(value)),
            PONG => on_record(Record::Pong(value)),
            CLOSE => {
                let length = usize::try_from(value).unwrap_or(usize::MAX);
                if !(4..=4 + MESSAGE_BYTES_MAX).contains(&length) {
                    return Err(RecordError::Close(value));
                }
                self.close = Some((Vec::with_capacity(length), length));
            }
            _ => {
                // Refuses kinds that it does not know, and lengths that are not allowed.
                mux.receive(&self.header)?;
                if kind == MUX_DATA {
                    self.passing = usize::try_from(value).unwrap_or(usize::MAX);
                }
            }
        }
        Ok(())
    }
}

fn parse_close(payload: &[u8]) -> Record {
    let (code, text) = payload
        .split_first_chunk::<4>()
        .expect("no close is shorter");
    let reason = CloseReason::from_code(u32::from_le_bytes(*code));
    Record::Close(reason, shorten(&String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use wire::StreamId;

    use super::*;

    #[test]
    fn records_come_out_however_they_are_cut() {
        let long = "ä".repeat(1_000);
        let records = [
            Record::Ready,
            Record::Ping(7),
            Record::Pong(u32::MAX),
            Record::Close(CloseReason::Replaced, long),
        ];
        let mut sender = Mux::new();
        let mut bytes = Vec::new();
        let chunk: Vec<u8> = (0..200_u8).collect();
        for record in &records {
            record.encode(&mut bytes);
            sender.write(StreamId::CatchUp, &chunk);
            sender.transmit(10_000, &mut bytes);
        }
        for cut in [1, 5, 6, 7, 100, bytes.len()] {
            let (mut splitter, mut mux) = (Splitter::default(), Mux::new());
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                splitter
                    .receive(piece, &mut mux, |record| seen.push(record))
                    .unwrap();
            }
            assert_eq!(seen[..3], records[..3]);
            let text = "ä".repeat(MESSAGE_BYTES_MAX / 2);
            assert_eq!(seen[3], Record::Close(CloseReason::Replaced, text));
            let mut read = Vec::new();
            mux.read(StreamId::CatchUp, usize::MAX, &mut read);
            assert_eq!(read, chunk.repeat(4));
        }
    }

    #[test]
    fn lies_are_refused_by_their_header_alone() {
        let receive = |bytes: &[u8]| {
            Splitter::default().receive(bytes, &mut Mux::new(), |_| panic!("a record"))
        };
        assert_eq!(
            receive(&[CLOSE, 0, 5, 1, 0, 0]),
            Err(RecordError::Close(261))
        );
        assert_eq!(receive(&[CLOSE, 0, 3, 0, 0, 0]), Err(RecordError::Close(3)));
        for header in [
            [9, 0, 0, 0, 0, 0],
            [0, 0, 0xff, 0xff, 0xff, 0xff],
            [0, 9, 1, 0, 0, 0],
        ] {
            assert!(matches!(receive(&header), Err(RecordError::Mux(_))));
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let (mut splitter, mut mux) = (Splitter::default(), Mux::new());
            for _ in 0..rng.usize(1..6) {
                // Headers that are nearly right get further in.
                let kind = rng.choice([0, 1, READY, PING, PONG, CLOSE, 200]).unwrap();
                let mut bytes = vec![kind, rng.u8(0..3), rng.u8(..), rng.u8(0..2), 0, 0];
                bytes.extend((0..rng.usize(0..300)).map(|_| rng.u8(..)));
                if splitter.receive(&bytes, &mut mux, |_| {}).is_err() {
                    break;
                }
            }
        }
    }
}
