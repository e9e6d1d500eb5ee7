//! A registry as a row: how a process samples itself.

use exposition::{Family, Part};
use rows::{RowSink, SeriesDefinition};

use crate::Registry;
use crate::visit::{Visitor, series_labels};

/// Ends a part of an identity; never part of UTF-8.
const SEPARATOR: u8 = 0xff;

impl Registry {
    /// Puts everything into a row; each series gets `base_labels` (`job`, `instance`) besides its own.
    ///
    /// In the steady state a sample costs its identity as bytes, and no label set is made.
    pub fn collect(&self, sink: &mut RowSink<'_>, base_labels: &[(&str, &str)]) {
        self.gather(&mut Rows {
            sink,
            base_labels,
            identity: Vec::new(),
        });
    }
}

struct Rows<'a, 'b> {
    sink: &'a mut RowSink<'b>,
    base_labels: &'a [(&'a str, &'a str)],
    identity: Vec<u8>,
}

impl Visitor for Rows<'_, '_> {
    fn family(&mut self, _: &Family<'_>) {}

    fn sample(&mut self, family: &Family<'_>, part: Part, labels: &[(&str, &str)], value: f64) {
        self.identity.clear();
        self.identity.extend_from_slice(family.name.as_bytes());
        self.identity
            .extend_from_slice(part.suffix(family.kind).as_bytes());
        if let Some((_, bound)) = part.bound() {
            self.identity
                .extend_from_slice(&bound.to_bits().to_be_bytes());
        }
        for (_, value) in labels {
            self.identity.push(SEPARATOR);
            self.identity.extend_from_slice(value.as_bytes());
        }
        let base_labels = self.base_labels;
        self.sink.series(&self.identity, value, || {
            let mut builder = series_labels(family, part, labels).to_builder();
            for (name, value) in base_labels {
                builder.set(*name, *value);
            }
            SeriesDefinition {
                labels: builder.build(),
                kind: family.kind,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::TimestampMs;
    use rows::{CohortBuilder, CohortId};

    use super::*;

    #[test]
    fn a_registry_becomes_rows_of_one_layout() {
        let registry = Registry::new();
        let requests = registry.counter_family("requests_total", "Requests.", ["code"], 10);
        let seconds = registry.histogram("seconds", "Time.", &[0.5, 1.0]);
        requests.with(["200"]).add(3);
        seconds.observe(0.7);
        let mut builder = CohortBuilder::new(CohortId(1), Arc::from("self"), &[]);
        let mut collect = || {
            let mut sink = builder.begin(TimestampMs(1));
            registry.collect(&mut sink, &[("job", "j")]);
            sink.finish()
        };
        let first = collect();
        let labels: Vec<String> = first
            .definition
            .expect("new")
            .series
            .iter()
            .map(|series| series.labels.to_string())
            .collect();
        assert_eq!(
            labels,
            [
                r#"requests_total{code="200", job="j"}"#,
                r#"seconds_bucket{job="j", le="0.5"}"#,
                r#"seconds_bucket{job="j", le="1.0"}"#,
                r#"seconds_bucket{job="j", le="+Inf"}"#,
                r#"seconds_sum{job="j"}"#,
                r#"seconds_count{job="j"}"#,
            ]
        );
        assert_eq!(first.row.floats, [3.0, 0.0, 1.0, 1.0, 0.7, 1.0]);
        requests.with(["500"]).inc();
        let second = collect();
        assert_eq!(
            second
                .definition
                .map(|definition| (definition.first_slot, definition.series.len())),
            Some((6, 1))
        );
        assert_eq!((first.duplicates, second.duplicates), (0, 0));
    }
}
