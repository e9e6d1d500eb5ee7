//! Room in memory for the requests that are decoded and not answered yet: taken before a body is decompressed, by what may become of it.
//!
//! What a request did not become is given back once it is decoded. Whoever finds no room waits in line, for a while; meanwhile there is
//! only the body as it came, which the HTTP server counts.

use std::time::Duration;

use runtime::{Permit, Permits};
use tokio::time::timeout;

use super::allowance::Allowance;

/// Room is counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;
/// Lists of a body's byte: a sample is named by two bytes and takes 40, twice while samples are sorted.
const LIST_BYTES_PER_BODY_BYTE: usize = 40;
/// The most that lists take: of 500,000 samples twice 40 bytes, of 100,000 series 80, of 500,000 symbols 24.
const LIST_BYTES_MAX: usize = 64 << 20;

/// Room for requests.
#[derive(Debug)]
pub(super) struct Room(Permits);

/// A request's room, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Permit);

impl Room {
    /// Returns room for requests of so many bytes together; one that may take more is decoded when there is no other.
    pub(super) fn new(bytes: u64) -> Self {
        let units = bytes / UNIT_BYTES as u64;
        let units = u32::try_from(units).unwrap_or(u32::MAX).max(1);
        Self(Permits::new("bytes of remote writes", units))
    }

    /// Waits for room for whatever becomes of a body of so many bytes; `None` when there was none for so long.
    pub(super) async fn take(&self, body_bytes: usize, patience: Duration) -> Option<Place> {
        let most = units(most_of(body_bytes));
        // Nearly always there is, and no timer is needed.
        if let Some(permit) = self.0.try_acquire(most) {
            return Some(Place(permit));
        }
        let taking = timeout(patience, self.0.acquire(most));
        taking.await.ok().map(Place)
    }

    /// Waits until no request has a place.
    pub(super) async fn empty(&self) {
        drop(self.0.acquire(u32::MAX).await);
    }

    #[cfg(test)]
    pub(super) fn bytes_in_use(&self) -> usize {
        self.0.stats().in_use as usize * UNIT_BYTES
    }
}

impl Place {
    /// Gives back what is more than so many bytes.
    pub(super) fn keep(&mut self, bytes: usize) {
        self.0.keep(units(bytes));
    }
}

/// Returns the most that becomes of a body of so many bytes, itself included.
fn most_of(body_bytes: usize) -> usize {
    let lists = body_bytes
        .saturating_mul(LIST_BYTES_PER_BODY_BYTE)
        .min(LIST_BYTES_MAX);
    body_bytes
        .saturating_add(lists)
        .saturating_add(Allowance::of(body_bytes).granted())
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}
