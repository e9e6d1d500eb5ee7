//! The aggregator's own series: its metrics, and `up` of every agent it knows.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clock::SharedClock;
use ingest::Agents;
use model::{Labels, MetricType, TimestampMs};
use rows::{
    AgentId, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortBuilder, CohortId,
    Collected, Epoch, SeriesDefinition,
};
use runtime::{Timer, Token};
use storage::{AppendOutcome, Appender, Lane, Source};
use telemetry::Registry;
use tsdb::Tsdb;

/// The job of the aggregator's own metrics, and of `up` for agents.
const JOB: &str = "promontory";
const AGENTS_JOB: &str = "promontory-agent";
/// The aggregator's own source: no agent can have this id, for a certificate never carries one that ends so.
const OWN_ID: &str = "promontory-aggregator";

/// Samples the process into its own store.
#[derive(Debug)]
pub(crate) struct OwnSeries {
    store: Arc<Tsdb>,
    registry: Registry,
    agents: Agents,
    clock: SharedClock,
    instance: String,
    source: Source,
    next: BatchNumber,
    encoder: BatchEncoder,
    decoder: BatchDecoder,
    own: CohortBuilder,
    known: CohortBuilder,
}

impl OwnSeries {
    /// Returns a sampler that numbers its batches within `epoch`; `instance` is the address that the API listens on.
    pub(crate) fn new(
        store: Arc<Tsdb>,
        registry: Registry,
        agents: Agents,
        clock: SharedClock,
        (instance, epoch): (String, Epoch),
    ) -> anyhow::Result<Self> {
        let agent: AgentId = OWN_ID.parse()?;
        let cohort = |id, name: &str| CohortBuilder::new(CohortId(id), Arc::from(name), &[]);
        Ok(Self {
            store,
            registry,
            agents,
            clock,
            instance,
            source: Source {
                agent,
                epoch,
                lane: Lane::Live,
            },
            next: BatchNumber(0),
            encoder: BatchEncoder::new(),
            decoder: BatchDecoder::new(),
            own: cohort(0, "self"),
            known: cohort(1, "agents"),
        })
    }

    /// Samples each `interval` until `stop`.
    pub(crate) async fn run(mut self, interval: Duration, stop: Token) {
        let timer = Timer::new(Arc::clone(&self.clock));
        while stop.run(timer.sleep(interval)).await.is_some() {
            if let Err(error) = tokio::task::block_in_place(|| self.sample()) {
                tracing::warn!(%error, "the aggregator's own metrics are not stored");
                // What was encoded may not have been taken: begin anew with key rows.
                self.encoder.reset();
            }
        }
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        let at = TimestampMs::from(self.clock.wall());
        let mut sink = self.own.begin(at);
        self.registry
            .collect(&mut sink, &[("job", JOB), ("instance", &self.instance)]);
        let own = sink.finish();
        let known = self.sample_agents(at);
        if self.known.is_worn() {
            self.known.renew(CohortId(
                u32::try_from(self.next.0)
                    .unwrap_or(u32::MAX)
                    .saturating_add(2),
            ));
        }
        self.store([own, known])
    }

    /// `up` = 1 for an agent that is connected, 0 for one that is known and silent.
    fn sample_agents(&mut self, at: TimestampMs) -> Collected {
        let agents = self.agents.list();
        let mut sink = self.known.begin(at);
        for agent in &agents {
            let id = agent.peer.agent().as_str();
            let value = if agent.connected { 1.0 } else { 0.0 };
            sink.series(id.as_bytes(), value, || {
                let labels = [
                    ("__name__", "up"),
                    ("job", AGENTS_JOB),
                    ("instance", id),
                    ("node", id),
                    ("cluster", agent.peer.cluster().unwrap_or_default()),
                    ("tenant", agent.peer.tenant().unwrap_or_default()),
                ];
                SeriesDefinition {
                    labels: Labels::from_pairs(labels).unwrap_or_default(),
                    kind: MetricType::Gauge,
                }
            });
        }
        sink.finish()
    }

    fn store(&mut self, collected: [Collected; 2]) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let mut metadata = Vec::new();
        for collected in collected {
            if let Some(definition) = collected.definition {
                self.store.define(&self.source, definition)?;
            }
            metadata.extend(collected.metadata);
            if collected.row.presence.slots() > 0 {
                rows.push(Arc::new(collected.row));
            }
        }
        let contents = BatchContents {
            rows: &rows,
            samples: &[],
            metadata: &metadata,
        };
        let encoded = self.encoder.encode(&contents)?;
        let batch = self.decoder.decode(self.next, encoded.bytes)?;
        self.next = self.next.next();
        let (said, answer) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| drop(said.send(outcome)));
        self.store.append(&self.source, Arc::new(batch), done)?;
        match answer.recv()? {
            AppendOutcome::Stored(_) | AppendOutcome::Duplicate => Ok(()),
            AppendOutcome::Failed(reason) => anyhow::bail!(reason),
        }
    }
}
