//! What sending counts, under Prometheus' names with our prefix; `alertmanager` is the URL.

use telemetry::{CounterFamily, Gauge, GaugeFamily, Registry, SummaryFamily};

/// Alertmanagers that have metrics of their own.
const SHOWN_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) latency: SummaryFamily<1>,
    pub(crate) sent: CounterFamily<1>,
    pub(crate) errors: CounterFamily<1>,
    pub(crate) dropped: CounterFamily<1>,
    pub(crate) queue_length: GaugeFamily<1>,
    pub(crate) queue_capacity: Gauge,
    pub(crate) discovered: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        let labels = ["alertmanager"];
        let counter = |name, help| registry.counter_family(name, help, labels, SHOWN_MAX);
        Self {
            latency: registry.summary_family(
                "promontory_notifications_latency_seconds",
                "How long it took to post a batch of alerts.",
                &[0.5, 0.9, 0.99],
                labels,
                SHOWN_MAX,
            ),
            sent: counter("promontory_notifications_sent_total", "Alerts posted."),
            errors: counter(
                "promontory_notifications_errors_total",
                "Alerts of batches that could not be posted.",
            ),
            dropped: counter(
                "promontory_notifications_dropped_total",
                "Alerts lost: they could not be posted, or the queue was full.",
            ),
            queue_length: registry.gauge_family(
                "promontory_notifications_queue_length",
                "Alerts that wait.",
                labels,
                SHOWN_MAX,
            ),
            queue_capacity: registry.gauge(
                "promontory_notifications_queue_capacity",
                "Alerts that may wait for each Alertmanager.",
            ),
            discovered: registry.gauge(
                "promontory_notifications_alertmanagers_discovered",
                "Alertmanagers that alerts are sent to.",
            ),
        }
    }
}
