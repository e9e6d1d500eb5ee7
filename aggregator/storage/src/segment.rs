//! Series as columns.

use std::sync::Arc;

use model::{Histogram, Labels, Sample, TimeRange, TimestampMs, Value};
use rows::Presence;

use crate::Rollups;

/// A column of timestamps, strictly rising, shared by all series of a cohort; its identity is its address ([`Times::same_column`]).
#[derive(Clone, Debug)]
pub struct Times(Arc<[TimestampMs]>);

impl Times {
    /// Returns the column of these timestamps.
    ///
    /// # Panics
    /// In debug builds, when they do not rise strictly.
    pub fn new(times: impl Into<Arc<[TimestampMs]>>) -> Self {
        let times = times.into();
        debug_assert!(
            times.windows(2).all(|pair| pair[0] < pair[1]),
            "timestamps rise strictly"
        );
        Self(times)
    }

    /// Returns the timestamps.
    pub fn as_slice(&self) -> &[TimestampMs] {
        &self.0
    }

    /// Returns a number that two columns alive at once share only when they are the same column: what window bounds may be cached by.
    pub fn identity(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns whether both are one column, not merely equal.
    pub fn same_column(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A series' values over a stretch of a time column. `values` has one entry per timestamp; where `presence` says "absent" the
/// entry means nothing.
#[derive(Clone, Debug)]
pub struct Segment {
    /// When.
    pub times: Times,
    /// Which of the timestamps the series has a value at; `None`: all.
    pub presence: Option<Arc<Presence>>,
    /// What.
    pub values: SegmentValues,
    /// When the counter behind each value started, one per timestamp (0: not known); `None`: nothing is known.
    pub start_times: Option<Arc<[TimestampMs]>>,
}

/// The values of a segment, one per timestamp.
#[derive(Clone, Debug)]
pub enum SegmentValues {
    /// Floats; stale marks are values.
    Floats(Arc<[f64]>),
    /// Native histograms.
    Histograms(Arc<[Arc<Histogram>]>),
    /// Both, in one series.
    Mixed(Arc<[Value]>),
    /// A downsampled stretch: one summary per timestamp, for the left-open bucket that ends there.
    Rollup(Rollups),
}

impl Segment {
    /// Returns a segment of floats without absences.
    pub fn floats(times: Times, values: impl Into<Arc<[f64]>>) -> Self {
        Self {
            times,
            presence: None,
            values: SegmentValues::Floats(values.into()),
            start_times: None,
        }
    }

    /// Returns whether the series has a value at the timestamp of this index.
    pub fn is_present(&self, index: usize) -> bool {
        self.presence
            .as_ref()
            .is_none_or(|presence| presence.contains(index))
    }

    /// Returns the value at an index; `None` where it is absent, past the end or a rollup.
    pub fn value(&self, index: usize) -> Option<Value> {
        if !self.is_present(index) {
            return None;
        }
        match &self.values {
            SegmentValues::Floats(values) => values.get(index).copied().map(Value::Float),
            SegmentValues::Histograms(values) => values.get(index).cloned().map(Value::Histogram),
            SegmentValues::Mixed(values) => values.get(index).cloned(),
            SegmentValues::Rollup(_) => None,
        }
    }
}

/// A series and its samples: segments in order of time, timestamps strictly rising over all of them; only the ends of buckets may be
/// equal to a timestamp or an end in the segment behind. No sample is in a bucket and in a segment too.
#[derive(Clone, Debug)]
pub struct SeriesData {
    /// The series.
    pub labels: Labels,
    /// Its stretches; may reach beyond the range asked for by whole pages.
    pub segments: Vec<Segment>,
}

/// What a selection has of one series, lent for as long as somebody looks at it.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// A float at each of the times, stale marks included, and nothing said of when counters started: nearly all series. Those of a cohort
    /// get one column of times.
    Plain {
        /// When; may reach beyond the range asked for.
        times: &'a Times,
        /// What, one per timestamp.
        values: &'a [f64],
    },
    /// Any series, as [`SeriesData::segments`] are.
    Segments(&'a [Segment]),
}

impl Samples<'_> {
    /// Returns how many entries there are, absent ones included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Plain { values, .. } => values.len(),
            Self::Segments(segments) => {
                let rows = |segment: &Segment| segment.times.as_slice().len();
                segments.iter().map(rows).sum()
            }
        }
    }

    /// Returns the samples as segments of their own; copies them.
    pub fn to_segments(&self) -> Vec<Segment> {
        match self {
            Self::Plain { times, values } => vec![Segment::floats((*times).clone(), *values)],
            Self::Segments(segments) => segments.to_vec(),
        }
    }
}

impl SeriesData {
    /// Returns the samples within `range`, in order of time; convenient, not fast.
    pub fn samples(&self, range: TimeRange) -> impl Iterator<Item = Sample> + '_ {
        self.segments.iter().flat_map(move |segment| {
            segment
                .times
                .as_slice()
                .iter()
                .enumerate()
                .filter_map(move |(index, at)| {
                    let value = range
                        .contains(*at)
                        .then(|| segment.value(index))
                        .flatten()?;
                    Some(Sample { at: *at, value })
                })
        })
    }
}
