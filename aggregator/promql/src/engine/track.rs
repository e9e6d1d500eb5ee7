//! The samples of a series in the form that evaluation wants: contiguous, floats and histograms apart.
//!
//! Series that share their time columns share one [`Axis`], so that windows are computed once per cohort.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use model::{CounterReset, Histogram, TimestampMs, Value, is_stale};
use storage::{BudgetExceeded, Samples, Segment, SegmentValues, Times};

use super::account::{Account, Held};
use super::window::{Bounds, LookTimes, Reach};
use crate::functions::rate::{RateKind, RateWindow, RateWindows, Spacing};

/// Times and their windows, shared by series.
#[derive(Debug)]
pub(crate) struct Axis {
    pub(crate) times: Vec<TimestampMs>,
    pub(crate) bounds: Bounds,
    /// What rates over the windows have in common, once one was asked for.
    rates: SharedRates,
    _held: Held,
}

impl Axis {
    pub(crate) fn new(
        times: Vec<TimestampMs>,
        (look, reach): (LookTimes, Reach),
        account: &Account<'_>,
    ) -> Result<Self, BudgetExceeded> {
        let bytes = times.len() * size_of::<TimestampMs>();
        let held = account.hold(bytes + look.len() * Bounds::BYTES_PER_INSTANT)?;
        Ok(Self {
            bounds: Bounds::new(&times, look, reach),
            times,
            rates: SharedRates::default(),
            _held: held,
        })
    }

    /// Returns the axis of no samples.
    fn nothing(account: &Account<'_>) -> Arc<Self> {
        Arc::new(Self {
            bounds: Bounds::default(),
            times: Vec::new(),
            rates: SharedRates::default(),
            _held: account.nothing(),
        })
    }

    /// Returns what rates of this kind over windows of `range_ms` have in common. An axis is made for one selector, so for one kind and range.
    pub(crate) fn rate_windows(
        &self,
        look: LookTimes,
        range_ms: i64,
        kind: RateKind,
        account: &Account<'_>,
    ) -> Result<&RateWindows, BudgetExceeded> {
        let windows = (0..look.len()).map(|index| {
            let bounds @ (low, high) = self.bounds.of(index);
            let spacing = Spacing::of(&self.times[low as usize..high as usize]);
            (
                RateWindow::ending(look.at(index), range_ms),
                bounds,
                spacing,
            )
        });
        self.rates.get_or_make(windows, kind, account)
    }
}

/// What rates over the windows of an axis have in common, once one was asked for.
#[derive(Debug, Default)]
pub(crate) struct SharedRates(OnceLock<(RateWindows, Held)>);

impl SharedRates {
    /// Returns it; `windows` are gone through the first time only, and charged before.
    pub(crate) fn get_or_make(
        &self,
        windows: impl ExactSizeIterator<Item = (RateWindow, (u32, u32), Option<Spacing>)>,
        kind: RateKind,
        account: &Account<'_>,
    ) -> Result<&RateWindows, BudgetExceeded> {
        if let Some((windows, _)) = self.0.get() {
            return Ok(windows);
        }
        let held = account.hold(windows.len() * RateWindows::BYTES_PER_WINDOW)?;
        let made = (RateWindows::new(windows, kind), held);
        let (windows, _) = self.0.get_or_init(|| made);
        Ok(windows)
    }
}

/// The floats, or the histograms, of a series.
#[derive(Debug)]
pub(crate) struct Track<'a, T> {
    pub(crate) axis: Arc<Axis>,
    pub(crate) values: Values<'a, T>,
    /// When the counter behind each value started (0: not known); empty when nothing is known.
    pub(crate) starts: Vec<TimestampMs>,
}

/// Values: of their own, lent by the store while the series is looked at, or those of the one segment that there is.
#[derive(Debug)]
pub(crate) enum Values<'a, T> {
    Own(Vec<T>),
    Lent(&'a [T]),
    Shared(Arc<[T]>),
}

impl<T> Deref for Values<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(values) => values,
            Self::Lent(values) => values,
            Self::Shared(values) => values,
        }
    }
}

impl<T: Clone> Values<'_, T> {
    /// Returns the values, to be changed.
    pub(crate) fn to_mut(&mut self) -> &mut [T] {
        if !matches!(self, Self::Own(_)) {
            *self = Self::Own(self.to_vec());
        }
        match self {
            Self::Own(values) => values,
            Self::Lent(_) | Self::Shared(_) => &mut [],
        }
    }

    /// Returns the values, to be kept.
    fn into_kept(self) -> Values<'static, T> {
        match self {
            Self::Own(values) => Values::Own(values),
            Self::Lent(values) => Values::Own(values.to_vec()),
            Self::Shared(values) => Values::Shared(values),
        }
    }
}

/// A series' samples.
#[derive(Debug)]
pub(crate) struct Tracks<'a> {
    pub(crate) floats: Track<'a, f64>,
    pub(crate) histograms: Track<'a, Arc<Histogram>>,
    /// The segments of summaries, in order of time.
    pub(crate) rollups: Vec<Segment>,
}

impl Tracks<'_> {
    /// Returns the samples, to be kept.
    pub(crate) fn into_kept(self) -> Tracks<'static> {
        Tracks {
            floats: self.floats.into_kept(),
            histograms: self.histograms.into_kept(),
            rollups: self.rollups,
        }
    }
}

impl<T: Clone> Track<'_, T> {
    fn into_kept(self) -> Track<'static, T> {
        Track {
            axis: self.axis,
            values: self.values.into_kept(),
            starts: self.starts,
        }
    }
}

impl<T> Track<'_, T> {
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
pub(crate) struct TrackMaker<'q> {
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
    account: Account<'q>,
}

/// Axes that are remembered, some 25 KB each for two hours at 15 s: series with times of their own would only fill memory.
const AXES_MAX: usize = 512;

impl<'q> TrackMaker<'q> {
    pub(crate) fn new(
        (look, reach): (LookTimes, Reach),
        stale: Stale,
        with_starts: bool,
        account: &Account<'q>,
    ) -> Self {
        Self {
            look,
            reach,
            stale,
            with_starts,
            axes: HashMap::new(),
            last: None,
            identities: Vec::new(),
            nothing: Axis::nothing(account),
            account: account.clone(),
        }
    }

    /// Returns the tracks of a series.
    pub(crate) fn tracks<'s>(
        &mut self,
        samples: Samples<'s>,
    ) -> Result<Tracks<'s>, BudgetExceeded> {
        match samples {
            Samples::Plain { times, values } if self.keeps_all(values) => {
                let axis = self.axis_of([times].into_iter())?;
                Ok(self.of_floats(axis, Values::Lent(values), Vec::new()))
            }
            Samples::Plain { times, values } => self.own(&[Segment::floats(times.clone(), values)]),
            Samples::Segments(segments) if segments.iter().all(|one| self.is_plain(one)) => {
                self.shared(segments)
            }
            Samples::Segments(segments) => self.own(segments),
        }
    }

    /// Whether none of these values is left out.
    fn keeps_all(&self, values: &[f64]) -> bool {
        // Stale marks are NaN, and nearly always there is none, which is found out several values at a time.
        let any_nan = || values.iter().fold(false, |any, value| any | value.is_nan());
        self.stale == Stale::Keep || !any_nan() || !values.iter().any(|value| is_stale(*value))
    }

    /// Whether the segment's values can be taken as they are.
    fn is_plain(&self, segment: &Segment) -> bool {
        match &segment.values {
            SegmentValues::Floats(values) => {
                segment.presence.is_none()
                    && values.len() == segment.times.as_slice().len()
                    && self.keeps_all(values)
            }
            SegmentValues::Histograms(_) | SegmentValues::Mixed(_) | SegmentValues::Rollup(_) => {
                false
            }
        }
    }

    fn shared<'s>(&mut self, segments: &[Segment]) -> Result<Tracks<'s>, BudgetExceeded> {
        let axis = self.axis_of(segments.iter().map(|segment| &segment.times))?;
        let values = match segments {
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
        let starts = if self.with_starts && segments.iter().any(|s| s.start_times.is_some()) {
            starts_of(segments, |_, _| true)
        } else {
            Vec::new()
        };
        Ok(self.of_floats(axis, values, starts))
    }

    fn of_floats<'s>(
        &self,
        axis: Arc<Axis>,
        values: Values<'s, f64>,
        starts: Vec<TimestampMs>,
    ) -> Tracks<'s> {
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

    /// Returns the axis of these time columns together.
    fn axis_of<'s>(
        &mut self,
        columns: impl Iterator<Item = &'s Times> + Clone,
    ) -> Result<Arc<Axis>, BudgetExceeded> {
        self.identities.clear();
        self.identities.extend(columns.clone().map(Times::identity));
        if let Some((last, axis)) = &self.last
            && *last == self.identities
        {
            return Ok(Arc::clone(axis));
        }
        if let Some((axis, _)) = self.axes.get(&self.identities) {
            self.last = Some((self.identities.clone(), Arc::clone(axis)));
            return Ok(Arc::clone(axis));
        }
        let times = columns.clone().flat_map(|column| column.as_slice());
        let windows = (self.look, self.reach);
        let axis = Arc::new(Axis::new(times.copied().collect(), windows, &self.account)?);
        if self.axes.len() >= AXES_MAX {
            self.axes.clear();
        }
        let identities = self.identities.clone();
        let held = (Arc::clone(&axis), columns.cloned().collect());
        self.axes.insert(identities.clone(), held);
        self.last = Some((identities, Arc::clone(&axis)));
        Ok(axis)
    }

    fn own<'s>(&self, segments: &[Segment]) -> Result<Tracks<'s>, BudgetExceeded> {
        let mut floats = Collected::default();
        let mut histograms = Collected::default();
        let known = self.with_starts && segments.iter().any(|s| s.start_times.is_some());
        let is_rollup = |segment: &&Segment| matches!(segment.values, SegmentValues::Rollup(_));
        for segment in segments.iter().filter(|segment| !is_rollup(segment)) {
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
        Ok(Tracks {
            floats: self.track(floats)?,
            histograms: self.track(histograms)?,
            rollups: segments.iter().filter(is_rollup).cloned().collect(),
        })
    }

    fn track<'s, T>(&self, collected: Collected<T>) -> Result<Track<'s, T>, BudgetExceeded> {
        if collected.times.is_empty() {
            return Ok(Track::empty(Arc::clone(&self.nothing)));
        }
        let times = collected.times;
        let axis = Axis::new(times, (self.look, self.reach), &self.account)?;
        Ok(Track {
            axis: Arc::new(axis),
            values: Values::Own(collected.values),
            starts: collected.starts,
        })
    }
}

fn starts_of(segments: &[Segment], keep: impl Fn(&Segment, usize) -> bool) -> Vec<TimestampMs> {
    segments
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
}

/// Sets what is known of counter resets by comparing each histogram with the one before, for `histogram_count` and its like.
///
/// Those before `from` are passed over: whether a store gives them along is by chance.
pub(crate) fn detect_resets(track: &mut Track<'_, Arc<Histogram>>, from: TimestampMs) {
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
#[derive(Debug)]
pub(crate) struct ColumnTracks<'q> {
    grid: crate::Grid,
    windows: (LookTimes, Reach),
    account: Account<'q>,
    nothing: Arc<Axis>,
    /// Of columns that have a value everywhere, once there was one.
    whole: Option<Arc<Axis>>,
    /// Of the last one that has not: most have their values where their neighbours have theirs.
    last: Option<Arc<Axis>>,
}

impl<'q> ColumnTracks<'q> {
    pub(crate) fn new(
        grid: crate::Grid,
        windows: (LookTimes, Reach),
        account: &Account<'q>,
    ) -> Self {
        Self {
            grid,
            windows,
            nothing: Axis::nothing(account),
            account: account.clone(),
            whole: None,
            last: None,
        }
    }

    /// Returns the tracks of a column.
    pub(crate) fn of(&mut self, column: crate::Column) -> Result<Tracks<'static>, BudgetExceeded> {
        let is_full =
            column.histograms.is_empty() && !column.floats.iter().any(|value| is_stale(*value));
        if is_full {
            return Ok(Tracks {
                floats: Track {
                    axis: self.whole()?,
                    values: Values::Own(column.floats),
                    starts: Vec::new(),
                },
                histograms: Track::empty(Arc::clone(&self.nothing)),
                rollups: Vec::new(),
            });
        }
        let mut floats = Collected::default();
        let mut histograms = Collected::default();
        for index in 0..column.len() {
            let at = self.grid.at(index);
            match column.value(index) {
                Some(Value::Float(value)) => floats.push(at, value, None),
                Some(Value::Histogram(mut value)) => {
                    // The same sample may come several times, and its neighbour may be missing: what it says of resets holds no longer.
                    if matches!(value.reset, CounterReset::Reset | CounterReset::NotReset) {
                        Arc::make_mut(&mut value).reset = CounterReset::Unknown;
                    }
                    histograms.push(at, value, None);
                }
                None => {}
            }
        }
        Ok(Tracks {
            floats: self.track(floats)?,
            histograms: self.track(histograms)?,
            rollups: Vec::new(),
        })
    }

    fn whole(&mut self) -> Result<Arc<Axis>, BudgetExceeded> {
        if let Some(axis) = &self.whole {
            return Ok(Arc::clone(axis));
        }
        let times = (0..self.grid.len()).map(|index| self.grid.at(index));
        let axis = Arc::new(Axis::new(times.collect(), self.windows, &self.account)?);
        self.whole = Some(Arc::clone(&axis));
        Ok(axis)
    }

    fn track<T>(&mut self, collected: Collected<T>) -> Result<Track<'static, T>, BudgetExceeded> {
        if collected.times.is_empty() {
            return Ok(Track::empty(Arc::clone(&self.nothing)));
        }
        let same = self.last.take();
        let same = same.filter(|axis| axis.times == collected.times);
        let axis = match same {
            Some(axis) => axis,
            None => Arc::new(Axis::new(collected.times, self.windows, &self.account)?),
        };
        self.last = Some(Arc::clone(&axis));
        Ok(Track {
            axis,
            values: Values::Own(collected.values),
            starts: collected.starts,
        })
    }
}
