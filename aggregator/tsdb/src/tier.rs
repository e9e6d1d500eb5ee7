//! Downsampling tiers: a day's samples as summaries of buckets, in partition files of their own.
//!
//! A tier file is made of what one file of samples holds and stands for exactly that: for a series of floats it has one page of
//! summaries per [`ENDS_MAX`] buckets, over a time column of the ends of all buckets of the file, which all its series share; it begins with
//! the first bucket that there is, and ends with the last. A series that
//! has any native histogram in the file stays as it is: its pages are of samples, in the tier too, so that a tier answers for every series.
//!
//! Buckets lie on multiples of their length, left-open; files are left-closed. So a sample at the first instant of a day is in the
//! bucket that ends there, alone, in its day's file, while the rest of that bucket is in the file of the day before; readers join the two
//! ([`merge_runs`](crate::merge_runs)).
//!
//! Pure: segments in, columns out. When tiers are made, and which is read, is for others to decide.

mod choice;
mod make;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use files::FileSystem;
use model::{Labels, TimeRange, TimestampMs, Value};
use rows::Presence;
use storage::{BucketLength, Rollup, RollupBuilder, Segment, SegmentValues};

pub(crate) use self::choice::{Source, choose};
pub(crate) use self::make::{make_tier, rewrite_tier};
pub(crate) use self::plan::{
    BEREFT, State, TierPlan, bereave, day_of, day_range, find_bereft, plan_tiers, untiered,
};
use crate::merge_runs::Arrival;
use crate::page::{Column, ColumnValues, ROWS_MAX, Scratch, encode_page};
use crate::partition::{PartitionError, PartitionKey, PartitionSummary, PartitionWriter, TimesId};

/// The most buckets of a page: a day of five minutes fits.
const ENDS_MAX: usize = 512;

const _: () = assert!(ENDS_MAX <= ROWS_MAX, "a page takes the buckets of a column");

/// Returns the ends of all buckets that samples within `range` can be in, cut into time columns.
fn columns_of_ends(range: TimeRange, length: BucketLength) -> Vec<Vec<TimestampMs>> {
    let (first, last) = (length.end_of(range.start).0, length.end_of(range.end).0);
    let step = length.as_ms();
    let mut columns: Vec<Vec<TimestampMs>> = Vec::new();
    let mut end = first;
    while end <= last {
        match columns.last_mut().filter(|column| column.len() < ENDS_MAX) {
            Some(column) => column.push(TimestampMs(end)),
            None => columns.push(vec![TimestampMs(end)]),
        }
        let Some(next) = end.checked_add(step) else {
            break;
        };
        end = next;
    }
    columns
}

/// Returns the summaries of a series' samples, each with the end of its bucket, rising; `None` when there is a native histogram among
/// them. `segments` are as [`merge_runs`](crate::merge_runs::merge_runs) gives them.
fn summarise(segments: &[Segment], length: BucketLength) -> Option<Vec<(TimestampMs, Rollup)>> {
    let mut builder = RollupBuilder::new(length);
    let mut buckets = Vec::new();
    for segment in segments {
        for (row, at) in segment.times.as_slice().iter().enumerate() {
            match segment.value(row) {
                Some(Value::Float(value)) => buckets.extend(builder.push(*at, value)),
                Some(Value::Histogram(_)) => return None,
                None => {}
            }
        }
    }
    buckets.extend(builder.finish());
    Some(buckets)
}

/// Appends to `out` the page of the buckets that end within `ends`, a time column, from the first of them to the last; returns the row of the
/// first, if there is any.
fn encode_tier_page(
    ends: &[TimestampMs],
    buckets: &[(TimestampMs, Rollup)],
    length: BucketLength,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let (start, end) = (ends.first()?, ends.last()?);
    let from = buckets.partition_point(|(at, _)| at < start);
    let to = buckets.partition_point(|(at, _)| at <= end);
    let buckets = &buckets[from..to];
    let first = ends.binary_search(&buckets.first()?.0).ok()?;
    let last = ends.binary_search(&buckets.last()?.0).ok()?;
    let ends = &ends[first..=last];
    let absent = Rollup::of(*start, 0.0);
    let mut presence = Presence::filled(ends.len(), false);
    let mut rows: Vec<(TimestampMs, Rollup)> = ends.iter().map(|end| (*end, absent)).collect();
    for (end, rollup) in buckets {
        if let Ok(row) = ends.binary_search(end) {
            rows[row].1 = *rollup;
            presence.set(row, true);
        }
    }
    let column = Column {
        rows: ends.len(),
        presence: Some(&presence),
        values: ColumnValues::Rollups(length, &rows),
        start_times: None,
    };
    // A column of ends has 1 to `ENDS_MAX` rows, which is what a page can refuse.
    encode_page(&column, scratch, out).ok().map(|()| first)
}

/// Rows of a page of samples.
const ROWS: usize = 480;
/// Time columns of samples that are remembered; beyond, a column may be stored twice.
const COLUMNS_MAX: usize = 4_096;

/// Writes the tier of one file's samples, series by series in order of their labels.
#[derive(Debug)]
pub(crate) struct TierWriter<'a> {
    writer: PartitionWriter<'a>,
    length: BucketLength,
    ends: Vec<(TimesId, Vec<TimestampMs>)>,
    /// By the content of rows of samples.
    columns: HashMap<Vec<TimestampMs>, TimesId>,
    scratch: Scratch,
    page: Vec<u8>,
}

impl<'a> TierWriter<'a> {
    /// Makes the file at `path`, which must not exist; all samples lie in the span of `key`.
    pub(crate) fn create(
        files: &'a dyn FileSystem,
        path: &Path,
        key: PartitionKey,
        length: BucketLength,
    ) -> Result<Self, PartitionError> {
        let mut writer = PartitionWriter::create(files, path, key)?;
        let mut ends = Vec::new();
        for column in columns_of_ends(key.span, length) {
            ends.push((writer.add_times(&column)?, column));
        }
        Ok(Self {
            writer,
            length,
            ends,
            columns: HashMap::new(),
            scratch: Scratch::default(),
            page: Vec::new(),
        })
    }

    /// Writes the next series: its samples in order of time, each timestamp once.
    pub(crate) fn add_series(
        &mut self,
        labels: &Labels,
        segments: &[Segment],
    ) -> Result<(), PartitionError> {
        let Some(buckets) = summarise(segments, self.length) else {
            self.writer.start_series(labels)?;
            return segments
                .iter()
                .try_for_each(|segment| self.add_samples(segment));
        };
        self.add_buckets(labels, &buckets)
    }

    /// Writes the next series as another tier has it: summaries, or samples, in order of time.
    pub(crate) fn copy_series(
        &mut self,
        labels: &Labels,
        segments: &[Segment],
    ) -> Result<(), PartitionError> {
        let mut buckets = Vec::new();
        for segment in segments {
            let SegmentValues::Rollup(rollups) = &segment.values else {
                return self.add_series(labels, segments);
            };
            for (row, end) in segment.times.as_slice().iter().enumerate() {
                let bucket = rollups.row(row, *end).filter(|_| segment.is_present(row));
                buckets.extend(bucket.map(|bucket| (*end, bucket)));
            }
        }
        self.add_buckets(labels, &buckets)
    }

    fn add_buckets(
        &mut self,
        labels: &Labels,
        buckets: &[(TimestampMs, Rollup)],
    ) -> Result<(), PartitionError> {
        if buckets.is_empty() {
            return Ok(());
        }
        self.writer.start_series(labels)?;
        for (times, ends) in &self.ends {
            self.page.clear();
            let (length, page) = (self.length, &mut self.page);
            let first = encode_tier_page(ends, buckets, length, &mut self.scratch, page);
            if let Some(first) = first {
                self.writer.add_page(*times, first, Arrival::at(0), page)?;
            }
        }
        Ok(())
    }

    /// Writes a stretch of samples as they are.
    fn add_samples(&mut self, segment: &Segment) -> Result<(), PartitionError> {
        let rows = segment.times.as_slice();
        let (mut from, mut most) = (0, ROWS);
        while from < rows.len() {
            let to = rows.len().min(from + most);
            self.page.clear();
            if let Err(error) = encode_part(segment, from, to, &mut self.scratch, &mut self.page) {
                if most > 1 {
                    most /= 2;
                    continue;
                }
                tracing::error!(%error, "a sample does not fit a page and is left out of a tier");
                from = to;
                continue;
            }
            let times = match self.columns.get(&rows[from..to]) {
                Some(known) => *known,
                None => self.writer.add_times(&rows[from..to])?,
            };
            if self.columns.len() < COLUMNS_MAX {
                self.columns.insert(rows[from..to].to_vec(), times);
            }
            self.writer.add_page(times, 0, Arrival::at(0), &self.page)?;
            (from, most) = (to, ROWS);
        }
        Ok(())
    }

    /// Writes what is left and syncs; of a tier in which there is no series the summary says so.
    pub(crate) fn finish(self) -> Result<PartitionSummary, PartitionError> {
        self.writer.finish()
    }
}

/// Appends the page of rows `from..to` of a segment of samples.
fn encode_part(
    segment: &Segment,
    from: usize,
    to: usize,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), crate::page::PageTooLarge> {
    let presence = segment.presence.as_ref().map(|presence| {
        let mut part = Presence::filled(to - from, false);
        for row in (from..to).filter(|row| presence.contains(*row)) {
            part.set(row - from, true);
        }
        part
    });
    let column = Column {
        rows: to - from,
        presence: presence.as_ref(),
        values: match &segment.values {
            SegmentValues::Floats(values) => ColumnValues::Floats(&values[from..to]),
            SegmentValues::Histograms(values) => ColumnValues::Histograms(&values[from..to]),
            SegmentValues::Mixed(values) => ColumnValues::Mixed(&values[from..to]),
            // What a tier is made of are samples.
            SegmentValues::Rollup(_) => ColumnValues::Floats(&[]),
        },
        start_times: segment.start_times.as_ref().map(|starts| &starts[from..to]),
    };
    encode_page(&column, scratch, out)
}
