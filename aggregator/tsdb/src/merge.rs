//! Merging partitions: several files of one shard become one per retention class.
//!
//! The inputs' series are walked in order of their labels, all inputs side by side. Per series:
//! 1. its pages are put in order of time; what deletes hit is cut out of them;
//! 2. pages that overlap others become one stretch by [`merge_for_file`]: at equal timestamps the first in the log stands;
//! 3. stretches are laid end to end and cut into pages of up to so many rows; corrections make pages of their own, for they stand
//!    before what other files have.
//!
//! Series of a cohort have the same rows in their inputs, so they get the same rows here and must share one time column again: a column
//! is known by the rows it was put together from, and where these differ by its content.
//!
//! Of the inputs no more is held at once than one series' overlapping pages and one page of the output, beside directories and indexes.
//! The inputs must lie together in the log: a page of the output has the least arrival of what it holds, and no partition that is not
//! an input may have rows from between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use files::FileSystem;
use model::{Exemplar, Labels, Metadata, TimeRange, TimestampMs};
use storage::{Segment, SegmentValues};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalogue::{Level, PartitionEntry, Tier};
use crate::config::RetentionClass;
use crate::deletes::{Mask, cut};
use crate::head::{Columns, Gathering, OwnedValues};
use crate::index::SeriesId;
use crate::merge_runs::{Arrival, Arrived, merge_for_file};
use crate::page::Scratch;
use crate::partition::{
    LabelsReader, PagePlace, Partition, PartitionError, PartitionKey, PartitionSummary,
    PartitionWriter, TimesId,
};
use crate::retention::class_of;
use crate::seal::put_pages;

/// Series between two looks at whether the store is closing.
const CHECK_EVERY: u64 = 256;
/// Time columns remembered by the rows they are of, and by content; beyond, a column may be stored twice.
const COLUMNS_BY_ROWS_MAX: usize = 1 << 16;
const COLUMNS_BY_CONTENT_MAX: usize = 1 << 18;
/// Exemplars of one series in one file; the oldest go first.
const EXEMPLARS_PER_SERIES_MAX: usize = 1_024;
/// Metric families of which metadata is carried, and sayings of each.
const FAMILIES_MAX: usize = 65_536;
const SAYINGS_MAX: usize = 16;

/// Why a merge came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// An input is damaged: merging would hide that.
    #[error("cannot merge {}: {source}", input.display())]
    Input {
        input: PathBuf,
        #[source]
        source: PartitionError,
    },
    #[error("cannot write a merged partition: {0}")]
    Output(#[source] PartitionError),
    #[error("the store is closing")]
    Closing,
}

/// A file to be merged.
pub(crate) struct Input {
    pub(crate) partition: Arc<Partition>,
    pub(crate) mask: Mask,
}

/// What a merge makes of its inputs.
pub(crate) struct Merge<'a> {
    pub(crate) files: &'a dyn FileSystem,
    pub(crate) folder: PathBuf,
    pub(crate) key: PartitionKey,
    pub(crate) level: Level,
    /// All rows of the inputs have this log position or an earlier one.
    pub(crate) until: u64,
    /// Deletes up to this position are in the masks.
    pub(crate) deleted: u64,
    /// Rows of a page, at most.
    pub(crate) rows_max: usize,
    pub(crate) classes: &'a [RetentionClass],
    pub(crate) closing: &'a AtomicBool,
    /// Gives a file name that was never used.
    pub(crate) name: &'a dyn Fn() -> String,
}

/// A file that a merge wrote.
pub(crate) type Merged = (String, PartitionEntry);

impl Merge<'_> {
    /// Writes the merged files, synced; after an error none is left.
    pub(crate) fn run(&self, inputs: &[Input]) -> Result<Vec<Merged>, MergeError> {
        let mut outputs: BTreeMap<String, Output<'_>> = BTreeMap::new();
        let merged = self.merge(inputs, &mut outputs);
        let names: Vec<String> = outputs.values().map(|output| output.name.clone()).collect();
        let merged = merged.and_then(|()| self.finish(inputs, outputs));
        if merged.is_err() {
            for name in names {
                // What cannot be removed now is removed at the next start: nothing names it.
                self.files
                    .remove(&self.folder.join(name))
                    .unwrap_or_default();
            }
        }
        merged
    }

    fn merge<'m>(
        &'m self,
        inputs: &[Input],
        outputs: &mut BTreeMap<String, Output<'m>>,
    ) -> Result<(), MergeError> {
        let mut walk = Walk::new(inputs)?;
        let mut scratch = Scratch::default();
        let mut count = 0u64;
        while let Some((labels, places)) = walk.next()? {
            count += 1;
            if count.is_multiple_of(CHECK_EVERY) && self.closing.load(Ordering::Relaxed) {
                return Err(MergeError::Closing);
            }
            let class = class_of(self.classes, &labels);
            if !outputs.contains_key(class) {
                outputs.insert(class.to_owned(), self.open_output()?);
            }
            let Some(output) = outputs.get_mut(class) else {
                continue;
            };
            output.begin(labels);
            merge_series(inputs, &places, output, &mut scratch)?;
            for exemplar in exemplars(inputs, &places)? {
                output.add_exemplar(&exemplar)?;
            }
        }
        Ok(())
    }

    fn open_output(&self) -> Result<Output<'_>, MergeError> {
        let name = (self.name)();
        let path = self.folder.join(&name);
        let writer = PartitionWriter::create(self.files, &path, self.key);
        let writer = writer.map_err(MergeError::Output)?.compressed();
        Ok(Output {
            name,
            writer,
            rows_max: self.rows_max,
            labels: Labels::empty(),
            started: false,
            pieces: Vec::new(),
            rows: 0,
            arrival: Arrival::LAST,
            by_rows: HashMap::new(),
            by_content: HashMap::new(),
            scratch: Scratch::default(),
        })
    }

    fn finish(
        &self,
        inputs: &[Input],
        outputs: BTreeMap<String, Output<'_>>,
    ) -> Result<Vec<Merged>, MergeError> {
        let metadata = metadata(inputs)?;
        let mut merged = Vec::new();
        for (class, mut output) in outputs {
            for (metric, sayings) in &metadata {
                for saying in sayings {
                    let added = output.writer.add_metadata(metric, saying);
                    added.map_err(MergeError::Output)?;
                }
            }
            let name = output.name;
            let summary = output.writer.finish().map_err(MergeError::Output)?;
            if summary.series == 0 {
                self.files
                    .remove(&self.folder.join(&name))
                    .unwrap_or_default();
                continue;
            }
            merged.push((name, self.entry(summary, class)));
        }
        Ok(merged)
    }

    fn entry(&self, summary: PartitionSummary, class: String) -> PartitionEntry {
        PartitionEntry {
            shard: self.key.shard,
            times: summary.times,
            bytes: summary.bytes,
            samples: summary.samples,
            until: self.until,
            level: self.level,
            tier: Tier::Raw,
            class,
            deleted: self.deleted,
        }
    }
}

pub(crate) fn failed(input: &Input) -> impl Fn(PartitionError) -> MergeError {
    |source| MergeError::Input {
        input: input.partition.path().to_owned(),
        source,
    }
}

/// Where a series is: input and number in it.
pub(crate) type SeriesPlace = (usize, SeriesId);

/// Walks over the series of all inputs in order of their labels.
pub(crate) struct Walk<'a> {
    inputs: &'a [Input],
    /// One of each input.
    labels: Vec<LabelsReader<'a>>,
    next: BinaryHeap<Reverse<(Labels, usize, SeriesId)>>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(inputs: &'a [Input]) -> Result<Self, MergeError> {
        let mut walk = Self {
            inputs,
            labels: inputs
                .iter()
                .map(|input| input.partition.labels_reader())
                .collect(),
            next: BinaryHeap::new(),
        };
        for input in 0..inputs.len() {
            walk.push(input, 0)?;
        }
        Ok(walk)
    }

    fn push(&mut self, input: usize, series: SeriesId) -> Result<(), MergeError> {
        let labels = self.labels[input].labels(series);
        if let Some(labels) = labels.map_err(failed(&self.inputs[input]))? {
            self.next.push(Reverse((labels, input, series)));
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Result<Option<(Labels, Vec<SeriesPlace>)>, MergeError> {
        let Some(Reverse((labels, input, series))) = self.next.pop() else {
            return Ok(None);
        };
        self.push(input, series + 1)?;
        let mut places = vec![(input, series)];
        while let Some(Reverse((same, _, _))) = self.next.peek()
            && *same == labels
            && let Some(Reverse((_, input, series))) = self.next.pop()
        {
            places.push((input, series));
            self.push(input, series + 1)?;
        }
        Ok(Some((labels, places)))
    }
}

/// A page to be read.
struct Page {
    input: usize,
    place: PagePlace,
    span: TimeRange,
}

/// Merges the pages of one series into `output`.
fn merge_series(
    inputs: &[Input],
    places: &[SeriesPlace],
    output: &mut Output<'_>,
    scratch: &mut Scratch,
) -> Result<(), MergeError> {
    let mut pages = Vec::new();
    let mut cuts: Vec<(usize, Vec<TimeRange>)> = Vec::new();
    for (input, series) in places {
        let of = &inputs[*input];
        let listed = of.partition.pages(*series).map_err(failed(of))?;
        pages.extend(listed.into_iter().map(|(place, span)| Page {
            input: *input,
            place,
            span,
        }));
        let ranges = of.mask.ranges(*series);
        if !ranges.is_empty() {
            cuts.push((*input, ranges));
        }
    }
    // Stable: of pages with equal arrivals the one listed first is the earlier.
    pages.sort_by_key(|page| page.span.start);
    let mut from = 0;
    while from < pages.len() {
        let mut end = pages[from].span.end;
        let mut to = from + 1;
        while to < pages.len() && pages[to].span.start <= end {
            end = end.max(pages[to].span.end);
            to += 1;
        }
        let alone = to - from == 1;
        let page = &pages[from];
        let of = &inputs[page.input];
        if alone && cuts.iter().all(|(input, _)| *input != page.input) {
            // Most are so, and need not even know their times.
            let values = of.partition.decode_values(&page.place, scratch);
            let values = values.map_err(failed(of))?;
            output.take(
                inputs,
                values,
                Some((page.input, page.place)),
                page.place.arrival,
            )?;
        } else {
            let runs = decode_cut(inputs, &pages[from..to], &cuts, scratch)?;
            let arrivals = runs.iter().map(|run| run.arrival);
            let arrival = arrivals.filter(|arrival| !arrival.is_correction()).min();
            let (samples, corrections) = merge_for_file(runs);
            let place = alone.then_some((page.input, page.place));
            for segment in samples {
                output.take(inputs, segment, place, arrival.unwrap_or(Arrival::LAST))?;
            }
            for Arrived { arrival, segment } in corrections {
                output.take(inputs, segment, place, arrival)?;
            }
        }
        from = to;
    }
    output.flush(inputs)
}

/// Returns what deletes leave of pages, decoded.
fn decode_cut(
    inputs: &[Input],
    pages: &[Page],
    cuts: &[(usize, Vec<TimeRange>)],
    scratch: &mut Scratch,
) -> Result<Vec<Arrived>, MergeError> {
    let mut runs = Vec::with_capacity(pages.len());
    for page in pages {
        let of = &inputs[page.input];
        let run = of.partition.decode(&page.place, scratch);
        let Arrived { arrival, segment } = run.map_err(failed(of))?;
        let ranges = cuts.iter().find(|(input, _)| *input == page.input);
        let kept = match ranges {
            Some((_, ranges)) => cut(segment, ranges),
            None => Some(segment),
        };
        runs.extend(kept.map(|segment| Arrived { arrival, segment }));
    }
    Ok(runs)
}

fn exemplars(inputs: &[Input], places: &[SeriesPlace]) -> Result<Vec<Exemplar>, MergeError> {
    let mut all = Vec::new();
    for (input, series) in places {
        let of = &inputs[*input];
        let found = of.partition.exemplars(*series, TimeRange::ALL);
        let hidden = of.mask.ranges(*series);
        let shown = |one: &Exemplar| !hidden.iter().any(|range| range.contains(one.at));
        all.extend(found.map_err(failed(of))?.into_iter().filter(shown));
    }
    all.sort_by_key(|exemplar| exemplar.at);
    all.dedup();
    let over = all.len().saturating_sub(EXEMPLARS_PER_SERIES_MAX);
    Ok(all.split_off(over))
}

fn metadata(inputs: &[Input]) -> Result<BTreeMap<Arc<str>, Vec<Metadata>>, MergeError> {
    let mut all: BTreeMap<Arc<str>, Vec<Metadata>> = BTreeMap::new();
    for input in inputs {
        for (metric, saying) in input.partition.metadata().map_err(failed(input))? {
            if all.len() >= FAMILIES_MAX && !all.contains_key(&metric) {
                continue;
            }
            let sayings = all.entry(metric).or_default();
            if sayings.len() < SAYINGS_MAX && !sayings.contains(&saying) {
                sayings.push(saying);
            }
        }
    }
    Ok(all)
}

/// Rows of an input: input, number of the time column, first row of it, rows.
type InputRows = (usize, u32, u32, u32);

/// A stretch that waits to become part of a page: rows `from..to` of a segment.
struct Piece {
    /// Without times, when they are those of `place`.
    segment: Segment,
    from: usize,
    to: usize,
    /// The input's page that it is of, unless it was put together of several.
    place: Option<(usize, PagePlace)>,
}

impl Piece {
    fn rows(&self) -> Option<InputRows> {
        let (input, place) = self.place?;
        let first = place.first_row + row_number(self.from);
        Some((input, place.times, first, row_number(self.to - self.from)))
    }

    fn append_times(&self, inputs: &[Input], out: &mut Vec<TimestampMs>) -> Result<(), MergeError> {
        let times = match self.place {
            Some((input, place)) => {
                let of = &inputs[input];
                of.partition.times_of(&place).map_err(failed(of))?
            }
            None => self.segment.times.clone(),
        };
        out.extend_from_slice(&times.as_slice()[self.from..self.to]);
        Ok(())
    }

    /// Returns the values when all rows have one, and that is a float without a start time.
    fn floats(&self) -> Option<&[f64]> {
        match &self.segment {
            Segment {
                presence: None,
                values: SegmentValues::Floats(values),
                start_times: None,
                ..
            } => Some(&values[self.from..self.to]),
            _ => None,
        }
    }
}

/// A file being merged into.
struct Output<'a> {
    name: String,
    writer: PartitionWriter<'a>,
    rows_max: usize,
    /// The series under way; written when it turns out to have anything.
    labels: Labels,
    started: bool,
    pieces: Vec<Piece>,
    rows: usize,
    /// The least of those of the pieces, which are all corrections or none.
    arrival: Arrival,
    by_rows: HashMap<Vec<InputRows>, TimesId>,
    by_content: HashMap<u128, TimesId>,
    scratch: Scratch,
}

impl Output<'_> {
    fn begin(&mut self, labels: Labels) {
        self.labels = labels;
        self.started = false;
    }

    fn start(&mut self) -> Result<(), MergeError> {
        if !std::mem::replace(&mut self.started, true) {
            let started = self.writer.start_series(&self.labels);
            started.map_err(MergeError::Output)?;
        }
        Ok(())
    }

    fn add_exemplar(&mut self, exemplar: &Exemplar) -> Result<(), MergeError> {
        self.start()?;
        let added = self.writer.add_exemplar(exemplar);
        added.map_err(MergeError::Output)
    }

    /// Takes a stretch that is later than all of its kind before it; `place`: the page that it is, row by row.
    fn take(
        &mut self,
        inputs: &[Input],
        segment: Segment,
        place: Option<(usize, PagePlace)>,
        arrival: Arrival,
    ) -> Result<(), MergeError> {
        if arrival.is_correction() != self.arrival.is_correction() {
            self.flush(inputs)?;
        }
        let end = match place {
            Some((_, place)) => place.rows as usize,
            None => segment.times.as_slice().len(),
        };
        let mut from = 0;
        while from < end {
            if self.rows >= self.rows_max {
                self.flush(inputs)?;
            }
            let to = end.min(from + self.rows_max - self.rows);
            self.arrival = self.arrival.min(arrival);
            self.rows += to - from;
            self.pieces.push(Piece {
                segment: segment.clone(),
                from,
                to,
                place,
            });
            from = to;
        }
        Ok(())
    }

    /// Writes the page that was gathered.
    fn flush(&mut self, inputs: &[Input]) -> Result<(), MergeError> {
        let pieces = std::mem::take(&mut self.pieces);
        let rows = std::mem::take(&mut self.rows);
        let arrival = std::mem::replace(&mut self.arrival, Arrival::LAST);
        let Some(columns) = columns(&pieces, rows) else {
            return Ok(());
        };
        self.start()?;
        let times = self.times_of(inputs, &pieces)?;
        let place = (times, arrival);
        put_pages(&mut self.writer, place, &columns, &mut self.scratch).map_err(MergeError::Output)
    }

    /// Returns the time column of these stretches, end to end.
    fn times_of(&mut self, inputs: &[Input], pieces: &[Piece]) -> Result<TimesId, MergeError> {
        let rows: Option<Vec<InputRows>> = pieces.iter().map(Piece::rows).collect();
        if let Some(known) = rows.as_ref().and_then(|rows| self.by_rows.get(rows)) {
            return Ok(*known);
        }
        let mut times = Vec::new();
        for piece in pieces {
            piece.append_times(inputs, &mut times)?;
        }
        let bytes: Vec<u8> = times.iter().flat_map(|at| at.0.to_le_bytes()).collect();
        let content = xxh3_128(&bytes);
        let id = match self.by_content.get(&content) {
            Some(known) => *known,
            None => self.writer.add_times(&times).map_err(MergeError::Output)?,
        };
        if self.by_content.len() >= COLUMNS_BY_CONTENT_MAX {
            self.by_content.clear();
        }
        self.by_content.insert(content, id);
        if let Some(rows) = rows {
            if self.by_rows.len() >= COLUMNS_BY_ROWS_MAX {
                self.by_rows.clear();
            }
            self.by_rows.insert(rows, id);
        }
        Ok(id)
    }
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a page has some thousand rows")
}

/// Returns the column of these stretches, end to end; `None` when nothing is present.
fn columns(pieces: &[Piece], rows: usize) -> Option<Columns> {
    let floats: Option<Vec<&[f64]>> = pieces.iter().map(Piece::floats).collect();
    if let Some(floats) = floats {
        return (rows > 0).then(|| Columns {
            rows,
            presence: None,
            values: OwnedValues::Floats(floats.concat()),
            starts: None,
        });
    }
    let mut gathering = Gathering::new(rows);
    let mut at = 0;
    for piece in pieces {
        gathering.take(&piece.segment, piece.from, piece.to, at);
        at += piece.to - piece.from;
    }
    gathering.into_columns()
}
