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
/// kind, version, encoding, 1 reserved byte, number, bytes of the block, checksum.
pub(super) const HEADER_BYTES: usize = 20;
const VERSION_AT: usize = 1;
const ENCODING_AT: usize = 2;
const LENGTH_AT: usize = 8;
const CHECKSUM_AT: usize = 12;
/// The version of all blocks that are written, the latest that is read.
pub(super) const BLOCK_VERSION: u8 = 3;
/// Blocks before that one (1 as they are, 2 compressed) do not say how long they are: their checksum stands in the length's place.
const VERSION_MEASURED: u8 = 3;
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
}

/// Returns the beginning of a block, to which content is appended before [`seal`].
pub(super) fn begin(kind: BlockKind, number: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    block.extend_from_slice(&[kind as u8, BLOCK_VERSION, 0, 0]);
    block.extend_from_slice(&number.to_le_bytes());
    block.extend_from_slice(&[0; HEADER_BYTES - LENGTH_AT]);
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
    let length = u32::try_from(block.len()).expect("redb takes no value of 4 GiB");
    block[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(block, CHECKSUM_AT);
    block[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Returns the checksum of a block in which it stands at `at`.
fn checksum(block: &[u8], at: usize) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&block[..at]);
    hasher.update(&block[at + size_of::<u64>()..]);
    hasher.digest()
}

/// Returns how long the block that begins here says it is, if these bytes look like the beginning of one.
pub(super) fn length_of(start: &[u8]) -> Option<usize> {
    let (header, _) = start.split_first_chunk::<HEADER_BYTES>()?;
    let looks_right = header[0] <= BlockKind::LAST as u8
        && header[VERSION_AT] == BLOCK_VERSION
        && header[ENCODING_AT] <= ENCODING_ZSTD
        && header[ENCODING_AT + 1] == 0;
    let length = header[LENGTH_AT..CHECKSUM_AT].first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    (looks_right && length >= HEADER_BYTES).then_some(length)
}

/// Returns kind and number of a block of the present version whose checksum is right.
pub(super) fn identify(block: &[u8]) -> Option<(u8, u32)> {
    let stored = block.get(CHECKSUM_AT..HEADER_BYTES)?.first_chunk()?;
    let whole = length_of(block)? == block.len()
        && u64::from_le_bytes(*stored) == checksum(block, CHECKSUM_AT);
    let number = block.get(4..LENGTH_AT)?.first_chunk()?;
    whole.then(|| (block[0], u32::from_le_bytes(*number)))
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
    let found_number = from.u32(short)?;
    let length = (version >= VERSION_MEASURED)
        .then(|| from.u32(short))
        .transpose()?;
    let checksum_at = block.len() - from.rest().len();
    if from.u64(short)? != checksum(block, checksum_at) {
        return Err(BlockFault::Damaged("checksum does not match"));
    }
    if version > BLOCK_VERSION {
        return Err(BlockFault::Version(version));
    }
    if length.is_some_and(|length| length as usize != block.len()) {
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
