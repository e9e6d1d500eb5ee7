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
use storage::{Budget, QueryError, RollupColumns, Samples, Segment, Select, Visit, WantedLabels};

use super::{
    CHECK_EVERY, HeadPart, SAMPLE_BYTES, Snapshot, any_within, bytes_of, has_rows, rows_of,
    touches, without,
};
use crate::catalogue::Tier;
use crate::deletes::Mask;
use crate::hashing::AsIs;
use crate::head::SeriesReader;
use crate::index::{self, Identity, Named, Naming, SeriesId};
use crate::merge_runs::{Arrived, merge_runs};
use crate::page::Scratch;
use crate::partition::{Partition, PartitionError, PlainReader};
use crate::partitions::PartitionHandle;
use crate::plain::{Appended, NotPlain, PlainSeries};

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
        plain: PlainReader,
    },
    Head {
        part: &'a HeadPart,
        hidden: Vec<TimeRange>,
        reader: Box<SeriesReader<'a>>,
        /// The first of its places; they are all in a row, in the order of the reader's series.
        first: u32,
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

/// A series in one source; the places of a series are a chain, from the oldest source to the youngest.
struct Place {
    source: u32,
    series: SeriesId,
    next: u32,
}

/// A selected series.
struct Selected {
    identity: Identity,
    labels: Labels,
    first: u32,
}

/// Tells a budget of samples on their way through: of many series at once, and gives back what was not kept.
struct Passing<'a> {
    budget: &'a dyn Budget,
    kept: bool,
    samples: u64,
    bytes: u64,
}

impl Passing<'_> {
    fn pass(&mut self, samples: u64, bytes: u64) -> Result<(), QueryError> {
        self.samples += samples;
        self.bytes += bytes;
        if self.kept || self.bytes >= PASSING {
            let (samples, bytes) = (self.samples, self.bytes);
            (self.samples, self.bytes) = (0, 0);
            self.budget.charge(samples, bytes)?;
            if !self.kept {
                self.budget.release(bytes);
            }
        }
        Ok(())
    }
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
    /// The numbers of the series, by half of their identity: small entries, of which a query goes through many. A second series of one half
    /// stands at the next free number.
    known: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
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
        // From the youngest on, so that series without an order of their own come in that of the rows in memory: neighbours lie together.
        let heads = snapshot.heads.iter().rev();
        for part in heads.filter(|part| touches(part, select.range)) {
            let own = choice
                .closed
                .iter()
                .filter(|(shard, _)| *shard == part.shard);
            selection.gather_head(part, own.map(|(_, range)| *range).collect(), select, wanted)?;
        }
        for handle in chosen.into_iter().rev() {
            selection.gather_partition(handle, held, select, wanted)?;
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
        self.sources.push(Source::Partition {
            handle,
            open: None,
            plain: PlainReader::default(),
        });
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
        let first = self.places.len();
        let matching = part.selected(select.matchers);
        self.expect(matching.len())?;
        let mut naming = Naming::new(wanted);
        part.index.each_named(&matching, &mut naming, |id, named| {
            self.add(number, id, named)
        })?;
        let series = self.places[first..].iter().map(|place| place.series);
        let reader = SeriesReader::new(&part.head, part.until, self.range, series.collect());
        self.sources.push(Source::Head {
            part,
            hidden,
            reader: Box::new(reader),
            first: u32::try_from(first).unwrap_or(NONE),
        });
        Ok(())
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

    /// Notes that a source, older than those before, has a series.
    fn add(&mut self, source: u32, series: SeriesId, named: Named) -> Result<(), QueryError> {
        let place = u32::try_from(self.places.len()).unwrap_or(NONE);
        let new = u32::try_from(self.series.len()).unwrap_or(NONE);
        let number = self.number(named.identity, new);
        let next = match self.series.get_mut(number as usize) {
            Some(known) => std::mem::replace(&mut known.first, place),
            None => {
                self.series.push(Selected {
                    identity: named.identity,
                    labels: named.labels,
                    first: place,
                });
                NONE
            }
        };
        self.places.push(Place {
            source,
            series,
            next,
        });
        self.uncharged += named.bytes;
        if self.uncharged >= CHARGED_TOGETHER {
            self.charge_up()?;
        }
        Ok(())
    }

    /// Returns the number of the series with this identity: `new`, which is the next one, if it was not there.
    fn number(&mut self, identity: Identity, new: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the half is meant")]
        let mut half = identity as u64;
        loop {
            let number = *self.known.entry(half).or_insert(new);
            match self.series.get(number as usize) {
                Some(other) if other.identity != identity => half = half.wrapping_add(1),
                _ => return number,
            }
        }
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
    pub(super) fn read(mut self, kept: bool, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        self.known = HashMap::default();
        self.charge_up()?;
        let mut scratch = Scratch::default();
        let mut before = self.read_unheld(&mut scratch)?;
        let mut plain = PlainSeries::new(self.range);
        let mut passing = Passing {
            budget: self.budget,
            kept,
            samples: 0,
            bytes: 0,
        };
        for (count, Selected { labels, first, .. }) in
            std::mem::take(&mut self.series).into_iter().enumerate()
        {
            if count % CHECK_EVERY == 0 {
                self.budget.check()?;
            }
            let found = match self.append_plain(first, &mut scratch, &mut plain) {
                Appended::Plain => plain.finish(),
                Appended::Nothing => Ok(None),
                Appended::Other => Err(NotPlain),
            };
            let flow = match found {
                Ok(Some((times, values))) => {
                    let rows = values.len() as u64;
                    passing.pass(rows, rows * SAMPLE_BYTES)?;
                    visit(labels, Samples::Plain { times, values })
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(NotPlain) => {
                    let runs = self.runs_of(first, &mut scratch, &mut before)?;
                    passing.pass(rows_of(&runs), runs.iter().map(bytes_of).sum())?;
                    let mut segments = merge_runs(runs);
                    segments.retain(has_rows);
                    if any_within(&segments, self.range) {
                        visit(labels, Samples::Segments(&segments))
                    } else {
                        ControlFlow::Continue(())
                    }
                }
            };
            if flow.is_break() {
                break;
            }
        }
        self.budget.charge(passing.samples, 0)?;
        if !kept {
            self.budget.release(self.charged);
        }
        Ok(())
    }

    /// Appends what all places of a series have, if all of it is plain; for whoever looks at the newest sample only, that one alone where
    /// it is found without reading others.
    fn append_plain(
        &mut self,
        first: u32,
        scratch: &mut Scratch,
        out: &mut PlainSeries,
    ) -> Appended {
        out.begin();
        if self.newest && self.append_newest(first, out) {
            return Appended::Plain;
        }
        out.begin();
        let mut appended = Appended::Nothing;
        let mut at = first;
        while let Some(place) = self.places.get(at as usize) {
            let here = match &mut self.sources[place.source as usize] {
                Source::Partition {
                    open: Some((partition, mask)),
                    plain,
                    ..
                } if !mask.hides(place.series) => {
                    plain.append(partition, place.series, self.range, scratch, out)
                }
                Source::Head {
                    hidden,
                    reader,
                    first,
                    ..
                } if hidden.is_empty() => reader.append_plain((at - *first) as usize, out),
                Source::Partition { .. } | Source::Head { .. } => Appended::Other,
            };
            match here {
                Appended::Other => return Appended::Other,
                Appended::Plain => appended = Appended::Plain,
                Appended::Nothing => {}
            }
            at = place.next;
        }
        appended
    }

    /// Appends the newest sample of a series, if it is plain, in the youngest source, and newer than all that the others may have.
    fn append_newest(&mut self, first: u32, out: &mut PlainSeries) -> bool {
        let (mut at, mut others) = (first, TimestampMs::MIN);
        let Some(mut place) = self.places.get(at as usize) else {
            return false;
        };
        while let Some(younger) = self.places.get(place.next as usize) {
            others = others.max(self.sources[place.source as usize].end());
            (at, place) = (place.next, younger);
        }
        match &mut self.sources[place.source as usize] {
            Source::Head {
                hidden,
                reader,
                first,
                ..
            } if hidden.is_empty() => {
                let newest = reader.append_newest((at - *first) as usize, out);
                newest.is_some_and(|newest| newest > others)
            }
            Source::Partition { .. } | Source::Head { .. } => false,
        }
    }

    /// Returns what all places of a series have.
    fn runs_of(
        &mut self,
        first: u32,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        if self.newest {
            return self.newest_of(first, scratch, before);
        }
        let mut runs = Vec::new();
        let mut at = first;
        while let Some(place) = self.places.get(at as usize) {
            let (here, next) = ((place.source, place.series), place.next);
            runs.extend(self.runs_at(at, here, scratch, before)?);
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
                ..
            } => match partition.read_columns(series, range, self.columns, scratch) {
                Ok(read) => mask.apply(series, read),
                Err(error) => {
                    self.snapshot.series_damaged(handle, partition, &error)?;
                    Vec::new()
                }
            },
            Source::Partition { open: None, .. } => before.remove(&at).unwrap_or_default(),
            Source::Head {
                hidden,
                reader,
                first,
                ..
            } => {
                let number = (at - *first) as usize;
                if self.newest && hidden.is_empty() {
                    reader.read_newest(number)
                } else {
                    without(reader.read(number), hidden)
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
            let Source::Partition {
                handle, open: None, ..
            } = &self.sources[*source as usize]
            else {
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
