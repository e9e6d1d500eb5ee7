//! Functions over ranges of native histograms.

use std::sync::Arc;

use model::{CounterReset, Histogram, Value};

use super::range_call::Notes;
use super::range_function::Context;
use crate::ast::Extended;
use crate::functions::rate::{Change, Points, RateKind, Spacing, extrapolate};
use crate::histogram::{
    Combined, FloatHistogram, Incompatible, KahanHistogram, MeanHistogram, ResetsSeen,
};
use crate::{HistogramOperation, Note};

/// The histograms of a window.
pub(crate) type HistogramPoints<'a> = Points<'a, Arc<Histogram>>;

pub(super) fn finish(mut histogram: FloatHistogram) -> Value {
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
pub(super) fn noted(
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
        return super::histogram_extended::extended_rate(
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
        Spacing::of(points.times)?,
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
