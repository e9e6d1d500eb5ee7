//! Rows: header, bitmap, floats.

use model::TimestampMs;

use super::bases::Seen;
use super::bytes::{ByteReader, put_signed, put_varint};
use super::error::DecodeError;
use super::float_column;
use super::weight::Budget;
use crate::{CohortId, Row, RowCounter, SLOTS_MAX};

/// Appends a row without its lists by slot; returns the exponents of its values.
///
/// The base is of the same cohort, before the row, and has no more slots.
pub(super) fn put_row(out: &mut Vec<u8>, row: &Row, base: Option<Seen<'_>>) -> Vec<u8> {
    put_varint(out, u64::from(row.cohort.0));
    put_varint(out, row.counter);
    let (distance, at, slots) = base.map_or((0, 0, 0), |base| {
        (
            row.counter - base.row.counter,
            base.row.at.0,
            base.row.floats.len(),
        )
    });
    put_varint(out, distance);
    put_signed(out, row.at.0.wrapping_sub(at));
    put_varint(out, (row.floats.len() - slots) as u64);
    float_column::encode(row, base, out)
}

/// Returns whether `row` may be encoded against `base`.
pub(super) fn leans_on(row: &Row, base: &Row) -> bool {
    row.counter > base.counter && row.floats.len() >= base.floats.len()
}

/// A row without its lists by slot.
#[derive(Debug)]
pub(super) struct TakenRow {
    pub(super) row: Row,
    pub(super) exponents: Vec<u8>,
    /// Whether it leans on the base that was found for it.
    pub(super) has_base: bool,
}

/// Reads what [`put_row`] wrote; `find` returns the last row of a cohort.
pub(super) fn take_row<'a>(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
    find: impl FnOnce(CohortId) -> Option<Seen<'a>>,
) -> Result<TakenRow, DecodeError> {
    let cohort = CohortId(reader.u32("a cohort's number is out of range")?);
    let counter = reader.varint()?;
    let distance = reader.varint()?;
    let base = find_base(cohort, counter, distance, find)?;
    let (at, slots) = base.map_or((0, 0), |base| (base.row.at.0, base.row.floats.len()));
    let at = TimestampMs(reader.signed()?.wrapping_add(at));
    let growth = reader.count("new slots", SLOTS_MAX)?;
    let slots = DecodeError::check("slots in a row", (slots + growth) as u64, SLOTS_MAX)?;
    budget.pay(slots)?;
    let floats = float_column::decode(slots, base, reader)?;
    Ok(TakenRow {
        row: Row {
            cohort,
            counter,
            at,
            presence: floats.presence,
            floats: floats.values,
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        },
        exponents: floats.exponents,
        has_base: base.is_some(),
    })
}

fn find_base<'a>(
    cohort: CohortId,
    counter: RowCounter,
    distance: u64,
    find: impl FnOnce(CohortId) -> Option<Seen<'a>>,
) -> Result<Option<Seen<'a>>, DecodeError> {
    if distance == 0 {
        return Ok(None);
    }
    let base = counter.checked_sub(distance).ok_or(DecodeError::Malformed(
        "a row's base is before the first row",
    ))?;
    match find(cohort) {
        Some(seen) if seen.row.counter == base => Ok(Some(seen)),
        _ => Err(DecodeError::MissingBase {
            cohort,
            counter,
            base,
        }),
    }
}
