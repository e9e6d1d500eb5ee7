//! Summaries of samples: what a downsampling tier holds instead of them.
//!
//! A bucket of length `l` that ends at `e` stands for the samples in `(e - l, e]`: left-open, as PromQL's windows are, so that a window
//! whose ends are multiples of `l` is made of whole buckets. Ends are multiples of `l` since the Unix epoch.
//!
//! What a [`Rollup`] keeps is enough for `sum`, `avg`, `min`, `max`, `count`, `present`, `first` and `last_over_time`, for `rate`,
//! `increase` and `delta` with their extrapolation, and for instant selectors. Its arithmetic is that of the functions:
//! - stale marks are no samples; a bucket says only whether one is its newest entry, which is what instant selectors ask;
//! - NaN is a sample: it counts, it makes the sum NaN, and it loses against every number in least and greatest;
//! - of equal values the first in time stands (0 and -0 are equal); sums are compensated;
//! - a counter is reset where a value is below the one before; what the earlier value was is *lost*.
//!
//! Never here: native histograms. A series that has any stays as it is.

use std::sync::Arc;

use model::{TimestampMs, is_stale};
use rows::Presence;

/// How long the buckets of a tier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketLength(u32);

impl BucketLength {
    /// Five minutes.
    pub const FIVE_MINUTES: Self = Self(5 * 60 * 1_000);
    /// One hour.
    pub const ONE_HOUR: Self = Self(60 * 60 * 1_000);
    /// The longest: 24 days. Samples and distances in a bucket are counted in 32 bits.
    const MS_MAX: u32 = 24 * 24 * 60 * 60 * 1_000;

    /// Returns a length in milliseconds; `None` when it is 0 or over 24 days.
    pub const fn from_ms(ms: u32) -> Option<Self> {
        if ms == 0 || ms > Self::MS_MAX {
            return None;
        }
        Some(Self(ms))
    }

    /// Returns the length in milliseconds.
    pub const fn as_ms(self) -> i64 {
        self.0 as i64
    }

    /// Returns the end of the bucket that holds `at`.
    pub const fn end_of(self, at: TimestampMs) -> TimestampMs {
        let past = at.0.rem_euclid(self.as_ms());
        if past == 0 {
            at
        } else {
            TimestampMs(at.0.saturating_add(self.as_ms() - past))
        }
    }

    fn distance(self, from: TimestampMs, to: TimestampMs) -> u32 {
        let ms = to.0.saturating_sub(from.0).clamp(0, self.as_ms());
        u32::try_from(ms).unwrap_or(self.0)
    }
}

/// The summary of the samples in one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Samples in the bucket. 0: there is a stale mark and nothing else, and only the times mean something: they are the mark's.
    pub count: u32,
    /// Their sum.
    pub sum: f64,
    /// The least; NaN when all are.
    pub min: f64,
    /// The greatest; NaN when all are.
    pub max: f64,
    /// What resets of a counter took inside the bucket.
    pub lost: f64,
    /// The first sample.
    pub first: (TimestampMs, f64),
    /// The last sample.
    pub last: (TimestampMs, f64),
    /// Whether a stale mark came after the last sample.
    pub ended: bool,
}

impl Rollup {
    /// Returns the summary of a single sample, or of a stale mark.
    pub fn of(at: TimestampMs, value: f64) -> Self {
        if is_stale(value) {
            return Self {
                count: 0,
                sum: 0.0,
                min: 0.0,
                max: 0.0,
                lost: 0.0,
                first: (at, 0.0),
                last: (at, 0.0),
                ended: true,
            };
        }
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
            lost: 0.0,
            first: (at, value),
            last: (at, value),
            ended: false,
        }
    }

    /// Returns the increase of a counter inside the bucket, resets taken out.
    pub fn increase(&self) -> f64 {
        self.last.1 - self.first.1 + self.lost
    }

    /// Returns the summary of the samples of both, which lie in one bucket.
    ///
    /// Two sources of one series (two shards, the files of two days) hold parts of a bucket one after the other; then the result is that of
    /// all samples. Where they are interleaved, they are two recordings of one thing and do not add up: the one with more samples stands.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let (a, b) = if other.first.0 < self.first.0 {
            (other, self)
        } else {
            (self, other)
        };
        if a.count == 0 || b.count == 0 {
            let (mark, summary) = if a.count == 0 { (a, b) } else { (b, a) };
            return Self {
                ended: summary.ended || mark.last.0 > summary.last.0,
                ..summary
            };
        }
        if b.first.0 <= a.last.0 {
            return if other.count > self.count {
                other
            } else {
                self
            };
        }
        let reset = if b.first.1 < a.last.1 { a.last.1 } else { 0.0 };
        Self {
            count: a.count.saturating_add(b.count),
            sum: a.sum + b.sum,
            min: lesser(a.min, b.min),
            max: greater(a.max, b.max),
            lost: a.lost + reset + b.lost,
            first: a.first,
            last: b.last,
            ended: b.ended,
        }
    }
}

fn lesser(held: f64, value: f64) -> f64 {
    if value < held || held.is_nan() {
        value
    } else {
        held
    }
}

fn greater(held: f64, value: f64) -> f64 {
    if value > held || held.is_nan() {
        value
    } else {
        held
    }
}

/// Makes summaries of samples that come in order of time.
#[derive(Debug)]
pub struct RollupBuilder {
    length: BucketLength,
    open: Option<OpenBucket>,
}

#[derive(Debug)]
struct OpenBucket {
    end: TimestampMs,
    rollup: Rollup,
    /// What rounding has taken from the sum (Neumaier).
    compensation: f64,
}

impl RollupBuilder {
    /// Returns a builder of buckets of this length.
    pub const fn new(length: BucketLength) -> Self {
        Self { length, open: None }
    }

    /// Takes a sample or a stale mark, later than all before; returns the bucket before, with its end, when this one begins another.
    pub fn push(&mut self, at: TimestampMs, value: f64) -> Option<(TimestampMs, Rollup)> {
        let end = self.length.end_of(at);
        if let Some(open) = self.open.as_mut().filter(|open| open.end == end) {
            open.push(at, value);
            return None;
        }
        let finished = self.finish();
        self.open = Some(OpenBucket {
            end,
            rollup: Rollup::of(at, value),
            compensation: 0.0,
        });
        finished
    }

    /// Returns the bucket that is still open, with its end.
    pub fn finish(&mut self) -> Option<(TimestampMs, Rollup)> {
        let open = self.open.take()?;
        let mut rollup = open.rollup;
        if !rollup.sum.is_infinite() {
            rollup.sum += open.compensation;
        }
        Some((open.end, rollup))
    }
}

impl OpenBucket {
    fn push(&mut self, at: TimestampMs, value: f64) {
        if is_stale(value) {
            self.rollup.ended = true;
            if self.rollup.count == 0 {
                self.rollup.first.0 = at;
                self.rollup.last.0 = at;
            }
            return;
        }
        if self.rollup.count == 0 {
            self.rollup = Rollup::of(at, value);
            return;
        }
        let rollup = &mut self.rollup;
        rollup.count += 1;
        let total = rollup.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if rollup.sum.abs() >= value.abs() {
            self.compensation += (rollup.sum - total) + value;
        } else {
            self.compensation += (value - total) + rollup.sum;
        }
        rollup.sum = total;
        rollup.min = lesser(rollup.min, value);
        rollup.max = greater(rollup.max, value);
        if value < rollup.last.1 {
            rollup.lost += rollup.last.1;
        }
        rollup.last = (at, value);
        rollup.ended = false;
    }
}

/// One of the columns of values that [`Rollups`] may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `Rollup`")]
pub enum RollupColumn {
    Sum,
    Min,
    Max,
    Lost,
    First,
    Last,
}

impl RollupColumn {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 6] = [
        Self::First,
        Self::Last,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Lost,
    ];

    /// Returns the value of this column.
    pub const fn of(self, rollup: &Rollup) -> f64 {
        match self {
            Self::Sum => rollup.sum,
            Self::Min => rollup.min,
            Self::Max => rollup.max,
            Self::Lost => rollup.lost,
            Self::First => rollup.first.1,
            Self::Last => rollup.last.1,
        }
    }
}

/// A set of columns of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollupColumns(u8);

impl RollupColumns {
    /// None: counts and times alone.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(0b11_1111);

    /// Returns the set of these.
    pub const fn of(columns: &[RollupColumn]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < columns.len() {
            set |= 1 << columns[at] as u8;
            at += 1;
        }
        Self(set)
    }

    /// Returns whether the column is in the set.
    pub const fn contains(self, column: RollupColumn) -> bool {
        self.0 >> column as u8 & 1 == 1
    }
}

/// Where the samples of buckets lie, one entry per timestamp of the segment. Series that are sampled together have this in common; a store
/// gives them one shape.
#[derive(Clone, Debug, Default)]
pub struct BucketShape {
    /// See [`Rollup::count`].
    pub counts: Vec<u32>,
    /// Milliseconds from the bucket's start to its first sample.
    pub first_after: Vec<u32>,
    /// Milliseconds from the last sample to the bucket's end.
    pub last_before: Vec<u32>,
    /// See [`Rollup::ended`]; `None`: nowhere.
    pub ended: Option<Presence>,
}

impl BucketShape {
    fn of(length: BucketLength, rows: &[(TimestampMs, Rollup)]) -> Self {
        let start = |end: TimestampMs| TimestampMs(end.0.saturating_sub(length.as_ms()));
        let counts = rows.iter().map(|(_, rollup)| rollup.count);
        let first =
            |(end, rollup): &(TimestampMs, Rollup)| length.distance(start(*end), rollup.first.0);
        let last = |(end, rollup): &(TimestampMs, Rollup)| length.distance(rollup.last.0, *end);
        Self {
            counts: counts.collect(),
            first_after: rows.iter().map(first).collect(),
            last_before: rows.iter().map(last).collect(),
            ended: marks(rows.iter().map(|(_, rollup)| rollup.ended)),
        }
    }

    fn part(&self, from: usize, to: usize) -> Self {
        let ended = self.ended.as_ref();
        let ended = ended.and_then(|ended| marks((from..to).map(|row| ended.contains(row))));
        Self {
            counts: self.counts[from..to].into(),
            first_after: self.first_after[from..to].into(),
            last_before: self.last_before[from..to].into(),
            ended,
        }
    }

    /// Returns whether a stale mark came after the last sample of a bucket.
    pub fn has_ended(&self, index: usize) -> bool {
        let ended = self.ended.as_ref();
        ended.is_some_and(|ended| ended.contains(index))
    }
}

/// Returns where the marks are set; `None`: nowhere.
fn marks(set: impl ExactSizeIterator<Item = bool>) -> Option<Presence> {
    let mut marks = Presence::filled(set.len(), false);
    for (row, _) in set.enumerate().filter(|(_, set)| *set) {
        marks.set(row, true);
    }
    (marks.count() > 0).then_some(marks)
}

/// Summaries in columns, one entry per timestamp of the segment: the bucket that ends there.
#[derive(Clone, Debug)]
pub struct Rollups {
    /// How long the buckets are.
    pub length: BucketLength,
    /// The tier knows of everything up to here: where there is no bucket before this time, there were no samples.
    pub until: TimestampMs,
    /// Where the samples lie.
    pub shape: Arc<BucketShape>,
    /// The columns of values that were asked for.
    values: [Option<Arc<[f64]>>; 6],
}

impl Rollups {
    /// Returns buckets of this shape, without values.
    pub fn new(length: BucketLength, until: TimestampMs, shape: Arc<BucketShape>) -> Self {
        Self {
            length,
            until,
            shape,
            values: Default::default(),
        }
    }

    /// Returns the columns of these summaries, each with the end of its bucket.
    pub fn from_rows(
        length: BucketLength,
        until: TimestampMs,
        rows: &[(TimestampMs, Rollup)],
        columns: RollupColumns,
    ) -> Self {
        let mut rollups = Self::new(length, until, Arc::new(BucketShape::of(length, rows)));
        for column in RollupColumn::ALL {
            if columns.contains(column) {
                let values = rows.iter().map(|(_, rollup)| column.of(rollup));
                rollups.set_column(column, values.collect());
            }
        }
        rollups
    }

    /// Returns the number of buckets.
    pub fn len(&self) -> usize {
        self.shape.counts.len()
    }

    /// Returns whether there are no buckets.
    pub fn is_empty(&self) -> bool {
        self.shape.counts.is_empty()
    }

    /// Returns a column; `None` when it was not asked for.
    pub fn column(&self, column: RollupColumn) -> Option<&[f64]> {
        self.values[column as usize].as_deref()
    }

    /// Replaces a column.
    pub fn set_column(&mut self, column: RollupColumn, values: Arc<[f64]>) {
        self.values[column as usize] = Some(values);
    }

    /// Returns which columns there are.
    pub fn columns(&self) -> RollupColumns {
        let mut set = 0;
        for column in RollupColumn::ALL {
            set |= u8::from(self.column(column).is_some()) << column as u8;
        }
        RollupColumns(set)
    }

    /// Returns the buckets from `from` to before `to`.
    ///
    /// # Panics
    /// When `to` is past the end, or before `from`.
    #[must_use]
    pub fn part(&self, from: usize, to: usize) -> Self {
        let part = |values: &Option<Arc<[f64]>>| values.as_ref().map(|v| v[from..to].into());
        Self {
            length: self.length,
            until: self.until,
            shape: Arc::new(self.shape.part(from, to)),
            values: self.values.each_ref().map(part),
        }
    }

    /// Returns the summary at `index`, of the bucket that ends at `end`. Columns that are not there read as NaN; `None` past the end.
    pub fn row(&self, index: usize, end: TimestampMs) -> Option<Rollup> {
        let shape = &self.shape;
        let count = *shape.counts.get(index)?;
        let distance = |column: &[u32]| i64::from(column.get(index).copied().unwrap_or_default());
        let value = |column: RollupColumn| {
            let values = self.column(column);
            values.and_then(|values| values.get(index)).copied()
        };
        let value = |column| value(column).unwrap_or(f64::NAN);
        let start = end.0.saturating_sub(self.length.as_ms());
        let first_at = TimestampMs(start.saturating_add(distance(&shape.first_after)));
        let last_at = TimestampMs(end.0.saturating_sub(distance(&shape.last_before)));
        Some(Rollup {
            count,
            sum: value(RollupColumn::Sum),
            min: value(RollupColumn::Min),
            max: value(RollupColumn::Max),
            lost: value(RollupColumn::Lost),
            first: (first_at, value(RollupColumn::First)),
            last: (last_at, value(RollupColumn::Last)),
            ended: shape.has_ended(index),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::STALE_NAN;
    use proptest::prelude::*;

    use super::*;

    const LENGTH: BucketLength = BucketLength(100);

    fn build(samples: &[(i64, f64)]) -> Vec<(TimestampMs, Rollup)> {
        let mut builder = RollupBuilder::new(LENGTH);
        let mut out: Vec<_> = samples
            .iter()
            .filter_map(|(at, value)| builder.push(TimestampMs(*at), *value))
            .collect();
        out.extend(builder.finish());
        out
    }

    #[test]
    fn buckets_are_open_on_the_left() {
        for (at, end) in [
            (0, 0),
            (1, 100),
            (99, 100),
            (100, 100),
            (101, 200),
            (-1, 0),
            (-100, -100),
            (-101, -100),
        ] {
            assert_eq!(LENGTH.end_of(TimestampMs(at)), TimestampMs(end), "{at}");
        }
        assert_eq!(LENGTH.end_of(TimestampMs::MAX), TimestampMs::MAX);
        assert!(BucketLength::from_ms(0).is_none());
    }

    #[test]
    fn a_bucket_says_what_its_samples_were() {
        let found = build(&[(1, 5.0), (50, f64::NAN), (60, 7.0), (70, 2.0), (100, 3.0)]);
        let [(end, rollup)] = found[..] else {
            panic!("one bucket, not {found:?}");
        };
        assert_eq!((end, rollup.count), (TimestampMs(100), 5));
        assert!(rollup.sum.is_nan());
        assert_eq!((rollup.min, rollup.max, rollup.lost), (2.0, 7.0, 7.0));
        assert_eq!(rollup.increase(), 5.0);
        assert_eq!(rollup.first, (TimestampMs(1), 5.0));
        assert_eq!(rollup.last, (TimestampMs(100), 3.0));
        assert!(!rollup.ended);
    }

    #[test]
    fn stale_marks_are_no_samples() {
        let found = build(&[
            (10, 1.0),
            (20, STALE_NAN),
            (110, STALE_NAN),
            (210, STALE_NAN),
            (220, 4.0),
        ]);
        let told: Vec<_> = found
            .iter()
            .map(|(end, rollup)| (end.0, rollup.count, rollup.ended, rollup.last.0.0))
            .collect();
        assert_eq!(
            told,
            [
                (100, 1, true, 10),
                (200, 0, true, 110),
                (300, 1, false, 220)
            ]
        );
    }

    #[test]
    fn of_two_recordings_the_fuller_stands() {
        let rollup = |samples: &[(i64, f64)]| build(samples)[0].1;
        let (few, many) = (
            rollup(&[(10, 1.0), (30, 2.0)]),
            rollup(&[(9, 1.0), (20, 2.0), (31, 3.0)]),
        );
        assert_eq!(few.joined(many), many);
        assert_eq!(many.joined(few), many);
        assert_eq!(many.joined(many), many);
        let mark = rollup(&[(50, STALE_NAN)]);
        assert!(few.joined(mark).ended && mark.joined(few).ended);
        assert!(!rollup(&[(60, 1.0)]).joined(mark).ended);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-50_i32..50).prop_map(f64::from),
            1 => prop::sample::select(vec![f64::NAN, -0.0, f64::INFINITY, STALE_NAN, STALE_NAN]),
        ]
    }

    fn same(a: &Rollup, b: &Rollup) -> bool {
        let values = |rollup: &Rollup| {
            RollupColumn::ALL.map(|column| {
                let value = column.of(rollup);
                if value.is_nan() {
                    f64::NAN.to_bits()
                } else {
                    (value + 0.0).to_bits()
                }
            })
        };
        let rest = |rollup: &Rollup| (rollup.count, rollup.first.0, rollup.last.0, rollup.ended);
        rest(a) == rest(b) && (a.count == 0 || values(a) == values(b))
    }

    proptest! {
        #[test]
        fn parts_of_a_bucket_join_to_the_whole(values in prop::collection::vec(value(), 1..12), cut in 0_usize..12) {
            let samples: Vec<(i64, f64)> = (1_i64..).zip(values).collect();
            let (before, after) = samples.split_at(cut.min(samples.len()));
            let whole = build(&samples)[0].1;
            let parts: Vec<_> = [build(before), build(after)].concat();
            let joined = parts.iter().map(|(_, rollup)| *rollup).reduce(Rollup::joined).unwrap();
            prop_assert!(same(&joined, &whole), "{joined:?} is not {whole:?}");
            let reversed = parts.iter().rev().map(|(_, rollup)| *rollup).reduce(Rollup::joined).unwrap();
            prop_assert!(same(&reversed, &whole), "{reversed:?} is not {whole:?}");
        }

        #[test]
        fn columns_give_back_their_rows(values in prop::collection::vec(value(), 1..40), gap in 1_i64..60) {
            let samples: Vec<(i64, f64)> = (0_i64..).zip(values).map(|(at, value)| (at * gap - 300, value)).collect();
            let rows = build(&samples);
            let rollups = Rollups::from_rows(LENGTH, TimestampMs(5_000), &rows, RollupColumns::ALL);
            prop_assert_eq!((rollups.len(), rollups.columns()), (rows.len(), RollupColumns::ALL));
            for (index, (end, rollup)) in rows.iter().enumerate() {
                let back = rollups.row(index, *end).unwrap();
                prop_assert!(same(&back, rollup), "{back:?} is not {rollup:?}");
            }
            let some = RollupColumns::of(&[RollupColumn::Last, RollupColumn::Sum]);
            let few = Rollups::from_rows(LENGTH, TimestampMs(5_000), &rows, some);
            prop_assert_eq!(few.columns(), some);
            prop_assert!(few.column(RollupColumn::Min).is_none());
        }
    }
}
