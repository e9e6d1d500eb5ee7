//! From samples to rows.
//!
//! A cohort's series come in nearly the same order each time. So the builder remembers, for each slot, which slot came after it:
//! in the steady state a sample costs one comparison of its identity (name and label values, as bytes) with the one predicted,
//! and nothing is allocated. A wrong prediction costs a look-up in a hash map and corrects itself; only a series never seen before
//! allocates. A series that comes or goes disturbs the prediction at its own place only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{LabelsBuilder, METRIC_NAME, Metadata, STALE_NAN, TimestampMs};

use crate::{
    CohortDefinition, CohortId, Family, MetricMetadata, Presence, Row, RowCounter, SLOTS_MAX,
    SeriesDefinition, Sink, Slot,
};

/// Below so many slots, dead ones do not matter.
const WORN_SLOTS_MIN: usize = 1_024;

/// No slot: above [`SLOTS_MAX`].
const NOWHERE: Slot = Slot::MAX;

/// Makes the rows of a cohort, and its layout as series appear.
///
/// The layout only grows, up to [`SLOTS_MAX`] slots. A series that is not given in a collection is absent from its row and keeps its
/// slot; when slots run out, further series are refused and counted. Where series come and go (mounts of pods), a caller asks
/// [`is_worn`](Self::is_worn) now and then, and goes on as another cohort with [`renew`](Self::renew).
#[derive(Debug)]
pub struct CohortBuilder {
    cohort: CohortId,
    name: Arc<str>,
    base_labels: Vec<(String, String)>,
    series: Vec<SeriesDefinition>,
    /// How many of `series` have been reported in a [`Collected`].
    reported: usize,
    identities: Vec<Arc<[u8]>>,
    by_identity: HashMap<Arc<[u8]>, Slot>,
    /// The slot that came after each slot, last time.
    successors: Vec<Slot>,
    /// The slot that came first.
    first: Slot,
    families: HashSet<String>,
    metadata: Vec<MetricMetadata>,
    floats: Vec<f64>,
    present: Vec<bool>,
    identity: Vec<u8>,
    next_row: RowCounter,
}

/// What a collection made.
#[derive(Debug)]
pub struct Collected {
    /// The row.
    pub row: Row,
    /// The slots that are new with this row; send them before it.
    pub definition: Option<CohortDefinition>,
    /// What families seen for the first time say of themselves.
    pub metadata: Vec<MetricMetadata>,
    /// Samples dropped because their series was given already.
    pub duplicates: usize,
    /// Samples dropped because the layout is full.
    pub refused: usize,
}

impl CohortBuilder {
    /// Returns a builder of a cohort without slots; each series gets `base_labels` (`job`, `instance`), unless it brings its own.
    pub fn new(cohort: CohortId, name: Arc<str>, base_labels: &[(&str, &str)]) -> Self {
        Self {
            cohort,
            name,
            base_labels: base_labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            series: Vec::new(),
            reported: 0,
            identities: Vec::new(),
            by_identity: HashMap::new(),
            successors: Vec::new(),
            first: NOWHERE,
            families: HashSet::new(),
            metadata: Vec::new(),
            floats: Vec::new(),
            present: Vec::new(),
            identity: Vec::new(),
            next_row: 0,
        }
    }

    /// Returns the whole layout, as a new connection needs it.
    pub fn definition(&self) -> CohortDefinition {
        self.definition_from(0)
    }

    /// Returns whether most slots of a large layout had no value in the last row: dead series, which cost room in every row.
    pub fn is_worn(&self) -> bool {
        let alive = self.present.iter().filter(|present| **present).count();
        self.series.len() >= WORN_SLOTS_MIN && alive * 2 < self.series.len()
    }

    /// Forgets the layout and goes on as `cohort`, a number not used before: rows count from 0, and slots are given anew.
    pub fn renew(&mut self, cohort: CohortId) {
        let families = std::mem::take(&mut self.families);
        let metadata = std::mem::take(&mut self.metadata);
        let base_labels = std::mem::take(&mut self.base_labels);
        *self = Self {
            base_labels,
            families,
            metadata,
            ..Self::new(cohort, Arc::clone(&self.name), &[])
        };
    }

    /// Starts the collection of a row; it is made by [`RowSink::finish`]. A collection that is dropped makes none.
    pub fn begin(&mut self, at: TimestampMs) -> RowSink<'_> {
        self.floats.fill(0.0);
        self.present.fill(false);
        RowSink {
            builder: self,
            at,
            previous: NOWHERE,
            duplicates: 0,
            refused: 0,
        }
    }

    /// Makes the row that ends the cohort: every series that the last row had is marked as stale.
    pub fn end(&mut self, at: TimestampMs) -> Row {
        let mut presence = Presence::filled(self.present.len(), false);
        for (slot, present) in (0..).zip(&self.present) {
            presence.set(slot, *present);
        }
        let stale = |present: &bool| if *present { STALE_NAN } else { 0.0 };
        let counter = self.next_row;
        self.next_row += 1;
        Row {
            cohort: self.cohort,
            counter,
            at,
            presence,
            floats: self.present.iter().map(stale).collect(),
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        }
    }

    fn definition_from(&self, first: usize) -> CohortDefinition {
        CohortDefinition {
            cohort: self.cohort,
            name: Arc::clone(&self.name),
            first_slot: Slot::try_from(first).unwrap_or(NOWHERE),
            series: self.series.get(first..).unwrap_or_default().to_vec(),
        }
    }

    /// Returns the slot of the series in `self.identity`, defining it when it is new; `None` when the layout is full.
    fn slot(
        &mut self,
        previous: Slot,
        define: impl FnOnce(&mut Self) -> SeriesDefinition,
    ) -> Option<Slot> {
        let predicted = match previous {
            NOWHERE => self.first,
            known => *self.successors.get(usize::from(known))?,
        };
        let identity = &*self.identity;
        if let Some(found) = self.identities.get(usize::from(predicted))
            && **found == *identity
        {
            return Some(predicted);
        }
        let slot = match self.by_identity.get(identity) {
            Some(slot) => *slot,
            None => self.define(define)?,
        };
        match previous {
            NOWHERE => self.first = slot,
            known => *self.successors.get_mut(usize::from(known))? = slot,
        }
        Some(slot)
    }

    fn define(&mut self, define: impl FnOnce(&mut Self) -> SeriesDefinition) -> Option<Slot> {
        let slot = Slot::try_from(self.series.len())
            .ok()
            .filter(|slot| usize::from(*slot) < SLOTS_MAX)?;
        let identity: Arc<[u8]> = Arc::from(&*self.identity);
        let definition = define(self);
        self.series.push(definition);
        self.identities.push(Arc::clone(&identity));
        self.by_identity.insert(identity, slot);
        self.successors.push(NOWHERE);
        self.floats.push(0.0);
        self.present.push(false);
        Some(slot)
    }

    fn define_sample(&mut self, family: &Family, values: &[&str]) -> SeriesDefinition {
        let described = family.base_name();
        if !self.families.contains(described) {
            self.families.insert(described.to_owned());
            self.metadata.push(MetricMetadata {
                metric: Arc::from(described),
                metadata: Metadata {
                    kind: family.kind(),
                    help: family.help().to_owned(),
                    unit: String::new(),
                },
            });
        }
        let mut labels = LabelsBuilder::new();
        for (name, value) in &self.base_labels {
            labels.set(name.as_str(), value.as_str());
        }
        labels.set(METRIC_NAME, family.name());
        for (name, value) in family.labels().zip(values) {
            labels.set(name, *value);
        }
        SeriesDefinition {
            labels: labels.build(),
            kind: family.kind(),
        }
    }
}

/// A collection under way: takes samples into a row.
#[derive(Debug)]
pub struct RowSink<'a> {
    builder: &'a mut CohortBuilder,
    at: TimestampMs,
    previous: Slot,
    duplicates: usize,
    refused: usize,
}

impl RowSink<'_> {
    /// Takes a sample of a series that is named by any bytes, unique within the cohort; `define` is asked when it is new.
    pub fn series(
        &mut self,
        identity: &[u8],
        value: f64,
        define: impl FnOnce() -> SeriesDefinition,
    ) {
        self.builder.identity.clear();
        self.builder.identity.extend_from_slice(identity);
        let slot = self.builder.slot(self.previous, |_| define());
        self.put(slot, value);
    }

    /// Ends the collection.
    pub fn finish(self) -> Collected {
        let builder = self.builder;
        let mut presence = Presence::filled(builder.present.len(), false);
        for slot in (0..)
            .zip(&builder.present)
            .filter_map(|(slot, present)| present.then_some(slot))
        {
            presence.set(slot, true);
        }
        let row = Row {
            cohort: builder.cohort,
            counter: builder.next_row,
            at: self.at,
            presence,
            floats: builder.floats.clone(),
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        };
        builder.next_row += 1;
        let definition = (builder.reported < builder.series.len())
            .then(|| builder.definition_from(builder.reported));
        builder.reported = builder.series.len();
        Collected {
            row,
            definition,
            metadata: std::mem::take(&mut builder.metadata),
            duplicates: self.duplicates,
            refused: self.refused,
        }
    }

    fn put(&mut self, slot: Option<Slot>, value: f64) {
        let Some(slot) = slot else {
            self.refused += 1;
            return;
        };
        let index = usize::from(slot);
        if let (Some(float), Some(present)) = (
            self.builder.floats.get_mut(index),
            self.builder.present.get_mut(index),
        ) {
            if *present {
                self.duplicates += 1;
                return;
            }
            *float = value;
            *present = true;
            self.previous = slot;
        }
    }
}

impl Sink for RowSink<'_> {
    fn sample(&mut self, family: &Family, values: &[&str], value: f64) {
        let identity = &mut self.builder.identity;
        identity.clear();
        family.identify(values, identity);
        let slot = self.builder.slot(self.previous, |builder| {
            builder.define_sample(family, values)
        });
        self.put(slot, value);
    }
}

#[cfg(test)]
mod tests;
