//! What is counted of sessions.

use rows::Batch;
use storage::{RefusalCounts, RefusalReason, Refusals};
use telemetry::{Counter, CounterFamily, Registry};
use wire::{JoinRefusal, SessionRefusal};

/// The most values of a label here: all are from lists in this program.
const LABEL_SETS_MAX: usize = 32;

/// Counters of sessions and joins. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: CounterFamily<1>,
    sessions_refused: CounterFamily<1>,
    protocol_errors: Counter,
    joins: Counter,
    joins_refused: CounterFamily<1>,
    batches: CounterFamily<1>,
    body_bytes: Counter,
    rows: Counter,
    samples: Counter,
    samples_refused: CounterFamily<1>,
}

impl Metrics {
    /// Registers all counters.
    pub fn register(registry: &Registry) -> Self {
        let family =
            |name, help, label| registry.counter_family(name, help, [label], LABEL_SETS_MAX);
        let metrics = Self {
            sessions: family(
                "promontory_ingest_sessions_total",
                "Sessions of agents opened.",
                "transport",
            ),
            sessions_refused: family(
                "promontory_ingest_sessions_refused_total",
                "Sessions of agents refused.",
                "reason",
            ),
            protocol_errors: registry.counter(
                "promontory_ingest_protocol_errors_total",
                "Sessions ended because the agent broke the protocol.",
            ),
            joins: registry.counter(
                "promontory_ingest_joins_total",
                "Agents that joined with a token.",
            ),
            joins_refused: family(
                "promontory_ingest_joins_refused_total",
                "Join requests refused.",
                "reason",
            ),
            batches: family(
                "promontory_ingest_batches_total",
                "Batches received, by what became of them.",
                "outcome",
            ),
            body_bytes: registry.counter(
                "promontory_ingest_body_bytes_total",
                "Bytes of the bodies of batches received.",
            ),
            rows: registry.counter("promontory_ingest_rows_total", "Rows received."),
            samples: registry.counter(
                "promontory_ingest_samples_total",
                "Samples received, refused ones included.",
            ),
            samples_refused: family(
                "promontory_ingest_samples_refused_total",
                "Samples refused inside good batches.",
                "reason",
            ),
        };
        // Each reason is there from the start, so that an increase is seen with the first one.
        for reason in RefusalReason::ALL {
            metrics.samples_refused.with([reason.as_str()]);
        }
        for outcome in [
            "stored",
            "duplicate",
            "not_durable",
            "resend",
            "quarantined",
        ] {
            metrics.batches.with([outcome]);
        }
        metrics
    }

    pub(crate) fn session_opened(&self, transport: &'static str) {
        self.sessions.with([transport]).inc();
    }

    pub(crate) fn session_refused(&self, reason: SessionRefusal) {
        self.sessions_refused.with([reason.as_str()]).inc();
    }

    pub(crate) fn protocol_broken(&self) {
        self.protocol_errors.inc();
    }

    pub(crate) fn joined(&self) {
        self.joins.inc();
    }

    pub(crate) fn join_refused(&self, reason: JoinRefusal) {
        self.joins_refused.with([reason.as_str()]).inc();
    }

    pub(crate) fn batch_decoded(&self, batch: &Batch) {
        let in_rows: usize = batch
            .rows
            .iter()
            .map(|decoded| decoded.row.presence.count())
            .sum();
        self.body_bytes.add(batch.bytes.len() as u64);
        self.rows.add(batch.rows.len() as u64);
        self.samples.add((in_rows + batch.samples.len()) as u64);
    }

    pub(crate) fn batch_undecodable(&self, asked_again: bool) {
        self.outcome(if asked_again { "resend" } else { "quarantined" });
    }

    pub(crate) fn batch_stored(&self, refused: &Refusals) {
        self.outcome("stored");
        self.samples_refused(refused.counts());
    }

    pub(crate) fn samples_refused(&self, refused: &RefusalCounts) {
        for (reason, samples) in refused.iter() {
            self.samples_refused.with([reason.as_str()]).add(samples);
        }
    }

    pub(crate) fn batch_duplicate(&self) {
        self.outcome("duplicate");
    }

    pub(crate) fn batch_not_durable(&self) {
        self.outcome("not_durable");
    }

    fn outcome(&self, outcome: &str) {
        self.batches.with([outcome]).inc();
    }
}
