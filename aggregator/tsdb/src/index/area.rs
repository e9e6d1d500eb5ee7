//! Byte strings longer than a block, cut into consecutive blocks.

use std::fmt;
use std::sync::Arc;

use crate::bytes::Malformed;

/// Bytes of a byte string in each of its blocks but the last.
pub(crate) const AREA_BLOCK_BYTES: usize = 64_960;

/// Where blocks come from.
pub(crate) trait BlockSource: fmt::Debug {
    /// Why a block cannot be had.
    type Error;

    /// Returns the content of a block of an area, its checksum verified.
    fn block(&self, number: u32) -> Result<Arc<Vec<u8>>, Self::Error>;

    /// Returns the error for a block whose content contradicts itself.
    fn malformed(&self, block: u32, what: Malformed) -> Self::Error;
}

/// A byte string in consecutive blocks of [`AREA_BLOCK_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) first_block: u32,
    pub(crate) bytes: u64,
}

/// Keeps the block read last, so that neighbours cost one read.
#[derive(Debug, Default)]
pub(crate) struct LastBlock(Option<(u32, Arc<Vec<u8>>)>);

impl Area {
    /// Returns the block that holds the byte at `offset`.
    pub(crate) fn block_of(self, offset: u64) -> u32 {
        let block = u32::try_from(offset / AREA_BLOCK_BYTES as u64).unwrap_or(u32::MAX);
        self.first_block.saturating_add(block)
    }
}

/// Returns `length` bytes from `offset` of an area.
pub(crate) fn read_area<S: BlockSource>(
    source: &S,
    area: Area,
    offset: u64,
    length: usize,
    last: &mut LastBlock,
) -> Result<Vec<u8>, S::Error> {
    let end = offset
        .checked_add(length as u64)
        .filter(|end| *end <= area.bytes)
        .ok_or_else(|| {
            source.malformed(
                area.first_block,
                Malformed("reference past the end of an area"),
            )
        })?;
    let mut out = Vec::new();
    let mut at = offset;
    while at < end {
        let number = area.block_of(at);
        let block = match &last.0 {
            Some((held, block)) if *held == number => Arc::clone(block),
            _ => source.block(number)?,
        };
        let within = usize::try_from(at % AREA_BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        let wanted = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(AREA_BLOCK_BYTES - within);
        let part = block.get(within..within + wanted).ok_or_else(|| {
            source.malformed(number, Malformed("block is shorter than its area says"))
        })?;
        out.extend_from_slice(part);
        at += wanted as u64;
        last.0 = Some((number, block));
    }
    Ok(out)
}
