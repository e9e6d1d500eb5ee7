//! The bytes of a segment, as FORMAT.md draws them.

use model::TimestampMs;
use rows::{BatchNumber, Epoch};

use crate::record::{BODY_BYTES_MAX, SegmentId};

pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
pub(crate) const RECORD_HEADER_BYTES: usize = 44;
/// A record begins with these bytes, so that reading can start again after damage.
pub(crate) const MARKER: [u8; 4] = [0xd7, b'r', 0xec, 0x0d];

const MAGIC: [u8; 8] = *b"promspol";
const VERSION: u32 = 1;
const KIND_BATCH: u8 = 1;
const KIND_DEFINITION: u8 = 2;

/// Which segment it is: named by the file's name, repeated in its header, and the salt of every checksum in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) segment: SegmentId,
    pub(crate) epoch: Epoch,
}

/// What the first bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    Good,
    Damaged,
    UnknownVersion,
}

impl Identity {
    pub(crate) fn file_name(self) -> String {
        format!("{:016x}-{}.segment", self.segment.0, self.epoch)
    }

    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let (segment, epoch) = name.strip_suffix(".segment")?.split_once('-')?;
        let identity = Self {
            segment: SegmentId(u64::from_str_radix(segment, 16).ok()?),
            epoch: Epoch(u64::from_str_radix(epoch, 16).ok()?),
        };
        // One spelling per segment: no signs, no short forms.
        (identity.file_name() == name).then_some(identity)
    }

    /// The start of every checksum in the segment: bytes of another segment never fit.
    fn salt(self) -> u32 {
        let salt = crc32c::crc32c(&self.epoch.0.to_le_bytes());
        crc32c::crc32c_append(salt, &self.segment.0.to_le_bytes())
    }

    pub(crate) fn header(self, first: BatchNumber) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.segment.0.to_le_bytes());
        header[20..28].copy_from_slice(&self.epoch.0.to_le_bytes());
        header[28..36].copy_from_slice(&first.0.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..36]);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Judges the first bytes of a file of this name.
    pub(crate) fn judge_header(self, header: &[u8]) -> HeaderState {
        let Some(header) = header.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return HeaderState::Damaged;
        };
        let whole = crc32c::crc32c(&header[..36]).to_le_bytes() == header[36..];
        let ours = header[..8] == MAGIC;
        let version = u32::from_le_bytes(array(&header[8..12]));
        let identity = self.segment.0.to_le_bytes() == header[12..20]
            && self.epoch.0.to_le_bytes() == header[20..28];
        match (ours && whole, version) {
            (true, VERSION) if identity => HeaderState::Good,
            (true, VERSION) | (false, _) => HeaderState::Damaged,
            (true, _) => HeaderState::UnknownVersion,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Batch {
        created: TimestampMs,
        rows: u32,
        samples: u32,
    },
    Definition,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    /// Of a batch its own, of a definition 0.
    pub(crate) number: BatchNumber,
    pub(crate) body_bytes: usize,
    body_checksum: u32,
}

impl RecordHeader {
    /// Appends a record that will lie at `position` of the segment to `out`. The body is at most [`BODY_BYTES_MAX`] long.
    pub(crate) fn encode(
        identity: Identity,
        position: u64,
        kind: Kind,
        number: BatchNumber,
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        let (tag, created, rows, samples) = match kind {
            Kind::Batch {
                created,
                rows,
                samples,
            } => (KIND_BATCH, created, rows, samples),
            Kind::Definition => (KIND_DEFINITION, TimestampMs(0), 0, 0),
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&MARKER);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8] = tag;
        header[12..16].copy_from_slice(&rows.to_le_bytes());
        header[16..20].copy_from_slice(&samples.to_le_bytes());
        header[20..24].copy_from_slice(&crc32c::crc32c_append(identity.salt(), body).to_le_bytes());
        header[24..32].copy_from_slice(&number.0.to_le_bytes());
        header[32..40].copy_from_slice(&created.0.to_le_bytes());
        let checksum = header_checksum(identity, position, &header);
        header[40..].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(body);
    }

    /// Reads the head of a record that lies at `position`; `None` when these bytes are no such thing.
    pub(crate) fn decode(
        identity: Identity,
        position: u64,
        header: &[u8; RECORD_HEADER_BYTES],
    ) -> Option<Self> {
        let checksum = header_checksum(identity, position, header).to_le_bytes();
        if header[..4] != MARKER || checksum != header[40..] {
            return None;
        }
        let kind = match header[8] {
            KIND_BATCH => Kind::Batch {
                created: TimestampMs(i64::from_le_bytes(array(&header[32..40]))),
                rows: u32::from_le_bytes(array(&header[12..16])),
                samples: u32::from_le_bytes(array(&header[16..20])),
            },
            KIND_DEFINITION => Kind::Definition,
            _ => return None,
        };
        let length = u32::from_le_bytes(array(&header[4..8]));
        let body_bytes = usize::try_from(length).ok()?;
        (body_bytes <= BODY_BYTES_MAX).then_some(Self {
            kind,
            number: BatchNumber(u64::from_le_bytes(array(&header[24..32]))),
            body_bytes,
            body_checksum: u32::from_le_bytes(array(&header[20..24])),
        })
    }

    pub(crate) fn fits(&self, identity: Identity, body: &[u8]) -> bool {
        crc32c::crc32c_append(identity.salt(), body) == self.body_checksum
    }

    /// The length of the record, head and body.
    pub(crate) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.body_bytes) as u64
    }
}

/// Covers all of the head before the checksum (the body's checksum among it), the segment, and the place in the segment.
fn header_checksum(identity: Identity, position: u64, header: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    let salted = crc32c::crc32c_append(identity.salt(), &position.to_le_bytes());
    crc32c::crc32c_append(salted, &header[..40])
}

/// The bytes as an array; callers slice exactly `N`.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes
        .first_chunk()
        .expect("the caller's range is N bytes wide")
}
