//! A row on its own: what a log writes down so that later rows have their base.

use super::bases::Bases;
use super::by_slot::Coded;
use super::bytes::put_varint;
use super::decoder::take_payload;
use super::encoder::check_row;
use super::error::{DecodeError, EncodeError};
use super::rows_section::put_row;
use super::{VERSION, WEIGHT_MAX, body, weight};
use crate::Row;

/// Encodes `row` so that it can be read without any other: a body with one key row.
pub fn encode_key_row(row: &Row) -> Result<Vec<u8>, EncodeError> {
    check_row(row)?;
    EncodeError::check("slots and histogram parts", weight::of_row(row), WEIGHT_MAX)?;
    let mut section = Vec::new();
    put_varint(&mut section, 1);
    put_row(&mut section, row, None);
    body::assemble(&section, &[Coded { row, base: None }], &[], &[])
}

/// Reads what [`encode_key_row`] wrote.
pub fn decode_key_row(bytes: &[u8]) -> Result<Row, DecodeError> {
    const NOT_ONE: DecodeError = DecodeError::Malformed("it should hold one row, and nothing else");
    let (version, payload) = body::open(bytes, VERSION)?;
    let mut taken = take_payload(version, &payload, &Bases::default())?;
    match (taken.rows.pop(), taken.rows.is_empty()) {
        (Some(taken_row), true) if taken.samples.is_empty() && taken.metadata.is_empty() => {
            Ok(taken_row.row)
        }
        _ => Err(NOT_ONE),
    }
}
