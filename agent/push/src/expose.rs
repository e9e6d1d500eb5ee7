//! Groups as an exposition in text 0.0.4, as a Pushgateway shows them.

use std::collections::BTreeMap;

use exposition::{Format, Part, Writer, parse_float};
use model::{Labels, METRIC_NAME, MetricType, Value};
use telemetry::{Registry, Visitor};

use crate::GroupKey;
use crate::group::{FAILED_SLOT, Family, Group, OWN_SERIES, PUSHED_SLOT};
use crate::store::Store;

/// A Pushgateway gives every series this label.
const INSTANCE: &str = "instance";
/// Of the agent's own families, those that a Pushgateway has.
const OWN_PREFIX: &str = "pushgateway_";

/// Returns everything in a text format: what was pushed, when, and the families of `registry` that a Pushgateway has.
pub(crate) fn expose(store: &Store, registry: &Registry, format: Format) -> String {
    let mut families = Families::default();
    registry.gather(&mut families);
    let groups = store.groups();
    for group in &groups {
        for family in &group.families {
            families
                .entry(&family.about.name, family.about.kind, &family.about.help)
                .pushed
                .push((group, family));
        }
    }
    for ((name, help), slot) in OWN_SERIES.iter().zip([PUSHED_SLOT, FAILED_SLOT]) {
        if !groups.is_empty() {
            families.entry(name, MetricType::Gauge, help).times = Some(slot);
        }
    }
    let mut out = String::new();
    let mut writer = Writer::new(format, &mut out);
    for (name, family) in &families.by_name {
        family.write(name, &groups, &mut writer);
    }
    writer.finish();
    out
}

#[derive(Default)]
struct Families<'a> {
    by_name: BTreeMap<String, Shown<'a>>,
}

struct Shown<'a> {
    kind: MetricType,
    help: String,
    own: Vec<OwnSample>,
    pushed: Vec<(&'a Group, &'a Family)>,
    /// Every group has a series in this slot.
    times: Option<rows::Slot>,
}

/// A sample of the agent's own.
struct OwnSample {
    part: Part,
    labels: Vec<(String, String)>,
    value: f64,
}

impl<'a> Families<'a> {
    fn entry(&mut self, name: &str, kind: MetricType, help: &str) -> &mut Shown<'a> {
        if !self.by_name.contains_key(name) {
            let shown = Shown {
                kind,
                help: help.to_owned(),
                own: Vec::new(),
                pushed: Vec::new(),
                times: None,
            };
            self.by_name.insert(name.to_owned(), shown);
        }
        self.by_name.get_mut(name).expect("it was put there")
    }
}

impl Visitor for Families<'_> {
    fn family(&mut self, family: &exposition::Family<'_>) {
        if family.name.starts_with(OWN_PREFIX) {
            self.entry(family.name, family.kind, family.help);
        }
    }

    fn sample(
        &mut self,
        family: &exposition::Family<'_>,
        part: Part,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        if let Some(shown) = self.by_name.get_mut(family.name) {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            shown.own.push(OwnSample {
                part,
                labels: labels.iter().map(owned).collect(),
                value,
            });
        }
    }
}

impl Shown<'_> {
    fn write(&self, name: &str, groups: &[&Group], writer: &mut Writer<'_>) {
        writer.family(&exposition::Family {
            name,
            kind: self.kind,
            help: &self.help,
            unit: "",
        });
        for own in &self.own {
            let labels = own.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            writer.sample(own.part, labels, own.value);
        }
        for (group, family) in &self.pushed {
            for (labels, value) in group.series(family) {
                write_series(&group.key, family, labels, value, writer);
            }
        }
        if let Some(slot) = self.times {
            for group in groups {
                if let Some(Value::Float(time)) = group.layout.value(slot) {
                    writer.sample(Part::Value, shown_labels(&group.key, None, None), *time);
                }
            }
        }
    }
}

fn write_series(
    key: &GroupKey,
    family: &Family,
    labels: &Labels,
    value: &Value,
    writer: &mut Writer<'_>,
) {
    let part = part_of(family, labels);
    let shown = shown_labels(key, Some(labels), part.bound().map(|(label, _)| label));
    match value {
        Value::Float(value) => writer.sample(part, shown, *value),
        Value::Histogram(histogram) => {
            let count = count_of(histogram);
            writer.histogram(shown, [], count, histogram.sum);
        }
    }
}

/// Returns which of its metric's parts a series is.
pub(crate) fn part_of(family: &Family, labels: &Labels) -> Part {
    let name = labels.metric_name().unwrap_or_default();
    let suffix = name.strip_prefix(&*family.about.name).unwrap_or_default();
    let bound = |label| labels.get(label).and_then(parse_float);
    match (family.about.kind, suffix) {
        (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => {
            bound("le").map_or(Part::Value, Part::Bucket)
        }
        (MetricType::Summary, "") => bound("quantile").map_or(Part::Value, Part::Quantile),
        (MetricType::Histogram | MetricType::Summary, "_sum")
        | (MetricType::GaugeHistogram, "_gsum") => Part::Sum,
        (MetricType::Histogram | MetricType::Summary, "_count")
        | (MetricType::GaugeHistogram, "_gcount") => Part::Count,
        _ => Part::Value,
    }
}

/// Returns the labels that a Pushgateway shows: those of the series but for the name and `without`, empty ones of the key, and
/// always an instance.
pub(crate) fn shown_labels<'a>(
    key: &'a GroupKey,
    series: Option<&'a Labels>,
    without: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let mut shown: Vec<(&str, &str)> = key.iter().collect();
    let own = series.into_iter().flat_map(Labels::iter);
    let own = own.filter(|(name, _)| *name != METRIC_NAME && Some(*name) != without);
    shown.extend(own.filter(|(name, _)| key.get(name).is_none()));
    if shown.iter().all(|(name, _)| *name != INSTANCE) {
        shown.push((INSTANCE, ""));
    }
    shown.sort_unstable();
    shown
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are doubles; above 2^53 a count is rounded"
)]
pub(crate) const fn count_of(histogram: &model::Histogram) -> f64 {
    match &histogram.buckets {
        model::Buckets::Integer { count, .. } => *count as f64,
        model::Buckets::Float { count, .. } => *count,
    }
}
