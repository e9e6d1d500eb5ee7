//! Partitions: immutable files, each with all that one shard has of one span of time.
//!
//! A partition is a redb database used as a bag of blocks of at most 65,000 bytes, each with a checksum of its own ([`block`]). It is
//! built in one pass ([`PartitionWriter`]), compacted, synced, and from then on only read. Inside lie:
//! - **time columns**, one per stretch of rows of a cohort, shared by all its series;
//! - **pages**, the columns of the series ([`crate::page`]), in order of the series' labels;
//! - **directories**: where columns and pages lie ([`directory`]);
//! - the **index** ([`crate::index`]), exemplars and metadata.
//!
//! Invariants: whatever is read was verified by its block's checksum first; damage to a block of pages is an error that names file and
//! block, and costs those pages only; any other is mended ([`blocks`]). Pages of one series may overlap in time (late runs): [`Partition::read`] tells when each arrived and
//! [`merge_runs`](crate::merge_runs::merge_runs) makes one series of them. Layout: FORMAT.md.

mod block;
mod blocks;
mod database;
mod directory;
mod error;
mod extras;
#[cfg(test)]
mod figures;
pub(crate) mod fuzzing;
mod header;
mod parity;
mod reader;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
mod writer;

use std::path::Path;
use std::sync::Arc;

use files::FileSystem;
use model::{Exemplar, Labels, Metadata, TimeRange, TimestampMs};
use storage::{RollupColumns, Segment, SegmentValues, Times};

use self::block::BlockKind;
use self::blocks::Blocks;
pub(crate) use self::directory::PagePlace;
use self::directory::{
    ColumnReader, LISTED_SERIES, TimesPlace, decode_pages, decode_times_directory, expect_end,
};
pub(crate) use self::error::PartitionError;
use self::error::Place;
use self::extras::{ExemplarLists, offsets, take_exemplar_lists, take_exemplars, take_metadata};
use self::header::Header;
pub(crate) use self::reader::PartitionReader;
pub(crate) use self::verify::Verified;
pub(crate) use self::writer::{PartitionWriter, TimesId};
use crate::bytes::{Malformed, Reader};
use crate::cache::{Cache, CacheKey};
use crate::counters::Counters;
use crate::index::{
    Area, EncodedIndex, IndexRead, LabelsReader as IndexLabelsReader, LastBlock, SeriesId,
    read_area,
};
use crate::merge_runs::Arrived;
use crate::page::{Scratch, decode_page_of, decode_times};

/// What lies in the shared cache.
const SORT_TIMES: u8 = 17;
const SORT_TIMES_PART: u8 = 18;
const SORT_PAGES: u8 = 19;

/// Which shard, which span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionKey {
    pub(crate) shard: u16,
    pub(crate) span: TimeRange,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionSummary {
    /// The size of the file.
    pub(crate) bytes: u64,
    pub(crate) series: u64,
    pub(crate) samples: u64,
    /// All samples lie within.
    pub(crate) times: TimeRange,
}

/// Reads the labels of a partition's series, best in order.
pub(crate) type LabelsReader<'a> = IndexLabelsReader<'a, Arc<Blocks>>;

/// An open partition.
#[derive(Debug)]
pub(crate) struct Partition {
    header: Header,
    index: EncodedIndex<Arc<Blocks>>,
    times: Vec<TimesPlace>,
    /// Where the list of each [`LISTED_SERIES`] series' pages begins, and the last one's end.
    page_lists: Vec<u64>,
    exemplar_lists: ExemplarLists,
}

impl Partition {
    /// Opens the file for reading: header, index root and directories of directories are read and stay in memory; what is decoded later
    /// goes to `cache`.
    pub(crate) fn open(
        files: &dyn FileSystem,
        path: &Path,
        cache: &Arc<Cache>,
    ) -> Result<Self, PartitionError> {
        Self::of(Blocks::open(files, path, Arc::clone(cache), None)?)
    }

    /// The same; damage that costs nothing is counted when it is met.
    pub(crate) fn open_counted(
        files: &dyn FileSystem,
        path: &Path,
        cache: &Arc<Cache>,
        counters: &Arc<Counters>,
    ) -> Result<Self, PartitionError> {
        let counters = Some(Arc::clone(counters));
        Self::of(Blocks::open(files, path, Arc::clone(cache), counters)?)
    }

    fn of(blocks: Arc<Blocks>) -> Result<Self, PartitionError> {
        let header = blocks.header().clone();
        let owner = blocks.owner();
        let whole = |area: Area| {
            let length = usize::try_from(area.bytes).unwrap_or(usize::MAX);
            read_area(&blocks, area, 0, length, &mut LastBlock::default())
        };
        let malformed = |area: Area| {
            let blocks = &blocks;
            move |what| PartitionError::malformed(blocks.path(), area.first_block, what)
        };
        let times =
            decode_times_directory(&whole(header.times)?).map_err(malformed(header.times))?;
        let series = usize::try_from(header.summary.series).unwrap_or(usize::MAX);
        let page_lists = take_page_lists(&whole(header.page_lists)?, series, &header)
            .map_err(malformed(header.page_lists))?;
        let exemplar_lists = take_exemplar_lists(&whole(header.exemplar_lists)?)
            .map_err(malformed(header.exemplar_lists))?;
        let cache = Arc::clone(blocks.cache());
        let index = EncodedIndex::open(Arc::clone(&blocks), header.index, cache, owner)?;
        if u64::from(index.len()) != header.summary.series {
            let what = "header and index disagree on the number of series";
            return Err(PartitionError::damaged(blocks.path(), Place::Header, what));
        }
        Ok(Self {
            header,
            index,
            times,
            page_lists,
            exemplar_lists,
        })
    }

    /// Reads what the file says of itself, and nothing else of it.
    pub(crate) fn peek(
        files: &dyn FileSystem,
        path: &Path,
    ) -> Result<(PartitionKey, PartitionSummary), PartitionError> {
        let blocks = Blocks::open(files, path, Arc::new(Cache::new(0)), None)?;
        let header = blocks.header();
        Ok((header.key, header.summary))
    }

    pub(crate) fn path(&self) -> &Path {
        self.blocks().path()
    }

    /// Returns the number of series.
    pub(crate) const fn series(&self) -> u64 {
        self.header.summary.series
    }

    /// Returns what of the file is index rather than samples.
    pub(crate) const fn index_bytes(&self) -> u64 {
        self.header.index_bytes()
    }

    /// Returns the index; its series are numbered in order of their labels.
    pub(crate) const fn index(&self) -> &impl IndexRead<Error = PartitionError> {
        &self.index
    }

    /// Returns the labels of a series; `None` when there is no such series.
    pub(crate) fn labels(&self, series: SeriesId) -> Result<Option<Labels>, PartitionError> {
        self.index.labels(series)
    }

    /// Returns a reader of the labels of many series.
    pub(crate) fn labels_reader(&self) -> LabelsReader<'_> {
        self.index.labels_reader()
    }

    /// Returns the pages of a series that touch `range`, whole, in the order in which they were written.
    pub(crate) fn read(
        &self,
        series: SeriesId,
        range: TimeRange,
    ) -> Result<Vec<Arrived>, PartitionError> {
        let mut scratch = Scratch::default();
        let mut runs = Vec::new();
        for page in self.pages_of(series)?.iter() {
            if self.column_of(page)?.span.overlaps(range) && self.span_of(page)?.overlaps(range) {
                runs.push(self.decode(page, &mut scratch)?);
            }
        }
        Ok(runs)
    }

    /// Returns the pages of a series, in the order in which they were written, with the times of their first and last rows.
    pub(crate) fn pages(
        &self,
        series: SeriesId,
    ) -> Result<Vec<(PagePlace, TimeRange)>, PartitionError> {
        let listed = self.pages_of(series)?;
        let spanned = |page: &PagePlace| Ok((*page, self.span_of(page)?));
        listed.iter().map(spanned).collect()
    }

    /// Returns the content of a page.
    pub(crate) fn decode(
        &self,
        page: &PagePlace,
        scratch: &mut Scratch,
    ) -> Result<Arrived, PartitionError> {
        let times = self.times_of(page)?;
        let segment = self.decode_values(page, scratch)?;
        Ok(Arrived {
            arrival: page.arrival,
            segment: Segment { times, ..segment },
        })
    }

    /// Returns the content of a page without its times: the segment's time column is empty.
    pub(crate) fn decode_values(
        &self,
        page: &PagePlace,
        scratch: &mut Scratch,
    ) -> Result<Segment, PartitionError> {
        let block = self.blocks().read(BlockKind::Pages, page.block)?;
        self.values_in(&block, page, RollupColumns::ALL, scratch)
    }

    /// Returns the content of a page, without its times, of the block that it lies in.
    fn values_in(
        &self,
        block: &[u8],
        page: &PagePlace,
        wanted: RollupColumns,
        scratch: &mut Scratch,
    ) -> Result<Segment, PartitionError> {
        let malformed = |what| PartitionError::malformed(self.path(), page.block, Malformed(what));
        let bytes = slice(block, page.offset, page.bytes)
            .ok_or_else(|| malformed("page past the end of its block"))?;
        let decoded = decode_page_of(bytes, wanted, scratch).map_err(|what| malformed(what.0))?;
        if decoded.rows() != page.rows as usize {
            return Err(malformed("page has other rows than its directory says"));
        }
        Ok(self.up_to_the_end(decoded.into_untimed_segment()))
    }

    /// Returns the time column of a page, which has the page's rows.
    fn column_of(&self, page: &PagePlace) -> Result<&TimesPlace, PartitionError> {
        let malformed = |what| PartitionError::malformed(self.path(), page.block, Malformed(what));
        let column = self
            .times
            .get(page.times as usize)
            .ok_or_else(|| malformed("page of an unknown time column"))?;
        if page.first_row + page.rows > column.rows {
            return Err(malformed("page is longer than its time column"));
        }
        Ok(column)
    }

    /// Returns the times of a page's first and last rows.
    fn span_of(&self, page: &PagePlace) -> Result<TimeRange, PartitionError> {
        let column = self.column_of(page)?;
        if page.first_row == 0 && page.rows == column.rows {
            return Ok(column.span);
        }
        let times = self.times_of(page)?;
        let (first, last) = (times.as_slice().first(), times.as_slice().last());
        let nothing =
            || PartitionError::malformed(self.path(), page.block, Malformed("page has no rows"));
        first
            .zip(last)
            .map(|(first, last)| TimeRange::new(*first, *last))
            .ok_or_else(nothing)
    }

    /// Returns the segment, with a word on how far its summaries, if it has any, know of everything: to the end of the partition's span.
    fn up_to_the_end(&self, mut segment: Segment) -> Segment {
        if let SegmentValues::Rollup(rollups) = &mut segment.values {
            rollups.until = TimestampMs(self.header.key.span.end.0.saturating_add(1));
        }
        segment
    }

    /// Returns what the file holds.
    pub(crate) const fn summary(&self) -> PartitionSummary {
        self.header.summary
    }

    /// Returns the exemplars of a series in `range`, in the order in which they were written.
    pub(crate) fn exemplars(
        &self,
        series: SeriesId,
        range: TimeRange,
    ) -> Result<Vec<Exemplar>, PartitionError> {
        let Ok(at) = self.exemplar_lists.series.binary_search(&series) else {
            return Ok(Vec::new());
        };
        let (start, end) = (
            self.exemplar_lists.offsets[at],
            self.exemplar_lists.offsets[at + 1],
        );
        let area = self.header.exemplars;
        let bytes = self.read_area(area, start, end)?;
        let malformed = |what| PartitionError::malformed(self.path(), area.block_of(start), what);
        let mut exemplars = take_exemplars(&bytes).map_err(malformed)?;
        exemplars.retain(|exemplar| range.contains(exemplar.at));
        Ok(exemplars)
    }

    /// Returns what metric families say of themselves, in the order in which it was written.
    pub(crate) fn metadata(&self) -> Result<Vec<(Arc<str>, Metadata)>, PartitionError> {
        let area = self.header.metadata;
        let bytes = self.read_area(area, 0, area.bytes)?;
        take_metadata(&bytes)
            .map_err(|what| PartitionError::malformed(self.path(), area.first_block, what))
    }

    /// Returns whether the file is to be opened anew: as long as it stays open it stays unreadable, since the disk failed once.
    pub(crate) fn is_stuck(&self) -> bool {
        self.blocks().is_stuck()
    }

    /// Returns where in the file blocks lie, and whether they are of pages.
    #[cfg(test)]
    pub(crate) fn places_of_blocks(&self) -> Vec<(bool, std::ops::Range<u64>)> {
        self.blocks().places()
    }

    const fn blocks(&self) -> &Arc<Blocks> {
        self.index.source()
    }

    fn read_area(&self, area: Area, start: u64, end: u64) -> Result<Vec<u8>, PartitionError> {
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        read_area(
            self.blocks(),
            area,
            start,
            length,
            &mut LastBlock::default(),
        )
    }

    fn cache_key(&self, sort: u8, number: u64) -> CacheKey {
        CacheKey {
            owner: self.index.source().owner(),
            sort,
            number,
        }
    }

    /// Returns where the pages of a series lie; none for a series that is not there.
    fn pages_of(&self, series: SeriesId) -> Result<ListedPages, PartitionError> {
        let list = series as usize / LISTED_SERIES;
        let Some((start, end)) = self.page_lists.get(list).zip(self.page_lists.get(list + 1))
        else {
            return Ok(ListedPages {
                list: Arc::default(),
                series: 0,
            });
        };
        let key = self.cache_key(SORT_PAGES, list as u64);
        let list = self.blocks().cache().get_or_make(key, || {
            let bytes = self.read_area(self.header.pages, *start, *end)?;
            let count = (self.index.len() as usize - list * LISTED_SERIES).min(LISTED_SERIES);
            let pages = decode_pages(&bytes, count).map_err(|what| {
                PartitionError::malformed(self.path(), self.header.pages.block_of(*start), what)
            })?;
            let listed: usize = pages
                .iter()
                .map(|pages| pages.capacity() * size_of::<PagePlace>() + 24)
                .sum();
            Ok::<_, PartitionError>((pages, listed))
        })?;
        Ok(ListedPages {
            list,
            series: series as usize % LISTED_SERIES,
        })
    }

    /// Returns the times of a page's rows: the very column that other pages of these rows get.
    pub(crate) fn times_of(&self, page: &PagePlace) -> Result<Times, PartitionError> {
        let column = self.column_of(page)?;
        let whole = self.blocks().cache().get_or_make(
            self.cache_key(SORT_TIMES, u64::from(page.times)),
            || {
                let malformed =
                    |what| PartitionError::malformed(self.path(), column.block, Malformed(what));
                let block = self.blocks().read(BlockKind::Times, column.block)?;
                let bytes = slice(&block, column.offset, column.bytes)
                    .ok_or_else(|| malformed("time column past the end of its block"))?;
                let times = decode_times(bytes, &mut Scratch::default())
                    .map_err(|what| malformed(what.0))?;
                if times.len() != column.rows as usize {
                    return Err(malformed(
                        "time column has other rows than its directory says",
                    ));
                }
                let bytes = times.len() * 8 + 64;
                Ok((Times::new(times), bytes))
            },
        )?;
        if page.first_row == 0 && page.rows == column.rows {
            return Ok(Times::clone(&whole));
        }
        let (first, rows) = (page.first_row as usize, page.rows as usize);
        let part = self.blocks().cache().get_or_make(
            self.cache_key(SORT_TIMES_PART, page.times_key()),
            || {
                let part = &whole.as_slice()[first..first + rows];
                Ok::<_, PartitionError>((Times::new(part), rows * 8 + 64))
            },
        )?;
        Ok(Times::clone(&part))
    }
}

/// The pages of one series in a decoded list.
struct ListedPages {
    list: Arc<Vec<Vec<PagePlace>>>,
    series: usize,
}

impl ListedPages {
    fn iter(&self) -> impl Iterator<Item = &PagePlace> {
        self.list.get(self.series).into_iter().flatten()
    }
}

fn slice(block: &[u8], offset: u32, bytes: u32) -> Option<&[u8]> {
    let start = offset as usize;
    block.get(start..start.checked_add(bytes as usize)?)
}

/// Returns where each list of pages begins, and where the last ends.
fn take_page_lists(src: &[u8], series: usize, header: &Header) -> Result<Vec<u64>, Malformed> {
    let lists = series.div_ceil(LISTED_SERIES);
    // Each list takes a byte at least.
    if lists as u64 > header.pages.bytes {
        return Err(Malformed("fewer lists of pages than series"));
    }
    let mut from = Reader::new(src);
    let offsets = offsets(&ColumnReader::default().take(&mut from, lists)?)?;
    expect_end(from)?;
    if offsets.last().copied() != Some(header.pages.bytes) {
        return Err(Malformed("lists of pages end elsewhere than their area"));
    }
    Ok(offsets)
}
