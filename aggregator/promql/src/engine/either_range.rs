//! Functions over ranges of floats, of histograms, and of both: neighbours are compared, whatever they are.

use std::sync::Arc;

use model::{CounterReset, Histogram, TimestampMs, Value};

use super::histogram_range::{HistogramPoints, finish, noted};
use super::range_call::Notes;
use super::range_function::Context;
use crate::ast::Extended;
use crate::functions::over_time;
use crate::functions::rate::{Points, is_start_time_reset};
use crate::histogram::FloatHistogram;
use crate::{HistogramOperation, Note};

/// One of the two newest samples of a window.
#[derive(Clone, Copy)]
struct Newest<'a> {
    at: i64,
    start: i64,
    value: NewestValue<'a>,
}

#[derive(Clone, Copy)]
enum NewestValue<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

fn newest_two<'a>(context: &Context<'a>) -> Option<(Newest<'a>, Newest<'a>)> {
    let mut all: Vec<Newest<'a>> = Vec::with_capacity(4);
    let floats = context.floats;
    for index in floats.len().saturating_sub(2)..floats.len() {
        all.push(Newest {
            at: floats.times[index].0,
            start: floats.starts.get(index).copied().unwrap_or_default().0,
            value: NewestValue::Float(floats.values[index]),
        });
    }
    let histograms = context.histograms;
    for index in histograms.len().saturating_sub(2)..histograms.len() {
        all.push(Newest {
            at: histograms.times[index].0,
            start: histograms.starts.get(index).copied().unwrap_or_default().0,
            value: NewestValue::Histogram(&histograms.values[index]),
        });
    }
    all.sort_by_key(|sample| sample.at);
    let last = all.pop()?;
    Some((all.pop()?, last))
}

/// Returns `irate` (`per_second`) or `idelta`.
#[expect(clippy::cast_precision_loss, reason = "differences of milliseconds")]
pub(crate) fn instant(
    context: &Context<'_>,
    per_second: bool,
    notes: &mut Notes<'_, '_>,
) -> Option<Value> {
    let (before, last) = newest_two(context)?;
    let interval = last.at.saturating_sub(before.at) as f64 / 1_000.0;
    if interval == 0.0 {
        return None;
    }
    let started = is_start_time_reset(before.start, before.at, last.start, last.at);
    match (before.value, last.value) {
        (NewestValue::Float(from), NewestValue::Float(to)) => {
            let reset = per_second && (to < from || started);
            let change = if reset { to } else { to - from };
            let divisor = if per_second { interval } else { 1.0 };
            Some(Value::Float(change / divisor))
        }
        (NewestValue::Histogram(from), NewestValue::Histogram(to)) => {
            let from = FloatHistogram::from_model(from);
            let mut change = FloatHistogram::from_model(to);
            let gauges = [&from, &change].map(|h| h.reset == CounterReset::Gauge);
            if per_second && gauges.contains(&true) {
                notes.add(Note::NativeHistogramNotCounter);
            }
            if !per_second && gauges.contains(&false) {
                notes.add(Note::NativeHistogramNotGauge);
            }
            let reset = per_second && (started || change.detect_reset(&from));
            if !reset
                && !noted(
                    change.subtract(&from),
                    HistogramOperation::Subtraction,
                    notes,
                )
            {
                return None;
            }
            if per_second {
                change.divide(interval);
            }
            change.reset = CounterReset::Gauge;
            Some(finish(change))
        }
        _ => {
            notes.add(Note::MixedFloatsHistograms);
            None
        }
    }
}

/// Returns how often neighbours differ, of whatever kind they are.
pub(crate) fn changes(context: &Context<'_>) -> Option<f64> {
    let (floats, histograms) = anchored(context)?;
    if histograms.is_empty() {
        return Some(over_time::changes(floats.values));
    }
    Some(neighbours(floats, histograms, |before, now| {
        match (before.value, now.value) {
            (NewestValue::Float(a), NewestValue::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
            (NewestValue::Histogram(a), NewestValue::Histogram(b)) => {
                !FloatHistogram::from_model(a).equals(&FloatHistogram::from_model(b))
            }
            _ => true,
        }
    }))
}

/// Returns how often the counter was reset.
pub(crate) fn resets(context: &Context<'_>) -> Option<f64> {
    let (floats, histograms) = anchored(context)?;
    Some(neighbours(floats, histograms, |before, now| {
        let started = is_start_time_reset(before.start, before.at, now.start, now.at);
        match (before.value, now.value) {
            (NewestValue::Float(a), NewestValue::Float(b)) => b < a || started,
            (NewestValue::Histogram(a), NewestValue::Histogram(b)) => {
                started
                    || FloatHistogram::from_model(b).detect_reset(&FloatHistogram::from_model(a))
            }
            _ => true,
        }
    }))
}

/// Cuts an anchored window to its anchor and what follows; `None` when nothing follows.
fn anchored<'a>(context: &Context<'a>) -> Option<(Points<'a, f64>, HistogramPoints<'a>)> {
    let (floats, histograms) = (context.floats, context.histograms);
    if context.extended != Some(Extended::Anchored) {
        return Some((floats, histograms));
    }
    let before = |times: &[TimestampMs]| times.partition_point(|time| time.0 <= context.start);
    let (mut float, mut histogram) = (before(floats.times), before(histograms.times));
    if float >= floats.len() && histogram >= histograms.len() {
        return None;
    }
    let time = |times: &[TimestampMs], count: usize| count.checked_sub(1).map(|at| times[at]);
    match (time(floats.times, float), time(histograms.times, histogram)) {
        (None, None) => {}
        (own, other) if own >= other => float -= 1,
        _ => histogram -= 1,
    }
    Some((from(floats, float), from(histograms, histogram)))
}

fn from<T>(points: Points<'_, T>, first: usize) -> Points<'_, T> {
    Points {
        times: &points.times[first..],
        values: &points.values[first..],
        starts: points.starts.get(first..).unwrap_or_default(),
    }
}

/// Counts the neighbours, in order of time, for which `differ` holds.
fn neighbours<'a>(
    floats: Points<'a, f64>,
    histograms: HistogramPoints<'a>,
    differ: impl Fn(Newest<'a>, Newest<'a>) -> bool,
) -> f64 {
    let mut count = 0.0;
    let mut before: Option<Newest<'a>> = None;
    let (mut float, mut histogram) = (0, 0);
    loop {
        let take_float = match (floats.times.get(float), histograms.times.get(histogram)) {
            (None, None) => return count,
            (Some(float), Some(histogram)) => float < histogram,
            (float, _) => float.is_some(),
        };
        let now = if take_float {
            float += 1;
            Newest {
                at: floats.times[float - 1].0,
                start: floats.starts.get(float - 1).copied().unwrap_or_default().0,
                value: NewestValue::Float(floats.values[float - 1]),
            }
        } else {
            histogram += 1;
            Newest {
                at: histograms.times[histogram - 1].0,
                start: histograms
                    .starts
                    .get(histogram - 1)
                    .copied()
                    .unwrap_or_default()
                    .0,
                value: NewestValue::Histogram(&histograms.values[histogram - 1]),
            }
        };
        if before.is_some_and(|before| differ(before, now)) {
            count += 1.0;
        }
        before = Some(now);
    }
}
