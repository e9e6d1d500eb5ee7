//! Families of one metric per label set, bounded.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use exposition::Family;

use crate::registry::Source;
use crate::{Counter, Gauge, Histogram, Metric, Summary, Visitor};

/// The value of all labels of the one metric that stands for every label set beyond a family's bound.
pub const OTHER: &str = "other";

/// A counter per label set.
pub type CounterFamily<const N: usize> = Labelled<Counter, N>;
/// A gauge per label set.
pub type GaugeFamily<const N: usize> = Labelled<Gauge, N>;
/// A histogram per label set.
pub type HistogramFamily<const N: usize> = Labelled<Histogram, N>;
/// A summary per label set.
pub type SummaryFamily<const N: usize> = Labelled<Summary, N>;

/// One metric per set of values of `N` labels. Clones are one family.
///
/// At most as many label sets as its bound says. When it is full, every further set shares one metric whose labels are all
/// [`OTHER`]: sums over the family stay right, and what overflowed is in sight.
pub struct Labelled<M, const N: usize>(Arc<Inner<M, N>>);

struct Inner<M, const N: usize> {
    names: [&'static str; N],
    sets_max: usize,
    make: Box<dyn Fn() -> M + Send + Sync>,
    /// Sorted by values.
    sets: RwLock<Vec<LabelSet<M, N>>>,
    other: OnceLock<M>,
    /// The registry's: rises when the set of series changes.
    generation: Arc<AtomicU64>,
}

struct LabelSet<M, const N: usize> {
    values: [Box<str>; N],
    metric: M,
}

impl<M: Metric, const N: usize> Labelled<M, N> {
    pub(crate) fn new(
        names: [&'static str; N],
        sets_max: usize,
        generation: Arc<AtomicU64>,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            names,
            sets_max,
            make: Box::new(make),
            sets: RwLock::new(Vec::new()),
            other: OnceLock::new(),
            generation,
        }))
    }

    /// Returns the metric with these label values, in the order of the family's label names; makes it on first use.
    ///
    /// Takes a lock for a moment: where it matters, keep what it returns.
    pub fn with(&self, values: [&str; N]) -> M {
        if values.iter().all(|value| *value == OTHER) {
            return self.other();
        }
        {
            let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
            if let Ok(at) = position(&sets, &values) {
                return sets[at].metric.clone();
            }
        }
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        match position(&sets, &values) {
            Ok(at) => sets[at].metric.clone(),
            Err(_) if sets.len() >= self.0.sets_max => self.other(),
            Err(at) => {
                let metric = (self.0.make)();
                let set = LabelSet {
                    values: values.map(Box::from),
                    metric: metric.clone(),
                };
                sets.insert(at, set);
                self.0.generation.fetch_add(1, Ordering::Release);
                metric
            }
        }
    }

    /// Forgets the metric with these label values, so that it is exposed no more; returns whether there was one.
    pub fn remove(&self, values: [&str; N]) -> bool {
        let mut sets = self.0.sets.write().unwrap_or_else(PoisonError::into_inner);
        let found = position(&sets, &values);
        if let Ok(at) = found {
            sets.remove(at);
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        found.is_ok()
    }

    pub(crate) fn names(&self) -> &[&'static str; N] {
        &self.0.names
    }

    fn other(&self) -> M {
        let make = || {
            self.0.generation.fetch_add(1, Ordering::Release);
            (self.0.make)()
        };
        self.0.other.get_or_init(make).clone()
    }
}

fn position<M, const N: usize>(
    sets: &[LabelSet<M, N>],
    values: &[&str; N],
) -> Result<usize, usize> {
    sets.binary_search_by(|set| {
        set.values
            .iter()
            .map(|value| &**value)
            .cmp(values.iter().copied())
    })
}

impl<M: Metric, const N: usize> Source for Labelled<M, N> {
    fn visit(&self, family: &Family<'_>, visitor: &mut dyn Visitor) {
        let visit = |values: [&str; N], metric: &M, visitor: &mut dyn Visitor| {
            let names = self.0.names;
            let labels: [(&str, &str); N] = std::array::from_fn(|at| (names[at], values[at]));
            metric.visit(family, &labels, visitor);
        };
        let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
        for set in sets.iter() {
            visit(
                set.values.each_ref().map(|value| &**value),
                &set.metric,
                visitor,
            );
        }
        if let Some(metric) = self.0.other.get() {
            visit([OTHER; N], metric, visitor);
        }
    }
}

impl<M, const N: usize> Clone for Labelled<M, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M, const N: usize> fmt::Debug for Labelled<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.0.sets.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Labelled")
            .field("names", &self.0.names)
            .field("sets", &sets.len())
            .field("sets_max", &self.0.sets_max)
            .finish()
    }
}
