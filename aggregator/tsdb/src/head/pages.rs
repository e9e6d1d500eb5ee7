//! Closed rows: each column a page, all pages of a chunk in one allocation.

use std::sync::Arc;

use model::{Histogram, TimestampMs, Value};
use rows::Presence;
use storage::{Segment, SegmentValues, Times};

use super::chunk::{Chunk, SlotSide};
use crate::page::{Column, ColumnValues, PageTooLarge, Scratch, decode_page, encode_page};

/// The rows of a chunk that is closed, or of a series' run of loose samples (then of one slot).
#[derive(Debug)]
pub(crate) struct Pages {
    /// Which numbering of slots.
    pub(crate) generation: u32,
    /// Whether its rows came after newer ones.
    pub(crate) late: bool,
    /// The rows' timestamps, strictly rising.
    pub(crate) times: Times,
    /// The rows' log positions, never falling.
    positions: Box<[u64]>,
    /// The end of each slot's page in `bytes`; an empty page: nothing present.
    ends: Box<[u32]>,
    bytes: Box<[u8]>,
}

impl Pages {
    /// Encodes all rows of a chunk; fails when its histograms are too many for a page, and then it is best left as it is.
    pub(crate) fn of_chunk(chunk: &Chunk, scratch: &mut Scratch) -> Result<Self, PageTooLarge> {
        let rows = chunk.rows();
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(chunk.slots());
        for slot in 0..chunk.slots() {
            if let Some(columns) = chunk_columns(chunk, slot, rows) {
                columns.encode(0, rows, scratch, &mut bytes)?;
            }
            ends.push(end_of(&bytes));
        }
        Ok(Self {
            generation: chunk.generation,
            late: chunk.late,
            times: Times::new(chunk.times(rows)),
            positions: chunk.positions(rows).into(),
            ends: ends.into(),
            bytes: bytes.into(),
        })
    }

    /// Encodes samples of one series; fails when their histograms are too many for a page.
    pub(crate) fn of_samples(
        times: &[TimestampMs],
        positions: &[u64],
        values: &[Value],
        scratch: &mut Scratch,
    ) -> Result<Self, PageTooLarge> {
        let mut bytes = Vec::new();
        sample_columns(values).encode(0, times.len(), scratch, &mut bytes)?;
        Ok(Self {
            generation: 0,
            late: false,
            times: Times::new(times),
            positions: positions.into(),
            ends: Box::new([end_of(&bytes)]),
            bytes: bytes.into(),
        })
    }

    /// Returns the number of slots; those past the end have nothing here.
    pub(crate) fn slots(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn first_position(&self) -> u64 {
        self.positions.first().copied().unwrap_or(0)
    }

    /// Returns how many rows have this position or an earlier one.
    pub(crate) fn rows_until(&self, position: u64) -> usize {
        self.positions.partition_point(|one| *one <= position)
    }

    /// Returns the bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4 + self.positions.len() * 16 + 128
    }

    /// Decodes the first `rows` rows of a slot over `times`, which are this stretch's first `rows`; `None` when nothing is present.
    pub(crate) fn segment(
        &self,
        slot: usize,
        rows: usize,
        times: &Times,
        scratch: &mut Scratch,
    ) -> Option<Segment> {
        let end = *self.ends.get(slot)? as usize;
        let start = slot.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let page = self.bytes.get(start..end).filter(|page| !page.is_empty())?;
        // Encoded by this process and never outside its memory.
        let page = decode_page(page, scratch).expect("a page in memory decodes");
        if rows == self.positions.len() {
            return Some(page.into_segment(times.clone()));
        }
        Some(cut(&page.into_segment(self.times.clone()), rows, times))
    }
}

fn end_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a chunk of some hundred KiB encodes to no more than MiB")
}

/// A column that owns its parts.
pub(crate) struct Columns {
    pub(crate) rows: usize,
    pub(crate) presence: Option<Presence>,
    pub(crate) values: OwnedValues,
    pub(crate) starts: Option<Vec<TimestampMs>>,
}

/// The values of a column, one per row.
pub(crate) enum OwnedValues {
    Floats(Vec<f64>),
    Histograms(Vec<Arc<Histogram>>),
    Mixed(Vec<Value>),
}

impl Columns {
    /// Appends the page of rows `from..to`.
    pub(crate) fn encode(
        &self,
        from: usize,
        to: usize,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), PageTooLarge> {
        let part = self
            .presence
            .as_ref()
            .filter(|_| to - from < self.rows)
            .map(|presence| part_of(presence, from, to));
        let column = Column {
            rows: to - from,
            presence: part.as_ref().or(self.presence.as_ref()),
            values: match &self.values {
                OwnedValues::Floats(values) => ColumnValues::Floats(&values[from..to]),
                OwnedValues::Histograms(values) => ColumnValues::Histograms(&values[from..to]),
                OwnedValues::Mixed(values) => ColumnValues::Mixed(&values[from..to]),
            },
            start_times: self.starts.as_ref().map(|starts| &starts[from..to]),
        };
        encode_page(&column, scratch, out)
    }

    pub(crate) fn into_segment(self, times: Times) -> Segment {
        Segment {
            times,
            presence: self.presence.map(Arc::new),
            values: match self.values {
                OwnedValues::Floats(values) => SegmentValues::Floats(values.into()),
                OwnedValues::Histograms(values) => SegmentValues::Histograms(values.into()),
                OwnedValues::Mixed(values) => SegmentValues::Mixed(values.into()),
            },
            start_times: self.starts.map(Into::into),
        }
    }
}

/// Returns rows `from..to` of a presence.
fn part_of(presence: &Presence, from: usize, to: usize) -> Presence {
    let mut part = Presence::filled(to - from, false);
    for row in (from..to).filter(|row| presence.contains(*row)) {
        part.set(row - from, true);
    }
    part
}

/// Returns a slot's column in the first `rows` rows of an open chunk; `None` when nothing is present.
pub(crate) fn chunk_columns(chunk: &Chunk, slot: usize, rows: usize) -> Option<Columns> {
    let mut floats = Vec::with_capacity(rows);
    let presence = chunk.column(slot, rows, &mut floats);
    let present = presence.as_ref().map_or(rows, Presence::count);
    if present == 0 {
        return None;
    }
    let side =
        u16::try_from(slot).map_or_else(|_| SlotSide::default(), |slot| chunk.side_of(slot, rows));
    let starts = start_column(&side.starts, rows);
    let values = if side.histograms.is_empty() {
        OwnedValues::Floats(floats)
    } else if side.histograms.len() == present {
        OwnedValues::Histograms(histogram_column(&side.histograms, rows))
    } else {
        let mut values: Vec<Value> = floats.into_iter().map(Value::Float).collect();
        for (row, histogram) in side.histograms {
            values[row as usize] = Value::Histogram(histogram);
        }
        OwnedValues::Mixed(values)
    };
    Some(Columns {
        rows,
        presence,
        values,
        starts,
    })
}

/// Spreads start times over the rows that they hold for; 0 before the first is known.
fn start_column(starts: &[(u32, TimestampMs)], rows: usize) -> Option<Vec<TimestampMs>> {
    if starts.is_empty() {
        return None;
    }
    let mut column = vec![TimestampMs(0); rows];
    for (row, start) in starts {
        // Later entries overwrite the tail of earlier ones.
        column[*row as usize..].fill(*start);
    }
    Some(column)
}

/// One entry per row; absent rows repeat a neighbour, which means nothing.
fn histogram_column(present: &[(u32, Arc<Histogram>)], rows: usize) -> Vec<Arc<Histogram>> {
    let mut column = Vec::with_capacity(rows);
    for (row, histogram) in present {
        column.resize(*row as usize + 1, Arc::clone(histogram));
    }
    if let Some((_, last)) = present.last() {
        column.resize(rows, Arc::clone(last));
    }
    column
}

/// Returns floats as floats and histograms as histograms when all are of a kind.
fn unmixed(values: Vec<Value>) -> OwnedValues {
    let histograms = values
        .iter()
        .filter(|value| matches!(value, Value::Histogram(_)))
        .count();
    if histograms == 0 {
        let float = |value| match value {
            Value::Float(value) => Some(value),
            Value::Histogram(_) => None,
        };
        return OwnedValues::Floats(values.into_iter().filter_map(float).collect());
    }
    if histograms == values.len() {
        let histogram = |value| match value {
            Value::Histogram(value) => Some(value),
            Value::Float(_) => None,
        };
        return OwnedValues::Histograms(values.into_iter().filter_map(histogram).collect());
    }
    OwnedValues::Mixed(values)
}

/// Returns the columns of samples that are still gathered.
pub(crate) fn sample_columns(values: &[Value]) -> Columns {
    Columns {
        rows: values.len(),
        presence: None,
        values: unmixed(values.to_vec()),
        starts: None,
    }
}

/// Returns the first `rows` entries of a segment, over `times`.
fn cut(segment: &Segment, rows: usize, times: &Times) -> Segment {
    let presence = segment.presence.as_ref();
    let presence = presence.map(|presence| Arc::new(part_of(presence, 0, rows)));
    let values = match &segment.values {
        SegmentValues::Floats(values) => SegmentValues::Floats(values[..rows].into()),
        SegmentValues::Histograms(values) => SegmentValues::Histograms(values[..rows].into()),
        SegmentValues::Mixed(values) => SegmentValues::Mixed(values[..rows].into()),
        SegmentValues::Rollup(values) => SegmentValues::Rollup(values[..rows].into()),
    };
    Segment {
        times: times.clone(),
        presence,
        values,
        start_times: segment
            .start_times
            .as_ref()
            .map(|starts| starts[..rows].into()),
    }
}
