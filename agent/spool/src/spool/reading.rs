//! Going through the spool in order.

use std::io;
use std::ops::Bound;

use files::Open;
use rows::{BatchNumber, Epoch};

use super::{DestinationId, Spool};
use crate::error::ReadError;
use crate::format::{Kind, RecordHeader};
use crate::numbers::{Interval, add_interval};
use crate::record::{Record, SegmentId, StoredBatch};
use crate::segment_reader::{Item, SegmentReader};

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest batch.
    Oldest,
    /// At this batch, or the first after it that is there; the definitions before it in its segment come first. For a receiver that has
    /// the batches before it.
    Batch(Epoch, BatchNumber),
    /// At the start of the segment that holds this batch: what comes leans on nothing that came before.
    SegmentOf(Epoch, BatchNumber),
    /// After all batches that are there: only what is appended from now on, and the definitions of the segment it goes to.
    End,
}

/// A place in the spool; [`Spool::next_record`] moves it. It borrows nothing: records may be appended, acknowledged and dropped meanwhile.
/// Holds one open file and at most 64 KiB.
#[derive(Debug)]
pub struct Reader {
    current: Option<Current>,
    /// Where the next segment lies.
    next: Bound<SegmentId>,
    /// Batches of this epoch below this number are passed.
    from: Option<(Epoch, BatchNumber)>,
    unacknowledged_by: Option<DestinationId>,
}

#[derive(Debug)]
struct Current {
    segment: SegmentId,
    records: SegmentReader,
    /// The number after the last one seen.
    expected: u64,
    /// Where reading failed last: the second time it is damage.
    failed_at: Option<u64>,
}

impl Reader {
    /// Passes the batches that `destination` has acknowledged.
    #[must_use]
    pub fn unacknowledged_by(mut self, destination: DestinationId) -> Self {
        self.unacknowledged_by = Some(destination);
        self
    }
}

impl Spool {
    /// Returns a reader that starts there.
    pub fn reader(&self, from: ReadFrom) -> Reader {
        let (next, from) = match from {
            ReadFrom::Oldest => (Bound::Unbounded, None),
            ReadFrom::End => (
                self.end(),
                self.last_number.map(|last| (self.epoch, last.next())),
            ),
            ReadFrom::Batch(epoch, number) => (self.start_of(epoch, number), Some((epoch, number))),
            ReadFrom::SegmentOf(epoch, number) => (self.start_of(epoch, number), None),
        };
        Reader {
            current: None,
            next,
            from,
            unacknowledged_by: None,
        }
    }

    /// Returns the next record, or `None` when there is none yet: appending may bring some. Damaged records are passed and counted, those
    /// of dropped segments left out. After an error the next call tries once more and then passes what cannot be read.
    pub fn next_record(&mut self, reader: &mut Reader) -> Result<Option<Record>, ReadError> {
        loop {
            let Some(current) = self.enter_segment(reader)? else {
                return Ok(None);
            };
            let Some(segment) = self.segments.get(&current.segment) else {
                continue;
            };
            let (id, end, offset) = (current.segment, segment.bytes, current.records.offset());
            let last = segment.numbers.map_or(0, |(_, last)| last);
            match current.records.peek(end) {
                Ok(Item::End) => {
                    let unseen = (current.expected, last);
                    if segment.numbers.is_some() {
                        current.expected = current.expected.max(last.saturating_add(1));
                    }
                    self.note_hole(id, unseen);
                    if self.is_active(id) {
                        return Ok(None);
                    }
                    reader.current = None;
                }
                Ok(Item::Damage { .. }) => {}
                Ok(Item::Record(head)) => {
                    if let Some(record) = self.take(reader, &head)? {
                        return Ok(Some(record));
                    }
                }
                Err(error) if current.failed_at != Some(offset) => {
                    current.failed_at = Some(offset);
                    return Err(self.read_error(id, error));
                }
                Err(_) => {
                    let unseen = (current.expected, last);
                    reader.current = None;
                    self.note_hole(id, unseen);
                }
            }
        }
    }

    /// Goes on to the next segment when the reader is in none, or in one that is gone.
    fn enter_segment<'a>(
        &self,
        reader: &'a mut Reader,
    ) -> Result<Option<&'a mut Current>, ReadError> {
        let current = reader.current.take();
        if let Some(current) = current.filter(|c| self.segments.contains_key(&c.segment)) {
            return Ok(Some(reader.current.insert(current)));
        }
        let following = self.segments.range((reader.next, Bound::Unbounded));
        let Some((&id, segment)) = following.into_iter().find(|(_, segment)| segment.readable)
        else {
            return Ok(None);
        };
        let file = self.files.open(&self.path(segment), Open::read());
        let file = file.map_err(|error| self.read_error(id, error))?;
        reader.next = Bound::Excluded(id);
        Ok(Some(reader.current.insert(Current {
            segment: id,
            records: SegmentReader::new(file, segment.identity),
            expected: segment.numbers.map_or(0, |(first, _)| first),
            failed_at: None,
        })))
    }

    /// Takes the record whose head this is; `None` when it is passed.
    fn take(
        &mut self,
        reader: &mut Reader,
        head: &RecordHeader,
    ) -> Result<Option<Record>, ReadError> {
        let wanted = self.is_wanted(reader, head);
        let Some(current) = &mut reader.current else {
            return Ok(None);
        };
        let id = current.segment;
        let offset = current.records.offset();
        let body = if !wanted {
            current.records.pass(head);
            None
        } else {
            match current.records.body(head) {
                Ok(body) => body,
                Err(error) if current.failed_at != Some(offset) => {
                    current.failed_at = Some(offset);
                    return Err(self.read_error(id, error));
                }
                Err(_) => {
                    current.records.pass(head);
                    None
                }
            }
        };
        let Some(segment) = self.segments.get(&id) else {
            return Ok(None);
        };
        let epoch = segment.identity.epoch;
        let Kind::Batch {
            created,
            rows,
            samples,
        } = head.kind
        else {
            return Ok(body.map(|body| Record::Definition {
                epoch,
                segment: id,
                body,
            }));
        };
        let number = head.number;
        if wanted && body.is_none() {
            // The head may be of a batch that was never put and whose number another got: what follows says which numbers are lost.
            return Ok(None);
        }
        let expected = std::mem::replace(&mut current.expected, number.0.saturating_add(1));
        if let Some(last) = number.0.checked_sub(1) {
            self.note_hole(id, (expected, last));
        }
        Ok(body.map(|body| {
            Record::Batch(StoredBatch {
                epoch,
                number,
                segment: id,
                created,
                rows,
                samples,
                body,
            })
        }))
    }

    fn is_wanted(&self, reader: &Reader, head: &RecordHeader) -> bool {
        let segment = reader
            .current
            .as_ref()
            .and_then(|current| self.segments.get(&current.segment));
        let Some(epoch) = segment.map(|segment| segment.identity.epoch) else {
            return false;
        };
        if head.kind == Kind::Definition {
            return true;
        }
        let early = reader
            .from
            .is_some_and(|(from, number)| from == epoch && head.number < number);
        let acknowledged = reader
            .unacknowledged_by
            .is_some_and(|destination| self.is_acknowledged(destination, epoch, head.number));
        !early && !acknowledged
    }

    /// These numbers of the segment cannot be read: nobody need wait for them.
    fn note_hole(&mut self, id: SegmentId, numbers: Interval) {
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        let Some((first, last)) = segment.numbers else {
            return;
        };
        let numbers = (numbers.0.max(first), numbers.1.min(last));
        if numbers.0 > numbers.1 {
            return;
        }
        let new = add_interval(&mut segment.holes, numbers);
        if new == 0 {
            return;
        }
        segment.batches = segment.batches.saturating_sub(new);
        self.counters.damages += 1;
        self.counters.damaged_batches += new;
        self.remove_settled();
    }

    /// Where the segment with this batch, or the first after it, lies.
    fn start_of(&self, epoch: Epoch, number: BatchNumber) -> Bound<SegmentId> {
        let segments = || {
            self.segments
                .iter()
                .filter(|(_, s)| s.identity.epoch == epoch)
        };
        let holder = segments().find(|(_, s)| s.numbers.is_some_and(|(_, last)| last >= number.0));
        match holder.or_else(|| segments().next_back()) {
            Some((id, _)) => Bound::Included(*id),
            None if epoch == self.epoch => self.end(),
            None => Bound::Unbounded,
        }
    }

    /// Where what will be appended lies.
    fn end(&self) -> Bound<SegmentId> {
        let active = self.active.as_ref().map(|active| active.segment);
        Bound::Included(active.unwrap_or(self.next_segment))
    }

    fn read_error(&self, id: SegmentId, source: io::Error) -> ReadError {
        let segment = self.segments.get(&id);
        ReadError {
            path: segment.map_or_else(|| self.folder.clone(), |segment| self.path(segment)),
            source,
        }
    }
}
