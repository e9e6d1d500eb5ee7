//! Samples that came one by one, by series.
//!
//! A series' samples that rise in time gather in the rows of a [`strip`], which it shares with its neighbours. The rows of a full strip
//! become a page of each series, and four small pages become one: a sample of series that come together is packed twice,
//! and a series of two hours at 15 s has some six pages. Times and positions of a page are its [`Axis`], which series that are scraped
//! together share.
//!
//! Samples not newer than the newest are **late**: they gather beside, in the order that they came, and close into pages sorted by time, so
//! a burst in the wrong order costs no page per sample. A late sample at a time that the main runs have always came after that one, so a
//! late page counts as arrived with its *last* sample, a main page with its first: then the first in the log stands. One that meets its
//! predecessor among the open ones is dropped at once, for it would never be seen.
//!
//! **Corrections** gather in [runs](correction) of their own: each is read out as it came, rising in time, and one that goes back in time
//! begins the next. So runs come in the order of the log, and those who correct often go through a span as a whole.
//!
//! A reader sees the samples whose position is `until` or an earlier one, whatever closed since.

mod axis;
mod correction;
mod strip;

use std::sync::Arc;

use model::{Histogram, TimeRange, TimestampMs, Value};
use rows::SeriesSample;
use storage::{Segment, SegmentValues, Times};

pub(crate) use self::axis::AxisReads;

use self::axis::{Axes, Axis};
use self::correction::Correction;
use self::strip::{Cell, LANES, Open, Strip};
use super::pages::{Columns, OwnedValues, encode_plain, unmixed};
use crate::merge_runs::{Arrival, Arrived};
use crate::page::ints::Effort;
use crate::page::{Scratch, append_plain_floats, decode_page};
use crate::plain::{Appended, PlainSeries};

/// Small pages that become one, and how often that happens when one more has come.
const MERGED: usize = 4;
const MERGES_MAX: usize = 3;
/// Late samples that gather before they become a page, and that a page of them has at most.
const LATE_OPEN: usize = 64;
const LATE_ROWS: usize = 512;
/// Rows that runs are joined to for a partition.
const JOINED_ROWS: usize = 480;
/// What a histogram is taken to hold.
const HISTOGRAM_BYTES: i64 = 512;
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
    /// Each has the open samples of the next [`LANES`] series.
    strips: Vec<Strip>,
}

/// A series of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct LooseView<'a> {
    series: &'a LooseSeries,
    open: Open<'a>,
}

impl LooseTable {
    /// Returns the number of series that have loose samples.
    pub(super) const fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn get(&self, series: u32) -> Option<LooseView<'_>> {
        let place = *self.places.get(series as usize)?;
        let place = place.checked_sub(1)? as usize;
        Some(LooseView {
            series: self.series.get(place)?,
            open: self.strips.get(place / LANES)?.open(place % LANES),
        })
    }

    /// Returns the place of a series, made when there is none.
    pub(super) fn place_of(&mut self, series: u32) -> u32 {
        let at = series as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        if self.places[at] == 0 {
            if self.series.len().is_multiple_of(LANES) {
                self.strips.push(Strip::default());
            }
            self.series.push(LooseSeries::default());
            self.places[at] =
                u32::try_from(self.series.len()).expect("a head has fewer than 2^32 series");
        }
        self.places[at] - 1
    }

    /// Takes a sample of the series in a place and returns by how many bytes the table grew.
    #[inline]
    pub(super) fn push(
        &mut self,
        place: u32,
        sample: &SeriesSample,
        arrival: Arrival,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let place = place as usize;
        let series = &mut self.series[place];
        let position = arrival.position();
        if arrival.is_correction() {
            return series.push_correction(sample, position, tools, scratch);
        }
        let (strip, lane) = (place / LANES, place % LANES);
        if sample.at <= series.newest {
            let open = self.strips[strip].open(lane);
            return series.push_late(sample, position, open, tools, scratch);
        }
        series.newest = sample.at;
        let when = (sample.at, position);
        let value = match &sample.value {
            Value::Float(value) => *value,
            Value::Histogram(_) => 0.0,
        };
        let mut grown = 0;
        let row = match self.strips[strip].push(lane, when, value) {
            Some(row) => row,
            None => {
                grown += self.close(strip, tools, scratch);
                let pushed = self.strips[strip].push(lane, when, value);
                pushed.expect("an empty strip takes any sample")
            }
        };
        grown + self.series[place].push_beside(row, sample)
    }

    /// Makes pages of the open samples of a strip's series, and larger pages of smaller ones.
    fn close(&mut self, strip: usize, tools: &mut Tools, scratch: &mut Scratch) -> i64 {
        let first = strip * LANES;
        let strip = &mut self.strips[strip];
        let series = self.series[first..].iter_mut().take(LANES).enumerate();
        let grown = series
            .map(|(lane, series)| series.close(strip.open(lane), tools, scratch))
            .sum();
        strip.clear();
        grown
    }
}

/// What a new series takes.
pub(super) const SERIES_BYTES: u64 = (size_of::<LooseSeries>() + Strip::BYTES / LANES + 4) as u64;

/// A series' loose samples, without those that are open.
#[derive(Debug)]
struct LooseSeries {
    pages: Vec<Page>,
    /// The newest sample, late ones apart.
    newest: TimestampMs,
    rare: Option<Box<Rare>>,
}

/// What few series have.
#[derive(Debug, Default)]
struct Rare {
    /// By row of the strip, rising.
    histograms: Vec<(u8, Arc<Histogram>)>,
    starts: Vec<(u8, TimestampMs)>,
    late: Late,
    corrections: Vec<Correction>,
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
    merged: Option<MergedAxis>,
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
            rare: None,
        }
    }
}

impl LooseSeries {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes what an open sample has beside a float.
    #[inline]
    fn push_beside(&mut self, row: u8, sample: &SeriesSample) -> i64 {
        let mut grown = 0;
        if let Value::Histogram(histogram) = &sample.value {
            let list = &mut self.rare().histograms;
            list.push((row, Arc::clone(histogram)));
            grown = HISTOGRAM_BYTES;
        }
        if sample.start != TimestampMs(0) {
            self.rare().starts.push((row, sample.start));
        }
        grown
    }

    #[cold]
    fn push_late(
        &mut self,
        sample: &SeriesSample,
        position: u64,
        open: Open<'_>,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        let repeats = sample.at == self.newest || open.cells().any(|cell| cell.at == sample.at);
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
        if !runs.last().is_some_and(|run| run.takes(sample)) {
            runs.push(Correction::default());
        }
        let run = runs.last_mut();
        run.map_or(0, |run| run.push(sample, position, tools, scratch))
    }

    /// Makes a page of what is open, and larger pages of smaller ones.
    fn close(&mut self, open: Open<'_>, tools: &mut Tools, scratch: &mut Scratch) -> i64 {
        tools.take(open);
        if tools.times.is_empty() {
            return 0;
        }
        // It is encoded anew soon.
        let effort = std::mem::replace(&mut scratch.ints().effort, Effort::Quick);
        let mut grown = 0;
        match &mut self.rare {
            Some(rare) if rare.is_of_open_run() => {
                let cells: Vec<Cell> = open.cells().collect();
                let columns = open_columns(&cells, Some(rare));
                grown -= HISTOGRAM_BYTES * i64::try_from(rare.histograms.len()).unwrap_or(0);
                rare.histograms.clear();
                rare.starts.clear();
                grown += put_pages(&mut self.pages, columns, tools, scratch);
            }
            _ => {
                let (axis, bytes) = tools.axes.of(&tools.times, &tools.positions);
                grown += signed(bytes) + put_plain_page(&mut self.pages, axis, tools, scratch);
            }
        }
        scratch.ints().effort = effort;
        // So often at most: pages of histograms may come out as many as they went in.
        for _ in 0..MERGES_MAX {
            match merge_small(&mut self.pages, tools, scratch) {
                Some(merged) => grown += merged,
                None => break,
            }
        }
        grown
    }
}

impl LooseView<'_> {
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
        for page in &self.series.pages {
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
        let Some(rare) = &self.series.rare else {
            return;
        };
        for page in &rare.late.pages {
            page.read(until, range, true, (axes, scratch), out);
        }
        out.extend(rare.late.read_open(until, range));
        for correction in &rare.corrections {
            correction.read(until, range, (axes, scratch), out);
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
        if self.series.rare.is_some() {
            return Appended::Other;
        }
        let mut appended = Appended::Nothing;
        for page in self
            .series
            .pages
            .iter()
            .filter(|page| page.touches(until, range))
        {
            let cut = until < page.axis.last_position;
            if cut || !page.append_plain(scratch, out.values()) {
                return Appended::Other;
            }
            out.took(axes.of(&page.axis).0);
            appended = Appended::Plain;
        }
        if self.open_touches(until, range) {
            let cells = self.open.visible(until);
            out.values().extend(cells.clone().map(|cell| cell.value));
            out.took(axes.open(cells.map(|cell| cell.at)));
            appended = Appended::Plain;
        }
        appended
    }

    /// Appends the newest sample within `range` and returns its time, if it is in the open run and plain; without looking at pages.
    pub(super) fn append_newest(
        &self,
        until: u64,
        range: TimeRange,
        axes: &mut AxisReads,
        out: &mut PlainSeries,
    ) -> Option<TimestampMs> {
        if self.series.rare.is_some() {
            return None;
        }
        let cells = self.open.visible(until);
        let newest = cells.take_while(|cell| cell.at <= range.end).last()?;
        if newest.at < range.start {
            return None;
        }
        out.values().push(newest.value);
        out.took(axes.open([newest.at].into_iter()));
        Some(newest.at)
    }

    fn read_open(&self, until: u64, range: TimeRange) -> Option<Arrived> {
        if !self.open_touches(until, range) {
            return None;
        }
        let cells: Vec<Cell> = self.open.visible(until).collect();
        let times: Vec<TimestampMs> = cells.iter().map(|cell| cell.at).collect();
        let columns = open_columns(&cells, self.series.rare.as_deref());
        Some(Arrived {
            arrival: Arrival::at(cells.first()?.position),
            segment: columns.into_segment(Times::new(times)),
        })
    }

    /// Whether open samples that a reader sees reach into the range.
    fn open_touches(&self, until: u64, range: TimeRange) -> bool {
        let mut cells = self.open.visible(until);
        cells.next().is_some_and(|first| {
            let last = cells.last().unwrap_or(first);
            TimeRange::new(first.at, last.at).overlaps(range)
        })
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
        for page in &self.series.pages {
            each(axes.of(&page.axis).0.as_slice());
        }
        for cell in self.open.cells() {
            each(&[cell.at]);
        }
        let Some(rare) = &self.series.rare else {
            return;
        };
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
        let mut pages = self.series.pages.iter();
        let first = pages.find(|page| page.touches(u64::MAX, range));
        let open = || self.open.cells().next().map(|cell| cell.position);
        let position = first.map(|page| page.axis.first_position).or_else(open)?;
        Some(Arrival::at(position))
    }

    pub(super) fn touches(&self, until: u64, range: TimeRange) -> bool {
        let within = |page: &Page| page.touches(until, range);
        if self.series.pages.iter().any(within) {
            return true;
        }
        if self.open_touches(until, range) {
            return true;
        }
        self.series.rare.as_ref().is_some_and(|rare| {
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
        Value::Histogram(_) => 48 + HISTOGRAM_BYTES,
    }
}

/// Returns the columns of open cells, from the first one on.
fn open_columns(cells: &[Cell], rare: Option<&Rare>) -> Columns {
    let rows = cells.len();
    let floats: Vec<f64> = cells.iter().map(|cell| cell.value).collect();
    let index_of = |row: &u8| cells.binary_search_by_key(row, |cell| cell.row).ok();
    let mut starts = None;
    let mut values = OwnedValues::Floats(floats);
    if let Some(rare) = rare {
        if !rare.histograms.is_empty() {
            let mut mixed: Vec<Value> = cells.iter().map(|cell| Value::Float(cell.value)).collect();
            for (row, histogram) in &rare.histograms {
                if let Some(index) = index_of(row) {
                    mixed[index] = Value::Histogram(Arc::clone(histogram));
                }
            }
            values = unmixed(mixed);
        }
        for (row, start) in &rare.starts {
            if let Some(index) = index_of(row) {
                starts.get_or_insert_with(|| vec![TimestampMs(0); rows])[index] = *start;
            }
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
    encode_plain(&tools.floats, scratch, &mut tools.out).expect("a page takes some hundred floats");
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

/// Makes one page of the last four when they are small, and those behind the first have as many rows together as it has: so a row is packed
/// anew only into a page twice as long. Returns by how many bytes that grew, `None` when there is nothing to do.
fn merge_small(pages: &mut Vec<Page>, tools: &mut Tools, scratch: &mut Scratch) -> Option<i64> {
    let first = pages.len().checked_sub(MERGED)?;
    let last = &pages[first..];
    let rows = |pages: &[Page]| -> usize { pages.iter().map(|page| page.axis.rows()).sum() };
    let (oldest, behind) = last.split_at(1);
    if !last.iter().all(Page::is_small) || rows(behind) < rows(oldest) {
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
    /// Puts times, positions and values of open samples in place of those that stand here.
    fn take(&mut self, open: Open<'_>) {
        self.times.clear();
        self.positions.clear();
        self.floats.clear();
        for cell in open.cells() {
            self.times.push(cell.at);
            self.positions.push(cell.position);
            self.floats.push(cell.value);
        }
    }

    /// Puts times and positions of samples in place of those that stand here.
    fn unpack_open(&mut self, samples: &[LateSample]) {
        self.times.clear();
        self.positions.clear();
        self.times.extend(samples.iter().map(|sample| sample.at));
        self.positions
            .extend(samples.iter().map(|sample| sample.position));
    }

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

    /// Returns the axis of as many pages as are merged, and the bytes by which memory grew for it.
    fn merged_axis(&mut self, pages: &[Page]) -> (Arc<Axis>, usize) {
        if let Some(known) = self.merged.as_ref().filter(|known| known.is_of(pages)) {
            return (Arc::clone(&known.whole), 0);
        }
        self.unpack(pages);
        let (whole, bytes) = self.axes.of(&self.times, &self.positions);
        self.merged = Some(MergedAxis {
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

/// A page of so many rows or bytes is left alone: merging it gains little and costs much.
const LARGE_ROWS: usize = 64;
const LARGE_BYTES: usize = 16 * 1024;

impl Page {
    fn memory_bytes(&self) -> i64 {
        signed(size_of::<Self>() + self.bytes.len() + ALLOCATION_BYTES)
    }

    fn is_large(&self) -> bool {
        self.bytes.len() >= LARGE_BYTES
    }

    fn is_small(&self) -> bool {
        self.axis.rows() < LARGE_ROWS && !self.is_large()
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
        tools.unpack_open(&samples);
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
