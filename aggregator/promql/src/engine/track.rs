//! The samples of a series in the form that evaluation wants: contiguous, floats and histograms apart.
//!
//! Series that share their time columns share one [`Axis`], so that windows are computed once per cohort.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use model::{CounterReset, Histogram, TimestampMs, Value, is_stale};
use storage::{Segment, SegmentValues, SeriesData, Times};

use super::window::{Bounds, LookTimes, Reach};
use crate::functions::rate::{RateKind, RateWindow, RateWindows};

/// Times and their windows, shared by series.
#[derive(Debug)]
pub(crate) struct Axis {
    pub(crate) times: Vec<TimestampMs>,
    pub(crate) bounds: Bounds,
    /// What rates over the windows have in common, once one was asked for.
    rates: OnceLock<RateWindows>,
}

impl Axis {
    pub(crate) fn new(times: Vec<TimestampMs>, look: LookTimes, reach: Reach) -> Self {
        Self {
            bounds: Bounds::new(&times, look, reach),
            times,
            rates: OnceLock::new(),
        }
    }

    /// Returns what rates of this kind over windows of `range_ms` have in common. An axis is made for one selector, so for one kind and range.
    pub(crate) fn rate_windows(
        &self,
        look: LookTimes,
        range_ms: i64,
        kind: RateKind,
    ) -> &RateWindows {
        #[expect(clippy::cast_precision_loss, reason = "seconds as PromQL has them")]
        let range_seconds = range_ms as f64 / 1_000.0;
        self.rates.get_or_init(|| {
            let windows = (0..look.len()).map(|index| {
                let end = look.at(index);
                let window = RateWindow {
                    start: end.saturating_sub(range_ms),
                    end,
                    range_seconds,
                };
                (window, self.bounds.of(index))
            });
            RateWindows::new(&self.times, windows, kind)
        })
    }
}

/// The floats, or the histograms, of a series.
#[derive(Debug)]
pub(crate) struct Track<T> {
    pub(crate) axis: Arc<Axis>,
    pub(crate) values: Values<T>,
    /// When the counter behind each value started (0: not known); empty when nothing is known.
    pub(crate) starts: Vec<TimestampMs>,
}

/// Values: of their own, or those of the one segment that there is.
#[derive(Debug)]
pub(crate) enum Values<T> {
    Own(Vec<T>),
    Shared(Arc<[T]>),
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(values) => values,
            Self::Shared(values) => values,
        }
    }
}

impl<T: Clone> Values<T> {
    /// Returns the values, to be changed.
    pub(crate) fn to_mut(&mut self) -> &mut [T] {
        if let Self::Shared(values) = self {
            *self = Self::Own(values.to_vec());
        }
        match self {
            Self::Own(values) => values,
            Self::Shared(_) => &mut [],
        }
    }
}

/// A series' samples.
#[derive(Debug)]
pub(crate) struct Tracks {
    pub(crate) floats: Track<f64>,
    pub(crate) histograms: Track<Arc<Histogram>>,
    /// The segments of summaries, in order of time.
    pub(crate) rollups: Vec<Segment>,
}

impl<T> Track<T> {
    fn empty(axis: Arc<Axis>) -> Self {
        Self {
            axis,
            values: Values::Own(Vec::new()),
            starts: Vec::new(),
        }
    }
}

/// What becomes of stale marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// They end their series for instant selectors.
    Keep,
    /// Ranges pass over them.
    Drop,
}

/// Makes tracks, and remembers the axes it has made.
#[derive(Debug)]
pub(crate) struct TrackMaker {
    look: LookTimes,
    reach: Reach,
    stale: Stale,
    with_starts: bool,
    /// By the identities of the time columns of all segments, which live as long as that is remembered.
    axes: HashMap<Vec<usize>, (Arc<Axis>, Vec<Times>)>,
    /// The identities of the series before, and its axis.
    last: Option<(Vec<usize>, Arc<Axis>)>,
    identities: Vec<usize>,
    nothing: Arc<Axis>,
}

/// Axes that are remembered, some 25 KB each for two hours at 15 s: series with times of their own would only fill memory.
const AXES_MAX: usize = 512;

impl TrackMaker {
    pub(crate) fn new(look: LookTimes, reach: Reach, stale: Stale, with_starts: bool) -> Self {
        Self {
            look,
            reach,
            stale,
            with_starts,
            axes: HashMap::new(),
            last: None,
            identities: Vec::new(),
            nothing: Arc::new(Axis::new(Vec::new(), look, reach)),
        }
    }

    /// Returns the tracks of a series.
    pub(crate) fn tracks(&mut self, series: &SeriesData) -> Tracks {
        if series.segments.iter().all(|segment| self.is_plain(segment)) {
            self.shared(series)
        } else {
            self.own(series)
        }
    }

    /// Whether the segment's values can be taken as they are.
    fn is_plain(&self, segment: &Segment) -> bool {
        match &segment.values {
            SegmentValues::Floats(values) => {
                segment.presence.is_none()
                    && values.len() == segment.times.as_slice().len()
                    && (self.stale == Stale::Keep || !values.iter().any(|value| is_stale(*value)))
            }
            SegmentValues::Histograms(_) | SegmentValues::Mixed(_) | SegmentValues::Rollup(_) => {
                false
            }
        }
    }

    fn shared(&mut self, series: &SeriesData) -> Tracks {
        let axis = self.axis_of(series);
        let values = match series.segments.as_slice() {
            [
                Segment {
                    values: SegmentValues::Floats(floats),
                    ..
                },
            ] => Values::Shared(Arc::clone(floats)),
            segments => {
                let mut values = Vec::with_capacity(axis.times.len());
                for segment in segments {
                    if let SegmentValues::Floats(floats) = &segment.values {
                        values.extend_from_slice(floats);
                    }
                }
                Values::Own(values)
            }
        };
        let starts = if self.with_starts && series.segments.iter().any(|s| s.start_times.is_some())
        {
            starts_of(series, |_, _| true)
        } else {
            Vec::new()
        };
        Tracks {
            floats: Track {
                axis,
                values,
                starts,
            },
            histograms: Track::empty(Arc::clone(&self.nothing)),
            rollups: Vec::new(),
        }
    }

    /// Returns the axis of all segments together.
    fn axis_of(&mut self, series: &SeriesData) -> Arc<Axis> {
        let identities = series
            .segments
            .iter()
            .map(|segment| segment.times.identity());
        self.identities.clear();
        self.identities.extend(identities);
        if let Some((last, axis)) = &self.last
            && *last == self.identities
        {
            return Arc::clone(axis);
        }
        if let Some((axis, _)) = self.axes.get(&self.identities) {
            self.last = Some((self.identities.clone(), Arc::clone(axis)));
            return Arc::clone(axis);
        }
        let segments = series.segments.iter();
        let columns: Vec<Times> = segments.map(|segment| segment.times.clone()).collect();
        let times: Vec<TimestampMs> = columns
            .iter()
            .flat_map(|column| column.as_slice().iter().copied())
            .collect();
        let axis = Arc::new(Axis::new(times, self.look, self.reach));
        if self.axes.len() >= AXES_MAX {
            self.axes.clear();
        }
        let identities = self.identities.clone();
        self.axes
            .insert(identities.clone(), (Arc::clone(&axis), columns));
        self.last = Some((identities, Arc::clone(&axis)));
        axis
    }

    fn own(&self, series: &SeriesData) -> Tracks {
        let mut floats = Collected::default();
        let mut histograms = Collected::default();
        let known = self.with_starts && series.segments.iter().any(|s| s.start_times.is_some());
        let is_rollup = |segment: &&Segment| matches!(segment.values, SegmentValues::Rollup(_));
        for segment in series.segments.iter().filter(|segment| !is_rollup(segment)) {
            for (index, at) in segment.times.as_slice().iter().enumerate() {
                let Some(value) = segment.value(index) else {
                    continue;
                };
                if self.stale == Stale::Drop && value.is_stale() {
                    continue;
                }
                let start = known.then(|| {
                    segment
                        .start_times
                        .as_ref()
                        .and_then(|starts| starts.get(index).copied())
                        .unwrap_or_default()
                });
                match value {
                    Value::Float(value) => floats.push(*at, value, start),
                    Value::Histogram(value) => histograms.push(*at, value, start),
                }
            }
        }
        Tracks {
            floats: floats.into_track(self.look, self.reach),
            histograms: histograms.into_track(self.look, self.reach),
            rollups: series.segments.iter().filter(is_rollup).cloned().collect(),
        }
    }
}

fn starts_of(series: &SeriesData, keep: impl Fn(&Segment, usize) -> bool) -> Vec<TimestampMs> {
    series
        .segments
        .iter()
        .flat_map(|segment| {
            let keep = &keep;
            (0..segment.times.as_slice().len())
                .filter(move |index| keep(segment, *index))
                .map(move |index| {
                    segment
                        .start_times
                        .as_ref()
                        .and_then(|starts| starts.get(index).copied())
                        .unwrap_or_default()
                })
        })
        .collect()
}

struct Collected<T> {
    times: Vec<TimestampMs>,
    values: Vec<T>,
    starts: Vec<TimestampMs>,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self {
            times: Vec::new(),
            values: Vec::new(),
            starts: Vec::new(),
        }
    }
}

impl<T> Collected<T> {
    fn push(&mut self, at: TimestampMs, value: T, start: Option<TimestampMs>) {
        self.times.push(at);
        self.values.push(value);
        self.starts.extend(start);
    }

    fn into_track(self, look: LookTimes, reach: Reach) -> Track<T> {
        Track {
            axis: Arc::new(Axis::new(self.times, look, reach)),
            values: Values::Own(self.values),
            starts: self.starts,
        }
    }
}

/// Sets what is known of counter resets by comparing each histogram with the one before, for `histogram_count` and its like.
///
/// Those before `from` are passed over: whether a store gives them along is by chance.
pub(crate) fn detect_resets(track: &mut Track<Arc<Histogram>>, from: TimestampMs) {
    let mut last: Option<Arc<Histogram>> = None;
    for (at, histogram) in track.axis.times.iter().zip(track.values.to_mut()) {
        if *at < from || histogram.is_stale() {
            continue;
        }
        let before = Arc::clone(histogram);
        if histogram.reset == CounterReset::Unknown
            && let Some(last) = &last
        {
            let now = crate::histogram::FloatHistogram::from_model(histogram);
            let then = crate::histogram::FloatHistogram::from_model(last);
            let hint = if now.detect_reset(&then) {
                CounterReset::Reset
            } else {
                CounterReset::NotReset
            };
            Arc::make_mut(histogram).reset = hint;
        }
        last = Some(before);
    }
}

/// Makes tracks of the columns of a subquery, over its own grid.
pub(crate) fn column_tracks(
    column: &crate::Column,
    grid: crate::Grid,
    look: LookTimes,
    reach: Reach,
    whole: &mut Option<Arc<Axis>>,
) -> Tracks {
    let full = column.histograms.is_empty() && !column.floats.iter().any(|value| is_stale(*value));
    if full {
        let axis = whole.get_or_insert_with(|| {
            let times = (0..grid.len()).map(|index| grid.at(index)).collect();
            Arc::new(Axis::new(times, look, reach))
        });
        return Tracks {
            floats: Track {
                axis: Arc::clone(axis),
                values: Values::Own(column.floats.clone()),
                starts: Vec::new(),
            },
            histograms: Track::empty(Arc::new(Axis::new(Vec::new(), look, reach))),
            rollups: Vec::new(),
        };
    }
    let mut floats = Collected::default();
    let mut histograms = Collected::default();
    for index in 0..column.len() {
        match column.value(index) {
            Some(Value::Float(value)) => floats.push(grid.at(index), value, None),
            Some(Value::Histogram(mut value)) => {
                // The same sample may come several times, and its neighbour may be missing: what it says of resets holds no longer.
                if matches!(value.reset, CounterReset::Reset | CounterReset::NotReset) {
                    Arc::make_mut(&mut value).reset = CounterReset::Unknown;
                }
                histograms.push(grid.at(index), value, None);
            }
            None => {}
        }
    }
    Tracks {
        floats: floats.into_track(look, reach),
        histograms: histograms.into_track(look, reach),
        rollups: Vec::new(),
    }
}
