//! Series that are summarised in part: buckets of a downsampling tier, samples after them or between them.
//!
//! A bucket that ends at `e` belongs to a window when all of it does: from its start, which is not part of it, to `e`. Over windows whose
//! ends are multiples of the buckets' length, functions give what they give over samples: exactly for counts, ends, least and greatest,
//! and for sums and increases of whole numbers; sums are rounded in another order otherwise. Other windows do without the buckets that they
//! hold in part; the store offers such buckets only where samples are gone.
//!
//! An instant sees the last sample of the newest bucket that has ended, if an instant at that end would. Between two ends it sees
//! what the earlier one saw, so that a step that does not fit the buckets draws steps and no gaps.

use std::sync::Arc;

use model::{TimestampMs, Value};
use storage::{RollupColumn, RollupColumns, Rollups, Segment, SegmentValues};

use super::range_call::Notes;
use super::range_function::{Context, RangeFunction};
use super::select::Take;
use super::track::{Track, Tracks};
use super::window::{LookTimes, Reach};
use crate::functions::float::KahanSum;
use crate::functions::over_time;
use crate::functions::rate::{Change, RateKind, Spacing, extrapolate};
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

/// A series' buckets and floats in order of time, each as a summary (of one, if it is a float), and its windows.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// Where each begins; not part of it.
    starts: Vec<i64>,
    ends: Vec<i64>,
    first_at: Vec<i64>,
    last_at: Vec<i64>,
    /// Samples before each element, and in all.
    samples_before: Vec<u64>,
    /// Buckets before each element, and in all.
    buckets_before: Vec<u32>,
    /// By column; those that are not needed are empty.
    columns: [Vec<f64>; 6],
    wanted: RollupColumns,
    /// What resets took, in order: the element, whether inside it or between it and the one before, and how much.
    falls: Vec<Fall>,
    windows: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Fall {
    element: usize,
    inside: bool,
    lost: f64,
}

impl Elements {
    /// Returns the elements of a series, for a function; `None` when it has no buckets, or the function wants samples.
    pub(crate) fn new(
        tracks: &Tracks<'_>,
        function: RangeFunction,
        wanted: Option<RollupColumns>,
        (look, reach): (LookTimes, Reach),
    ) -> Option<Self> {
        if tracks.rollups.is_empty() {
            return None;
        }
        let mut elements = Self {
            wanted: wanted?,
            samples_before: vec![0],
            buckets_before: vec![0],
            ..Self::default()
        };
        let floats = &tracks.floats;
        let mut raw = 0;
        for segment in &tracks.rollups {
            let SegmentValues::Rollup(rollups) = &segment.values else {
                continue;
            };
            let ends = segment.times.as_slice();
            // A sample goes before the bucket whose first sample is later.
            let until = |raw: usize, row: usize| {
                let first = ends[row].0.saturating_sub(rollups.length.as_ms());
                let first = first.saturating_add(i64::from(rollups.first_after[row]));
                let times = &floats.axis.times;
                raw + times[raw..].partition_point(|at| at.0 < first)
            };
            let whole = segment.presence.is_none() && !rollups.counts.contains(&0);
            let last = ends.len().checked_sub(1);
            let last = last.filter(|last| whole && until(raw, 0) == until(raw, *last));
            if let Some(last) = last {
                let to = until(raw, last);
                elements.push_floats(floats, raw, to);
                raw = to;
                elements.push_buckets(rollups, ends, 0, ends.len());
                continue;
            }
            for row in 0..ends.len() {
                if segment.is_present(row) && rollups.counts[row] > 0 {
                    let to = until(raw, row);
                    elements.push_floats(floats, raw, to);
                    raw = to;
                    elements.push_buckets(rollups, ends, row, row + 1);
                }
            }
        }
        elements.push_floats(floats, raw, floats.axis.times.len());
        if matches!(
            function,
            RangeFunction::Rate(RateKind { counter: true, .. })
        ) {
            elements.find_falls();
        }
        elements.find_windows(look, reach);
        Some(elements)
    }

    fn push_floats(&mut self, floats: &Track<'_, f64>, from: usize, to: usize) {
        let times = &floats.axis.times[from..to];
        let at = || times.iter().map(|at| at.0);
        self.starts.extend(at().map(|at| at.saturating_sub(1)));
        self.ends.extend(at());
        self.first_at.extend(at());
        self.last_at.extend(at());
        let (samples, buckets) = self.totals();
        self.samples_before
            .extend((1..).take(times.len()).map(|more| samples + more));
        self.buckets_before
            .extend(std::iter::repeat_n(buckets, times.len()));
        for column in RollupColumn::ALL {
            if !self.wanted.contains(column) {
                continue;
            }
            let held = &mut self.columns[column as usize];
            if column == RollupColumn::Lost {
                held.resize(held.len() + times.len(), 0.0);
            } else {
                held.extend_from_slice(&floats.values[from..to]);
            }
        }
    }

    fn push_buckets(&mut self, rollups: &Rollups, ends: &[TimestampMs], from: usize, to: usize) {
        let length = rollups.length.as_ms();
        let ends = || ends[from..to].iter().map(|end| end.0);
        self.starts
            .extend(ends().map(|end| end.saturating_sub(length)));
        self.ends.extend(ends());
        let first_after = &rollups.first_after[from..to];
        self.first_at.extend(
            ends()
                .zip(first_after)
                .map(|(end, after)| end.saturating_sub(length) + i64::from(*after)),
        );
        let last_before = &rollups.last_before[from..to];
        self.last_at.extend(
            ends()
                .zip(last_before)
                .map(|(end, before)| end.saturating_sub(i64::from(*before))),
        );
        let (mut samples, buckets) = self.totals();
        self.samples_before
            .extend(rollups.counts[from..to].iter().map(|count| {
                samples += u64::from(*count);
                samples
            }));
        self.buckets_before
            .extend((1..).take(to - from).map(|more: u32| buckets + more));
        for column in RollupColumn::ALL {
            if self.wanted.contains(column) {
                let held = &mut self.columns[column as usize];
                match rollups.column(column) {
                    Some(values) => held.extend_from_slice(&values[from..to]),
                    None => held.resize(held.len() + to - from, f64::NAN),
                }
            }
        }
    }

    fn totals(&self) -> (u64, u32) {
        let samples = self.samples_before.last().copied().unwrap_or_default();
        (
            samples,
            self.buckets_before.last().copied().unwrap_or_default(),
        )
    }

    fn column(&self, column: RollupColumn) -> &[f64] {
        &self.columns[column as usize]
    }

    fn find_falls(&mut self) {
        let (firsts, lasts) = (
            self.column(RollupColumn::First),
            self.column(RollupColumn::Last),
        );
        let mut falls = Vec::new();
        for (element, lost) in self.column(RollupColumn::Lost).iter().enumerate() {
            if element > 0 && firsts[element] < lasts[element - 1] {
                falls.push(Fall {
                    element,
                    inside: false,
                    lost: lasts[element - 1],
                });
            }
            if *lost != 0.0 {
                falls.push(Fall {
                    element,
                    inside: true,
                    lost: *lost,
                });
            }
        }
        self.falls = falls;
    }

    fn find_windows(&mut self, look: LookTimes, reach: Reach) {
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
                (low, high)
            })
            .collect();
    }

    /// Returns the elements in all windows together, and in the largest.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        self.windows.iter().fold((0, 0), |(sum, max), (low, high)| {
            let size = (high - low) as u64;
            (sum + size, size.max(max))
        })
    }

    /// Returns the number of elements in the window of an instant.
    pub(crate) fn size(&self, index: usize) -> u64 {
        let window = self.windows.get(index);
        window.map_or(0, |(low, high)| (high - low) as u64)
    }

    /// Returns the elements in the window of an instant: from `low` to before `high`; `None` when no bucket is among them.
    pub(crate) fn window(&self, index: usize) -> Option<(usize, usize)> {
        let (low, high) = *self.windows.get(index)?;
        (self.buckets_before[high] > self.buckets_before[low]).then_some((low, high))
    }

    /// Returns the value of a function over a window that has a bucket; `context` is what lies in the window beside buckets.
    pub(crate) fn apply(
        &self,
        function: RangeFunction,
        (low, high): (usize, usize),
        context: &Context<'_>,
        notes: &mut Notes<'_, '_>,
    ) -> Option<Value> {
        let mixed = !context.histograms.is_empty();
        let samples = self.samples_before[high] - self.samples_before[low];
        let float = match function {
            RangeFunction::Rate(_) | RangeFunction::Sum | RangeFunction::Average if mixed => {
                notes.add(Note::MixedFloatsHistograms);
                return None;
            }
            RangeFunction::Rate(kind) => self.rate(kind, (low, high), samples, context)?,
            RangeFunction::Sum => self.sum((low, high)).total(),
            RangeFunction::Average => mean(self.sum((low, high)), samples),
            RangeFunction::Count => as_float(samples + context.histograms.len() as u64),
            RangeFunction::Present => 1.0,
            RangeFunction::First | RangeFunction::Last => {
                return Some(self.end_of(function == RangeFunction::Last, (low, high), context));
            }
            RangeFunction::TimeOfFirst => {
                let histogram = context.histograms.times.first().map(|at| at.0);
                let first = self.first_at[low];
                TimestampMs(histogram.map_or(first, |at| at.min(first))).as_seconds()
            }
            RangeFunction::TimeOfLast => {
                let histogram = context.histograms.times.last().map(|at| at.0);
                let last = self.last_at[high - 1];
                TimestampMs(histogram.map_or(last, |at| at.max(last))).as_seconds()
            }
            RangeFunction::Extreme(greatest) => {
                if mixed {
                    notes.add(Note::HistogramIgnoredInMixedRange);
                }
                let column = if greatest {
                    RollupColumn::Max
                } else {
                    RollupColumn::Min
                };
                let values = &self.column(column)[low..high];
                values[over_time::extreme(values, greatest, false)]
            }
            // `columns_of` has refused the others.
            _ => return None,
        };
        Some(Value::Float(float))
    }

    fn sum(&self, (low, high): (usize, usize)) -> KahanSum {
        let values = &self.column(RollupColumn::Sum)[low..high];
        let zero = KahanSum::default();
        values.iter().copied().fold(zero, KahanSum::plus)
    }

    fn rate(
        &self,
        kind: RateKind,
        (low, high): (usize, usize),
        samples: u64,
        context: &Context<'_>,
    ) -> Option<f64> {
        let first = self.column(RollupColumn::First)[low];
        let mut change = self.column(RollupColumn::Last)[high - 1] - first;
        let from = self.falls.partition_point(|fall| fall.element < low);
        let falls = self.falls[from..].iter();
        // What was lost before the first element's first sample is not of this window.
        for fall in falls
            .take_while(|fall| fall.element < high)
            .filter(|fall| fall.inside || fall.element > low)
        {
            change += fall.lost;
        }
        let spacing = Spacing {
            first: self.first_at[low],
            last: self.last_at[high - 1],
            gaps: samples.saturating_sub(1),
        };
        let change_of = Change { first, change };
        let found = extrapolate(spacing, None, change_of, context.rate_window(), kind)?;
        Some(change * found.factor)
    }

    fn end_of(&self, last: bool, (low, high): (usize, usize), context: &Context<'_>) -> Value {
        let histograms = &context.histograms;
        let (column, element, at) = if last {
            (RollupColumn::Last, high - 1, self.last_at[high - 1])
        } else {
            (RollupColumn::First, low, self.first_at[low])
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

/// Returns whether any bucket of a series lies in the window of each instant.
pub(crate) fn any_in_windows(
    tracks: &Tracks<'_>,
    look: LookTimes,
    reach: Reach,
) -> Option<Elements> {
    let none = Some(RollupColumns::NONE);
    Elements::new(tracks, RangeFunction::Present, none, (look, reach))
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
            let Some(before) = rollups.last_before.get(row) else {
                continue;
            };
            if !segment.is_present(row) {
                continue;
            }
            let ended = rollups.ended.as_ref();
            let ended = ended.is_some_and(|ended| ended.contains(row)) || rollups.counts[row] == 0;
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
