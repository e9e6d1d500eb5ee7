//! What a query returns, in columns.

use std::sync::Arc;
use std::time::Duration;

use model::{Histogram, Labels, STALE_NAN, Sample, TimestampMs, Value, is_stale};

use crate::{Annotations, PlanNode, QueryError};

/// The instants that a query is evaluated at: `start`, `start + step`, ... up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The first instant.
    pub start: TimestampMs,
    /// No instant lies after it.
    pub end: TimestampMs,
    /// Milliseconds between two instants, at least 1 (an instant query has 1, and one instant).
    pub step_ms: i64,
}

impl Grid {
    /// Returns the grid of an instant query.
    pub const fn instant(at: TimestampMs) -> Self {
        Self {
            start: at,
            end: at,
            step_ms: 1,
        }
    }

    /// Returns the number of instants.
    pub fn len(self) -> usize {
        if self.end < self.start {
            return 0;
        }
        let span = self.end.0.abs_diff(self.start.0);
        usize::try_from(span / self.step_ms.max(1).unsigned_abs() + 1).unwrap_or(usize::MAX)
    }

    /// Returns whether there is no instant.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the instant of this index, which is below [`Grid::len`].
    pub fn at(self, index: usize) -> TimestampMs {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        TimestampMs(
            self.start
                .0
                .saturating_add(self.step_ms.saturating_mul(index)),
        )
    }
}

/// One value, or none, per instant of a grid; a float or a native histogram.
///
/// Absence is the staleness mark: what is evaluated is never stale, so no value is mistaken for it.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Floats; [`STALE_NAN`] where there is none.
    pub floats: Vec<f64>,
    /// Histograms, as long as `floats`, or empty when there is no histogram at all.
    pub histograms: Vec<Option<Arc<Histogram>>>,
}

/// The mark of an instant without a float.
pub(crate) const ABSENT: f64 = STALE_NAN;

impl Column {
    /// Returns a column of `len` absences.
    pub fn absent(len: usize) -> Self {
        Self {
            floats: vec![ABSENT; len],
            histograms: Vec::new(),
        }
    }

    /// Makes it a column of `len` absences.
    pub(crate) fn reset(&mut self, len: usize) {
        self.floats.clear();
        self.floats.resize(len, ABSENT);
        self.histograms.clear();
    }

    /// Returns the number of instants.
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// Returns whether there are no instants.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// Returns the float at an instant.
    pub fn float(&self, index: usize) -> Option<f64> {
        self.floats
            .get(index)
            .copied()
            .filter(|value| !is_stale(*value))
    }

    /// Returns the histogram at an instant.
    pub fn histogram(&self, index: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(index).and_then(Option::as_ref)
    }

    /// Returns the value at an instant.
    pub fn value(&self, index: usize) -> Option<Value> {
        self.histogram(index)
            .map(|histogram| Value::Histogram(Arc::clone(histogram)))
            .or_else(|| self.float(index).map(Value::Float))
    }

    /// Returns whether there is a value at an instant.
    pub fn is_present(&self, index: usize) -> bool {
        self.float(index).is_some() || self.histogram(index).is_some()
    }

    /// Returns the number of instants with a value.
    pub fn present(&self) -> usize {
        let floats = self.floats.iter().filter(|value| !is_stale(**value));
        floats.count() + self.histograms.iter().flatten().count()
    }

    /// Returns whether there is a value at any instant.
    pub fn has_any(&self) -> bool {
        self.floats.iter().any(|value| !is_stale(*value))
            || self.histograms.iter().any(Option::is_some)
    }

    /// Sets the histogram at an instant, which has no float then.
    pub(crate) fn set_histogram(&mut self, index: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms = vec![None; self.floats.len()];
        }
        self.floats[index] = ABSENT;
        self.histograms[index] = Some(histogram);
    }

    /// Sets the value at an instant.
    pub(crate) fn set(&mut self, index: usize, value: Value) {
        match value {
            Value::Float(value) => {
                self.floats[index] = value;
                if let Some(slot) = self.histograms.get_mut(index) {
                    *slot = None;
                }
            }
            Value::Histogram(histogram) => self.set_histogram(index, histogram),
        }
    }

    /// Removes the value at an instant.
    pub(crate) fn clear(&mut self, index: usize) {
        self.floats[index] = ABSENT;
        if let Some(slot) = self.histograms.get_mut(index) {
            *slot = None;
        }
    }

    /// Returns the bytes that this column holds, for budgets. A histogram that stands at several instants in turn counts once.
    pub(crate) fn bytes(&self) -> u64 {
        let places = (self.floats.len() + self.histograms.len()) * Self::PLACE_BYTES;
        let mut last = None;
        let histograms = self.histograms.iter().flatten().filter(|histogram| {
            let address = Arc::as_ptr(histogram);
            last.replace(address) != Some(address)
        });
        let histograms: usize = histograms.map(|histogram| histogram.bytes()).sum();
        (places + histograms) as u64
    }

    /// Returns the bytes that this column will hold more when this histogram is set.
    pub(crate) fn bytes_to_set(&self, histogram: &Histogram) -> usize {
        let places = match self.histograms.is_empty() {
            true => self.floats.len() * Self::PLACE_BYTES,
            false => 0,
        };
        places + histogram.bytes()
    }

    /// What a place for a float or a histogram takes.
    pub(crate) const PLACE_BYTES: usize = 8;
}

/// A series over the grid of a range query.
#[derive(Clone, Debug)]
pub struct GridSeries {
    /// The series.
    pub labels: Labels,
    /// Its values.
    pub column: Column,
}

/// A series at the instant of an instant query.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// A series with samples at its own times: the result of a range selector.
#[derive(Clone, Debug)]
pub struct SampleSeries {
    /// The series.
    pub labels: Labels,
    /// In order of time.
    pub samples: Vec<Sample>,
}

/// The value of an expression.
#[derive(Clone, Debug)]
pub enum QueryResult {
    /// A number at `at` (instant queries only; a range query makes it a series without labels).
    Scalar {
        /// The instant.
        at: TimestampMs,
        /// The number.
        value: f64,
    },
    /// A text at `at` (instant queries only).
    String {
        /// The instant.
        at: TimestampMs,
        /// The text; what was not UTF-8 is replaced.
        value: String,
    },
    /// One value per series at `at`; in the order of the expression (sorted by `sort`, ranked by `topk`).
    Vector {
        /// The instant.
        at: TimestampMs,
        /// The series.
        samples: Vec<VectorSample>,
    },
    /// A range query's result, sorted by labels: JSON type `matrix`.
    Grid {
        /// The instants.
        grid: Grid,
        /// The series, none of them without any value.
        series: Vec<GridSeries>,
    },
    /// An instant query's range vector, sorted by labels: JSON type `matrix`.
    Samples(Vec<SampleSeries>),
}

impl QueryResult {
    /// Returns the `resultType` of the HTTP API.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "scalar",
            Self::String { .. } => "string",
            Self::Vector { .. } => "vector",
            Self::Grid { .. } | Self::Samples(_) => "matrix",
        }
    }
}

/// What a query cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that functions and selectors looked at, summed over all instants (`totalQueryableSamples`).
    pub samples_queryable: u64,
    /// Samples fetched from the store.
    pub samples_read: u64,
    /// Series fetched from the store.
    pub series_read: u64,
    /// Points that existed at once, at most (`peakSamples`).
    pub points_peak: u64,
    /// `samples_queryable` by the instants of the query, whose sum it is (`totalQueryableSamplesPerStep`); empty unless
    /// [`crate::QueryOptions::per_step`] asks for it.
    pub samples_per_step: Vec<u64>,
}

impl QueryStats {
    /// Returns those of a query that counts samples by so many instants.
    pub(crate) fn of_steps(steps: usize) -> Self {
        Self {
            samples_per_step: vec![0; steps],
            ..Self::default()
        }
    }

    /// Adds those of a part of the query that another thread went through.
    pub(crate) fn add(&mut self, part: &Self) {
        self.samples_queryable += part.samples_queryable;
        self.samples_read += part.samples_read;
        self.series_read += part.series_read;
        self.points_peak = self.points_peak.max(part.points_peak);
        let steps = self.samples_per_step.iter_mut();
        for (sum, samples) in steps.zip(&part.samples_per_step) {
            *sum += samples;
        }
    }

    /// Counts samples that an instant of `grid` looked at, for the instant of the whole query that this was for: `grid` may be a
    /// subquery's, or one instant for all.
    pub(crate) fn looked(&mut self, query: Grid, grid: Grid, index: usize, samples: u64) {
        let Some(last) = self.samples_per_step.len().checked_sub(1) else {
            return;
        };
        let step = if grid == query {
            index
        } else {
            let after_start = grid
                .at(index)
                .0
                .saturating_sub(query.start.0)
                .max(0)
                .unsigned_abs();
            let steps = after_start.div_ceil(query.step_ms.max(1).unsigned_abs());
            usize::try_from(steps).unwrap_or(usize::MAX)
        };
        self.samples_per_step[step.min(last)] += samples;
    }

    /// Whether samples are counted by instants.
    pub(crate) fn is_per_step(&self) -> bool {
        !self.samples_per_step.is_empty()
    }
}

/// What a query returns.
#[derive(Clone, Debug)]
pub struct Output {
    /// The value.
    pub result: QueryResult,
    /// What the asker should know about it.
    pub annotations: Annotations,
    /// What it cost.
    pub stats: QueryStats,
    /// What each node came to and cost, if that was asked for.
    pub plan: Vec<PlanNode>,
}

/// What one of several expressions that are evaluated together came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its result, or why it has none.
    pub output: Result<Output, QueryError>,
    /// How long it took, as far as the budget tells; what it has in common with others counts with the first of them.
    pub took: Duration,
}
