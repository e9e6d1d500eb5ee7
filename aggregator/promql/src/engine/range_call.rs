//! Functions over ranges: each series' windows, one instant after the other.

use std::sync::Arc;

use model::{Histogram, TimestampMs, Value};
use storage::{BudgetExceeded, RollupColumns, Samples, WantedLabels};

use super::account::{Account, Growing, Held};
use super::evaluator::{Evaluator, Scope, metric_name};
use super::parallel::SeriesWork;
use super::range_function::{self, Arguments, Context, RangeFunction};
use super::rollup::{self, Changing, ElementAxes, Elements};
use super::select::{Asked, Purpose, range_read};
use super::sorted::sorted;
use super::track::{ColumnTracks, Stale, TrackMaker, Tracks, detect_resets};
use super::value::{Emit, Evaluated, Series, without_metadata};
use super::window::{LookTimes, Reach};
use crate::ast::{Call, Expr, ExprKind, Extended, MatrixSelector, Subquery, VectorSelector};
use crate::functions::rate::{self, Changes, Points, Stretch};
use crate::{Column, Grid, Note, QueryError};

/// What a sample takes while it is held: its time, its value, and as much again where these were read from.
const TRACKED_BYTES: u64 = 32;

/// What a function is applied to, and where.
#[derive(Debug)]
pub(crate) struct RangeSource {
    pub(crate) series: Vec<RangeSeries<'static>>,
    pub(crate) ranges: Ranges,
}

/// The ranges that a function is applied to.
#[derive(Debug)]
pub(crate) struct Ranges {
    pub(crate) look: LookTimes,
    /// How far samples matter.
    reach: Reach,
    pub(crate) range_ms: i64,
    pub(crate) extended: Option<Extended>,
    /// The function, as a hint for the store.
    function: Option<String>,
    /// The columns that summaries have.
    pub(crate) rollups: Option<RollupColumns>,
}

/// A function, its other arguments, and where it is applied.
#[derive(Debug)]
struct Applied<'a> {
    function: RangeFunction,
    scalars: &'a [Vec<f64>],
    grid: Grid,
    /// Of its first argument.
    position: crate::TextRange,
    notes_non_counters: bool,
    keeps_name: bool,
}

/// What is used for one series after the other.
#[derive(Debug)]
struct Workspace<'q> {
    column: Column,
    /// Of the column: its places, once there is one, and the histograms in it.
    places: Option<Held>,
    histograms: Growing,
    axes: ElementAxes<'q>,
    elements: Elements,
}

impl<'q> Workspace<'q> {
    fn new(ranges: &Ranges, account: &Account<'q>) -> Self {
        Self {
            column: Column::default(),
            places: None,
            histograms: Growing::default(),
            axes: ElementAxes::new(ranges.look, ranges.range_ms, account),
            elements: Elements::default(),
        }
    }
}

/// A series and its samples.
#[derive(Debug)]
pub(crate) struct RangeSeries<'a> {
    pub(crate) labels: model::Labels,
    pub(crate) drop_name: bool,
    pub(crate) tracks: Tracks<'a>,
}

impl<'q> Evaluator<'q> {
    /// Evaluates a call whose range argument is `args[range_arg]`.
    pub(crate) fn range_call(
        &mut self,
        call: &Call,
        range_arg: usize,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let mut out = Vec::new();
        let wanted = WantedLabels::All;
        self.each_of_range_call(call, range_arg, scope, wanted, &mut |evaluator, found| {
            out.push(evaluator.kept(found)?);
            Ok(())
        })?;
        if keeps_name(call.function.name) {
            return Ok(out);
        }
        self.drop_names(out)
    }

    /// The same, series by series, with the labels that they are read by: of those of a selector only the ones that are wanted.
    pub(crate) fn each_of_range_call(
        &mut self,
        call: &Call,
        range_arg: usize,
        scope: Scope,
        wanted: WantedLabels<'_>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let name = call.function.name;
        let arg = &call.args[range_arg];
        let mut scalars = Vec::new();
        for (index, arg) in call.args.iter().enumerate() {
            if index != range_arg {
                scalars.push(self.eval(arg, scope)?.into_scalar());
            }
        }
        if name == "absent_over_time" {
            let source = self.range_source(arg, Some(name), scope)?;
            let column = absent_over_time(&source, scope.grid.len(), &self.account)?;
            let Some(mut column) = column else {
                return Ok(());
            };
            let found = Evaluated {
                labels: &super::call::labels_of_absence(arg),
                renamed: false,
                drop_name: false,
                column: &mut column,
            };
            return emit(self, found);
        }
        let function = RangeFunction::find(name).ok_or_else(|| {
            QueryError::Execution(format!(
                "function {name:?} is not supported over ranges yet"
            ))
        })?;
        let applied = Applied {
            function,
            scalars: &scalars,
            grid: scope.grid,
            position: call.args.first().map_or(arg.range, |arg| arg.range),
            notes_non_counters: matches!(name, "rate" | "increase"),
            keeps_name: keeps_name(name),
        };
        match &arg.unwrap_parens().kind {
            // Samples are looked at and let go series by series.
            ExprKind::Matrix(matrix) => {
                let ranges = self.matrix_ranges(matrix, Some(name), scope)?;
                let node = self.begin_node(arg);
                let (series_read, read) = (self.stats.series_read, self.stats.samples_read);
                let (with_starts, account) = (self.config.start_timestamps, self.account.clone());
                let make = || -> Box<dyn SeriesWork<'q> + '_> {
                    Box::new(RangeWork {
                        maker: ranges.track_maker(with_starts, &account),
                        applied: &applied,
                        ranges: &ranges,
                        workspace: Workspace::new(&ranges, &account),
                        scope,
                    })
                };
                let asked = ranges.asked(&matrix.selector);
                self.each_worked(asked, wanted, true, &make, emit)?;
                let series = self.stats.series_read - series_read;
                let samples = self.stats.samples_read - read;
                self.end_node(node, || (series, samples, 0));
                Ok(())
            }
            _ => {
                let RangeSource { series, ranges } = self.range_source(arg, Some(name), scope)?;
                let mut workspace = Workspace::new(&ranges, &self.account);
                series.iter().try_for_each(|series| {
                    self.apply_to(&applied, series, &ranges, &mut workspace, emit)
                })
            }
        }
    }

    /// Emits what a function makes of a series, unless that is nothing.
    fn apply_to(
        &mut self,
        applied: &Applied<'_>,
        series: &RangeSeries<'_>,
        ranges: &Ranges,
        workspace: &mut Workspace<'q>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        if workspace.places.is_none() {
            let places = 2 * ranges.look.len() * Column::PLACE_BYTES;
            workspace.places = Some(self.account.hold(places)?);
        }
        workspace.column.reset(ranges.look.len());
        workspace.histograms.clear();
        if !self.put_rates(applied, &series.tracks, ranges, &mut workspace.column)?
            && !self.put_buckets(applied, &series.tracks, ranges, workspace)?
        {
            self.put_range(applied, series, ranges, workspace)?;
        }
        let column = &mut workspace.column;
        if !column.has_any() {
            return Ok(());
        }
        if applied.notes_non_counters {
            self.note_non_counter(series, column, applied.position);
        }
        let found = Evaluated {
            labels: &series.labels,
            renamed: !applied.keeps_name,
            drop_name: series.drop_name,
            column,
        };
        emit(self, found)
    }

    /// Puts the rates of a series that has floats alone and no start times into an empty column: nearly all, and quicker than window by
    /// window. `false`: it is another function or series.
    fn put_rates(
        &mut self,
        applied: &Applied<'_>,
        tracks: &Tracks<'_>,
        ranges: &Ranges,
        column: &mut Column,
    ) -> Result<bool, QueryError> {
        let RangeFunction::Rate(kind) = applied.function else {
            return Ok(false);
        };
        let floats = &tracks.floats;
        let plain = tracks.histograms.values.is_empty()
            && tracks.rollups.is_empty()
            && floats.starts.is_empty()
            && ranges.extended.is_none();
        if !plain {
            return Ok(false);
        }
        let bounds = &floats.axis.bounds;
        let (queryable, largest) = bounds.sizes();
        self.stats.samples_queryable += queryable;
        if self.stats.is_per_step() {
            for index in 0..bounds.len() {
                let (low, high) = bounds.at(index);
                let samples = (high - low) as u64;
                self.stats.looked(self.query, applied.grid, index, samples);
            }
        }
        self.check_points(largest)?;
        self.worked(floats.values.len() + bounds.len())?;
        let points = Points {
            times: &floats.axis.times,
            values: &floats.values,
            starts: &[],
        };
        let resets = if kind.counter {
            rate::resets(points, bounds.extent())
        } else {
            Vec::new()
        };
        let windows =
            (floats.axis).rate_windows(ranges.look, ranges.range_ms, kind, &self.account)?;
        let changes = Changes {
            stretches: &[Stretch {
                start: 0,
                firsts: &floats.values,
                lasts: &floats.values,
            }],
            falls: &resets,
            places: 1,
        };
        windows.rates(changes, &mut column.floats);
        Ok(true)
    }

    /// Puts what a function makes of a series that has buckets and no samples beside them into an empty column. `false`: it has samples.
    fn put_buckets(
        &mut self,
        applied: &Applied<'_>,
        tracks: &Tracks<'_>,
        ranges: &Ranges,
        Workspace {
            column,
            axes,
            elements,
            ..
        }: &mut Workspace<'_>,
    ) -> Result<bool, QueryError> {
        let alone = tracks.floats.values.is_empty() && tracks.histograms.values.is_empty();
        let Some(wanted) = ranges.rollups.filter(|_| alone) else {
            return Ok(false);
        };
        let Some(axis) = axes.of(tracks)? else {
            return Ok(false);
        };
        let (queryable, largest) = axis.sizes();
        self.stats.samples_queryable += queryable;
        if self.stats.is_per_step() {
            for index in 0..column.len() {
                let buckets = axis.size(index);
                self.stats.looked(self.query, applied.grid, index, buckets);
            }
        }
        self.check_points(largest)?;
        self.worked(axis.len() + column.len())?;
        let out = &mut column.floats;
        if let RangeFunction::Rate(kind) = applied.function {
            let Some(changing) = Changing::of(&axis, tracks, kind) else {
                return Ok(false);
            };
            changing.put_rates(
                (&axis, &self.account),
                kind,
                (ranges.look, ranges.range_ms),
                out,
            )?;
        } else {
            elements.read(&axis, tracks, applied.function, wanted);
            elements.put(&axis, applied.function, out);
        }
        Ok(true)
    }

    /// Puts what a function makes of each window into an empty column.
    fn put_range(
        &mut self,
        applied: &Applied<'_>,
        series: &RangeSeries<'_>,
        source: &Ranges,
        Workspace {
            column,
            axes,
            elements,
            histograms: made,
            ..
        }: &mut Workspace<'_>,
    ) -> Result<(), QueryError> {
        let Applied {
            function,
            scalars,
            grid,
            position,
            ..
        } = *applied;
        let Tracks {
            floats, histograms, ..
        } = &series.tracks;
        // Of buckets, where the function can do with them.
        let wanted = source.rollups;
        let axis = match wanted {
            Some(_) => axes.of(&series.tracks)?,
            None => None,
        };
        if let (Some(axis), Some(wanted)) = (&axis, wanted) {
            elements.read(axis, &series.tracks, function, wanted);
        }
        let all_floats = Points {
            times: &floats.axis.times,
            values: &floats.values,
            starts: &floats.starts,
        };
        let resets = if function.uses_resets() && source.extended.is_none() {
            rate::resets(all_floats, floats.axis.bounds.extent())
        } else {
            Vec::new()
        };
        let (queryable, largest) = floats.axis.bounds.sizes();
        let (more, most) = histograms.axis.bounds.sizes();
        let (of_buckets, in_buckets) = axis.as_ref().map_or((0, 0), |axis| axis.sizes());
        self.stats.samples_queryable += queryable.max(of_buckets) + more;
        if self.stats.is_per_step() {
            for index in 0..source.look.len() {
                let size = |(low, high): (usize, usize)| (high - low) as u64;
                let of_floats = match axis.as_ref() {
                    Some(axis) if of_buckets > queryable => axis.size(index),
                    _ => size(floats.axis.bounds.at(index)),
                };
                let samples = of_floats + size(histograms.axis.bounds.at(index));
                self.stats.looked(self.query, grid, index, samples);
            }
        }
        self.check_points(largest.max(in_buckets) + most)?;
        for index in 0..source.look.len() {
            let float_window = floats.axis.bounds.at(index);
            let histogram_window = histograms.axis.bounds.at(index);
            let summarised = axis
                .as_ref()
                .and_then(|axis| Some((axis, axis.window(index)?)));
            let in_buckets = summarised.map_or(0, |(_, (low, high))| high - low);
            let size = float_window.1 - float_window.0 + histogram_window.1 - histogram_window.0
                + in_buckets;
            if size == 0 {
                continue;
            }
            self.worked(size)?;
            let end = source.look.at(index);
            let context = Context {
                all_floats,
                float_window,
                resets: &resets,
                floats: window_of(all_floats, float_window),
                histograms: window_of(
                    Points {
                        times: &histograms.axis.times,
                        values: &histograms.values,
                        starts: &histograms.starts,
                    },
                    histogram_window,
                ),
                start: end.saturating_sub(source.range_ms),
                end,
                now: grid.at(index).0,
                range_ms: source.range_ms,
                extended: source.extended,
            };
            let arguments = Arguments {
                first: scalars.first().map_or(f64::NAN, |values| values[index]),
                second: scalars.get(1).map_or(f64::NAN, |values| values[index]),
            };
            let mut notes = Notes {
                evaluator: self,
                series,
                position,
            };
            let result = match summarised {
                Some((axis, window)) => {
                    elements.apply(axis, function, window, &context, &mut notes)
                }
                None => range_function::apply(function, &context, arguments, &mut notes)?,
            };
            if let Some(Value::Histogram(histogram)) = &result {
                made.grow(&self.account, histogram.bytes())?;
            }
            if let Some(value) = result {
                column.set(index, value);
            }
        }
        Ok(())
    }

    /// Says that a rate may be of something else than a counter, going by its name or type.
    fn note_non_counter(
        &mut self,
        series: &RangeSeries<'_>,
        column: &Column,
        position: crate::TextRange,
    ) {
        let by_type = self.config.type_and_unit_labels;
        let name = series.labels.metric_name().unwrap_or_default();
        let is_counter = if by_type {
            let kind = series.labels.value_or_empty("__type__");
            matches!(kind, "counter" | "histogram")
        } else {
            ["_total", "_sum", "_count", "_bucket"]
                .iter()
                .any(|suffix| name.ends_with(suffix))
        };
        if is_counter || name.is_empty() {
            return;
        }
        if column.floats.iter().any(|value| !model::is_stale(*value)) {
            let name = name.to_owned();
            let note = if by_type {
                let kind = series.labels.value_or_empty("__type__");
                Note::PossibleNonCounterLabel(name, kind.to_owned())
            } else {
                Note::PossibleNonCounter(name)
            };
            self.note(note, position);
        }
    }

    /// Fetches or evaluates a range argument.
    pub(crate) fn range_source(
        &mut self,
        arg: &Expr,
        function: Option<&str>,
        scope: Scope,
    ) -> Result<RangeSource, QueryError> {
        let node = self.begin_node(arg);
        let source = match &arg.unwrap_parens().kind {
            ExprKind::Matrix(matrix) => self.matrix_source(matrix, function, scope)?,
            ExprKind::Subquery(subquery) => self.subquery_source(subquery, scope)?,
            _ => {
                let why = "expected a range vector";
                return Err(QueryError::Execution(why.to_owned()));
            }
        };
        self.end_node(node, || source.size());
        Ok(source)
    }

    fn matrix_source(
        &mut self,
        matrix: &MatrixSelector,
        function: Option<&str>,
        scope: Scope,
    ) -> Result<RangeSource, QueryError> {
        let ranges = self.matrix_ranges(matrix, function, scope)?;
        let mut series = Vec::new();
        let wanted = WantedLabels::All;
        self.each_track(matrix, &ranges, scope, wanted, |evaluator, one| {
            let samples = one.tracks.floats.values.len() + one.tracks.histograms.values.len();
            evaluator.hold(0, samples as u64 * TRACKED_BYTES)?;
            series.push(RangeSeries {
                labels: one.labels,
                drop_name: one.drop_name,
                tracks: one.tracks.into_kept(),
            });
            Ok(())
        })?;
        Ok(RangeSource { series, ranges })
    }

    fn matrix_ranges(
        &self,
        matrix: &MatrixSelector,
        function: Option<&str>,
        scope: Scope,
    ) -> Result<Ranges, QueryError> {
        let selector = &matrix.selector;
        let range_ms = self.range_ms(&matrix.range)?;
        let lookback_ms = self.reading.lookback_ms;
        let (back_ms, ahead_ms) = match selector.extended {
            None => (range_ms, 0),
            Some(Extended::Anchored) => (range_ms.saturating_add(lookback_ms), 0),
            Some(Extended::Smoothed) => (range_ms.saturating_add(lookback_ms), lookback_ms),
        };
        Ok(Ranges {
            look: self.look_times(&selector.time, scope.grid)?,
            reach: Reach { back_ms, ahead_ms },
            range_ms,
            extended: selector.extended,
            function: function.map(str::to_owned),
            rollups: function
                .filter(|_| selector.extended.is_none() && !self.config.start_timestamps)
                .and_then(rollup::columns_of),
        })
    }

    /// Calls `visit` with the samples of each series of a range selector.
    fn each_track(
        &mut self,
        matrix: &MatrixSelector,
        ranges: &Ranges,
        scope: Scope,
        wanted: WantedLabels<'_>,
        mut visit: impl FnMut(&mut Self, RangeSeries<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut maker = ranges.track_maker(self.config.start_timestamps, &self.account);
        let asked = ranges.asked(&matrix.selector);
        self.each_series(asked, wanted, |evaluator, labels, samples| {
            let series = ranges.series(&mut maker, scope, labels, samples)?;
            visit(evaluator, series)
        })
    }

    fn subquery_source(
        &mut self,
        subquery: &Subquery,
        scope: Scope,
    ) -> Result<RangeSource, QueryError> {
        let look = self.look_times(&subquery.time, scope.grid)?;
        let range_ms = self.range_ms(&subquery.range)?;
        let step_ms = match &subquery.step {
            Some(step) => self.range_ms(step)?,
            None => i64::try_from(self.config.subquery_step.as_millis())
                .unwrap_or(i64::MAX)
                .max(1),
        };
        let after = look.first().saturating_sub(range_ms);
        // The first multiple of the step after the left end, which does not belong to the range.
        let start = after
            .div_euclid(step_ms)
            .saturating_add(1)
            .saturating_mul(step_ms);
        let inner = Grid {
            start: TimestampMs(start),
            end: TimestampMs(look.last()),
            step_ms,
        };
        let reach = Reach {
            back_ms: range_ms,
            ahead_ms: 0,
        };
        let mut source = RangeSource {
            series: Vec::new(),
            ranges: Ranges {
                look,
                reach,
                range_ms,
                extended: None,
                function: None,
                rollups: None,
            },
        };
        if inner.is_empty() {
            return Ok(source);
        }
        self.check_room(inner.len())?;
        let inner_scope = Scope {
            grid: inner,
            ..scope.of_buckets()
        };
        let series = self.eval(&subquery.expr, inner_scope)?.into_vector();
        let mut tracks = ColumnTracks::new(inner, (look, reach), &self.account);
        let of_series = series.into_iter().map(|series| {
            Ok(RangeSeries {
                tracks: tracks.of(series.column)?,
                labels: series.labels,
                drop_name: series.drop_name,
            })
        });
        source.series = of_series.collect::<Result<_, BudgetExceeded>>()?;
        Ok(source)
    }
}

impl Ranges {
    fn track_maker<'q>(&self, with_starts: bool, account: &Account<'q>) -> TrackMaker<'q> {
        TrackMaker::new((self.look, self.reach), Stale::Drop, with_starts, account)
    }

    /// Returns what is asked of a store for a selector.
    fn asked<'a>(&'a self, selector: &'a VectorSelector) -> Asked<'a> {
        Asked {
            selector,
            look: self.look,
            reach: self.reach,
            purpose: Purpose {
                function: self.function.as_deref(),
                rollups: self.rollups,
                aligned_to_ms: self.look.common_divisor(self.range_ms),
                newest: false,
            },
        }
    }

    /// Returns a series that was asked for.
    fn series<'s>(
        &self,
        maker: &mut TrackMaker<'_>,
        scope: Scope,
        labels: &model::Labels,
        samples: Samples<'s>,
    ) -> Result<RangeSeries<'s>, BudgetExceeded> {
        let mut tracks = maker.tracks(samples)?;
        if scope.detects_resets() {
            let from = range_read(self.look, self.reach).start;
            detect_resets(&mut tracks.histograms, from);
        }
        Ok(RangeSeries {
            labels: labels.clone(),
            drop_name: false,
            tracks,
        })
    }
}

/// What a function makes of series.
struct RangeWork<'a, 'q> {
    maker: TrackMaker<'q>,
    applied: &'a Applied<'a>,
    ranges: &'a Ranges,
    workspace: Workspace<'q>,
    scope: Scope,
}

impl<'q> SeriesWork<'q> for RangeWork<'_, 'q> {
    fn visit(
        &mut self,
        evaluator: &mut Evaluator<'q>,
        labels: &model::Labels,
        samples: Samples<'_>,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let (ranges, workspace) = (self.ranges, &mut self.workspace);
        let series = ranges.series(&mut self.maker, self.scope, labels, samples)?;
        evaluator.apply_to(self.applied, &series, ranges, workspace, emit)
    }
}

impl RangeSource {
    /// Returns series, samples, and the bytes that these take.
    fn size(&self) -> (u64, u64, u64) {
        let of_series = |series: &RangeSeries<'_>| {
            series.tracks.floats.values.len() + series.tracks.histograms.values.len()
        };
        let samples: usize = self.series.iter().map(of_series).sum();
        let samples = samples as u64;
        (self.series.len() as u64, samples, samples * TRACKED_BYTES)
    }
}

fn window_of<'a, T>(points: Points<'a, T>, (low, high): (usize, usize)) -> Points<'a, T> {
    Points {
        times: &points.times[low..high],
        values: &points.values[low..high],
        starts: points.starts.get(low..high).unwrap_or_default(),
    }
}

/// Where a function puts its notes: they name the series and point at the argument.
pub(crate) struct Notes<'a, 'b> {
    evaluator: &'a mut Evaluator<'b>,
    series: &'a RangeSeries<'a>,
    position: crate::TextRange,
}

impl Notes<'_, '_> {
    pub(crate) fn add(&mut self, note: impl FnOnce(String) -> Note) {
        let name = metric_name(&self.series.labels);
        self.evaluator.note(note(name), self.position);
    }
}

/// Returns where nothing is in any window; `None`: there is something everywhere.
fn absent_over_time(
    source: &RangeSource,
    len: usize,
    account: &Account<'_>,
) -> Result<Option<Column>, BudgetExceeded> {
    let mut column = Column {
        floats: vec![1.0; len],
        histograms: Vec::new(),
    };
    let ranges = &source.ranges;
    let mut axes = ElementAxes::new(ranges.look, ranges.range_ms, account);
    for series in &source.series {
        let buckets = axes.of(&series.tracks)?;
        for (index, value) in column.floats.iter_mut().enumerate() {
            let in_bucket = buckets
                .as_ref()
                .is_some_and(|buckets| buckets.window(index).is_some());
            let (low, high) = series.tracks.floats.axis.bounds.at(index);
            let (low_histogram, high_histogram) = series.tracks.histograms.axis.bounds.at(index);
            if in_bucket || high > low || high_histogram > low_histogram {
                *value = crate::result::ABSENT;
            }
        }
    }
    Ok(column.has_any().then_some(column))
}

/// Whether series keep their metric's name under a function over ranges.
fn keeps_name(function: &str) -> bool {
    matches!(
        function,
        "last_over_time" | "first_over_time" | "absent_over_time"
    )
}

/// Returns the samples of a range selector at one instant: the result of a query that is nothing else.
pub(crate) fn samples_of(
    source: RangeSource,
    drop_names: bool,
    evaluator: &mut Evaluator<'_>,
) -> Result<Vec<crate::SampleSeries>, QueryError> {
    let mut out = Vec::new();
    for series in source.series {
        let floats = window_samples(&series.tracks.floats, |value| Value::Float(*value));
        let histograms = window_samples(&series.tracks.histograms, |value: &Arc<Histogram>| {
            Value::Histogram(Arc::clone(value))
        });
        let bytes = (floats.len() + histograms.len()) * size_of::<model::Sample>();
        evaluator.hold(0, bytes as u64)?;
        let mut samples = [floats, histograms].concat();
        samples.sort_by_key(|sample| sample.at);
        if samples.is_empty() {
            continue;
        }
        let labels = if drop_names && series.drop_name {
            without_metadata(&series.labels)
        } else {
            series.labels
        };
        out.push(crate::SampleSeries { labels, samples });
    }
    let out = sorted(out, evaluator.budget, |a: &crate::SampleSeries, b| {
        a.labels.cmp(&b.labels)
    })?;
    if out.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return Err(super::value::same_labelset());
    }
    Ok(out)
}

fn window_samples<T>(
    track: &super::track::Track<'_, T>,
    value: impl Fn(&T) -> Value,
) -> Vec<model::Sample> {
    if track.axis.bounds.len() == 0 {
        return Vec::new();
    }
    let (low, high) = track.axis.bounds.at(0);
    track.axis.times[low..high]
        .iter()
        .zip(&track.values[low..high])
        .map(|(at, held)| model::Sample {
            at: *at,
            value: value(held),
        })
        .collect()
}
