//! Writing a partition, in one pass.

use std::path::Path;

use files::FileSystem;
use model::{Exemplar, Labels, Metadata, TimeRange, TimestampMs};

use super::block::{self, BLOCK_BYTES, BlockKind, CONTENT_BYTES_MAX, Compressor, HEADER_BYTES};
use super::database::BlockWriter;
use super::directory::{
    ColumnWriter, LISTED_SERIES, PagePlace, TIMES_MAX, TimesPlace, encode_pages,
    encode_times_directory,
};
use super::error::PartitionError;
use super::extras::{put_exemplar_lists, put_exemplars, put_metadata};
use super::header::Header;
use super::parity::ParityWriter;
use super::{PartitionKey, PartitionSummary};
use crate::index::{AREA_BLOCK_BYTES, Area, IndexAreas, IndexBuilder, SeriesId};
use crate::merge_runs::Arrival;
use crate::page::{ROWS_MAX, Scratch, encode_times, page_summary};

/// The number of a time column within a partition that is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimesId(u32);

/// Writes a partition: time columns and series as they come, series in order of their labels.
///
/// Blocks of pages can be [compressed](Self::compressed); they are then filled up to the same size as stored.
///
/// Dropped before [`finish`](Self::finish), it leaves a file without content, which nobody names.
#[derive(Debug)]
pub(crate) struct PartitionWriter<'a> {
    files: &'a dyn FileSystem,
    key: PartitionKey,
    blocks: BlockWriter,
    next_block: u32,
    times_block: Option<OpenBlock>,
    pages_block: Option<OpenBlock>,
    times: Vec<TimesPlace>,
    index: IndexBuilder,
    last_labels: Option<Labels>,
    /// Pages of the series not yet listed.
    unlisted: Vec<Vec<PagePlace>>,
    pages: Vec<u8>,
    page_lists: Vec<usize>,
    exemplars: Vec<u8>,
    exemplar_lists: Vec<(SeriesId, usize)>,
    /// Of the series started last.
    series_exemplars: Vec<Exemplar>,
    metadata: Vec<u8>,
    samples: u64,
    covered: Option<TimeRange>,
    parity: ParityWriter,
    scratch: Scratch,
    packing: Option<Packing>,
}

/// How blocks of pages are compressed.
#[derive(Debug)]
struct Packing {
    compressor: Compressor,
    /// What was measured of the open block: it as it was then, compressed.
    measured: Option<Measured>,
}

/// The first bytes of a block, compressed if that makes them fewer.
#[derive(Debug)]
struct Measured {
    bytes: usize,
    packed: Option<Vec<u8>>,
}

impl Measured {
    fn stored(&self) -> usize {
        self.packed.as_ref().map_or(self.bytes, Vec::len)
    }
}

/// Of a compressed block so much stays free: what comes behind its last measure may spoil the compression of what was before.
const PACKING_SLACK: usize = 256;
/// Less room than that is not worth a page.
const ROOM_MIN: usize = 1_024;
/// Of the room that is left, the part in 16 that a page which is cut to fit is meant to take: its rows do not all take the same.
const ROOM_FILLED: usize = 15;

impl Packing {
    /// Returns how many bytes more the block has room for, if those that are not measured are stored as they are.
    fn sure_room(&self, open: &OpenBlock) -> usize {
        let measured = self.measured.as_ref();
        let (bytes, stored) = measured.map_or((0, 0), |one| (one.bytes, one.stored()));
        let stored = stored + open.bytes.len() - bytes;
        let room = (BLOCK_BYTES - PACKING_SLACK).saturating_sub(stored);
        room.min(CONTENT_BYTES_MAX.saturating_sub(open.bytes.len()))
    }

    /// Returns the room of a block, measured again when it is not sure that there is as much as is wanted.
    fn room(&mut self, open: &OpenBlock, wanted: usize) -> usize {
        let room = self.sure_room(open);
        if room >= wanted || self.is_measured(open) {
            return room;
        }
        self.measured = Some(Measured {
            bytes: open.bytes.len(),
            packed: self.compressor.compress(&open.bytes),
        });
        self.sure_room(open)
    }

    fn is_measured(&self, open: &OpenBlock) -> bool {
        let measured = self.measured.as_ref();
        measured.is_some_and(|measured| measured.bytes == open.bytes.len())
    }

    /// Returns a block that is full, compressed; `None` when that is no smaller.
    fn pack(&mut self, full: &OpenBlock) -> Option<Vec<u8>> {
        let known = self.is_measured(full);
        match self.measured.take().filter(|_| known) {
            Some(measured) => measured.packed,
            None => self.compressor.compress(&full.bytes),
        }
    }
}

/// A block being filled.
#[derive(Debug)]
struct OpenBlock {
    number: u32,
    bytes: Vec<u8>,
}

impl<'a> PartitionWriter<'a> {
    /// Makes the file at `path`, which must not exist.
    pub(crate) fn create(
        files: &'a dyn FileSystem,
        path: &Path,
        key: PartitionKey,
    ) -> Result<Self, PartitionError> {
        Ok(Self {
            files,
            key,
            blocks: BlockWriter::create(files, path)?,
            next_block: 0,
            times_block: None,
            pages_block: None,
            times: Vec::new(),
            index: IndexBuilder::default(),
            last_labels: None,
            unlisted: Vec::new(),
            pages: Vec::new(),
            page_lists: Vec::new(),
            exemplars: Vec::new(),
            exemplar_lists: Vec::new(),
            series_exemplars: Vec::new(),
            metadata: Vec::new(),
            samples: 0,
            covered: None,
            parity: ParityWriter::default(),
            scratch: Scratch::default(),
            packing: None,
        })
    }

    /// Compresses the blocks of pages from here on.
    pub(crate) fn compressed(mut self) -> Self {
        self.packing = Compressor::new().map(|compressor| Packing {
            compressor,
            measured: None,
        });
        self
    }

    /// Stores a time column of 1 to [`ROWS_MAX`] rows that rise strictly; before the pages that name it.
    pub(crate) fn add_times(&mut self, times: &[TimestampMs]) -> Result<TimesId, PartitionError> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Err(self.misuse("a time column has no rows"));
        };
        if times.len() > ROWS_MAX || self.times.len() >= TIMES_MAX {
            return Err(self.misuse("a time column is too long, or one too many"));
        }
        if times.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(self.misuse("timestamps of a column do not rise"));
        }
        let mut column = Vec::new();
        encode_times(times, &mut self.scratch, &mut column);
        let (block, offset) = self.place(BlockKind::Times, &column)?;
        let id = TimesId(to_u32(self.times.len()));
        self.times.push(TimesPlace {
            block,
            offset,
            bytes: to_u32(column.len()),
            rows: to_u32(times.len()),
            span: TimeRange::new(*first, *last),
        });
        Ok(id)
    }

    /// Begins the next series; `labels` are greater than those of the series before.
    pub(crate) fn start_series(&mut self, labels: &Labels) -> Result<(), PartitionError> {
        if self.last_labels.as_ref().is_some_and(|last| last >= labels) {
            return Err(self.misuse("series are not in order of their labels"));
        }
        self.end_series();
        if self.unlisted.len() == LISTED_SERIES {
            self.list_pages();
        }
        self.index.push(labels);
        self.last_labels = Some(labels.clone());
        self.unlisted.push(Vec::new());
        Ok(())
    }

    /// Stores a page of the series started last; its rows are those of `times` from `first_row` on. `arrival` is that of its
    /// first row: where pages of the series overlap, the lesser stands.
    pub(crate) fn add_page(
        &mut self,
        times: TimesId,
        first_row: usize,
        arrival: Arrival,
        page: &[u8],
    ) -> Result<(), PartitionError> {
        let Ok(summary) = page_summary(page) else {
            return Err(self.misuse("a page cannot be read"));
        };
        let column = self.times.get(times.0 as usize).copied();
        let Some(column) = column.filter(|column| first_row + summary.rows <= column.rows as usize)
        else {
            return Err(self.misuse("a page is longer than its time column"));
        };
        if self.unlisted.is_empty() {
            return Err(self.misuse("a page comes before its series"));
        }
        let (block, offset) = self.place(BlockKind::Pages, page)?;
        let place = PagePlace {
            times: times.0,
            first_row: to_u32(first_row),
            rows: to_u32(summary.rows),
            arrival,
            block,
            offset,
            bytes: to_u32(page.len()),
        };
        self.unlisted
            .last_mut()
            .into_iter()
            .for_each(|pages| pages.push(place));
        self.samples += summary.count as u64;
        let covered = self.covered.unwrap_or(column.span);
        self.covered = Some(TimeRange::new(
            covered.start.min(column.span.start),
            covered.end.max(column.span.end),
        ));
        Ok(())
    }

    /// Returns how many of a page's rows fill the open block, when the page does not fit and what fits is worth a page of its own.
    pub(crate) fn rows_that_fit(&mut self, page: &[u8], rows: usize) -> Option<usize> {
        let room = self.room(BlockKind::Pages, page.len());
        let worth_it = (ROOM_MIN..page.len()).contains(&room);
        let fill = worth_it.then(|| rows * room / page.len() * ROOM_FILLED / 16);
        fill.filter(|rows| *rows > 0)
    }

    /// Stores an exemplar of the series started last.
    pub(crate) fn add_exemplar(&mut self, exemplar: &Exemplar) -> Result<(), PartitionError> {
        if self.unlisted.is_empty() {
            return Err(self.misuse("an exemplar comes before its series"));
        }
        self.series_exemplars.push(exemplar.clone());
        Ok(())
    }

    /// Stores what a metric family says of itself.
    pub(crate) fn add_metadata(
        &mut self,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<(), PartitionError> {
        put_metadata(metric, metadata, &mut self.metadata);
        Ok(())
    }

    /// Stores these bytes as metadata, as if they were some.
    #[cfg(test)]
    pub(super) fn forge_metadata(&mut self, bytes: &[u8]) {
        self.metadata.extend_from_slice(bytes);
    }

    /// Writes index, directories and parity blocks, commits, compacts, and syncs file and folder.
    pub(crate) fn finish(mut self) -> Result<PartitionSummary, PartitionError> {
        self.end_series();
        if !self.unlisted.is_empty() {
            self.list_pages();
        }
        if let Some(open) = self.times_block.take() {
            self.put_full(BlockKind::Times, open)?;
        }
        if let Some(open) = self.pages_block.take() {
            self.put_full(BlockKind::Pages, open)?;
        }
        let series = self.index.len() as u64;
        let index = std::mem::take(&mut self.index).finish();
        let index = IndexAreas {
            values: self.put_area(&index.values)?,
            postings: self.put_area(&index.postings)?,
            series: self.put_area(&index.series)?,
            root: self.put_area(&index.root)?,
        };
        let mut times = Vec::new();
        encode_times_directory(&self.times, &mut times);
        let mut page_lists = Vec::new();
        ColumnWriter::default().put(&self.page_lists, &mut page_lists, |bytes| {
            i64::try_from(*bytes).unwrap_or(i64::MAX)
        });
        let mut exemplar_lists = Vec::new();
        put_exemplar_lists(&self.exemplar_lists, &mut exemplar_lists);
        let (pages, exemplars, metadata) = (
            std::mem::take(&mut self.pages),
            std::mem::take(&mut self.exemplars),
            std::mem::take(&mut self.metadata),
        );
        let mut summary = PartitionSummary {
            bytes: 0,
            series,
            samples: self.samples,
            times: self.covered.unwrap_or(self.key.span),
        };
        let mut header = Header {
            key: self.key,
            summary,
            index,
            times: self.put_area(&times)?,
            pages: self.put_area(&pages)?,
            page_lists: self.put_area(&page_lists)?,
            exemplars: self.put_area(&exemplars)?,
            exemplar_lists: self.put_area(&exemplar_lists)?,
            metadata: self.put_area(&metadata)?,
            parity_blocks: 0,
            blocks: 0,
        };
        header.parity_blocks = self.put_parity()?;
        header.blocks = self.next_block;
        summary.bytes = self.blocks.finish(self.files, &header.encode())?;
        Ok(summary)
    }

    fn end_series(&mut self) {
        if self.series_exemplars.is_empty() {
            return;
        }
        let before = self.exemplars.len();
        put_exemplars(&self.series_exemplars, &mut self.exemplars);
        let series = to_u32(self.index.len()) - 1;
        self.exemplar_lists
            .push((series, self.exemplars.len() - before));
        self.series_exemplars.clear();
    }

    fn list_pages(&mut self) {
        let before = self.pages.len();
        encode_pages(&self.unlisted, &mut self.pages);
        self.page_lists.push(self.pages.len() - before);
        self.unlisted.clear();
    }

    /// Appends to the open block of this kind, or to a new one when it is full; returns block and offset in its content.
    fn place(&mut self, kind: BlockKind, bytes: &[u8]) -> Result<(u32, u32), PartitionError> {
        let has_room = self.room(kind, bytes.len()) >= bytes.len();
        let mut open = match kind {
            BlockKind::Times => self.times_block.take(),
            _ => self.pages_block.take(),
        };
        if let Some(full) = open.take_if(|_| !has_room) {
            self.put_full(kind, full)?;
        }
        let mut open = match open {
            Some(open) => open,
            None => {
                let number = self.take_number()?;
                OpenBlock {
                    number,
                    bytes: block::begin(kind, number),
                }
            }
        };
        let place = (open.number, to_u32(open.bytes.len() - HEADER_BYTES));
        open.bytes.extend_from_slice(bytes);
        match kind {
            BlockKind::Times => self.times_block = Some(open),
            _ => self.pages_block = Some(open),
        }
        Ok(place)
    }

    /// Returns how many bytes the open block of this kind has room for; without one, a new block has for any.
    fn room(&mut self, kind: BlockKind, wanted: usize) -> usize {
        match (
            kind,
            &self.times_block,
            &self.pages_block,
            &mut self.packing,
        ) {
            (BlockKind::Times, Some(open), _, _) | (_, _, Some(open), None) => {
                BLOCK_BYTES.saturating_sub(open.bytes.len())
            }
            (BlockKind::Times, None, _, _) | (_, _, None, _) => usize::MAX,
            (_, _, Some(open), Some(packing)) => packing.room(open, wanted),
        }
    }

    fn put_full(&mut self, kind: BlockKind, mut open: OpenBlock) -> Result<(), PartitionError> {
        let packing = self.packing.as_mut().filter(|_| kind == BlockKind::Pages);
        if let Some(packed) = packing.and_then(|packing| packing.pack(&open)) {
            open.bytes = packed;
        }
        self.put(kind, open.number, &mut open.bytes)
    }

    /// Seals and stores a block; what is no pages can be computed again when it is damaged.
    fn put(
        &mut self,
        kind: BlockKind,
        number: u32,
        block: &mut [u8],
    ) -> Result<(), PartitionError> {
        self.blocks.put(number, block)?;
        if matches!(kind, BlockKind::Times | BlockKind::Area) {
            self.parity.add(number, block);
        }
        Ok(())
    }

    /// Stores the parity blocks, the last of the file; returns how many they are.
    fn put_parity(&mut self) -> Result<u32, PartitionError> {
        let before = self.next_block;
        for content in std::mem::take(&mut self.parity).finish() {
            let number = self.take_number()?;
            let mut block = block::begin(BlockKind::Parity, number);
            block.extend_from_slice(&content);
            self.put(BlockKind::Parity, number, &mut block)?;
        }
        Ok(self.next_block - before)
    }

    fn put_area(&mut self, bytes: &[u8]) -> Result<Area, PartitionError> {
        let area = Area {
            first_block: self.next_block,
            bytes: bytes.len() as u64,
        };
        for part in bytes.chunks(AREA_BLOCK_BYTES) {
            let number = self.take_number()?;
            let mut block = block::begin(BlockKind::Area, number);
            block.extend_from_slice(part);
            self.put(BlockKind::Area, number, &mut block)?;
        }
        Ok(area)
    }

    fn take_number(&mut self) -> Result<u32, PartitionError> {
        let number = self.next_block;
        self.next_block = number
            .checked_add(1)
            .ok_or_else(|| self.misuse("too many blocks"))?;
        Ok(number)
    }

    fn misuse(&self, what: &'static str) -> PartitionError {
        PartitionError::Misuse {
            file: self.blocks.path().to_owned(),
            what,
        }
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count)
        .expect("pages, columns and series of a partition are counted far below 2^32")
}
