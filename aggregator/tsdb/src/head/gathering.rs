//! Columns put together from parts of others.

use std::sync::Arc;

use model::{Histogram, TimestampMs, Value};
use rows::Presence;
use storage::{Segment, SegmentValues};

use super::pages::{Columns, OwnedValues};

/// A column put together from parts of others, in order of their rows.
pub(crate) struct Gathering {
    /// Rows from the first on that are all present, as long as there is no `presence`.
    whole: usize,
    /// Made when the first gap shows.
    presence: Option<Presence>,
    floats: Vec<f64>,
    /// Row and histogram, rising.
    histograms: Vec<(usize, Arc<Histogram>)>,
    starts: Option<Vec<TimestampMs>>,
}

impl Gathering {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            whole: 0,
            presence: None,
            floats: vec![0.0; rows],
            histograms: Vec::new(),
            starts: None,
        }
    }

    /// Takes rows `from..to` of a segment as the rows from `at` on.
    pub(crate) fn take(&mut self, segment: &Segment, from: usize, to: usize, at: usize) {
        match (&segment.values, &segment.presence) {
            (SegmentValues::Floats(values), None) if self.is_whole_until(at) => {
                self.floats[at..at + to - from].copy_from_slice(&values[from..to]);
                self.whole = at + to - from;
            }
            _ => self.take_singly(segment, from, to, at),
        }
        if let Some(starts) = &segment.start_times {
            let rows = self.floats.len();
            let all = self
                .starts
                .get_or_insert_with(|| vec![TimestampMs(0); rows]);
            all[at..at + to - from].copy_from_slice(&starts[from..to]);
        }
    }

    fn is_whole_until(&self, at: usize) -> bool {
        self.presence.is_none() && self.whole == at
    }

    fn take_singly(&mut self, segment: &Segment, from: usize, to: usize, at: usize) {
        let (whole, rows) = (self.whole, self.floats.len());
        let presence = self
            .presence
            .get_or_insert_with(|| present_until(whole, rows));
        for row in (from..to).filter(|row| segment.is_present(*row)) {
            let place = at + row - from;
            presence.set(place, true);
            match &segment.values {
                SegmentValues::Floats(values) => self.floats[place] = values[row],
                SegmentValues::Histograms(values) => {
                    self.histograms.push((place, Arc::clone(&values[row])));
                }
                SegmentValues::Mixed(values) => match &values[row] {
                    Value::Float(value) => self.floats[place] = *value,
                    Value::Histogram(value) => self.histograms.push((place, Arc::clone(value))),
                },
                // Heads hold what came, never summaries.
                SegmentValues::Rollup(_) => presence.set(place, false),
            }
        }
    }

    /// Returns the column; `None` when nothing is present.
    pub(crate) fn into_columns(self) -> Option<Columns> {
        let rows = self.floats.len();
        let presence = match self.presence {
            None if self.whole == rows => None,
            None => Some(present_until(self.whole, rows)),
            some => some,
        };
        let present = presence.as_ref().map_or(rows, Presence::count);
        let values = match self.histograms.first() {
            None => OwnedValues::Floats(self.floats),
            Some((_, first)) if self.histograms.len() == present => {
                let mut column = vec![Arc::clone(first); rows];
                for (row, histogram) in self.histograms {
                    column[row] = histogram;
                }
                OwnedValues::Histograms(column)
            }
            Some(_) => {
                let mut column: Vec<Value> = self.floats.into_iter().map(Value::Float).collect();
                for (row, histogram) in self.histograms {
                    column[row] = Value::Histogram(histogram);
                }
                OwnedValues::Mixed(column)
            }
        };
        (present > 0).then(|| Columns {
            rows,
            presence: presence.filter(|_| present < rows),
            values,
            starts: self.starts,
        })
    }
}

fn present_until(whole: usize, rows: usize) -> Presence {
    let mut presence = Presence::filled(rows, false);
    for row in 0..whole {
        presence.set(row, true);
    }
    presence
}
