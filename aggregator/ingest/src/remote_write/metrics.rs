//! What is counted of remote write.

use telemetry::{Counter, CounterFamily, Gauge, Registry};

use super::WriteOutcome;

/// Counters of remote write. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    all: crate::Metrics,
    samples: Counter,
    histograms: Counter,
    exemplars: Counter,
    rejected: CounterFamily<1>,
    exemplars_rejected: CounterFamily<1>,
    body_bytes: Counter,
    decoded_bytes: Counter,
    busy: Counter,
    series: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry, all: crate::Metrics) -> Self {
        let metrics = Self {
            all,
            samples: registry.counter(
                "promontory_remote_write_samples_total",
                "Float samples stored of remote write.",
            ),
            histograms: registry.counter(
                "promontory_remote_write_histograms_total",
                "Native histograms stored of remote write.",
            ),
            exemplars: registry.counter(
                "promontory_remote_write_exemplars_total",
                "Exemplars stored of remote write.",
            ),
            rejected: registry.counter_family(
                "promontory_remote_write_samples_rejected_total",
                "Samples of remote write that were rejected before the store saw them, or refused by it.",
                ["by"],
                2,
            ),
            exemplars_rejected: registry.counter_family(
                "promontory_remote_write_exemplars_rejected_total",
                "Exemplars of remote write that were left out before the store saw them, or refused by it.",
                ["by"],
                2,
            ),
            body_bytes: registry.counter(
                "promontory_remote_write_received_bytes_total",
                "Bytes of the bodies of remote write, compressed.",
            ),
            decoded_bytes: registry.counter(
                "promontory_remote_write_decoded_bytes_total",
                "Bytes of the bodies of remote write, decompressed.",
            ),
            busy: registry.counter(
                "promontory_remote_write_busy_total",
                "Requests of remote write refused because there was no room in memory, or in the store's intake, for too long.",
            ),
            series: registry.gauge(
                "promontory_remote_write_series",
                "Series of remote write that are remembered.",
            ),
        };
        for by in ["receiver", "store"] {
            metrics.rejected.with([by]);
            metrics.exemplars_rejected.with([by]);
        }
        metrics
    }

    pub(super) fn received(&self, body: usize, decoded: usize) {
        self.body_bytes.add(body as u64);
        self.decoded_bytes.add(decoded as u64);
    }

    pub(super) fn written(&self, outcome: &WriteOutcome) {
        let WriteOutcome {
            written,
            rejections,
            refused,
            ..
        } = outcome;
        self.samples.add(written.samples);
        self.histograms.add(written.histograms);
        self.exemplars.add(written.exemplars);
        for (by, samples, exemplars) in [
            ("receiver", rejections.samples, rejections.exemplars),
            ("store", refused.total(), refused.exemplars()),
        ] {
            self.rejected.with([by]).add(samples);
            self.exemplars_rejected.with([by]).add(exemplars);
        }
        self.all.samples_refused(refused.counts());
    }

    pub(super) fn busy(&self) {
        self.busy.inc();
    }

    pub(super) fn series(&self, count: usize) {
        self.series.set_count(count);
    }
}
