//! Classic histograms as native ones with custom buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Labels, METRIC_NAME, Value};

use super::Sample;
use crate::engine::parse_bound;
use crate::histogram::FloatHistogram;

/// What one histogram has at one time.
#[derive(Debug, Default)]
struct Parts {
    /// Cumulative counts by upper bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Adds a native histogram for each group of `_bucket`, `_count` and `_sum` series.
pub(super) fn add_native(series: &mut BTreeMap<Labels, BTreeMap<i64, Sample>>) {
    let mut groups: BTreeMap<Labels, BTreeMap<i64, Parts>> = BTreeMap::new();
    for (labels, samples) in series.iter() {
        let Some((base, part)) = part_of(labels) else {
            continue;
        };
        let group = groups.entry(base).or_default();
        for (at, sample) in samples {
            let Value::Float(value) = sample.value else {
                continue;
            };
            if model::is_stale(value) {
                continue;
            }
            let parts = group.entry(*at).or_default();
            match part {
                Part::Bucket(upper) => parts.buckets.push((upper, value)),
                Part::Count => parts.count = Some(value),
                Part::Sum => parts.sum = value,
            }
        }
    }
    for (labels, times) in groups {
        let samples = times
            .into_iter()
            .filter(|(_, parts)| !parts.buckets.is_empty() || parts.count.is_some())
            .map(|(at, parts)| {
                let histogram = native(parts).into_model();
                let sample = Sample {
                    value: Value::Histogram(Arc::new(histogram)),
                    start: 0,
                };
                (at, sample)
            })
            .collect();
        series.insert(labels, samples);
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

fn part_of(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.metric_name()?;
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let bound = parse_bound(labels.get("le")?).filter(|bound| !bound.is_nan())?;
        (base, Part::Bucket(bound))
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        (name.strip_suffix("_sum")?, Part::Sum)
    };
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, base).remove("le");
    Some((builder.build(), part))
}

fn native(mut parts: Parts) -> FloatHistogram {
    parts.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Bounds written in several ways are one bound; the last count stands.
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (upper, count) in parts.buckets {
        match merged.last_mut() {
            Some(last) if last.0 == upper => last.1 = count,
            _ => merged.push((upper, count)),
        }
    }
    let total = merged
        .last()
        .filter(|(upper, _)| upper.is_infinite())
        .map(|(_, count)| *count)
        .or(parts.count)
        .or_else(|| merged.last().map(|(_, count)| *count))
        .unwrap_or(0.0);
    let count = parts.count.unwrap_or(total);
    let mut below = 0.0;
    let mut counts: Vec<(i32, f64)> = Vec::new();
    let mut bounds = Vec::new();
    for (index, (upper, cumulative)) in (0..).zip(merged.iter()) {
        counts.push((index, cumulative - below));
        below = *cumulative;
        if upper.is_finite() {
            bounds.push(*upper);
        }
    }
    if merged.last().is_none_or(|(upper, _)| upper.is_finite()) {
        counts.push((
            i32::try_from(bounds.len()).unwrap_or(i32::MAX),
            count - below,
        ));
    }
    let mut histogram = FloatHistogram {
        reset: CounterReset::Unknown,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count,
        sum: parts.sum,
        positive: counts,
        negative: Vec::new(),
        bounds,
    };
    histogram.compact();
    histogram
}
