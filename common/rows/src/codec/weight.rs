//! Whether a row keeps the rules, and what it weighs.

use model::{Exemplar, Histogram, Value};

use super::error::{DecodeError, RowError};
use super::{HISTOGRAM_PARTS_MAX, TEXT_BYTES_MAX, WEIGHT_MAX};
use crate::{Presence, Row, SLOTS_MAX, SeriesSample, Slot};

/// What may still be decoded of a batch; every allocation that the input sizes is paid from it beforehand.
#[derive(Debug)]
pub(super) struct Budget {
    spent: usize,
}

impl Budget {
    /// Returns a full budget.
    pub(super) const fn new() -> Self {
        Self { spent: 0 }
    }

    /// Pays for `weight`.
    pub(super) fn pay(&mut self, weight: usize) -> Result<(), DecodeError> {
        let spent = self.spent.saturating_add(weight);
        DecodeError::check("slots and histogram parts", spent as u64, WEIGHT_MAX)?;
        self.spent = spent;
        Ok(())
    }
}

/// Returns what `row` weighs.
pub(super) fn of_row(row: &Row) -> usize {
    let parts: usize = row.histograms.iter().map(|(_, h)| of_histogram(h)).sum();
    let exemplars: usize = row.exemplars.iter().map(|(_, e)| of_exemplar(e)).sum();
    row.floats.len() + row.start_times.len() + exemplars + row.histograms.len() + parts
}

/// Returns what `exemplar` weighs: its labels are held with the row, and weigh as much as values of the same length.
pub(super) fn of_exemplar(exemplar: &Exemplar) -> usize {
    1 + exemplar.labels.text_bytes() / 8
}

/// Returns what `sample` weighs.
pub(super) fn of_sample(sample: &SeriesSample) -> usize {
    match &sample.value {
        Value::Float(_) => 1,
        Value::Histogram(histogram) => 2 + of_histogram(histogram),
    }
}

/// Returns the spans, bounds and buckets of `histogram`, counted together.
pub(super) const fn of_histogram(histogram: &Histogram) -> usize {
    histogram.positive_spans.len()
        + histogram.negative_spans.len()
        + histogram.custom_bounds.len()
        + histogram.bucket_count()
}

/// Returns whether `row` is one that the format can hold and a decoder takes.
pub(super) fn check(row: &Row) -> Result<(), RowError> {
    let (floats, slots) = (row.floats.len(), row.presence.slots());
    if floats != slots {
        return Err(RowError::Length { floats, slots });
    }
    if slots > SLOTS_MAX {
        return Err(RowError::Slots { slots });
    }
    if let Some(slot) = value_of_an_absent_slot(row) {
        return Err(RowError::Absent { slot });
    }
    let of = |what| RowError::List { what };
    rises(&row.presence, row.histograms.iter().map(|(slot, _)| *slot))
        .ok_or_else(|| of("histograms"))?;
    rises(&row.presence, row.start_times.iter().map(|(slot, _)| *slot))
        .ok_or_else(|| of("start times"))?;
    rises(&row.presence, row.exemplars.iter().map(|(slot, _)| *slot))
        .ok_or_else(|| of("exemplars"))?;
    for (slot, histogram) in &row.histograms {
        let slot = *slot;
        histogram
            .validate()
            .map_err(|source| RowError::Histogram { slot, source })?;
        let parts = of_histogram(histogram);
        limit(slot, "parts of a histogram", parts, HISTOGRAM_PARTS_MAX)?;
    }
    for (slot, exemplar) in &row.exemplars {
        let bytes = exemplar.labels.text_bytes();
        limit(*slot, "bytes of labels", bytes, TEXT_BYTES_MAX)?;
    }
    Ok(())
}

fn value_of_an_absent_slot(row: &Row) -> Option<usize> {
    let chunks = row.floats.chunks(64).zip(row.presence.words());
    for (index, (values, present)) in chunks.enumerate() {
        let full = if values.len() == 64 {
            u64::MAX
        } else {
            (1 << values.len()) - 1
        };
        if *present == full {
            continue;
        }
        let stray = |(bit, value): (usize, &f64)| present >> bit & 1 == 0 && value.to_bits() != 0;
        if let Some(bit) = values.iter().enumerate().position(stray) {
            return Some(index * 64 + bit);
        }
    }
    None
}

fn rises(presence: &Presence, slots: impl Iterator<Item = Slot>) -> Option<()> {
    let mut from = 0;
    for slot in slots {
        let slot = usize::from(slot);
        if slot < from || !presence.contains(slot) {
            return None;
        }
        from = slot + 1;
    }
    Some(())
}

fn limit(slot: Slot, what: &'static str, value: usize, limit: usize) -> Result<(), RowError> {
    if value <= limit {
        return Ok(());
    }
    Err(RowError::Limit {
        slot,
        what,
        value,
        limit,
    })
}
