//! The part of a shard in memory: rows of cohorts in chunks, loose samples by series, and the index over both.
//!
//! One thread writes ([`HeadWriter`]), any number of queries read. A reader fixes a log position first and then sees exactly the rows
//! with that position or an earlier one, for as long as it likes: rows are never changed, a closed chunk is replaced by pages of the
//! same rows, and a head that is sealed stays whole until its last reader lets go.
//!
//! A cohort's rows lie in **stretches**, each strictly rising in time. In-order rows extend the cohort's main stretch; rows not newer
//! than its newest go to a late stretch beside it. A stretch belongs to one **generation**: one numbering of the cohort's slots, which an
//! epoch fixes. A series knows its places: (cohort, generation, slot).

mod chunk;
mod gathering;
mod loose;
mod pages;
mod reader;
mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use model::{Exemplar, Metadata, TimeRange, TimestampMs};
use rows::Slot;
use storage::Times;

pub(crate) use self::gathering::Gathering;
pub(crate) use self::pages::{Columns, OwnedValues, sample_columns};
pub(crate) use self::reader::{HeadSeries, SeriesReader};
pub(crate) use self::writer::HeadWriter;

use self::chunk::{Chunk, Tile};
use self::loose::{AxisReads, LooseTable};
use self::pages::{Pages, chunk_columns};
use crate::index::{HeadIndex, SeriesId};
use crate::merge_runs::{Arrival, Arrived};
use crate::page::Scratch;
use crate::plain::{Appended, PlainSeries};

/// Exemplars kept per series in a head; the oldest goes first.
const EXEMPLARS_PER_SERIES_MAX: usize = 64;
/// Exemplars kept in a head.
const EXEMPLARS_MAX: usize = 65_536;
/// Metric families whose metadata a head keeps.
const FAMILIES_MAX: usize = 65_536;
/// Distinct sayings kept of one family.
const SAYINGS_MAX: usize = 16;
/// What a place in a head takes beside its values.
const PLACEMENT_BYTES: u64 = 24;

/// A head, as readers see it.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) index: Arc<HeadIndex>,
    /// A log position before its first row; whoever replays from there on misses nothing of it.
    after: AtomicU64,
    places: Mutex<Vec<Placed>>,
    cohorts: Mutex<Vec<Arc<CohortRows>>>,
    /// Readers do not wait for each other: each series is read under a hold of its own.
    loose: RwLock<LooseTable>,
    exemplars: Mutex<Exemplars>,
    metadata: Mutex<BTreeMap<Arc<str>, Vec<Metadata>>>,
    bytes: AtomicU64,
    /// Those of them that closed rows take, which are what sealing frees: the next head needs an index and open rows again.
    closed_bytes: AtomicI64,
    oldest: AtomicI64,
    newest: AtomicI64,
}

/// Where a series has values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    cohort: u32,
    generation: u32,
    slot: Slot,
}

/// The places of a series: nearly always one.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "a thin pointer keeps all of it at 16 bytes"
)]
enum Placed {
    #[default]
    Nowhere,
    Once(Place),
    Often(Box<Vec<Place>>),
}

impl Placed {
    /// Adds a place, unless it is there; returns whether it was not.
    fn add(&mut self, place: Place) -> bool {
        if self.as_slice().contains(&place) {
            return false;
        }
        match self {
            Self::Nowhere => *self = Self::Once(place),
            Self::Once(first) => *self = Self::Often(Box::new(vec![*first, place])),
            Self::Often(all) => all.push(place),
        }
        true
    }

    fn as_slice(&self) -> &[Place] {
        match self {
            Self::Nowhere => &[],
            Self::Once(place) => std::slice::from_ref(place),
            Self::Often(all) => all,
        }
    }
}

#[derive(Debug, Default)]
struct CohortRows {
    /// In the order that they were begun. `None`: its rows are in an earlier one now; the place stays, for others are known by theirs.
    stretches: Mutex<Vec<Option<Stretch>>>,
}

#[derive(Clone, Debug)]
enum Stretch {
    Open(Arc<Chunk>),
    Closed(Arc<Pages>),
}

#[derive(Debug, Default)]
struct Exemplars {
    by_series: HashMap<SeriesId, VecDeque<Exemplar>>,
    count: usize,
}

/// The visible rows of a stretch, for one reader.
#[derive(Clone, Debug)]
pub(crate) struct View {
    stretch: Stretch,
    /// Rows before the first that the reader wants; 0 unless they are in open rows of plain values.
    skipped: usize,
    /// The rows up to the end of the view, those skipped included.
    rows: usize,
    times: Times,
    arrival: Arrival,
    /// The time of the row that was asked for first as a series' newest: that of nearly all.
    newest: OnceLock<(usize, Times)>,
}

/// What a reader keeps between the series of one selection, all of one range, so that series of a cohort share their time columns.
#[derive(Debug, Default)]
pub(crate) struct ReadCache {
    cohorts: HashMap<u32, Arc<Vec<View>>>,
    axes: AxisReads,
    pub(crate) scratch: Scratch,
    tile: Tile,
    floats: Vec<f64>,
}

impl Head {
    pub(crate) fn new(after: u64) -> Self {
        Self {
            index: Arc::new(HeadIndex::new()),
            after: AtomicU64::new(after),
            places: Mutex::default(),
            cohorts: Mutex::default(),
            loose: RwLock::default(),
            exemplars: Mutex::default(),
            metadata: Mutex::default(),
            bytes: AtomicU64::new(0),
            closed_bytes: AtomicI64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            newest: AtomicI64::new(i64::MIN),
        }
    }

    /// Returns the bytes held, the index included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.index.memory_bytes() as u64
    }

    /// Returns whether sealing it would free a good part of it: for each series a head holds an index entry and open rows, however few rows
    /// there are, and one that is full of those alone would be full again at once.
    pub(crate) fn frees_much(&self) -> bool {
        let closed = u64::try_from(self.closed_bytes.load(Ordering::Relaxed)).unwrap_or(0);
        closed.saturating_mul(3) >= self.bytes()
    }

    /// Returns whether it has no samples; metadata alone is not worth a partition.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Returns the number of columns of values: slots of all stretches, and series that come one by one.
    pub(crate) fn columns(&self) -> u64 {
        let cohorts = lock(&self.cohorts).clone();
        let of_cohort = |rows: &Arc<CohortRows>| -> usize {
            let stretches = lock(&rows.stretches);
            stretches.iter().flatten().map(Stretch::slots).sum()
        };
        let in_rows: usize = cohorts.iter().map(of_cohort).sum();
        (in_rows + read(&self.loose).len()) as u64
    }

    pub(crate) fn after(&self) -> u64 {
        self.after.load(Ordering::Acquire)
    }

    /// Says that the empty head has nothing of the log up to this position; only its writer knows that.
    pub(crate) fn set_after(&self, position: u64) {
        self.after.store(position, Ordering::Release);
    }

    /// Returns the times of the oldest and the newest sample; `None` without samples.
    pub(crate) fn times(&self) -> Option<TimeRange> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let newest = self.newest.load(Ordering::Relaxed);
        (oldest <= newest).then(|| TimeRange::new(TimestampMs(oldest), TimestampMs(newest)))
    }

    /// Returns what a series has within `range` (whole stretches of closed rows), of rows with position `until` or an earlier one.
    pub(crate) fn read(
        &self,
        series: SeriesId,
        until: u64,
        range: TimeRange,
        cache: &mut ReadCache,
    ) -> Vec<Arrived> {
        let places = lock(&self.places)
            .get(series as usize)
            .cloned()
            .unwrap_or_default();
        let mut runs = Vec::new();
        for place in places.as_slice() {
            let views = self.views(place.cohort, until, range, cache);
            for view in views.iter().filter(|view| view.is_of(*place, range)) {
                if let Some(run) = view.read(usize::from(place.slot), &mut cache.scratch) {
                    runs.push(run);
                }
            }
        }
        if let Some(loose) = read(&self.loose).get(series) {
            let tools = (&mut cache.axes, &mut cache.scratch);
            loose.read(until, range, tools, &mut runs);
        }
        runs
    }

    /// Returns whether a series has anything within `range`, without decoding it; may say yes for absent values.
    pub(crate) fn touches(
        &self,
        series: SeriesId,
        until: u64,
        range: TimeRange,
        cache: &mut ReadCache,
    ) -> bool {
        let places = lock(&self.places)
            .get(series as usize)
            .cloned()
            .unwrap_or_default();
        let in_rows = places.as_slice().iter().any(|place| {
            let views = self.views(place.cohort, until, range, cache);
            views.iter().any(|view| view.is_of(*place, range))
        });
        in_rows
            || read(&self.loose)
                .get(series)
                .is_some_and(|loose| loose.touches(until, range))
    }

    fn views(
        &self,
        cohort: u32,
        until: u64,
        range: TimeRange,
        cache: &mut ReadCache,
    ) -> Arc<Vec<View>> {
        if let Some(views) = cache.cohorts.get(&cohort) {
            return Arc::clone(views);
        }
        let rows = lock(&self.cohorts).get(cohort as usize).cloned();
        let stretches = rows.map_or_else(Vec::new, |rows| lock(&rows.stretches).clone());
        let views: Vec<View> = stretches
            .into_iter()
            .flatten()
            .filter_map(|stretch| View::of(stretch, until, range, &mut cache.scratch))
            .collect();
        let views = Arc::new(views);
        cache.cohorts.insert(cohort, Arc::clone(&views));
        views
    }

    pub(crate) fn exemplars(&self, series: SeriesId, range: TimeRange) -> Vec<Exemplar> {
        lock(&self.exemplars)
            .by_series
            .get(&series)
            .map_or_else(Vec::new, |list| {
                let within = list.iter().filter(|exemplar| range.contains(exemplar.at));
                within.cloned().collect()
            })
    }

    pub(crate) fn metadata(&self) -> Vec<(Arc<str>, Vec<Metadata>)> {
        lock(&self.metadata)
            .iter()
            .map(|(metric, sayings)| (Arc::clone(metric), sayings.clone()))
            .collect()
    }

    fn add_exemplar(&self, series: SeriesId, exemplar: Exemplar) {
        let bytes = exemplar_bytes(&exemplar);
        let mut all = lock(&self.exemplars);
        let full = all.count >= EXEMPLARS_MAX;
        let list = all.by_series.entry(series).or_default();
        let mut freed = 0;
        if list.len() >= EXEMPLARS_PER_SERIES_MAX || full {
            let Some(oldest) = list.pop_front() else {
                return;
            };
            freed = exemplar_bytes(&oldest);
        }
        list.push_back(exemplar);
        all.count += usize::from(freed == 0);
        drop(all);
        self.grow(bytes);
        self.shrink(freed);
    }

    fn describe(&self, metric: &Arc<str>, metadata: &Metadata) {
        let mut all = lock(&self.metadata);
        if all.len() >= FAMILIES_MAX && !all.contains_key(metric) {
            return;
        }
        let sayings = all.entry(Arc::clone(metric)).or_default();
        if sayings.len() < SAYINGS_MAX && !sayings.contains(metadata) {
            sayings.push(metadata.clone());
            let bytes = metric.len() + metadata.help.len() + metadata.unit.len() + 128;
            drop(all);
            self.grow(bytes as u64);
        }
    }

    fn saw(&self, at: TimestampMs) {
        self.oldest.fetch_min(at.0, Ordering::Relaxed);
        self.newest.fetch_max(at.0, Ordering::Relaxed);
    }

    fn grow(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of closed rows, as part of all.
    fn closed(&self, bytes: i64) {
        self.closed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.grow(u64::try_from(bytes).unwrap_or(0));
        self.shrink(u64::try_from(bytes.saturating_neg()).unwrap_or(0));
    }

    fn shrink(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn exemplar_bytes(exemplar: &Exemplar) -> u64 {
    exemplar.labels.text_bytes() as u64 + 96
}

impl Stretch {
    fn slots(&self) -> usize {
        match self {
            Self::Open(chunk) => chunk.slots(),
            Self::Closed(pages) => pages.slots(),
        }
    }
}

impl View {
    fn of(stretch: Stretch, until: u64, range: TimeRange, scratch: &mut Scratch) -> Option<Self> {
        let (skipped, rows, times, arrival) = match &stretch {
            Stretch::Open(chunk) => {
                let rows = chunk.rows_until(until);
                let times = chunk.times(rows);
                // Values beside the cells may hold for rows after theirs, so then all are read.
                let (skipped, rows) = if chunk.has_side() {
                    (0, rows)
                } else {
                    (
                        times.partition_point(|at| *at < range.start),
                        times.partition_point(|at| *at <= range.end),
                    )
                };
                let arrival = chunk.positions(rows).get(skipped).copied()?;
                let arrival = Arrival::at(arrival);
                (skipped, rows, Times::new(&times[skipped..rows]), arrival)
            }
            Stretch::Closed(pages) => {
                let rows = pages.rows_until(until, scratch);
                let all = pages.times(scratch);
                let times = if rows == pages.rows() {
                    all
                } else {
                    Times::new(&all.as_slice()[..rows])
                };
                (0, rows, times, Arrival::at(pages.first_position()))
            }
        };
        (rows > skipped).then_some(Self {
            stretch,
            skipped,
            rows,
            times,
            arrival,
            newest: OnceLock::new(),
        })
    }

    fn generation(&self) -> u32 {
        match &self.stretch {
            Stretch::Open(chunk) => chunk.generation,
            Stretch::Closed(pages) => pages.generation,
        }
    }

    fn slots(&self) -> usize {
        self.stretch.slots()
    }

    fn range(&self) -> TimeRange {
        let times = self.times.as_slice();
        match (times.first(), times.last()) {
            (Some(first), Some(last)) => TimeRange::new(*first, *last),
            _ => TimeRange::new(TimestampMs::MAX, TimestampMs::MIN),
        }
    }

    fn is_of(&self, place: Place, range: TimeRange) -> bool {
        self.generation() == place.generation
            && usize::from(place.slot) < self.slots()
            && self.range().overlaps(range)
    }

    /// Returns the last row up to `until` in which a slot has a value, counted from the first that the reader wants, and the value; `None`
    /// also for other than plain values. `floats` is a buffer.
    fn newest(
        &self,
        slot: usize,
        until: TimestampMs,
        scratch: &mut Scratch,
        floats: &mut Vec<f64>,
    ) -> Option<(usize, f64)> {
        match &self.stretch {
            // Its rows end where those end that the reader wants.
            Stretch::Open(chunk) if !chunk.has_side() => {
                let (row, value) = chunk.last_of(slot, (self.skipped, self.rows))?;
                Some((row - self.skipped, value))
            }
            Stretch::Open(_) => None,
            Stretch::Closed(pages) => {
                let times = self.times.as_slice();
                let row = times.partition_point(|at| *at <= until).checked_sub(1)?;
                floats.clear();
                let appended = pages.append_plain(slot, scratch, floats);
                (appended == Appended::Plain).then(|| (row, floats[row]))
            }
        }
    }

    /// Returns the column of the time of one row: that of the row that was asked for first, which nearly all ask for, is shared.
    fn time_of(&self, row: usize) -> Times {
        let column = || Times::new([self.times.as_slice()[row]]);
        let (shared_row, shared) = self.newest.get_or_init(|| (row, column()));
        if *shared_row == row {
            shared.clone()
        } else {
            column()
        }
    }

    /// Returns the run of one row's value.
    fn only(&self, row: usize, value: f64) -> Arrived {
        Arrived {
            arrival: self.arrival,
            segment: storage::Segment::floats(self.time_of(row), [value]),
        }
    }

    /// Appends the floats of a slot, if it has one in every row and nothing else. `tile`: `None` for whoever does not go through neighbours.
    fn append(
        &self,
        slot: usize,
        scratch: &mut Scratch,
        tile: Option<&mut Tile>,
        out: &mut Vec<f64>,
    ) -> Appended {
        if slot >= self.slots() {
            return Appended::Nothing;
        }
        let rows = (self.skipped, self.rows);
        match (&self.stretch, tile) {
            (Stretch::Open(chunk), None) => chunk.append(slot, rows, out),
            (Stretch::Open(chunk), Some(tile)) => chunk.append_tiled(slot, rows, tile, out),
            (Stretch::Closed(pages), _) => {
                let start = out.len();
                let appended = pages.append_plain(slot, scratch, out);
                if appended == Appended::Plain {
                    out.truncate(start + self.rows);
                }
                appended
            }
        }
    }

    fn read(&self, slot: usize, scratch: &mut Scratch) -> Option<Arrived> {
        let segment = match &self.stretch {
            Stretch::Open(chunk) => chunk_columns(chunk, slot, (self.skipped, self.rows))?
                .into_segment(self.times.clone()),
            Stretch::Closed(pages) => pages.segment(slot, self.rows, &self.times, scratch)?,
        };
        Some(Arrived {
            arrival: self.arrival,
            segment,
        })
    }
}

/// All of a frozen head in the form that a partition takes it.
impl Head {
    /// Returns the number of cohorts; their rows are asked for one cohort at a time.
    pub(crate) fn cohort_count(&self) -> u32 {
        u32::try_from(lock(&self.cohorts).len()).unwrap_or(u32::MAX)
    }

    /// Returns the stretches of a cohort, in the order that they were begun.
    pub(crate) fn stretches(&self, cohort: u32) -> Vec<View> {
        let rows = lock(&self.cohorts).get(cohort as usize).cloned();
        let stretches = rows.map_or_else(Vec::new, |rows| lock(&rows.stretches).clone());
        let mut scratch = Scratch::default();
        let visible = |stretch| View::of(stretch, u64::MAX, TimeRange::ALL, &mut scratch);
        stretches
            .into_iter()
            .flatten()
            .filter_map(visible)
            .collect()
    }

    /// Returns where a series has rows: (cohort, generation, slot).
    pub(crate) fn places(&self, series: SeriesId) -> Vec<(u32, u32, Slot)> {
        let places = lock(&self.places);
        let of_series = places.get(series as usize).map(Placed::as_slice);
        of_series
            .unwrap_or_default()
            .iter()
            .map(|place| (place.cohort, place.generation, place.slot))
            .collect()
    }

    /// Returns a series' loose samples within `range`, and others of the same runs, as runs of up to 480.
    pub(crate) fn loose(
        &self,
        series: SeriesId,
        range: TimeRange,
        cache: &mut ReadCache,
    ) -> Vec<Arrived> {
        let mut runs = Vec::new();
        if let Some(loose) = read(&self.loose).get(series) {
            loose.read_joined(range, (&mut cache.axes, &mut cache.scratch), &mut runs);
        }
        runs
    }

    /// Appends what [`loose`](Self::loose) returns, if it is plain, and returns when the first of it came; with one cache for all series, those
    /// with the same times share a column.
    pub(crate) fn append_plain_loose(
        &self,
        series: SeriesId,
        range: TimeRange,
        cache: &mut ReadCache,
        out: &mut PlainSeries,
    ) -> Option<Arrival> {
        let all = read(&self.loose);
        let loose = all.get(series)?;
        let tools = (&mut cache.axes, &mut cache.scratch);
        let appended = loose.append_plain(u64::MAX, range, tools, out);
        (appended == Appended::Plain).then(|| loose.arrival(range))?
    }

    /// Shows the times of a series' loose samples, in pieces that rise, and decodes no values.
    pub(crate) fn loose_times(
        &self,
        series: SeriesId,
        cache: &mut ReadCache,
        each: &mut dyn FnMut(&[TimestampMs]),
    ) {
        if let Some(loose) = read(&self.loose).get(series) {
            loose.times(&mut cache.axes, each);
        }
    }
}

impl View {
    pub(crate) const fn arrival(&self) -> Arrival {
        self.arrival
    }

    pub(crate) fn numbering(&self) -> u32 {
        self.generation()
    }

    pub(crate) fn is_late(&self) -> bool {
        match &self.stretch {
            Stretch::Open(chunk) => chunk.late,
            Stretch::Closed(pages) => pages.late,
        }
    }

    pub(crate) fn column_times(&self) -> &Times {
        &self.times
    }

    /// Returns a slot's values; `None` when nothing is present or the slot is past the end.
    pub(crate) fn column(&self, slot: usize, scratch: &mut Scratch) -> Option<storage::Segment> {
        if slot >= self.slots() {
            return None;
        }
        self.read(slot, scratch).map(|run| run.segment)
    }

    /// Appends the floats of a slot in rows `from..to`, if it has one in every row of the stretch and nothing else; leaves `out` alone and
    /// returns `false` otherwise. This is what nearly all columns are, and cheaper than [`column`](Self::column).
    pub(crate) fn append_plain(
        &self,
        slot: usize,
        (from, to): (usize, usize),
        scratch: &mut Scratch,
        out: &mut Vec<f64>,
    ) -> bool {
        let start = out.len();
        let plain = self.append(slot, scratch, None, out) == Appended::Plain;
        if plain {
            out.truncate(start + to);
            out.drain(start..start + from);
        }
        plain
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only lists and maps that are pushed to: a panicking holder leaves them readable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(shared: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    shared.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(shared: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}
