//! Making partitions of a frozen head: one file per span of time that its samples touch.
//!
//! A cohort's stretches are cut at the ends of spans and laid end to end into **bands** of up to [`BAND_ROWS`] rows, which share one time
//! column; a series has one page per band in which it is present. Late stretches lie in bands of their own, each extended only by the
//! next, and only until another main band begins: then the band that began first in the log has, at equal times, the row that came first,
//! as the stretches had.

mod loose;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use files::FileSystem;
use model::{TimeRange, TimestampMs};
use rows::Slot;

use self::loose::{LooseTimes, loose_columns};
use crate::head::{Columns, Gathering, Head, ReadCache, View};
use crate::index::{IndexRead as _, SeriesId};
use crate::merge_runs::Arrival;
use crate::page::Scratch;
use crate::partition::{PartitionError, PartitionKey, PartitionSummary, PartitionWriter, TimesId};
use crate::plain::PlainSeries;

/// How long a span is.
pub(crate) const SPAN_MS: i64 = 2 * 60 * 60 * 1_000;
/// Rows of a band: beyond this, pages gain little in size and cost more to read a part of.
const BAND_ROWS: usize = 480;

/// Returns the start of the span that holds `at`.
pub(crate) const fn span_of(at: TimestampMs) -> i64 {
    at.0.div_euclid(SPAN_MS)
}

/// Adds the spans that times touch which rise.
fn add_spans(times: &[TimestampMs], spans: &mut BTreeSet<i64>) {
    let mut rest = times;
    while let Some(first) = rest.first() {
        let span = span_of(*first);
        spans.insert(span);
        rest = &rest[rest.partition_point(|at| span_of(*at) == span)..];
    }
}

pub(crate) fn span_range(span: i64) -> TimeRange {
    let start = span.saturating_mul(SPAN_MS);
    TimeRange::new(
        TimestampMs(start),
        TimestampMs(start.saturating_add(SPAN_MS - 1)),
    )
}

/// A frozen head, prepared for sealing.
pub(crate) struct Sealing {
    head: Arc<Head>,
    /// Sorted by labels.
    series: Vec<SeriesId>,
    spans: Vec<i64>,
    scratch: Scratch,
    /// Of one column at a time.
    floats: Vec<f64>,
    loose: ReadCache,
}

impl Sealing {
    pub(crate) fn new(head: Arc<Head>) -> Self {
        let series = head.index.in_order();
        let mut loose = ReadCache::default();
        let mut spans = BTreeSet::new();
        for cohort in 0..head.cohort_count() {
            for view in head.stretches(cohort) {
                spans.extend(view.column_times().as_slice().iter().map(|at| span_of(*at)));
            }
        }
        for id in &series {
            head.loose_times(*id, &mut loose, &mut |times| add_spans(times, &mut spans));
        }
        Self {
            head,
            series,
            spans: spans.into_iter().collect(),
            scratch: Scratch::default(),
            floats: Vec::new(),
            loose,
        }
    }

    /// Returns the spans that the head's samples touch, rising.
    pub(crate) fn spans(&self) -> &[i64] {
        &self.spans
    }

    /// Writes the samples of one span into the file at `path`, synced.
    pub(crate) fn write(
        &mut self,
        files: &dyn FileSystem,
        path: &Path,
        shard: u16,
        span: i64,
    ) -> Result<PartitionSummary, PartitionError> {
        let range = span_range(span);
        let key = PartitionKey { shard, span: range };
        let mut writer = PartitionWriter::create(files, path, key)?;
        let newest = self.spans.last() == Some(&span);
        let cohorts = self.bands(&mut writer, range)?;
        let mut loose_times = LooseTimes::default();
        let mut plain = PlainSeries::new(range);
        let index = self.head.index.view();
        for series in &self.series {
            let mut started = false;
            let mut start = |writer: &mut PartitionWriter<'_>| {
                if std::mem::replace(&mut started, true) {
                    return Ok(());
                }
                let labels = match index.labels(*series) {
                    Ok(labels) => labels.unwrap_or_default(),
                    Err(never) => match never {},
                };
                writer.start_series(&labels)
            };
            for (cohort, generation, slot) in self.head.places(*series) {
                let bands = cohorts.get(cohort as usize).map(Vec::as_slice);
                let of_generation = bands
                    .unwrap_or_default()
                    .iter()
                    .filter(|(_, band)| band.generation == generation);
                for (times_id, band) in of_generation {
                    let floats = std::mem::take(&mut self.floats);
                    if let Some(columns) = band.columns(slot, floats, &mut self.scratch) {
                        start(&mut writer)?;
                        let place = (*times_id, band.arrival);
                        put_pages(&mut writer, place, &columns, &mut self.scratch)?;
                        self.floats = columns.into_floats();
                    }
                }
            }
            let tools = (&mut self.loose, &mut plain);
            for found in loose_columns(&self.head, *series, range, tools) {
                start(&mut writer)?;
                let place = (loose_times.of(&mut writer, &found)?, found.arrival);
                put_pages(&mut writer, place, &found.columns, &mut self.scratch)?;
            }
            for exemplar in self.head.exemplars(*series, TimeRange::ALL) {
                let own = span_of(exemplar.at);
                let homeless = newest && self.spans.binary_search(&own).is_err();
                if own == span || homeless {
                    start(&mut writer)?;
                    writer.add_exemplar(&exemplar)?;
                }
            }
        }
        if newest {
            for (metric, sayings) in self.head.metadata() {
                for metadata in sayings {
                    writer.add_metadata(&metric, &metadata)?;
                }
            }
        }
        writer.finish()
    }

    /// Lays out the rows of every cohort within `range`.
    fn bands(
        &self,
        writer: &mut PartitionWriter<'_>,
        range: TimeRange,
    ) -> Result<Vec<Vec<(TimesId, Band)>>, PartitionError> {
        (0..self.head.cohort_count())
            .map(|cohort| {
                lay_out(self.head.stretches(cohort), range)
                    .into_iter()
                    .map(|band| Ok((writer.add_times(&band.times)?, band)))
                    .collect()
            })
            .collect()
    }
}

/// Rows of a cohort end to end.
struct Band {
    generation: u32,
    late: bool,
    arrival: Arrival,
    times: Vec<TimestampMs>,
    parts: Vec<Part>,
}

/// Rows `from..to` of a stretch.
struct Part {
    view: View,
    from: usize,
    to: usize,
}

fn lay_out(stretches: Vec<View>, range: TimeRange) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for view in stretches {
        let times = view.column_times().clone();
        let times = times.as_slice();
        let mut from = times.partition_point(|at| *at < range.start);
        let end = times.partition_point(|at| *at <= range.end);
        while from < end {
            let (generation, late) = (view.numbering(), view.is_late());
            let last = bands.iter().rposition(|band| band.late == late);
            let fits = |at: &usize| {
                let band = &bands[*at];
                // No main band has begun since: its rows may be repeated here, and stand.
                let latest = !late || *at + 1 == bands.len();
                band.generation == generation
                    && latest
                    && band.times.len() < BAND_ROWS
                    && band.times.last().is_none_or(|last| *last < times[from])
            };
            let at = last.filter(fits).unwrap_or(bands.len());
            if at == bands.len() {
                bands.push(Band {
                    generation,
                    late,
                    arrival: view.arrival(),
                    times: Vec::new(),
                    parts: Vec::new(),
                });
            }
            let band = &mut bands[at];
            let to = end.min(from + BAND_ROWS - band.times.len());
            band.times.extend_from_slice(&times[from..to]);
            band.parts.push(Part {
                view: view.clone(),
                from,
                to,
            });
            from = to;
        }
    }
    bands
}

impl Band {
    /// Returns the column of a slot; `None` when nothing is present. `floats` is a buffer that it may use.
    fn columns(&self, slot: Slot, mut floats: Vec<f64>, scratch: &mut Scratch) -> Option<Columns> {
        floats.clear();
        let mut append = |part: &Part| {
            let rows = (part.from, part.to);
            part.view
                .append_plain(usize::from(slot), rows, scratch, &mut floats)
        };
        if self.parts.iter().all(&mut append) {
            return Some(Columns::plain(floats));
        }
        let mut gathering = Gathering::new(self.times.len());
        let mut at = 0;
        for part in &self.parts {
            if let Some(segment) = part.view.column(usize::from(slot), scratch) {
                gathering.take(&segment, part.from, part.to, at);
            }
            at += part.to - part.from;
        }
        gathering.into_columns()
    }
}

/// Writes a column as one page; as several where a block ends in the midst of it, or where its histograms are too many for one.
pub(crate) fn put_pages(
    writer: &mut PartitionWriter<'_>,
    (times, arrival): (TimesId, Arrival),
    columns: &Columns,
    scratch: &mut Scratch,
) -> Result<(), PartitionError> {
    let mut page = Vec::with_capacity(columns.rows * 2);
    let mut from = 0;
    while from < columns.rows {
        let mut to = columns.rows;
        let mut cut = false;
        loop {
            page.clear();
            match columns.encode(from, to, scratch, &mut page) {
                Ok(()) => {
                    let fitting = writer.rows_that_fit(&page, to - from);
                    if let Some(rows) = fitting.filter(|rows| !cut && from + rows < to) {
                        (to, cut) = (from + rows, true);
                        continue;
                    }
                    writer.add_page(times, from, arrival, &page)?;
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
    Ok(())
}
