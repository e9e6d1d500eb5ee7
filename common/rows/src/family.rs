//! Metric families, and where their samples go.

use std::borrow::Cow;

use model::MetricType;

/// Ends a part of an identity; never part of UTF-8.
const SEPARATOR: u8 = 0xff;

/// A metric family: what all of its samples share.
///
/// Of a histogram or summary, each kind of sample (`_bucket`, `_sum`, `_count`) is a family of its own here, a [`part`](Self::part).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    name: Cow<'static, str>,
    help: Cow<'static, str>,
    kind: MetricType,
    labels: &'static [&'static str],
    /// They follow `labels`.
    further_labels: Vec<String>,
    suffix: &'static str,
}

impl Family {
    /// Returns a family of counters with these labels.
    pub const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::fixed(name, help, MetricType::Counter, labels)
    }

    /// Returns a family of gauges with these labels.
    pub const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::fixed(name, help, MetricType::Gauge, labels)
    }

    /// Returns a family of no known type with these labels.
    pub const fn unknown(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self::fixed(name, help, MetricType::Unknown, labels)
    }

    /// Returns a family without labels whose name is known only when the kernel has spoken.
    pub const fn dynamic(name: String, help: String, kind: MetricType) -> Self {
        Self {
            name: Cow::Owned(name),
            help: Cow::Owned(help),
            kind,
            labels: &[],
            further_labels: Vec::new(),
            suffix: "",
        }
    }

    /// Returns the family with these labels in place of those it had.
    #[must_use]
    pub fn with_labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// Returns the family with labels, known only at run time, after those it has.
    #[must_use]
    pub fn with_further_labels(mut self, labels: Vec<String>) -> Self {
        self.further_labels = labels;
        self
    }

    /// Returns the family of those samples of a histogram or summary that have `suffix` after their name.
    #[must_use]
    pub fn part(mut self, suffix: &'static str) -> Self {
        self.name.to_mut().push_str(suffix);
        self.suffix = suffix;
        self
    }

    const fn fixed(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: &'static [&'static str],
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            help: Cow::Borrowed(help),
            kind,
            labels,
            further_labels: Vec::new(),
            suffix: "",
        }
    }

    /// Returns the name of the samples, suffixes such as `_total` included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name that type and help are told of: that of the samples without the suffix of a part.
    pub fn base_name(&self) -> &str {
        self.name.strip_suffix(self.suffix).unwrap_or(&self.name)
    }

    /// Returns the suffix of a part; empty when it is none.
    pub const fn suffix(&self) -> &'static str {
        self.suffix
    }

    /// Returns the help text.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns the type.
    pub const fn kind(&self) -> MetricType {
        self.kind
    }

    /// Appends what tells a sample's series from all others of a cohort: equal bytes mean equal names and labels.
    ///
    /// Labels known only at run time go in with their names, and not when they are empty: a family may gain some.
    pub(crate) fn identify(&self, values: &[&str], identity: &mut Vec<u8>) {
        identity.extend_from_slice(self.name.as_bytes());
        let (fixed, further) = values.split_at(self.labels.len().min(values.len()));
        for value in fixed {
            identity.push(SEPARATOR);
            identity.extend_from_slice(value.as_bytes());
        }
        for (name, value) in self.further_labels.iter().zip(further) {
            if !value.is_empty() {
                for part in [name.as_str(), value] {
                    identity.push(SEPARATOR);
                    identity.extend_from_slice(part.as_bytes());
                }
            }
        }
    }

    /// Returns the names of the labels, in the order in which samples give their values.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let further = self.further_labels.iter().map(String::as_str);
        self.labels.iter().copied().chain(further)
    }
}

/// Takes the samples of a collection, one by one.
pub trait Sink {
    /// Takes a sample; `values` are those of `family.labels()`, in that order.
    ///
    /// A series that was given already in this collection is a duplicate: the sink keeps the first and drops the others.
    fn sample(&mut self, family: &Family, values: &[&str], value: f64);
}
