//! What a selection reads: series by series, each from all places that have something of it.
//!
//! 1. Every source (partitions, then heads) names the series that match: their identity, and the labels that are wanted. Series of one
//!    identity are one series with several places. Nothing of their samples is read.
//! 2. Series by series, its runs are read from its places and merged, and go to whoever asked. So a selection holds the samples of one
//!    series, whatever it goes through. (Of more than [`HELD_MAX`] partitions not all are kept open for that: those are read one after the
//!    other, and their runs held.)

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{Labels, TimeRange, TimestampMs};
use storage::{Budget, QueryError, RollupColumns, Segment, Select, SeriesData, WantedLabels};

use super::{CHECK_EVERY, HeadPart, Snapshot, any_within, bytes_of, has_rows, touches, without};
use crate::catalogue::Tier;
use crate::deletes::Mask;
use crate::hashing::AsIs;
use crate::head::ReadCache;
use crate::index::{self, Identity, Named, Naming, SeriesId};
use crate::merge_runs::{Arrived, merge_runs};
use crate::page::Scratch;
use crate::partition::{Partition, PartitionError};
use crate::partitions::PartitionHandle;

/// Partitions that a selection keeps open; tests have few.
const HELD_MAX: usize = if cfg!(test) { 2 } else { 64 };
/// What a place of a series takes while series are gathered, its entry in the table of identities included.
const PLACE_BYTES: u64 = 80;
/// Bytes of label sets that are charged together.
const CHARGED_TOGETHER: u64 = 64 * 1024;
/// Samples that are charged together, in bytes, when they are given back behind each series: a budget is that little off.
const PASSING: u64 = 256 * 1024;
/// The end of a chain of places.
const NONE: u32 = u32::MAX;

/// A partition, and what of it is deleted.
type Opened = (Arc<Partition>, Arc<Mask>);

/// What a source has of the selected series.
enum Source<'a> {
    Partition {
        handle: &'a Arc<PartitionHandle>,
        /// `None`: opened when it is read.
        open: Option<Opened>,
    },
    Head {
        part: &'a HeadPart,
        hidden: Vec<TimeRange>,
        cache: Box<ReadCache>,
    },
}

impl Source<'_> {
    /// Returns the time of the last sample that it may have.
    fn end(&self) -> TimestampMs {
        match self {
            Self::Partition { handle, .. } => handle.times().end,
            Self::Head { part, .. } => part
                .head
                .times()
                .map_or(TimestampMs::MIN, |times| times.end),
        }
    }
}

/// Returns the time of the last sample of a segment up to a time.
fn last_present(segment: &Segment, until: TimestampMs) -> Option<TimestampMs> {
    let times = segment.times.as_slice();
    let row = (0..times.partition_point(|at| *at <= until))
        .rev()
        .find(|row| segment.is_present(*row))?;
    Some(times[row])
}

/// A series in one source; the places of a series are a chain.
struct Place {
    source: u32,
    series: SeriesId,
    next: u32,
}

/// A selected series.
struct Selected {
    labels: Labels,
    first: u32,
}

/// A selection on its way.
pub(super) struct Selection<'a> {
    snapshot: &'a Snapshot,
    range: TimeRange,
    columns: RollupColumns,
    newest: bool,
    budget: &'a dyn Budget,
    sources: Vec<Source<'a>>,
    places: Vec<Place>,
    series: Vec<Selected>,
    /// By identity: the number of the series, and its last place.
    known: HashMap<Identity, (u32, u32), BuildHasherDefault<AsIs>>,
    charged: u64,
    /// What the budget is not told of yet.
    uncharged: u64,
}

impl<'a> Selection<'a> {
    /// Finds out which series match.
    pub(super) fn gather(
        snapshot: &'a Snapshot,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        budget: &'a dyn Budget,
    ) -> Result<Self, QueryError> {
        let columns = select.hints.rollups.map(|rollups| rollups.columns);
        let mut selection = Self {
            snapshot,
            range: select.range,
            columns: columns.unwrap_or(RollupColumns::ALL),
            newest: false,
            budget,
            sources: Vec::new(),
            places: Vec::new(),
            series: Vec::new(),
            known: HashMap::default(),
            charged: 0,
            uncharged: 0,
        };
        let choice = snapshot.choose(select);
        let chosen = snapshot.partitions.iter().zip(&choice.read);
        let chosen: Vec<_> = chosen
            .filter(|(handle, read)| **read && handle.times().overlaps(select.range))
            .map(|(handle, _)| handle)
            .collect();
        let held = chosen.len() <= HELD_MAX;
        // A bucket does not tell when its last sample is, so nothing can be left out beside it.
        let raw = |handle: &&Arc<PartitionHandle>| handle.entry.tier == Tier::Raw;
        selection.newest = select.hints.newest && chosen.iter().all(raw);
        for handle in chosen {
            selection.gather_partition(handle, held, select, wanted)?;
        }
        for part in snapshot
            .heads
            .iter()
            .filter(|part| touches(part, select.range))
        {
            let own = choice
                .closed
                .iter()
                .filter(|(shard, _)| *shard == part.shard);
            selection.gather_head(part, own.map(|(_, range)| *range).collect(), select, wanted)?;
        }
        Ok(selection)
    }

    fn gather_partition(
        &mut self,
        handle: &'a Arc<PartitionHandle>,
        held: bool,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
    ) -> Result<(), QueryError> {
        let number = self.next_source();
        self.sources.push(Source::Partition { handle, open: None });
        let gathered = open(handle).and_then(|(partition, mask)| {
            let matching = index::select(partition.index(), select.matchers)? - mask.gone();
            Ok((partition, mask, matching))
        });
        let (partition, mask, matching) = match gathered {
            Ok(gathered) => gathered,
            Err(error) => return self.snapshot.damaged(handle, &error),
        };
        self.expect(matching.len())?;
        let (mut labels, mut naming) = (partition.labels_reader(), Naming::new(wanted));
        for id in matching {
            // A damaged block costs the series in it, not the partition.
            match labels.named(id, &mut naming) {
                Ok(Some(named)) => self.add(number, id, named)?,
                Ok(None) => {}
                Err(error) => self.snapshot.series_damaged(handle, &partition, &error)?,
            }
        }
        drop(labels);
        if held && let Some(Source::Partition { open, .. }) = self.sources.last_mut() {
            *open = Some((partition, mask));
        }
        Ok(())
    }

    fn gather_head(
        &mut self,
        part: &'a HeadPart,
        hidden: Vec<TimeRange>,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
    ) -> Result<(), QueryError> {
        let number = self.next_source();
        self.sources.push(Source::Head {
            part,
            hidden,
            cache: Box::default(),
        });
        let matching = part.selected(select.matchers);
        self.expect(matching.len())?;
        let mut naming = Naming::new(wanted);
        part.index.each_named(&matching, &mut naming, |id, named| {
            self.add(number, id, named)
        })
    }

    /// Makes room for the series of a source, once that is charged; those of the second are mostly known.
    fn expect(&mut self, series: u64) -> Result<(), QueryError> {
        self.uncharged += series.saturating_mul(PLACE_BYTES);
        self.charge_up()?;
        let series = usize::try_from(series).unwrap_or(0);
        self.places.reserve(series);
        self.series
            .reserve(series.saturating_sub(self.series.len()));
        self.known.reserve(series.saturating_sub(self.known.len()));
        Ok(())
    }

    fn next_source(&self) -> u32 {
        u32::try_from(self.sources.len()).unwrap_or(NONE)
    }

    /// Notes that a source has a series.
    fn add(&mut self, source: u32, series: SeriesId, named: Named) -> Result<(), QueryError> {
        let place = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.places.push(Place {
            source,
            series,
            next: NONE,
        });
        let number = u32::try_from(self.series.len()).unwrap_or(NONE);
        let known = self.known.entry(named.identity).or_insert((number, place));
        if known.0 == number {
            self.series.push(Selected {
                labels: named.labels,
                first: place,
            });
        } else {
            self.places[known.1 as usize].next = place;
            known.1 = place;
        }
        self.uncharged += named.bytes;
        if self.uncharged >= CHARGED_TOGETHER {
            self.charge_up()?;
        }
        Ok(())
    }

    fn charge_up(&mut self) -> Result<(), QueryError> {
        let bytes = std::mem::take(&mut self.uncharged);
        self.charged += bytes;
        self.budget.charge(0, bytes)?;
        Ok(())
    }

    /// Puts the series in order of their labels.
    pub(super) fn sort(&mut self) {
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// Reads the series one after the other, until `visit` breaks. `kept`: what is visited stays charged.
    pub(super) fn read(
        mut self,
        kept: bool,
        mut visit: impl FnMut(SeriesData) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        self.known = HashMap::default();
        self.charge_up()?;
        let mut scratch = Scratch::default();
        let mut before = self.read_unheld(&mut scratch)?;
        let (mut samples, mut bytes) = (0, 0);
        for (count, Selected { labels, first }) in
            std::mem::take(&mut self.series).into_iter().enumerate()
        {
            if count % CHECK_EVERY == 0 {
                self.budget.check()?;
            }
            let runs = self.runs_of(first, &mut scratch, &mut before)?;
            bytes += runs.iter().map(bytes_of).sum::<u64>();
            let of_runs = runs
                .iter()
                .map(|run| run.segment.times.as_slice().len() as u64);
            samples += of_runs.sum::<u64>();
            if kept || bytes >= PASSING {
                self.budget.charge(samples, bytes)?;
                if !kept {
                    self.budget.release(bytes);
                }
                (samples, bytes) = (0, 0);
            }
            let mut segments = merge_runs(runs);
            segments.retain(has_rows);
            if any_within(&segments, self.range)
                && visit(SeriesData { labels, segments }).is_break()
            {
                break;
            }
        }
        self.budget.charge(samples, 0)?;
        if !kept {
            self.budget.release(self.charged);
        }
        Ok(())
    }

    /// Returns what all places of a series have.
    fn runs_of(
        &mut self,
        first: u32,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        let mut at = first;
        if let Some(Place {
            source,
            series,
            next: NONE,
        }) = self.places.get(at as usize)
        {
            return self.runs_at(at, (*source, *series), scratch, before);
        }
        if self.newest {
            return self.newest_of(first, scratch, before);
        }
        let mut runs = Vec::new();
        while let Some(Place {
            source,
            series,
            next,
        }) = self.places.get(at as usize)
        {
            let (source, series, next) = (*source, *series, *next);
            let read = self.runs_at(at, (source, series), scratch, before)?;
            if runs.is_empty() {
                runs = read;
            } else {
                runs.extend(read);
            }
            at = next;
        }
        Ok(runs)
    }

    /// The same, for whoever looks at the newest sample only: from the youngest source on, as long as one may have a newer sample than those
    /// before.
    fn newest_of(
        &mut self,
        first: u32,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        let mut chain = Vec::new();
        let mut at = first;
        while let Some(place) = self.places.get(at as usize) {
            chain.push((at, place.source, place.series));
            at = place.next;
        }
        let mut runs: Vec<Arrived> = Vec::new();
        let mut newest = TimestampMs::MIN;
        for (at, source, series) in chain.into_iter().rev() {
            if self.sources[source as usize].end() < newest {
                continue;
            }
            let read = self.runs_at(at, (source, series), scratch, before)?;
            let segments = read.iter().map(|run| &run.segment);
            newest = segments
                .filter_map(|segment| last_present(segment, self.range.end))
                .fold(newest, Ord::max);
            if runs.is_empty() {
                runs = read;
            } else {
                runs.extend(read);
            }
        }
        Ok(runs)
    }

    /// Returns what one place of a series has.
    fn runs_at(
        &mut self,
        at: u32,
        (source, series): (u32, SeriesId),
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        let range = self.range;
        Ok(match &mut self.sources[source as usize] {
            Source::Partition {
                handle,
                open: Some((partition, mask)),
            } => match partition.read_columns(series, range, self.columns, scratch) {
                Ok(read) => mask.apply(series, read),
                Err(error) => {
                    self.snapshot.series_damaged(handle, partition, &error)?;
                    Vec::new()
                }
            },
            Source::Partition { open: None, .. } => before.remove(&at).unwrap_or_default(),
            Source::Head {
                part,
                hidden,
                cache,
            } => {
                if self.newest && hidden.is_empty() {
                    part.head.read_newest(series, part.until, range, cache)
                } else {
                    without(part.head.read(series, part.until, range, cache), hidden)
                }
            }
        })
    }

    /// Reads what lies in partitions that are not kept open, by place.
    fn read_unheld(
        &mut self,
        scratch: &mut Scratch,
    ) -> Result<HashMap<u32, Vec<Arrived>>, QueryError> {
        let mut read = HashMap::new();
        let mut held: Option<(u32, Option<Opened>)> = None;
        for (at, Place { source, series, .. }) in (0..).zip(&self.places) {
            let Source::Partition { handle, open: None } = &self.sources[*source as usize] else {
                continue;
            };
            if held.as_ref().is_none_or(|(held, ..)| held != source) {
                self.budget.check()?;
                let opened = match open(handle) {
                    Ok(opened) => Some(opened),
                    Err(error) => {
                        self.snapshot.damaged(handle, &error)?;
                        None
                    }
                };
                held = Some((*source, opened));
            }
            let Some((_, Some((partition, mask)))) = &held else {
                continue;
            };
            match partition.read_columns(*series, self.range, self.columns, scratch) {
                Ok(runs) => {
                    let runs = mask.apply(*series, runs);
                    let bytes: u64 = runs.iter().map(bytes_of).sum();
                    self.charged += bytes;
                    self.budget.charge(0, bytes)?;
                    read.insert(at, runs);
                }
                Err(error) => self.snapshot.series_damaged(handle, partition, &error)?,
            }
        }
        Ok(read)
    }
}

fn open(handle: &PartitionHandle) -> Result<Opened, PartitionError> {
    let partition = handle.get()?;
    let mask = handle.mask(&partition)?;
    Ok((partition, mask))
}
