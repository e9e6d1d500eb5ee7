//! Where time columns and pages lie.
//!
//! Both directories are integer columns: a page costs some two or three bytes. They hold no more than a reader needs before it touches
//! a page: count, least and greatest value stand at the front of the page itself, its times in its column. The layouts are drawn in
//! FORMAT.md, section "Directories".

use model::{TimeRange, TimestampMs};

use crate::bytes::{Malformed, Reader};
use crate::merge_runs::Arrival;
use crate::page::ROWS_MAX;
use crate::page::ints::{Differences, IntScratch, decode_ints, encode_ints};
use crate::page::varint::{put_length, put_varint, take_length, take_varint};

/// Series whose pages are listed together.
pub(super) const LISTED_SERIES: usize = 256;
/// Time columns that one file may have.
pub(super) const TIMES_MAX: usize = 1 << 24;
/// Pages that the series listed together may have.
const PAGES_MAX: usize = 1 << 22;

/// A time column of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimesPlace {
    pub(super) block: u32,
    /// From the start of the block's content.
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) rows: u32,
    pub(super) span: TimeRange,
}

/// A page of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PagePlace {
    /// The number of its time column, and the rows of it that the page has.
    pub(crate) times: u32,
    pub(crate) first_row: u32,
    pub(crate) rows: u32,
    pub(crate) arrival: Arrival,
    pub(crate) block: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

impl PagePlace {
    /// Returns a number that pages of one file share when they have the same rows of the same time column.
    pub(super) fn times_key(&self) -> u64 {
        // The latter two are at most `ROWS_MAX`, 14 bits.
        u64::from(self.times) << 28 | u64::from(self.first_row) << 14 | u64::from(self.rows)
    }
}

/// Appends the directory of time columns.
pub(super) fn encode_times_directory(places: &[TimesPlace], out: &mut Vec<u8>) {
    put_length(out, places.len());
    let mut columns = ColumnWriter::default();
    columns.put(places, out, |place| i64::from(place.block));
    columns.put(places, out, |place| i64::from(place.bytes));
    columns.put(places, out, |place| i64::from(place.rows));
    columns.put(places, out, |place| place.span.start.0);
    columns.put(places, out, |place| {
        place.span.end.0.wrapping_sub(place.span.start.0)
    });
}

pub(super) fn decode_times_directory(src: &[u8]) -> Result<Vec<TimesPlace>, Malformed> {
    let mut from = Reader::new(src);
    let count = take_length(&mut from, TIMES_MAX, "too many time columns")?;
    let mut columns = ColumnReader::default();
    let blocks = columns.take(&mut from, count)?;
    let bytes = columns.take(&mut from, count)?;
    let rows = columns.take(&mut from, count)?;
    let starts = columns.take(&mut from, count)?;
    let lengths = columns.take(&mut from, count)?;
    expect_end(from)?;
    let mut places = Vec::with_capacity(count);
    let mut end = BlockEnd::default();
    for at in 0..count {
        let (block, bytes) = (to_u32(blocks[at])?, to_u32(bytes[at])?);
        let rows = to_u32(rows[at])?;
        if rows == 0 || rows as usize > ROWS_MAX {
            return Err(Malformed("time column of a bad length"));
        }
        places.push(TimesPlace {
            block,
            offset: end.place(block, bytes)?,
            bytes,
            rows,
            span: TimeRange::new(
                TimestampMs(starts[at]),
                TimestampMs(starts[at].wrapping_add(lengths[at])),
            ),
        });
    }
    Ok(places)
}

/// Appends the list of the pages of up to [`LISTED_SERIES`] consecutive series.
pub(super) fn encode_pages(series: &[Vec<PagePlace>], out: &mut Vec<u8>) {
    let mut columns = ColumnWriter::default();
    columns.put(series, out, |pages| {
        i64::try_from(pages.len()).unwrap_or(i64::MAX)
    });
    let pages: Vec<PagePlace> = series.iter().flatten().copied().collect();
    let first_offset = pages.first().map_or(0, |page| page.offset);
    put_varint(out, u64::from(first_offset));
    columns.put(&pages, out, |page| i64::from(page.times));
    columns.put(&pages, out, |page| i64::from(page.first_row));
    columns.put(&pages, out, |page| i64::from(page.rows));
    columns.put(&pages, out, |page| page.arrival.to_stored());
    columns.put(&pages, out, |page| i64::from(page.block));
    columns.put(&pages, out, |page| i64::from(page.bytes));
}

/// Returns the pages of `series` consecutive series.
pub(super) fn decode_pages(src: &[u8], series: usize) -> Result<Vec<Vec<PagePlace>>, Malformed> {
    let mut from = Reader::new(src);
    let mut columns = ColumnReader::default();
    let counts = columns.take(&mut from, series)?;
    let total = counts
        .iter()
        .try_fold(0usize, |total, count| {
            total.checked_add(usize::try_from(*count).ok()?)
        })
        .filter(|total| *total <= PAGES_MAX)
        .ok_or(Malformed("too many pages"))?;
    let first_offset = u32::try_from(take_varint(&mut from, "bad offset of a page")?)
        .map_err(|_| Malformed("bad offset of a page"))?;
    let times = columns.take(&mut from, total)?;
    let first_rows = columns.take(&mut from, total)?;
    let rows = columns.take(&mut from, total)?;
    let arrivals = columns.take(&mut from, total)?;
    let blocks = columns.take(&mut from, total)?;
    let bytes = columns.take(&mut from, total)?;
    expect_end(from)?;
    let mut end = BlockEnd::default();
    if let Some(block) = blocks.first() {
        end = BlockEnd(Some((to_u32(*block)?, first_offset)));
    }
    let mut at = 0;
    let mut listed = Vec::with_capacity(series);
    for count in counts {
        let mut pages = Vec::new();
        for _ in 0..count {
            let (block, bytes) = (to_u32(blocks[at])?, to_u32(bytes[at])?);
            let (first_row, rows) = (to_u32(first_rows[at])?, to_u32(rows[at])?);
            if first_row as usize + rows as usize > ROWS_MAX {
                return Err(Malformed("page past the end of its time column"));
            }
            let offset = end.place(block, bytes)?;
            let arrival = Arrival::from_stored(arrivals[at]);
            pages.push(PagePlace {
                times: to_u32(times[at])?,
                first_row,
                rows,
                arrival,
                block,
                offset,
                bytes,
            });
            at += 1;
        }
        listed.push(pages);
    }
    Ok(listed)
}

/// The block of the thing before and where that ended: the next one of the same block follows without a gap.
#[derive(Default)]
struct BlockEnd(Option<(u32, u32)>);

impl BlockEnd {
    fn place(&mut self, block: u32, bytes: u32) -> Result<u32, Malformed> {
        let offset = match self.0 {
            Some((known, end)) if known == block => end,
            _ => 0,
        };
        let end = offset
            .checked_add(bytes)
            .ok_or(Malformed("block longer than 4 GiB"))?;
        self.0 = Some((block, end));
        Ok(offset)
    }
}

#[derive(Default)]
pub(super) struct ColumnWriter {
    scratch: IntScratch,
    values: Vec<i64>,
}

impl ColumnWriter {
    pub(super) fn put<T>(&mut self, rows: &[T], out: &mut Vec<u8>, value: impl Fn(&T) -> i64) {
        self.values.clear();
        self.values.extend(rows.iter().map(value));
        encode_ints(&self.values, Differences::First, &mut self.scratch, out);
    }
}

#[derive(Default)]
pub(super) struct ColumnReader {
    scratch: IntScratch,
}

impl ColumnReader {
    pub(super) fn take(
        &mut self,
        from: &mut Reader<'_>,
        count: usize,
    ) -> Result<Vec<i64>, Malformed> {
        let mut values = Vec::new();
        decode_ints(from, count, &mut self.scratch, &mut values)?;
        Ok(values)
    }
}

pub(super) fn to_u32(value: i64) -> Result<u32, Malformed> {
    u32::try_from(value).map_err(|_| Malformed("number out of range in a directory"))
}

pub(super) fn expect_end(from: Reader<'_>) -> Result<(), Malformed> {
    if from.rest().is_empty() {
        Ok(())
    } else {
        Err(Malformed("bytes after the end"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn directories_survive(
            series in prop::collection::vec(prop::collection::vec((any::<u32>(), 0u32..2_000, 1u32..2_000, any::<i64>(), prop::bool::weighted(0.1), 1u32..5_000), 0..4), 0..20),
            first_offset in 0u32..60_000,
        ) {
            let (mut block, mut offset) = (9, first_offset);
            let mut first = true;
            let series: Vec<Vec<PagePlace>> = series
                .into_iter()
                .map(|pages| pages.into_iter().map(|(times, first_row, rows, arrival, next, bytes)| {
                    if next && !first {
                        (block, offset) = (block + 3, 0);
                    }
                    first = false;
                    let place = PagePlace { times, first_row, rows, arrival: Arrival::from_stored(arrival), block, offset, bytes };
                    offset += bytes;
                    place
                }).collect())
                .collect();
            let mut out = Vec::new();
            encode_pages(&series, &mut out);
            prop_assert_eq!(decode_pages(&out, series.len()).unwrap(), series);
        }

        #[test]
        fn damaged_directories_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), series in 0usize..300) {
            decode_pages(&bytes, series).ok();
            decode_times_directory(&bytes[..bytes.len().min(40)]).ok();
        }
    }
}
