//! The families that a process has.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use exposition::{Family, Format, Writer, is_label_name, is_metric_name};
use model::MetricType;

use crate::{
    Counter, CounterFamily, Gauge, GaugeFamily, Histogram, HistogramFamily, Labelled, Metric,
    Summary, SummaryFamily, Visitor,
};

/// The metrics of a process. Clones are one registry.
///
/// Registering a name again with the same type, labels and bounds returns the metric that is there: two parts may count
/// together.
///
/// # Panics
/// Registering panics when a name is not a classic one, a counter's does not end with `_total` (or another's does), or the name
/// is taken by something of another shape: mistakes of the program, found when it starts.
#[derive(Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    families: RwLock<BTreeMap<&'static str, Registered>>,
    callbacks: Mutex<Vec<Callback>>,
    generation: Arc<AtomicU64>,
}

type Callback = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
struct Registered {
    help: &'static str,
    kind: MetricType,
    source: Arc<dyn Source>,
}

/// What stands behind a family.
pub(crate) trait Source: Any + Send + Sync {
    fn visit(&self, family: &Family<'_>, visitor: &mut dyn Visitor);
}

impl<M: Metric> Source for M {
    fn visit(&self, family: &Family<'_>, visitor: &mut dyn Visitor) {
        Metric::visit(self, family, &[], visitor);
    }
}

impl Registry {
    /// Returns an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a counter; its name ends with `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.register(name, help, MetricType::Counter, Counter::new)
    }

    /// Registers a gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.register(name, help, MetricType::Gauge, Gauge::new)
    }

    /// Registers a histogram with these finite, ascending bounds.
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &[f64]) -> Histogram {
        let histogram = self.register(name, help, MetricType::Histogram, || Histogram::new(bounds));
        assert!(
            histogram.bounds() == bounds,
            "histogram {name} is registered with other bounds"
        );
        histogram
    }

    /// Registers a counter per value of `labels`, at most `sets_max` of them (then [`OTHER`](crate::OTHER)).
    pub fn counter_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        sets_max: usize,
    ) -> CounterFamily<N> {
        let kind = MetricType::Counter;
        self.labelled(name, help, kind, labels, sets_max, Counter::new)
    }

    /// Registers a gauge per value of `labels`, at most `sets_max` of them (then [`OTHER`](crate::OTHER)).
    pub fn gauge_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        sets_max: usize,
    ) -> GaugeFamily<N> {
        let kind = MetricType::Gauge;
        self.labelled(name, help, kind, labels, sets_max, Gauge::new)
    }

    /// Registers a histogram per value of `labels`, at most `sets_max` of them (then [`OTHER`](crate::OTHER)).
    pub fn histogram_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: [&'static str; N],
        sets_max: usize,
    ) -> HistogramFamily<N> {
        let kind = MetricType::Histogram;
        assert!(!labels.contains(&"le"), "histogram {name} has le itself");
        self.labelled(name, help, kind, labels, sets_max, || {
            Histogram::new(bounds)
        })
    }

    /// Registers a summary with these quantiles per value of `labels`, at most `sets_max` of them (then [`OTHER`](crate::OTHER)).
    pub fn summary_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        quantiles: &'static [f64],
        labels: [&'static str; N],
        sets_max: usize,
    ) -> SummaryFamily<N> {
        let kind = MetricType::Summary;
        assert!(
            !labels.contains(&"quantile"),
            "summary {name} has quantile itself"
        );
        self.labelled(name, help, kind, labels, sets_max, move || {
            Summary::new(quantiles)
        })
    }

    /// Calls `update` at the start of every gathering: it sets metrics that are only worth computing then.
    ///
    /// It may register further metrics, but must not gather. Two gatherings at once call it twice at once.
    pub fn on_gather(&self, update: impl Fn() + Send + Sync + 'static) {
        let mut callbacks = (self.0.callbacks.lock()).unwrap_or_else(PoisonError::into_inner);
        callbacks.push(Arc::new(update));
    }

    /// Hands all families and samples to `visitor`, sorted.
    pub fn gather(&self, visitor: &mut dyn Visitor) {
        // Neither lock is held while others' code runs.
        let callbacks: Vec<Callback> = (self.0.callbacks.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for callback in callbacks {
            callback();
        }
        let families: Vec<(&str, Registered)> = (self.0.families.read())
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, family)| (*name, family.clone()))
            .collect();
        for (name, registered) in families {
            let family = Family {
                name,
                kind: registered.kind,
                help: registered.help,
                unit: "",
            };
            visitor.family(&family);
            registered.source.visit(&family, visitor);
        }
    }

    /// Returns everything as an exposition.
    pub fn expose(&self, format: Format) -> String {
        let mut out = String::new();
        let mut writer = Writer::new(format, &mut out);
        self.gather(&mut writer);
        writer.finish();
        out
    }

    /// Returns a number that changes whenever a series comes or goes: while it stands still, so does the list of series that
    /// visitors see, and a collector need not look at labels again.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn labelled<M: Metric, const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: [&'static str; N],
        sets_max: usize,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Labelled<M, N> {
        for label in labels {
            assert!(
                is_label_name(label),
                "metric {name}: {label:?} is no label name"
            );
        }
        let generation = Arc::clone(&self.0.generation);
        let family = self.register(name, help, kind, || {
            Labelled::new(labels, sets_max, generation, make)
        });
        assert!(
            *family.names() == labels,
            "metric {name} is registered with other labels"
        );
        family
    }

    fn register<S: Source + Clone>(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        make: impl FnOnce() -> S,
    ) -> S {
        assert!(is_metric_name(name), "{name:?} is no metric name");
        assert!(
            name.ends_with("_total") == (kind == MetricType::Counter),
            "{kind} {name}: counters, and nothing else, end with _total"
        );
        let mut families = (self.0.families.write()).unwrap_or_else(PoisonError::into_inner);
        match families.entry(name) {
            Entry::Vacant(vacant) => {
                let source = make();
                vacant.insert(Registered {
                    help,
                    kind,
                    source: Arc::new(source.clone()),
                });
                self.0.generation.fetch_add(1, Ordering::Release);
                source
            }
            Entry::Occupied(present) => {
                let source: &dyn Any = &*present.get().source;
                match source.downcast_ref::<S>() {
                    Some(source) => source.clone(),
                    None => panic!("metric {name} is registered as something else"),
                }
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = (self.0.families.read()).unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(families.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
