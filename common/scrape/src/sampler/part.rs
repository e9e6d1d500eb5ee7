//! One cohort of a target.

use std::sync::Arc;

use model::{Exemplar, Histogram, Labels, MetricType, STALE_NAN, TimestampMs};
use rows::{
    CohortDefinition, CohortId, Presence, Row, RowCounter, SLOTS_MAX, SeriesDefinition, Slot,
};

/// A clock that goes back by more has been set, and is followed; less is what two readings may differ by.
const STEP_MS: i64 = 1_000;

/// What a slot has in a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Nothing,
    Float,
    Histogram,
    /// Samples with times of their own, outside the row.
    Timestamped,
}

/// What is known of a slot from scrape to scrape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// In this scrape.
    is: Held,
    /// In the scrape before, as far as a staleness mark would follow it.
    was: Held,
    /// Whether the last scrape with content had it.
    counted: bool,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) cohort: CohortId,
    name: Arc<str>,
    series: Vec<SeriesDefinition>,
    /// How many of `series` were told in a definition.
    told: usize,
    states: Vec<State>,
    floats: Vec<f64>,
    histograms: Vec<(Slot, Arc<Histogram>)>,
    exemplars: Vec<(Slot, Exemplar)>,
    /// What the exemplars of this scrape weigh beside themselves.
    exemplar_weight: usize,
    next_row: RowCounter,
    last: Option<TimestampMs>,
}

impl Part {
    pub(super) const fn new(cohort: CohortId, name: Arc<str>) -> Self {
        Self {
            cohort,
            name,
            series: Vec::new(),
            told: 0,
            states: Vec::new(),
            floats: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            exemplar_weight: 0,
            next_row: 0,
            last: None,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns the number of slots that had a value in the last row.
    pub(super) fn alive(&self) -> usize {
        let states = self.states.iter();
        states.filter(|state| state.was != Held::Nothing).count()
    }

    /// Returns the series that had a value in the last row, or were counted in it.
    pub(super) fn into_alive(self) -> impl Iterator<Item = (SeriesDefinition, State)> {
        let series = self.series.into_iter().zip(self.states);
        series.filter(|(_, state)| state.was != Held::Nothing || state.counted)
    }

    /// Goes on with what a slot elsewhere had.
    pub(super) fn take_over(&mut self, slot: Slot, state: State) {
        if let Some(present) = self.states.get_mut(usize::from(slot)) {
            *present = state;
        }
    }

    pub(super) fn begin(&mut self) {
        for state in &mut self.states {
            state.is = Held::Nothing;
        }
        self.histograms.clear();
        self.exemplars.clear();
        self.exemplar_weight = 0;
    }

    /// Adds a series; `None` when the layout is full.
    pub(super) fn define(&mut self, labels: &Labels, kind: MetricType) -> Option<Slot> {
        let slot = Slot::try_from(self.series.len()).ok()?;
        if usize::from(slot) >= SLOTS_MAX {
            return None;
        }
        self.series.push(SeriesDefinition {
            labels: labels.clone(),
            kind,
        });
        self.states.push(State::default());
        self.floats.push(0.0);
        Some(slot)
    }

    /// Returns the slots that were not told yet.
    pub(super) fn definition(&mut self) -> Option<CohortDefinition> {
        let first = std::mem::replace(&mut self.told, self.series.len());
        let series = self
            .series
            .get(first..)
            .filter(|series| !series.is_empty())?;
        Some(CohortDefinition {
            cohort: self.cohort,
            name: Arc::clone(&self.name),
            first_slot: Slot::try_from(first).ok()?,
            series: series.to_vec(),
        })
    }

    /// Puts a value; returns whether the slot had none yet.
    pub(super) fn put(&mut self, slot: Slot, value: f64) -> bool {
        let at = usize::from(slot);
        let (Some(state), Some(float)) = (self.states.get_mut(at), self.floats.get_mut(at)) else {
            return false;
        };
        if state.is != Held::Nothing {
            return false;
        }
        state.is = Held::Float;
        *float = value;
        true
    }

    /// Puts what the scrape says of itself, in place of what a target may have said.
    pub(super) fn put_report(&mut self, slot: Slot, value: f64) {
        if let Some(state) = self.states.get_mut(usize::from(slot)) {
            state.is = Held::Nothing;
        }
        self.histograms.retain(|(held, _)| *held != slot);
        self.put(slot, value);
    }

    /// Puts a histogram; returns whether the slot had nothing yet.
    pub(super) fn put_histogram(&mut self, slot: Slot, histogram: Histogram) -> bool {
        match self.states.get_mut(usize::from(slot)) {
            Some(state) if state.is == Held::Nothing => {
                state.is = Held::Histogram;
                self.histograms.push((slot, Arc::new(histogram)));
                true
            }
            _ => false,
        }
    }

    /// Says that a slot has a sample outside the row; returns whether it has none inside.
    pub(super) fn put_timestamped(&mut self, slot: Slot) -> bool {
        match self.states.get_mut(usize::from(slot)) {
            Some(state) if matches!(state.is, Held::Nothing | Held::Timestamped) => {
                state.is = Held::Timestamped;
                true
            }
            _ => false,
        }
    }

    pub(super) fn put_exemplar(&mut self, slot: Slot, exemplar: Exemplar) {
        self.exemplar_weight += 1 + exemplar.labels.text_bytes() / 8;
        self.exemplars.push((slot, exemplar));
    }

    /// Returns what a row weighs at most.
    pub(super) fn weight(&self) -> usize {
        let histograms = self.histograms.iter();
        let parts = histograms.map(|(_, histogram)| 1 + parts(histogram));
        self.series.len() + parts.sum::<usize>() + self.exemplar_weight + self.exemplars.len()
    }

    /// Counts slots of this scrape that the last one with content had not; with content, this one is the last one now.
    pub(super) fn count_added(&mut self, has_content: bool) -> u64 {
        let mut added = 0;
        for state in &mut self.states {
            let has = state.is != Held::Nothing;
            added += u64::from(has && !state.counted);
            if has_content {
                state.counted = has;
            }
        }
        added
    }

    /// Makes the row: values, and staleness marks for what has none any more. `None` when there are neither.
    pub(super) fn finish(&mut self, at: TimestampMs, tracks_timestamps: bool) -> Option<Row> {
        let mut presence = Presence::filled(self.states.len(), false);
        for (slot, (state, float)) in self.states.iter_mut().zip(&mut self.floats).enumerate() {
            let mark = match (state.is, state.was) {
                (Held::Nothing, was) => was,
                _ => Held::Nothing,
            };
            let is_present = match (state.is, mark) {
                (Held::Float, _) => true,
                (Held::Nothing, Held::Float | Held::Timestamped) => {
                    *float = STALE_NAN;
                    true
                }
                (Held::Nothing, Held::Histogram) => {
                    *float = 0.0;
                    let slot = Slot::try_from(slot).unwrap_or(Slot::MAX);
                    self.histograms.push((slot, Arc::new(Histogram::stale())));
                    true
                }
                (Held::Histogram, _) => {
                    *float = 0.0;
                    true
                }
                (Held::Timestamped, _) | (Held::Nothing, Held::Nothing) => {
                    *float = 0.0;
                    false
                }
            };
            if is_present {
                presence.set(slot, true);
            }
            state.was = match state.is {
                Held::Timestamped if !tracks_timestamps => Held::Nothing,
                is => is,
            };
        }
        if presence.count() == 0 {
            return None;
        }
        self.histograms.sort_by_key(|(slot, _)| *slot);
        self.exemplars.sort_by_key(|(slot, _)| *slot);
        self.exemplars.dedup_by_key(|(slot, _)| *slot);
        let row = Row {
            cohort: self.cohort,
            counter: self.next_row,
            at: self.later_than_last(at),
            floats: self.floats.clone(),
            histograms: std::mem::take(&mut self.histograms),
            start_times: Vec::new(),
            exemplars: self.present_exemplars(&presence),
            presence,
        };
        self.next_row += 1;
        self.last = Some(row.at);
        Some(row)
    }

    fn present_exemplars(&mut self, presence: &Presence) -> Vec<(Slot, Exemplar)> {
        let mut exemplars = std::mem::take(&mut self.exemplars);
        exemplars.retain(|(slot, _)| presence.contains(usize::from(*slot)));
        exemplars
    }

    /// Two rows within a moment stand one after the other.
    fn later_than_last(&self, at: TimestampMs) -> TimestampMs {
        match self.last {
            Some(last) if at.0 <= last.0 && at.0 > last.0.saturating_sub(STEP_MS) => {
                TimestampMs(last.0.saturating_add(1))
            }
            _ => at,
        }
    }
}

/// What the codec of rows counts of a histogram: spans, bounds and buckets.
pub(super) fn parts(histogram: &Histogram) -> usize {
    let buckets = match &histogram.buckets {
        model::Buckets::Integer {
            positive, negative, ..
        } => positive.len() + negative.len(),
        model::Buckets::Float {
            positive, negative, ..
        } => positive.len() + negative.len(),
    };
    histogram.positive_spans.len()
        + histogram.negative_spans.len()
        + histogram.custom_bounds.len()
        + buckets
}
