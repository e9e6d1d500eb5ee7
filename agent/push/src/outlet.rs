//! Where groups become rows.

use std::sync::Arc;

use model::{Histogram, Metadata, STALE_NAN, TimestampMs, Value};
use rows::{
    CohortDefinition, CohortId, METADATA_MAX, MetricMetadata, Presence, Row, SeriesDefinition, Slot,
};

use crate::group::{About, Cohort, Group, Layout, Waiting};

/// A clock that goes back by more has been set, and is followed; less is what two readings may differ by.
const STEP_MS: i64 = 1_000;

/// What the groups have to say since it was last asked for; sent in this order.
#[derive(Clone, Debug, Default)]
pub struct Harvest {
    /// Slots that rows from now on may use.
    pub definitions: Vec<CohortDefinition>,
    /// Cohorts that had their last row in an earlier harvest.
    pub ended: Vec<CohortId>,
    /// Rows, in order of their counters within each cohort.
    pub rows: Vec<Arc<Row>>,
    /// What families say of themselves, when that is new.
    pub metadata: Vec<MetricMetadata>,
}

/// Collects rows until they are taken.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    /// The number of the next cohort; `None` while nobody wants rows.
    next: Option<CohortId>,
    list: u64,
    rows: Vec<Row>,
    slots: usize,
    definitions: Vec<CohortDefinition>,
    /// Cohorts whose last row waits here.
    ending: Vec<CohortId>,
    /// Cohorts whose last row was taken.
    ended: Vec<CohortId>,
    metadata: Vec<MetricMetadata>,
    /// The time of the last row with a series that ended. A store takes the first of two samples at one time, so whoever has that
    /// series next comes later.
    last_end: Option<TimestampMs>,
}

impl Outlet {
    /// Wants rows from now on; cohorts count from `first`.
    pub(crate) const fn open(&mut self, first: CohortId) {
        self.next = Some(first);
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.next.is_some()
    }

    /// Returns the number of rows that wait, and their slots.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.rows.len(), self.slots)
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self) -> Harvest {
        self.list += 1;
        self.slots = 0;
        // What a batch cannot describe waits for the next.
        let later = self.metadata.len().min(METADATA_MAX);
        let later = self.metadata.split_off(later);
        Harvest {
            definitions: std::mem::take(&mut self.definitions),
            ended: std::mem::replace(&mut self.ended, std::mem::take(&mut self.ending)),
            rows: self.rows.drain(..).map(Arc::new).collect(),
            metadata: std::mem::replace(&mut self.metadata, later),
        }
    }

    pub(crate) fn describe(&mut self, about: &About) {
        if self.is_open() {
            self.metadata.push(MetricMetadata {
                metric: Arc::clone(&about.name),
                metadata: Metadata {
                    kind: about.kind,
                    help: about.help.to_string(),
                    unit: String::new(),
                },
            });
        }
    }

    /// Makes a row of what a group has; the series in `ended` are marked as ended.
    pub(crate) fn emit(&mut self, group: &mut Group, at: TimestampMs, ended: &[(Slot, Value)]) {
        let Some(mut cohort) = group.cohort.or_else(|| self.cohort()) else {
            return;
        };
        if cohort.defined < group.layout.len() {
            self.define(group, &cohort);
            cohort.defined = group.layout.len();
        }
        self.put_row(&mut cohort, &group.layout, at, ended);
        group.cohort = Some(cohort);
    }

    /// Ends the cohort that `layout` was the layout of; the series in `ended` are marked as ended, others live on elsewhere.
    pub(crate) fn end(
        &mut self,
        group: &mut Group,
        layout: Layout,
        at: TimestampMs,
        ended: &[(Slot, Value)],
    ) {
        let Some(mut cohort) = group.cohort.take() else {
            return;
        };
        // Series that nobody was told of need no mark.
        let layout = layout.emptied(cohort.defined);
        let is_defined = |slot: Slot| usize::from(slot) < cohort.defined;
        let ended: Vec<_> = ended
            .iter()
            .filter(|(s, _)| is_defined(*s))
            .cloned()
            .collect();
        if !ended.is_empty() {
            self.put_row(&mut cohort, &layout, at, &ended);
        }
        // Its other series go on elsewhere, and come later there as well.
        self.last_end = self.last_end.max(cohort.last);
        self.ending.push(cohort.id);
    }

    fn cohort(&mut self) -> Option<Cohort> {
        let id = self.next?;
        self.next = Some(CohortId(id.0.saturating_add(1)));
        Some(Cohort {
            id,
            next_row: 0,
            defined: 0,
            last: None,
            waiting: None,
        })
    }

    fn define(&mut self, group: &Group, cohort: &Cohort) {
        let series = group.layout.series.iter().zip(&group.layout.kinds);
        let series = series.skip(cohort.defined);
        self.definitions.push(CohortDefinition {
            cohort: cohort.id,
            name: cohort_name(group),
            first_slot: Slot::try_from(cohort.defined).unwrap_or(Slot::MAX),
            series: series
                .map(|(labels, kind)| SeriesDefinition {
                    labels: labels.clone(),
                    kind: *kind,
                })
                .collect(),
        });
    }

    fn put_row(
        &mut self,
        cohort: &mut Cohort,
        layout: &Layout,
        now: TimestampMs,
        ended: &[(Slot, Value)],
    ) {
        let waiting = cohort.waiting.filter(|waiting| waiting.list == self.list);
        let (at, place) = match (cohort.last, waiting) {
            (Some(last), Some(Waiting { row, .. })) if is_about(last, now) => (last, Some(row)),
            (Some(last), None) if is_about(last, now) => {
                (TimestampMs(last.0.saturating_add(1)), None)
            }
            _ => match self.last_end {
                Some(end) if is_about(end, now) => (TimestampMs(end.0.saturating_add(1)), None),
                _ => (now, None),
            },
        };
        if !ended.is_empty() {
            self.last_end = self.last_end.max(Some(at));
        }
        let mut row = row(cohort, layout, at);
        for (slot, value) in ended {
            mark_ended(&mut row, *slot, value);
        }
        row.histograms.sort_by_key(|(slot, _)| *slot);
        cohort.last = Some(at);
        match place {
            Some(place) => {
                // Two pushes within a millisecond are one instant. What the first brought and the second took away has ended.
                let before = &mut self.rows[place];
                self.slots -= before.floats.len();
                row.counter = before.counter;
                carry_ended(before, &mut row);
                self.slots += row.floats.len();
                *before = row;
            }
            None => {
                self.slots += row.floats.len();
                cohort.next_row += 1;
                cohort.waiting = Some(Waiting {
                    list: self.list,
                    row: self.rows.len(),
                });
                self.rows.push(row);
            }
        }
    }
}

/// Whether a row of this moment stands at `last` or before it.
const fn is_about(last: TimestampMs, now: TimestampMs) -> bool {
    now.0 <= last.0 && now.0 > last.0.saturating_sub(STEP_MS)
}

fn row(cohort: &Cohort, layout: &Layout, at: TimestampMs) -> Row {
    let mut row = Row {
        cohort: cohort.id,
        counter: cohort.next_row,
        at,
        presence: Presence::filled(layout.len(), layout.live() == layout.len()),
        floats: vec![0.0; layout.len()],
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    };
    for (at, value) in layout.values.iter().enumerate() {
        let Some(value) = value else { continue };
        row.presence.set(at, true);
        match value {
            Value::Float(value) => row.floats[at] = *value,
            Value::Histogram(histogram) => {
                let slot = Slot::try_from(at).unwrap_or(Slot::MAX);
                row.histograms.push((slot, Arc::clone(histogram)));
            }
        }
    }
    row
}

fn mark_ended(row: &mut Row, slot: Slot, last: &Value) {
    let at = usize::from(slot);
    if row.presence.contains(at) {
        return;
    }
    row.presence.set(at, true);
    match last {
        Value::Float(_) => row.floats[at] = STALE_NAN,
        Value::Histogram(_) => row.histograms.push((slot, Arc::new(Histogram::stale()))),
    }
}

/// What a row has that another one of the same instant has not.
fn carry_ended(before: &Row, row: &mut Row) {
    for at in before.presence.iter() {
        let slot = Slot::try_from(at).unwrap_or(Slot::MAX);
        let histogram = before.histograms.iter().find(|(s, _)| *s == slot);
        let last = histogram.map_or(Value::Float(0.0), |(_, h)| Value::Histogram(Arc::clone(h)));
        mark_ended(row, slot, &last);
    }
    row.histograms.sort_by_key(|(slot, _)| *slot);
}

/// The same for the same key, from epoch to epoch.
fn cohort_name(group: &Group) -> Arc<str> {
    let mut text = Vec::with_capacity(group.key.text_bytes());
    for (name, value) in group.key.iter() {
        // No UTF-8 has this byte.
        for part in [name, value] {
            text.extend_from_slice(part.as_bytes());
            text.push(0xff);
        }
    }
    format!("push/{:032x}", xxhash_rust::xxh3::xxh3_128(&text)).into()
}
