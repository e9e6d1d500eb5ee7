//! Lists by slot: the histograms, start times and exemplars of rows.
//!
//! Each of these sections has, for each row of the batch in order, the length of the list, then its items; an item begins with the
//! number of slots passed over since the item before.

use std::sync::Arc;

use model::{Exemplar, Histogram, Labels, TimestampMs};

use super::TEXT_BYTES_MAX;
use super::bytes::{ByteReader, put_float_near, put_signed, put_text, put_varint};
use super::error::DecodeError;
use super::histogram;
use super::weight::{self, Budget};
use crate::{Presence, Row, Slot};

/// A row, and the one that it is encoded against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded<'a> {
    pub(super) row: &'a Row,
    pub(super) base: Option<&'a Row>,
}

pub(super) fn put_histograms(out: &mut Vec<u8>, rows: &[Coded<'_>]) {
    for Coded { row, base } in rows {
        put_list(out, &row.histograms, |out, slot, histogram| {
            let before = base.and_then(|base| histogram_of(base, slot));
            histogram::put(out, histogram, before.map(|before| &**before));
        });
    }
}

pub(super) fn put_start_times(out: &mut Vec<u8>, rows: &[Coded<'_>]) {
    for Coded { row, .. } in rows {
        put_list(out, &row.start_times, |out, _, start| {
            put_signed(out, start.0.wrapping_sub(row.at.0));
        });
    }
}

pub(super) fn put_exemplars(out: &mut Vec<u8>, rows: &[Coded<'_>]) {
    for Coded { row, .. } in rows {
        put_list(out, &row.exemplars, |out, slot, exemplar| {
            put_float_near(out, exemplar.value, row.floats[usize::from(slot)]);
            put_signed(out, exemplar.at.0.wrapping_sub(row.at.0));
            put_labels(out, &exemplar.labels);
        });
    }
}

pub(super) fn take_histograms(
    reader: &mut ByteReader<'_>,
    presence: &Presence,
    base: Option<&Row>,
    budget: &mut Budget,
) -> Result<Vec<(Slot, Arc<Histogram>)>, DecodeError> {
    take_list(reader, presence, budget, |reader, slot, budget| {
        let before = base.and_then(|base| histogram_of(base, slot));
        histogram::take(reader, before, budget)
    })
}

pub(super) fn take_start_times(
    reader: &mut ByteReader<'_>,
    row: &Row,
    budget: &mut Budget,
) -> Result<Vec<(Slot, TimestampMs)>, DecodeError> {
    take_list(reader, &row.presence, budget, |reader, _, budget| {
        budget.pay(1)?;
        let apart = reader.signed()?;
        Ok(TimestampMs(row.at.0.wrapping_add(apart)))
    })
}

pub(super) fn take_exemplars(
    reader: &mut ByteReader<'_>,
    row: &Row,
    budget: &mut Budget,
) -> Result<Vec<(Slot, Exemplar)>, DecodeError> {
    take_list(reader, &row.presence, budget, |reader, slot, budget| {
        let exemplar = Exemplar {
            value: reader.float_near(row.floats[usize::from(slot)])?,
            at: TimestampMs(row.at.0.wrapping_add(reader.signed()?)),
            labels: take_labels(reader)?,
        };
        // Its texts are no longer than the input, so that they may be paid for afterwards.
        budget.pay(weight::of_exemplar(&exemplar))?;
        Ok(exemplar)
    })
}

/// Appends the labels of an exemplar.
pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_varint(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Reads what [`put_labels`] wrote.
pub(super) fn take_labels(reader: &mut ByteReader<'_>) -> Result<Labels, DecodeError> {
    let count = reader.count("labels of an exemplar", TEXT_BYTES_MAX / 2)?;
    let mut pairs = Vec::new();
    let mut bytes = 0;
    for _ in 0..count {
        let (name, value) = (reader.text()?, reader.text()?);
        bytes += name.len() + value.len();
        DecodeError::check("bytes of labels", bytes as u64, TEXT_BYTES_MAX)?;
        pairs.push((name, value));
    }
    Labels::from_pairs(pairs).map_err(|_| {
        DecodeError::Malformed("an exemplar's labels repeat a name or have an empty one")
    })
}

fn histogram_of(row: &Row, slot: Slot) -> Option<&Arc<Histogram>> {
    let at = row
        .histograms
        .binary_search_by_key(&slot, |(slot, _)| *slot);
    at.ok().map(|at| &row.histograms[at].1)
}

fn put_list<T>(out: &mut Vec<u8>, list: &[(Slot, T)], mut put: impl FnMut(&mut Vec<u8>, Slot, &T)) {
    put_varint(out, list.len() as u64);
    let mut from = 0;
    for (slot, item) in list {
        put_varint(out, u64::from(slot - from));
        from = slot + 1;
        put(out, *slot, item);
    }
}

fn take_list<T>(
    reader: &mut ByteReader<'_>,
    presence: &Presence,
    budget: &mut Budget,
    mut take: impl FnMut(&mut ByteReader<'_>, Slot, &mut Budget) -> Result<T, DecodeError>,
) -> Result<Vec<(Slot, T)>, DecodeError> {
    const NO_SLOT: DecodeError = DecodeError::Malformed("a list by slot names an absent slot");
    let count = reader.count("items in a list by slot", presence.slots())?;
    let mut list = Vec::new();
    let mut from = 0_usize;
    for _ in 0..count {
        let gap = reader.count("slots", presence.slots())?;
        let slot = from + gap;
        if !presence.contains(slot) {
            return Err(NO_SLOT);
        }
        from = slot + 1;
        let slot = Slot::try_from(slot).map_err(|_| NO_SLOT)?;
        list.push((slot, take(reader, slot, budget)?));
    }
    Ok(list)
}
