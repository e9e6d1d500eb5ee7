//! Samples that came one by one, by series.
//!
//! A series' samples that rise in time gather in an **open** run of 16 bytes each; a full run closes into a page, four pages of a size become
//! one of the next, so a sample is packed three times and a series of two hours at 15 s has some six pages. Times and positions of a page
//! are its [`Axis`], which series that are scraped together share.
//!
//! Samples not newer than the newest are **late**: they gather beside, in the order that they came, and close into pages sorted by time, so
//! a burst in the wrong order costs no page per sample. A late sample at a time that the main runs have always came after that one, so a
//! late page counts as arrived with its *last* sample, a main page with its first: then the first in the log stands. One that meets its
//! predecessor in the open run is dropped at once, for it would never be seen.
//!
//! **Corrections** gather in runs of their own, series within the series: each is read out as it came, rising in time, and one that goes
//! back in time begins the next. So runs come in the order of the log, and those who correct often go through a span as a whole.
//!
//! A reader sees the samples whose position is `until` or an earlier one, whatever closed since.

mod axis;

use std::sync::Arc;

use model::{Histogram, TimeRange, TimestampMs, Value};
use rows::SeriesSample;
use storage::{Segment, SegmentValues, Times};

pub(crate) use self::axis::AxisReads;

use self::axis::{Axes, Axis};
use super::pages::{Columns, OwnedValues, encode_plain, unmixed};
use crate::merge_runs::{Arrival, Arrived};
use crate::page::ints::Effort;
use crate::page::{Scratch, append_plain_floats, decode_page};
use crate::plain::{Appended, PlainSeries};

/// Samples of an open run.
const OPEN: usize = 16;
/// Pages of a size that become one.
const MERGED: usize = 4;
/// Late samples that gather before they become a page, and that a page of them has at most.
const LATE_OPEN: usize = 64;
const LATE_ROWS: usize = 512;
/// Rows that runs are joined to for a partition.
const JOINED_ROWS: usize = 480;
/// What the allocator adds to an allocation, on average.
const ALLOCATION_BYTES: usize = 16;
/// Why decoding a page cannot fail.
const OWN_BYTES: &str = "what this process encoded and never left its memory decodes";

/// The loose series of a head.
#[derive(Debug, Default)]
pub(super) struct LooseTable {
    /// By series of the head's index: place in `series` plus one, 0 for none.
    places: Vec<u32>,
    series: Vec<LooseSeries>,
}

impl LooseTable {
    /// Returns the number of series that have loose samples.
    pub(super) const fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn get(&self, series: u32) -> Option<&LooseSeries> {
        let place = *self.places.get(series as usize)?;
        self.series.get(place.checked_sub(1)? as usize)
    }

    /// Returns the place of a series, made when there is none.
    pub(super) fn place_of(&mut self, series: u32) -> u32 {
        let at = series as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        if self.places[at] == 0 {
            self.series.push(LooseSeries::default());
            self.places[at] =
                u32::try_from(self.series.len()).expect("a head has fewer than 2^32 series");
        }
        self.places[at] - 1
    }

    pub(super) fn at(&mut self, place: u32) -> &mut LooseSeries {
        &mut self.series[place as usize]
    }
}

/// What a new series takes.
pub(super) const SERIES_BYTES: u64 = (size_of::<LooseSeries>() + 4) as u64;

/// A series' loose samples.
#[derive(Debug)]
pub(super) struct LooseSeries {
    pages: Vec<Page>,
    /// The newest sample, late ones apart.
    newest: TimestampMs,
    /// What the open cells count from.
    base_at: TimestampMs,
    base_position: u64,
    rare: Option<Box<Rare>>,
    open_len: u8,
    open: [Cell; OPEN],
}

/// A sample of the open run.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    at: u32,
    position: u32,
    value: f64,
}

/// What few series have.
#[derive(Debug, Default)]
struct Rare {
    /// By cell of the open run, rising.
    histograms: Vec<(u8, Arc<Histogram>)>,
    starts: Vec<(u8, TimestampMs)>,
    late: Late,
    /// None of them has late samples.
    corrections: Vec<LooseSeries>,
}

#[derive(Debug, Default)]
struct Late {
    /// In the order that they came.
    open: Vec<LateSample>,
    pages: Vec<Page>,
}

#[derive(Clone, Debug)]
struct LateSample {
    at: TimestampMs,
    position: u64,
    value: Value,
    start: TimestampMs,
}

/// A closed run.
#[derive(Clone, Debug)]
struct Page {
    axis: Arc<Axis>,
    bytes: Box<[u8]>,
}

/// What the writer of all series shares between them.
#[derive(Debug, Default)]
pub(super) struct Tools {
    axes: Axes,
    /// By the size of the pages that were merged.
    merged: [Option<MergedAxis>; SIZES_MERGED],
    times: Vec<TimestampMs>,
    positions: Vec<u64>,
    floats: Vec<f64>,
    out: Vec<u8>,
}

/// The axis that others make one behind the other: those of the next series mostly.
#[derive(Debug)]
struct MergedAxis {
    parts: [Arc<Axis>; MERGED],
    whole: Arc<Axis>,
}

impl Default for LooseSeries {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            newest: TimestampMs::MIN,
            base_at: TimestampMs(0),
            base_position: 0,
            rare: None,
            open_len: 0,
            open: [Cell::default(); OPEN],
        }
    }
}

impl LooseSeries {
    /// Takes a sample and returns by how many bytes the series grew.
    #[inline]
    pub(super) fn push(
        &mut self,
        sample: &SeriesSample,
        arrival: Arrival,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let position = arrival.position();
        if arrival.is_correction() {
            return self.push_correction(sample, position, tools, scratch);
        }
        if sample.at <= self.newest {
            return self.push_late(sample, position, tools, scratch);
        }
        self.push_next(sample, position, tools, scratch)
    }

    /// Takes a sample that is newer than the newest.
    #[inline]
    fn push_next(
        &mut self,
        sample: &SeriesSample,
        position: u64,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let mut grown = 0;
        let mut cell = self.cell_of(sample.at, position);
        if usize::from(self.open_len) == OPEN || cell.is_none() {
            grown = self.close(tools, scratch);
            cell = None;
        }
        let (at, after) = match cell {
            Some(cell) if self.open_len > 0 => cell,
            _ => {
                (self.base_at, self.base_position) = (sample.at, position);
                (0, 0)
            }
        };
        let index = self.open_len;
        let value = match &sample.value {
            Value::Float(value) => *value,
            Value::Histogram(histogram) => {
                let list = &mut self.rare().histograms;
                list.push((index, Arc::clone(histogram)));
                grown += 512;
                0.0
            }
        };
        if sample.start != TimestampMs(0) {
            self.rare().starts.push((index, sample.start));
        }
        self.open[usize::from(index)] = Cell {
            at,
            position: after,
            value,
        };
        self.open_len += 1;
        self.newest = sample.at;
        grown
    }

    /// Returns a sample's distances from the base of the open run; `None`: they are too large.
    fn cell_of(&self, at: TimestampMs, position: u64) -> Option<(u32, u32)> {
        let at = u32::try_from(at.0.checked_sub(self.base_at.0)?).ok()?;
        let position = u32::try_from(position.checked_sub(self.base_position)?).ok()?;
        Some((at, position))
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn open_cells(&self) -> &[Cell] {
        &self.open[..usize::from(self.open_len)]
    }

    fn time_of(&self, cell: &Cell) -> TimestampMs {
        TimestampMs(self.base_at.0 + i64::from(cell.at))
    }

    #[cold]
    fn push_late(
        &mut self,
        sample: &SeriesSample,
        position: u64,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let repeats = sample.at == self.newest
            || self
                .open_cells()
                .iter()
                .any(|cell| self.time_of(cell) == sample.at);
        if repeats {
            return 0;
        }
        let late = &mut self.rare().late;
        late.open.push(LateSample {
            at: sample.at,
            position,
            value: sample.value.clone(),
            start: sample.start,
        });
        let mut grown = bytes_of_late(&sample.value);
        if late.open.len() >= LATE_OPEN {
            let open = std::mem::take(&mut late.open);
            grown -= open
                .iter()
                .map(|late| bytes_of_late(&late.value))
                .sum::<i64>();
            grown += late.close(sorted(open), tools, scratch);
        }
        grown
    }

    #[cold]
    fn push_correction(
        &mut self,
        sample: &SeriesSample,
        position: u64,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let runs = &mut self.rare().corrections;
        match runs.last_mut().filter(|run| run.newest < sample.at) {
            Some(run) => run.push_next(sample, position, tools, scratch),
            None => {
                let mut run = Self::default();
                let grown = run.push_next(sample, position, tools, scratch);
                runs.push(run);
                grown + signed(size_of::<Self>())
            }
        }
    }

    /// Makes a page of the open run, and larger pages of smaller ones.
    fn close(&mut self, tools: &mut Tools, scratch: &mut Scratch) -> i64 {
        if self.open_len == 0 {
            return 0;
        }
        let cells = &self.open[..usize::from(self.open_len)];
        tools.times.clear();
        tools.positions.clear();
        for cell in cells {
            tools
                .times
                .push(TimestampMs(self.base_at.0 + i64::from(cell.at)));
            tools
                .positions
                .push(self.base_position + u64::from(cell.position));
        }
        // It is encoded anew soon.
        let effort = std::mem::replace(&mut scratch.ints().effort, Effort::Quick);
        let mut grown = 0;
        match &mut self.rare {
            Some(rare) if rare.is_of_open_run() => {
                let columns = open_columns(cells, Some(rare));
                grown -= 512 * i64::try_from(rare.histograms.len()).unwrap_or(0);
                rare.histograms.clear();
                rare.starts.clear();
                grown += put_pages(&mut self.pages, columns, tools, scratch);
            }
            _ => {
                tools.floats.clear();
                tools.floats.extend(cells.iter().map(|cell| cell.value));
                let (axis, bytes) = tools.axes.of(&tools.times, &tools.positions);
                grown += signed(bytes) + put_plain_page(&mut self.pages, axis, tools, scratch);
            }
        }
        self.open_len = 0;
        scratch.ints().effort = effort;
        // Once per size: pages of histograms may come out as many as they went in.
        for _ in 0..SIZES_MERGED {
            match merge_small(&mut self.pages, tools, scratch) {
                Some(merged) => grown += merged,
                None => break,
            }
        }
        grown
    }

    /// Appends what there is within `range`, by whole runs: main ones first.
    pub(super) fn read(
        &self,
        until: u64,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        self.read_main(until, range, (axes, scratch), out);
        self.read_rare(until, range, (axes, scratch), out);
    }

    fn read_main(
        &self,
        until: u64,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        for page in &self.pages {
            page.read(until, range, false, (axes, scratch), out);
        }
        out.extend(self.read_open(until, range));
    }

    /// Appends what came late, and corrections.
    fn read_rare(
        &self,
        until: u64,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        let Some(rare) = &self.rare else { return };
        for page in &rare.late.pages {
            page.read(until, range, true, (axes, scratch), out);
        }
        out.extend(rare.late.read_open(until, range));
        for correction in &rare.corrections {
            let from = out.len();
            correction.read(until, range, (axes, scratch), out);
            for run in &mut out[from..] {
                run.arrival = Arrival::of_correction(run.arrival.position());
            }
        }
    }

    /// Appends what [`read`](Self::read) returns, if it is plain.
    pub(super) fn append_plain(
        &self,
        until: u64,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut PlainSeries,
    ) -> Appended {
        if self.rare.is_some() {
            return Appended::Other;
        }
        let mut appended = Appended::Nothing;
        for page in self.pages.iter().filter(|page| page.touches(until, range)) {
            let cut = until < page.axis.last_position;
            if cut || !page.append_plain(scratch, out.values()) {
                return Appended::Other;
            }
            out.took(axes.of(&page.axis).0);
            appended = Appended::Plain;
        }
        let cells = self.visible(until);
        if let (Some(first), Some(last)) = (cells.first(), cells.last())
            && TimeRange::new(self.time_of(first), self.time_of(last)).overlaps(range)
        {
            out.values().extend(cells.iter().map(|cell| cell.value));
            out.took(axes.open(cells.iter().map(|cell| self.time_of(cell))));
            appended = Appended::Plain;
        }
        appended
    }

    fn read_open(&self, until: u64, range: TimeRange) -> Option<Arrived> {
        let cells = self.visible(until);
        let (first, last) = (cells.first()?, cells.last()?);
        if !TimeRange::new(self.time_of(first), self.time_of(last)).overlaps(range) {
            return None;
        }
        let times: Vec<TimestampMs> = cells.iter().map(|cell| self.time_of(cell)).collect();
        Some(Arrived {
            arrival: Arrival::at(self.base_position + u64::from(first.position)),
            segment: open_columns(cells, self.rare.as_deref()).into_segment(Times::new(times)),
        })
    }

    /// Returns the open cells that a reader sees.
    fn visible(&self, until: u64) -> &[Cell] {
        let open = self.open_cells();
        let seen = |cell: &Cell| self.base_position + u64::from(cell.position) <= until;
        &open[..open.partition_point(seen)]
    }

    /// Appends what there is within `range`, by whole runs, main ones joined: for a partition, which has one time column for all series with
    /// the same times.
    pub(super) fn read_joined(
        &self,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        let mut runs = Vec::new();
        self.read_main(u64::MAX, range, (axes, scratch), &mut runs);
        let mut joined: Option<Joined> = None;
        for run in runs {
            if let Some(full) = joined.take_if(|joined| !joined.takes(&run)) {
                out.push(full.into_run());
            }
            match &mut joined {
                Some(joined) => joined.append(&run),
                None => joined = Some(Joined::new(run)),
            }
        }
        out.extend(joined.map(Joined::into_run));
        self.read_rare(u64::MAX, range, (axes, scratch), out);
    }

    /// Shows all times there are, in pieces that rise.
    pub(super) fn times(&self, axes: &mut AxisReads, each: &mut dyn FnMut(&[TimestampMs])) {
        for page in &self.pages {
            each(axes.of(&page.axis).0.as_slice());
        }
        for cell in self.open_cells() {
            each(&[self.time_of(cell)]);
        }
        let Some(rare) = &self.rare else { return };
        for page in &rare.late.pages {
            each(axes.of(&page.axis).0.as_slice());
        }
        for late in &rare.late.open {
            each(&[late.at]);
        }
        for correction in &rare.corrections {
            correction.times(axes, each);
        }
    }

    /// Returns when the first of the main runs came that touch `range`.
    pub(super) fn arrival(&self, range: TimeRange) -> Option<Arrival> {
        let mut pages = self.pages.iter();
        let first = pages.find(|page| page.touches(u64::MAX, range));
        let open = || (self.open_len > 0).then_some(self.base_position);
        let position = first.map(|page| page.axis.first_position).or_else(open)?;
        Some(Arrival::at(position))
    }

    pub(super) fn touches(&self, until: u64, range: TimeRange) -> bool {
        let within = |page: &Page| page.touches(until, range);
        if self.pages.iter().any(within) {
            return true;
        }
        let cells = self.visible(until);
        if let (Some(first), Some(last)) = (cells.first(), cells.last())
            && TimeRange::new(self.time_of(first), self.time_of(last)).overlaps(range)
        {
            return true;
        }
        self.rare.as_ref().is_some_and(|rare| {
            rare.late.pages.iter().any(within)
                || rare
                    .late
                    .open
                    .iter()
                    .any(|late| late.position <= until && range.contains(late.at))
                || (rare.corrections.iter()).any(|run| run.touches(until, range))
        })
    }
}

fn bytes_of_late(value: &Value) -> i64 {
    match value {
        Value::Float(_) => 48,
        Value::Histogram(_) => 560,
    }
}

/// Returns the columns of open cells.
fn open_columns(cells: &[Cell], rare: Option<&Rare>) -> Columns {
    let floats: Vec<f64> = cells.iter().map(|cell| cell.value).collect();
    let rows = floats.len();
    let within = |index: u8| usize::from(index) < rows;
    let mut starts = None;
    let mut values = OwnedValues::Floats(floats);
    if let Some(rare) = rare {
        if !rare.histograms.is_empty() {
            let mut mixed: Vec<Value> = cells.iter().map(|cell| Value::Float(cell.value)).collect();
            for (index, histogram) in rare.histograms.iter().filter(|(index, _)| within(*index)) {
                mixed[usize::from(*index)] = Value::Histogram(Arc::clone(histogram));
            }
            values = unmixed(mixed);
        }
        for (index, start) in rare.starts.iter().filter(|(index, _)| within(*index)) {
            starts.get_or_insert_with(|| vec![TimestampMs(0); rows])[usize::from(*index)] = *start;
        }
    }
    Columns {
        rows,
        presence: None,
        values,
        starts,
    }
}

/// Appends pages of columns whose times and positions stand in `tools`, and returns the bytes that they take: one, or, where histograms are
/// too many for one, several.
fn put_pages(
    pages: &mut Vec<Page>,
    columns: Columns,
    tools: &mut Tools,
    scratch: &mut Scratch,
) -> i64 {
    let mut grown = 0;
    let mut from = 0;
    while from < columns.rows {
        let mut to = columns.rows;
        loop {
            tools.out.clear();
            match columns.encode(from, to, scratch, &mut tools.out) {
                Ok(()) => {
                    let (axis, axis_bytes) = tools
                        .axes
                        .of(&tools.times[from..to], &tools.positions[from..to]);
                    let bytes = tools.out.as_slice().into();
                    grown += signed(axis_bytes) + push_page(pages, Page { axis, bytes });
                    break;
                }
                Err(_) if to - from > 1 => to = from + (to - from) / 2,
                Err(error) => {
                    tracing::error!(%error, "a sample does not fit a page and is dropped");
                    break;
                }
            }
        }
        from = to;
    }
    grown
}

/// Appends the page of the floats that stand in `tools`, some hundred at most, and returns the bytes that it takes.
fn put_plain_page(
    pages: &mut Vec<Page>,
    axis: Arc<Axis>,
    tools: &mut Tools,
    scratch: &mut Scratch,
) -> i64 {
    tools.out.clear();
    encode_plain(&tools.floats, scratch, &mut tools.out)
        .expect("a page takes some hundred floats");
    let bytes = tools.out.as_slice().into();
    push_page(pages, Page { axis, bytes })
}

/// Appends a page and returns the bytes that it takes.
fn push_page(pages: &mut Vec<Page>, page: Page) -> i64 {
    let grown = page.memory_bytes();
    if pages.len() == pages.capacity() {
        pages.reserve_exact(MERGED);
    }
    pages.push(page);
    grown
}

/// Makes one page of the last four when they are of one size; returns by how many bytes that grew, `None` when there is nothing to do.
fn merge_small(pages: &mut Vec<Page>, tools: &mut Tools, scratch: &mut Scratch) -> Option<i64> {
    let first = pages.len().checked_sub(MERGED)?;
    let last = &pages[first..];
    let size = last[0].size();
    // Pages of histograms may have been cut for want of room: they stay as they are.
    if size >= SIZES_MERGED
        || last
            .iter()
            .any(|page| page.size() != size || page.is_large())
    {
        return None;
    }
    let freed: i64 = last.iter().map(Page::memory_bytes).sum();
    tools.floats.clear();
    let mut append = |page: &Page| page.append_plain(scratch, &mut tools.floats);
    if last.iter().all(&mut append) {
        let (axis, bytes) = tools.merged_axis(last);
        pages.truncate(first);
        return Some(signed(bytes) + put_plain_page(pages, axis, tools, scratch) - freed);
    }
    tools.unpack(last);
    let mut gathered = Gathered::default();
    for page in pages.drain(first..) {
        let (values, starts) = page.decode(scratch);
        gathered.append(&values, starts.as_deref());
    }
    Some(put_pages(pages, gathered.into_columns(), tools, scratch) - freed)
}

impl Tools {
    /// Puts times and positions of pages in place of those that stand here.
    fn unpack(&mut self, pages: &[Page]) {
        self.times.clear();
        self.positions.clear();
        for page in pages {
            let packing = &mut self.axes.packing;
            page.axis
                .unpack(packing, &mut self.times, &mut self.positions);
        }
    }

    /// Returns the axis of as many pages of one size as are merged, and the bytes by which memory grew for it.
    fn merged_axis(&mut self, pages: &[Page]) -> (Arc<Axis>, usize) {
        let size = pages[0].size();
        let known = self.merged[size]
            .as_ref()
            .filter(|known| known.is_of(pages));
        if let Some(known) = known {
            return (Arc::clone(&known.whole), 0);
        }
        self.unpack(pages);
        let (whole, bytes) = self.axes.of(&self.times, &self.positions);
        self.merged[size] = Some(MergedAxis {
            parts: std::array::from_fn(|part| Arc::clone(&pages[part].axis)),
            whole: Arc::clone(&whole),
        });
        (whole, bytes)
    }
}

impl MergedAxis {
    fn is_of(&self, pages: &[Page]) -> bool {
        let mut parts = self.parts.iter().zip(pages);
        parts.all(|(part, page)| Arc::ptr_eq(part, &page.axis))
    }
}

impl Rare {
    /// Whether the open run has more than floats.
    const fn is_of_open_run(&self) -> bool {
        !self.histograms.is_empty() || !self.starts.is_empty()
    }
}

/// Sizes of pages that are merged: 0 and 1.
const SIZES_MERGED: usize = 2;
/// A page of more bytes is left alone: merging it gains little and costs much.
const LARGE_BYTES: usize = 16 * 1024;

impl Page {
    fn memory_bytes(&self) -> i64 {
        signed(size_of::<Self>() + self.bytes.len() + ALLOCATION_BYTES)
    }

    fn is_large(&self) -> bool {
        self.bytes.len() >= LARGE_BYTES
    }

    fn size(&self) -> usize {
        match self.axis.rows() {
            ..48 => 0,
            48..192 => 1,
            _ => SIZES_MERGED,
        }
    }

    fn span(&self) -> TimeRange {
        TimeRange::new(self.axis.first, self.axis.last)
    }

    fn touches(&self, until: u64, range: TimeRange) -> bool {
        self.axis.first_position <= until && self.span().overlaps(range)
    }

    /// Appends the values, if they are floats without start times.
    fn append_plain(&self, scratch: &mut Scratch, out: &mut Vec<f64>) -> bool {
        append_plain_floats(&self.bytes, scratch, out).expect(OWN_BYTES)
    }

    /// Returns values and start times.
    fn decode(&self, scratch: &mut Scratch) -> (SegmentValues, Option<Vec<TimestampMs>>) {
        let page = decode_page(&self.bytes, scratch).expect(OWN_BYTES);
        page.into_parts()
    }

    fn read(
        &self,
        until: u64,
        range: TimeRange,
        late: bool,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        if !self.touches(until, range) {
            return;
        }
        let arrival = if late {
            self.axis.last_position
        } else {
            self.axis.first_position
        };
        let (times, positions) = axes.of(&self.axis);
        let (values, starts) = self.decode(scratch);
        let mut segment = Segment {
            times: times.clone(),
            presence: None,
            values,
            start_times: starts.map(Into::into),
        };
        if until < self.axis.last_position {
            let seen: Vec<usize> = (0..positions.len())
                .filter(|row| positions[*row] <= until)
                .collect();
            segment = picked(&segment, &seen);
        }
        let arrival = Arrival::at(arrival);
        out.push(Arrived { arrival, segment });
    }
}

impl Late {
    /// Makes a page of sorted samples, or adds them to the last one.
    fn close(
        &mut self,
        mut samples: Vec<LateSample>,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let mut grown = 0;
        let last = self
            .pages
            .pop_if(|last| last.axis.rows() + samples.len() <= LATE_ROWS && !last.is_large());
        if let Some(last) = last {
            grown -= last.memory_bytes();
            let mut all = last.samples(tools, scratch);
            all.append(&mut samples);
            samples = sorted(all);
        }
        tools.times.clear();
        tools.positions.clear();
        tools.times.extend(samples.iter().map(|sample| sample.at));
        tools
            .positions
            .extend(samples.iter().map(|sample| sample.position));
        grown + put_pages(&mut self.pages, late_columns(samples), tools, scratch)
    }

    fn read_open(&self, until: u64, range: TimeRange) -> Option<Arrived> {
        let seen = self.open.partition_point(|late| late.position <= until);
        let samples = sorted(self.open[..seen].to_vec());
        let (first, last) = (samples.first()?, samples.last()?);
        if !TimeRange::new(first.at, last.at).overlaps(range) {
            return None;
        }
        let last = samples.iter().map(|sample| sample.position).max()?;
        let times: Vec<TimestampMs> = samples.iter().map(|sample| sample.at).collect();
        Some(Arrived {
            arrival: Arrival::at(last),
            segment: late_columns(samples).into_segment(Times::new(times)),
        })
    }
}

impl Page {
    fn samples(&self, tools: &mut Tools, scratch: &mut Scratch) -> Vec<LateSample> {
        let (mut times, mut positions) = (Vec::new(), Vec::new());
        self.axis
            .unpack(&mut tools.axes.packing, &mut times, &mut positions);
        let (values, starts) = self.decode(scratch);
        times
            .into_iter()
            .zip(positions)
            .enumerate()
            .filter_map(|(row, (at, position))| {
                Some(LateSample {
                    at,
                    position,
                    value: value_at(&values, row)?,
                    start: starts.as_ref().map_or(TimestampMs(0), |starts| starts[row]),
                })
            })
            .collect()
    }
}

/// Returns samples by time; of several at one time the first in the log stands, and the others are gone.
fn sorted(mut samples: Vec<LateSample>) -> Vec<LateSample> {
    samples.sort_by_key(|sample| (sample.at, sample.position));
    samples.dedup_by_key(|sample| sample.at);
    samples
}

fn late_columns(samples: Vec<LateSample>) -> Columns {
    let started = samples.iter().any(|sample| sample.start != TimestampMs(0));
    Columns {
        rows: samples.len(),
        presence: None,
        starts: started.then(|| samples.iter().map(|sample| sample.start).collect()),
        values: unmixed(samples.into_iter().map(|sample| sample.value).collect()),
    }
}

fn value_at(values: &SegmentValues, row: usize) -> Option<Value> {
    match values {
        SegmentValues::Floats(values) => values.get(row).copied().map(Value::Float),
        SegmentValues::Histograms(values) => values.get(row).cloned().map(Value::Histogram),
        SegmentValues::Mixed(values) => values.get(row).cloned(),
        // Heads hold what came, never summaries.
        SegmentValues::Rollup(_) => None,
    }
}

/// Returns some rows of a segment.
fn picked(segment: &Segment, rows: &[usize]) -> Segment {
    let times: Vec<TimestampMs> = rows
        .iter()
        .map(|row| segment.times.as_slice()[*row])
        .collect();
    let values: Vec<Value> = rows
        .iter()
        .filter_map(|row| value_at(&segment.values, *row))
        .collect();
    let columns = Columns {
        rows: rows.len(),
        presence: None,
        values: unmixed(values),
        starts: segment
            .start_times
            .as_ref()
            .map(|starts| rows.iter().map(|row| starts[*row]).collect()),
    };
    columns.into_segment(Times::new(times))
}

/// Values of pages, one after the other.
#[derive(Default)]
struct Gathered {
    floats: Vec<f64>,
    /// Once there is a histogram: all values, and `floats` is left.
    mixed: Option<Vec<Value>>,
    starts: Option<Vec<TimestampMs>>,
}

impl Gathered {
    fn rows(&self) -> usize {
        self.mixed.as_ref().map_or(self.floats.len(), Vec::len)
    }

    fn append(&mut self, values: &SegmentValues, starts: Option<&[TimestampMs]>) {
        let before = self.rows();
        match (values, &mut self.mixed) {
            (SegmentValues::Floats(values), None) => self.floats.extend_from_slice(values),
            (values, mixed) => {
                let floats = std::mem::take(&mut self.floats);
                let mixed =
                    mixed.get_or_insert_with(|| floats.into_iter().map(Value::Float).collect());
                mixed.extend((0..).map_while(|row| value_at(values, row)));
            }
        }
        let rows = self.rows();
        if let Some(more) = starts {
            let starts = self.starts.get_or_insert_default();
            starts.resize(before, TimestampMs(0));
            starts.extend_from_slice(more);
        }
        if let Some(starts) = &mut self.starts {
            starts.resize(rows, TimestampMs(0));
        }
    }

    fn into_columns(self) -> Columns {
        Columns {
            rows: self.rows(),
            presence: None,
            values: match self.mixed {
                Some(mixed) => unmixed(mixed),
                None => OwnedValues::Floats(self.floats),
            },
            starts: self.starts,
        }
    }
}

/// Main runs end to end.
struct Joined {
    arrival: Arrival,
    times: Vec<TimestampMs>,
    values: Gathered,
}

impl Joined {
    fn new(run: Arrived) -> Self {
        let mut joined = Self {
            arrival: run.arrival,
            times: Vec::new(),
            values: Gathered::default(),
        };
        joined.append(&run);
        joined
    }

    fn takes(&self, run: &Arrived) -> bool {
        self.times.len() + run.segment.times.as_slice().len() <= JOINED_ROWS
    }

    fn append(&mut self, run: &Arrived) {
        self.times.extend_from_slice(run.segment.times.as_slice());
        let Segment {
            values,
            start_times,
            ..
        } = &run.segment;
        self.values.append(values, start_times.as_deref());
    }

    fn into_run(self) -> Arrived {
        Arrived {
            arrival: self.arrival,
            segment: self
                .values
                .into_columns()
                .into_segment(Times::new(self.times)),
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
