//! What functions over ranges make of one window.

use std::sync::Arc;

use model::{Histogram, Value};

use super::either_range;
use super::histogram_range::{self, HistogramPoints};
use super::range_call::Notes;
use crate::ast::Extended;
use crate::functions::over_time;
use crate::functions::quantile::quantile;
use crate::functions::rate::{self, Points, RateKind, RateWindow};
use crate::functions::regression::linear_regression;
use crate::{Note, QueryError};

/// The functions over ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Rate(RateKind),
    /// `irate` (`true`) and `idelta`.
    Instant(bool),
    Changes,
    Resets,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Average,
    Sum,
    Count,
    Present,
    First,
    Last,
    /// `min_` (`false`) and `max_over_time`.
    Extreme(bool),
    TimeOfExtreme(bool),
    TimeOfFirst,
    TimeOfLast,
    Stddev,
    Stdvar,
    MedianDeviation,
    Quantile,
}

impl RangeFunction {
    pub(crate) fn find(name: &str) -> Option<Self> {
        let rate = |counter, per_second| {
            Self::Rate(RateKind {
                counter,
                per_second,
            })
        };
        Some(match name {
            "rate" => rate(true, true),
            "increase" => rate(true, false),
            "delta" => rate(false, false),
            "irate" => Self::Instant(true),
            "idelta" => Self::Instant(false),
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            "avg_over_time" => Self::Average,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "present_over_time" => Self::Present,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "min_over_time" => Self::Extreme(false),
            "max_over_time" => Self::Extreme(true),
            "ts_of_min_over_time" => Self::TimeOfExtreme(false),
            "ts_of_max_over_time" => Self::TimeOfExtreme(true),
            "ts_of_first_over_time" => Self::TimeOfFirst,
            "ts_of_last_over_time" => Self::TimeOfLast,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "mad_over_time" => Self::MedianDeviation,
            "quantile_over_time" => Self::Quantile,
            _ => return None,
        })
    }

    /// Whether it wants the resets of the whole series.
    pub(crate) const fn uses_resets(self) -> bool {
        matches!(self, Self::Rate(RateKind { counter: true, .. }))
    }
}

/// One window.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// All floats of the series, and the part in the window.
    pub(crate) all_floats: Points<'a, f64>,
    pub(crate) float_window: (usize, usize),
    pub(crate) resets: &'a [(usize, f64)],
    pub(crate) floats: Points<'a, f64>,
    pub(crate) histograms: HistogramPoints<'a>,
    /// The range, in milliseconds, without what an extended range adds.
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The instant of evaluation.
    pub(crate) now: i64,
    pub(crate) range_ms: i64,
    pub(crate) extended: Option<Extended>,
}

/// The scalar arguments at this instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    pub(crate) first: f64,
    pub(crate) second: f64,
}

impl Context<'_> {
    pub(crate) const fn rate_window(&self) -> RateWindow {
        RateWindow::ending(self.end, self.range_ms)
    }

    fn is_mixed(&self) -> bool {
        !self.floats.is_empty() && !self.histograms.is_empty()
    }
}

/// Returns the value of a function over a window that holds at least one sample.
pub(crate) fn apply(
    function: RangeFunction,
    context: &Context<'_>,
    arguments: Arguments,
    notes: &mut Notes<'_, '_>,
) -> Result<Option<Value>, QueryError> {
    let value = match function {
        RangeFunction::Rate(kind) => return Ok(rate(kind, context, notes)),
        RangeFunction::Instant(per_second) => {
            return Ok(either_range::instant(context, per_second, notes));
        }
        RangeFunction::Average | RangeFunction::Sum => {
            return Ok(sum_or_average(function, context, notes));
        }
        RangeFunction::First | RangeFunction::Last => {
            return Ok(first_or_last(function == RangeFunction::Last, context));
        }
        RangeFunction::Changes => either_range::changes(context),
        RangeFunction::Resets => either_range::resets(context),
        RangeFunction::Count => Some(as_float(context.floats.len() + context.histograms.len())),
        RangeFunction::Present => Some(1.0),
        RangeFunction::TimeOfFirst => Some(time_of_end(context, false)),
        RangeFunction::TimeOfLast => Some(time_of_end(context, true)),
        RangeFunction::Deriv
        | RangeFunction::PredictLinear
        | RangeFunction::DoubleExponentialSmoothing => trend(function, context, arguments, notes)?,
        RangeFunction::Extreme(_)
        | RangeFunction::TimeOfExtreme(_)
        | RangeFunction::Stddev
        | RangeFunction::Stdvar
        | RangeFunction::MedianDeviation
        | RangeFunction::Quantile => summary(function, context, arguments, notes),
    };
    Ok(value.map(Value::Float))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "windows hold far fewer than 2^53 samples"
)]
const fn as_float(count: usize) -> f64 {
    count as f64
}

fn rate(kind: RateKind, context: &Context<'_>, notes: &mut Notes<'_, '_>) -> Option<Value> {
    if context.is_mixed() {
        notes.add(Note::MixedFloatsHistograms);
        return None;
    }
    if !context.histograms.is_empty() {
        return histogram_range::rate(kind, context, notes);
    }
    if let Some(extended) = context.extended {
        let smoothed = extended == Extended::Smoothed;
        return rate::extended_rate(context.floats, context.rate_window(), kind, smoothed)
            .map(Value::Float);
    }
    if kind.counter && context.floats.start_times_overlap() {
        notes.add(Note::StartTimeOverlap);
    }
    rate::float_rate(
        context.all_floats,
        context.float_window,
        context.resets,
        context.rate_window(),
        kind,
    )
    .map(Value::Float)
}

fn sum_or_average(
    function: RangeFunction,
    context: &Context<'_>,
    notes: &mut Notes<'_, '_>,
) -> Option<Value> {
    if context.is_mixed() {
        notes.add(Note::MixedFloatsHistograms);
        return None;
    }
    let average = function == RangeFunction::Average;
    if context.floats.is_empty() {
        return histogram_range::sum_or_average(average, context, notes);
    }
    Some(Value::Float(if average {
        over_time::average(context.floats.values)
    } else {
        over_time::sum(context.floats.values)
    }))
}

fn first_or_last(last: bool, context: &Context<'_>) -> Option<Value> {
    let pick = |times: &[model::TimestampMs]| {
        if last {
            times.last().copied()
        } else {
            times.first().copied()
        }
    };
    let index = |len: usize| if last { len - 1 } else { 0 };
    let float = pick(context.floats.times);
    let histogram = pick(context.histograms.times);
    let take_float = match (float, histogram) {
        (Some(float), Some(histogram)) if last => float > histogram,
        (Some(float), Some(histogram)) => float < histogram,
        (float, _) => float.is_some(),
    };
    Some(if take_float {
        Value::Float(context.floats.values[index(context.floats.len())])
    } else {
        let at = index(context.histograms.len());
        let histogram: &Arc<Histogram> = &context.histograms.values[at];
        Value::Histogram(Arc::clone(histogram))
    })
}

fn time_of_end(context: &Context<'_>, last: bool) -> f64 {
    let (floats, histograms) = (context.floats.times, context.histograms.times);
    let time = if last {
        floats.last().max(histograms.last())
    } else {
        floats.first().into_iter().chain(histograms.first()).min()
    };
    time.map_or(f64::NAN, |time| time.as_seconds())
}

fn trend(
    function: RangeFunction,
    context: &Context<'_>,
    arguments: Arguments,
    notes: &mut Notes<'_, '_>,
) -> Result<Option<f64>, QueryError> {
    let floats = context.floats;
    if function == RangeFunction::DoubleExponentialSmoothing {
        check_factor("smoothing", "sf", arguments.first)?;
        check_factor("trend", "tf", arguments.second)?;
    }
    if context.is_mixed() {
        notes.add(Note::HistogramIgnoredInMixedRange);
    }
    if floats.len() < 2 {
        return Ok(None);
    }
    Ok(match function {
        RangeFunction::Deriv => {
            // Times near the data keep the sums small.
            let origin = floats.times[0].0;
            Some(linear_regression(floats.times, floats.values, origin).0)
        }
        RangeFunction::PredictLinear => {
            let (slope, intercept) = linear_regression(floats.times, floats.values, context.now);
            Some(slope * arguments.first + intercept)
        }
        _ => over_time::double_exponential_smoothing(
            floats.values,
            arguments.first,
            arguments.second,
        ),
    })
}

fn check_factor(name: &str, short: &str, factor: f64) -> Result<(), QueryError> {
    if factor <= 0.0 || factor >= 1.0 {
        return Err(QueryError::Execution(format!(
            "invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"
        )));
    }
    Ok(())
}

fn summary(
    function: RangeFunction,
    context: &Context<'_>,
    arguments: Arguments,
    notes: &mut Notes<'_, '_>,
) -> Option<f64> {
    let values = context.floats.values;
    if values.is_empty() {
        return None;
    }
    if function == RangeFunction::Quantile && !(0.0..=1.0).contains(&arguments.first) {
        notes.add(|_| Note::InvalidQuantile(arguments.first));
    }
    if !context.histograms.is_empty() {
        notes.add(Note::HistogramIgnoredInMixedRange);
    }
    Some(match function {
        RangeFunction::Extreme(greatest) => values[over_time::extreme(values, greatest, false)],
        RangeFunction::TimeOfExtreme(greatest) => over_time::time_of(
            context.floats.times,
            over_time::extreme(values, greatest, true),
        ),
        RangeFunction::Stddev => over_time::variance(values).sqrt(),
        RangeFunction::Stdvar => over_time::variance(values),
        RangeFunction::MedianDeviation => over_time::median_deviation(values),
        _ => quantile(arguments.first, &mut values.to_vec()),
    })
}
