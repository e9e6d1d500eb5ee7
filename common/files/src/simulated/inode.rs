//! One file: what a process sees, what is durable, and what lies in between.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::random::Random;

pub(super) type SharedInode = Arc<Mutex<Inode>>;

/// The unit in which space is taken.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// The unit in which writes reach the disk.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Inode {
    /// What every handle sees.
    now: Vec<u8>,
    /// What a power cut certainly leaves.
    durable: Vec<u8>,
    /// What was done since the last sync, in order: a power cut leaves some of it.
    unsynced: Vec<Change>,
    /// Which blocks take space: a hole left by `set_len` does not.
    blocks: Vec<bool>,
    /// The blocks taken on the whole disk.
    used_blocks: Arc<AtomicU64>,
    /// How many names it has now, and how many handles are open: without either its space is free at once, although a power cut can
    /// still bring it back.
    names: u32,
    handles: u32,
    locked_by: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Inode {
    pub(super) fn new(used_blocks: &Arc<AtomicU64>) -> SharedInode {
        Arc::new(Mutex::new(Self {
            now: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            blocks: Vec::new(),
            used_blocks: Arc::clone(used_blocks),
            names: 1,
            handles: 0,
            locked_by: None,
        }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.now.get(offset..).unwrap_or_default();
        let length = there.len().min(out.len());
        out[..length].copy_from_slice(&there[..length]);
        length
    }

    /// Writes what fits; the rest, if any, is the error.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], free_blocks: u64) -> io::Result<()> {
        let fits = self.take_blocks(offset, bytes.len() as u64, free_blocks);
        let fits = usize::try_from(fits).unwrap_or(bytes.len());
        if fits > 0 {
            let change = Change::Write {
                offset: position(offset)?,
                bytes: bytes[..fits].to_vec(),
            };
            change.apply(&mut self.now);
            self.unsynced.push(change);
        }
        if fits == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let change = Change::Length(usize::try_from(len).unwrap_or(usize::MAX));
        change.apply(&mut self.now);
        self.unsynced.push(change);
        self.keep_blocks(len.div_ceil(BLOCK_BYTES));
    }

    pub(super) fn preallocate(&mut self, len: u64, free_blocks: u64) -> io::Result<()> {
        if self.take_blocks(0, len, free_blocks) < len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if len > self.len() {
            self.set_len(len);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync: the kernel has dropped the dirty pages and will not write them again.
    pub(super) fn lose_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> io::Result<()> {
        let at = position(bit / 8)?;
        let mask = 1 << (bit % 8);
        *self.now.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
        for change in &mut self.unsynced {
            if let Change::Write { offset, bytes } = change
                && let Some(byte) = at.checked_sub(*offset).and_then(|i| bytes.get_mut(i))
            {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    /// Before a power cut: the names that survive it are counted anew.
    pub(super) fn forget_names(&mut self) {
        self.names = 0;
    }

    /// A power cut, for each name that survives it: what was not synced survives in one of the ways a disk knows.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let mut unsynced = std::mem::take(&mut self.unsynced);
        match random.up_to(3) {
            0 => unsynced.clear(),
            1 => {}
            2 => {
                unsynced.truncate(random.up_to(unsynced.len()));
                if let Some(Change::Write { bytes, offset }) = unsynced.last_mut() {
                    let sectors = sectors(*offset, bytes.len()).count();
                    let kept = sectors_end(*offset, random.up_to(sectors));
                    bytes.truncate(kept);
                }
            }
            _ => unsynced = scattered(unsynced, random),
        }
        for change in unsynced {
            change.apply(&mut self.durable);
        }
        self.now.clone_from(&self.durable);
        self.locked_by = None;
        self.names += 1;
        let blocks = self.len().div_ceil(BLOCK_BYTES);
        self.keep_blocks(blocks);
        // A hole may have been filled by what survived: from now on the whole file takes space.
        let _ = self.take_blocks(0, self.len(), u64::MAX);
    }

    pub(super) fn opened(&mut self) {
        self.handles += 1;
    }

    pub(super) fn closed(&mut self, handle: u64) {
        if self.locked_by == Some(handle) {
            self.locked_by = None;
        }
        self.handles -= 1;
        self.free_if_unreachable();
    }

    pub(super) fn linked(&mut self) {
        self.names += 1;
    }

    pub(super) fn unlinked(&mut self) {
        self.names = self.names.saturating_sub(1);
        self.free_if_unreachable();
    }

    fn free_if_unreachable(&mut self) {
        if self.names == 0 && self.handles == 0 {
            self.keep_blocks(0);
        }
    }

    pub(super) fn try_lock(&mut self, handle: u64) -> bool {
        let free = self.locked_by.is_none_or(|holder| holder == handle);
        if free {
            self.locked_by = Some(handle);
        }
        free
    }

    pub(super) fn free_lock(&mut self) {
        self.locked_by = None;
    }

    /// Takes the blocks under `offset..offset + length` in order while there are free ones; returns how many of the bytes have one.
    fn take_blocks(&mut self, offset: u64, length: u64, mut free: u64) -> u64 {
        if length == 0 {
            return 0;
        }
        let end = offset.saturating_add(length);
        for block in offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let at = usize::try_from(block).unwrap_or(usize::MAX);
            if self.blocks.get(at) != Some(&true) {
                if free == 0 {
                    return (block * BLOCK_BYTES).saturating_sub(offset);
                }
                free -= 1;
                if self.blocks.len() <= at {
                    self.blocks.resize(at + 1, false);
                }
                self.blocks[at] = true;
                self.used_blocks.fetch_add(1, Ordering::Relaxed);
            }
        }
        length
    }

    /// Frees the blocks from the one with index `keep` on.
    fn keep_blocks(&mut self, keep: u64) {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        if keep < self.blocks.len() {
            let freed = self.blocks[keep..].iter().filter(|taken| **taken).count();
            self.blocks.truncate(keep);
            self.used_blocks.fetch_sub(freed as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.keep_blocks(0);
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(len) => file.resize(*len, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

/// Keeps each sector of each write by chance; a length may be kept without the bytes, which leaves zeros.
fn scattered(changes: Vec<Change>, random: &mut Random) -> Vec<Change> {
    let mut kept = Vec::new();
    for change in changes {
        match change {
            Change::Length(_) => {
                if random.coin() {
                    kept.push(change);
                }
            }
            Change::Write { offset, bytes } => {
                for (start, end) in sectors(offset, bytes.len()) {
                    if random.coin() {
                        kept.push(Change::Write {
                            offset: offset + start,
                            bytes: bytes[start..end].to_vec(),
                        });
                    }
                }
            }
        }
    }
    kept
}

/// The parts of `length` bytes at `offset` that lie in different sectors, as ranges of those bytes.
fn sectors(offset: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == length {
            return None;
        }
        let end = (start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES).min(length);
        let part = (start, end);
        start = end;
        Some(part)
    })
}

/// How many bytes at `offset` lie in its first `count` sectors.
fn sectors_end(offset: usize, count: usize) -> usize {
    match count {
        0 => 0,
        count => count * SECTOR_BYTES - offset % SECTOR_BYTES,
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
