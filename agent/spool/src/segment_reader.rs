//! Going through the records of one segment, past damage.

use std::io;

use files::SharedFile;

use crate::format::{Identity, MARKER, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES};

/// How much is read at once: also the most memory that a reader keeps.
const WINDOW_BYTES: usize = 64 << 10;

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum Item {
    /// A record, its body yet to be taken by [`SegmentReader::body`] or passed by [`SegmentReader::pass`].
    Record(RecordHeader),
    /// Bytes that are no record; already passed.
    Damage { offset: u64, bytes: u64 },
    /// Nothing more up to the given end.
    End,
}

/// A place in a segment that moves forward.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: SharedFile,
    identity: Identity,
    offset: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl SegmentReader {
    pub(crate) fn new(file: SharedFile, identity: Identity) -> Self {
        Self {
            file,
            identity,
            offset: SEGMENT_HEADER_BYTES as u64,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// Returns what lies at this place of a segment of `end` bytes.
    pub(crate) fn peek(&mut self, end: u64) -> io::Result<Item> {
        if self.offset >= end {
            return Ok(Item::End);
        }
        if let Some(header) = self.record_at(self.offset, end)? {
            return Ok(Item::Record(header));
        }
        let offset = self.offset;
        let next = self.find_record(offset + 1, end)?;
        self.offset = next;
        Ok(Item::Damage {
            offset,
            bytes: next - offset,
        })
    }

    /// Takes the body of the record that [`peek`](Self::peek) showed; `None` (and passed) when it is damaged.
    pub(crate) fn body(&mut self, header: &RecordHeader) -> io::Result<Option<Vec<u8>>> {
        let start = self.offset + RECORD_HEADER_BYTES as u64;
        let mut body = vec![0; header.body_bytes];
        match self.in_window(start, header.body_bytes) {
            Some(bytes) => body.copy_from_slice(bytes),
            None => self.file.read_exact_at(start, &mut body)?,
        }
        self.pass(header);
        Ok(header.fits(self.identity, &body).then_some(body))
    }

    /// Passes the record that [`peek`](Self::peek) showed.
    pub(crate) fn pass(&mut self, header: &RecordHeader) {
        self.offset += header.record_bytes();
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The head of a whole record at `offset`.
    fn record_at(&mut self, offset: u64, end: u64) -> io::Result<Option<RecordHeader>> {
        if end - offset < RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        if self.in_window(offset, RECORD_HEADER_BYTES).is_none() {
            self.load(offset, end)?;
        }
        let header = self
            .in_window(offset, RECORD_HEADER_BYTES)
            .and_then(|bytes| bytes.first_chunk())
            .and_then(|bytes| RecordHeader::decode(self.identity, offset, bytes));
        Ok(header.filter(|header| header.record_bytes() <= end - offset))
    }

    /// The first offset from `from` on at which a record lies, or `end`.
    fn find_record(&mut self, from: u64, end: u64) -> io::Result<u64> {
        let mut offset = from;
        while offset < end && end - offset >= RECORD_HEADER_BYTES as u64 {
            if self.in_window(offset, RECORD_HEADER_BYTES).is_none() {
                self.load(offset, end)?;
            }
            let at = usize::try_from(offset - self.window_start).unwrap_or(usize::MAX);
            let ahead = self.window.get(at..).unwrap_or_default();
            if ahead.len() < RECORD_HEADER_BYTES {
                // The file is shorter than it was.
                break;
            }
            match ahead.windows(MARKER.len()).position(|w| w == MARKER) {
                Some(0) => {
                    if self.record_at(offset, end)?.is_some() {
                        return Ok(offset);
                    }
                    offset += 1;
                }
                Some(distance) => offset += distance as u64,
                // The last bytes may be the start of a marker.
                None => offset += (ahead.len() - MARKER.len() + 1) as u64,
            }
        }
        Ok(end)
    }

    fn in_window(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        self.window.get(at..at.checked_add(length)?)
    }

    fn load(&mut self, offset: u64, end: u64) -> io::Result<()> {
        let length =
            usize::try_from(end - offset).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES));
        self.window.resize(length, 0);
        self.window_start = offset;
        let read = self.file.read_at(offset, &mut self.window);
        self.window.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ())
    }
}
