//! What destinations have, and what may go because of it.

use rows::{BatchNumber, Epoch, NumberSet};

use super::{DestinationId, Spool};
use crate::cursor::Cursor;
use crate::numbers::{Interval, reach_in};
use crate::record::SegmentId;

impl Spool {
    /// Takes note that `destination` has a batch durably; a segment that no destination needs any more is removed. Numbers that are not
    /// in the spool are ignored. The note is made durable every [`cursor_interval`](crate::Settings::cursor_interval).
    pub fn acknowledge(&mut self, destination: DestinationId, epoch: Epoch, number: BatchNumber) {
        let mut segments = self.segments.iter().rev();
        let holder =
            segments.find(|(_, segment)| segment.identity.epoch == epoch && segment.spans(number));
        let Some((&id, _)) = holder else {
            return;
        };
        self.insert(destination, epoch, number);
        self.remove_if_settled(id);
    }

    /// Takes note of all that `destination` says it has of an epoch (in its welcome).
    pub fn acknowledge_set(
        &mut self,
        destination: DestinationId,
        epoch: Epoch,
        numbers: &NumberSet,
    ) {
        let segments = self.segments.iter();
        let ranges: Vec<(SegmentId, u64, u64)> = segments
            .filter(|(_, segment)| segment.identity.epoch == epoch)
            .filter_map(|(id, segment)| segment.numbers.map(|(first, last)| (*id, first, last)))
            .collect();
        for (id, first, last) in ranges {
            for (from, to) in numbers.intervals() {
                self.insert_range(destination, id, (first.max(from.0), last.min(to.0)));
            }
            self.remove_if_settled(id);
        }
    }

    /// Forgets what `destination` acknowledged: all that is still in the spool is for it again. For a store that lost what it had.
    pub fn forget_acknowledgements(&mut self, destination: DestinationId) {
        if let Some(cursor) = self.cursors.get_mut(destination.0).and_then(Option::as_mut) {
            *cursor = Cursor::new(std::mem::take(&mut cursor.name));
        }
    }

    /// Returns whether `destination` needs this batch no more.
    pub fn is_acknowledged(
        &self,
        destination: DestinationId,
        epoch: Epoch,
        number: BatchNumber,
    ) -> bool {
        let numbers = self
            .cursor(destination)
            .and_then(|cursor| cursor.numbers(epoch));
        numbers.is_some_and(|numbers| numbers.contains(number))
    }

    fn insert(&mut self, destination: DestinationId, epoch: Epoch, number: BatchNumber) {
        let slot = destination.0;
        let Some(Some(cursor)) = self.cursors.get_mut(slot) else {
            return;
        };
        if cursor.insert(epoch, number).is_some() {
            return;
        }
        // Holes and gaps keep intervals apart that could be one: nothing below the lowest pending number comes any more.
        self.settle(destination, epoch);
        if let Some(Some(cursor)) = self.cursors.get_mut(slot)
            && cursor.insert(epoch, number).is_none()
        {
            self.counters.ignored_acknowledgements += 1;
        }
    }

    /// Adds the numbers of `range` that are in the segment.
    fn insert_range(&mut self, destination: DestinationId, id: SegmentId, range: Interval) {
        let mut number = range.0;
        while let Some(segment) = self.segments.get(&id)
            && number <= range.1
        {
            match reach_in(&segment.holes, number) {
                Some(last) => number = last,
                None => self.insert(destination, segment.identity.epoch, BatchNumber(number)),
            }
            number += 1;
        }
    }

    /// Joins everything below the lowest pending number of the epoch into one interval.
    pub(super) fn settle(&mut self, destination: DestinationId, epoch: Epoch) {
        let floor = self.lowest_pending(destination, epoch);
        let Some(Some(cursor)) = self.cursors.get_mut(destination.0) else {
            return;
        };
        if let (Some(numbers), Some(floor)) = (cursor.acknowledged.get_mut(&epoch), floor) {
            numbers.settle_below(floor);
        }
    }

    fn remove_if_settled(&mut self, id: SegmentId) {
        let segment = self.segments.get(&id);
        if !self.is_active(id) && segment.is_some_and(|segment| self.is_settled(segment)) {
            self.remove_segment(id);
        }
    }
}
