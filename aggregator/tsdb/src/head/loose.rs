//! Samples that came one by one, by series.

use std::sync::Arc;

use model::{TimeRange, TimestampMs, Value};
use storage::Times;

use super::pages::{Pages, sample_columns};
use crate::merge_runs::Arrived;
use crate::page::Scratch;

/// Samples gathered before they become a page.
const RUN_SAMPLES: usize = 120;

/// A series' loose samples: closed runs and one that gathers; each run strictly rising in time.
#[derive(Debug, Default)]
pub(super) struct LooseSeries {
    closed: Vec<Arc<Pages>>,
    times: Vec<TimestampMs>,
    positions: Vec<u64>,
    values: Vec<Value>,
}

impl LooseSeries {
    /// Takes a sample and returns by how many bytes the series grew.
    pub(super) fn push(
        &mut self,
        at: TimestampMs,
        position: u64,
        value: Value,
        scratch: &mut Scratch,
    ) -> u64 {
        let mut grown = 32;
        let behind = self.times.last().is_some_and(|last| at <= *last);
        if behind || self.times.len() >= RUN_SAMPLES {
            grown += self.close(scratch);
        }
        self.times.push(at);
        self.positions.push(position);
        self.values.push(value);
        grown
    }

    fn close(&mut self, scratch: &mut Scratch) -> u64 {
        let mut bytes = 0;
        let mut from = 0;
        while from < self.times.len() {
            // Histograms may be too large for a page of all: then smaller ones. One sample always fits.
            let mut to = self.times.len();
            let pages = loop {
                let (times, positions) = (&self.times[from..to], &self.positions[from..to]);
                match Pages::of_samples(times, positions, &self.values[from..to], scratch) {
                    Ok(pages) => break Some(pages),
                    Err(_) if to - from > 1 => to = from + (to - from) / 2,
                    Err(error) => {
                        tracing::error!(%error, "a sample does not fit a page and is dropped");
                        break None;
                    }
                }
            };
            from = to;
            if let Some(pages) = pages {
                bytes += pages.memory_bytes() as u64;
                self.closed.push(Arc::new(pages));
            }
        }
        self.times.clear();
        self.positions.clear();
        self.values.clear();
        bytes
    }

    fn gathering(&self, until: u64) -> usize {
        self.positions
            .partition_point(|position| *position <= until)
    }

    /// Appends what there is within `range`, by whole runs.
    pub(super) fn read(
        &self,
        until: u64,
        range: TimeRange,
        scratch: &mut Scratch,
        out: &mut Vec<Arrived>,
    ) {
        for pages in &self.closed {
            if !pages.span().overlaps(range) {
                continue;
            }
            let rows = pages.rows_until(until, scratch);
            let times = pages.times(scratch);
            if !overlaps(&times.as_slice()[..rows], range) {
                continue;
            }
            let times = if rows == pages.rows() {
                times
            } else {
                Times::new(&times.as_slice()[..rows])
            };
            if let Some(segment) = pages.segment(0, rows, &times, scratch) {
                out.push(Arrived {
                    arrival: pages.first_position(),
                    segment,
                });
            }
        }
        let rows = self.gathering(until);
        if overlaps(&self.times[..rows], range) {
            let times = Times::new(&self.times[..rows]);
            out.push(Arrived {
                arrival: self.positions[0],
                segment: sample_columns(&self.values[..rows]).into_segment(times),
            });
        }
    }

    pub(super) fn touches(&self, until: u64, range: TimeRange) -> bool {
        self.closed
            .iter()
            .any(|pages| pages.first_position() <= until && pages.span().overlaps(range))
            || overlaps(&self.times[..self.gathering(until)], range)
    }
}

fn overlaps(times: &[TimestampMs], range: TimeRange) -> bool {
    match (times.first(), times.last()) {
        (Some(first), Some(last)) => TimeRange::new(*first, *last).overlaps(range),
        _ => false,
    }
}
