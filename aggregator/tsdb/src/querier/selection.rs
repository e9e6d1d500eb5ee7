//! What a selection reads: series by series, each from all places that have something of it.
//!
//! 1. Every source (heads, then partitions, from the youngest on) gives the identities of the series that match. Series of one identity are
//!    one series with several places ([`gathered`](super::gathered)), and its youngest place gives the labels that are wanted. Nothing of
//!    their samples is read.
//! 2. Series by series, what its places have goes to whoever asked. Nearly all are plain: their pieces are appended to one buffer
//!    ([`PlainSeries`]). Of the others runs are read and merged. So a selection holds the samples of one series, whatever it goes through.
//!    (Of more than [`HELD_MAX`] partitions not all are kept open for that: those are read one after the other, and their runs held.)

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{TimeRange, TimestampMs};
use storage::{Budget, QueryError, RollupColumns, Samples, Segment, Select, Visit, WantedLabels};

use super::gathered::{Gathered, Gathering, Located, PLACE_BYTES};
use super::{
    CHECK_EVERY, HeadPart, SAMPLE_BYTES, Snapshot, any_within, bytes_of, has_rows, rows_of,
    touches, without,
};
use crate::catalogue::Tier;
use crate::deletes::Mask;
use crate::head::SeriesReader;
use crate::index::{self, Identities, Named, Naming, SeriesId, Watched};
use crate::merge_runs::{Arrived, merge_runs};
use crate::page::Scratch;
use crate::partition::{Partition, PartitionError, PlainReader};
use crate::partitions::PartitionHandle;
use crate::plain::{Appended, NotPlain, PlainSeries};

/// Partitions that a selection keeps open; tests have few.
const HELD_MAX: usize = if cfg!(test) { 2 } else { 64 };
/// Bytes of label sets that are charged together.
const CHARGED_TOGETHER: u64 = 64 * 1024;
/// Samples that are charged together, in bytes, when they are given back behind each series: a budget is that little off.
const PASSING: u64 = 256 * 1024;

/// A partition, and what of it is deleted.
type Opened = (Arc<Partition>, Arc<Mask>);

/// What a source has of the selected series.
enum Source<'a> {
    Partition {
        handle: &'a Arc<PartitionHandle>,
        /// `None`: opened when it is read.
        open: Option<Opened>,
        plain: PlainReader,
        /// When each of its series that were gathered ends, in that order, once somebody asked.
        ends: Option<Vec<TimestampMs>>,
    },
    Head {
        part: &'a HeadPart,
        hidden: Vec<TimeRange>,
        /// Of its series that were gathered, in that order.
        reader: Box<SeriesReader<'a>>,
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

    /// Returns whether it is known that all it has of one of its `series` is older than `time`. In a partition all are looked at together, in
    /// its own order: one by one, in another, was a third of the time of counting them.
    fn ends_before(&mut self, nth: usize, series: &[SeriesId], time: TimestampMs) -> bool {
        match self {
            Self::Partition {
                open: Some((partition, _)),
                plain,
                ends,
                ..
            } => {
                let end_of = |id: &SeriesId| {
                    let end = plain.end_of(partition, *id);
                    end.unwrap_or(TimestampMs::MAX)
                };
                let ends = ends.get_or_insert_with(|| series.iter().map(end_of).collect());
                ends.get(nth).is_some_and(|end| *end < time)
            }
            Self::Partition { .. } | Self::Head { .. } => false,
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
    /// By source: the time of the last sample that it may have.
    ends: Vec<TimestampMs>,
    series: Gathered,
    /// What the label sets and tables take.
    charged: u64,
}

/// Tells a budget what label sets and tables take, some of them together.
struct Charged<'a> {
    budget: &'a dyn Budget,
    charged: u64,
    /// What the budget is not told of yet.
    uncharged: u64,
}

impl Charged<'_> {
    fn add(&mut self, bytes: u64) -> Result<(), QueryError> {
        self.uncharged += bytes;
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
}

/// Series that are gathered.
struct Gatherer<'a, 's> {
    snapshot: &'a Snapshot,
    select: &'s Select<'s>,
    series: Gathering,
    charged: Charged<'a>,
}

impl<'a> Selection<'a> {
    /// Finds out which series match.
    pub(super) fn gather(
        snapshot: &'a Snapshot,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        budget: &'a dyn Budget,
    ) -> Result<Self, QueryError> {
        let choice = snapshot.choose(select);
        let chosen = snapshot.partitions.iter().zip(&choice.read);
        let mut chosen: Vec<_> = chosen
            .filter(|(handle, read)| **read && handle.times().overlaps(select.range))
            .map(|(handle, _)| handle)
            .collect();
        chosen.sort_by_key(|handle| handle.times().start);
        let held = chosen.len() <= HELD_MAX;
        // A bucket does not tell when its last sample is, so nothing can be left out beside it.
        let raw = |handle: &&Arc<PartitionHandle>| handle.entry.tier == Tier::Raw;
        let newest = select.hints.newest && chosen.iter().all(raw);
        let mut gatherer = Gatherer {
            snapshot,
            select,
            series: Gathering::default(),
            charged: Charged {
                budget,
                charged: 0,
                uncharged: 0,
            },
        };
        let mut sources = Vec::new();
        // From the youngest on, so that series without an order of their own come in that of the rows in memory: neighbours lie together.
        let heads = snapshot.heads.iter().rev();
        for part in heads.filter(|part| touches(part, select.range)) {
            let own = choice
                .closed
                .iter()
                .filter(|(shard, _)| *shard == part.shard);
            let hidden = own.map(|(_, range)| *range).collect();
            sources.push(gatherer.add_head(part, hidden)?);
        }
        for handle in chosen.into_iter().rev() {
            let open = gatherer.add_partition(handle)?;
            sources.push(Source::Partition {
                handle,
                open: open.filter(|_| held),
                plain: PlainReader::default(),
                ends: None,
            });
        }
        let mut charged = gatherer.charged;
        let mut series = gatherer.series.finish();
        for (number, source) in sources.iter().enumerate() {
            let unnamed = series.unnamed(number);
            let mut naming = Naming::new(wanted);
            let mut add = |named: Option<Named>| {
                charged.add(named.as_ref().map_or(0, |named| named.bytes))?;
                series.add_labels(named.map(|named| named.labels));
                Ok(())
            };
            match source {
                Source::Head { part, .. } => {
                    let unnamed = unnamed.iter().copied();
                    part.index
                        .each_named(unnamed, &mut naming, |named| add(Some(named)))?;
                }
                Source::Partition { handle, open, .. } => {
                    name_in_partition(snapshot, handle, open.as_ref(), &unnamed, naming, add)?;
                }
            }
        }
        charged.charge_up()?;
        let columns = select.hints.rollups.map(|rollups| rollups.columns);
        Ok(Self {
            snapshot,
            range: select.range,
            columns: columns.unwrap_or(RollupColumns::ALL),
            newest,
            budget,
            ends: sources.iter().map(Source::end).collect(),
            sources,
            series,
            charged: charged.charged,
        })
    }

    /// Puts the series in order of their labels.
    pub(super) fn sort(&mut self) {
        self.series.sort();
    }

    /// Reads the series one after the other, until `visit` breaks. `kept`: what is visited stays charged.
    pub(super) fn read(mut self, kept: bool, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let mut scratch = Scratch::default();
        let mut before = self.read_unheld(&mut scratch)?;
        let mut plain = PlainSeries::new(self.range);
        let mut passing = Passing {
            budget: self.budget,
            kept,
            samples: 0,
            bytes: 0,
        };
        for index in 0..self.series.len() {
            if index % CHECK_EVERY == 0 {
                self.budget.check()?;
            }
            let number = self.series.at(index);
            let Some(labels) = self.series.take_labels(number) else {
                continue;
            };
            let found = match self.append_plain(number, &mut scratch, &mut plain) {
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
                    let runs = self.runs_of(number, &mut scratch, &mut before)?;
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
        number: usize,
        scratch: &mut Scratch,
        out: &mut PlainSeries,
    ) -> Appended {
        out.begin();
        if self.newest && self.append_newest(number, out) {
            return Appended::Plain;
        }
        out.begin();
        let mut appended = Appended::Nothing;
        for at in self.series.places_of(number) {
            let place = self.series.place(*at);
            let here = match &mut self.sources[place.source] {
                Source::Partition {
                    open: Some((partition, mask)),
                    plain,
                    ..
                } if !mask.hides(place.series) => {
                    plain.append(partition, place.series, self.range, scratch, out)
                }
                Source::Head { hidden, reader, .. } if hidden.is_empty() => {
                    reader.append_plain(place.nth, out)
                }
                Source::Partition { .. } | Source::Head { .. } => Appended::Other,
            };
            match here {
                Appended::Other => return Appended::Other,
                Appended::Plain => appended = Appended::Plain,
                Appended::Nothing => {}
            }
        }
        appended
    }

    /// Appends the newest sample of a series, if it is plain, in the youngest source, and newer than all that the others may have.
    fn append_newest(&mut self, number: usize, out: &mut PlainSeries) -> bool {
        let Self {
            series,
            sources,
            ends,
            ..
        } = self;
        let Some((youngest, others)) = series.places_of(number).split_last() else {
            return false;
        };
        let place = series.place(*youngest);
        let newest = match &mut sources[place.source] {
            Source::Head { hidden, reader, .. } if hidden.is_empty() => {
                reader.append_newest(place.nth, out)
            }
            Source::Partition { .. } | Source::Head { .. } => None,
        };
        newest.is_some_and(|newest| {
            others.iter().all(|at| {
                let source = series.source_of(*at);
                // Most sources end before; few files end with a row that others have not come to yet.
                ends[source] < newest
                    || sources[source].ends_before(
                        series.place(*at).nth,
                        series.of_source(source),
                        newest,
                    )
            })
        })
    }

    /// Returns what all places of a series have.
    fn runs_of(
        &mut self,
        number: usize,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        if self.newest {
            return self.newest_of(number, scratch, before);
        }
        let mut runs = Vec::new();
        for nth in 0..self.series.places_of(number).len() {
            let at = self.series.places_of(number)[nth];
            runs.extend(self.runs_at(at, scratch, before)?);
        }
        Ok(runs)
    }

    /// The same, for whoever looks at the newest sample only: from the youngest source on, as long as one may have a newer sample than those
    /// before.
    fn newest_of(
        &mut self,
        number: usize,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        let mut runs: Vec<Arrived> = Vec::new();
        let mut newest = TimestampMs::MIN;
        for nth in (0..self.series.places_of(number).len()).rev() {
            let at = self.series.places_of(number)[nth];
            if self.ends[self.series.source_of(at)] < newest {
                continue;
            }
            let read = self.runs_at(at, scratch, before)?;
            let segments = read.iter().map(|run| &run.segment);
            newest = segments
                .filter_map(|segment| last_present(segment, self.range.end))
                .fold(newest, Ord::max);
            runs.extend(read);
        }
        Ok(runs)
    }

    /// Returns what one place of a series has.
    fn runs_at(
        &mut self,
        at: u32,
        scratch: &mut Scratch,
        before: &mut HashMap<u32, Vec<Arrived>>,
    ) -> Result<Vec<Arrived>, QueryError> {
        let Located {
            source,
            series,
            nth,
        } = self.series.place(at);
        let range = self.range;
        Ok(match &mut self.sources[source] {
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
            Source::Head { hidden, reader, .. } => {
                if self.newest && hidden.is_empty() {
                    reader.read_newest(nth)
                } else {
                    without(reader.read(nth), hidden)
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
        let mut held: Option<(usize, Option<Opened>)> = None;
        for at in 0..self.series.places() {
            let Located { source, series, .. } = self.series.place(at);
            let Source::Partition {
                handle, open: None, ..
            } = &self.sources[source]
            else {
                continue;
            };
            if held.as_ref().is_none_or(|(held, ..)| *held != source) {
                self.budget.check()?;
                let opened = match open(handle) {
                    Ok(opened) => Some(opened),
                    Err(error) => {
                        self.snapshot.damaged(handle, &error)?;
                        None
                    }
                };
                held = Some((source, opened));
            }
            let Some((_, Some((partition, mask)))) = &held else {
                continue;
            };
            match partition.read_columns(series, self.range, self.columns, scratch) {
                Ok(runs) => {
                    let runs = mask.apply(series, runs);
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

impl<'a> Gatherer<'a, '_> {
    /// Begins a source, once room for its series is charged.
    fn begin_source(&mut self, series: u64) -> Result<(), QueryError> {
        self.charged.uncharged += series.saturating_mul(PLACE_BYTES);
        self.charged.charge_up()?;
        self.series
            .begin_source(usize::try_from(series).unwrap_or(0));
        Ok(())
    }

    /// Gathers the series of a head, as the next source.
    fn add_head(
        &mut self,
        part: &'a HeadPart,
        hidden: Vec<TimeRange>,
    ) -> Result<Source<'a>, QueryError> {
        let matching = part.selected(self.select.matchers, self.charged.budget)?;
        self.begin_source(matching.len())?;
        part.index
            .each_identity(&matching, |id, identity| self.series.add(id, identity));
        let ids = self.series.of_source().to_vec();
        let reader = SeriesReader::new(&part.head, part.until, self.select.range, ids);
        Ok(Source::Head {
            part,
            hidden,
            reader: Box::new(reader),
        })
    }

    /// Gathers the series of a partition, as the next source; returns it open, unless it is damaged.
    fn add_partition(&mut self, handle: &PartitionHandle) -> Result<Option<Opened>, QueryError> {
        let gathered = open(handle).and_then(|(partition, mask)| {
            let index = Watched::new(partition.index(), self.charged.budget);
            let matching = index::select(&index, self.select.matchers)? - mask.gone();
            Ok((partition, mask, matching))
        });
        self.charged.budget.check()?;
        let (partition, mask, matching) = match gathered {
            Ok(gathered) => gathered,
            Err(error) => {
                self.begin_source(0)?;
                return self.snapshot.damaged(handle, &error).map(|()| None);
            }
        };
        self.begin_source(matching.len())?;
        let (mut labels, mut identities) = (partition.labels_reader(), Identities::default());
        for id in matching {
            // A damaged block costs the series in it, not the partition.
            match labels.identity(id, &mut identities) {
                Ok(Some(identity)) => self.series.add(id, identity),
                Ok(None) => {}
                Err(error) => self.snapshot.series_damaged(handle, &partition, &error)?,
            }
        }
        drop(labels);
        Ok(Some((partition, mask)))
    }
}

/// Gives `add` the labels of these series of a partition, which is opened once more if it was not kept open; `None` for what cannot be read.
fn name_in_partition(
    snapshot: &Snapshot,
    handle: &PartitionHandle,
    kept: Option<&Opened>,
    series: &[SeriesId],
    mut naming: Naming<'_>,
    mut add: impl FnMut(Option<Named>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    if series.is_empty() {
        return Ok(());
    }
    let opened = kept.map_or_else(|| open(handle), |kept| Ok(kept.clone()));
    let partition = match opened {
        Ok((partition, _)) => partition,
        Err(error) => {
            snapshot.damaged(handle, &error)?;
            return series.iter().try_for_each(|_| add(None));
        }
    };
    let mut labels = partition.labels_reader();
    for id in series {
        let named = match labels.named(*id, &mut naming) {
            Ok(named) => named,
            Err(error) => {
                snapshot.series_damaged(handle, &partition, &error)?;
                None
            }
        };
        add(named)?;
    }
    Ok(())
}

fn open(handle: &PartitionHandle) -> Result<Opened, PartitionError> {
    let partition = handle.get()?;
    let mask = handle.mask(&partition)?;
    Ok((partition, mask))
}
