//! The one who writes a head: a shard's thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use clock::Monotonic;
use model::{Exemplar, Labels, Metadata, TimestampMs};
use rows::{CohortId, Epoch, Presence, Row, SeriesSample, Slot};

use super::chunk::Chunk;
use super::loose;
use super::pages::Pages;
use super::{CohortRows, Head, PLACEMENT_BYTES, Place, Placed, Stretch, lock, write};
use crate::cohorts::FORGOTTEN_AFTER;
use crate::index::SeriesId;
use crate::layout::{CohortKey, Layout, SlotState};
use crate::merge_runs::Arrival;
use crate::page::Scratch;

/// Rows of an open chunk: a series holds 8 bytes for each, so few; with fewer, pages take more.
const CHUNK_ROWS: usize = 32;
/// Late rows come in small numbers.
const LATE_CHUNK_ROWS: usize = 8;
/// Closed chunks that become one: pages of some hundred rows take a third less than those of a chunk.
const CHUNKS_JOINED: usize = 4;
/// Joins that may wait for an idle moment; with more, each makes the oldest happen.
const JOINS_MAX: usize = 4_096;

type Starts = HashMap<Slot, TimestampMs>;

/// Epochs of a cohort whose start times outlive heads: the present one, and one whose last rows may still come.
const EPOCHS_CARRIED: usize = 2;

/// Start times that outlive heads, for they are sent only when they change: of cohorts that the head has not seen yet, the epochs that
/// came last.
#[derive(Debug, Default)]
struct Carried(HashMap<Arc<CohortKey>, Vec<CarriedStarts>>);

#[derive(Debug)]
struct CarriedStarts {
    of: (Epoch, CohortId),
    starts: Starts,
    /// When a head ended that was the last to see the cohort, or the first that did not.
    since: Option<Monotonic>,
}

impl Carried {
    /// Returns the start times that are carried for an epoch's cohort, to be changed.
    fn starts_of(&mut self, key: &Arc<CohortKey>, of: (Epoch, CohortId)) -> &mut Starts {
        let epochs = self.0.entry(Arc::clone(key)).or_default();
        let at = epochs.iter().position(|epoch| epoch.of == of);
        let at = at.unwrap_or_else(|| {
            if epochs.len() >= EPOCHS_CARRIED {
                epochs.remove(0);
            }
            epochs.push(CarriedStarts {
                of,
                starts: Starts::new(),
                since: None,
            });
            epochs.len() - 1
        });
        &mut epochs[at].starts
    }

    /// Hands over the start times of an epoch's cohort.
    fn take(&mut self, key: &Arc<CohortKey>, of: (Epoch, CohortId)) -> Starts {
        let Some(epochs) = self.0.get_mut(key) else {
            return Starts::new();
        };
        let found = epochs.iter().position(|epoch| epoch.of == of);
        found.map_or_else(Starts::new, |at| epochs.remove(at).starts)
    }

    /// Forgets those of cohorts that have had no row for as long as the log remembers a cohort.
    fn sweep(&mut self, now: Monotonic) {
        self.0.retain(|_, epochs| {
            epochs.retain_mut(|epoch| {
                let since = *epoch.since.get_or_insert(now);
                now.saturating_since(since) < FORGOTTEN_AFTER
            });
            !epochs.is_empty()
        });
    }
}

/// Writes a head.
#[derive(Debug)]
pub(crate) struct HeadWriter {
    head: Arc<Head>,
    cohorts: HashMap<Arc<CohortKey>, Cohort>,
    carried: Carried,
    loose: HashMap<(Arc<CohortKey>, Epoch, CohortId), LooseLayout>,
    loose_tools: loose::Tools,
    joins: VecDeque<Join>,
    /// Cohorts whose open rows are still to be closed, for no row has come.
    idle: Vec<Arc<CohortKey>>,
    scratch: Scratch,
}

/// Stretches of closed main chunks to be joined, each the next in time; all of one numbering.
#[derive(Debug)]
struct Join {
    rows: Arc<CohortRows>,
    stretches: Vec<usize>,
}

/// Where the loose samples of a layout's slots go, as far as this head has seen.
#[derive(Debug)]
struct LooseLayout {
    /// The layout's `changes` when `slots` was derived from it.
    changes: u64,
    slots: Vec<LoosePlace>,
}

#[derive(Clone, Copy, Debug)]
struct LoosePlace {
    series: SeriesId,
    /// In the head's table; [`UNKNOWN`] until the slot has had a sample.
    place: u32,
}

const UNKNOWN: u32 = u32::MAX;
/// A sample has come, and its place is looked for.
const WANTED: u32 = u32::MAX - 1;

#[derive(Debug)]
struct Cohort {
    index: u32,
    rows: Arc<CohortRows>,
    newest: TimestampMs,
    /// Whether a row has come since idle cohorts were looked for.
    used: bool,
    main: Option<OpenChunk>,
    late: Option<OpenChunk>,
    /// The stretches of closed main chunks that are still to be joined, each the next in time; all of one numbering.
    short: Vec<usize>,
    numberings: Vec<Numbering>,
}

#[derive(Debug)]
struct OpenChunk {
    chunk: Arc<Chunk>,
    /// Its place among the cohort's stretches.
    stretch: usize,
    last: TimestampMs,
}

/// How an epoch numbers the cohort's series, as far as this head has seen.
#[derive(Debug)]
struct Numbering {
    epoch: Epoch,
    cohort: CohortId,
    /// The layout's `changes` when `series` was derived from it.
    changes: u64,
    /// By slot; `None`: its values are not stored.
    series: Vec<Option<SeriesId>>,
    starts: Starts,
}

impl HeadWriter {
    pub(crate) fn new(after: u64) -> Self {
        Self {
            head: Arc::new(Head::new(after)),
            cohorts: HashMap::new(),
            carried: Carried::default(),
            loose: HashMap::new(),
            loose_tools: loose::Tools::default(),
            joins: VecDeque::new(),
            idle: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    pub(crate) const fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// Ends the head and goes on with an empty one. Metadata stays known; so do start times, until their cohorts are forgotten.
    pub(crate) fn freeze(&mut self, now: Monotonic) -> Arc<Head> {
        for (key, cohort) in self.cohorts.drain() {
            for numbering in cohort.numberings {
                if !numbering.starts.is_empty() {
                    let of = (numbering.epoch, numbering.cohort);
                    *self.carried.starts_of(&key, of) = numbering.starts;
                }
            }
        }
        self.carried.sweep(now);
        self.loose.clear();
        // A seal takes short chunks as well.
        self.joins.clear();
        self.idle.clear();
        let next = Head::new(self.head.after());
        for (metric, sayings) in self.head.metadata() {
            for saying in sayings {
                next.describe(&metric, &saying);
            }
        }
        std::mem::replace(&mut self.head, Arc::new(next))
    }

    pub(crate) fn push_metadata(&self, metric: &Arc<str>, metadata: &Metadata) {
        self.head.describe(metric, metadata);
    }

    /// Takes start times that hold for the rows to come of this epoch's cohort.
    pub(crate) fn push_starts(&mut self, layout: &Layout, starts: &[(Slot, TimestampMs)]) {
        let of_layout =
            |one: &&mut Numbering| (one.epoch, one.cohort) == (layout.epoch, layout.cohort);
        let cohort = self.cohorts.get_mut(&layout.key);
        let known = match cohort.and_then(|cohort| cohort.numberings.iter_mut().find(of_layout)) {
            Some(numbering) => &mut numbering.starts,
            None => {
                let of = (layout.epoch, layout.cohort);
                self.carried.starts_of(&layout.key, of)
            }
        };
        known.extend(starts.iter().copied());
    }

    /// Stores a row of a cohort with this layout; values of slots that the layout refuses are left out.
    pub(crate) fn push_row(&mut self, layout: &Layout, row: &Arc<Row>, position: u64) {
        let Self {
            head,
            cohorts,
            carried,
            joins,
            scratch,
            ..
        } = self;
        let cohort = cohorts
            .entry(Arc::clone(&layout.key))
            .or_insert_with(|| Cohort::new(head));
        let generation = cohort.numbering(head, layout, carried);
        let masked = cohort.numberings[generation].mask(layout, row);
        let row: &Row = masked.as_ref().unwrap_or(row);
        joins.extend(cohort.push(head, generation, row, position, layout.len(), scratch));
        head.saw(row.at);
        for (slot, exemplar) in &row.exemplars {
            if let Some(series) = cohort.numberings[generation].series_at(usize::from(*slot)) {
                head.add_exemplar(series, exemplar.clone());
            }
        }
        if joins.len() > JOINS_MAX {
            self.join_one();
        }
    }

    /// Looks for cohorts that have had no row since the last call: most of them have ended, and what lies open takes ten times what it takes
    /// closed. [`tidy`](Self::tidy) closes it, unless a row has come by then; one that goes on later opens rows anew.
    pub(crate) fn look_for_idle(&mut self) {
        self.idle.clear();
        for (key, cohort) in &mut self.cohorts {
            if !std::mem::take(&mut cohort.used) && cohort.has_open_rows() {
                self.idle.push(Arc::clone(key));
            }
        }
    }

    /// Returns whether there is anything for [`tidy`](Self::tidy) to do.
    pub(crate) fn is_untidy(&self) -> bool {
        !(self.idle.is_empty() && self.joins.is_empty())
    }

    /// Does a piece of what is for an idle moment: closes the open rows of an idle cohort, or joins closed chunks of one.
    pub(crate) fn tidy(&mut self) {
        let Some(key) = self.idle.pop() else {
            self.join_one();
            return;
        };
        if let Some(cohort) = self.cohorts.get_mut(&key).filter(|cohort| !cohort.used) {
            let open = cohort.main.take();
            let join = cohort.end_main(&self.head, open, &mut self.scratch);
            self.joins.extend(join);
        }
    }

    /// Joins closed chunks of one cohort, which takes a third of their bytes off.
    fn join_one(&mut self) {
        if let Some(join) = self.joins.pop_front() {
            join.make(&self.head, &mut self.scratch);
        }
    }

    /// Stores samples with times of their own, of one cohort; slots that the layout refuses are left out.
    pub(crate) fn push_samples(
        &mut self,
        layout: &Layout,
        samples: &[SeriesSample],
        arrival: Arrival,
    ) {
        let Self {
            head,
            loose: layouts,
            loose_tools,
            scratch,
            ..
        } = self;
        let key = (Arc::clone(&layout.key), layout.epoch, layout.cohort);
        let slots = layouts
            .entry(key)
            .or_insert_with(|| LooseLayout::of(layout))
            .following(layout);
        let mut grown = 0;
        let (mut oldest, mut newest) = (TimestampMs::MAX, TimestampMs::MIN);
        let mut table = write(&head.loose);
        find_places(head, layout, samples, slots, &mut table);
        for sample in samples {
            let known = slots.get(usize::from(sample.slot));
            let Some(known) = known.filter(|known| known.place != UNKNOWN) else {
                continue;
            };
            grown += table.push(known.place, sample, arrival, loose_tools, scratch);
            oldest = oldest.min(sample.at);
            newest = newest.max(sample.at);
        }
        drop(table);
        if oldest <= newest {
            head.saw(oldest);
            head.saw(newest);
        }
        head.closed(grown);
    }

    /// Keeps an exemplar of a series that comes one by one: its samples may be in this head, in one before, or still to come.
    pub(crate) fn push_loose_exemplar(&self, layout: &Layout, slot: Slot, exemplar: &Exemplar) {
        let key = (Arc::clone(&layout.key), layout.epoch, layout.cohort);
        let known = self
            .loose
            .get(&key)
            .filter(|known| known.changes == layout.changes)
            .and_then(|known| known.slots.get(usize::from(slot)))
            .filter(|known| known.place != UNKNOWN);
        let series = match known {
            Some(known) => Some(known.series),
            None => series_of(&self.head, layout, slot),
        };
        if let Some(series) = series {
            self.head.add_exemplar(series, exemplar.clone());
        }
    }
}

/// Returns the number in the head of the series in a slot, unless it is refused.
fn series_of(head: &Head, layout: &Layout, slot: Slot) -> Option<SeriesId> {
    let slot = usize::from(slot);
    let mut states = layout.states_from(slot);
    match states.find(|(at, _)| *at >= slot)? {
        (at, SlotState::Series(definition)) if at == slot => Some(insert(head, &definition.labels)),
        _ => None,
    }
}

/// Returns the number in the head of a series, given when it has none.
fn insert(head: &Head, labels: &Labels) -> SeriesId {
    let (series, new) = head.index.insert(labels);
    if new {
        lock(&head.places).push(Placed::default());
    }
    series
}

/// Finds the places of those samples' slots that have had none in this head; layouts are unpacked once for all of them.
fn find_places(
    head: &Head,
    layout: &Layout,
    samples: &[SeriesSample],
    slots: &mut [LoosePlace],
    table: &mut loose::LooseTable,
) {
    let (mut first, mut last) = (usize::MAX, 0);
    for sample in samples {
        let slot = usize::from(sample.slot);
        if let Some(known) = slots.get_mut(slot)
            && known.place == UNKNOWN
        {
            known.place = WANTED;
            (first, last) = (first.min(slot), last.max(slot));
        }
    }
    if first > last {
        return;
    }
    for (slot, state) in layout.states_from(first) {
        if slot > last {
            return;
        }
        let Some(known) = slots.get_mut(slot).filter(|known| known.place == WANTED) else {
            continue;
        };
        known.place = UNKNOWN;
        let SlotState::Series(definition) = state else {
            continue;
        };
        let series = insert(head, &definition.labels);
        let place = table.place_of(series);
        *known = LoosePlace { series, place };
        head.grow(loose::SERIES_BYTES);
    }
}

impl LooseLayout {
    const fn of(layout: &Layout) -> Self {
        Self {
            changes: layout.changes,
            slots: Vec::new(),
        }
    }

    /// Returns the places of the layout's slots, derived anew when slots that were there have changed.
    fn following(&mut self, layout: &Layout) -> &mut [LoosePlace] {
        const NONE: LoosePlace = LoosePlace {
            series: 0,
            place: UNKNOWN,
        };
        if self.changes != layout.changes {
            self.changes = layout.changes;
            self.slots.clear();
        }
        self.slots.resize(layout.len(), NONE);
        &mut self.slots
    }
}

impl Cohort {
    fn new(head: &Head) -> Self {
        let rows = Arc::new(CohortRows::default());
        let mut all = lock(&head.cohorts);
        let index = u32::try_from(all.len()).expect("cohorts of a head number far below 2^32");
        all.push(Arc::clone(&rows));
        Self {
            index,
            rows,
            newest: TimestampMs::MIN,
            used: false,
            main: None,
            late: None,
            short: Vec::new(),
            numberings: Vec::new(),
        }
    }

    const fn has_open_rows(&self) -> bool {
        self.main.is_some() || self.late.is_some()
    }

    /// Returns the generation of this layout, with all its slots known to the index.
    fn numbering(&mut self, head: &Head, layout: &Layout, carried: &mut Carried) -> usize {
        let found = self
            .numberings
            .iter()
            .rposition(|one| (one.epoch, one.cohort) == (layout.epoch, layout.cohort));
        let at = found.unwrap_or_else(|| {
            let of = (layout.epoch, layout.cohort);
            self.numberings.push(Numbering {
                epoch: layout.epoch,
                cohort: layout.cohort,
                changes: layout.changes,
                series: Vec::new(),
                starts: carried.take(&layout.key, of),
            });
            self.numberings.len() - 1
        });
        let generation = u32::try_from(at).expect("epochs of a head are few");
        self.numberings[at].follow(head, layout, self.index, generation);
        at
    }

    fn push(
        &mut self,
        head: &Head,
        generation: usize,
        row: &Row,
        position: u64,
        layout_slots: usize,
        scratch: &mut Scratch,
    ) -> Option<Join> {
        let mut join = None;
        self.used = true;
        let late = row.at <= self.newest;
        let width = layout_slots.max(row.floats.len());
        let open = if late { &mut self.late } else { &mut self.main };
        let numbering = u32::try_from(generation).expect("epochs of a head are few");
        let fits = |open: &OpenChunk| {
            !open.chunk.is_full()
                && open.chunk.generation == numbering
                && row.floats.len() <= open.chunk.slots()
                && row.at > open.last
        };
        if !open.as_ref().is_some_and(fits) {
            let full = open.take();
            *open = Some(open_chunk(head, &self.rows, numbering, width, late));
            if late {
                if let Some(full) = full {
                    close(head, &self.rows, &full, scratch);
                }
            } else {
                join = self.end_main(head, full, scratch);
            }
        }
        let open = if late { &mut self.late } else { &mut self.main };
        let open = open.as_mut().expect("opened above when there was none");
        // Late rows say nothing of what counters do now.
        let starts = if late {
            row.start_times.clone()
        } else {
            self.numberings[generation].starts_for(row, open.chunk.rows() == 0)
        };
        let grown = open.chunk.push(row, position, &starts);
        head.grow(grown as u64);
        open.last = row.at;
        self.newest = self.newest.max(row.at);
        join
    }

    /// Closes a main chunk, and the late one beside it: that never spans the beginning of a main one, so that at equal times the chunk that
    /// began first has the first row. Returns what can be joined from now on.
    fn end_main(
        &mut self,
        head: &Head,
        full: Option<OpenChunk>,
        scratch: &mut Scratch,
    ) -> Option<Join> {
        if let Some(late) = self.late.take() {
            close(head, &self.rows, &late, scratch);
        }
        let full = full?;
        if !close(head, &self.rows, &full, scratch) {
            self.short.clear();
            return None;
        }
        let generation = full.chunk.generation;
        let of_another = |stretch: &usize| {
            let stretches = lock(&self.rows.stretches);
            !matches!(stretches.get(*stretch), Some(Some(Stretch::Closed(pages))) if pages.generation == generation)
        };
        if self.short.last().is_some_and(of_another) {
            self.short.clear();
        }
        self.short.push(full.stretch);
        (self.short.len() == CHUNKS_JOINED).then(|| Join {
            rows: Arc::clone(&self.rows),
            stretches: std::mem::take(&mut self.short),
        })
    }
}

fn open_chunk(
    head: &Head,
    rows: &CohortRows,
    generation: u32,
    slots: usize,
    late: bool,
) -> OpenChunk {
    let capacity = if late { LATE_CHUNK_ROWS } else { CHUNK_ROWS };
    let chunk = Arc::new(Chunk::new(generation, late, slots, capacity));
    head.grow(chunk.memory_bytes() as u64);
    let mut stretches = lock(&rows.stretches);
    stretches.push(Some(Stretch::Open(Arc::clone(&chunk))));
    OpenChunk {
        chunk,
        stretch: stretches.len() - 1,
        last: TimestampMs::MIN,
    }
}

/// Replaces an open stretch by pages of the same rows; returns whether it could.
fn close(head: &Head, rows: &CohortRows, open: &OpenChunk, scratch: &mut Scratch) -> bool {
    let pages = match Pages::of_chunk(&open.chunk, scratch) {
        Ok(pages) => pages,
        Err(error) => {
            tracing::debug!(%error, "a chunk stays as it is");
            return false;
        }
    };
    head.closed(signed(pages.memory_bytes()));
    head.shrink(open.chunk.memory_bytes() as u64);
    if let Some(stretch) = lock(&rows.stretches).get_mut(open.stretch) {
        *stretch = Some(Stretch::Closed(Arc::new(pages)));
    }
    true
}

impl Join {
    /// Replaces the stretches by one in the place of the first. That it arrived with its first row is true enough: a main row is before every
    /// late one of the same time.
    fn make(&self, head: &Head, scratch: &mut Scratch) {
        let parts: Vec<Arc<Pages>> = {
            let stretches = lock(&self.rows.stretches);
            self.stretches
                .iter()
                .filter_map(|at| match stretches.get(*at) {
                    Some(Some(Stretch::Closed(pages))) => Some(Arc::clone(pages)),
                    _ => None,
                })
                .collect()
        };
        let joined = match Pages::joined(&parts, scratch) {
            Ok(joined) => joined,
            Err(error) => {
                tracing::debug!(%error, "closed chunks stay as they are");
                return;
            }
        };
        let freed: usize = parts.iter().map(|part| part.memory_bytes()).sum();
        head.closed(signed(joined.memory_bytes()) - signed(freed));
        let mut stretches = lock(&self.rows.stretches);
        // In one step: whoever reads sees the rows once.
        let mut joined = Some(Stretch::Closed(Arc::new(joined)));
        for at in &self.stretches {
            if let Some(stretch) = stretches.get_mut(*at) {
                *stretch = joined.take();
            }
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Numbering {
    fn series_at(&self, slot: usize) -> Option<SeriesId> {
        self.series.get(slot).copied().flatten()
    }

    /// Derives `series` from the layout, as far as it has grown or changed.
    fn follow(&mut self, head: &Head, layout: &Layout, cohort: u32, generation: u32) {
        let from = if self.changes == layout.changes {
            self.series.len()
        } else {
            0
        };
        if from == layout.len() {
            return;
        }
        self.series.resize(layout.len(), None);
        self.changes = layout.changes;
        let mut places = lock(&head.places);
        for (slot, state) in layout.states_from(from) {
            let SlotState::Series(definition) = state else {
                self.series[slot] = None;
                continue;
            };
            let (series, new) = head.index.insert(&definition.labels);
            if new {
                places.push(Placed::default());
            }
            self.series[slot] = Some(series);
            let place = Place {
                cohort,
                generation,
                slot: Slot::try_from(slot).expect("layouts are bounded to 16,384 slots"),
            };
            if let Some(of_series) = places.get_mut(series as usize)
                && of_series.add(place)
            {
                head.grow(PLACEMENT_BYTES);
            }
        }
    }

    /// Returns the row without the values of slots that are not stored; `None` when all are.
    fn mask(&self, layout: &Layout, row: &Row) -> Option<Row> {
        if layout.takes_all(row.floats.len()) {
            return None;
        }
        let refused: Vec<usize> = row
            .presence
            .iter()
            .filter(|slot| self.series_at(*slot).is_none())
            .collect();
        if refused.is_empty() {
            return None;
        }
        let mut masked = row.clone();
        let mut presence: Presence = row.presence.clone();
        for slot in refused {
            presence.set(slot, false);
        }
        masked.presence = presence;
        let kept = |slot: Slot| self.series_at(usize::from(slot)).is_some();
        masked.histograms.retain(|(slot, _)| kept(*slot));
        masked.exemplars.retain(|(slot, _)| kept(*slot));
        Some(masked)
    }

    /// Returns the start times to write down with a row: those that changed, or, in a chunk's first row, all that are known.
    fn starts_for(&mut self, row: &Row, first: bool) -> Vec<(Slot, TimestampMs)> {
        self.starts.extend(row.start_times.iter().copied());
        if !first {
            return row.start_times.clone();
        }
        let mut all: Vec<(Slot, TimestampMs)> =
            self.starts.iter().map(|(slot, at)| (*slot, *at)).collect();
        all.sort_unstable();
        all
    }
}
