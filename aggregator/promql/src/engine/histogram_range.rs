//! Functions over ranges of native histograms, and over ranges of both kinds.

use std::sync::Arc;

use model::{CounterReset, Histogram, TimestampMs, Value};

use super::range_call::Notes;
use super::range_function::Context;
use crate::ast::Extended;
use crate::functions::over_time;
use crate::functions::rate::{
    Change, Points, RateKind, extended_samples, extrapolate, is_start_time_reset,
};
use crate::histogram::{
    Combined, FloatHistogram, Incompatible, KahanHistogram, MeanHistogram, ResetsSeen,
};
use crate::{HistogramOperation, Note};

/// The histograms of a window.
pub(crate) type HistogramPoints<'a> = Points<'a, Arc<Histogram>>;

fn finish(mut histogram: FloatHistogram) -> Value {
    histogram.compact();
    Value::Histogram(Arc::new(histogram.into_model()))
}

fn converted(points: HistogramPoints<'_>) -> Vec<FloatHistogram> {
    points
        .values
        .iter()
        .map(|histogram| FloatHistogram::from_model(histogram))
        .collect()
}

/// Notes what a combination did, or that it cannot be; returns whether it was done.
fn noted(
    combined: Result<Combined, Incompatible>,
    operation: HistogramOperation,
    notes: &mut Notes<'_, '_>,
) -> bool {
    match combined {
        Ok(combined) => {
            if combined.bounds_reconciled {
                notes.add(|_| Note::MismatchedCustomBuckets(operation));
            }
            true
        }
        Err(Incompatible) => {
            notes.add(Note::MixedExponentialCustom);
            false
        }
    }
}

/// Returns rate, increase or delta over histograms.
pub(crate) fn rate(
    kind: RateKind,
    context: &Context<'_>,
    notes: &mut Notes<'_, '_>,
) -> Option<Value> {
    let histograms = converted(context.histograms);
    if let Some(extended) = context.extended {
        return extended_rate(
            kind,
            context,
            &histograms,
            extended == Extended::Smoothed,
            notes,
        );
    }
    let points = context.histograms;
    let mut change = if histograms.len() > 1 {
        Some(plain_change(kind, points, &histograms, notes)?)
    } else {
        None
    };
    let extrapolation = extrapolate(
        points.times,
        points.starts.first().copied(),
        Change {
            first: histograms[0].count,
            change: change.as_ref().map_or(0.0, |change| change.count),
        },
        context.rate_window(),
        kind,
    )?;
    if extrapolation.from_zero {
        match &mut change {
            None => change = Some(histograms[0].clone()),
            Some(change) => {
                let combined = change.add(&histograms[0]);
                if !noted(combined, HistogramOperation::Addition, notes) {
                    return None;
                }
            }
        }
    }
    let mut change = change?;
    change.scale(extrapolation.factor);
    change.reset = CounterReset::Gauge;
    Some(finish(change))
}

/// Returns the change from the first to the last histogram, resets taken into account.
fn plain_change(
    kind: RateKind,
    points: HistogramPoints<'_>,
    histograms: &[FloatHistogram],
    notes: &mut Notes<'_, '_>,
) -> Option<FloatHistogram> {
    let (first, last) = (histograms.first()?, histograms.last()?);
    let is_gauge = |histogram: &FloatHistogram| histogram.reset == CounterReset::Gauge;
    if kind.counter && histograms.iter().any(is_gauge) {
        notes.add(Note::NativeHistogramNotCounter);
    }
    if !kind.counter && [first, last].iter().any(|end| !is_gauge(end)) {
        notes.add(Note::NativeHistogramNotGauge);
    }
    let mut before = first.clone();
    if kind.counter {
        let second = histograms.get(1)?;
        // After a reset at once, nothing of the first is used: its layout does not matter either.
        if points.start_time_reset(1) || second.detect_reset(first) {
            before = second.empty_like();
        }
    }
    let inner = &histograms[1..histograms.len() - 1];
    let custom = before.has_custom_bounds();
    let mixed = last.has_custom_bounds() != custom
        || (kind.counter && inner.iter().any(|h| h.has_custom_bounds() != custom));
    if mixed {
        notes.add(Note::MixedExponentialCustom);
        return None;
    }
    if kind.counter && points.start_times_overlap() {
        notes.add(Note::StartTimeOverlap);
    }
    let mut change = last.clone();
    if !noted(
        change.subtract(&before),
        HistogramOperation::Subtraction,
        notes,
    ) {
        return None;
    }
    if kind.counter {
        for (index, now) in histograms.iter().enumerate().skip(1) {
            let reset = points.start_time_reset(index) || now.detect_reset(&before);
            if reset && !noted(change.add(&before), HistogramOperation::Addition, notes) {
                return None;
            }
            before = now.clone();
        }
    }
    change.reset = CounterReset::Gauge;
    Some(change)
}

fn extended_rate(
    kind: RateKind,
    context: &Context<'_>,
    histograms: &[FloatHistogram],
    smoothed: bool,
    notes: &mut Notes<'_, '_>,
) -> Option<Value> {
    let times = context.histograms.times;
    let window = context.rate_window();
    let (first, last) = extended_samples(times, window, smoothed)?;
    let used = &histograms[first..=last];
    let is_gauge = |histogram: &FloatHistogram| histogram.reset == CounterReset::Gauge;
    if used
        .iter()
        .any(|h| h.has_custom_bounds() != used[0].has_custom_bounds())
    {
        notes.add(Note::MixedExponentialCustom);
        return None;
    }
    if kind.counter && used.iter().any(is_gauge) {
        notes.add(Note::NativeHistogramNotCounter);
    }
    let at = |index: usize| (times[index], &histograms[index]);
    let left = if smoothed && times[first].0 < window.start {
        interpolate(at(first), at(first + 1), window.start, kind.counter, notes)?
    } else {
        histograms[first].clone()
    };
    let right = if smoothed && last > 0 && times[last].0 > window.end {
        interpolate(at(last - 1), at(last), window.end, kind.counter, notes)?
    } else {
        histograms[last].clone()
    };
    if !kind.counter && [&left, &right].iter().any(|end| !is_gauge(end)) {
        notes.add(Note::NativeHistogramNotGauge);
    }
    let mut change = right.clone();
    if !noted(
        change.subtract(&left),
        HistogramOperation::Subtraction,
        notes,
    ) {
        return None;
    }
    if kind.counter {
        let crossed = smoothed
            && times[first].0 < window.start
            && histograms[first + 1].detect_reset(&histograms[first]);
        // An interpolation across a reset has accounted for it: go on behind it.
        let (from, before) = if crossed {
            (first + 2, &histograms[first + 1])
        } else {
            (first + 1, &left)
        };
        if from <= last {
            for lost in lost_at_resets(before, &histograms[from..last], &right) {
                if !noted(change.add(lost), HistogramOperation::Addition, notes) {
                    return None;
                }
            }
        }
    }
    if kind.per_second {
        change.divide(window.range_seconds);
    }
    change.reset = CounterReset::Gauge;
    Some(finish(change))
}

/// Returns the histograms before each reset on the way from `before` over `inside` to `right`.
fn lost_at_resets<'a>(
    before: &'a FloatHistogram,
    inside: &'a [FloatHistogram],
    right: &'a FloatHistogram,
) -> Vec<&'a FloatHistogram> {
    let mut before = before;
    let mut lost = Vec::new();
    for now in inside.iter().chain([right]) {
        if now.detect_reset(before) {
            lost.push(before);
        }
        before = now;
    }
    lost
}

#[expect(clippy::cast_precision_loss, reason = "differences of milliseconds")]
fn interpolate(
    (before_at, before): (TimestampMs, &FloatHistogram),
    (after_at, after): (TimestampMs, &FloatHistogram),
    at: i64,
    counter: bool,
    notes: &mut Notes<'_, '_>,
) -> Option<FloatHistogram> {
    if at == before_at.0 {
        return Some(before.clone());
    }
    if at == after_at.0 {
        return Some(after.clone());
    }
    let fraction =
        at.saturating_sub(before_at.0) as f64 / after_at.0.saturating_sub(before_at.0) as f64;
    let mut result = after.clone();
    if counter && after.detect_reset(before) {
        result.scale(fraction);
        return Some(result);
    }
    if !noted(
        result.subtract(before),
        HistogramOperation::Subtraction,
        notes,
    ) {
        return None;
    }
    result.scale(fraction);
    noted(result.add(before), HistogramOperation::Addition, notes).then_some(result)
}

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

/// Returns sum or average of a window of histograms.
pub(crate) fn sum_or_average(
    average: bool,
    context: &Context<'_>,
    notes: &mut Notes<'_, '_>,
) -> Option<Value> {
    let histograms = converted(context.histograms);
    let mut seen = ResetsSeen::default();
    for histogram in &histograms {
        seen.see(histogram.reset);
    }
    let result = if average {
        average_of(&histograms)
    } else {
        sum_of(&histograms)
    };
    let Ok((result, reconciled)) = result else {
        notes.add(Note::MixedExponentialCustom);
        return None;
    };
    if seen.collide() {
        notes.add(|_| Note::HistogramCounterResetCollision(HistogramOperation::Aggregation));
    }
    if reconciled {
        notes.add(|_| Note::MismatchedCustomBuckets(HistogramOperation::Aggregation));
    }
    result.map(finish)
}

fn sum_of(histograms: &[FloatHistogram]) -> Result<(Option<FloatHistogram>, bool), Incompatible> {
    let Some((first, rest)) = histograms.split_first() else {
        return Ok((None, false));
    };
    let mut sum = KahanHistogram::starting_at(first.clone());
    let mut reconciled = false;
    for histogram in rest {
        reconciled |= sum.add(histogram)?.bounds_reconciled;
    }
    Ok((Some(sum.total()), reconciled))
}

fn average_of(
    histograms: &[FloatHistogram],
) -> Result<(Option<FloatHistogram>, bool), Incompatible> {
    let Some((first, rest)) = histograms.split_first() else {
        return Ok((None, false));
    };
    let mut mean = MeanHistogram::starting_at(first.clone());
    let mut reconciled = false;
    for histogram in rest {
        reconciled |= mean.add(histogram)?.bounds_reconciled;
    }
    Ok((Some(mean.value()), reconciled))
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
