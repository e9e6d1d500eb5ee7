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
    /// Whether there are corrections.
    corrected: bool,
    scratch: Scratch,
    packing: Option<Packing>,
}

/// How blocks of pages are compressed: how far they can be filled is told by what others came to.
#[derive(Debug)]
struct Packing {
    compressor: Compressor,
    /// Stored bytes per byte.
    ratio: f64,
    /// Whether the ratio is that of the open block so far.
    measured: bool,
}

/// A block is measured when it is this full by the ratio of the one before, and closed when it is this full by its own.
const MEASURED_AT: f64 = 0.9;
const CLOSED_AT: f64 = 0.99;

impl Packing {
    /// Returns whether a block of so many bytes has room for `more`.
    #[expect(clippy::cast_precision_loss, reason = "a block has some KiB")]
    fn has_room(&mut self, open: &OpenBlock, more: usize) -> bool {
        let bytes = open.bytes.len() + more;
        if bytes > CONTENT_BYTES_MAX {
            return false;
        }
        let stored = bytes as f64 * self.ratio;
        if stored < BLOCK_BYTES as f64 * MEASURED_AT {
            return true;
        }
        if !self.measured {
            self.measured = true;
            let packed = self.compressor.compress(&open.bytes);
            let packed = packed.map_or(open.bytes.len(), |packed| packed.len());
            self.ratio = packed as f64 / open.bytes.len() as f64;
        }
        bytes as f64 * self.ratio < BLOCK_BYTES as f64 * CLOSED_AT
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
            corrected: false,
            scratch: Scratch::default(),
            packing: None,
        })
    }

    /// Compresses the blocks of pages from here on.
    pub(crate) fn compressed(mut self) -> Self {
        self.packing = Compressor::new().map(|compressor| Packing {
            compressor,
            ratio: 1.0,
            measured: false,
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
        self.corrected |= arrival.is_correction();
        let covered = self.covered.unwrap_or(column.span);
        self.covered = Some(TimeRange::new(
            covered.start.min(column.span.start),
            covered.end.max(column.span.end),
        ));
        Ok(())
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

    /// Writes index and directories, commits, compacts, and syncs file and folder.
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
        let header = Header {
            key: self.key,
            summary,
            corrected: self.corrected,
            index,
            times: self.put_area(&times)?,
            pages: self.put_area(&pages)?,
            page_lists: self.put_area(&page_lists)?,
            exemplars: self.put_area(&exemplars)?,
            exemplar_lists: self.put_area(&exemplar_lists)?,
            metadata: self.put_area(&metadata)?,
            blocks: self.next_block,
        };
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        summary.bytes = self.blocks.finish(self.files, &encoded)?;
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
        let slot = |writer: &mut Self| match kind {
            BlockKind::Times => writer.times_block.take(),
            _ => writer.pages_block.take(),
        };
        let mut open = slot(self);
        let packing = self.packing.as_mut().filter(|_| kind == BlockKind::Pages);
        let has_room = match (&open, packing) {
            (Some(open), Some(packing)) => packing.has_room(open, bytes.len()),
            (Some(open), None) => open.bytes.len() + bytes.len() <= BLOCK_BYTES,
            (None, _) => true,
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

    fn put_full(&mut self, kind: BlockKind, mut open: OpenBlock) -> Result<(), PartitionError> {
        if let Some(packing) = self.packing.as_mut().filter(|_| kind == BlockKind::Pages) {
            packing.measured = false;
            if let Some(packed) = packing.compressor.compress(&open.bytes) {
                open.bytes = packed;
            }
        }
        self.blocks.put(open.number, &mut open.bytes)
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
            self.blocks.put(number, &mut block)?;
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
