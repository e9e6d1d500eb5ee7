//! What several messages have in common: caps, texts, number sets, times.

use std::time::Duration;

use rows::{BatchNumber, NumberSet};

use super::malformed;
use crate::{DecodeError, EncodeError, FrameKind};

/// A name: of a node, a version, a reason.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// A text for people; longer ones are cut.
pub(super) const PROSE_BYTES_MAX: usize = 4_096;
/// A join token.
pub(super) const TOKEN_BYTES_MAX: usize = 4_096;
/// A certificate, or a request for one.
pub(super) const CERTIFICATE_BYTES_MAX: usize = 16_384;
/// Certificates in a chain.
pub(super) const CHAIN_MAX: usize = 8;
/// Reasons in an acknowledgement.
pub(super) const REASONS_MAX: usize = 64;

/// Closed intervals of batch numbers.
pub(super) type Intervals = Vec<(u64, u64)>;

/// Returns an error when a part of an outgoing message is too long.
pub(super) const fn fits(
    what: &'static str,
    length: usize,
    limit: usize,
) -> Result<(), EncodeError> {
    if length <= limit {
        return Ok(());
    }
    Err(EncodeError::TooLong {
        what,
        length,
        limit,
    })
}

/// Returns an error when a part of an incoming message is too long.
pub(super) const fn fitted(
    kind: FrameKind,
    what: &'static str,
    length: usize,
    limit: usize,
) -> Result<(), DecodeError> {
    if length <= limit {
        return Ok(());
    }
    Err(malformed(kind, what))
}

/// Returns the beginning of a text for people, at most [`PROSE_BYTES_MAX`] long.
pub(super) fn prose(text: &str) -> &str {
    text.get(..text.floor_char_boundary(PROSE_BYTES_MAX))
        .unwrap_or_default()
}

pub(super) fn intervals(set: &NumberSet) -> Intervals {
    set.intervals()
        .map(|(first, last)| (first.0, last.0))
        .collect()
}

pub(super) fn number_set(kind: FrameKind, intervals: Intervals) -> Result<NumberSet, DecodeError> {
    let pairs = intervals
        .into_iter()
        .map(|(first, last)| (BatchNumber(first), BatchNumber(last)));
    NumberSet::from_intervals(pairs)
        .ok_or_else(|| malformed(kind, "a set of numbers is out of order"))
}

/// Returns whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn chain_fits(chain: &[Vec<u8>]) -> Result<(), EncodeError> {
    fits("a chain of certificates", chain.len(), CHAIN_MAX)?;
    let longest = chain.iter().map(Vec::len).max().unwrap_or(0);
    fits("a certificate", longest, CERTIFICATE_BYTES_MAX)
}

pub(super) fn take_chain(kind: FrameKind, chain: Vec<&[u8]>) -> Result<Vec<Vec<u8>>, DecodeError> {
    fitted(kind, "its chain is too long", chain.len(), CHAIN_MAX)?;
    let longest = chain.iter().map(|part| part.len()).max().unwrap_or(0);
    let limit = CERTIFICATE_BYTES_MAX;
    fitted(kind, "a certificate is too long", longest, limit)?;
    Ok(chain.into_iter().map(<[u8]>::to_vec).collect())
}

/// Returns a text for people.
pub(super) fn take_prose(kind: FrameKind, text: &str) -> Result<String, DecodeError> {
    fitted(kind, "its text is too long", text.len(), PROSE_BYTES_MAX)?;
    Ok(text.to_owned())
}

/// Returns a name.
pub(super) fn take_name(kind: FrameKind, name: &str) -> Result<String, DecodeError> {
    fitted(kind, "a name is too long", name.len(), NAME_BYTES_MAX)?;
    Ok(name.to_owned())
}
