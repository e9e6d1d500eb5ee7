//! What a selection reads: series by series, each from all places that have something of it.
//!
//! 1. Every source (heads, then partitions, from the youngest on) gives the identities of the series that match. Series of one identity are
//!    one series with several places ([`gathered`](super::gathered)), and its youngest place gives the labels that are wanted. Nothing of
//!    their samples is read.
//! 2. Series by series, what its places have goes to whoever asked. Nearly all are plain: their pieces are appended to one buffer
//!    ([`PlainSeries`]). Of the others runs are read and merged. So a selection holds the samples of one series, whatever it goes through.
//!    (Of more than [`HELD_MAX`] partitions not all are kept open for that: those are read one after the other, and their runs held.)

use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::{TimeRange, TimestampMs};
use storage::{
    Budget, QueryError, RollupColumns, Samples, Segment, Select, Selection, SelectionReader, Visit,
    WantedLabels,
};

use super::gathered::{Gathered, Gathering, Located, PLACE_BYTES};
use super::{
    CHECK_EVERY, HeadPart, SAMPLE_BYTES, Snapshot, any_within, bytes_of, has_rows, rows_of, touches,
};
use crate::catalogue::Tier;
use crate::deletes::Mask;
use crate::head::{HeadSeries, SeriesReader};
use crate::index::{self, Identities, Named, Naming, SeriesId, Watched};
use crate::merge_runs::{Arrival, Arrived, merge_runs};
use crate::page::Scratch;
use crate::partition::{Partition, PartitionError, PartitionReader};
use crate::partitions::PartitionHandle;
use crate::plain::{Appended, NotPlain, PlainSeries};
use crate::tier::{day_of, day_range};

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
        /// When each of its series that were gathered ends, in that order, once somebody asked.
        ends: OnceLock<Vec<TimestampMs>>,
    },
    Head {
        part: &'a HeadPart,
        /// Those of its series that were gathered, in that order.
        series: HeadSeries<'a>,
    },
}

/// Reads a source.
enum SourceReader<'s> {
    Partition(PartitionReader),
    Head(Box<SeriesReader<'s>>),
}

impl Source<'_> {
    fn shard(&self) -> u16 {
        match self {
            Self::Partition { handle, .. } => handle.entry.shard,
            Self::Head { part, .. } => part.shard,
        }
    }

    /// Returns the times between which all its samples lie; `None`: it has none.
    fn times(&self) -> Option<TimeRange> {
        match self {
            Self::Partition { handle, .. } => Some(handle.times()),
            Self::Head { part, .. } => part.head.times(),
        }
    }

    /// Returns the time of the last sample that it may have.
    fn end(&self) -> TimestampMs {
        self.times().map_or(TimestampMs::MIN, |times| times.end)
    }

    /// Returns the day that it sums up, if it is a tier.
    fn summed_up(&self) -> Option<i64> {
        match self {
            Self::Partition { handle, .. } if handle.entry.tier != Tier::Raw => {
                Some(day_of(&handle.entry))
            }
            Self::Partition { .. } | Self::Head { .. } => None,
        }
    }

    /// Returns whether it is known that all it has of one of its `series` is older than `time`. In a partition all are looked at together, in
    /// its own order: one by one, in another, was a third of the time of counting them.
    fn ends_before(&self, nth: usize, series: &[SeriesId], time: TimestampMs) -> bool {
        match self {
            Self::Partition {
                open: Some((partition, _)),
                ends,
                ..
            } => {
                let ends = ends.get_or_init(|| {
                    let mut reader = PartitionReader::default();
                    let mut end_of = |id: &SeriesId| {
                        let end = reader.end_of(partition, *id);
                        end.unwrap_or(TimestampMs::MAX)
                    };
                    series.iter().map(&mut end_of).collect()
                });
                ends.get(nth).is_some_and(|end| *end < time)
            }
            Self::Partition { .. } | Self::Head { .. } => false,
        }
    }

    fn reader(&self) -> SourceReader<'_> {
        match self {
            Self::Partition { .. } => SourceReader::Partition(PartitionReader::default()),
            Self::Head { series, .. } => SourceReader::Head(Box::new(SeriesReader::new(series))),
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

/// Series that were found, and where they lie.
pub(super) struct Selected<'a> {
    snapshot: &'a Snapshot,
    range: TimeRange,
    columns: RollupColumns,
    newest: bool,
    budget: &'a dyn Budget,
    /// Whether what is read stays charged.
    kept: bool,
    sources: Vec<Source<'a>>,
    /// By source: the time of the last sample that it may have.
    ends: Vec<TimestampMs>,
    series: Gathered,
    /// What lies in partitions that are not kept open, by place, until it is read.
    unheld: Mutex<HashMap<u32, Vec<Arrived>>>,
    /// What the label sets, tables and runs of those partitions take.
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

impl<'a> Selected<'a> {
    /// Finds out which series match. `kept`: what is read stays charged.
    pub(super) fn gather(
        snapshot: &'a Snapshot,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        (budget, kept): (&'a dyn Budget, bool),
    ) -> Result<Self, QueryError> {
        let mut exact = BTreeSet::new();
        loop {
            let of = (select, &exact);
            let mut selected = Self::gather_from(snapshot, of, wanted, (budget, kept))?;
            let torn = selected.torn_days()?;
            if torn.is_subset(&exact) {
                selected.read_unheld()?;
                return Ok(selected);
            }
            exact.extend(torn);
            // It goes, and what it took with it.
            selected.kept = false;
        }
    }

    /// Does so with the samples, as far as they are there, of the days `exact`.
    fn gather_from(
        snapshot: &'a Snapshot,
        (select, exact): (&Select<'_>, &BTreeSet<i64>),
        wanted: WantedLabels<'_>,
        (budget, kept): (&'a dyn Budget, bool),
    ) -> Result<Self, QueryError> {
        let any = select.range.start <= select.range.end;
        let chosen = snapshot.choose(select, exact);
        let chosen = snapshot.partitions.iter().zip(chosen);
        let mut chosen: Vec<_> = chosen
            .filter(|(handle, read)| *read && any && handle.times().overlaps(select.range))
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
        for part in heads.filter(|part| any && touches(part, select.range)) {
            sources.push(gatherer.add_head(part)?);
        }
        for handle in chosen.into_iter().rev() {
            let open = gatherer.add_partition(handle)?;
            sources.push(Source::Partition {
                handle,
                open: open.filter(|_| held),
                ends: OnceLock::new(),
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
        if let WantedLabels::All = wanted {
            series.sort();
        }
        Ok(Self {
            snapshot,
            range: select.range,
            columns: columns.unwrap_or(RollupColumns::ALL),
            newest,
            budget,
            kept,
            ends: sources.iter().map(Source::end).collect(),
            sources,
            series,
            unheld: Mutex::default(),
            charged: charged.charged,
        })
    }

    /// Returns the days of which a tier is read that has a series which lies on another shard on that day, too: of summaries of samples that
    /// alternate no one of all of them can be made.
    fn torn_days(&self) -> Result<BTreeSet<i64>, QueryError> {
        let mut torn = BTreeSet::new();
        let shards: Vec<u16> = self.sources.iter().map(Source::shard).collect();
        let days: Vec<Option<i64>> = self.sources.iter().map(Source::summed_up).collect();
        if days.iter().all(Option::is_none) || shards.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(torn);
        }
        for number in 0..self.series.len() {
            if number % CHECK_EVERY == 0 {
                self.budget.check()?;
            }
            let places = self.series.places_of(number).iter();
            let sources = places.map(|at| self.series.source_of(*at));
            let mut on = sources.clone().map(|source| shards[source]);
            // Nearly all lie on one.
            let first = on.next();
            if on.all(|shard| Some(shard) == first) {
                continue;
            }
            for (tier, day) in sources.clone().filter_map(|at| Some((at, days[at]?))) {
                let elsewhere = |other: usize| {
                    let times = self.sources[other].times();
                    let within = times.is_some_and(|times| times.overlaps(day_range(day)));
                    shards[other] != shards[tier] && within
                };
                if sources.clone().any(elsewhere) {
                    torn.insert(day);
                }
            }
        }
        Ok(torn)
    }

    /// Reads what lies in partitions that are not kept open, by place.
    fn read_unheld(&mut self) -> Result<(), QueryError> {
        let mut scratch = Scratch::default();
        let mut read = HashMap::new();
        let mut held: Option<(usize, Option<Opened>, PartitionReader)> = None;
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
                held = Some((source, opened, PartitionReader::default()));
            }
            let Some((_, Some((partition, mask)), reader)) = &mut held else {
                continue;
            };
            match reader.read(partition, series, self.range, self.columns, &mut scratch) {
                Ok(runs) => {
                    let runs = arrived(handle, mask.apply(series, runs));
                    let bytes: u64 = runs.iter().map(bytes_of).sum();
                    self.charged += bytes;
                    self.budget.charge(0, bytes)?;
                    read.insert(at, runs);
                }
                Err(error) => self.snapshot.series_damaged(handle, partition, &error)?,
            }
        }
        self.unheld = Mutex::new(read);
        Ok(())
    }
}

impl Drop for Selected<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.budget.release(self.charged);
        }
    }
}

impl Selection for Selected<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn reader(&self) -> Box<dyn SelectionReader + '_> {
        Box::new(Reader {
            of: self,
            sources: self.sources.iter().map(Source::reader).collect(),
            scratch: Scratch::default(),
            plain: PlainSeries::new(self.range),
        })
    }
}

/// Reads series of a selection, on one thread.
struct Reader<'s, 'a> {
    of: &'s Selected<'a>,
    /// By source.
    sources: Vec<SourceReader<'s>>,
    scratch: Scratch,
    plain: PlainSeries,
}

impl SelectionReader for Reader<'_, '_> {
    fn read(&mut self, series: Range<usize>, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let of = self.of;
        let mut passing = Passing {
            budget: of.budget,
            kept: of.kept,
            samples: 0,
            bytes: 0,
        };
        for index in series {
            if index % CHECK_EVERY == 0 {
                of.budget.check()?;
            }
            let number = of.series.at(index);
            let Some(labels) = of.series.labels(number) else {
                continue;
            };
            let found = match self.append_plain(number) {
                Appended::Plain => self.plain.finish(),
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
                    let runs = self.runs_of(number)?;
                    passing.pass(rows_of(&runs), runs.iter().map(bytes_of).sum())?;
                    let mut segments = merge_runs(runs);
                    segments.retain(has_rows);
                    if any_within(&segments, of.range) {
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
        of.budget.charge(passing.samples, 0)?;
        Ok(())
    }
}

impl Reader<'_, '_> {
    /// Appends what all places of a series have, if all of it is plain; for whoever looks at the newest sample only, that one alone where
    /// it is found without reading others.
    fn append_plain(&mut self, number: usize) -> Appended {
        self.plain.begin();
        if self.of.newest && self.append_newest(number) {
            return Appended::Plain;
        }
        self.plain.begin();
        let mut appended = Appended::Nothing;
        for at in self.of.series.places_of(number) {
            let place = self.of.series.place(*at);
            let source = &self.of.sources[place.source];
            let out = &mut self.plain;
            let here = match (source, &mut self.sources[place.source]) {
                (
                    Source::Partition {
                        open: Some((partition, mask)),
                        ..
                    },
                    SourceReader::Partition(reader),
                ) if !mask.hides(place.series) => {
                    let range = self.of.range;
                    reader.append(partition, place.series, range, &mut self.scratch, out)
                }
                (Source::Head { .. }, SourceReader::Head(reader)) => {
                    reader.append_plain(place.nth, out)
                }
                _ => Appended::Other,
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
    fn append_newest(&mut self, number: usize) -> bool {
        let Selected {
            series,
            sources,
            ends,
            ..
        } = self.of;
        let Some((youngest, others)) = series.places_of(number).split_last() else {
            return false;
        };
        let place = series.place(*youngest);
        let newest = match (&sources[place.source], &mut self.sources[place.source]) {
            (Source::Head { .. }, SourceReader::Head(reader)) => {
                reader.append_newest(place.nth, &mut self.plain)
            }
            _ => None,
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
    fn runs_of(&mut self, number: usize) -> Result<Vec<Arrived>, QueryError> {
        if self.of.newest {
            self.newest_of(number)
        } else {
            self.all_of(number)
        }
    }

    fn all_of(&mut self, number: usize) -> Result<Vec<Arrived>, QueryError> {
        let mut runs = Vec::new();
        for at in self.of.series.places_of(number) {
            runs.extend(self.runs_at(*at, false)?);
        }
        Ok(runs)
    }

    /// The same, for whoever looks at the newest sample only: from the youngest source on, as long as one may have a newer sample than those
    /// before.
    fn newest_of(&mut self, number: usize) -> Result<Vec<Arrived>, QueryError> {
        let of = self.of;
        let mut read: Vec<(u32, Vec<Arrived>)> = Vec::new();
        let mut newest = TimestampMs::MIN;
        for at in of.series.places_of(number).iter().rev() {
            if of.ends[of.series.source_of(*at)] < newest {
                continue;
            }
            let runs = self.runs_at(*at, true)?;
            let segments = runs.iter().map(|run| &run.segment);
            newest = segments
                .filter_map(|segment| last_present(segment, of.range.end))
                .fold(newest, Ord::max);
            read.push((*at, runs));
        }
        let mut runs = read.iter().flat_map(|(_, runs)| runs);
        if runs.any(|run| run.arrival.is_correction()) {
            // It may say that what seemed to be the newest is none.
            let mut unheld = of.unheld.lock().unwrap_or_else(PoisonError::into_inner);
            unheld.extend(read);
            drop(unheld);
            return self.all_of(number);
        }
        Ok(read.into_iter().flat_map(|(_, runs)| runs).collect())
    }

    /// Returns what one place of a series has; with `newest`, of that what has the newest sample.
    fn runs_at(&mut self, at: u32, newest: bool) -> Result<Vec<Arrived>, QueryError> {
        let of = self.of;
        let Located {
            source,
            series,
            nth,
        } = of.series.place(at);
        let (range, columns) = (of.range, of.columns);
        Ok(match (&of.sources[source], &mut self.sources[source]) {
            (
                Source::Partition {
                    handle,
                    open: Some((partition, mask)),
                    ..
                },
                SourceReader::Partition(reader),
            ) => match reader.read(partition, series, range, columns, &mut self.scratch) {
                Ok(read) => arrived(handle, mask.apply(series, read)),
                Err(error) => {
                    of.snapshot.series_damaged(handle, partition, &error)?;
                    Vec::new()
                }
            },
            (Source::Head { .. }, SourceReader::Head(reader)) => {
                if newest {
                    reader.read_newest(nth)
                } else {
                    reader.read(nth)
                }
            }
            _ => {
                let mut unheld = of.unheld.lock().unwrap_or_else(PoisonError::into_inner);
                unheld.remove(&at).unwrap_or_default()
            }
        })
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
    fn add_head(&mut self, part: &'a HeadPart) -> Result<Source<'a>, QueryError> {
        let matching = part.selected(self.select.matchers, self.charged.budget)?;
        self.begin_source(matching.len())?;
        part.index
            .each_identity(&matching, |id, identity| self.series.add(id, identity));
        let ids = self.series.of_source().to_vec();
        Ok(Source::Head {
            part,
            series: HeadSeries::new(&part.head, part.until, self.select.range, ids),
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

/// Returns what was read of a partition, with the arrivals that it has beside others: a tier came when the last of what it sums up had come.
fn arrived(handle: &PartitionHandle, mut runs: Vec<Arrived>) -> Vec<Arrived> {
    if handle.entry.tier != Tier::Raw {
        for run in &mut runs {
            run.arrival = Arrival::at(handle.entry.until);
        }
    }
    runs
}

fn open(handle: &PartitionHandle) -> Result<Opened, PartitionError> {
    let partition = handle.get()?;
    let mask = handle.mask(&partition)?;
    Ok((partition, mask))
}
