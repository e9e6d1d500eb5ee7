//! The bytes of one log segment: a header, then records, each with checksums that only this segment can have made.
//!
//! A segment draws a salt; the checksum of a record's header covers salt and place, so neither the past life of recycled blocks nor
//! bytes that an agent sent can pass for a record. After a record that does not check, the scan goes on at the next place (records
//! start at multiples of 8) where a header checks: damage costs the record it hit.

use rows::StoreId;

use crate::bytes::{Malformed, Reader};

/// Where the first record starts: behind two copies of the header, so that damage to one does not cost the segment.
pub(crate) const RECORDS_START: usize = 1_024;
/// Where the second copy stands.
const SECOND_COPY: usize = 512;
const HEADER_BYTES: usize = 96;
/// What stands before a record's body.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 8] = b"PROMLOG\0";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 8;

/// Why a header whose checksum is right cannot be read.
pub(crate) const NEWER: Malformed =
    Malformed("written by a newer version of this program; start that version");

/// What a segment says of itself and of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: StoreId,
    /// Segments are numbered from 1.
    pub(crate) number: u64,
    pub(crate) salt: u64,
    /// All records of this segment have this position or a later one.
    pub(crate) first_position: u64,
    /// The segment that this one continues; those between the two were given up before anything in them was durable. 0: none.
    pub(crate) previous: u64,
    /// Records of that segment count up to this byte only: what lies behind was given up.
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    /// Returns what stands before the first record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let copy = self.encode_copy();
        let mut out = vec![0; RECORDS_START];
        out[..HEADER_BYTES].copy_from_slice(&copy);
        out[SECOND_COPY..SECOND_COPY + HEADER_BYTES].copy_from_slice(&copy);
        out
    }

    fn encode_copy(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.store_id.0.to_le_bytes());
        for field in [
            self.number,
            self.salt,
            self.first_position,
            self.previous,
            self.previous_end,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.resize(HEADER_BYTES - 4, 0);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the header from the start of a segment: whichever copy is whole.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode_copy(bytes).or_else(|error| {
            let second = bytes.get(SECOND_COPY..).ok_or(error)?;
            Self::decode_copy(second).map_err(|other| if other == NEWER { other } else { error })
        })
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = bytes
            .get(..HEADER_BYTES)
            .ok_or(Malformed("shorter than a segment's header"))?;
        let (fields, sum) = bytes.split_at(HEADER_BYTES - 4);
        if sum != crc32c::crc32c(fields).to_le_bytes() {
            return Err(Malformed(
                "the segment's header does not match its checksum",
            ));
        }
        let mut from = Reader::new(fields);
        if from.take(8, "magic")? != MAGIC {
            return Err(Malformed("not a log segment"));
        }
        if from.u32("version")? != VERSION {
            return Err(NEWER);
        }
        from.u32("padding")?;
        Ok(Self {
            store_id: StoreId(from.u128("store id")?),
            number: from.u64("segment number")?,
            salt: from.u64("salt")?,
            first_position: from.u64("first position")?,
            previous: from.u64("segment before")?,
            previous_end: from.u64("end of the segment before")?,
        })
    }
}

/// Appends a record that will stand at `offset + out.len()` of its segment, padding included.
///
/// # Panics
/// When the body exceeds 4 GiB: groups are bounded far below.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    offset: u64,
    salt: u64,
    kind: u8,
    position: u64,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.resize(start + RECORD_HEADER_BYTES, 0);
    body(out);
    let bytes = out.len() - start - RECORD_HEADER_BYTES;
    let bytes = u32::try_from(bytes).expect("a group of records is a few MiB");
    let body_sum = body_checksum(salt, &out[start + RECORD_HEADER_BYTES..]);
    let header = RecordHeader {
        body_sum,
        bytes,
        kind,
        position,
    };
    let encoded = header.encode(salt, offset + start as u64);
    out[start..start + RECORD_HEADER_BYTES].copy_from_slice(&encoded);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

#[derive(Clone, Copy, Debug)]
struct RecordHeader {
    body_sum: u32,
    bytes: u32,
    kind: u8,
    position: u64,
}

impl RecordHeader {
    fn encode(self, salt: u64, at: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[4..8].copy_from_slice(&self.body_sum.to_le_bytes());
        out[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        out[12] = self.kind;
        out[16..].copy_from_slice(&self.position.to_le_bytes());
        let sum = header_checksum(salt, at, &out[4..]);
        out[..4].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], salt: u64, at: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        // The end of a segment is zeros; telling them apart first makes the scan over them cheap.
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut from = Reader::new(bytes);
        let sum = from.u32("checksum").ok()?;
        if sum != header_checksum(salt, at, from.rest()) {
            return None;
        }
        let body_sum = from.u32("checksum").ok()?;
        let bytes = from.u32("length").ok()?;
        let kind = from.u8("kind").ok()?;
        from.take(3, "padding").ok()?;
        Some(Self {
            body_sum,
            bytes,
            kind,
            position: from.u64("position").ok()?,
        })
    }
}

fn header_checksum(salt: u64, at: u64, fields: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &at.to_le_bytes());
    crc32c::crc32c_append(sum, fields)
}

fn body_checksum(salt: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), body)
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned<'a> {
    Record {
        offset: u64,
        kind: u8,
        position: u64,
        body: &'a [u8],
    },
    /// Bytes that are no record, with a record behind them.
    Hole { offset: u64, bytes: u64 },
}

/// Walks over the records of a segment, the header's place included in `bytes`.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    salt: u64,
    at: usize,
    hole: Option<usize>,
    end: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) const fn new(bytes: &'a [u8], salt: u64) -> Self {
        Self {
            bytes,
            salt,
            at: RECORDS_START,
            hole: None,
            end: RECORDS_START,
        }
    }

    /// Returns the end of the last record found so far.
    pub(crate) const fn end(&self) -> u64 {
        self.end as u64
    }

    /// Returns the bytes behind the last record that are not zero: what was written there is not readable. Asked after the scan.
    pub(crate) fn trailing_bytes(&self) -> u64 {
        let behind = self.bytes.get(self.end..).unwrap_or_default();
        let written = behind.iter().rposition(|byte| *byte != 0);
        written.map_or(0, |last| last as u64 + 1)
    }

    /// The record at `at`, and the place behind it.
    fn record(&self, at: usize) -> Option<(Scanned<'a>, usize)> {
        let header = RecordHeader::decode(self.bytes.get(at..)?, self.salt, at as u64)?;
        let start = at + RECORD_HEADER_BYTES;
        let body = self
            .bytes
            .get(start..start.checked_add(header.bytes as usize)?)?;
        if header.body_sum != body_checksum(self.salt, body) {
            return None;
        }
        let record = Scanned::Record {
            offset: at as u64,
            kind: header.kind,
            position: header.position,
            body,
        };
        Some((record, (start + body.len()).next_multiple_of(ALIGNMENT)))
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Scanned<'a>;

    fn next(&mut self) -> Option<Scanned<'a>> {
        while self.at + RECORD_HEADER_BYTES <= self.bytes.len() {
            let Some((record, behind)) = self.record(self.at) else {
                self.hole.get_or_insert(self.at);
                self.at += ALIGNMENT;
                continue;
            };
            if let Some(start) = self.hole.take() {
                let bytes = (self.at - start) as u64;
                return Some(Scanned::Hole {
                    offset: start as u64,
                    bytes,
                });
            }
            self.at = behind;
            self.end = behind;
            return Some(record);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: StoreId(5),
            number: 3,
            salt: SALT,
            first_position: 17,
            previous: 2,
            previous_end: 4_096,
        }
    }

    fn segment(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut out = header().encode();
        for (position, body) in bodies.iter().enumerate() {
            put_record(&mut out, 0, SALT, 1, position as u64, |out| {
                out.extend_from_slice(body)
            });
        }
        out
    }

    fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
        Scanner::new(bytes, SALT)
            .filter_map(|scanned| match scanned {
                Scanned::Record { body, .. } => Some(body.to_vec()),
                Scanned::Hole { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_header_reads_back_from_either_copy_and_any_flipped_bit_is_seen() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Ok(header()), "bit {bit}");
            bytes[SECOND_COPY + 7] ^= 1;
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_bit_costs_one_record(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
            at in any::<prop::sample::Index>(),
            bit in 0..8u32,
        ) {
            let mut bytes = segment(&all);
            bytes.resize(bytes.len() + 64, 0);
            prop_assert_eq!(&bodies(&bytes), &all);
            let records_end = bytes.len() - 64;
            let at = RECORDS_START + at.index(records_end - RECORDS_START);
            bytes[at] ^= 1 << bit;
            let left = bodies(&bytes);
            // Padding is the only place where a flip costs nothing.
            prop_assert!(left.len() + 1 >= all.len());
            let mut rest = all.iter();
            for body in &left {
                prop_assert!(rest.any(|one| one == body), "only what was written, in order");
            }
        }

        #[test]
        fn a_torn_end_leaves_the_records_before_it(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = segment(&all);
            let cut = RECORDS_START + cut.index(bytes.len() - RECORDS_START + 1);
            let left = bodies(&bytes[..cut]);
            prop_assert_eq!(&left[..], &all[..left.len()]);
        }
    }

    #[test]
    fn records_of_another_life_or_place_do_not_count() {
        let bytes = segment(&[b"old".to_vec(), b"older".to_vec()]);
        assert_eq!(Scanner::new(&bytes, SALT + 1).count(), 0);
        // A record copied to another place, as an agent could send it inside a batch.
        let mut forged = segment(&[]);
        forged.extend_from_slice(&[0; 8]);
        forged.extend_from_slice(&bytes[RECORDS_START..]);
        assert_eq!(bodies(&forged), Vec::<Vec<u8>>::new());
    }
}
