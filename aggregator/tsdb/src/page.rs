//! Pages: one column of consecutive rows, compressed; and the time columns that pages share.
//!
//! A page holds what one series has in up to [`ROWS_MAX`] consecutive rows of its cohort: which rows have a value, the values (floats,
//! native histograms, or both), and start times where known. It does not hold timestamps: those are a column of the cohort, stored
//! once ([`encode_times`]) for all its series. Every round trip is exact to the bit.
//!
//! A page of a downsampling tier holds summaries instead ([`rollups`]), over a column of the ends of buckets.
//!
//! Floats take the way decimal -> whole numbers -> differences -> frame of reference ([`ints`]); columns that have no decimals go
//! through XOR ([`xor`]). A page of floats tells count, least and greatest value without being decoded ([`page_summary`]).
//!
//! Invariants: functions of slices, no state but buffers for reuse; each length is checked before memory is taken for it; damaged bytes
//! give [`Malformed`], never a panic. They can give wrong values, though: blocks carry the checksums, not pages. Layout: FORMAT.md.

mod bits;
mod decimal;
mod floats;
mod frame;
mod histograms;
pub(crate) mod ints;
mod presence;
mod rollups;
#[cfg(test)]
mod tests;
pub(crate) mod varint;
mod xor;

use std::sync::{Arc, LazyLock};

use model::{Histogram, TimestampMs, Value};
use rows::Presence;
use storage::{BucketLength, Rollup, RollupColumns, Segment, SegmentValues, Times};

use self::floats::{
    Bounds, FloatScratch, decode_floats, decode_shared_floats, encode_floats, peek_bounds,
};
use self::histograms::{CELLS_MAX, cells, decode_histograms, encode_histograms};
use self::ints::{Differences, IntScratch, decode_ints, encode_ints};
use self::presence::{PresenceForm, encode_presence, take_presence};
use self::rollups::{Shapes, decode_rollups, encode_rollups};
use self::varint::{put_length, take_length};
use crate::bytes::{Malformed, Reader};

/// The most rows of a page, and timestamps of a time column.
pub(crate) const ROWS_MAX: usize = 8_192;

const KIND_MASK: u8 = 0b11;
const KIND_FLOATS: u8 = 0;
const KIND_HISTOGRAMS: u8 = 1;
const KIND_MIXED: u8 = 2;
const KIND_ROLLUPS: u8 = 3;
const PRESENCE_SHIFT: u32 = 2;
const START_TIMES: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// A column to encode: one entry per row in each part, ignored where the row has no value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    /// Its rows, 1 to [`ROWS_MAX`].
    pub(crate) rows: usize,
    /// Which rows have a value; `None`: all.
    pub(crate) presence: Option<&'a Presence>,
    /// The values.
    pub(crate) values: ColumnValues<'a>,
    /// When the counter behind each value started (0: not known); `None`: nothing is known.
    pub(crate) start_times: Option<&'a [TimestampMs]>,
}

/// The values of a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColumnValues<'a> {
    Floats(&'a [f64]),
    Histograms(&'a [Arc<Histogram>]),
    Mixed(&'a [Value]),
    /// Summaries of buckets of a length, each with its bucket's end. They have no start times.
    Rollups(BucketLength, &'a [(TimestampMs, Rollup)]),
}

/// Why a column does not fit a page: it has no rows, more than [`ROWS_MAX`], or larger histograms than a reader would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot encode a page of {rows} rows whose histograms hold {cells} numbers: it takes 1 to {ROWS_MAX} rows and {CELLS_MAX} numbers; \
     take fewer rows"
)]
pub(crate) struct PageTooLarge {
    pub(crate) rows: usize,
    pub(crate) cells: usize,
}

/// What a page tells without being decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Its rows.
    pub(crate) rows: usize,
    /// Rows with a value.
    pub(crate) count: usize,
    /// Least and greatest float that is a number; `None` when there is none, or when the page is not of floats only.
    pub(crate) bounds: Bounds,
}

/// A page's content, one entry per row in each part.
#[derive(Debug)]
pub(crate) struct DecodedPage {
    rows: usize,
    presence: Option<Presence>,
    values: SegmentValues,
    start_times: Option<Vec<TimestampMs>>,
}

/// Buffers that encoding and decoding reuse; keep one per thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    floats: FloatScratch,
    values: Vec<f64>,
    whole: Vec<i64>,
    shapes: Shapes,
}

impl Scratch {
    /// Returns the buffers that integer streams use.
    pub(crate) const fn ints(&mut self) -> &mut IntScratch {
        &mut self.floats.ints
    }
}

/// Appends the page of `column` to `out`; `out` is as before after an error.
pub(crate) fn encode_page(
    column: &Column<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), PageTooLarge> {
    let rows = column.rows;
    check_size(column)?;
    let start = out.len();
    out.push(0);
    put_length(out, rows);
    let presence = encode_presence(column.presence, rows, out);
    let present = PresentRows {
        rows,
        presence: column.presence.filter(|_| presence != PresenceForm::All),
    };
    let mut flags = (presence as u8) << PRESENCE_SHIFT;
    let rollups = matches!(column.values, ColumnValues::Rollups(..));
    if let Some(starts) = column.start_times.filter(|_| !rollups) {
        flags |= START_TIMES;
        scratch.whole.clear();
        scratch
            .whole
            .extend(present.iter().map(|row| starts[row].0));
        encode_ints(
            &scratch.whole,
            Differences::First,
            &mut scratch.floats.ints,
            out,
        );
    }
    flags |= match column.values {
        ColumnValues::Floats(values) => {
            if present.presence.is_none() {
                encode_floats(&values[..rows], true, &mut scratch.floats, out);
            } else {
                scratch.values.clear();
                scratch.values.extend(present.iter().map(|row| values[row]));
                encode_floats(&scratch.values, true, &mut scratch.floats, out);
            }
            KIND_FLOATS
        }
        ColumnValues::Histograms(values) => {
            let values: Vec<&Histogram> = present.iter().map(|row| &*values[row]).collect();
            encode_histograms(&values, &mut scratch.floats, out);
            KIND_HISTOGRAMS
        }
        ColumnValues::Mixed(values) => {
            encode_mixed(present.iter().map(|row| &values[row]), scratch, out);
            KIND_MIXED
        }
        ColumnValues::Rollups(length, values) => {
            let values: Vec<_> = present.iter().map(|row| values[row]).collect();
            encode_rollups(length, &values, scratch, out);
            KIND_ROLLUPS
        }
    };
    out[start] = flags;
    Ok(())
}

fn check_size(column: &Column<'_>) -> Result<(), PageTooLarge> {
    let rows = column.rows;
    let cells = match column.values {
        ColumnValues::Floats(_) | ColumnValues::Rollups(..) => 0,
        ColumnValues::Histograms(values) => cells(values.iter().map(|value| &**value)),
        ColumnValues::Mixed(values) => cells(values.iter().filter_map(histogram_of)),
    };
    if rows == 0 || rows > ROWS_MAX || cells > CELLS_MAX {
        return Err(PageTooLarge { rows, cells });
    }
    Ok(())
}

fn histogram_of(value: &Value) -> Option<&Histogram> {
    match value {
        Value::Float(_) => None,
        Value::Histogram(histogram) => Some(histogram),
    }
}

fn encode_mixed<'a>(
    values: impl Iterator<Item = &'a Value>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let mut histograms = Vec::new();
    scratch.values.clear();
    scratch.whole.clear();
    for value in values {
        match value {
            Value::Float(value) => scratch.values.push(*value),
            Value::Histogram(histogram) => histograms.push(&**histogram),
        }
        scratch.whole.push(i64::from(histogram_of(value).is_some()));
    }
    encode_ints(
        &scratch.whole,
        Differences::First,
        &mut scratch.floats.ints,
        out,
    );
    encode_floats(&scratch.values, false, &mut scratch.floats, out);
    encode_histograms(&histograms, &mut scratch.floats, out);
}

/// The rows of a column that have a value.
#[derive(Clone, Copy)]
struct PresentRows<'a> {
    rows: usize,
    presence: Option<&'a Presence>,
}

impl PresentRows<'_> {
    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).filter(|row| self.presence.is_none_or(|presence| presence.contains(*row)))
    }
}

/// A page's first bytes.
struct Head {
    flags: u8,
    rows: usize,
    count: usize,
    presence: Option<Presence>,
}

fn take_head(from: &mut Reader<'_>) -> Result<Head, Malformed> {
    let flags = from.u8("page is empty")?;
    let rollups = flags & KIND_MASK == KIND_ROLLUPS;
    if flags & RESERVED != 0 || rollups && flags & START_TIMES != 0 {
        return Err(Malformed("unknown kind of page"));
    }
    let rows = take_length(from, ROWS_MAX, "page has too many rows")?;
    if rows == 0 {
        return Err(Malformed("page has no rows"));
    }
    let presence = take_presence(from, PresenceForm::from_bits(flags >> PRESENCE_SHIFT), rows)?;
    let count = presence.as_ref().map_or(rows, Presence::count);
    Ok(Head {
        flags,
        rows,
        count,
        presence,
    })
}

/// Returns what the page in `src` tells without being decoded.
pub(crate) fn page_summary(src: &[u8]) -> Result<Summary, Malformed> {
    let mut from = Reader::new(src);
    let head = take_head(&mut from)?;
    // Start times stand before the values; pages that have them are rare, so they are decoded to get past.
    if head.flags & START_TIMES != 0 {
        decode_ints(
            &mut from,
            head.count,
            &mut FloatScratch::default().ints,
            &mut Vec::new(),
        )?;
    }
    let floats = head.flags & KIND_MASK == KIND_FLOATS && head.count > 0;
    let bounds = if floats { peek_bounds(from)? } else { None };
    Ok(Summary {
        rows: head.rows,
        count: head.count,
        bounds,
    })
}

/// Returns the content of the page in `src`.
pub(crate) fn decode_page(src: &[u8], scratch: &mut Scratch) -> Result<DecodedPage, Malformed> {
    decode_page_of(src, RollupColumns::ALL, scratch)
}

/// Returns the content of the page in `src`; if it is of summaries, without the columns of values that are not in `wanted`.
pub(crate) fn decode_page_of(
    src: &[u8],
    wanted: RollupColumns,
    scratch: &mut Scratch,
) -> Result<DecodedPage, Malformed> {
    let mut from = Reader::new(src);
    let Head {
        flags,
        rows,
        count,
        presence,
    } = take_head(&mut from)?;
    let start_times = if flags & START_TIMES != 0 {
        decode_ints(
            &mut from,
            count,
            &mut scratch.floats.ints,
            &mut scratch.whole,
        )?;
        let starts = scratch.whole.iter().map(|start| TimestampMs(*start));
        Some(spread(starts, rows, presence.as_ref(), || TimestampMs(0)))
    } else {
        None
    };
    let values = match flags & KIND_MASK {
        KIND_FLOATS => SegmentValues::Floats(take_floats(
            &mut from,
            rows,
            count,
            presence.as_ref(),
            scratch,
        )?),
        KIND_HISTOGRAMS => {
            let values = decode_histograms(&mut from, count, &mut scratch.floats)?;
            SegmentValues::Histograms(
                spread(values, rows, presence.as_ref(), absent_histogram).into(),
            )
        }
        KIND_ROLLUPS => SegmentValues::Rollup(decode_rollups(
            &mut from,
            (rows, count),
            presence.as_ref(),
            wanted,
            scratch,
        )?),
        _ => {
            let values = take_mixed(&mut from, count, scratch)?;
            SegmentValues::Mixed(
                spread(values, rows, presence.as_ref(), || Value::Float(0.0)).into(),
            )
        }
    };
    if !from.rest().is_empty() {
        return Err(Malformed("page goes on after its values"));
    }
    Ok(DecodedPage {
        rows,
        presence,
        values,
        start_times,
    })
}

/// Appends the values of a page that has a float in every row and no start times; leaves `out` alone and returns `false` for any other.
pub(crate) fn append_plain_floats(
    src: &[u8],
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Result<bool, Malformed> {
    let mut from = Reader::new(src);
    let head = take_head(&mut from)?;
    if head.flags & (KIND_MASK | START_TIMES) != KIND_FLOATS || head.presence.is_some() {
        return Ok(false);
    }
    decode_floats(&mut from, head.count, &mut scratch.floats, out)?;
    Ok(true)
}

fn take_floats(
    from: &mut Reader<'_>,
    rows: usize,
    count: usize,
    presence: Option<&Presence>,
    scratch: &mut Scratch,
) -> Result<Arc<[f64]>, Malformed> {
    if presence.is_none() {
        return decode_shared_floats(from, count, &mut scratch.floats);
    }
    scratch.values.clear();
    decode_floats(from, count, &mut scratch.floats, &mut scratch.values)?;
    Ok(spread(scratch.values.iter().copied(), rows, presence, || 0.0).into())
}

fn take_mixed(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut Scratch,
) -> Result<Vec<Value>, Malformed> {
    decode_ints(from, count, &mut scratch.floats.ints, &mut scratch.whole)?;
    if scratch.whole.iter().any(|kind| !(0..=1).contains(kind)) {
        return Err(Malformed("unknown kind of value"));
    }
    let histogram_count = scratch.whole.iter().filter(|kind| **kind == 1).count();
    scratch.values.clear();
    decode_floats(
        from,
        count - histogram_count,
        &mut scratch.floats,
        &mut scratch.values,
    )?;
    let mut histograms = decode_histograms(from, histogram_count, &mut scratch.floats)?.into_iter();
    let mut floats = scratch.values.iter();
    scratch
        .whole
        .iter()
        .map(|kind| match kind {
            0 => floats.next().copied().map(Value::Float),
            _ => histograms.next().map(Value::Histogram),
        })
        .map(|value| value.ok_or(Malformed("fewer values than their kinds say")))
        .collect()
}

/// Puts the values of present rows in their places and `absent()` in the others.
fn spread<T>(
    values: impl IntoIterator<Item = T>,
    rows: usize,
    presence: Option<&Presence>,
    absent: impl Fn() -> T,
) -> Vec<T> {
    let mut values = values.into_iter();
    match presence {
        None => values.collect(),
        Some(presence) => (0..rows)
            .map(|row| {
                let value = if presence.contains(row) {
                    values.next()
                } else {
                    None
                };
                value.unwrap_or_else(&absent)
            })
            .collect(),
    }
}

fn absent_histogram() -> Arc<Histogram> {
    static ABSENT: LazyLock<Arc<Histogram>> = LazyLock::new(|| {
        Arc::new(Histogram {
            sum: 0.0,
            ..Histogram::stale()
        })
    });
    Arc::clone(&ABSENT)
}

impl DecodedPage {
    /// Returns the number of rows.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Returns values and start times, one of each per row, of a page whose rows are all present.
    pub(crate) fn into_parts(self) -> (SegmentValues, Option<Vec<TimestampMs>>) {
        debug_assert!(self.presence.is_none(), "all rows are present");
        (self.values, self.start_times)
    }

    /// Returns the segment that this page and the times of its rows make; `times` has as many entries as the page has rows.
    pub(crate) fn into_segment(self, times: Times) -> Segment {
        debug_assert_eq!(times.as_slice().len(), self.rows, "one timestamp per row");
        Segment {
            times,
            ..self.into_untimed_segment()
        }
    }

    /// Returns the segment with an empty time column, for whoever knows the times otherwise.
    pub(crate) fn into_untimed_segment(self) -> Segment {
        static NO_TIMES: LazyLock<Times> = LazyLock::new(|| Times::new([]));
        Segment {
            times: Times::clone(&NO_TIMES),
            presence: self.presence.map(Arc::new),
            values: self.values,
            start_times: self.start_times.map(Arc::from),
        }
    }
}

/// Appends a time column: 1 to [`ROWS_MAX`] timestamps that rise strictly.
///
/// # Panics
/// When there are none or too many: whoever cuts rows into columns bounds them.
pub(crate) fn encode_times(times: &[TimestampMs], scratch: &mut Scratch, out: &mut Vec<u8>) {
    assert!(
        (1..=ROWS_MAX).contains(&times.len()),
        "a time column has 1 to {ROWS_MAX} rows, not {}",
        times.len()
    );
    put_length(out, times.len());
    scratch.whole.clear();
    scratch.whole.extend(times.iter().map(|at| at.0));
    encode_ints(
        &scratch.whole,
        Differences::Second,
        &mut scratch.floats.ints,
        out,
    );
}

/// Returns the time column in `src`.
pub(crate) fn decode_times(
    src: &[u8],
    scratch: &mut Scratch,
) -> Result<Vec<TimestampMs>, Malformed> {
    let mut from = Reader::new(src);
    let rows = take_length(&mut from, ROWS_MAX, "time column is too long")?;
    if rows == 0 {
        return Err(Malformed("time column is empty"));
    }
    decode_ints(
        &mut from,
        rows,
        &mut scratch.floats.ints,
        &mut scratch.whole,
    )?;
    if !from.rest().is_empty() {
        return Err(Malformed("time column goes on after its last row"));
    }
    if scratch.whole.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Malformed("timestamps do not rise"));
    }
    Ok(scratch.whole.iter().map(|at| TimestampMs(*at)).collect())
}
