//! Series that are summarised in part: buckets of a downsampling tier, samples after them or between them.
//!
//! A bucket that ends at `e` belongs to a window when all of it does: from its start, which is not part of it, to `e`. Over windows whose
//! ends are multiples of the buckets' length, functions give what they give over samples: exactly for counts, ends, least and greatest,
//! and for sums and increases of whole numbers; sums are rounded in another order otherwise. Other windows do without the buckets that they
//! hold in part; the store offers such buckets only where samples are gone.
//!
//! An instant sees the last sample of the newest bucket that has ended, if an instant at that end would. Between two ends it sees
//! what the earlier one saw, so that a step that does not fit the buckets draws steps and no gaps.

use std::ops::Range;
use std::sync::Arc;

use model::{TimestampMs, Value};
use storage::{
    BucketShape, BudgetExceeded, RollupColumn, RollupColumns, Rollups, Segment, SegmentValues,
    Times,
};

use super::account::{Account, Held};
use super::range_call::Notes;
use super::range_function::{Context, RangeFunction};
use super::select::Take;
use super::track::{SharedRates, Tracks};
use super::window::{Bounds, LookTimes, Reach};
use crate::functions::float::KahanSum;
use crate::functions::over_time;
use crate::functions::rate::{
    Change, Changes, RateKind, RateWindow, RateWindows, Spacing, Stretch, extrapolate, falls,
};
use crate::result::ABSENT;
use crate::{Column, Note};

/// Returns the columns that a function over ranges needs of summaries; `None` when it needs samples.
pub(crate) fn columns_of(function: &str) -> Option<RollupColumns> {
    const fn of(columns: &[RollupColumn]) -> Option<RollupColumns> {
        Some(RollupColumns::of(columns))
    }
    match RangeFunction::find(function) {
        None if function == "absent_over_time" => of(&[]),
        Some(RangeFunction::Rate(RateKind { counter: true, .. })) => {
            of(&[RollupColumn::First, RollupColumn::Last, RollupColumn::Lost])
        }
        Some(RangeFunction::Rate(_)) => of(&[RollupColumn::First, RollupColumn::Last]),
        Some(RangeFunction::Average | RangeFunction::Sum) => of(&[RollupColumn::Sum]),
        Some(
            RangeFunction::Count
            | RangeFunction::Present
            | RangeFunction::TimeOfFirst
            | RangeFunction::TimeOfLast,
        ) => of(&[]),
        Some(RangeFunction::First) => of(&[RollupColumn::First]),
        Some(RangeFunction::Last) => of(&[RollupColumn::Last]),
        Some(RangeFunction::Extreme(false)) => of(&[RollupColumn::Min]),
        Some(RangeFunction::Extreme(true)) => of(&[RollupColumn::Max]),
        _ => None,
    }
}

/// The buckets and floats of a series in order of time, each an *element*; and its windows. All but the values: what series that are
/// sampled together have in common.
#[derive(Debug, Default)]
pub(crate) struct ElementAxis {
    /// Where each begins; not part of it.
    starts: Vec<i64>,
    ends: Vec<i64>,
    first_at: Vec<i64>,
    last_at: Vec<i64>,
    /// Samples before each element, and in all.
    samples_before: Vec<u64>,
    /// Buckets before each element, and in all.
    buckets_before: Vec<u32>,
    /// What the elements are, in order.
    runs: Vec<Run>,
    windows: Vec<(u32, u32)>,
    /// The elements in all windows together, and in the largest.
    sizes: (u64, u64),
    /// What rates over the windows have in common, once one was asked for.
    rates: SharedRates,
    held: Option<Held>,
}

/// Elements that follow one another in one place.
#[derive(Clone, Debug)]
enum Run {
    Floats(Range<usize>),
    Buckets { segment: usize, rows: Range<usize> },
}

/// What an element takes, at least.
const ELEMENT_BYTES: usize = 4 * size_of::<i64>() + size_of::<u64>() + size_of::<u32>();

impl ElementAxis {
    fn new(floats: &[TimestampMs], segments: &[Segment], look: LookTimes, reach: Reach) -> Self {
        let mut axis = Self {
            samples_before: vec![0],
            buckets_before: vec![0],
            ..Self::default()
        };
        let mut raw = 0;
        for (number, segment) in segments.iter().enumerate() {
            let SegmentValues::Rollup(rollups) = &segment.values else {
                continue;
            };
            let ends = segment.times.as_slice();
            let shape = &rollups.shape;
            // A sample goes before the bucket whose first sample is later.
            let until = |raw: usize, row: usize| {
                let first = ends[row].0.saturating_sub(rollups.length.as_ms());
                let first = first.saturating_add(i64::from(shape.first_after[row]));
                raw + floats[raw..].partition_point(|at| at.0 < first)
            };
            let whole = segment.presence.is_none() && !shape.counts.contains(&0);
            let last = ends.len().checked_sub(1);
            let last = last.filter(|last| whole && until(raw, 0) == until(raw, *last));
            if let Some(last) = last {
                let to = until(raw, last);
                axis.push_floats(floats, raw..to);
                raw = to;
                axis.push_buckets(number, rollups, ends, 0..ends.len());
                continue;
            }
            for row in 0..ends.len() {
                if segment.is_present(row) && shape.counts[row] > 0 {
                    let to = until(raw, row);
                    axis.push_floats(floats, raw..to);
                    raw = to;
                    axis.push_buckets(number, rollups, ends, row..row + 1);
                }
            }
        }
        axis.push_floats(floats, raw..floats.len());
        axis.find_windows(look, reach);
        axis
    }

    fn push_floats(&mut self, times: &[TimestampMs], rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let at = || times[rows.clone()].iter().map(|at| at.0);
        self.starts.extend(at().map(|at| at.saturating_sub(1)));
        self.ends.extend(at());
        self.first_at.extend(at());
        self.last_at.extend(at());
        let (samples, buckets) = self.totals();
        self.samples_before
            .extend((1..).take(rows.len()).map(|more| samples + more));
        self.buckets_before
            .extend(std::iter::repeat_n(buckets, rows.len()));
        self.runs.push(Run::Floats(rows));
    }

    fn push_buckets(
        &mut self,
        segment: usize,
        rollups: &Rollups,
        ends: &[TimestampMs],
        rows: Range<usize>,
    ) {
        let (length, shape) = (rollups.length.as_ms(), &rollups.shape);
        let ends = || ends[rows.clone()].iter().map(|end| end.0);
        self.starts
            .extend(ends().map(|end| end.saturating_sub(length)));
        self.ends.extend(ends());
        let first_after = &shape.first_after[rows.clone()];
        self.first_at.extend(
            ends()
                .zip(first_after)
                .map(|(end, after)| end.saturating_sub(length) + i64::from(*after)),
        );
        let last_before = &shape.last_before[rows.clone()];
        self.last_at.extend(
            ends()
                .zip(last_before)
                .map(|(end, before)| end.saturating_sub(i64::from(*before))),
        );
        let (mut samples, buckets) = self.totals();
        self.samples_before
            .extend(shape.counts[rows.clone()].iter().map(|count| {
                samples += u64::from(*count);
                samples
            }));
        self.buckets_before
            .extend((1..).take(rows.len()).map(|more: u32| buckets + more));
        match self.runs.last_mut() {
            Some(Run::Buckets {
                segment: at,
                rows: held,
            }) if *at == segment && held.end == rows.start => {
                held.end = rows.end;
            }
            _ => self.runs.push(Run::Buckets { segment, rows }),
        }
    }

    fn totals(&self) -> (u64, u32) {
        let samples = self.samples_before.last().copied().unwrap_or_default();
        (
            samples,
            self.buckets_before.last().copied().unwrap_or_default(),
        )
    }

    fn find_windows(&mut self, look: LookTimes, reach: Reach) {
        let count = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let (mut low, mut high) = (0, 0);
        self.windows = (0..look.len())
            .map(|index| {
                let at = look.at(index);
                let after = at.saturating_sub(reach.back_ms);
                while self.starts.get(low).is_some_and(|start| *start < after) {
                    low += 1;
                }
                high = high.max(low);
                while self.ends.get(high).is_some_and(|end| *end <= at) {
                    high += 1;
                }
                (count(low), count(high))
            })
            .collect();
        self.sizes = self.windows.iter().fold((0, 0), |(sum, max), (low, high)| {
            let size = u64::from(high - low);
            (sum + size, size.max(max))
        });
    }

    fn rate_windows(
        &self,
        look: LookTimes,
        range_ms: i64,
        kind: RateKind,
        account: &Account<'_>,
    ) -> Result<&RateWindows, BudgetExceeded> {
        let windows = self.windows.iter().enumerate().map(|(index, window)| {
            let (low, high) = (window.0 as usize, window.1 as usize);
            let spacing = (low < high).then(|| Spacing {
                first: self.first_at[low],
                last: self.last_at[high - 1],
                gaps: self.samples((low, high)).saturating_sub(1),
            });
            (
                RateWindow::ending(look.at(index), range_ms),
                *window,
                spacing,
            )
        });
        self.rates.get_or_make(windows, kind, account)
    }

    fn samples(&self, (low, high): (usize, usize)) -> u64 {
        self.samples_before[high] - self.samples_before[low]
    }

    fn at(&self, index: usize) -> Option<(usize, usize)> {
        let (low, high) = *self.windows.get(index)?;
        Some((low as usize, high as usize))
    }

    /// Returns the number of elements.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the elements in all windows together, and in the largest.
    pub(crate) const fn sizes(&self) -> (u64, u64) {
        self.sizes
    }

    /// Returns the number of elements in the window of an instant.
    pub(crate) fn size(&self, index: usize) -> u64 {
        self.at(index).map_or(0, |(low, high)| (high - low) as u64)
    }

    /// Returns the elements in the window of an instant: from `low` to before `high`; `None` when no bucket is among them.
    pub(crate) fn window(&self, index: usize) -> Option<(usize, usize)> {
        let (low, high) = self.at(index)?;
        (self.buckets_before[high] > self.buckets_before[low]).then_some((low, high))
    }
}

/// The ends of a segment's buckets and their shape, which are known again by their addresses.
type SharedBuckets = (Times, Arc<BucketShape>);

/// Makes axes for one selector, and remembers them.
#[derive(Debug)]
pub(crate) struct ElementAxes<'q> {
    look: LookTimes,
    reach: Reach,
    account: Account<'q>,
    /// The last axis of buckets alone, and what it was made of.
    last: Option<(Vec<SharedBuckets>, Arc<ElementAxis>)>,
}

impl<'q> ElementAxes<'q> {
    /// Returns a maker of axes whose windows end where `look` looks.
    pub(crate) fn new(look: LookTimes, range_ms: i64, account: &Account<'q>) -> Self {
        Self {
            look,
            account: account.clone(),
            reach: Reach {
                back_ms: range_ms,
                ahead_ms: 0,
            },
            last: None,
        }
    }

    /// Returns the axis of a series; `None` when it has no buckets.
    pub(crate) fn of(
        &mut self,
        tracks: &Tracks<'_>,
    ) -> Result<Option<Arc<ElementAxis>>, BudgetExceeded> {
        let segments = &tracks.rollups;
        if segments.is_empty() {
            return Ok(None);
        }
        let times = &tracks.floats.axis.times;
        let make = || -> Result<_, BudgetExceeded> {
            let of_segments = segments
                .iter()
                .map(|segment| segment.times.as_slice().len());
            let elements = times.len() + of_segments.sum::<usize>();
            let windows = self.look.len() * Bounds::BYTES_PER_INSTANT;
            let held = self.account.hold(elements * ELEMENT_BYTES + windows)?;
            let mut axis = ElementAxis::new(times, segments, self.look, self.reach);
            axis.held = Some(held);
            Ok(Arc::new(axis))
        };
        let alone = times.is_empty() && segments.iter().all(|one| one.presence.is_none());
        if !alone {
            return make().map(Some);
        }
        if let Some((of, axis)) = &self.last
            && of.len() == segments.len()
            && of
                .iter()
                .zip(segments)
                .all(|(of, segment)| is_of(of, segment))
        {
            return Ok(Some(Arc::clone(axis)));
        }
        let axis = make()?;
        let of = segments.iter().filter_map(|segment| match &segment.values {
            SegmentValues::Rollup(rollups) => {
                Some((segment.times.clone(), Arc::clone(&rollups.shape)))
            }
            _ => None,
        });
        self.last = Some((of.collect(), Arc::clone(&axis)));
        Ok(Some(axis))
    }
}

fn is_of((times, shape): &SharedBuckets, segment: &Segment) -> bool {
    match &segment.values {
        SegmentValues::Rollup(rollups) => {
            times.same_column(&segment.times) && Arc::ptr_eq(shape, &rollups.shape)
        }
        _ => false,
    }
}

/// How the values of a series' elements change: what rates look at.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    stretches: Vec<Stretch<'a>>,
    /// What resets took, in order, and where: twice the number of the element, 1 more when it was inside it and not just before.
    falls: Vec<(usize, f64)>,
}

impl<'a> Changing<'a> {
    /// Returns what a rate of this kind looks at; `None`: the store has not given the columns that tell it.
    pub(crate) fn of(axis: &ElementAxis, tracks: &'a Tracks<'_>, kind: RateKind) -> Option<Self> {
        let mut stretches = Vec::with_capacity(axis.runs.len());
        let mut losses = Vec::with_capacity(axis.runs.len());
        let mut start = 0;
        for run in &axis.runs {
            let (firsts, lasts, lost) = match run {
                // A float is its own ends.
                Run::Floats(rows) => {
                    let values = &tracks.floats.values[rows.clone()];
                    (values, values, None)
                }
                Run::Buckets { segment, rows } => {
                    let segment = &tracks.rollups[*segment];
                    let column = |column| values_of(segment, column)?.get(rows.clone());
                    let lost = if kind.counter {
                        Some(column(RollupColumn::Lost)?)
                    } else {
                        None
                    };
                    (
                        column(RollupColumn::First)?,
                        column(RollupColumn::Last)?,
                        lost,
                    )
                }
            };
            stretches.push(Stretch {
                start,
                firsts,
                lasts,
            });
            losses.push(lost);
            start += firsts.len();
        }
        let falls = if kind.counter {
            falls_of(&stretches, &losses)
        } else {
            Vec::new()
        };
        Some(Self { stretches, falls })
    }

    /// Puts the rates over windows in which there is nothing beside elements into an empty column.
    pub(crate) fn put_rates(
        &self,
        (axis, account): (&ElementAxis, &Account<'_>),
        kind: RateKind,
        (look, range_ms): (LookTimes, i64),
        out: &mut [f64],
    ) -> Result<(), BudgetExceeded> {
        let changes = Changes {
            stretches: &self.stretches,
            falls: &self.falls,
            places: 2,
        };
        axis.rate_windows(look, range_ms, kind, account)?
            .rates(changes, out);
        Ok(())
    }
}

/// Returns what resets took between elements and inside them, with its places. `losses`: by stretch, what each element lost inside.
fn falls_of(stretches: &[Stretch<'_>], losses: &[Option<&[f64]>]) -> Vec<(usize, f64)> {
    let mut out = Vec::new();
    let mut last: Option<f64> = None;
    for (stretch, lost) in stretches.iter().zip(losses) {
        let Stretch {
            start,
            firsts,
            lasts,
        } = *stretch;
        let lost = lost.unwrap_or_default();
        // Nearly always there are none, and that is found out several values at a time.
        let at_start = firsts
            .first()
            .zip(last)
            .is_some_and(|(first, last)| *first < last);
        let between = falls(lasts, firsts.get(1..).unwrap_or_default());
        let inside = lost.iter().fold(false, |any, lost| any | (*lost != 0.0));
        if at_start || between || inside {
            for (index, first) in firsts.iter().enumerate() {
                let before = index.checked_sub(1).map(|before| lasts[before]).or(last);
                let element = start + index;
                let fallen = before.filter(|before| first < before);
                out.extend(fallen.map(|before| (2 * element, before)));
                let lost = lost.get(index).filter(|lost| **lost != 0.0);
                out.extend(lost.map(|lost| (2 * element + 1, *lost)));
            }
        }
        last = lasts.last().copied().or(last);
    }
    out
}

/// The values of a series' elements; a buffer for one series after the other.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// By column; those that are not needed are empty.
    columns: [Vec<f64>; 6],
    /// See [`Changing`].
    falls: Vec<(usize, f64)>,
}

impl Elements {
    /// Takes the elements of the next series, for a function that needs these columns.
    pub(crate) fn read(
        &mut self,
        axis: &ElementAxis,
        tracks: &Tracks<'_>,
        function: RangeFunction,
        wanted: RollupColumns,
    ) {
        for column in RollupColumn::ALL {
            let held = &mut self.columns[column as usize];
            held.clear();
            // What was lost is among the falls.
            if !wanted.contains(column) || column == RollupColumn::Lost {
                continue;
            }
            held.reserve(axis.ends.len());
            for run in &axis.runs {
                match run {
                    // A float is its own sum, extremes and ends.
                    Run::Floats(rows) => {
                        held.extend_from_slice(&tracks.floats.values[rows.clone()]);
                    }
                    Run::Buckets { segment, rows } => {
                        match values_of(&tracks.rollups[*segment], column) {
                            Some(values) => held.extend_from_slice(&values[rows.clone()]),
                            None => held.resize(held.len() + rows.len(), f64::NAN),
                        }
                    }
                }
            }
        }
        let changing = match function {
            RangeFunction::Rate(kind) => Changing::of(axis, tracks, kind),
            _ => None,
        };
        self.falls = changing.map(|changing| changing.falls).unwrap_or_default();
    }

    fn column(&self, column: RollupColumn) -> &[f64] {
        &self.columns[column as usize]
    }

    /// Puts the values of a function that is no rate over windows in which there is nothing beside buckets into an empty column.
    pub(crate) fn put(&self, axis: &ElementAxis, function: RangeFunction, out: &mut [f64]) {
        for (cell, window) in out.iter_mut().zip(&axis.windows) {
            let (low, high) = (window.0 as usize, window.1 as usize);
            if low < high {
                *cell = self.float(axis, function, (low, high));
            }
        }
    }

    /// Returns the value of a function over a window that has a bucket; `context` is what lies in the window beside buckets.
    pub(crate) fn apply(
        &self,
        axis: &ElementAxis,
        function: RangeFunction,
        (low, high): (usize, usize),
        context: &Context<'_>,
        notes: &mut Notes<'_, '_>,
    ) -> Option<Value> {
        let histograms = &context.histograms;
        let mixed = !histograms.is_empty();
        let float = match function {
            RangeFunction::Rate(_) | RangeFunction::Sum | RangeFunction::Average if mixed => {
                notes.add(Note::MixedFloatsHistograms);
                return None;
            }
            RangeFunction::Rate(kind) => self.rate(axis, kind, (low, high), context)?,
            RangeFunction::Count => as_float(axis.samples((low, high)) + histograms.len() as u64),
            RangeFunction::First | RangeFunction::Last if mixed => {
                return Some(self.end_of(
                    axis,
                    function == RangeFunction::Last,
                    (low, high),
                    context,
                ));
            }
            RangeFunction::TimeOfFirst => {
                let histogram = histograms.times.first().map(|at| at.0);
                let first = axis.first_at[low];
                TimestampMs(histogram.map_or(first, |at| at.min(first))).as_seconds()
            }
            RangeFunction::TimeOfLast => {
                let histogram = histograms.times.last().map(|at| at.0);
                let last = axis.last_at[high - 1];
                TimestampMs(histogram.map_or(last, |at| at.max(last))).as_seconds()
            }
            RangeFunction::Extreme(_) => {
                if mixed {
                    notes.add(Note::HistogramIgnoredInMixedRange);
                }
                self.float(axis, function, (low, high))
            }
            _ => self.float(axis, function, (low, high)),
        };
        Some(Value::Float(float))
    }

    /// Returns the value of a function that is no rate over elements `low..high`, at least one.
    fn float(
        &self,
        axis: &ElementAxis,
        function: RangeFunction,
        (low, high): (usize, usize),
    ) -> f64 {
        match function {
            RangeFunction::Sum => self.sum((low, high)).total(),
            RangeFunction::Average => mean(self.sum((low, high)), axis.samples((low, high))),
            RangeFunction::Count => as_float(axis.samples((low, high))),
            RangeFunction::Present => 1.0,
            RangeFunction::First => self.column(RollupColumn::First)[low],
            RangeFunction::Last => self.column(RollupColumn::Last)[high - 1],
            RangeFunction::TimeOfFirst => TimestampMs(axis.first_at[low]).as_seconds(),
            RangeFunction::TimeOfLast => TimestampMs(axis.last_at[high - 1]).as_seconds(),
            RangeFunction::Extreme(greatest) => {
                let column = if greatest {
                    RollupColumn::Max
                } else {
                    RollupColumn::Min
                };
                let values = &self.column(column)[low..high];
                values[over_time::extreme(values, greatest, false)]
            }
            // `columns_of` has refused the others.
            _ => ABSENT,
        }
    }

    fn sum(&self, (low, high): (usize, usize)) -> KahanSum {
        let values = &self.column(RollupColumn::Sum)[low..high];
        let zero = KahanSum::default();
        values.iter().copied().fold(zero, KahanSum::plus)
    }

    fn rate(
        &self,
        axis: &ElementAxis,
        kind: RateKind,
        (low, high): (usize, usize),
        context: &Context<'_>,
    ) -> Option<f64> {
        let first = self.column(RollupColumn::First)[low];
        let mut change = self.column(RollupColumn::Last)[high - 1] - first;
        // What was lost before the first element's first sample is not of this window.
        let from = self.falls.partition_point(|(at, _)| *at <= 2 * low);
        for (_, lost) in self.falls[from..]
            .iter()
            .take_while(|(at, _)| *at < 2 * high)
        {
            change += lost;
        }
        let spacing = Spacing {
            first: axis.first_at[low],
            last: axis.last_at[high - 1],
            gaps: axis.samples((low, high)).saturating_sub(1),
        };
        let change_of = Change { first, change };
        let found = extrapolate(spacing, None, change_of, context.rate_window(), kind)?;
        Some(change * found.factor)
    }

    fn end_of(
        &self,
        axis: &ElementAxis,
        last: bool,
        (low, high): (usize, usize),
        context: &Context<'_>,
    ) -> Value {
        let histograms = &context.histograms;
        let (column, element, at) = if last {
            (RollupColumn::Last, high - 1, axis.last_at[high - 1])
        } else {
            (RollupColumn::First, low, axis.first_at[low])
        };
        let histogram = if last {
            histograms.len().checked_sub(1)
        } else {
            Some(0)
        };
        let histogram = histogram.filter(|index| {
            let time = histograms.times.get(*index).map(|time| time.0);
            time.is_some_and(|time| if last { time >= at } else { time <= at })
        });
        match histogram {
            Some(index) => Value::Histogram(Arc::clone(&histograms.values[index])),
            None => Value::Float(self.column(column)[element]),
        }
    }
}

fn values_of(segment: &Segment, column: RollupColumn) -> Option<&[f64]> {
    match &segment.values {
        SegmentValues::Rollup(rollups) => rollups.column(column),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "windows hold far fewer than 2^53 samples"
)]
const fn as_float(count: u64) -> f64 {
    count as f64
}

fn mean(sum: KahanSum, count: u64) -> f64 {
    let count = as_float(count);
    if sum.sum.is_infinite() {
        return sum.sum / count;
    }
    sum.sum / count + sum.compensation / count
}

/// The last sample of a bucket, or its stale mark.
#[derive(Clone, Copy, Debug)]
struct LastOfBucket {
    end: i64,
    at: i64,
    /// `None`: a stale mark is newer.
    value: Option<f64>,
    /// See [`Rollups::until`].
    until: i64,
    length: i64,
}

impl LastOfBucket {
    /// Whether an instant at `at`, not before the bucket's end, sees it.
    const fn is_seen(&self, at: i64, lookback_ms: i64) -> bool {
        let from = if at <= self.until {
            at.saturating_sub(at.rem_euclid(self.length))
        } else {
            at
        };
        self.at > from.saturating_sub(lookback_ms)
    }
}

fn lasts(segments: &[Segment]) -> Vec<LastOfBucket> {
    let mut out = Vec::new();
    for segment in segments {
        let SegmentValues::Rollup(rollups) = &segment.values else {
            continue;
        };
        let values = rollups.column(RollupColumn::Last);
        for (row, end) in segment.times.as_slice().iter().enumerate() {
            let shape = &rollups.shape;
            let Some(before) = shape.last_before.get(row) else {
                continue;
            };
            if !segment.is_present(row) {
                continue;
            }
            let ended = shape.has_ended(row) || shape.counts[row] == 0;
            let value = values.map_or(f64::NAN, |values| values[row]);
            out.push(LastOfBucket {
                end: end.0,
                at: end.0.saturating_sub(i64::from(*before)),
                value: (!ended).then_some(value),
                until: rollups.until.0,
                length: rollups.length.as_ms(),
            });
        }
    }
    out
}

/// Puts into `column`, which has what each instant sees of samples alone, what it sees of buckets where those are newer. `newest` tells
/// the time of the sample that an instant sees.
pub(crate) fn see_buckets(
    column: &mut Column,
    segments: &[Segment],
    newest: impl Fn(usize) -> Option<TimestampMs>,
    (look, lookback_ms): (LookTimes, i64),
    take: Take,
) {
    let lasts = lasts(segments);
    let mut next = 0;
    for index in 0..look.len() {
        let at = look.at(index);
        while lasts.get(next).is_some_and(|last| last.end <= at) {
            next += 1;
        }
        let Some(last) = next.checked_sub(1).map(|newest| &lasts[newest]) else {
            continue;
        };
        let is_newest = newest(index).is_none_or(|sample| sample.0 <= last.at);
        if !is_newest || !last.is_seen(at, lookback_ms) {
            continue;
        }
        let seen = match (last.value, take) {
            (None, _) => ABSENT,
            (Some(value), Take::Value) => value,
            (Some(_), Take::Timestamp) => TimestampMs(last.at).as_seconds(),
            // The store was not asked for buckets.
            (Some(_), Take::StartTimestamp) => ABSENT,
        };
        column.set(index, Value::Float(seen));
    }
}
