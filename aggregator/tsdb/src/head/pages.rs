//! Closed rows: each column a page, times and positions encoded too, all of a chunk in one allocation.

use std::sync::Arc;

use model::{Histogram, TimestampMs, Value};
use rows::Presence;
use storage::{Segment, SegmentValues, Times};

use super::chunk::{Chunk, SlotSide, TILE_SLOTS};
use super::gathering::Gathering;
use crate::bytes::Reader;
use crate::page::ints::{Differences, Effort, decode_ints, encode_ints};
use crate::page::{
    Column, ColumnValues, PageTooLarge, Scratch, append_plain_floats, decode_page, decode_times,
    encode_page, encode_times,
};
use crate::plain::Appended;

/// Slots between two entries of the table that says where pages begin.
const ANCHOR_EVERY: usize = 32;
/// What a stretch of closed rows takes beside its bytes.
const FIXED_BYTES: usize = size_of::<Pages>() + 64;

/// The rows of a chunk that is closed.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Which numbering of slots.
    pub(crate) generation: u32,
    /// Whether its rows came after newer ones.
    pub(crate) late: bool,
    rows: u16,
    /// Slots with a page, empty or not; those past the end have nothing here.
    slots: u16,
    /// The first and the last row's log positions; they never fall.
    positions: (u64, u64),
    /// Where, in `bytes`, the positions, the table and the pages begin; the times stand first. The table is the pages' offsets, of every
    /// [`ANCHOR_EVERY`]th slot in 4 bytes each, then the lengths of all in `length_bytes` each. An empty page: nothing present.
    positions_at: u32,
    table_at: u32,
    pages_at: u32,
    length_bytes: u8,
    bytes: Box<[u8]>,
}

impl Pages {
    /// Encodes all rows of a chunk, quickly: they are soon [joined](Self::joined). Fails when its histograms are too many for a page, and
    /// then it is best left as it is.
    pub(crate) fn of_chunk(chunk: &Chunk, scratch: &mut Scratch) -> Result<Self, PageTooLarge> {
        let rows = chunk.rows();
        let mut tile = Vec::new();
        let mut of_word = (0, 0);
        let column = |slot: usize, scratch: &mut Scratch, pages: &mut Vec<u8>| {
            if slot.is_multiple_of(64) {
                of_word = chunk.presence_of(slot / 64, rows);
            }
            if slot.is_multiple_of(TILE_SLOTS) {
                chunk.tile(slot, rows, &mut tile);
            }
            let (all, any) = (of_word.0 >> (slot % 64) & 1, of_word.1 >> (slot % 64) & 1);
            if any == 0 {
                return Ok(());
            }
            if all == 1 && !chunk.has_side() {
                let values = &tile[slot % TILE_SLOTS * rows..][..rows];
                return encode_plain(values, scratch, pages);
            }
            chunk_columns(chunk, slot, (0, rows))
                .map_or(Ok(()), |columns| columns.encode(0, rows, scratch, pages))
        };
        let (times, positions) = (chunk.times(rows), chunk.positions(rows));
        let numbering = (chunk.generation, chunk.late);
        let effort = std::mem::replace(&mut scratch.ints().effort, Effort::Quick);
        let built = Self::build(
            numbering,
            &times,
            &positions,
            chunk.slots(),
            column,
            scratch,
        );
        scratch.ints().effort = effort;
        built
    }

    /// Encodes the rows of several stretches of one numbering as one, which takes less memory: they follow each other in time and in
    /// position. Fails when their histograms are too many for a page.
    pub(crate) fn joined(parts: &[Arc<Self>], scratch: &mut Scratch) -> Result<Self, PageTooLarge> {
        let mut times: Vec<TimestampMs> = Vec::new();
        let mut positions = Vec::new();
        let mut whole = Vec::with_capacity(parts.len());
        for part in parts {
            let own = part.times(scratch);
            times.extend_from_slice(own.as_slice());
            part.put_positions(scratch, &mut positions);
            whole.push((part, own));
        }
        let slots = parts.iter().map(|part| part.slots()).max().unwrap_or(0);
        let numbering = parts
            .first()
            .map_or((0, false), |first| (first.generation, first.late));
        let rows = times.len();
        let mut plain = Vec::with_capacity(rows);
        let mut in_order: Vec<_> = parts.iter().map(|part| part.pages()).collect();
        let column = |slot, scratch: &mut Scratch, pages: &mut Vec<u8>| {
            plain.clear();
            let mut all_plain = true;
            for part in &mut in_order {
                let page = part.next().unwrap_or_default();
                all_plain = all_plain
                    && !page.is_empty()
                    && append_plain_floats(page, scratch, &mut plain).expect(OWN_BYTES);
            }
            if all_plain {
                return encode_plain(&plain, scratch, pages);
            }
            let mut gathering = Gathering::new(rows);
            let mut at = 0;
            for (part, times) in &whole {
                let own = times.as_slice().len();
                if let Some(segment) = part.segment(slot, own, times, scratch) {
                    gathering.take(&segment, 0, own, at);
                }
                at += own;
            }
            gathering
                .into_columns()
                .map_or(Ok(()), |columns| columns.encode(0, rows, scratch, pages))
        };
        Self::build(numbering, &times, &positions, slots, column, scratch)
    }

    fn build(
        (generation, late): (u32, bool),
        times: &[TimestampMs],
        positions: &[u64],
        slots: usize,
        mut column: impl FnMut(usize, &mut Scratch, &mut Vec<u8>) -> Result<(), PageTooLarge>,
        scratch: &mut Scratch,
    ) -> Result<Self, PageTooLarge> {
        let mut pages = Vec::new();
        let mut ends: Vec<u32> = Vec::with_capacity(slots);
        for slot in 0..slots {
            column(slot, scratch, &mut pages)?;
            ends.push(offset(pages.len()));
        }
        let mut bytes = Vec::with_capacity(pages.len() + slots * 2 + times.len() * 4 + 64);
        encode_times(times, scratch, &mut bytes);
        let positions_at = offset(bytes.len());
        let whole: Vec<i64> = positions.iter().map(|one| one.cast_signed()).collect();
        encode_ints(&whole, Differences::First, scratch.ints(), &mut bytes);
        let table_at = offset(bytes.len());
        let length_bytes = put_table(&ends, &mut bytes);
        let pages_at = offset(bytes.len());
        bytes.extend_from_slice(&pages);
        let ends_of = |list: &[u64]| Some((*list.first()?, *list.last()?));
        Ok(Self {
            generation,
            late,
            rows: u16::try_from(times.len()).expect("a page takes at most 4,096 rows"),
            slots: u16::try_from(slots).expect("a layout has at most 16,384 slots"),
            positions: ends_of(positions).unwrap_or_default(),
            positions_at,
            table_at,
            pages_at,
            length_bytes,
            bytes: bytes.into(),
        })
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        usize::from(self.rows)
    }

    /// Returns the number of slots; those past the end have nothing here.
    pub(crate) fn slots(&self) -> usize {
        usize::from(self.slots)
    }

    pub(crate) const fn first_position(&self) -> u64 {
        self.positions.0
    }

    /// Returns the rows' timestamps, strictly rising.
    pub(crate) fn times(&self, scratch: &mut Scratch) -> Times {
        let encoded = &self.bytes[..self.positions_at as usize];
        Times::new(decode_times(encoded, scratch).expect(OWN_BYTES))
    }

    /// Returns how many rows have this position or an earlier one.
    pub(crate) fn rows_until(&self, position: u64, scratch: &mut Scratch) -> usize {
        let (first, last) = self.positions;
        if position >= last {
            return self.rows();
        }
        if position < first {
            return 0;
        }
        let mut positions = Vec::new();
        self.put_positions(scratch, &mut positions);
        positions.partition_point(|one| *one <= position)
    }

    fn put_positions(&self, scratch: &mut Scratch, out: &mut Vec<u64>) {
        let encoded = &self.bytes[self.positions_at as usize..self.table_at as usize];
        let mut whole = Vec::new();
        decode_ints(
            &mut Reader::new(encoded),
            self.rows(),
            scratch.ints(),
            &mut whole,
        )
        .expect(OWN_BYTES);
        out.extend(whole.iter().map(|one| one.cast_unsigned()));
    }

    /// Returns the bytes held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.bytes.len() + FIXED_BYTES
    }

    /// Decodes the first `rows` rows of a slot over `times`, which are this stretch's first `rows`; `None` when nothing is present.
    pub(crate) fn segment(
        &self,
        slot: usize,
        rows: usize,
        times: &Times,
        scratch: &mut Scratch,
    ) -> Option<Segment> {
        let page = self.page(slot).filter(|page| !page.is_empty())?;
        let page = decode_page(page, scratch).expect(OWN_BYTES);
        if rows == self.rows() {
            return Some(page.into_segment(times.clone()));
        }
        let all = self.times(scratch);
        Some(cut(&page.into_segment(all), rows, times))
    }

    /// Appends the floats of a slot, if it has one in every row and nothing else.
    pub(crate) fn append_plain(
        &self,
        slot: usize,
        scratch: &mut Scratch,
        out: &mut Vec<f64>,
    ) -> Appended {
        let page = self.page(slot).unwrap_or_default();
        if page.is_empty() {
            Appended::Nothing
        } else if append_plain_floats(page, scratch, out).expect(OWN_BYTES) {
            Appended::Plain
        } else {
            Appended::Other
        }
    }

    /// Returns the pages of all slots in order.
    fn pages(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.pages_at as usize;
        let width = usize::from(self.length_bytes);
        let anchors = self.slots().div_ceil(ANCHOR_EVERY) * 4;
        let lengths = &self.bytes[self.table_at as usize + anchors..self.pages_at as usize];
        lengths.chunks_exact(width.max(1)).map(move |length| {
            let start = at;
            at += length_of(length);
            self.bytes.get(start..at).unwrap_or_default()
        })
    }

    fn page(&self, slot: usize) -> Option<&[u8]> {
        if slot >= self.slots() {
            return None;
        }
        let table = &self.bytes[self.table_at as usize..self.pages_at as usize];
        let anchors = self.slots().div_ceil(ANCHOR_EVERY) * 4;
        let (anchors, lengths) = table.split_at(anchors);
        let width = usize::from(self.length_bytes);
        let length = |slot: usize| length_of(&lengths[slot * width..][..width]);
        let anchor = slot / ANCHOR_EVERY;
        let mut start = [0; 4];
        start.copy_from_slice(&anchors[anchor * 4..][..4]);
        let before: usize = (anchor * ANCHOR_EVERY..slot).map(length).sum();
        let start = self.pages_at as usize + u32::from_le_bytes(start) as usize + before;
        self.bytes.get(start..start + length(slot))
    }
}

/// Appends the page of floats in every row.
pub(super) fn encode_plain(
    values: &[f64],
    scratch: &mut Scratch,
    pages: &mut Vec<u8>,
) -> Result<(), PageTooLarge> {
    let column = Column {
        rows: values.len(),
        presence: None,
        values: ColumnValues::Floats(values),
        start_times: None,
    };
    encode_page(&column, scratch, pages)
}

/// Why decoding what this module encoded cannot fail.
const OWN_BYTES: &str = "bytes that this process encoded and that never left its memory decode";

/// Appends where pages begin, given where they end; returns the bytes of a length.
fn put_table(ends: &[u32], out: &mut Vec<u8>) -> u8 {
    let start_of = |slot: usize| slot.checked_sub(1).map_or(0, |before| ends[before]);
    for slot in (0..ends.len()).step_by(ANCHOR_EVERY) {
        out.extend_from_slice(&start_of(slot).to_le_bytes());
    }
    let lengths = || (0..ends.len()).map(|slot| ends[slot] - start_of(slot));
    let longest = lengths().max().unwrap_or(0);
    let width = match longest {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    };
    for length in lengths() {
        out.extend_from_slice(&length.to_le_bytes()[..usize::from(width)]);
    }
    width
}

fn length_of(bytes: &[u8]) -> usize {
    let byte = |length, byte: &u8| length << 8 | usize::from(*byte);
    bytes.iter().rev().fold(0, byte)
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a chunk of some hundred KiB encodes to no more than MiB")
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
    /// Returns the column of a float in every row.
    pub(crate) const fn plain(floats: Vec<f64>) -> Self {
        Self {
            rows: floats.len(),
            presence: None,
            values: OwnedValues::Floats(floats),
            starts: None,
        }
    }

    /// Returns the floats, to be a buffer again; an empty one where there are none.
    pub(crate) fn into_floats(self) -> Vec<f64> {
        match self.values {
            OwnedValues::Floats(floats) => floats,
            OwnedValues::Histograms(_) | OwnedValues::Mixed(_) => Vec::new(),
        }
    }

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

/// Returns a slot's column in rows `from..to` of an open chunk, from its first one if the chunk has values beside its cells; `None` when
/// nothing is present.
pub(crate) fn chunk_columns(
    chunk: &Chunk,
    slot: usize,
    (from, to): (usize, usize),
) -> Option<Columns> {
    let rows = to - from;
    let mut floats = Vec::with_capacity(rows);
    let presence = chunk.column(slot, (from, to), &mut floats);
    let present = presence.as_ref().map_or(rows, Presence::count);
    if present == 0 {
        return None;
    }
    // What stands beside the cells came after the last of these rows when some before them are left out.
    let side = u16::try_from(slot)
        .ok()
        .filter(|_| from == 0)
        .map_or_else(SlotSide::default, |slot| chunk.side_of(slot, to));
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

/// Returns the column of these values, one in every row.
pub(crate) fn sample_columns(values: &[Value]) -> Columns {
    Columns {
        rows: values.len(),
        presence: None,
        values: unmixed(values.to_vec()),
        starts: None,
    }
}

/// Returns floats as floats and histograms as histograms when all are of a kind.
pub(super) fn unmixed(values: Vec<Value>) -> OwnedValues {
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

/// Returns the first `rows` entries of a segment, over `times`.
fn cut(segment: &Segment, rows: usize, times: &Times) -> Segment {
    let presence = segment.presence.as_ref();
    let presence = presence.map(|presence| Arc::new(part_of(presence, 0, rows)));
    let values = match &segment.values {
        SegmentValues::Floats(values) => SegmentValues::Floats(values[..rows].into()),
        SegmentValues::Histograms(values) => SegmentValues::Histograms(values[..rows].into()),
        SegmentValues::Mixed(values) => SegmentValues::Mixed(values[..rows].into()),
        SegmentValues::Rollup(values) => SegmentValues::Rollup(values.part(0, rows)),
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
