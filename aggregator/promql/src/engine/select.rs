//! Instant selectors: the last sample of each series, within the lookback.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use model::{Histogram, Labels, TimeRange, TimestampMs};
use storage::{
    RollupColumn, RollupColumns, RollupUse, Samples, SegmentValues, Select, SelectHints, Selection,
    SelectionReader, WantedLabels,
};

use super::account::Held;
use super::evaluator::{Evaluator, Scope};
use super::parallel::{MakeWork, SeriesWork};
use super::rollup;
use super::track::{Stale, Track, TrackMaker, Tracks, detect_resets};
use super::value::{Emit, Evaluated, Series};
use super::window::{LookTimes, Reach};
use crate::ast::{Extended, VectorSelector};
use crate::functions::rate::interpolate;
use crate::result::ABSENT;
use crate::{Column, QueryError};

/// What is taken of the sample that an instant sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Value,
    /// Its timestamp, in seconds.
    Timestamp,
    /// The start time of its counter, in seconds; nothing where none is known to the store.
    StartTimestamp,
}

/// What samples are fetched for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purpose<'a> {
    /// The function over ranges.
    pub(crate) function: Option<&'a str>,
    /// The columns of summaries that would do; `None`: samples alone.
    pub(crate) rollups: Option<RollupColumns>,
    /// See [`RollupUse`].
    pub(crate) aligned_to_ms: u64,
    /// See [`SelectHints`].
    pub(crate) newest: bool,
}

/// What samples are fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) selector: &'a VectorSelector,
    pub(crate) look: LookTimes,
    pub(crate) reach: Reach,
    pub(crate) purpose: Purpose<'a>,
}

/// Instants from which on what a selector comes to is worth the work of several threads.
const PARALLEL_INSTANTS: usize = 16;

impl<'q> Evaluator<'q> {
    pub(crate) fn instant_selector(
        &mut self,
        selector: &VectorSelector,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        self.instant_samples(selector, scope, Take::Value)
    }

    /// Returns what is taken of the samples that instants see.
    pub(crate) fn instant_samples(
        &mut self,
        selector: &VectorSelector,
        scope: Scope,
        take: Take,
    ) -> Result<Vec<Series>, QueryError> {
        if selector.extended == Some(Extended::Smoothed) {
            return self.smoothed_selector(selector, scope);
        }
        let mut out = Vec::new();
        let wanted = WantedLabels::All;
        self.each_instant_sample(selector, scope, take, wanted, &mut |evaluator, found| {
            out.push(evaluator.kept(found)?);
            Ok(())
        })?;
        Ok(out)
    }

    /// The same, series by series; not for smoothed selectors.
    pub(crate) fn each_instant_sample(
        &mut self,
        selector: &VectorSelector,
        scope: Scope,
        take: Take,
        wanted: WantedLabels<'_>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let look = self.look_times(&selector.time, scope.grid)?;
        let reach = Reach {
            back_ms: self.reading.lookback_ms,
            ahead_ms: 0,
        };
        let starts = take == Take::StartTimestamp;
        let purpose = Purpose {
            function: None,
            rollups: match take {
                Take::Value => Some(RollupColumns::of(&[RollupColumn::Last])),
                Take::Timestamp => Some(RollupColumns::NONE),
                Take::StartTimestamp => None,
            },
            aligned_to_ms: look.common_divisor(0),
            // What is known of a histogram's reset comes of the one before it.
            newest: look.len() == 1 && !scope.detects_resets(),
        };
        let asked = Asked {
            selector,
            look,
            reach,
            purpose,
        };
        let account = self.account.clone();
        let make = || -> Box<dyn SeriesWork<'q> + '_> {
            Box::new(InstantWork {
                maker: TrackMaker::new((look, reach), Stale::Keep, starts, &account),
                column: Column::default(),
                places: None,
                look,
                reach,
                take,
                scope,
            })
        };
        // Of a few instants less is made than handing it over costs.
        let heavy = look.len() >= PARALLEL_INSTANTS;
        self.each_worked(asked, wanted, heavy, &make, emit)
    }

    /// Works on each series that a selector selects, on several threads if there are many and the work is `heavy`, and emits what it comes to
    /// in the order of [`storage::Querier::select_each`].
    pub(crate) fn each_worked(
        &mut self,
        asked: Asked<'_>,
        wanted: WantedLabels<'_>,
        heavy: bool,
        make: &MakeWork<'_, 'q>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        self.with_selection(asked, wanted, |evaluator, selection, with_rollups| {
            evaluator.work_on((selection, with_rollups), heavy, make, emit)
        })
    }

    /// Calls `visit` with each series that a selector selects: see [`storage::Querier::select_each`].
    pub(crate) fn each_series(
        &mut self,
        asked: Asked<'_>,
        wanted: WantedLabels<'_>,
        mut visit: impl FnMut(&mut Self, &Labels, Samples<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.with_selection(asked, wanted, |evaluator, selection, with_rollups| {
            let mut reader = selection.reader();
            let all = 0..selection.len();
            evaluator.read_stretch(&mut *reader, with_rollups, all, &mut visit)
        })
    }

    /// Calls `visit` with some series of a selection, until it fails. `with_rollups`: summaries may be among what they have.
    pub(super) fn read_stretch(
        &mut self,
        reader: &mut dyn SelectionReader,
        with_rollups: bool,
        series: Range<usize>,
        mut visit: impl FnMut(&mut Self, &Labels, Samples<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut visited = Ok(());
        reader.read(series, &mut |labels, samples| {
            visited = self
                .count_read(samples, with_rollups)
                .and_then(|()| visit(self, labels, samples));
            match visited {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        visited
    }

    /// Calls `read` with the series that a selector selects, and whether summaries may be among them.
    fn with_selection(
        &mut self,
        asked: Asked<'_>,
        wanted: WantedLabels<'_>,
        read: impl FnOnce(&mut Self, &dyn Selection, bool) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let Asked {
            selector,
            look,
            reach,
            purpose,
        } = asked;
        let matchers = selector.to_matchers(self.budget)?;
        let rollups = purpose.rollups.filter(|_| !self.reading.raw_only);
        let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let select = Select {
            matchers: &matchers,
            range: range_read(look, reach),
            hints: SelectHints {
                step: (!self.is_instant).then(|| millis(self.query.step_ms)),
                window: purpose.function.map(|_| millis(reach.back_ms)),
                function: purpose.function.map(str::to_owned),
                newest: purpose.newest,
                rollups: rollups.map(|columns| RollupUse {
                    columns,
                    aligned_to_ms: purpose.aligned_to_ms,
                }),
            },
        };
        self.budget.check()?;
        let (querier, budget) = (Arc::clone(&self.querier), self.budget);
        let selection = querier.selection(&select, wanted, budget)?;
        let done = read(self, &*selection, rollups.is_some());
        drop(selection);
        self.budget
            .release(matchers.iter().map(model::Matcher::memory_bytes).sum());
        done
    }

    fn count_read(&mut self, samples: Samples<'_>, with_rollups: bool) -> Result<(), QueryError> {
        if let Samples::Segments(segments) = samples
            && !with_rollups
            && segments
                .iter()
                .any(|segment| matches!(segment.values, SegmentValues::Rollup(_)))
        {
            return Err(QueryError::Execution(
                "the store gave summaries where samples are needed; query the time that is kept raw"
                    .to_owned(),
            ));
        }
        self.stats.series_read += 1;
        self.stats.samples_read += samples.rows() as u64;
        Ok(())
    }

    fn smoothed_selector(
        &mut self,
        selector: &VectorSelector,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let look = self.look_times(&selector.time, scope.grid)?;
        let reach = Reach {
            back_ms: self.reading.lookback_ms,
            ahead_ms: self.reading.lookback_ms,
        };
        let mut maker = TrackMaker::new((look, reach), Stale::Drop, false, &self.account);
        let mut out = Vec::new();
        let asked = Asked {
            selector,
            look,
            reach,
            purpose: Purpose::default(),
        };
        self.each_series(asked, WantedLabels::All, |evaluator, labels, samples| {
            let tracks = maker.tracks(samples)?;
            if !tracks.histograms.values.is_empty() {
                return Err(QueryError::Execution(
                    "smoothed and anchored modifiers do not work with native histograms".to_owned(),
                ));
            }
            let floats = (0..look.len())
                .map(|index| smoothed_at(&tracks.floats, index, look.at(index)))
                .collect();
            let column = Column {
                floats,
                histograms: Vec::new(),
            };
            if column.has_any() {
                evaluator.hold(column.present() as u64, column.bytes())?;
                out.push(Series {
                    labels: labels.clone(),
                    drop_name: false,
                    column,
                });
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// What instants see of series.
struct InstantWork<'q> {
    maker: TrackMaker<'q>,
    column: Column,
    /// Of the column, once there is one. Its histograms are the store's.
    places: Option<Held>,
    look: LookTimes,
    reach: Reach,
    take: Take,
    scope: Scope,
}

impl<'q> SeriesWork<'q> for InstantWork<'q> {
    fn visit(
        &mut self,
        evaluator: &mut Evaluator<'q>,
        labels: &Labels,
        samples: Samples<'_>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let Self {
            maker,
            column,
            places,
            look,
            reach,
            take,
            scope,
        } = self;
        let (look, reach, take) = (*look, *reach, *take);
        if places.is_none() {
            let bytes = 2 * look.len() * Column::PLACE_BYTES;
            *places = Some(evaluator.account.hold(bytes)?);
        }
        column.reset(look.len());
        match samples {
            // Most queries are for one instant: nothing that is made once per cohort pays.
            Samples::Plain { times, values } if look.len() == 1 => {
                let seen = last_plain(times.as_slice(), values, (look.first(), reach), take);
                column.floats[0] = seen.unwrap_or(ABSENT);
            }
            samples => {
                let mut tracks = maker.tracks(samples)?;
                if scope.detects_resets() {
                    detect_resets(&mut tracks.histograms, range_read(look, reach).start);
                }
                last_of(&tracks, take, column);
                if !tracks.rollups.is_empty() {
                    let newest = |index| time_of_newest(&tracks, index);
                    let looks = (look, reach.back_ms);
                    rollup::see_buckets(column, &tracks.rollups, newest, looks, take);
                }
            }
        }
        if !column.has_any() {
            return Ok(());
        }
        let points = column.present() as u64;
        evaluator.stats.samples_queryable += points;
        if evaluator.stats.is_per_step() {
            for index in (0..column.len()).filter(|index| column.is_present(*index)) {
                let query = evaluator.query;
                evaluator.stats.looked(query, scope.grid, index, 1);
            }
        }
        let found = Evaluated {
            labels,
            renamed: false,
            drop_name: false,
            column,
        };
        emit(evaluator, found)
    }
}

fn smoothed_at(track: &Track<'_, f64>, index: usize, at: i64) -> f64 {
    let (low, high) = track.axis.bounds.at(index);
    let times = &track.axis.times[low..high];
    let values = &track.values[low..high];
    let next = times.partition_point(|time| time.0 < at);
    match (next.checked_sub(1), times.get(next)) {
        (_, Some(time)) if time.0 == at => values[next],
        (Some(before), Some(after)) => interpolate(
            (times[before].0, values[before]),
            (after.0, values[next]),
            at,
            false,
        ),
        (Some(before), None) => values[before],
        (None, _) => ABSENT,
    }
}

/// Returns what an instant sees of the newest of plain samples, none of which has a start time.
fn last_plain(
    times: &[TimestampMs],
    values: &[f64],
    (at, reach): (i64, Reach),
    take: Take,
) -> Option<f64> {
    let newest = times.partition_point(|time| time.0 <= at).checked_sub(1)?;
    let (time, value) = (times[newest], values[newest]);
    let seen = time.0 > at.saturating_sub(reach.back_ms) && !model::is_stale(value);
    seen.then(|| match take {
        Take::Value => value,
        Take::Timestamp => time.as_seconds(),
        Take::StartTimestamp => TimestampMs::default().as_seconds(),
    })
}

/// Puts into an empty column what each instant sees of the newest sample in its window.
fn last_of(tracks: &Tracks<'_>, take: Take, column: &mut Column) {
    let only_floats = tracks.histograms.values.is_empty();
    for index in 0..column.len() {
        let float = newest(&tracks.floats, index);
        let histogram = if only_floats {
            None
        } else {
            newest(&tracks.histograms, index)
        };
        match (float, histogram) {
            (Some(float), Some(histogram)) => {
                if tracks.floats.axis.times[float] > tracks.histograms.axis.times[histogram] {
                    set_float(column, index, &tracks.floats, float, take);
                } else {
                    set_histogram(column, index, &tracks.histograms, histogram, take);
                }
            }
            (Some(float), None) => set_float(column, index, &tracks.floats, float, take),
            (None, Some(histogram)) => {
                set_histogram(column, index, &tracks.histograms, histogram, take);
            }
            (None, None) => {}
        }
    }
}

/// Returns the time of the newest sample that an instant sees, be it a stale mark.
fn time_of_newest(tracks: &Tracks<'_>, index: usize) -> Option<TimestampMs> {
    let float = newest(&tracks.floats, index).map(|at| tracks.floats.axis.times[at]);
    let histogram = newest(&tracks.histograms, index).map(|at| tracks.histograms.axis.times[at]);
    float.max(histogram)
}

fn newest<T>(track: &Track<'_, T>, index: usize) -> Option<usize> {
    let (low, high) = track.axis.bounds.at(index);
    (high > low).then(|| high - 1)
}

fn set_float(column: &mut Column, index: usize, track: &Track<'_, f64>, at: usize, take: Take) {
    let value = track.values[at];
    column.floats[index] = if model::is_stale(value) {
        ABSENT
    } else {
        taken(track, at, take).unwrap_or(value)
    };
}

fn set_histogram(
    column: &mut Column,
    index: usize,
    track: &Track<'_, Arc<Histogram>>,
    at: usize,
    take: Take,
) {
    let value = &track.values[at];
    if value.is_stale() {
        return;
    }
    match taken(track, at, take) {
        Some(seconds) => column.floats[index] = seconds,
        None => column.set_histogram(index, Arc::clone(value)),
    }
}

/// Returns the time to take instead of the value.
fn taken<T>(track: &Track<'_, T>, at: usize, take: Take) -> Option<f64> {
    match take {
        Take::Value => None,
        Take::Timestamp => Some(track.axis.times[at].as_seconds()),
        Take::StartTimestamp => Some(
            track
                .starts
                .get(at)
                .copied()
                .unwrap_or_default()
                .as_seconds(),
        ),
    }
}

/// Returns where the samples lie that any window needs.
pub(super) fn range_read(look: LookTimes, reach: Reach) -> TimeRange {
    let start = look.first().saturating_sub(reach.back_ms).saturating_add(1);
    let end = look.last().saturating_add(reach.ahead_ms);
    TimeRange::new(TimestampMs(start), TimestampMs(end))
}
