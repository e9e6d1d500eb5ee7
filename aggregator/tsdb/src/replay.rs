//! Reading the log at open: every batch that no partition has yet goes to its shard once more.
//!
//! Segments are taken in order, each on its own: row bases are forgotten at its start, for it has those it needs. Several threads read and
//! decode them ([`decoding`]); one takes what they have in the order of the log. What is damaged is reported and costs itself; a batch that leans on a row that is lost is lost too, and its number stays unknown, so an agent that still has
//! it sends it again.

mod decoding;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use clock::SharedClock;
use files::{Open, SharedFileSystem};
use model::TimestampMs;
use rows::{CohortId, NumberSet, Row, Slot, StoreId};
use storage::{Lane, RefusalReason};

use self::decoding::{Decoded, DecodedBatch, Planned, Taking, Told, decoders, read_and_decode};
use crate::cohorts::{Cohorts, DurableNumbers, EpochKey};
use crate::late::LateRows;
use crate::log::{ClosedSegment, LogEnd, segment_number, segment_path};
use crate::progress::ReplayProgress;
use crate::record::{self, Definition, Record};
use crate::report::RecoveryReport;
use crate::segment::{NEWER, RECORDS_START, SegmentHeader};
use crate::sequencer::shard_items;
use crate::shard::{ShardGroup, ShardItem, ShardMessage};
use crate::tsdb::OpenError;

/// A segment larger than this was not written by this program.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 2 << 30;
/// Bytes of batches handed to the shards at once; decoded they are some ten times as many, and several groups wait for a shard.
const GROUP_BYTES: usize = 128 << 10;

/// What replay works on.
pub(crate) struct Replay<'a> {
    pub(crate) files: SharedFileSystem,
    pub(crate) folder: PathBuf,
    pub(crate) store_id: StoreId,
    pub(crate) clock: SharedClock,
    /// By shard, the position up to which its rows are in partitions.
    pub(crate) sealed: Vec<u64>,
    pub(crate) cohorts: &'a mut Cohorts,
    pub(crate) numbers: &'a DurableNumbers,
    pub(crate) shards: &'a [SyncSender<ShardMessage>],
    pub(crate) report: &'a mut RecoveryReport,
    pub(crate) progress: &'a ReplayProgress,
    pub(crate) late: &'a LateRows,
}

/// Where the log ends.
pub(crate) struct Replayed {
    pub(crate) end: LogEnd,
    pub(crate) next_position: u64,
}

/// A file of the log folder.
struct SegmentFile {
    number: u64,
    path: PathBuf,
    bytes: u64,
}

/// What is gathered for the shards.
struct State {
    /// Numbers met in this replay: a batch counts once.
    seen: HashMap<EpochKey, NumberSet>,
    pending: Vec<Vec<ShardItem>>,
    pending_bytes: usize,
    last_position: u64,
    /// Whether something of the segment is lost: definitions may be.
    holed: bool,
    /// Start times of cohorts that the segment has not defined yet: logs of the first versions have them in front.
    early: HashMap<(EpochKey, CohortId), Vec<(Slot, TimestampMs)>>,
}

impl Replay<'_> {
    pub(crate) fn run(mut self) -> Result<Replayed, OpenError> {
        let segments = self.segments()?;
        let mut headers: BTreeMap<u64, SegmentHeader> = BTreeMap::new();
        for segment in &segments {
            if let Some(header) = self.header(segment)? {
                headers.insert(segment.number, header);
            }
        }
        let mut state = State {
            seen: HashMap::new(),
            pending: self.shards.iter().map(|_| Vec::new()).collect(),
            pending_bytes: 0,
            holed: false,
            early: HashMap::new(),
            last_position: self.sealed.iter().copied().max().unwrap_or(0),
        };
        let mut end = LogEnd {
            last_number: segments.last().map_or(0, |segment| segment.number),
            ..LogEnd::default()
        };
        let mut planned = Vec::new();
        let number_of = |segment: Option<&SegmentFile>| segment.map_or(0, |one| one.number);
        self.progress
            .begin(number_of(segments.first()), number_of(segments.last()));
        for segment in &segments {
            let limit = limit_of(segment.number, &headers);
            if limit == 0 {
                // Given up before anything in it was durable.
                self.remove(&segment.path);
            } else if let Some(header) = headers.get(&segment.number) {
                planned.push(Planned {
                    number: segment.number,
                    path: segment.path.clone(),
                    salt: header.salt,
                    first_position: header.first_position,
                    bytes: segment.bytes,
                    limit,
                });
            } else {
                self.set_aside(segment, limit);
            }
        }
        let files = Arc::clone(&self.files);
        read_and_decode(
            &files,
            &planned,
            SEGMENT_BYTES_MAX,
            decoders(),
            |mut taking| {
                planned.iter().try_for_each(|segment| {
                    self.report.segments += 1;
                    let closed = self.segment(segment, &mut taking, &mut state, &mut end)?;
                    end.closed.push(closed);
                    self.progress.segment_done();
                    Ok::<(), OpenError>(())
                })
            },
        )?;
        self.flush(&mut state);
        Ok(Replayed {
            end,
            next_position: state.last_position + 1,
        })
    }

    fn segments(&self) -> Result<Vec<SegmentFile>, OpenError> {
        let entries = self
            .files
            .list(&self.folder)
            .map_err(OpenError::io("read the log folder", &self.folder))?;
        let mut segments: Vec<SegmentFile> = entries
            .into_iter()
            .filter(|entry| !entry.folder)
            .filter_map(|entry| Some((segment_number(&entry.name)?, entry.len)))
            .map(|(number, bytes)| SegmentFile {
                number,
                path: segment_path(&self.folder, number),
                bytes,
            })
            .collect();
        segments.sort_by_key(|segment| segment.number);
        Ok(segments)
    }

    /// Returns the header of a segment; `None` when it is not one of this store's. Refuses one of a later version: who goes back to that
    /// version finds it as it was.
    fn header(&self, segment: &SegmentFile) -> Result<Option<SegmentHeader>, OpenError> {
        let bytes = self.read(&segment.path, RECORDS_START as u64)?;
        let header = SegmentHeader::decode(&bytes);
        if header == Err(NEWER) {
            return Err(OpenError::Segment {
                path: segment.path.clone(),
                what: NEWER.0,
            });
        }
        Ok(header
            .ok()
            .filter(|header| header.number == segment.number && header.store_id == self.store_id))
    }

    /// Takes a segment without a header out of the way: removes one that was being made, renames and reports any other.
    fn set_aside(&mut self, segment: &SegmentFile, limit: u64) {
        let start = self.read(&segment.path, RECORDS_START as u64);
        let unborn = start.is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        if unborn && limit == u64::MAX {
            // Its first write was torn, so nothing in it was acknowledged.
            self.remove(&segment.path);
            return;
        }
        let aside = segment.path.with_extension("damaged");
        let what = format!(
            "the segment has no header of this store; all of it is left out and kept as {}",
            aside.display()
        );
        self.report.damaged(segment.path.clone(), 0, what);
        if let Err(error) = self.files.rename(&segment.path, &aside) {
            tracing::warn!(path = %segment.path.display(), %error, "cannot rename a damaged log segment");
        }
    }

    fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, OpenError> {
        let failed = || OpenError::io("read log segment", path);
        let file = self.files.open(path, Open::read()).map_err(failed())?;
        let bytes = file.len().map_err(failed())?.min(max);
        let mut out = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut out).map_err(failed())?;
        out.truncate(read);
        Ok(out)
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = self.files.remove(path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an empty log segment");
        }
    }

    /// Takes all that comes of a segment.
    fn segment(
        &mut self,
        segment: &Planned,
        taking: &mut Taking,
        state: &mut State,
        end: &mut LogEnd,
    ) -> Result<ClosedSegment, OpenError> {
        let mut last_position = segment.first_position;
        state.holed = false;
        state.early.clear();
        loop {
            let told = taking.next();
            let told = told.unwrap_or_else(|| Told::Failed(reader_is_gone(segment)));
            let (offset, position, outcome) = match told {
                Told::Hole { offset, bytes } => {
                    let what = format!("{bytes} bytes are no record; what stood there is lost");
                    self.report.damaged(segment.path.clone(), offset, what);
                    state.holed = true;
                    continue;
                }
                Told::Plain {
                    offset,
                    kind,
                    position,
                    body,
                } => (offset, position, self.record(kind, body.bytes(), state)),
                Told::Decoded {
                    offset,
                    position,
                    decoder,
                } => {
                    let decoded = taking.decoded(decoder);
                    let decoded = decoded.ok_or_else(|| reader_is_gone(segment))?;
                    let outcome = decoded.and_then(|decoded| match decoded {
                        Decoded::Base => Ok(()),
                        Decoded::Batch(batch) => self.batch(state, position, batch),
                        Decoded::Definition(definition) => {
                            self.definition(state, definition);
                            Ok(())
                        }
                    });
                    (offset, position, outcome)
                }
                Told::End {
                    scan_end,
                    torn_bytes,
                } => {
                    end.previous = segment.number;
                    end.previous_end = self.segment_end(segment, scan_end, torn_bytes);
                    return Ok(ClosedSegment {
                        number: segment.number,
                        last_position,
                        bytes: segment.bytes,
                    });
                }
                Told::Failed(error) => return Err(error),
            };
            last_position = last_position.max(position);
            state.last_position = state.last_position.max(position);
            if let Err(what) = outcome {
                self.report.damaged(segment.path.clone(), offset, what);
                state.holed = true;
            }
        }
    }

    /// Returns where the records of a segment end, given where the last one that checks does.
    fn segment_end(&mut self, segment: &Planned, scan_end: u64, torn_bytes: u64) -> u64 {
        if segment.limit == u64::MAX {
            self.report.torn_bytes += torn_bytes;
        } else if scan_end < segment.limit {
            // Synced once, and no record any more.
            let what = format!(
                "{} bytes are no record; what stood there is lost",
                segment.limit - scan_end
            );
            self.report.damaged(segment.path.clone(), scan_end, what);
            return segment.limit;
        }
        scan_end
    }

    fn record(&mut self, kind: u8, body: &[u8], state: &mut State) -> Result<(), String> {
        let record =
            record::read(kind, body).map_err(|error| format!("a record's {error} is wrong"))?;
        match record {
            None => Err(format!(
                "a record of kind {kind}, which this version does not know, is left out"
            )),
            // The catalogue and the batches themselves say which numbers are durable. Were one known only from here, its batch is lost, and
            // an agent that still has it should bring it again.
            Some(Record::Numbers { .. }) => Ok(()),
            Some(Record::Settle {
                agent,
                epoch,
                floor,
            }) => {
                let used = TimestampMs::from(self.clock.wall());
                self.numbers
                    .add((agent, epoch), |known| known.settle_below(floor), used);
                Ok(())
            }
            Some(Record::Starts {
                agent,
                epoch,
                cohort,
                starts,
            }) => {
                self.learn_starts(state, &(agent, epoch), cohort, (0, &starts));
                Ok(())
            }
            // They come decoded.
            Some(Record::Base { .. } | Record::Batch { .. } | Record::Definition(_)) => Ok(()),
        }
    }

    fn definition(&mut self, state: &mut State, definition: Definition) {
        let key = (definition.agent.clone(), definition.epoch);
        let cohort = definition.cohort;
        self.cohorts.replay(definition, self.clock.monotonic());
        if let Some(starts) = state.early.remove(&(key.clone(), cohort)) {
            self.learn_starts(state, &key, cohort, (0, &starts));
        }
    }

    /// Tells the log since when counters count, and the cohort's shard when the row at `position` that says so is sealed.
    fn learn_starts(
        &mut self,
        state: &mut State,
        key: &EpochKey,
        cohort: CohortId,
        (position, starts): (u64, &[(Slot, TimestampMs)]),
    ) {
        let Some(layout) = self.cohorts.learn_starts(key, cohort, starts) else {
            let early = state.early.entry((key.clone(), cohort)).or_default();
            early.extend_from_slice(starts);
            return;
        };
        let shard = usize::from(layout.shard);
        if self
            .sealed
            .get(shard)
            .is_some_and(|sealed| position <= *sealed)
        {
            let starts = starts.to_vec();
            state.pending[shard].push(ShardItem::Starts { layout, starts });
        }
    }

    /// Takes a batch. One with samples of series whose definitions may be what a hole has swallowed is stored as far as it can be, and its
    /// number stays unknown.
    fn batch(
        &mut self,
        state: &mut State,
        position: u64,
        decoded: DecodedBatch,
    ) -> Result<(), String> {
        let DecodedBatch {
            source,
            taken,
            batch,
            bytes,
        } = decoded;
        // Before anything is handed over: a shard may seal what it gets, up to the position that comes with it.
        state.last_position = state.last_position.max(position);
        let number = batch.number;
        let live = source.lane == Lane::Live;
        let key = (source.agent.clone(), source.epoch);
        // A batch is in the log once; were it there twice, the first would stand.
        let seen = state.seen.get(&key);
        if seen.is_some_and(|seen| seen.contains(number)) {
            return Ok(());
        }
        for row in batch.rows.iter().filter(|_| live) {
            let Row {
                cohort,
                start_times,
                ..
            } = &*row.row;
            if !start_times.is_empty() {
                self.learn_starts(state, &key, *cohort, (position, start_times));
            }
        }
        let now = self.clock.monotonic();
        let cohorts = &mut *self.cohorts;
        let (items, refused, stored) =
            shard_items(&batch, (position, source.lane), taken, &mut |cohort| {
                let cohort = cohorts.used(&key, cohort, now)?;
                Some(Arc::clone(&cohort.layout))
            });
        let undefined = refused
            .iter()
            .find(|(reason, _)| *reason == RefusalReason::Undefined);
        // What every shard has in partitions is not lost.
        let unsealed = self.sealed.iter().any(|sealed| position > *sealed);
        let outcome = match undefined.filter(|_| state.holed && unsealed) {
            Some((_, samples)) => Err(format!(
                "{samples} samples of batch {number} of {} in epoch {} are lost: the definitions of their series are missing",
                key.0, key.1
            )),
            None => {
                state.seen.entry(key.clone()).or_default().insert(number);
                let wall = TimestampMs::from(self.clock.wall());
                self.numbers.add(
                    key,
                    |known| {
                        known.insert(number);
                    },
                    wall,
                );
                Ok(())
            }
        };
        let mut new = false;
        for (shard, item) in items {
            let shard = usize::from(shard);
            if self
                .sealed
                .get(shard)
                .is_some_and(|sealed| position > *sealed)
            {
                new = true;
                state.pending[shard].push(item);
            }
        }
        if new {
            self.late.note(self.late.span_of(&source, &batch, taken));
            self.report.batches += 1;
            self.report.samples += stored;
        }
        state.pending_bytes += bytes;
        if state.pending_bytes >= GROUP_BYTES {
            self.flush(state);
        }
        outcome
    }

    /// Hands what is gathered to the shards. They seal as they go when memory is short, and then this waits.
    fn flush(&self, state: &mut State) {
        for ((shard, items), sealed) in self.shards.iter().zip(&mut state.pending).zip(&self.sealed)
        {
            let group = ShardGroup {
                position: state.last_position.max(*sealed),
                log_bytes: state.pending_bytes as u64,
                items: std::mem::take(items),
                on_their_way: None,
            };
            if shard.send(ShardMessage::Group(group)).is_err() {
                tracing::error!(
                    "a shard's thread is gone, its rows are not seen until the next start"
                );
            }
        }
        state.pending_bytes = 0;
    }
}

/// Only when its thread panicked.
fn reader_is_gone(segment: &Planned) -> OpenError {
    OpenError::io("read log segment", &segment.path)(io::Error::other("its reader has ended"))
}

/// Returns how many bytes of a segment count: all, unless a later one says where it was given up, or that nothing in it counts.
pub(crate) fn limit_of(number: u64, headers: &BTreeMap<u64, SegmentHeader>) -> u64 {
    let later = headers.range(number + 1..).next();
    match later {
        None => u64::MAX,
        Some((_, next)) if next.previous == number => next.previous_end,
        Some((_, next)) if next.previous < number => 0,
        // The one that continues this segment is unreadable itself: nothing is known of an end.
        Some(_) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_counts_as_far_as_the_next_one_says() {
        let header = |number, previous, previous_end| SegmentHeader {
            store_id: StoreId(1),
            number,
            salt: 0,
            first_position: 0,
            previous,
            previous_end,
        };
        let headers = BTreeMap::from([
            (1, header(1, 0, 0)),
            (2, header(2, 1, 500)),
            (4, header(4, 2, 900)),
        ]);
        assert_eq!(limit_of(1, &headers), 500);
        assert_eq!(limit_of(2, &headers), 900);
        assert_eq!(limit_of(3, &headers), 0);
        assert_eq!(limit_of(4, &headers), u64::MAX);
    }
}
