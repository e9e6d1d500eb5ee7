//! The last rows of the node, for `/metrics`: shown without collecting anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use exposition::{Format, Part, Writer};
use model::{Labels, METRIC_NAME, MetricType};
use rows::{CohortId, Collected, Row, SeriesDefinition};

/// Labels that the scraper adds itself.
const TARGET_LABELS: [&str; 3] = [METRIC_NAME, "instance", "job"];

/// The last row of each of the node's cohorts, and what its slots are. Bounded by the layouts; a tick costs a reference.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<State>);

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

type Samples<'a> = Vec<(&'a Labels, f64)>;

impl Latest {
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
        let mut families: BTreeMap<&str, (MetricType, Samples<'_>)> = BTreeMap::new();
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
                let family = families
                    .entry(name)
                    .or_insert_with(|| (series.kind, Vec::new()));
                family.1.push((&series.labels, *value));
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
            samples.sort_by(|a, b| a.0.cmp(b.0));
            for (labels, value) in samples {
                let own = labels
                    .iter()
                    .filter(|(name, _)| !TARGET_LABELS.contains(name));
                writer.sample(Part::Value, own, value);
            }
        }
        writer.finish();
        out
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panicking holder leaves at worst a row without its new slots, which are then not shown.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
