//! The spool itself: its state, and what can be asked of it.

mod acknowledging;
mod dropping;
mod opening;
mod reading;
mod upkeep;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clock::Monotonic;
use files::{FolderLock, SharedFile, SharedFileSystem};
use rows::{BatchNumber, Epoch};

use crate::cursor::Cursor;
use crate::error::DestinationError;
use crate::index::Segment;
use crate::numbers::{
    Interval, count_uncovered, first_uncovered, intersects, reach_in, reach_in_set,
};
use crate::record::SegmentId;
use crate::report::{Backlog, EpochRange, Gap, Stats};
use crate::settings::Settings;

pub use reading::{ReadFrom, Reader};

/// The most destinations of one spool.
pub const DESTINATIONS_MAX: usize = 8;

/// The disk queue of an agent; see the crate's header. It owns its folder (a lock says so) and blocks while it reads and writes.
#[derive(Debug)]
pub struct Spool {
    files: SharedFileSystem,
    folder: PathBuf,
    settings: Settings,
    bytes_max: u64,
    segment_bytes: u64,
    epoch: Epoch,
    segments: BTreeMap<SegmentId, Segment>,
    next_segment: SegmentId,
    active: Option<Active>,
    /// The highest number given in the epoch of this run.
    last_number: Option<BatchNumber>,
    /// By [`DestinationId`]; a destination that was removed leaves a vacancy.
    cursors: Vec<Option<Cursor>>,
    cursors_written: Option<Monotonic>,
    gaps: Vec<Gap>,
    gaps_dirty: bool,
    predecessor: Option<Epoch>,
    /// Whether the note of the newest epoch names this run's.
    epoch_noted: bool,
    /// Files that could not be removed yet.
    doomed: Vec<PathBuf>,
    counters: Stats,
    /// Where records are put together; small between calls.
    scratch: Vec<u8>,
    _lock: FolderLock,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    segment: SegmentId,
    file: SharedFile,
    /// When it is full.
    bytes_max: u64,
    unsynced_bytes: u64,
    /// Since when something is unsynced that is needed, as [`Spool::sync_if_due`] has seen it.
    unsynced_since: Option<Monotonic>,
    /// Whether its name is durable.
    entry_synced: bool,
}

/// An aggregator to which the spool's batches go, as [`Spool::destination`] numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DestinationId(usize);

/// What may come from one epoch, for the agent's hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The epoch.
    pub epoch: Epoch,
    /// Numbers below will never come again: acknowledged, or dropped, or damaged.
    pub floor: BatchNumber,
    /// The first number that was not given yet.
    pub next: BatchNumber,
}

impl Spool {
    /// Returns the destination of this name (1 to 100 bytes), registering it when it is new: all that lies in the spool is for it too.
    /// Every destination holds back the removal of segments until it has acknowledged them.
    pub fn destination(&mut self, name: &str) -> Result<DestinationId, DestinationError> {
        let is_it = |cursor: &Cursor| cursor.name == name;
        let known = self
            .cursors
            .iter()
            .position(|c| c.as_ref().is_some_and(is_it));
        if let Some(at) = known {
            return Ok(DestinationId(at));
        }
        if !crate::cursor::is_valid(name) {
            return Err(DestinationError::Name {
                name: name.to_owned(),
                limit: crate::cursor::NAME_BYTES_MAX,
            });
        }
        let cursor = Some(Cursor::new(name.to_owned()));
        let vacancy = self.cursors.iter().position(Option::is_none);
        match vacancy {
            Some(at) => {
                self.cursors[at] = cursor;
                Ok(DestinationId(at))
            }
            None if self.cursors.len() < DESTINATIONS_MAX => {
                self.cursors.push(cursor);
                Ok(DestinationId(self.cursors.len() - 1))
            }
            None => Err(DestinationError::TooMany {
                name: name.to_owned(),
                limit: DESTINATIONS_MAX,
            }),
        }
    }

    /// Forgets the destinations (of earlier runs, say) whose name is not in `names`; their ids are no longer valid.
    pub fn retain_destinations(&mut self, names: &[&str]) {
        for slot in &mut self.cursors {
            let Some(cursor) = slot.take_if(|cursor| !names.contains(&cursor.name.as_str())) else {
                continue;
            };
            let path = self.folder.join(cursor.file_name());
            match self.files.remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.counters.upkeep_errors += 1;
                    self.doomed.push(path);
                }
                _ => {}
            }
        }
        self.remove_settled();
    }

    /// Returns the names of the registered destinations.
    pub fn destinations(&self) -> impl Iterator<Item = (DestinationId, &str)> {
        let slots = self.cursors.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((DestinationId(at), slot.as_ref()?.name.as_str())))
    }

    /// Returns the epoch of this run.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the newest epoch before this one that spooled a batch in this folder, delivered since or not.
    pub fn predecessor(&self) -> Option<Epoch> {
        self.predecessor
    }

    /// Returns what lies in the spool, epoch by epoch, oldest first.
    pub fn epochs(&self) -> Vec<EpochRange> {
        let mut ranges: Vec<EpochRange> = Vec::new();
        for segment in self.segments.values() {
            let Some((first, last)) = segment.numbers else {
                continue;
            };
            let epoch = segment.identity.epoch;
            match ranges.iter_mut().rfind(|range| range.epoch == epoch) {
                Some(range) => {
                    range.last = BatchNumber(last);
                    range.batches += segment.batches;
                }
                None => ranges.push(EpochRange {
                    epoch,
                    first: BatchNumber(first),
                    last: BatchNumber(last),
                    batches: segment.batches,
                }),
            }
        }
        ranges
    }

    /// Returns what may still come for `destination`, epoch by epoch, oldest first. Earlier epochs of which nothing may come are left out;
    /// this run's epoch is always there, and last.
    pub fn offers(&self, destination: DestinationId) -> Vec<Offer> {
        let older = self.epochs().into_iter();
        let older = older.filter(|range| range.epoch != self.epoch);
        let mut offers: Vec<Offer> = older
            .map(|range| self.offer(destination, range.epoch, range.last.next()))
            .filter(|offer| offer.floor < offer.next)
            .collect();
        let next = self.last_number.map_or(BatchNumber(0), BatchNumber::next);
        offers.push(self.offer(destination, self.epoch, next));
        offers
    }

    fn offer(&self, destination: DestinationId, epoch: Epoch, next: BatchNumber) -> Offer {
        Offer {
            epoch,
            floor: self.lowest_pending(destination, epoch).unwrap_or(next),
            next,
        }
    }

    /// Returns how much `destination` has still to acknowledge. Costs a look at each segment.
    pub fn backlog(&self, destination: DestinationId) -> Backlog {
        let mut backlog = Backlog::default();
        for segment in self.segments.values() {
            let Some(range) = segment.numbers else {
                continue;
            };
            let epoch = segment.identity.epoch;
            let numbers = self.cursor(destination).and_then(|c| c.numbers(epoch));
            let reach = |number| self.reach(segment, destination, number);
            if backlog.oldest.is_none() {
                let number = first_uncovered(range, reach);
                backlog.oldest = number.map(|number| (epoch, BatchNumber(number)));
            }
            backlog.batches += match numbers {
                Some(numbers) if intersects(numbers, range) => count_uncovered(range, reach),
                _ => segment.batches,
            };
        }
        backlog
    }

    /// Returns the gaps that are not yet reported, oldest first.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Returns the ranges of an epoch's numbers in which there are some that nobody can get any more, as far as that is still known: the
    /// gaps, and what damage took from the segments that are there. In no order; ranges may overlap.
    pub fn lost(&self, epoch: Epoch) -> Vec<(BatchNumber, BatchNumber)> {
        let gaps = self.gaps.iter().filter(|gap| gap.epoch == epoch);
        let gaps = gaps.map(|gap| (gap.first, gap.last));
        let segments = self.segments.values();
        let holes = segments
            .filter(|segment| segment.identity.epoch == epoch)
            .flat_map(|segment| &segment.holes)
            .map(|(first, last)| (BatchNumber(*first), BatchNumber(*last)));
        gaps.chain(holes).collect()
    }

    /// Returns counters and sizes. Costs a look at each segment.
    pub fn stats(&self) -> Stats {
        let segments = self.segments.values();
        Stats {
            bytes: self.bytes(),
            bytes_max: self.bytes_max,
            segments: self.segments.len() as u64,
            batches: segments.clone().map(|segment| segment.batches).sum(),
            oldest: segments
                .filter_map(|segment| segment.created)
                .map(|(first, _)| first)
                .next(),
            unsynced_bytes: self
                .active
                .as_ref()
                .map_or(0, |active| active.unsynced_bytes),
            ..self.counters
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    fn cursor(&self, destination: DestinationId) -> Option<&Cursor> {
        self.cursors.get(destination.0)?.as_ref()
    }

    fn path(&self, segment: &Segment) -> PathBuf {
        self.folder.join(segment.identity.file_name())
    }

    fn is_active(&self, id: SegmentId) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.segment == id)
    }

    fn lowest_pending(&self, destination: DestinationId, epoch: Epoch) -> Option<BatchNumber> {
        let segments = self.segments.values();
        let pending = segments
            .filter(|segment| segment.identity.epoch == epoch)
            .find_map(|segment| {
                first_uncovered(segment.numbers?, |number| {
                    self.reach(segment, destination, number)
                })
            });
        pending.map(BatchNumber)
    }

    /// The last number of the run of numbers at `number` that `destination` will not get any more from this segment.
    fn reach(&self, segment: &Segment, destination: DestinationId, number: u64) -> Option<u64> {
        let epoch = segment.identity.epoch;
        let cursor = self
            .cursor(destination)
            .and_then(|cursor| cursor.numbers(epoch));
        let acknowledged = cursor.and_then(|numbers| reach_in_set(numbers, number));
        self.reach_gone(segment, number).max(acknowledged)
    }

    /// The same for all destinations; without any, nothing is settled.
    fn reach_all(&self, segment: &Segment, number: u64) -> Option<u64> {
        let epoch = segment.identity.epoch;
        let cursors = self.cursors.iter().flatten();
        let reaches = cursors.map(|cursor| {
            let numbers = cursor.numbers(epoch)?;
            reach_in_set(numbers, number)
        });
        // `None` is less than any reach: one destination that has not got it decides.
        let acknowledged = reaches.min().flatten();
        self.reach_gone(segment, number).max(acknowledged)
    }

    /// The same for numbers that nobody can get: holes and gaps.
    fn reach_gone(&self, segment: &Segment, number: u64) -> Option<u64> {
        let epoch = segment.identity.epoch;
        let gaps = self.gaps.iter().filter(|gap| gap.epoch == epoch);
        let ranges = gaps.map(|gap| (gap.first.0, gap.last.0));
        let gap = ranges
            .filter(|range| contains(*range, number))
            .map(|(_, last)| last)
            .max();
        reach_in(&segment.holes, number).max(gap)
    }

    /// Whether no destination needs anything of this segment.
    fn is_settled(&self, segment: &Segment) -> bool {
        segment.numbers.is_none_or(|range| {
            first_uncovered(range, |number| self.reach_all(segment, number)).is_none()
        })
    }
}

fn contains(range: Interval, number: u64) -> bool {
    range.0 <= number && number <= range.1
}
