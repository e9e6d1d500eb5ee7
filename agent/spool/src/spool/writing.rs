//! Putting records into the spool.

use std::io;

use files::Open;
use rows::BatchNumber;
use tracing::warn;

use super::{Active, Spool};
use crate::error::AppendError;
use crate::format::{Identity, Kind, RECORD_HEADER_BYTES, RecordHeader};
use crate::index::Segment;
use crate::note::Note;
use crate::record::{BODY_BYTES_MAX, NewBatch, SegmentId};

use super::opening::NEWEST_EPOCH_FILE;

/// How many of the oldest segments one record may cost when the disk is full.
const DROPS_MAX: usize = 4;
/// What the scratch buffer may keep between calls.
const SCRATCH_BYTES_MAX: usize = 256 << 10;

impl Spool {
    /// Returns whether appending a batch with a body of this length must be preceded by [`begin_segment`](Self::begin_segment). Ask
    /// before making the batch: the first of a segment is made of key rows.
    pub fn will_rotate(&self, body_bytes: usize) -> bool {
        let Some((active, segment)) = self.active_segment() else {
            return true;
        };
        let record_bytes = (RECORD_HEADER_BYTES + body_bytes) as u64;
        segment.batches > 0 && segment.bytes + record_bytes > active.bytes_max
    }

    /// Closes the segment and begins another with these definitions: those on which the batches to come lean, for a segment is read
    /// without the others. At least one batch fits into it, whatever its size.
    pub fn begin_segment<D: AsRef<[u8]>>(
        &mut self,
        definitions: impl IntoIterator<Item = D>,
    ) -> Result<(), AppendError> {
        self.close_active();
        self.note_epoch();
        let identity = Identity {
            segment: self.next_segment,
            epoch: self.epoch,
        };
        self.next_segment = SegmentId(identity.segment.0 + 1);
        let next = self.last_number.map_or(BatchNumber(0), BatchNumber::next);
        let mut start = identity.header(next).to_vec();
        for definition in definitions {
            let body = definition.as_ref();
            self.check_length(body)?;
            let position = start.len() as u64;
            RecordHeader::encode(
                identity,
                position,
                Kind::Definition,
                BatchNumber(0),
                body,
                &mut start,
            );
            if start.len() as u64 > self.bytes_max / 2 {
                let bytes = start.len();
                return Err(AppendError::TooLarge { bytes });
            }
        }
        let start_bytes = start.len() as u64;
        self.make_room(start_bytes);
        let written = self.write_until_it_fits(|spool| spool.create_segment(identity, &start));
        if let Err(error) = written {
            return Err(self.write_failed(identity, error));
        }
        // Definitions take at most a quarter of a full segment, unless the whole spool is too small for that.
        let bytes_max = self
            .segment_bytes
            .max(start_bytes.saturating_mul(4))
            .min((self.bytes_max / 2).max(self.segment_bytes));
        if let Some(active) = &mut self.active {
            active.bytes_max = bytes_max;
        }
        Ok(())
    }

    /// Puts a definition into the segment, for the batches that follow in it. The caller repeats it at each
    /// [`begin_segment`](Self::begin_segment) from then on.
    pub fn append_definition(&mut self, body: &[u8]) -> Result<(), AppendError> {
        self.check_length(body)?;
        let Some((active, segment)) = self.active_segment() else {
            return Err(AppendError::NeedsSegmentStart);
        };
        let bytes = segment.bytes + (RECORD_HEADER_BYTES + body.len()) as u64;
        if segment.batches > 0 && bytes > active.bytes_max {
            return Err(AppendError::NeedsSegmentStart);
        }
        if bytes > self.bytes_max / 2 {
            return Err(AppendError::TooLarge { bytes: body.len() });
        }
        self.write_record(Kind::Definition, BatchNumber(0), body)
    }

    /// Puts a batch into the spool: visible to readers and safe from the death of the process when it returns, safe from a power cut
    /// after the next sync. Room is made by dropping the oldest segment. After an error nothing was put and the number is free.
    pub fn append(&mut self, batch: NewBatch<'_>) -> Result<(), AppendError> {
        self.check_length(batch.body)?;
        let rises = self.last_number.is_none_or(|last| batch.number > last);
        if !rises || batch.number.0 == u64::MAX {
            return Err(AppendError::NumberNotRising {
                number: batch.number,
                last: self.last_number.unwrap_or(BatchNumber(0)),
            });
        }
        if self.will_rotate(batch.body.len()) {
            return Err(AppendError::NeedsSegmentStart);
        }
        let kind = Kind::Batch {
            created: batch.created,
            rows: batch.rows,
            samples: batch.samples,
        };
        self.write_record(kind, batch.number, batch.body)?;
        let active = self.active.as_ref().map(|active| active.segment);
        if let Some(segment) = active.and_then(|id| self.segments.get_mut(&id)) {
            segment.add_batch(batch.number, batch.created, batch.samples);
        }
        self.last_number = Some(batch.number);
        self.counters.appended_batches += 1;
        self.counters.appended_samples += u64::from(batch.samples);
        Ok(())
    }

    fn write_record(
        &mut self,
        kind: Kind,
        number: BatchNumber,
        body: &[u8],
    ) -> Result<(), AppendError> {
        let Some((_, segment)) = self.active_segment() else {
            return Err(AppendError::NeedsSegmentStart);
        };
        let (identity, position) = (segment.identity, segment.bytes);
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        RecordHeader::encode(identity, position, kind, number, body, &mut record);
        self.make_room(record.len() as u64);
        let written = self.write_until_it_fits(|spool| spool.write_at_end(position, &record));
        record.clear();
        record.shrink_to(SCRATCH_BYTES_MAX);
        self.scratch = record;
        written.map_err(|error| self.write_failed(identity, error))
    }

    /// Repeats `write` after dropping the oldest segment while the disk is full.
    fn write_until_it_fits(
        &mut self,
        mut write: impl FnMut(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        for _ in 0..DROPS_MAX {
            match write(self) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !self.drop_oldest("the disk is full") {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
        write(self)
    }

    /// Leaves the segment as it was when it fails.
    fn write_at_end(&mut self, position: u64, record: &[u8]) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("the segment was closed"));
        };
        match active.file.write_at(position, record) {
            Ok(()) => {
                active.unsynced_bytes += record.len() as u64;
                let id = active.segment;
                if let Some(segment) = self.segments.get_mut(&id) {
                    segment.bytes += record.len() as u64;
                }
                Ok(())
            }
            Err(error) => match active.file.set_len(position) {
                Ok(()) => Err(error),
                // Half a record stays behind the end that counts: nothing may follow it.
                Err(cut) => {
                    self.close_active();
                    Err(io::Error::other(cut))
                }
            },
        }
    }

    /// Leaves no file when it fails.
    fn create_segment(&mut self, identity: Identity, start: &[u8]) -> io::Result<()> {
        let path = self.folder.join(identity.file_name());
        let file = self.files.open(&path, Open::create_new())?;
        if let Err(error) = file.write_at(0, start) {
            if self.files.remove(&path).is_err() {
                self.doomed.push(path);
            }
            return Err(error);
        }
        let segment = Segment {
            bytes: start.len() as u64,
            ..Segment::new(identity)
        };
        self.segments.insert(identity.segment, segment);
        self.active = Some(Active {
            segment: identity.segment,
            file,
            bytes_max: 0,
            unsynced_bytes: start.len() as u64,
            unsynced_since: None,
            entry_synced: false,
        });
        Ok(())
    }

    fn write_failed(&mut self, identity: Identity, source: io::Error) -> AppendError {
        if source.kind() == io::ErrorKind::StorageFull {
            self.counters.full_errors += 1;
            return AppendError::Full {
                folder: self.folder.clone(),
            };
        }
        self.counters.write_errors += 1;
        self.close_active();
        AppendError::Io {
            path: self.folder.join(identity.file_name()),
            source,
        }
    }

    /// Drops the oldest segments while this many more bytes would exceed the bound.
    pub(super) fn make_room(&mut self, more: u64) {
        while self.bytes() + more > self.bytes_max {
            if !self.drop_oldest("the spool is full") {
                break;
            }
        }
    }

    fn active_segment(&self) -> Option<(&Active, &Segment)> {
        let active = self.active.as_ref()?;
        Some((active, self.segments.get(&active.segment)?))
    }

    /// Says durably that this run has spooled something, before it does; tried again by the upkeep.
    pub(super) fn note_epoch(&mut self) {
        if self.epoch_noted {
            return;
        }
        let path = self.folder.join(NEWEST_EPOCH_FILE);
        match Note::NewestEpoch(self.epoch).write(&*self.files, &path) {
            Ok(()) => self.epoch_noted = true,
            Err(error) => {
                self.counters.upkeep_errors += 1;
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot note the newest epoch"
                );
            }
        }
    }

    /// A record takes at most half of the spool, so that it fits beside the start of its segment.
    fn check_length(&self, body: &[u8]) -> Result<(), AppendError> {
        let record_bytes = (RECORD_HEADER_BYTES + body.len()) as u64;
        if body.len() > BODY_BYTES_MAX || record_bytes > self.bytes_max / 2 {
            return Err(AppendError::TooLarge { bytes: body.len() });
        }
        Ok(())
    }
}
