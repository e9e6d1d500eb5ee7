//! The header of a partition file: what it is and where its parts lie.

use model::{TimeRange, TimestampMs};

use super::directory::expect_end;
use super::{PartitionKey, PartitionSummary};
use crate::bytes::{Malformed, Reader};
use crate::index::{Area, IndexAreas};
use crate::page::varint::{put_varint, put_zigzag, take_varint, take_zigzag};

/// The version of the file, the first byte of the header's content.
///
/// Version 1 had pages of up to 4,096 rows and no compressed blocks; it is read like the present ones. Versions 2, without corrections, and
/// 3, with them, had no parity blocks.
pub(super) const FILE_VERSION: u8 = FILE_VERSION_WITH_PARITY;
const FILE_VERSION_WITH_PARITY: u8 = 4;
const FILE_VERSION_OLDEST: u8 = 1;

/// What a partition file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: PartitionKey,
    pub(super) summary: PartitionSummary,
    pub(super) blocks: u32,
    /// How many of them, the last ones, are parity blocks.
    pub(super) parity_blocks: u32,
    pub(super) index: IndexAreas,
    /// The directory of time columns.
    pub(super) times: Area,
    /// Lists of pages, and the lengths of those lists.
    pub(super) pages: Area,
    pub(super) page_lists: Area,
    /// Exemplars, and which series have them.
    pub(super) exemplars: Area,
    pub(super) exemplar_lists: Area,
    pub(super) metadata: Area,
}

impl Header {
    /// Returns the bytes of labels, postings and what finds them.
    pub(super) const fn index_bytes(&self) -> u64 {
        let IndexAreas {
            values,
            postings,
            series,
            root,
        } = self.index;
        values.bytes + postings.bytes + series.bytes + root.bytes
    }

    fn areas(&mut self) -> [&mut Area; 10] {
        let IndexAreas {
            values,
            postings,
            series,
            root,
        } = &mut self.index;
        [
            values,
            postings,
            series,
            root,
            &mut self.times,
            &mut self.pages,
            &mut self.page_lists,
            &mut self.exemplars,
            &mut self.exemplar_lists,
            &mut self.metadata,
        ]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.encode_version(FILE_VERSION)
    }

    /// Returns the header as a program of this version wrote it.
    pub(super) fn encode_version(&self, version: u8) -> Vec<u8> {
        let mut header = vec![version];
        let out = &mut header;
        put_varint(out, u64::from(self.key.shard));
        for at in [
            self.key.span.start,
            self.key.span.end,
            self.summary.times.start,
            self.summary.times.end,
        ] {
            put_zigzag(out, at.0);
        }
        put_varint(out, self.summary.series);
        put_varint(out, self.summary.samples);
        put_varint(out, u64::from(self.blocks));
        if version >= FILE_VERSION_WITH_PARITY {
            put_varint(out, u64::from(self.parity_blocks));
        }
        for area in self.clone().areas() {
            put_varint(out, u64::from(area.first_block));
            put_varint(out, area.bytes);
        }
        header
    }

    /// Reads a header; the outer error is damage, the inner one a version that is not known. The size of the file is not in it.
    pub(super) fn decode(src: &[u8]) -> Result<Result<Self, u8>, Malformed> {
        let mut from = Reader::new(src);
        let version = from.u8("header is empty")?;
        if !(FILE_VERSION_OLDEST..=FILE_VERSION).contains(&version) {
            return Ok(Err(version));
        }
        let what = "header is cut off";
        let shard =
            u16::try_from(take_varint(&mut from, what)?).map_err(|_| Malformed("bad shard"))?;
        let mut times = [TimestampMs(0); 4];
        for at in &mut times {
            *at = TimestampMs(take_zigzag(&mut from, what)?);
        }
        let [start, end, first, last] = times;
        let (series, samples) = (take_varint(&mut from, what)?, take_varint(&mut from, what)?);
        let blocks = take_u32(&mut from)?;
        let has_parity = version >= FILE_VERSION_WITH_PARITY;
        let parity_blocks = if has_parity { take_u32(&mut from)? } else { 0 };
        if parity_blocks > blocks {
            return Err(Malformed("more parity blocks than blocks"));
        }
        let mut header = Self {
            key: PartitionKey {
                shard,
                span: TimeRange::new(start, end),
            },
            summary: PartitionSummary {
                bytes: 0,
                series,
                samples,
                times: TimeRange::new(first, last),
            },
            blocks,
            parity_blocks,
            index: IndexAreas::default(),
            times: Area::default(),
            pages: Area::default(),
            page_lists: Area::default(),
            exemplars: Area::default(),
            exemplar_lists: Area::default(),
            metadata: Area::default(),
        };
        for area in header.areas() {
            area.first_block = take_u32(&mut from)?;
            area.bytes = take_varint(&mut from, what)?;
        }
        expect_end(from)?;
        Ok(Ok(header))
    }
}

fn take_u32(from: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(take_varint(from, "header is cut off")?)
        .map_err(|_| Malformed("bad block number"))
}
