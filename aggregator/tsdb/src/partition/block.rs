//! Blocks: the values of a partition's database, each with a header and a checksum of its own.
//!
//! The database verifies its checksums only when it repairs; a block verifies itself whenever it is read, and knows its number, so that
//! a flipped bit, a torn write and a block in the wrong place all show. The content may be compressed; the checksum is over what is stored.
//! The layout is drawn in FORMAT.md, section "Blocks".

use std::borrow::Cow;
use std::cell::RefCell;

use xxhash_rust::xxh3::Xxh3Default;

use crate::bytes::{Malformed, Reader};

/// The size that blocks are filled up to, header included: with the database's own bytes it stays below 64 KiB, to which it rounds.
pub(super) const BLOCK_BYTES: usize = 65_000;
/// kind, version, encoding, 1 reserved byte, number, checksum, bytes of the block.
pub(super) const HEADER_BYTES: usize = 20;
const VERSION_AT: usize = 1;
const ENCODING_AT: usize = 2;
const NUMBER_AT: usize = 4;
const CHECKSUM_AT: usize = 8;
const LENGTH_AT: usize = 16;
/// The version of all blocks that are written, the latest that is read.
pub(super) const BLOCK_VERSION: u8 = VERSION_MEASURED;
/// Blocks before that one (1 as they are, 2 compressed) do not say how long they are.
const VERSION_MEASURED: u8 = 3;
/// No block is longer: a page of as many histograms as may be takes half of that.
pub(super) const STORED_BYTES_MAX: usize = 64 << 20;
/// The content is the number of its bytes (4), and they as one zstd frame.
const ENCODING_ZSTD: u8 = 1;
/// The most bytes that a block's content may have before compression: no reader takes memory for more.
pub(super) const CONTENT_BYTES_MAX: usize = 1 << 20;
/// A merged day by level, in B/sample and CPU ns/sample of merging: 1: 0.675, 17.6; 3: 0.665, 17.9; 5: 0.657, 24.5; 6: 0.657, 26.2; 9: 0.658,
/// 30.1 (`compare storage --only disk,seal`, without link-time optimisation).
const ZSTD_LEVEL: i32 = 5;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// The header of the file; not numbered.
    Header = 0,
    /// Pages, end to end.
    Pages = 1,
    /// Time columns, end to end.
    Times = 2,
    /// A part of an area: index, directories, exemplars, metadata.
    Area = 3,
    /// What a damaged block can be computed from.
    Parity = 4,
}

impl BlockKind {
    const LAST: Self = Self::Parity;
    /// Those that blocks of a number can be of.
    pub(super) const NUMBERED: [Self; 4] = [Self::Pages, Self::Times, Self::Area, Self::Parity];

    /// Returns the kind of a numbered block whose first byte is this.
    pub(super) fn of(byte: u8) -> Option<Self> {
        let mut kinds = Self::NUMBERED.into_iter();
        kinds.find(|kind| *kind as u8 == byte)
    }
}

/// Returns the beginning of a block, to which content is appended before [`seal`].
pub(super) fn begin(kind: BlockKind, number: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    block.extend_from_slice(&[kind as u8, BLOCK_VERSION, 0, 0]);
    block.extend_from_slice(&number.to_le_bytes());
    block.extend_from_slice(&[0; HEADER_BYTES - CHECKSUM_AT]);
    block
}

/// Compresses blocks.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(super) fn new() -> Option<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL);
        compressor.ok().map(Self)
    }

    /// Returns the block with its content compressed; `None` when that is no smaller, or the content too large.
    pub(super) fn compress(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let (header, content) = block.split_at_checked(HEADER_BYTES)?;
        let bytes = u32::try_from(content.len()).ok()?;
        if content.len() > CONTENT_BYTES_MAX {
            return None;
        }
        let packed = self.0.compress(content).ok()?;
        let mut out = Vec::with_capacity(HEADER_BYTES + 4 + packed.len());
        out.extend_from_slice(header);
        out[ENCODING_AT] = ENCODING_ZSTD;
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(&packed);
        (out.len() < block.len()).then_some(out)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

thread_local! {
    /// Made by a thread's first compressed block: 100 KB, which to take and to free for each block costs more than to decompress it.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Writes the length, and the checksum over all other bytes.
pub(super) fn seal(block: &mut [u8]) {
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    block[LENGTH_AT..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(block);
    block[CHECKSUM_AT..LENGTH_AT].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(block: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&block[..CHECKSUM_AT]);
    hasher.update(&block[LENGTH_AT..]);
    hasher.digest()
}

/// What a block says of itself, whether it is whole or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) kind: u8,
    pub(super) number: u32,
    pub(super) bytes: usize,
}

impl Claim {
    /// Reads the claim of a block that begins here, if these bytes look like the beginning of one; no claim is made before version 3.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let (header, _) = start.split_first_chunk::<HEADER_BYTES>()?;
        let known = (VERSION_MEASURED..=BLOCK_VERSION).contains(&header[VERSION_AT])
            && header[0] <= BlockKind::LAST as u8
            && header[ENCODING_AT] <= ENCODING_ZSTD
            && header[ENCODING_AT + 1] == 0;
        let u32_at = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let claim = Self {
            kind: header[0],
            number: u32_at(NUMBER_AT)?,
            bytes: u32_at(LENGTH_AT)? as usize,
        };
        let plausible = (HEADER_BYTES..=STORED_BYTES_MAX).contains(&claim.bytes);
        (known && plausible).then_some(claim)
    }

    /// Returns the claim of a block if it is true: its length and its checksum are right.
    pub(super) fn verified(block: &[u8]) -> Option<Self> {
        let claim = Self::of(block).filter(|claim| claim.bytes == block.len())?;
        let stored = block[CHECKSUM_AT..LENGTH_AT].first_chunk()?;
        (u64::from_le_bytes(*stored) == checksum(block)).then_some(claim)
    }
}

/// What a block can be faulted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockFault {
    Damaged(&'static str),
    /// Its checksum is right, but a later program wrote it.
    Version(u8),
}

impl From<Malformed> for BlockFault {
    fn from(malformed: Malformed) -> Self {
        Self::Damaged(malformed.0)
    }
}

/// Returns the content of a block.
pub(super) fn open(
    block: &[u8],
    kind: BlockKind,
    number: u32,
) -> Result<Cow<'_, [u8]>, BlockFault> {
    let mut from = Reader::new(block);
    let short = "block is shorter than its header";
    let (found_kind, version, encoding) = (from.u8(short)?, from.u8(short)?, from.u8(short)?);
    from.u8(short)?;
    let (found_number, stored) = (from.u32(short)?, from.u64(short)?);
    if stored != checksum(block) {
        return Err(BlockFault::Damaged("checksum does not match"));
    }
    if version > BLOCK_VERSION {
        return Err(BlockFault::Version(version));
    }
    if version >= VERSION_MEASURED && from.u32(short)? as usize != block.len() {
        return Err(BlockFault::Damaged("block has another length than it says"));
    }
    if found_kind != kind as u8 || found_number != number {
        return Err(BlockFault::Damaged("another block stands in its place"));
    }
    match encoding {
        0 => Ok(Cow::Borrowed(from.rest())),
        ENCODING_ZSTD => Ok(Cow::Owned(decompress(from)?)),
        _ => Err(BlockFault::Damaged("unknown encoding of a block")),
    }
}

fn decompress(mut from: Reader<'_>) -> Result<Vec<u8>, BlockFault> {
    let bytes = from.u32("compressed block has no length")? as usize;
    if bytes > CONTENT_BYTES_MAX {
        return Err(BlockFault::Damaged("compressed block is too long"));
    }
    let content = DECOMPRESSOR
        .with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(made) => made,
                None => decompressor.insert(zstd::bulk::Decompressor::new()?),
            };
            decompressor.decompress(from.rest(), bytes)
        })
        .map_err(|_| BlockFault::Damaged("block cannot be decompressed"))?;
    if content.len() != bytes {
        return Err(BlockFault::Damaged("compressed block has another length"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_shows() {
        let mut block = begin(BlockKind::Pages, 7);
        block.extend_from_slice(b"some content");
        seal(&mut block);
        assert_eq!(
            open(&block, BlockKind::Pages, 7),
            Ok(Cow::Borrowed(&b"some content"[..]))
        );
        assert!(
            open(&block, BlockKind::Pages, 8).is_err()
                && open(&block, BlockKind::Times, 7).is_err()
        );
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&block, BlockKind::Pages, 7).is_err(), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..block.len() {
            assert!(open(&block[..len], BlockKind::Pages, 7).is_err());
        }
    }

    #[test]
    fn a_compressed_block_reads_back_and_every_flipped_bit_shows() {
        let mut block = begin(BlockKind::Pages, 7);
        block.extend_from_slice(&[7; 300]);
        let mut packed = Compressor::new().unwrap().compress(&block).unwrap();
        seal(&mut packed);
        assert!(packed.len() < 60);
        assert_eq!(
            open(&packed, BlockKind::Pages, 7),
            Ok(Cow::Owned(vec![7; 300]))
        );
        for bit in 0..packed.len() * 8 {
            packed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&packed, BlockKind::Pages, 7).is_err(), "bit {bit}");
            // Nor does a bomb behind a right checksum take memory.
            seal(&mut packed);
            open(&packed, BlockKind::Pages, 7).ok();
            packed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
