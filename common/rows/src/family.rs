//! Metric families, and where their samples go.

use std::borrow::Cow;

use model::MetricType;

/// A metric family: what all of its samples share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    name: Cow<'static, str>,
    help: Cow<'static, str>,
    kind: MetricType,
    labels: &'static [&'static str],
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

    /// Returns a family without labels whose name is known only when the kernel has spoken.
    pub const fn dynamic(name: String, help: String, kind: MetricType) -> Self {
        Self {
            name: Cow::Owned(name),
            help: Cow::Owned(help),
            kind,
            labels: &[],
        }
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
        }
    }

    /// Returns the name, suffixes such as `_total` included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the help text.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns the type.
    pub const fn kind(&self) -> MetricType {
        self.kind
    }

    /// Returns the names of the labels, in the order in which samples give their values.
    pub const fn labels(&self) -> &'static [&'static str] {
        self.labels
    }
}

/// Takes the samples of a collection, one by one.
pub trait Sink {
    /// Takes a sample; `values` are those of `family.labels()`, in that order.
    ///
    /// A series that was given already in this collection is a duplicate: the sink keeps the first and drops the others.
    fn sample(&mut self, family: &Family, values: &[&str], value: f64);
}
