//! What the agent says of itself.

use telemetry::{Counter, CounterFamily, Gauge, GaugeFamily, Histogram, HistogramFamily, Registry};
use transport::TransportKind;
use uplink::{UplinkStats, UplinkView};

/// A collection of a node takes about a millisecond; one of a cohort of thousands of series tens of them.
const COLLECT_SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// Reasons of refused samples shown singly: as many as the uplink keeps, and its rest.
const REASONS_MAX: usize = 33;

/// What collecting counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) ticks: Counter,
    pub(crate) missed: Counter,
    /// Ticks that were not collected because the queue had no room.
    pub(crate) dropped: Counter,
    pub(crate) clock_steps: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) refused: Counter,
    pub(crate) renewals: Counter,
    pub(crate) fast_seconds: Histogram,
    pub(crate) slow_seconds: Histogram,
    pub(crate) container_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let seconds: HistogramFamily<1> = registry.histogram_family(
            "promontory_agent_collect_duration_seconds",
            "How long the collectors of a tier took.",
            COLLECT_SECONDS,
            ["tier"],
            3,
        );
        Self {
            ticks: registry.counter(
                "promontory_agent_ticks_total",
                "Collections that were made.",
            ),
            missed: registry.counter(
                "promontory_agent_ticks_missed_total",
                "Collections left out because the one before took too long, or the machine was busy.",
            ),
            dropped: registry.counter(
                "promontory_agent_ticks_dropped_total",
                "Collections left out because the queue to the uplink was full.",
            ),
            clock_steps: registry.counter(
                "promontory_agent_clock_steps_total",
                "Steps of the wall clock over 1 s.",
            ),
            duplicates: registry.counter(
                "promontory_agent_samples_duplicate_total",
                "Samples dropped because a collector gave their series twice.",
            ),
            refused: registry.counter(
                "promontory_agent_samples_beyond_layout_total",
                "Samples dropped because their cohort has 16,384 series already.",
            ),
            renewals: registry.counter(
                "promontory_agent_cohorts_renewed_total",
                "Cohorts started anew because most of their series were gone.",
            ),
            fast_seconds: seconds.with(["fast"]),
            slow_seconds: seconds.with(["slow"]),
            container_seconds: seconds.with(["containers"]),
        }
    }

    /// Shows the figures of `uplink` at every gathering from now on.
    pub(crate) fn follow(&self, registry: &Registry, uplink: UplinkView) {
        let shown = Delivery::new(registry);
        registry.on_gather(move || shown.show(&uplink.stats()));
    }
}

/// A counter or gauge, and where its value stands.
type Shown<M> = (M, fn(&UplinkStats) -> u64);

/// What the uplink and the spool count.
struct Delivery {
    counters: Vec<Shown<Counter>>,
    gauges: Vec<Shown<Gauge>>,
    spool_errors: CounterFamily<1>,
    refused: CounterFamily<1>,
    connected: GaugeFamily<1>,
    oldest: Gauge,
}

type Definition = (&'static str, &'static str, fn(&UplinkStats) -> u64);

const COUNTERS: &[Definition] = &[
    (
        "promontory_agent_batches_made_total",
        "Batches made.",
        |s| s.made.batches,
    ),
    (
        "promontory_agent_rows_made_total",
        "Rows put into batches.",
        |s| s.made.rows,
    ),
    (
        "promontory_agent_samples_made_total",
        "Samples put into batches.",
        |s| s.made.samples,
    ),
    (
        "promontory_agent_batch_bytes_total",
        "Bytes of the bodies of batches made.",
        |s| s.made.body_bytes,
    ),
    (
        "promontory_agent_rows_lost_total",
        "Rows that could not be put into the spool.",
        |s| s.made.rows_lost,
    ),
    (
        "promontory_agent_batches_sent_total",
        "Batches sent, resends included.",
        |s| s.delivered.batches_sent,
    ),
    (
        "promontory_agent_batch_bytes_sent_total",
        "Bytes of the bodies of batches sent.",
        |s| s.delivered.body_bytes_sent,
    ),
    (
        "promontory_agent_batches_acknowledged_total",
        "Batches that the aggregator has made durable.",
        |s| s.delivered.batches_acknowledged,
    ),
    (
        "promontory_agent_batches_resent_total",
        "Batches sent again as key rows, at the aggregator's request.",
        |s| s.delivered.batches_resent,
    ),
    (
        "promontory_agent_batches_sent_back_total",
        "Batches that the aggregator could not make durable; they are sent again.",
        |s| s.delivered.batches_sent_back,
    ),
    (
        "promontory_agent_batches_quarantined_total",
        "Batches put aside because the aggregator cannot decode them.",
        |s| s.delivered.batches_quarantined,
    ),
    (
        "promontory_agent_batches_unreadable_total",
        "Batches lost to damage in the spool.",
        |s| s.delivered.batches_unreadable,
    ),
    ("promontory_agent_sessions_total", "Sessions opened.", |s| {
        s.delivered.sessions
    }),
    (
        "promontory_agent_connects_failed_total",
        "Attempts to connect that failed.",
        |s| s.connects_failed,
    ),
    (
        "promontory_agent_spool_dropped_batches_total",
        "Batches dropped from a full spool before the aggregator had them.",
        |s| s.spool.dropped_batches,
    ),
    (
        "promontory_agent_spool_dropped_samples_total",
        "Samples in batches dropped from a full spool.",
        |s| s.spool.dropped_samples,
    ),
    (
        "promontory_agent_spool_damages_total",
        "Damaged places found in the spool.",
        |s| s.spool.damages,
    ),
    (
        "promontory_agent_spool_syncs_total",
        "Syncs of the spool.",
        |s| s.spool.syncs,
    ),
];

const GAUGES: &[Definition] = &[
    (
        "promontory_agent_spool_bytes",
        "Bytes of the spool on disk.",
        |s| s.spool.bytes,
    ),
    (
        "promontory_agent_spool_limit_bytes",
        "The most that the spool may take: --spool.max-bytes, or 10 % of the volume.",
        |s| s.spool.bytes_max,
    ),
    (
        "promontory_agent_spool_batches",
        "Batches in the spool.",
        |s| s.spool.batches,
    ),
    (
        "promontory_agent_spool_segments",
        "Files of the spool.",
        |s| s.spool.segments,
    ),
    (
        "promontory_agent_spool_unsynced_bytes",
        "Bytes written to the spool and not synced; a power cut costs those of them that are not acknowledged.",
        |s| s.spool.unsynced_bytes,
    ),
    (
        "promontory_agent_batches_on_their_way",
        "Batches sent and not yet acknowledged.",
        |s| s.delivered.on_their_way as u64,
    ),
];

impl Delivery {
    fn new(registry: &Registry) -> Self {
        Self {
            counters: (COUNTERS.iter())
                .map(|(name, help, read)| (registry.counter(name, help), *read))
                .collect(),
            gauges: (GAUGES.iter())
                .map(|(name, help, read)| (registry.gauge(name, help), *read))
                .collect(),
            spool_errors: registry.counter_family(
                "promontory_agent_spool_errors_total",
                "Failures of the spool's disk, by what was attempted.",
                ["attempt"],
                4,
            ),
            refused: registry.counter_family(
                "promontory_agent_samples_refused_total",
                "Samples that the aggregator took note of and did not store, by reason.",
                ["reason"],
                REASONS_MAX,
            ),
            connected: registry.gauge_family(
                "promontory_agent_connected",
                "Whether there is a connection to the aggregator, over this transport.",
                ["transport"],
                2,
            ),
            oldest: registry.gauge(
                "promontory_agent_spool_oldest_timestamp_seconds",
                "When the oldest batch in the spool was made; 0 when there is none.",
            ),
        }
    }

    fn show(&self, stats: &UplinkStats) {
        for (counter, read) in &self.counters {
            counter.raise_to(as_float(read(stats)));
        }
        for (gauge, read) in &self.gauges {
            gauge.set(as_float(read(stats)));
        }
        let spool = &stats.spool;
        for (attempt, count) in [
            ("append", spool.write_errors),
            ("append to a full disk", spool.full_errors),
            ("sync", spool.sync_errors),
            ("upkeep", spool.upkeep_errors),
        ] {
            self.spool_errors.with([attempt]).raise_to(as_float(count));
        }
        for (reason, count) in &stats.delivered.samples_refused {
            self.refused.with([reason]).raise_to(as_float(*count));
        }
        for kind in [TransportKind::Quic, TransportKind::Tcp] {
            let is_it = stats.connected == Some(kind);
            self.connected
                .with([kind.as_str()])
                .set(f64::from(u8::from(is_it)));
        }
        self.oldest
            .set(spool.oldest.map_or(0.0, |oldest| oldest.as_seconds()));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are doubles; above 2^53 a count is rounded"
)]
const fn as_float(count: u64) -> f64 {
    count as f64
}
