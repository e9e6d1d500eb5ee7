//! Making room: what is dropped is remembered before it is removed.

use tracing::warn;

use super::opening::GAPS_FILE;
use super::{Spool, contains};
use crate::format::Kind;
use crate::index::Segment;
use crate::note::Note;
use crate::numbers::{count_uncovered, first_uncovered};
use crate::record::SegmentId;
use crate::report::Gap;
use crate::segment_reader::{Item, SegmentReader};

/// The most gap marks that are kept; neighbours are joined.
const GAPS_MAX: usize = 256;

impl Spool {
    /// Removes the oldest segment that is not being written; `false` when there is none.
    ///
    /// The gap mark is durable before the file goes, so that a crash in between completes the removal at the next start instead of
    /// sending what was declared dropped. On a full disk the mark may need the space of that very file: then it is written after.
    pub(super) fn drop_oldest(&mut self, reason: &'static str) -> bool {
        let oldest = self
            .segments
            .keys()
            .copied()
            .find(|id| !self.is_active(*id));
        let Some((id, segment)) = oldest.and_then(|id| Some((id, self.segments.get(&id)?))) else {
            return false;
        };
        if let Some(gap) = self.gap_of(segment) {
            warn!(
                reason,
                epoch = %gap.epoch,
                first = gap.first.0,
                last = gap.last.0,
                batches = gap.batches,
                "dropped the oldest batches of the spool"
            );
            self.counters.dropped_batches += gap.batches;
            self.counters.dropped_samples += gap.samples;
            self.add_gap(gap);
            self.write_gaps();
        }
        self.remove_segment(id);
        self.write_gaps();
        true
    }

    /// Forgets gaps that were reported where they had to be. What was dropped since stays.
    pub fn forget_gaps(&mut self, reported: &[Gap]) {
        self.remove_doomed();
        if !self.doomed.is_empty() || self.files.sync_folder(&self.folder).is_err() {
            // A dropped file that comes back must still find its mark: report the gap once more.
            self.counters.upkeep_errors += 1;
            return;
        }
        for gap in reported {
            let same = |known: &&mut Gap| known.epoch == gap.epoch && known.first == gap.first;
            if let Some(known) = self.gaps.iter_mut().find(same) {
                known.batches = known.batches.saturating_sub(gap.batches);
                known.samples = known.samples.saturating_sub(gap.samples);
                known.first = gap.last.next();
                known.from = gap.to;
                self.gaps_dirty = true;
            }
        }
        self.gaps.retain(|gap| gap.first <= gap.last);
        self.write_gaps();
    }

    /// Removes every segment that no destination needs any more, other than the one being written.
    pub(super) fn remove_settled(&mut self) {
        let segments = self.segments.iter();
        let settled: Vec<SegmentId> = segments
            .filter(|(id, segment)| {
                segment.readable && !self.is_active(**id) && self.is_settled(segment)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in settled {
            self.remove_segment(id);
        }
    }

    pub(super) fn remove_segment(&mut self, id: SegmentId) {
        let Some(segment) = self.segments.remove(&id) else {
            return;
        };
        let path = self.path(&segment);
        if self.files.remove(&path).is_err() {
            self.counters.upkeep_errors += 1;
            self.doomed.push(path);
        }
    }

    pub(super) fn remove_doomed(&mut self) {
        let (files, counters) = (&self.files, &mut self.counters);
        self.doomed.retain(|path| match files.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                counters.upkeep_errors += 1;
                true
            }
            _ => false,
        });
    }

    /// Writes the gap marks when they changed.
    pub(super) fn write_gaps(&mut self) {
        if !self.gaps_dirty {
            return;
        }
        let path = self.folder.join(GAPS_FILE);
        match Note::Gaps(self.gaps.clone()).write(&*self.files, &path) {
            Ok(()) => self.gaps_dirty = false,
            Err(_) => self.counters.upkeep_errors += 1,
        }
    }

    /// What would be lost with this segment.
    fn gap_of(&self, segment: &Segment) -> Option<Gap> {
        let (from, to) = segment.created?;
        let range = segment.numbers?;
        let reach = |number| self.reach_all(segment, number);
        let first = first_uncovered(range, reach)?;
        let batches = count_uncovered(range, reach);
        let gap = Gap {
            epoch: segment.identity.epoch,
            first: rows::BatchNumber(first),
            last: rows::BatchNumber(range.1),
            batches,
            samples: segment.samples,
            from,
            to,
        };
        let untouched = batches == segment.batches;
        Some(if untouched {
            gap
        } else {
            self.measured(segment, gap)
        })
    }

    /// The gap of a partly acknowledged segment: its samples are counted in the file, for the index does not know them one by one.
    fn measured(&self, segment: &Segment, gap: Gap) -> Gap {
        let mut exact = Gap { samples: 0, ..gap };
        let mut is_first = true;
        let counted = self.for_each_head(segment, |number, created, samples| {
            if self.reach_all(segment, number.0).is_none() {
                if is_first {
                    exact.from = created;
                    is_first = false;
                }
                exact.last = number;
                exact.to = created;
                exact.samples += u64::from(samples);
            }
        });
        match counted {
            Ok(()) if !is_first => exact,
            // Unreadable: by proportion.
            _ => Gap {
                samples: segment.samples * gap.batches / segment.batches.max(1),
                ..gap
            },
        }
    }

    fn for_each_head(
        &self,
        segment: &Segment,
        mut look: impl FnMut(rows::BatchNumber, model::TimestampMs, u32),
    ) -> std::io::Result<()> {
        let file = self.files.open(&self.path(segment), files::Open::read())?;
        let mut records = SegmentReader::new(file, segment.identity);
        loop {
            match records.peek(segment.bytes)? {
                Item::End => return Ok(()),
                Item::Damage { .. } => {}
                Item::Record(head) => {
                    if let Kind::Batch {
                        created, samples, ..
                    } = head.kind
                    {
                        look(head.number, created, samples);
                    }
                    records.pass(&head);
                }
            }
        }
    }

    fn add_gap(&mut self, gap: Gap) {
        self.gaps_dirty = true;
        let joins = |known: &&mut Gap| {
            known.epoch == gap.epoch
                && (known.last.next() == gap.first
                    || contains((known.first.0, known.last.0), gap.first.0))
        };
        if let Some(known) = self.gaps.iter_mut().find(joins) {
            known.last = known.last.max(gap.last);
            known.batches += gap.batches;
            known.samples += gap.samples;
            known.to = gap.to;
            return;
        }
        self.gaps.push(gap);
        if self.gaps.len() > GAPS_MAX {
            self.gaps.remove(0);
            self.counters.forgotten_gaps += 1;
        }
    }
}
