//! A collection as families, for a text form.

use std::collections::{BTreeMap, HashSet};

use model::MetricType;

use crate::{Family, Sink};

/// A family with the samples of one collection, sorted by their label values.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// The name, suffixes such as `_total` included.
    pub name: String,
    /// The help text, unescaped.
    pub help: String,
    /// The type.
    pub kind: MetricType,
    /// The samples.
    pub samples: Vec<MetricSample>,
}

impl MetricFamily {
    /// Writes the family as text, header first.
    pub fn write(&self, writer: &mut exposition::Writer<'_>) {
        writer.family(&exposition::Family {
            name: &self.name,
            kind: self.kind,
            help: &self.help,
            unit: "",
        });
        for sample in &self.samples {
            let labels = sample.labels.iter().map(|(name, value)| (*name, &**value));
            writer.sample(exposition::Part::Value, labels, sample.value);
        }
    }
}

/// A sample of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// Names and values, sorted by name; values may be empty.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Gathers samples into families. Allocates per sample: for a scrape or a screen, not for every second.
#[derive(Debug, Default)]
pub struct Snapshot {
    families: BTreeMap<String, MetricFamily>,
    seen: HashSet<(String, Vec<String>)>,
}

impl Snapshot {
    /// Returns an empty snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the families, sorted by name.
    pub fn into_families(self) -> Vec<MetricFamily> {
        let mut families: Vec<_> = self.families.into_values().collect();
        for family in &mut families {
            family.samples.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        families
    }
}

impl Sink for Snapshot {
    fn sample(&mut self, family: &Family, values: &[&str], value: f64) {
        let owned: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        if !self.seen.insert((family.name().to_owned(), owned)) {
            return;
        }
        let mut labels: Vec<(&'static str, String)> = family
            .labels()
            .iter()
            .zip(values)
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        labels.sort_unstable();
        self.families
            .entry(family.name().to_owned())
            .or_insert_with(|| MetricFamily {
                name: family.name().to_owned(),
                help: family.help().to_owned(),
                kind: family.kind(),
                samples: Vec::new(),
            })
            .samples
            .push(MetricSample { labels, value });
    }
}
