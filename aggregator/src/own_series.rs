//! The aggregator's own series: its metrics, and whether each agent that it knows is connected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clock::SharedClock;
use files::KeyValueError;
use ingest::{Agents, OWN_ID};
use model::{Labels, MetricType, TimestampMs};
use rows::{
    AgentId, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortBuilder,
    CohortDefinition, CohortId, Collected, Epoch, MetricMetadata, SeriesDefinition,
};
use runtime::{Timer, Token};
use storage::{AppendOutcome, Appender, Lane, Source};
use telemetry::Registry;

/// The job of the aggregator's own metrics.
const JOB: &str = "promontory";

/// Samples the process into its own store.
#[derive(Debug)]
pub(crate) struct OwnSeries {
    store: Arc<dyn Appender>,
    registry: Registry,
    agents: Agents,
    clock: SharedClock,
    instance: String,
    source: Source,
    /// Stays until the store has taken a batch of this number: numbers given up would be holes that the store remembers.
    next: BatchNumber,
    /// The cohort that comes after those used.
    next_cohort: u32,
    /// Definitions that the store has not taken; a cohort's slots stand here once at most.
    definitions: VecDeque<CohortDefinition>,
    /// What families say of themselves, until it is stored; each stands here once at most.
    metadata: Vec<MetricMetadata>,
    encoder: BatchEncoder,
    decoder: BatchDecoder,
    own: CohortBuilder,
    known: CohortBuilder,
}

impl OwnSeries {
    /// Returns a sampler that numbers its batches within `epoch`; `instance` is the address that the API listens on.
    pub(crate) fn new(
        store: Arc<impl Appender + 'static>,
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
            next_cohort: 2,
            definitions: VecDeque::new(),
            metadata: Vec::new(),
            encoder: BatchEncoder::new(),
            decoder: BatchDecoder::new(),
            own: cohort(0, "self"),
            known: cohort(1, "agents"),
        })
    }

    /// Samples, and has the agents remembered, each `interval` until `stop`.
    pub(crate) async fn run(mut self, interval: Duration, stop: Token) {
        let timer = Timer::new(Arc::clone(&self.clock));
        while stop.run(timer.sleep(interval)).await.is_some() {
            tokio::task::block_in_place(|| self.sample_and_remember());
        }
        let at = TimestampMs::from(self.clock.wall());
        let remembered = tokio::task::block_in_place(|| self.agents.save_all(at));
        warn_of_unremembered(remembered);
    }

    fn sample_and_remember(&mut self) {
        if let Err(error) = self.sample() {
            tracing::warn!(%error, "the aggregator's own metrics are not stored");
            // What was encoded may not have been taken: begin anew with key rows.
            self.encoder.reset();
        }
        warn_of_unremembered(self.agents.save(TimestampMs::from(self.clock.wall())));
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        let at = TimestampMs::from(self.clock.wall());
        self.renew_worn();
        let mut sink = self.own.begin(at);
        self.registry
            .collect(&mut sink, &[("job", JOB), ("instance", &self.instance)]);
        let own = sink.finish();
        let known = self.sample_agents(at);
        self.store([own, known])
    }

    /// Begins a new cohort for the agents when most slots of the present one belong to agents that are gone.
    fn renew_worn(&mut self) {
        if !self.known.is_worn() {
            return;
        }
        let worn = self.known.definition().cohort;
        // No row of the old cohort will come, so what the store has not heard of it, it need not hear.
        self.definitions
            .retain(|definition| definition.cohort != worn);
        self.known.renew(CohortId(self.next_cohort));
        self.next_cohort = self.next_cohort.saturating_add(1);
    }

    /// `promontory_agent_up` = 1 for an agent that is connected, 0 for one that is known and silent.
    ///
    /// It is the aggregator's view, under a name and a job of its own: `up{job="promontory-agent"}` is written by the agent, and a
    /// series has one writer. Nor is `up{job="node-exporter"}` = 0 written in the place of a silent agent: a node's `up` is the
    /// agent's to say, and the backlog that it sends later would contradict what was written here.
    fn sample_agents(&mut self, at: TimestampMs) -> Collected {
        let agents = self.agents.list();
        let mut sink = self.known.begin(at);
        for agent in &agents {
            let id = agent.peer.agent().as_str();
            let value = if agent.connected { 1.0 } else { 0.0 };
            sink.series(id.as_bytes(), value, || {
                let labels = [
                    ("__name__", "promontory_agent_up"),
                    ("job", JOB),
                    ("agent", id),
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

    /// Stores rows, after all that they need. When it fails, these rows are lost; nothing that later rows need is.
    fn store(&mut self, collected: [Collected; 2]) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for collected in collected {
            self.definitions.extend(collected.definition);
            self.metadata.extend(collected.metadata);
            if collected.row.presence.slots() > 0 {
                rows.push(Arc::new(collected.row));
            }
        }
        while let Some(definition) = self.definitions.front() {
            self.store.define(&self.source, definition.clone())?;
            self.definitions.pop_front();
        }
        let contents = BatchContents {
            rows: &rows,
            samples: &[],
            metadata: &self.metadata,
        };
        let encoded = self.encoder.encode(&contents)?;
        let batch = self.decoder.decode(self.next, encoded.bytes)?;
        let (said, answer) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| drop(said.send(outcome)));
        self.store.append(&self.source, Arc::new(batch), done)?;
        match answer.recv()? {
            AppendOutcome::Stored(_) => {
                self.next = self.next.next();
                self.metadata.clear();
                Ok(())
            }
            // An earlier batch of this number became durable although its sync was said to have failed; these rows did not.
            AppendOutcome::Duplicate => {
                self.next = self.next.next();
                anyhow::bail!("an earlier batch of this number is stored already")
            }
            AppendOutcome::Failed(reason) => anyhow::bail!(reason),
        }
    }
}

fn warn_of_unremembered(saved: Result<(), KeyValueError>) {
    if let Err(error) = saved {
        tracing::warn!(error = %error, source = %error.source, "the list of agents is not saved, tried again later");
    }
}

#[cfg(test)]
mod tests;
