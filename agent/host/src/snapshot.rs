//! A collection as families, for a text form.

use std::collections::{BTreeMap, HashSet};

use exposition::Part;
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
            let part = sample.part(self.kind);
            let bound = part.bound().map(|(label, _)| label);
            let labels = sample.labels.iter();
            let labels = labels.filter(|(name, _)| Some(&**name) != bound);
            writer.sample(
                part,
                labels.map(|(name, value)| (&**name, &**value)),
                sample.value,
            );
        }
    }
}

/// A sample of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// What its name has after the family's: empty but for parts of histograms and summaries.
    pub suffix: &'static str,
    /// Names and values, sorted by name; values may be empty.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl MetricSample {
    /// Returns the labels without the one that tells a part from its neighbours.
    fn own_labels(&self, kind: MetricType) -> impl Iterator<Item = (&str, &str)> {
        let bound = self.part(kind).bound().map(|(label, _)| label);
        let labels = self.labels.iter();
        labels
            .map(|(name, value)| (&**name, &**value))
            .filter(move |(name, _)| Some(*name) != bound)
    }

    fn part(&self, kind: MetricType) -> Part {
        Part::of_suffix(kind, self.suffix, |label| {
            let found = self.labels.iter().find(|(name, _)| name == label);
            found.map(|(_, value)| &**value)
        })
    }
}

/// Gathers samples into families. Allocates per sample: for a scrape or a screen, not for every second.
#[derive(Debug, Default)]
pub struct Snapshot {
    families: BTreeMap<String, MetricFamily>,
    seen: HashSet<(String, Vec<(String, String)>)>,
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
            // The parts of a histogram or summary stay together as they came.
            let kind = family.kind;
            family
                .samples
                .sort_by(|a, b| a.own_labels(kind).cmp(b.own_labels(kind)));
        }
        families
    }
}

impl Sink for Snapshot {
    fn sample(&mut self, family: &Family, values: &[&str], value: f64) {
        let mut labels: Vec<(String, String)> = family
            .labels()
            .zip(values)
            .map(|(name, value)| (name.to_owned(), (*value).to_owned()))
            .collect();
        labels.sort_unstable();
        // An empty label is none.
        let given = labels.iter().filter(|(_, value)| !value.is_empty());
        let series = (family.name().to_owned(), given.cloned().collect());
        if !self.seen.insert(series) {
            return;
        }
        self.families
            .entry(family.base_name().to_owned())
            .or_insert_with(|| MetricFamily {
                name: family.base_name().to_owned(),
                help: family.help().to_owned(),
                kind: family.kind(),
                samples: Vec::new(),
            })
            .samples
            .push(MetricSample {
                suffix: family.suffix(),
                labels,
                value,
            });
    }
}
