//! Seeing a registry's families without text.

use exposition::{Family, Part, Writer, format_openmetrics};
use model::{Labels, LabelsBuilder, METRIC_NAME};

/// Takes families and their samples.
///
/// Families come sorted by name, each once, its samples after it; those are sorted by label values (the overflow metric last),
/// and a histogram's come as ascending buckets, sum, count.
pub trait Visitor {
    /// Begins a family.
    fn family(&mut self, family: &Family<'_>);

    /// Takes a sample of `family`, the last one begun.
    fn sample(&mut self, family: &Family<'_>, part: Part, labels: &[(&str, &str)], value: f64);
}

impl Visitor for Writer<'_> {
    fn family(&mut self, family: &Family<'_>) {
        Writer::family(self, family);
    }

    fn sample(&mut self, _: &Family<'_>, part: Part, labels: &[(&str, &str)], value: f64) {
        Writer::sample(self, part, labels.iter().copied(), value);
    }
}

/// Returns the labels that a sample has once scraped: the name of its part, and `le` as Prometheus 3 spells it.
pub fn series_labels(family: &Family<'_>, part: Part, labels: &[(&str, &str)]) -> Labels {
    let mut builder = LabelsBuilder::new();
    builder.set(
        METRIC_NAME,
        format!("{}{}", family.name, part.suffix(family.kind)),
    );
    for (name, value) in labels {
        builder.set(*name, *value);
    }
    if let Some((name, bound)) = part.bound() {
        builder.set(name, format_openmetrics(bound));
    }
    builder.build()
}
