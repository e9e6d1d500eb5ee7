//! A block, opened.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use files::FileSystem;
use model::{CounterReset, Histogram, Labels, Sample, TimeRange, TimestampMs, Value};

use crate::chunk::{CELLS_MAX, decode_chunk};
use crate::error::{BlockError, Damage};
use crate::index::{ChunkPlace, Index};
use crate::meta::{self, Meta};
use crate::segments::Segments;
use crate::tombstones::Tombstones;

/// A chunk of more spans than this is looked into for those that it has samples in.
const SPANS_PER_CHUNK: i64 = 1_000;

/// A block of Prometheus.
#[derive(Debug)]
pub struct Block {
    meta: Meta,
    index: Index,
    segments: Segments,
    tombstones: Tombstones,
    /// What was found damaged at opening.
    damages: Vec<Damage>,
}

/// Takes what a visit hands out.
pub trait Visitor {
    /// Why a visit is to end early.
    type Error;

    /// Takes a series that has samples within the range, with those samples, timestamps strictly rising.
    fn series(&mut self, labels: &Labels, samples: Vec<Sample>) -> Result<(), Self::Error>;

    /// Hears of something that had to be left out.
    fn damaged(&mut self, damage: Damage);
}

/// What a visit handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visited {
    /// Series with samples within the range.
    pub series: u64,
    /// Their samples.
    pub samples: u64,
    /// Samples that were left out because tombstones cover them.
    pub deleted: u64,
    /// Samples that were left out because the series has one at the same time in an earlier chunk.
    pub repeated: u64,
}

/// Samples of a series, being put together.
#[derive(Default)]
struct Gathered {
    samples: Vec<Sample>,
    cells: usize,
    deleted: u64,
    /// Whether a chunk begins before another has ended.
    overlap: bool,
}

impl Block {
    /// Opens the block in `folder`.
    pub fn open(files: &dyn FileSystem, folder: &Path) -> Result<Self, BlockError> {
        let meta = Meta::read(files, folder)?.ok_or_else(|| {
            BlockError::unreadable(
                &folder.join(meta::FILE),
                "it does not exist, so the folder is no block",
            )
        })?;
        let mut damages = Vec::new();
        let index = Index::open(files, folder, &mut |damage| damages.push(damage))?;
        Ok(Self {
            meta,
            index,
            segments: Segments::open(files, folder)?,
            tombstones: Tombstones::read(files, folder)?,
            damages,
        })
    }

    /// Returns which block it is.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Returns how many series the index has.
    pub const fn series(&self) -> usize {
        self.index.len()
    }

    /// Returns what was found damaged when the block was opened.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Hands out every series that has samples within `range`, in the index's order; ends early when the visitor fails.
    pub fn visit<V: Visitor>(
        &mut self,
        range: TimeRange,
        visitor: &mut V,
    ) -> Result<Visited, V::Error> {
        let mut visited = Visited::default();
        for number in 0..self.index.len() {
            let reference = self.index.reference(number);
            let entry = match self.index.series(reference) {
                Ok(entry) => entry,
                Err(damage) => {
                    visitor.damaged(damage);
                    continue;
                }
            };
            let mut gathered = Gathered::default();
            let within = |place: &&ChunkPlace| place.times.overlaps(range);
            for place in entry.chunks.iter().filter(within) {
                if let Err(damage) = self.gather(reference, *place, range, &mut gathered) {
                    visitor.damaged(damage);
                }
                if gathered.cells > CELLS_MAX {
                    let what = format!(
                        "{} has more than {CELLS_MAX} numbers between {} and {}, the rest of them is left out",
                        entry.labels, range.start, range.end
                    );
                    visitor.damaged(self.index.place(reference, what));
                    break;
                }
            }
            visited.deleted += gathered.deleted;
            visited.repeated += gathered.sort();
            if !gathered.samples.is_empty() {
                visited.series += 1;
                visited.samples += gathered.samples.len() as u64;
                visitor.series(&entry.labels, gathered.samples)?;
            }
        }
        Ok(visited)
    }

    /// Returns the spans of `width_ms` that chunks touch, by their numbers (times divided by the width), rising; `None` when they are more
    /// than `max`.
    pub fn spans(&mut self, width_ms: i64, max: usize) -> Option<BTreeSet<i64>> {
        let width = width_ms.max(1);
        let span_of = |at: TimestampMs| at.0.div_euclid(width);
        let mut spans = BTreeSet::new();
        let mut samples = Vec::new();
        for number in 0..self.index.len() {
            // What is damaged is heard of by whoever visits.
            let Ok(entry) = self.index.series(self.index.reference(number)) else {
                continue;
            };
            for place in entry.chunks {
                let (first, last) = (span_of(place.times.start), span_of(place.times.end));
                // So that the damage is heard of, whatever the samples are.
                spans.insert(first);
                if last.saturating_sub(first) <= SPANS_PER_CHUNK {
                    spans.extend(first..=last);
                } else if let Ok(stored) = self.segments.chunk(place.reference) {
                    samples.clear();
                    let decoded = decode_chunk(stored.encoding, stored.data, &mut samples);
                    drop(decoded);
                    spans.extend(samples.iter().map(|sample| span_of(sample.at)));
                }
            }
            if spans.len() > max {
                return None;
            }
        }
        Some(spans)
    }

    /// Appends the samples of a chunk that are within `range` and not deleted.
    fn gather(
        &mut self,
        series: u64,
        place: ChunkPlace,
        range: TimeRange,
        gathered: &mut Gathered,
    ) -> Result<(), Damage> {
        let before = gathered.samples.len();
        let last = gathered.samples.last().map(|sample| sample.at);
        let stored = self.segments.chunk(place.reference)?;
        let decoded = decode_chunk(stored.encoding, stored.data, &mut gathered.samples);
        let outside =
            |sample: Option<&Sample>| sample.is_some_and(|sample| !place.times.contains(sample.at));
        let new = gathered.samples.get(before..).unwrap_or_default();
        let checked = match decoded {
            Err(error) => Err(error.to_string()),
            // Whoever reads by ranges would miss them, or find them twice.
            Ok(_) if outside(new.first()) || outside(new.last()) => {
                Err("it has samples outside of the times that the index gives it".to_owned())
            }
            Ok(cells) => Ok(cells),
        };
        match checked {
            Ok(cells) => gathered.cells += cells,
            Err(what) => {
                gathered.samples.truncate(before);
                let (path, offset) = self.segments.place(place.reference);
                return Err(Damage {
                    path,
                    offset,
                    what: format!("chunk {} is left out: {what}", place.reference),
                });
            }
        }
        gathered.keep(before, range, self.tombstones.of(series));
        if let (Some(last), Some(first)) = (last, gathered.samples.get(before)) {
            gathered.overlap |= first.at <= last;
        }
        Ok(())
    }
}

impl Gathered {
    /// Leaves out the samples from `from` on that are not within `range`, or deleted. Whether a counter was reset since a sample that was
    /// deleted is not known.
    fn keep(&mut self, from: usize, range: TimeRange, deleted: &[TimeRange]) {
        let mut gap = false;
        for mut sample in self.samples.split_off(from) {
            if deleted.iter().any(|range| range.contains(sample.at)) {
                gap = true;
                self.deleted += u64::from(range.contains(sample.at));
                continue;
            }
            if std::mem::take(&mut gap) {
                forget(&mut sample, |reset| reset == CounterReset::NotReset);
            }
            if range.contains(sample.at) {
                self.samples.push(sample);
            }
        }
    }

    /// Puts samples of overlapping chunks in order; of those at one time the first stays. Returns how many went.
    fn sort(&mut self) -> u64 {
        if !self.overlap {
            return 0;
        }
        let before = self.samples.len();
        self.samples.sort_by_key(|sample| sample.at);
        self.samples.dedup_by_key(|sample| sample.at);
        for sample in &mut self.samples {
            forget(sample, |reset| reset != CounterReset::Gauge);
        }
        (before - self.samples.len()) as u64
    }
}

/// Makes what a histogram says of counter resets unknown when `which` holds: the sample before is not the one that it was stored behind.
fn forget(sample: &mut Sample, which: impl Fn(CounterReset) -> bool) {
    if let Value::Histogram(histogram) = &mut sample.value
        && which(histogram.reset)
        && histogram.reset != CounterReset::Unknown
    {
        let histogram: &mut Histogram = Arc::make_mut(histogram);
        histogram.reset = CounterReset::Unknown;
    }
}
