//! Many agents on one runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clock::{SharedClock, SystemClock};
use files::{SharedFileSystem, Simulated};
use rows::AgentId;
use runtime::{Permits, Tasks};
use tokio::runtime::Runtime;
use transport::{Connector, ConnectorConfig, JoinToken, Transports, join};

use super::agent::{Agent, Pace, RowSource};
use crate::server::Server;

/// Agents that join at once: the aggregator takes them one after the other.
const JOINING_MAX: u32 = 16;

/// Agents with open sessions.
pub(crate) struct Fleet {
    agents: Vec<Agent>,
    tasks: Tasks,
    // Dropped last: connections need it.
    runtime: Runtime,
}

/// What a fleet has sent since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FleetSent {
    pub(crate) samples: u64,
    pub(crate) body_bytes: u64,
}

impl Fleet {
    /// Lets agents of these names join `server`, and opens their sessions.
    pub(crate) fn open(
        server: &Server,
        interval: Duration,
        members: Vec<(String, Box<dyn RowSource>)>,
    ) -> Result<Self> {
        let runtime = runtime::multi_thread("compare", 2, runtime::BLOCKING_THREADS)?;
        let tasks = Tasks::new("fleet");
        let token: JoinToken = server.token()?.parse().context("the token that was made")?;
        let permits = Permits::new("joining", JOINING_MAX);
        let files: SharedFileSystem = Arc::new(Simulated::new());
        let clock: SharedClock = Arc::new(SystemClock::default());
        let opened = runtime.block_on(async {
            let opening: Vec<_> = members
                .into_iter()
                .map(|(name, source)| {
                    let (token, target) = (token.clone(), server.ingest().to_string());
                    let (files, clock, permits) =
                        (Arc::clone(&files), Arc::clone(&clock), permits.clone());
                    tasks.spawn("open", async move {
                        let _permit = permits.acquire(1).await;
                        let config = ConnectorConfig {
                            transports: Transports::QuicOnly,
                            ..ConnectorConfig::default()
                        };
                        let id: AgentId = name.parse()?;
                        let folder = PathBuf::from("/").join(&name);
                        let identity =
                            join(&config, &target, &token, &id, files, &folder, clock).await?;
                        let connector = Connector::new(&config, &identity)?;
                        let agent =
                            Agent::open(&connector, &target, &name, interval, source).await?;
                        anyhow::Ok(agent)
                    })
                })
                .collect();
            let mut agents = Vec::new();
            for opening in opening {
                agents.push(opening.await??);
            }
            anyhow::Ok(agents)
        });
        Ok(Self {
            agents: opened?,
            tasks,
            runtime,
        })
    }

    /// Lets every agent send `batches` batches of `rows` rows, and waits until all are durable.
    pub(crate) fn send(
        &mut self,
        batches: usize,
        rows: usize,
        pace: impl Fn(usize) -> Pace,
    ) -> Result<()> {
        let agents = std::mem::take(&mut self.agents);
        let tasks = &self.tasks;
        self.agents = self.runtime.block_on(async {
            let sending: Vec<_> = agents
                .into_iter()
                .enumerate()
                .map(|(number, mut agent)| {
                    let pace = pace(number);
                    tasks.spawn("send", async move {
                        agent.send(batches, rows, pace).await?;
                        agent.drain().await?;
                        anyhow::Ok(agent)
                    })
                })
                .collect();
            let mut agents = Vec::new();
            for sending in sending {
                agents.push(sending.await??);
            }
            anyhow::Ok(agents)
        })?;
        Ok(())
    }

    /// Returns what all have sent.
    pub(crate) fn sent(&self) -> FleetSent {
        self.agents
            .iter()
            .fold(FleetSent::default(), |sent, agent| FleetSent {
                samples: sent.samples + agent.samples,
                body_bytes: sent.body_bytes + agent.body_bytes,
            })
    }

    /// Returns the time of the last row of the first agent.
    pub(crate) fn last(&self) -> model::TimestampMs {
        self.agents
            .first()
            .map(|agent| agent.last)
            .unwrap_or_default()
    }
}
