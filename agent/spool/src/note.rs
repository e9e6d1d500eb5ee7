//! The small files beside the segments: a cursor per destination, the gap marks, the newest epoch. Each is replaced as a whole.

use std::io;
use std::path::Path;

use files::{FileSystem, Open, WriteAtomicallyError, write_atomically};
use model::TimestampMs;
use rows::{BatchNumber, Epoch, NumberSet};

use crate::cursor::Acknowledged;
use crate::format::array;
use crate::report::Gap;

const MAGIC: [u8; 8] = *b"promnote";
const VERSION: u32 = 1;
/// Magic, version and kind before the body, the checksum after it.
const HEAD_BYTES: usize = 16;
/// Far above the largest note: a cursor with 64 intervals in each of 512 epochs.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Cursor(Acknowledged),
    Gaps(Vec<Gap>),
    NewestEpoch(Epoch),
}

impl Note {
    /// Makes this the durable content of the file at `path`.
    pub(crate) fn write(
        &self,
        files: &dyn FileSystem,
        path: &Path,
    ) -> Result<(), WriteAtomicallyError> {
        write_atomically(files, path, &self.encode(), None)
    }

    /// Reads the file at `path`: `None` when there is none or it is not a whole note.
    pub(crate) fn read(files: &dyn FileSystem, path: &Path) -> io::Result<Option<Self>> {
        let file = files.open(path, Open::read())?;
        let length = file.len()?;
        if length > NOTE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file.read_at(0, &mut bytes)?;
        Ok(Self::decode(&bytes[..read]))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let kind: u32 = match self {
            Self::Cursor(_) => 1,
            Self::Gaps(_) => 2,
            Self::NewestEpoch(_) => 3,
        };
        out.extend_from_slice(&kind.to_le_bytes());
        match self {
            Self::Cursor(acknowledged) => {
                for (epoch, numbers) in acknowledged {
                    put(&mut out, [epoch.0, numbers.intervals().len() as u64]);
                    for (first, last) in numbers.intervals() {
                        put(&mut out, [first.0, last.0]);
                    }
                }
            }
            Self::Gaps(gaps) => {
                for gap in gaps {
                    let Gap {
                        epoch,
                        first,
                        last,
                        batches,
                        samples,
                        ..
                    } = *gap;
                    put(&mut out, [epoch.0, first.0, last.0, batches, samples]);
                    out.extend_from_slice(&gap.from.0.to_le_bytes());
                    out.extend_from_slice(&gap.to.0.to_le_bytes());
                }
            }
            Self::NewestEpoch(epoch) => put(&mut out, [epoch.0]),
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, checksum) = bytes.split_last_chunk::<4>()?;
        let whole = crc32c::crc32c(head).to_le_bytes() == *checksum;
        let version = head.get(8..12)?;
        if !whole || !head.starts_with(&MAGIC) || *version != VERSION.to_le_bytes() {
            return None;
        }
        let kind = u32::from_le_bytes(array(head.get(12..HEAD_BYTES)?));
        let mut words = Words(&head[HEAD_BYTES..]);
        let note = match kind {
            1 => Self::Cursor(decode_cursor(&mut words)?),
            2 => Self::Gaps(decode_gaps(&mut words)?),
            3 => Self::NewestEpoch(Epoch(words.next()?)),
            _ => return None,
        };
        words.0.is_empty().then_some(note)
    }
}

fn decode_cursor(words: &mut Words<'_>) -> Option<Acknowledged> {
    let mut acknowledged = Acknowledged::new();
    while !words.0.is_empty() {
        let epoch = Epoch(words.next()?);
        let count = usize::try_from(words.next()?).ok()?;
        if count > rows::INTERVALS_MAX {
            return None;
        }
        let intervals: Option<Vec<_>> = (0..count)
            .map(|_| Some((BatchNumber(words.next()?), BatchNumber(words.next()?))))
            .collect();
        acknowledged.insert(epoch, NumberSet::from_intervals(intervals?)?);
    }
    Some(acknowledged)
}

fn decode_gaps(words: &mut Words<'_>) -> Option<Vec<Gap>> {
    let mut gaps = Vec::new();
    while !words.0.is_empty() {
        let gap = Gap {
            epoch: Epoch(words.next()?),
            first: BatchNumber(words.next()?),
            last: BatchNumber(words.next()?),
            batches: words.next()?,
            samples: words.next()?,
            from: TimestampMs(words.next()?.cast_signed()),
            to: TimestampMs(words.next()?.cast_signed()),
        };
        if gap.first > gap.last || gap.last.0 == u64::MAX {
            return None;
        }
        gaps.push(gap);
    }
    Some(gaps)
}

/// The rest of a body, as 64-bit words.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, words: [u64; N]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_survives_the_way_there_and_back_and_no_damage_does() {
        let numbers = [
            (BatchNumber(0), BatchNumber(7)),
            (BatchNumber(9), BatchNumber(9)),
        ];
        let gap = Gap {
            epoch: Epoch(5),
            first: BatchNumber(1),
            last: BatchNumber(3),
            batches: 3,
            samples: 60,
            from: TimestampMs(-4),
            to: TimestampMs(i64::MAX),
        };
        let notes = [
            Note::Cursor(Acknowledged::new()),
            Note::Cursor(Acknowledged::from([
                (Epoch(3), NumberSet::new()),
                (Epoch(u64::MAX), NumberSet::from_intervals(numbers).unwrap()),
            ])),
            Note::Gaps(vec![
                gap,
                Gap {
                    epoch: Epoch(6),
                    ..gap
                },
            ]),
            Note::NewestEpoch(Epoch(77)),
        ];
        for note in notes {
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Some(note));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Note::decode(&flipped), None);
            }
            for end in 0..bytes.len() {
                assert_eq!(Note::decode(&bytes[..end]), None);
            }
        }
    }
}
