//! Counter reset hints as they come back from a store in chunks.
//!
//! A chunk holds histograms of one layout without resets among them: a reader knows that nothing was reset between its samples, and
//! nothing of what was before its first.

use std::sync::Arc;

use model::{CounterReset, Histogram, Value};

use crate::histogram::FloatHistogram;

/// Returns the values with the hints that a store would give.
pub(in crate::testscript) fn as_stored<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let mut before: Option<FloatHistogram> = None;
    values
        .map(|value| match value {
            Value::Float(_) => {
                before = None;
                value.clone()
            }
            Value::Histogram(histogram) if histogram.is_stale() => value.clone(),
            Value::Histogram(histogram) => {
                let now = FloatHistogram::from_model(histogram);
                let hint = stored_hint(&now, before.as_ref());
                before = Some(now);
                Value::Histogram(Arc::new(Histogram {
                    reset: hint,
                    ..Histogram::clone(histogram)
                }))
            }
        })
        .collect()
}

fn stored_hint(now: &FloatHistogram, before: Option<&FloatHistogram>) -> CounterReset {
    if now.reset == CounterReset::Gauge {
        return CounterReset::Gauge;
    }
    let continues = before.is_some_and(|before| {
        before.reset != CounterReset::Gauge
            && now.schema == before.schema
            && now.zero_threshold == before.zero_threshold
            && now.bounds == before.bounds
            && !now.detect_reset(before)
    });
    if continues {
        CounterReset::NotReset
    } else {
        CounterReset::Unknown
    }
}
