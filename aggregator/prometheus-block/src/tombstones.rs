//! `tombstones`: which samples of which series are deleted.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use files::{FileSystem, Open};
use model::{TimeRange, TimestampMs};

use crate::bytes::{Malformed, Reader};
use crate::error::BlockError;

const FILE: &str = "tombstones";
const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What is deleted, by the reference of the series.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_series: HashMap<u64, Vec<TimeRange>>,
}

impl Tombstones {
    /// Reads those of the block in `folder`; a block without the file has none.
    pub(crate) fn read(files: &dyn FileSystem, folder: &Path) -> Result<Self, BlockError> {
        let path = folder.join(FILE);
        let failed = || BlockError::io("read", &path);
        let file = match files.open(&path, Open::read()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(failed())?,
        };
        let len = file.len().map_err(failed())?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(0, &mut bytes).map_err(failed())?;
        Self::parse(&bytes).map_err(|Malformed(what)| {
            BlockError::unreadable(
                &path,
                format!("{what}; what was deleted would come back, so the block is left alone"),
            )
        })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let checked = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .ok_or(Malformed("it is cut off"))?;
        let (mut from, mut checksum) = (
            Reader::new(&bytes[..checked]),
            Reader::new(&bytes[checked..]),
        );
        if from.u32("it is cut off")? != MAGIC {
            return Err(Malformed("it is no file of tombstones"));
        }
        if from.u8("it is cut off")? != VERSION {
            return Err(Malformed("its version is not known"));
        }
        // The version is not covered.
        if checksum.u32("it is cut off")? != crc32c::crc32c(from.rest()) {
            return Err(Malformed("it does not match its checksum"));
        }
        let mut by_series: HashMap<u64, Vec<TimeRange>> = HashMap::new();
        while !from.rest().is_empty() {
            let series = from.uvarint("a tombstone is cut off")?;
            let start = TimestampMs(from.varint("a tombstone is cut off")?);
            let end = TimestampMs(from.varint("a tombstone is cut off")?);
            let ranges = by_series.entry(series).or_default();
            ranges.push(TimeRange::new(start, end));
        }
        for ranges in by_series.values_mut() {
            ranges.sort_unstable_by_key(|range| range.start);
        }
        Ok(Self { by_series })
    }

    /// Returns what is deleted of a series, in order of the starts.
    pub(crate) fn of(&self, series: u64) -> &[TimeRange] {
        self.by_series.get(&series).map_or(&[], Vec::as_slice)
    }
}
