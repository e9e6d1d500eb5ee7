//! Recording rules: results under a name of their own.

use std::collections::{BTreeMap, BTreeSet};

use model::METRIC_NAME;
use promql::VectorSample;

use super::Instant;
use crate::file::RuleSpec;
use crate::relabelled::with_labels;
use crate::world::RecordedSample;

/// Returns the samples that a recording rule stores for its result.
pub(super) fn samples(
    spec: &RuleSpec,
    elements: Vec<VectorSample>,
    instant: Instant,
    limit: usize,
) -> Result<Vec<RecordedSample>, String> {
    let mut set = BTreeMap::from([(METRIC_NAME, spec.name.as_str())]);
    let of_rule = spec.labels.iter();
    set.extend(of_rule.map(|(name, value)| (name.as_str(), value.as_str())));
    let set: Vec<(&str, &str)> = set.into_iter().collect();
    let samples: Vec<RecordedSample> = elements
        .into_iter()
        .map(|element| RecordedSample {
            labels: with_labels(&element.labels, &set),
            at: instant.looks_at,
            value: element.value,
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
