//! Rates of histograms over anchored and smoothed ranges.

use model::{CounterReset, TimestampMs, Value};

use super::histogram_range::{finish, noted};
use super::range_call::Notes;
use super::range_function::Context;
use crate::functions::rate::{RateKind, extended_samples};
use crate::histogram::FloatHistogram;
use crate::{HistogramOperation, Note};

/// Returns rate, increase or delta between the ends of the range, interpolated when it is smoothed.
pub(super) fn extended_rate(
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
