//! What is known of the link, and its figures.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alerting::Alerting;
use telemetry::{Counter, Gauge, Registry};

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Its address, as far as it is known.
    pub address: String,
}

/// Who is linked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkView {
    /// This side.
    pub own: Side,
    /// The other, while the link is up.
    pub peer: Option<Side>,
}

/// The link as it stands, with its figures. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    view: Arc<Mutex<LinkView>>,
    up: Gauge,
    clock_ahead: Gauge,
    connections: Counter,
    refused: Counter,
}

impl Status {
    pub(crate) fn new(own: Side, registry: &Registry) -> Self {
        let view = LinkView { own, peer: None };
        Self {
            view: Arc::new(Mutex::new(view)),
            up: registry.gauge(
                "promontory_alerting_peer_up",
                "Whether the link to the other aggregator of the pair is up. While it is 0, both tell.",
            ),
            clock_ahead: registry.gauge(
                "promontory_alerting_peer_clock_ahead_seconds",
                "What the clock of the other aggregator of the pair was ahead by when the link came up.",
            ),
            connections: registry.counter(
                "promontory_alerting_peer_connections_total",
                "Times that the link came up.",
            ),
            refused: registry.counter(
                "promontory_alerting_peer_refused_total",
                "Connections of aggregators refused because another one has the link.",
            ),
        }
    }

    pub(crate) fn came(&self, peer: Side, own_address: String, clock_ahead: f64) {
        self.up.set(1.0);
        self.clock_ahead.set(clock_ahead);
        self.connections.inc();
        let mut view = self.lock();
        view.peer = Some(peer);
        view.own.address = own_address;
    }

    pub(crate) fn went(&self) {
        self.up.set(0.0);
        self.lock().peer = None;
    }

    pub(crate) fn refuse(&self) {
        self.refused.inc();
    }

    #[cfg(test)]
    pub(crate) fn refused(&self) -> f64 {
        self.refused.value()
    }

    pub(crate) fn view(&self) -> LinkView {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, LinkView> {
        // Each change is an assignment.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what alerting counts of the pair.
pub(crate) fn show(registry: &Registry, alerting: &Alerting) {
    let settled = registry.gauge(
        "promontory_alerting_peer_settled",
        "Whether people are told: 0 while the start waits for what the other aggregator of the pair knows.",
    );
    let unsent = registry.gauge(
        "promontory_alerting_peer_unsent_records",
        "Silences and entries of the notification log that wait to be sent to the other aggregator of the pair.",
    );
    let differs = registry.gauge(
        "promontory_alerting_peer_config_differs",
        "Whether the other aggregator of the pair has another configuration of alerting: both may tell then. 0 while the link is down.",
    );
    let records = registry.counter_family(
        "promontory_alerting_peer_records_total",
        "Silences and entries of the notification log by what came of them: sent, received, merged (newer than what was known), too_large (not sent), refused (unreadable, or no room).",
        ["what"],
        8,
    );
    let alone = registry.counter(
        "promontory_alerting_peer_attempts_alone_total",
        "Attempts to notify made while the link was down: the other aggregator of the pair may have told the same.",
    );
    let told = registry.counter(
        "promontory_alerting_peer_told_total",
        "Notifications that were due here when the other aggregator of the pair had told them.",
    );
    let alerting = alerting.clone();
    registry.on_gather(move || {
        let (counts, view) =
            alerting.see(|pipeline, _| (pipeline.counts().pair.clone(), pipeline.pair()));
        let Some(view) = view else { return };
        settled.set(f64::from(u8::from(view.is_settled)));
        unsent.set_count(view.unsent);
        differs.set(f64::from(u8::from(view.has_same_config == Some(false))));
        alone.raise_to(float(counts.attempts_alone));
        told.raise_to(float(counts.told_by_other));
        for (what, count) in [
            ("sent", counts.records_sent),
            ("received", counts.records_received),
            ("merged", counts.records_merged),
            ("too_large", counts.records_too_large),
            ("refused", counts.records_refused),
        ] {
            records.with([what]).raise_to(float(count));
        }
    });
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn float(count: u64) -> f64 {
    count as f64
}
