//! Blocks: the values of a partition's database, each with a header and a checksum of its own.
//!
//! The database verifies its checksums only when it repairs; a block verifies itself whenever it is read, and knows its number, so that
//! a flipped bit, a torn write and a block in the wrong place all show. The layout is drawn in FORMAT.md, section "Blocks".

use xxhash_rust::xxh3::Xxh3Default;

use crate::bytes::{Malformed, Reader};

/// The size that blocks are filled up to, header included: with the database's own bytes it stays below 64 KiB, to which it rounds.
pub(super) const BLOCK_BYTES: usize = 65_000;
/// kind, version, 2 reserved bytes, number, checksum.
pub(super) const HEADER_BYTES: usize = 16;
const CHECKSUM_AT: usize = 8;
pub(super) const BLOCK_VERSION: u8 = 1;

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
}

/// Returns the beginning of a block, to which content is appended before [`seal`].
pub(super) fn begin(kind: BlockKind, number: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    block.extend_from_slice(&[kind as u8, BLOCK_VERSION, 0, 0]);
    block.extend_from_slice(&number.to_le_bytes());
    block.extend_from_slice(&[0; HEADER_BYTES - CHECKSUM_AT]);
    block
}

/// Writes the checksum over all other bytes.
pub(super) fn seal(block: &mut [u8]) {
    let checksum = checksum(block);
    block[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(block: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&block[..CHECKSUM_AT]);
    hasher.update(&block[HEADER_BYTES..]);
    hasher.digest()
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
pub(super) fn open(block: &[u8], kind: BlockKind, number: u32) -> Result<&[u8], BlockFault> {
    let mut from = Reader::new(block);
    let short = "block is shorter than its header";
    let (found_kind, version, _) = (from.u8(short)?, from.u8(short)?, from.u16(short)?);
    let (found_number, stored) = (from.u32(short)?, from.u64(short)?);
    if stored != checksum(block) {
        return Err(BlockFault::Damaged("checksum does not match"));
    }
    if version > BLOCK_VERSION {
        return Err(BlockFault::Version(version));
    }
    if found_kind != kind as u8 || found_number != number {
        return Err(BlockFault::Damaged("another block stands in its place"));
    }
    Ok(from.rest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_shows() {
        let mut block = begin(BlockKind::Pages, 7);
        block.extend_from_slice(b"some content");
        seal(&mut block);
        assert_eq!(open(&block, BlockKind::Pages, 7), Ok(&b"some content"[..]));
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
}
