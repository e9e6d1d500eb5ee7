//! Times and log positions of a run of loose samples, packed, and shared by the series that have the same.
//!
//! Series that a sender scrapes together come at the same times and, request by request, under the same positions. So a run that closes
//! mostly finds its axis made already, by the series before it, and 16 bytes a sample become some thousandths.

use std::collections::HashMap;
use std::sync::Arc;

use model::TimestampMs;
use storage::Times;
use xxhash_rust::xxh3::Xxh3;

use crate::bytes::Reader;
use crate::page::ints::{Differences, IntScratch, decode_ints, encode_ints};

/// Axes that a writer remembers for the next series; at 8 bytes each when empty.
const REMEMBERED: usize = 4_096;
/// Columns that a reader remembers.
const READ_MAX: usize = 4_096;

/// When a run's samples were, and where they stand in the log.
#[derive(Debug)]
pub(super) struct Axis {
    key: u128,
    rows: u32,
    pub(super) first: TimestampMs,
    pub(super) last: TimestampMs,
    /// The least and the greatest.
    pub(super) first_position: u64,
    pub(super) last_position: u64,
    packed: Box<[u8]>,
}

impl Axis {
    pub(super) const fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Returns the bytes held, when nothing shares it.
    pub(super) const fn memory_bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.packed.len()
    }

    fn of(key: u128, times: &[TimestampMs], positions: &[u64], tools: &mut Packing) -> Self {
        tools.out.clear();
        tools.whole.clear();
        tools.whole.extend(times.iter().map(|at| at.0));
        encode_ints(
            &tools.whole,
            Differences::Second,
            &mut tools.ints,
            &mut tools.out,
        );
        tools.whole.clear();
        tools
            .whole
            .extend(positions.iter().map(|position| position.cast_signed()));
        encode_ints(
            &tools.whole,
            Differences::First,
            &mut tools.ints,
            &mut tools.out,
        );
        Self {
            key,
            rows: u32::try_from(times.len()).expect("runs are of some hundred samples"),
            first: times.first().copied().unwrap_or_default(),
            last: times.last().copied().unwrap_or_default(),
            first_position: positions.iter().copied().min().unwrap_or(0),
            last_position: positions.iter().copied().max().unwrap_or(0),
            packed: tools.out.as_slice().into(),
        }
    }

    /// Appends times and positions.
    pub(super) fn unpack(
        &self,
        tools: &mut Packing,
        times: &mut Vec<TimestampMs>,
        positions: &mut Vec<u64>,
    ) {
        // Packed by this process and never outside its memory.
        const OWN: &str = "an axis in memory unpacks";
        let mut reader = Reader::new(&self.packed);
        decode_ints(&mut reader, self.rows(), &mut tools.ints, &mut tools.whole).expect(OWN);
        times.extend(tools.whole.iter().map(|at| TimestampMs(*at)));
        decode_ints(&mut reader, self.rows(), &mut tools.ints, &mut tools.whole).expect(OWN);
        positions.extend(tools.whole.iter().map(|position| position.cast_unsigned()));
    }
}

/// Buffers for packing and unpacking.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    ints: IntScratch,
    whole: Vec<i64>,
    out: Vec<u8>,
}

/// The axes made lately.
#[derive(Debug)]
pub(super) struct Axes {
    /// By the low bits of the key; a collision forgets the older one, which costs no more than sharing.
    remembered: Box<[Option<Arc<Axis>>]>,
    latest: Option<Arc<Axis>>,
    latest_times: Vec<TimestampMs>,
    latest_positions: Vec<u64>,
    hashed: Vec<u8>,
    pub(super) packing: Packing,
}

impl Default for Axes {
    fn default() -> Self {
        Self {
            remembered: (0..REMEMBERED).map(|_| None).collect(),
            latest: None,
            latest_times: Vec::new(),
            latest_positions: Vec::new(),
            hashed: Vec::new(),
            packing: Packing::default(),
        }
    }
}

impl Axes {
    /// Returns the axis of these times and positions, and the bytes by which memory grew for it.
    pub(super) fn of(&mut self, times: &[TimestampMs], positions: &[u64]) -> (Arc<Axis>, usize) {
        if let Some(latest) = &self.latest
            && self.latest_times == times
            && self.latest_positions == positions
        {
            return (Arc::clone(latest), 0);
        }
        let key = self.key(times, positions);
        let place = usize::try_from(key % REMEMBERED as u128).unwrap_or(0);
        let known = self.remembered[place]
            .as_ref()
            .filter(|axis| axis.key == key);
        let (axis, grown) = match known {
            Some(axis) => (Arc::clone(axis), 0),
            None => {
                let axis = Arc::new(Axis::of(key, times, positions, &mut self.packing));
                let bytes = axis.memory_bytes();
                self.remembered[place] = Some(Arc::clone(&axis));
                (axis, bytes)
            }
        };
        self.latest = Some(Arc::clone(&axis));
        self.latest_times.clear();
        self.latest_times.extend_from_slice(times);
        self.latest_positions.clear();
        self.latest_positions.extend_from_slice(positions);
        (axis, grown)
    }

    /// 128 bits: two axes of one key would need some 10^17 axes to be likely.
    fn key(&mut self, times: &[TimestampMs], positions: &[u64]) -> u128 {
        self.hashed.clear();
        for at in times {
            self.hashed.extend_from_slice(&at.0.to_le_bytes());
        }
        for position in positions {
            self.hashed.extend_from_slice(&position.to_le_bytes());
        }
        let mut hash = Xxh3::new();
        hash.update(&self.hashed);
        hash.digest128()
    }
}

/// What a reader unpacked, so that series which share an axis share a time column.
#[derive(Debug, Default)]
pub(crate) struct AxisReads {
    columns: HashMap<usize, Unpacked>,
    packing: Packing,
    /// The times of the open run before: those of the next series mostly.
    open: Option<Times>,
}

#[derive(Debug)]
struct Unpacked {
    /// Held, so that the address stays its own.
    _axis: Arc<Axis>,
    times: Times,
    positions: Box<[u64]>,
}

impl AxisReads {
    /// Returns the column of an open run's times.
    pub(super) fn open(&mut self, times: impl Iterator<Item = TimestampMs> + Clone) -> &Times {
        let known = self
            .open
            .take()
            .filter(|open| open.as_slice().iter().copied().eq(times.clone()));
        self.open
            .insert(known.unwrap_or_else(|| Times::new(times.collect::<Vec<_>>())))
    }

    /// Returns times and positions of an axis.
    pub(super) fn of(&mut self, axis: &Arc<Axis>) -> (&Times, &[u64]) {
        if self.columns.len() >= READ_MAX {
            self.columns.clear();
        }
        let unpacked = self
            .columns
            .entry(Arc::as_ptr(axis).addr())
            .or_insert_with(|| {
                let (mut times, mut positions) = (Vec::new(), Vec::new());
                axis.unpack(&mut self.packing, &mut times, &mut positions);
                Unpacked {
                    _axis: Arc::clone(axis),
                    times: Times::new(times),
                    positions: positions.into(),
                }
            });
        (&unpacked.times, &unpacked.positions)
    }
}
