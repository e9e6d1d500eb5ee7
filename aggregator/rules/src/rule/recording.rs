//! Recording rules: results under a name of their own.

use std::collections::BTreeSet;

use model::METRIC_NAME;
use promql::VectorSample;

use super::Instant;
use crate::file::RuleSpec;
use crate::world::RecordedSample;

/// Returns the samples that a recording rule stores for its result.
pub(super) fn samples(
    spec: &RuleSpec,
    elements: Vec<VectorSample>,
    instant: Instant,
    limit: usize,
) -> Result<Vec<RecordedSample>, String> {
    let samples: Vec<RecordedSample> = elements
        .into_iter()
        .map(|element| {
            let mut labels = element.labels.to_builder();
            labels.set(METRIC_NAME, spec.name.as_str());
            for (name, value) in &spec.labels {
                labels.set(name.as_str(), value.as_str());
            }
            RecordedSample {
                labels: labels.build(),
                at: instant.looks_at,
                value: element.value,
            }
        })
        .collect();
    let mut seen = BTreeSet::new();
    if !samples.iter().all(|sample| seen.insert(&sample.labels)) {
        let why = "vector contains metrics with the same labelset after applying rule labels";
        return Err(why.to_owned());
    }
    if limit > 0 && samples.len() > limit {
        let count = samples.len();
        return Err(format!("exceeded limit of {limit} with {count} series"));
    }
    Ok(samples)
}
