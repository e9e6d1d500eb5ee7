//! The samples of a series in the form that evaluation wants: contiguous, floats and histograms apart.
//!
//! Series that share their time columns share one [`Axis`], so that windows are computed once per cohort.

use std::collections::HashMap;
use std::sync::Arc;

use model::{CounterReset, Histogram, TimestampMs, Value, is_stale};
use storage::{Segment, SegmentValues, SeriesData};

use super::window::{Bounds, LookTimes, Reach};

/// Times and their windows, shared by series.
#[derive(Debug, Default)]
pub(crate) struct Axis {
    pub(crate) times: Vec<TimestampMs>,
    pub(crate) bounds: Bounds,
}

/// The floats, or the histograms, of a series.
#[derive(Debug)]
pub(crate) struct Track<T> {
    pub(crate) axis: Arc<Axis>,
    pub(crate) values: Vec<T>,
    /// When the counter behind each value started (0: not known); empty when nothing is known.
    pub(crate) starts: Vec<TimestampMs>,
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
            values: Vec::new(),
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
    /// By the identities of the time columns of all segments.
    axes: HashMap<Vec<usize>, Arc<Axis>>,
    nothing: Arc<Axis>,
}

impl TrackMaker {
    pub(crate) fn new(look: LookTimes, reach: Reach, stale: Stale, with_starts: bool) -> Self {
        Self {
            look,
            reach,
            stale,
            with_starts,
            axes: HashMap::new(),
            nothing: Arc::new(Axis {
                times: Vec::new(),
                bounds: Bounds::new(&[], look, reach),
            }),
        }
    }

    /// Returns the tracks of a series. The axes hold while the series' segments live, since they go by their addresses.
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
        let identities: Vec<usize> = series
            .segments
            .iter()
            .map(|segment| segment.times.identity())
            .collect();
        let (look, reach) = (self.look, self.reach);
        let axis = self.axes.entry(identities).or_insert_with(|| {
            let mut times = Vec::new();
            for segment in &series.segments {
                times.extend_from_slice(segment.times.as_slice());
            }
            let bounds = Bounds::new(&times, look, reach);
            Arc::new(Axis { times, bounds })
        });
        let mut values = Vec::with_capacity(axis.times.len());
        for segment in &series.segments {
            if let SegmentValues::Floats(floats) = &segment.values {
                values.extend_from_slice(floats);
            }
        }
        let starts = if self.with_starts && series.segments.iter().any(|s| s.start_times.is_some())
        {
            starts_of(series, |_, _| true)
        } else {
            Vec::new()
        };
        Tracks {
            floats: Track {
                axis: Arc::clone(axis),
                values,
                starts,
            },
            histograms: Track::empty(Arc::clone(&self.nothing)),
            rollups: Vec::new(),
        }
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
        let bounds = Bounds::new(&self.times, look, reach);
        Track {
            axis: Arc::new(Axis {
                times: self.times,
                bounds,
            }),
            values: self.values,
            starts: self.starts,
        }
    }
}

/// Sets what is known of counter resets by comparing each histogram with the one before, for `histogram_count` and its like.
pub(crate) fn detect_resets(histograms: &mut [Arc<Histogram>]) {
    let mut last: Option<Arc<Histogram>> = None;
    for histogram in histograms {
        if histogram.is_stale() {
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
            let times: Vec<TimestampMs> = (0..grid.len()).map(|index| grid.at(index)).collect();
            let bounds = Bounds::new(&times, look, reach);
            Arc::new(Axis { times, bounds })
        });
        return Tracks {
            floats: Track {
                axis: Arc::clone(axis),
                values: column.floats.clone(),
                starts: Vec::new(),
            },
            histograms: Track::empty(Arc::new(Axis {
                times: Vec::new(),
                bounds: Bounds::new(&[], look, reach),
            })),
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
