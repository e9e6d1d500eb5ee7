//! What a listener counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::TransportKind;
use crate::refusal::RefusalReason;

/// A snapshot of a listener's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Sessions accepted over QUIC.
    pub accepted_quic: u64,
    /// Sessions accepted over TCP.
    pub accepted_tcp: u64,
    /// Requests to join that were handed out.
    pub joins: u64,
    /// Connections open now.
    pub connections: u32,
    /// Handshakes in progress now.
    pub handshakes: u64,
    /// QUIC handshakes whose address had to be proved first.
    pub retries: u64,
    /// UDP datagrams that cannot be QUIC.
    pub garbage_datagrams: u64,
    /// Handshakes refused, by reason; every reason is present.
    pub refused: Vec<(RefusalReason, u64)>,
}

impl ListenerStats {
    /// Returns how many handshakes were refused for `reason`.
    pub fn refused_for(&self, reason: RefusalReason) -> u64 {
        let mut refused = self.refused.iter();
        refused.find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    accepted_quic: AtomicU64,
    accepted_tcp: AtomicU64,
    joins: AtomicU64,
    handshakes: AtomicU64,
    retries: AtomicU64,
    garbage_datagrams: Arc<AtomicU64>,
    refused: [AtomicU64; RefusalReason::ALL.len()],
}

impl Counters {
    pub(super) fn new(garbage_datagrams: Arc<AtomicU64>) -> Self {
        Self {
            accepted_quic: AtomicU64::new(0),
            accepted_tcp: AtomicU64::new(0),
            joins: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            garbage_datagrams,
            refused: Default::default(),
        }
    }

    pub(super) fn accepted(&self, kind: TransportKind) {
        let counter = match kind {
            TransportKind::Quic => &self.accepted_quic,
            TransportKind::Tcp => &self.accepted_tcp,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn joined(&self) {
        self.joins.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, reason: RefusalReason) {
        for (counted, counter) in RefusalReason::ALL.iter().zip(&self.refused) {
            if *counted == reason {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts a handshake as in progress until the returned value is dropped.
    pub(super) fn handshake(&self) -> Handshake<'_> {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        Handshake(self)
    }

    pub(super) fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self, connections: u32) -> ListenerStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ListenerStats {
            accepted_quic: load(&self.accepted_quic),
            accepted_tcp: load(&self.accepted_tcp),
            joins: load(&self.joins),
            connections,
            handshakes: load(&self.handshakes),
            retries: load(&self.retries),
            garbage_datagrams: load(&self.garbage_datagrams),
            refused: RefusalReason::ALL
                .into_iter()
                .zip(self.refused.iter().map(load))
                .collect(),
        }
    }
}

pub(super) struct Handshake<'a>(&'a Counters);

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}
