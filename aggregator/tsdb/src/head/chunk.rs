//! Open rows of a cohort: written once by the shard's thread, read by any number of queries at the same time.
//!
//! All cells are atomics and the number of rows is the publication: a row is stored first and counted after, with release order, so a
//! reader that sees the count sees the row. Nothing is ever overwritten; when a chunk is full it is encoded and replaced by a
//! [`Pages`](super::pages::Pages) of the same rows, while readers that hold it read on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use model::{Histogram, TimestampMs};
use rows::{Presence, Row, Slot};

use crate::plain::Appended;

/// Slots of a [`Chunk::tile`]: some cache lines of each row, for what was written long ago is fetched from memory, and lines that follow
/// each other come together.
pub(crate) const TILE_SLOTS: usize = 32;
/// Slots of a [`Tile`], which lie in one cache line or two.
const NEIGHBOURS: usize = 8;
/// Rows whose cells are made together: a chunk that fills slowly holds half of its cells on average, not all of them.
const BLOCK_ROWS: usize = 8;

/// Rows of one cohort under one numbering of its slots, rising strictly in time and in position.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Which numbering of slots: an index into the cohort's generations.
    pub(crate) generation: u32,
    /// Whether its rows came after newer ones.
    pub(crate) late: bool,
    slots: usize,
    capacity: usize,
    rows: AtomicUsize,
    times: Box<[AtomicI64]>,
    positions: Box<[AtomicU64]>,
    /// Made when their first row comes: [`BLOCK_ROWS`] rows each.
    blocks: Box<[OnceLock<Block>]>,
    /// Whether `side` has anything: most chunks never touch the lock.
    has_side: AtomicBool,
    side: Mutex<Side>,
}

/// Some rows of slots that lie beside each other, read at once.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    /// Of which chunk, its address, from which slot on, in which rows.
    of: Option<(usize, usize, (usize, usize))>,
    /// The slots that are present in all of the rows, and in any: a bit each.
    all: u64,
    any: u64,
    /// Column after column.
    floats: Vec<f64>,
}

/// Row by row: the bits of each slot's float, then one bit per slot that says whether it is present.
type Block = Box<[AtomicU64]>;

/// What few rows have, by slot: index of the row and what it has there, rising.
#[derive(Clone, Debug, Default)]
struct Side {
    histograms: BTreeMap<Slot, Vec<(u32, Arc<Histogram>)>>,
    /// The start time holds from its row on.
    starts: BTreeMap<Slot, Vec<(u32, TimestampMs)>>,
}

impl Chunk {
    pub(crate) fn new(generation: u32, late: bool, slots: usize, capacity: usize) -> Self {
        Self {
            generation,
            late,
            slots,
            capacity,
            rows: AtomicUsize::new(0),
            times: zeros(capacity),
            positions: zeros(capacity),
            blocks: (0..capacity.div_ceil(BLOCK_ROWS))
                .map(|_| OnceLock::new())
                .collect(),
            has_side: AtomicBool::new(false),
            side: Mutex::default(),
        }
    }

    /// Returns the bytes that it takes now.
    pub(crate) fn memory_bytes(&self) -> usize {
        let made = self.blocks.iter().filter(|block| block.get().is_some());
        256 + self.capacity * 16 + self.blocks.len() * 24 + made.count() * self.block_bytes()
    }

    const fn block_bytes(&self) -> usize {
        BLOCK_ROWS * self.cells_of_row() * 8
    }

    const fn cells_of_row(&self) -> usize {
        self.slots + self.slots.div_ceil(64)
    }

    /// Returns the cells of a row that was pushed: values, then presence.
    fn cells(&self, row: usize) -> (&[AtomicU64], &[AtomicU64]) {
        let block = self.blocks[row / BLOCK_ROWS].get();
        let block = block.expect("made when the first of its rows was pushed");
        let cells = &block[row % BLOCK_ROWS * self.cells_of_row()..][..self.cells_of_row()];
        cells.split_at(self.slots)
    }

    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.load(Ordering::Acquire)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows() == self.capacity
    }

    /// Appends a row and publishes it; only the shard's thread calls this. `starts` are start times that hold from this row on. Returns
    /// how many bytes more the chunk takes.
    ///
    /// # Panics
    /// When the chunk is full or the row is wider: the caller opens another.
    pub(crate) fn push(&self, row: &Row, position: u64, starts: &[(Slot, TimestampMs)]) -> usize {
        let at = self.rows.load(Ordering::Relaxed);
        assert!(
            at < self.capacity && row.floats.len() <= self.slots,
            "a row fits the chunk that it was opened for"
        );
        self.times[at].store(row.at.0, Ordering::Relaxed);
        self.positions[at].store(position, Ordering::Relaxed);
        let block = &self.blocks[at / BLOCK_ROWS];
        let grown = if block.get().is_none() {
            self.block_bytes()
        } else {
            0
        };
        block.get_or_init(|| zeros(BLOCK_ROWS * self.cells_of_row()));
        let (values, presence) = self.cells(at);
        for (cell, value) in values.iter().zip(&row.floats) {
            cell.store(value.to_bits(), Ordering::Relaxed);
        }
        for (cell, word) in presence.iter().zip(row.presence.words()) {
            cell.store(*word, Ordering::Relaxed);
        }
        if !row.histograms.is_empty() || !starts.is_empty() {
            self.push_side(at, row, starts);
        }
        self.rows.store(at + 1, Ordering::Release);
        grown
    }

    fn push_side(&self, at: usize, row: &Row, starts: &[(Slot, TimestampMs)]) {
        let at = u32::try_from(at).expect("a chunk has some hundred rows");
        let mut side = self.lock_side();
        for (slot, histogram) in &row.histograms {
            let list = side.histograms.entry(*slot).or_default();
            list.push((at, Arc::clone(histogram)));
        }
        for (slot, start) in starts {
            side.starts.entry(*slot).or_default().push((at, *start));
        }
        self.has_side.store(true, Ordering::Release);
    }

    /// Returns how many rows have this position or an earlier one; positions never fall.
    pub(crate) fn rows_until(&self, position: u64) -> usize {
        let rows = self.rows();
        self.positions[..rows].partition_point(|cell| cell.load(Ordering::Relaxed) <= position)
    }

    pub(crate) fn times(&self, rows: usize) -> Vec<TimestampMs> {
        self.times[..rows]
            .iter()
            .map(|cell| TimestampMs(cell.load(Ordering::Relaxed)))
            .collect()
    }

    pub(crate) fn positions(&self, rows: usize) -> Vec<u64> {
        self.positions[..rows]
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .collect()
    }

    /// Returns the 64 slots from `64 * word` on that are present in all of the first `rows` rows, and those that are in any: a bit each.
    pub(crate) fn presence_of(&self, word: usize, rows: usize) -> (u64, u64) {
        let of_row = |row: usize| self.cells(row).1[word].load(Ordering::Relaxed);
        (0..rows)
            .map(of_row)
            .fold((u64::MAX, 0), |(all, any), bits| (all & bits, any | bits))
    }

    /// Puts the floats of up to [`TILE_SLOTS`] slots from `slot` on into `out`, column after column: the first `rows` rows of each. Rows lie
    /// far apart: each cache line of them is fetched once, for all slots that lie on it.
    pub(crate) fn tile(&self, slot: usize, rows: usize, out: &mut Vec<f64>) {
        let slots = TILE_SLOTS.min(self.slots - slot);
        out.clear();
        out.resize(slots * rows, 0.0);
        for row in 0..rows {
            let cells = &self.cells(row).0[slot..][..slots];
            let column = out.iter_mut().skip(row).step_by(rows);
            for (out, cell) in column.zip(cells) {
                *out = f64::from_bits(cell.load(Ordering::Relaxed));
            }
        }
    }

    /// Returns whether any row has a histogram or says a start time.
    pub(crate) fn has_side(&self) -> bool {
        self.has_side.load(Ordering::Acquire)
    }

    /// Appends the floats of a slot in rows `from..to` to `out` and returns where among them they are present; `None`: everywhere.
    pub(crate) fn column(
        &self,
        slot: usize,
        (from, to): (usize, usize),
        out: &mut Vec<f64>,
    ) -> Option<Presence> {
        let mut presence: Option<Presence> = None;
        for row in from..to {
            let (values, words) = self.cells(row);
            let word = words[slot / 64].load(Ordering::Relaxed);
            if word >> (slot % 64) & 1 == 0 {
                presence
                    .get_or_insert_with(|| Presence::filled(to - from, true))
                    .set(row - from, false);
            }
            out.push(f64::from_bits(values[slot].load(Ordering::Relaxed)));
        }
        presence
    }

    /// Appends the floats of a slot in rows `from..to`, if it has one in each and the chunk has nothing beside its cells.
    pub(crate) fn append(
        &self,
        slot: usize,
        (from, to): (usize, usize),
        out: &mut Vec<f64>,
    ) -> Appended {
        if self.has_side() {
            return Appended::Other;
        }
        let start = out.len();
        let (mut all, mut any) = (true, false);
        for row in from..to {
            let (values, words) = self.cells(row);
            let present = words[slot / 64].load(Ordering::Relaxed) >> (slot % 64) & 1 == 1;
            all &= present;
            any |= present;
            out.push(f64::from_bits(values[slot].load(Ordering::Relaxed)));
        }
        if all && any {
            return Appended::Plain;
        }
        out.truncate(start);
        if any {
            Appended::Other
        } else {
            Appended::Nothing
        }
    }

    /// The same, for whoever goes through many slots of a chunk: rows lie far apart, so what is read of the neighbours too serves when they
    /// come next. The chunk lives as long as `tile`.
    pub(crate) fn append_tiled(
        &self,
        slot: usize,
        (from, to): (usize, usize),
        tile: &mut Tile,
        out: &mut Vec<f64>,
    ) -> Appended {
        if self.has_side() {
            return Appended::Other;
        }
        let first = slot - slot % NEIGHBOURS;
        let of = (std::ptr::from_ref(self).addr(), first, (from, to));
        if tile.of != Some(of) {
            tile.of = Some(of);
            self.read_tile(first, (from, to), tile);
        }
        let bit = 1 << (slot % NEIGHBOURS);
        if tile.all & bit != 0 {
            let rows = to - from;
            out.extend_from_slice(&tile.floats[(slot - first) * rows..][..rows]);
            Appended::Plain
        } else if tile.any & bit != 0 {
            Appended::Other
        } else {
            Appended::Nothing
        }
    }

    fn read_tile(&self, first: usize, (from, to): (usize, usize), tile: &mut Tile) {
        let (slots, rows) = (NEIGHBOURS.min(self.slots - first), to - from);
        tile.floats.clear();
        tile.floats.resize(slots * rows, 0.0);
        (tile.all, tile.any) = if rows == 0 { (0, 0) } else { (u64::MAX, 0) };
        for row in 0..rows {
            let (values, words) = self.cells(from + row);
            let present = words[first / 64].load(Ordering::Relaxed) >> (first % 64);
            tile.all &= present;
            tile.any |= present;
            let column = tile.floats.iter_mut().skip(row).step_by(rows);
            for (out, cell) in column.zip(&values[first..][..slots]) {
                *out = f64::from_bits(cell.load(Ordering::Relaxed));
            }
        }
    }

    /// Returns the last of rows `from..to` in which a slot is present, and the float there.
    pub(crate) fn last_of(&self, slot: usize, (from, to): (usize, usize)) -> Option<(usize, f64)> {
        (from..to).rev().find_map(|row| {
            let (values, words) = self.cells(row);
            let word = words[slot / 64].load(Ordering::Relaxed);
            let value = || f64::from_bits(values[slot].load(Ordering::Relaxed));
            (word >> (slot % 64) & 1 == 1).then(|| (row, value()))
        })
    }

    /// Returns histograms and start times of one slot, within the first `rows` rows.
    pub(crate) fn side_of(&self, slot: Slot, rows: usize) -> SlotSide {
        if !self.has_side() {
            return SlotSide::default();
        }
        self.lock_side().of(slot, rows)
    }

    fn lock_side(&self) -> MutexGuard<'_, Side> {
        // Lists that are only pushed to: a panicking holder leaves them readable.
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn zeros<T: Default>(count: usize) -> Box<[T]> {
    (0..count).map(|_| T::default()).collect()
}

/// Histograms and start times of one slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotSide {
    pub(crate) histograms: Vec<(u32, Arc<Histogram>)>,
    pub(crate) starts: Vec<(u32, TimestampMs)>,
}

impl Side {
    fn of(&self, slot: Slot, rows: usize) -> SlotSide {
        fn within<T: Clone>(list: Option<&Vec<(u32, T)>>, rows: usize) -> Vec<(u32, T)> {
            let list = list.map(Vec::as_slice).unwrap_or_default();
            let end = list.partition_point(|(row, _)| (*row as usize) < rows);
            list[..end].to_vec()
        }
        SlotSide {
            histograms: within(self.histograms.get(&slot), rows),
            starts: within(self.starts.get(&slot), rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rows::CohortId;

    fn row(at: i64, floats: &[f64], absent: &[usize]) -> Row {
        let mut presence = Presence::filled(floats.len(), true);
        for slot in absent {
            presence.set(*slot, false);
        }
        Row {
            cohort: CohortId(0),
            counter: 0,
            at: TimestampMs(at),
            presence,
            floats: floats.to_vec(),
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        }
    }

    #[test]
    fn rows_are_visible_up_to_a_position() {
        let chunk = Chunk::new(0, false, 3, 4);
        chunk.push(&row(10, &[1.0, -0.0], &[]), 5, &[]);
        chunk.push(&row(20, &[3.0, 4.0, 5.0], &[0]), 5, &[]);
        chunk.push(&row(30, &[6.0, 7.0, 8.0], &[]), 9, &[(1, TimestampMs(4))]);
        assert_eq!(
            (
                chunk.rows_until(4),
                chunk.rows_until(5),
                chunk.rows_until(9)
            ),
            (0, 2, 3)
        );
        let mut values = Vec::new();
        let presence = chunk.column(0, (0, 2), &mut values).unwrap();
        assert_eq!((presence.contains(0), presence.contains(1)), (true, false));
        values.clear();
        assert!(chunk.column(1, (0, 3), &mut values).is_none());
        assert_eq!(
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [(-0.0f64).to_bits(), 4f64.to_bits(), 7f64.to_bits()]
        );
        assert!(chunk.side_of(1, 2).starts.is_empty());
        assert_eq!(chunk.side_of(1, 3).starts, [(2, TimestampMs(4))]);
    }
}
