//! The last rows of the node and of containers, for `/metrics` and `/metrics/cadvisor`: shown without collecting anything.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use exposition::{Format, Part, Writer};
use model::{Labels, METRIC_NAME, MetricType};
use rows::{CohortId, Collected, Row, SeriesDefinition};

/// Labels that are not shown, for the scraper adds them itself.
const NODE_LABELS: &[&str] = &[METRIC_NAME, "instance", "job"];
const CONTAINER_LABELS: &[&str] = &[METRIC_NAME, "instance", "job", "metrics_path"];

/// The last row of each of some cohorts, and what its slots are. Bounded by the layouts; a tick costs a reference.
#[derive(Debug)]
pub(crate) struct Latest {
    state: Mutex<State>,
    hidden_labels: &'static [&'static str],
}

#[derive(Clone, Debug, Default)]
struct State {
    cohorts: BTreeMap<CohortId, Shown>,
    help: HashMap<Arc<str>, Arc<str>>,
}

#[derive(Clone, Debug)]
struct Shown {
    series: Arc<Vec<SeriesDefinition>>,
    row: Arc<Row>,
}

/// A sample of a family.
#[derive(Clone, Copy, Debug)]
struct Sample<'a> {
    labels: &'a Labels,
    hidden_labels: &'static [&'static str],
    part: Part,
    value: f64,
}

impl<'a> Sample<'a> {
    /// Returns the labels that neither the scraper adds nor the part stands for.
    fn own_labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let bound = self.part.bound().map(|(label, _)| label);
        let labels = self.labels.iter();
        labels.filter(move |(name, _)| !self.hidden_labels.contains(name) && Some(*name) != bound)
    }

    /// Buckets and quantiles come before sum and count, in order of their bounds.
    fn rank(&self) -> (u8, f64) {
        match self.part {
            Part::Value | Part::Created => (0, 0.0),
            Part::Bucket(bound) | Part::Quantile(bound) => (1, bound),
            Part::Sum => (2, 0.0),
            Part::Count => (3, 0.0),
        }
    }
}

impl Latest {
    /// Shows the node's rows.
    pub(crate) fn of_node() -> Self {
        Self::hiding(NODE_LABELS)
    }

    /// Shows the rows of containers.
    pub(crate) fn of_containers() -> Self {
        Self::hiding(CONTAINER_LABELS)
    }

    fn hiding(hidden_labels: &'static [&'static str]) -> Self {
        Self {
            state: Mutex::default(),
            hidden_labels,
        }
    }

    /// Takes over what a collection made.
    pub(crate) fn put(&self, collected: &Collected, row: &Arc<Row>) {
        let mut state = self.lock();
        for metadata in &collected.metadata {
            let help = Arc::from(metadata.metadata.help.as_str());
            state.help.insert(Arc::clone(&metadata.metric), help);
        }
        let shown = state.cohorts.entry(row.cohort).or_insert_with(|| Shown {
            series: Arc::default(),
            row: Arc::clone(row),
        });
        shown.row = Arc::clone(row);
        if let Some(definition) = &collected.definition {
            // Copied only while somebody is being shown the layout as it was.
            let series = Arc::make_mut(&mut shown.series);
            series.truncate(usize::from(definition.first_slot));
            series.extend(definition.series.iter().cloned());
        }
    }

    /// Forgets a cohort that has ended.
    pub(crate) fn end(&self, cohort: CohortId) {
        self.lock().cohorts.remove(&cohort);
    }

    /// Returns the rows as an exposition.
    pub(crate) fn expose(&self, format: Format) -> String {
        let state = self.lock().clone();
        let mut families: BTreeMap<&str, (MetricType, Vec<Sample<'_>>)> = BTreeMap::new();
        for shown in state.cohorts.values() {
            for slot in shown.row.presence.iter() {
                let (Some(series), Some(value)) =
                    (shown.series.get(slot), shown.row.floats.get(slot))
                else {
                    continue;
                };
                let Some(name) = series.labels.metric_name().filter(|name| *name != "up") else {
                    continue;
                };
                let (name, suffix) = Part::split_name(series.kind, name);
                let labels = &series.labels;
                let part = Part::of_suffix(series.kind, suffix, |label| labels.get(label));
                let family = families
                    .entry(name)
                    .or_insert_with(|| (series.kind, Vec::new()));
                family.1.push(Sample {
                    labels,
                    hidden_labels: self.hidden_labels,
                    part,
                    value: *value,
                });
            }
        }
        let mut out = String::new();
        let mut writer = Writer::new(format, &mut out);
        for (name, (kind, mut samples)) in families {
            writer.family(&exposition::Family {
                name,
                kind,
                help: state.help.get(name).map_or("", |help| help),
                unit: "",
            });
            samples.sort_by(|a, b| {
                let ranks = || a.rank().partial_cmp(&b.rank()).unwrap_or(Ordering::Equal);
                a.own_labels().cmp(b.own_labels()).then_with(ranks)
            });
            for sample in samples {
                writer.sample(sample.part, sample.own_labels(), sample.value);
            }
        }
        writer.finish();
        out
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panicking holder leaves at worst a row without its new slots, which are then not shown.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
