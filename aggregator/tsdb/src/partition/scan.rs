//! Finding the blocks of a file without the database around them.
//!
//! A bit flipped in the database's own pages can put any number of blocks out of reach, all of which are whole. Each says how long it is
//! and has a checksum, so they are found by reading the file from its beginning. What lies inside a block that is whole is not looked at:
//! labels and values are anybody's bytes, and could look like a block.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use files::SharedFile;

use super::block::{BlockKind, Claim, HEADER_BYTES};

/// What is read at once, unless a block is longer.
const WINDOW_BYTES: usize = 1 << 20;
/// What a disk cannot give is a multiple of that.
const SECTOR_BYTES: u64 = 4_096;
/// A block of this length or less is verified wherever one may begin; of longer ones, that many times the file's bytes altogether. Few are
/// longer, and a file that was made to waste time could claim them everywhere.
const USUAL_BYTES: usize = 1 << 16;
const LONG_TIMES_MAX: u64 = 16;

/// Where the blocks of a file lie that are whole.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// By kind and number; `None`: two blocks of that number differ, so neither counts.
    places: HashMap<(u8, u32), Option<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    bytes: usize,
}

impl Scan {
    /// Reads the file: some seconds per GB.
    pub(super) fn of(file: &SharedFile) -> io::Result<Self> {
        let length = file.len()?;
        let mut budget = length.saturating_mul(LONG_TIMES_MAX);
        let mut window = Window::of(file);
        let mut scan = Self::default();
        let mut at = 0;
        while at + HEADER_BYTES as u64 <= length {
            let Some(start) = window.bytes(at, HEADER_BYTES) else {
                // The disk does not give these.
                at = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                continue;
            };
            let mut next = at + 1;
            if let Some(Claim { bytes, .. }) = Claim::of(start)
                && bytes as u64 <= length - at
                && (bytes <= USUAL_BYTES || bytes as u64 <= budget)
            {
                if bytes > USUAL_BYTES {
                    budget -= bytes as u64;
                }
                if let Some(block) = window.bytes(at, bytes)
                    && let Some(claim) = Claim::verified(block)
                {
                    scan.found(file, (claim.kind, claim.number), Place { at, bytes }, block)?;
                    next = at + bytes as u64;
                }
            }
            at = next;
        }
        Ok(scan)
    }

    fn found(
        &mut self,
        file: &SharedFile,
        name: (u8, u32),
        place: Place,
        block: &[u8],
    ) -> io::Result<()> {
        match self.places.entry(name) {
            Entry::Vacant(new) => {
                new.insert(Some(place));
            }
            // The database leaves what it moves where it was, too.
            Entry::Occupied(mut known) => {
                let same = known.get().map(|known| known.read(file)).transpose()?;
                if same.is_none_or(|same| same != block) {
                    known.insert(None);
                }
            }
        }
        Ok(())
    }

    /// Returns a block as it is stored; `None`: it is not there, or not whole.
    pub(super) fn block(
        &self,
        file: &SharedFile,
        (kind, number): (BlockKind, u32),
    ) -> io::Result<Option<Vec<u8>>> {
        let place = self.places.get(&(kind as u8, number)).copied().flatten();
        place.map(|place| place.read(file)).transpose()
    }

    /// Returns the kind of which there is a whole block of this number, the header left out.
    pub(super) fn kind_of(&self, number: u32) -> Option<BlockKind> {
        let is_there = |kind: &BlockKind| {
            let place = self.places.get(&(*kind as u8, number));
            place.is_some_and(Option::is_some)
        };
        BlockKind::NUMBERED.into_iter().find(is_there)
    }

    /// Returns where blocks lie, in order, and whether they are of pages.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<(bool, std::ops::Range<u64>)> {
        let place = |((kind, _), place): (&(u8, u32), &Option<Place>)| {
            let Place { at, bytes } = (*place)?;
            Some((*kind == BlockKind::Pages as u8, at..at + bytes as u64))
        };
        let mut places: Vec<_> = self.places.iter().filter_map(place).collect();
        places.sort_by_key(|(_, place)| place.start);
        places
    }
}

impl Place {
    fn read(self, file: &SharedFile) -> io::Result<Vec<u8>> {
        let mut block = vec![0; self.bytes];
        file.read_exact_at(self.at, &mut block)?;
        Ok(block)
    }
}

/// A part of a file, which goes along with who reads it.
struct Window<'a> {
    file: &'a SharedFile,
    at: u64,
    read: Vec<u8>,
}

impl<'a> Window<'a> {
    const fn of(file: &'a SharedFile) -> Self {
        Self {
            file,
            at: 0,
            read: Vec::new(),
        }
    }

    /// Returns these bytes of the file, none of which lies before those asked for last; `None` when they cannot be read.
    fn bytes(&mut self, at: u64, count: usize) -> Option<&[u8]> {
        let start = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        if start.saturating_add(count) <= self.read.len() {
            return self.read.get(start..start + count);
        }
        self.at = at;
        // Where a sector cannot be read, those before it can.
        let to_sector = SECTOR_BYTES - at % SECTOR_BYTES;
        let to_sector = usize::try_from(to_sector).unwrap_or(usize::MAX);
        for wanted in [WINDOW_BYTES, to_sector, 0] {
            self.read.resize(wanted.max(count), 0);
            let read = self.file.read_at(at, &mut self.read);
            self.read.truncate(read.as_ref().map_or(0, |read| *read));
            if read.is_ok() {
                break;
            }
        }
        self.read.get(..count)
    }
}
