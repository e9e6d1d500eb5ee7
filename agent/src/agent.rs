//! The agent: its parts, the order in which they start and stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use containers::Containers;
use files::SharedFileSystem;
use host::Host;
use rows::{AgentId, Epoch};
use runtime::{
    QueueReceiver, QueueSender, Task, TaskError, Tasks, Timer, Token, WhenFull, queue, run_apart,
};
use spool::Spool;
use telemetry::Registry;
use tokio::time::timeout;
use transport::{Connector, ConnectorConfig, IdentityStore};
use uplink::{DeliveryConfig, Introduction, Update, Uplink, UplinkConfig};

use crate::chosen::ChosenCollectors;
use crate::collection::Collection;
use crate::collector::Collector;
use crate::config::host_name;
use crate::joining::{self, Joining};
use crate::metrics::Metrics;
use crate::{AgentConfig, AgentError, AgentView, ContainerConfig, NameSource, Pushing, Scraping};

/// Updates between the collector and the uplink: what a disk that hesitates may hold up. When full, ticks are not collected.
const UPDATES_MAX: usize = 32;
/// The time that a stopping agent may take: the uplink waits at most 2 s for acknowledgements, and as long for its connection.
const GRACE: Duration = Duration::from_secs(10);
/// The share of it for a collection that is under way: one that the kernel holds must not cost the drain.
const COLLECTOR_GRACE: Duration = Duration::from_secs(3);

/// What an agent lives in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The disk.
    pub files: SharedFileSystem,
    /// The clocks.
    pub clock: SharedClock,
    /// The agent's own metrics, of which it makes rows with the job `promontory-agent`: a registry that is not the aggregator's.
    pub registry: Registry,
    /// The tasks that the agent's will be among.
    pub tasks: Tasks,
}

/// An agent whose spool is open.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    surroundings: Surroundings,
    host: Host,
    spool: Spool,
    identity: Option<IdentityStore>,
    view: AgentView,
}

impl Agent {
    /// Opens identity and spool, away from the async threads; neither collects nor connects.
    pub async fn start(
        config: AgentConfig,
        surroundings: Surroundings,
    ) -> Result<Self, AgentError> {
        let tasks = surroundings.tasks.clone();
        let opening = tasks.spawn_blocking("open the spool", || Self::open(config, surroundings));
        opening
            .await
            .unwrap_or_else(|error| Err(part_ended("open the spool", &error)))
    }

    fn open(config: AgentConfig, surroundings: Surroundings) -> Result<Self, AgentError> {
        let Surroundings { files, clock, .. } = &surroundings;
        let host = Host::new(&config.host, Arc::clone(clock))?;
        let identity = joining::open_identity(&config, files, clock)?;
        let epoch = Epoch(getrandom::u64().map_err(|error| AgentError::Random(error.to_string()))?);
        let settings = spool::Settings {
            bytes_max: config.spool_bytes_max,
            ..spool::Settings::default()
        };
        let folder = &config.spool_folder;
        let (mut spool, report) = Spool::open(Arc::clone(files), folder, settings, epoch)?;
        for damage in &report.damages {
            tracing::warn!(
                file = %damage.file.display(),
                offset = damage.offset,
                bytes = damage.bytes,
                kind = ?damage.kind,
                "a damaged place in the spool was passed over"
            );
        }
        spool.destination(&config.aggregator)?;
        spool.retain_destinations(&[&config.aggregator]);
        let chosen = ChosenCollectors::new(
            config.host.clone(),
            Arc::clone(clock),
            surroundings.tasks.clone(),
        );
        let pushing = Pushing::open(
            config.push.clone(),
            &config.host.paths.rootfs,
            Arc::clone(files),
            Arc::clone(clock),
            &surroundings.registry,
        )?;
        let seed = config
            .id
            .as_ref()
            .map_or_else(host_name, ToString::to_string);
        let scraping = Scraping::new(
            config.jobs.clone(),
            &seed,
            Arc::clone(clock),
            surroundings.tasks.clone(),
            &surroundings.registry,
        );
        Ok(Self {
            view: AgentView::new(&surroundings.registry, chosen, pushing, scraping),
            config,
            surroundings,
            host,
            spool,
            identity,
        })
    }

    /// Returns a view of the agent, valid also while it runs and after.
    pub fn view(&self) -> AgentView {
        self.view.clone()
    }

    /// Joins when that is needed (again and again while the aggregator is not there), then collects and sends until `stop`; then
    /// drains and syncs the spool, within 10 s.
    ///
    /// An error is final: a refusal, or a part that broke.
    pub async fn run(mut self, stop: Token) -> Result<(), AgentError> {
        let present = self.identity.take();
        let joining = Joining {
            config: &self.config,
            surroundings: &self.surroundings,
            condition: self.view.identity_condition(),
        };
        let (sender, receiver) = queue("updates", UPDATES_MAX, WhenFull::Reject);
        let collecting = Token::new();
        let tasks = &self.surroundings.tasks;
        let pushing = self
            .view
            .pushing()
            .run(sender.clone(), tasks.clone(), collecting.clone());
        let mut pushing = tasks.spawn("pushed groups", pushing);
        match stop.run(joining.identity(present)).await {
            Some(Ok(identity)) => {
                let updates = Updates {
                    sender,
                    receiver,
                    collecting,
                    pushing,
                };
                self.run_as(Arc::new(identity), updates, &stop).await
            }
            unjoined => {
                collecting.stop();
                wait(&mut pushing).await;
                unjoined.map_or(Ok(()), |identity| identity.map(drop))
            }
        }
    }

    async fn run_as(
        self,
        identity: Arc<IdentityStore>,
        updates: Updates,
        stop: &Token,
    ) -> Result<(), AgentError> {
        let Self {
            config,
            surroundings,
            host,
            spool,
            view,
            ..
        } = self;
        let Surroundings {
            files,
            clock,
            registry,
            tasks,
        } = surroundings;
        let id = identity.peer().agent().clone();
        tracing::info!(agent = %id, aggregator = config.aggregator, interval = ?config.interval, "agent starts");
        let metrics = Metrics::new(&registry);
        let epoch = spool.epoch();
        let Updates {
            sender,
            receiver,
            collecting,
            pushing,
        } = updates;
        let connector = Connector::new(&connector_config(&config), &identity);
        let connector = connector.map_err(AgentError::Connector)?;
        let uplink = Uplink::new(
            uplink_config(&config, &id),
            spool,
            files,
            (identity, connector),
            receiver,
            Arc::clone(&clock),
        )?;
        view.connect(uplink.view());
        metrics.follow(&registry, uplink.view());
        let mut collection =
            Collection::new(host, &id, registry.clone(), view.latest(), metrics.clone());
        if let Some(series) = config.ledger {
            collection.keep_ledger(&id, epoch, series);
        }
        if let Some(config) = config.containers {
            let around = (&registry, &clock, &tasks);
            let containers = start_containers(*config, around, &collecting)?;
            collection.keep_containers(containers, view.latest_of_containers());
        }
        view.pushing().connect();
        let scraping = view.scraping().run(sender.clone(), collecting.clone());
        let collector = Collector::new(collection, config.interval, clock, sender, metrics);
        let sending = Token::new();
        let parts = Parts {
            collector: {
                let (stop, condition) = (collecting.clone(), view.collection_condition());
                tasks.spawn_blocking("collector", move || collector.run(&stop, &condition))
            },
            pushing,
            scraping: tasks.spawn("scraped targets", scraping),
            uplink: {
                let sending = sending.clone();
                tasks.spawn_blocking("uplink", move || run_apart(uplink.run(sending)))
            },
            collecting,
            sending,
        };
        parts.run(stop).await
    }
}

/// What brings updates, and what takes them: pushes are taken before the agent has an identity, too.
struct Updates {
    sender: QueueSender<Update>,
    receiver: QueueReceiver<Update>,
    collecting: Token,
    pushing: Task<()>,
}

/// What runs.
struct Parts {
    collector: Task<()>,
    pushing: Task<()>,
    scraping: Task<()>,
    uplink: Task<io::Result<()>>,
    collecting: Token,
    sending: Token,
}

impl Parts {
    async fn run(mut self, stop: &Token) -> Result<(), AgentError> {
        let outcome = tokio::select! {
            () = stop.stopped() => Ok(()),
            ended = &mut self.collector => Err(ended_early("collector", ended)),
            ended = &mut self.pushing => Err(ended_early("pushed groups", ended)),
            ended = &mut self.scraping => Err(ended_early("scraped targets", ended)),
            ended = &mut self.uplink => Err(ended_apart("uplink", ended)),
        };
        if timeout(GRACE, self.stop()).await.is_err() {
            tracing::warn!(
                grace = ?GRACE,
                "the agent stops without having drained; what was not acknowledged is in the spool"
            );
        }
        outcome
    }

    /// Collectors, pushes and scrapes first, so that the uplink sees the last of their rows.
    async fn stop(&mut self) {
        self.collecting.stop();
        let stopping = async {
            wait(&mut self.pushing).await;
            wait(&mut self.scraping).await;
            wait(&mut self.collector).await;
        };
        if timeout(COLLECTOR_GRACE, stopping).await.is_err() {
            tracing::warn!("the kernel holds a collector; the uplink drains without it");
        }
        self.sending.stop();
        wait(&mut self.uplink).await;
        tracing::info!("agent stopped");
    }
}

/// Waits for a task that may have been waited for already.
async fn wait<T>(task: &mut Task<T>) {
    if !task.is_finished()
        && let Err(error) = task.await
    {
        tracing::error!(%error, "a part of the agent failed while stopping");
    }
}

fn ended_early(part: &'static str, ended: Result<(), TaskError>) -> AgentError {
    match ended {
        Ok(()) => AgentError::PartEnded {
            part,
            why: "it was not told to".to_owned(),
        },
        Err(error) => part_ended(part, &error),
    }
}

/// The same of a part with a runtime of its own.
fn ended_apart(part: &'static str, ended: Result<io::Result<()>, TaskError>) -> AgentError {
    match ended {
        Ok(Err(error)) => AgentError::PartEnded {
            part,
            why: format!("it gets no runtime: {error}; raise the limit of open files"),
        },
        ended => ended_early(part, ended.map(|_| ())),
    }
}

fn part_ended(part: &'static str, error: &TaskError) -> AgentError {
    AgentError::PartEnded {
        part,
        why: error.to_string(),
    }
}

/// Starts the watch over containers, and what learns their names, until `stop`.
fn start_containers(
    config: ContainerConfig,
    (registry, clock, tasks): (&Registry, &SharedClock, &Tasks),
    stop: &Token,
) -> Result<Containers, AgentError> {
    let names = config.names()?;
    let metrics = containers::Metrics::new(registry);
    if let NameSource::Runtime(runtime) = config.names {
        let timer = Timer::new(Arc::clone(clock));
        let (names, metrics) = (names.clone(), metrics.clone());
        let following =
            containers::follow(runtime, names, metrics, timer, tasks.clone(), stop.clone());
        tasks.spawn("container runtime", following).detach();
    }
    let mut containers = Containers::new(config.containers, names, metrics, Arc::clone(clock));
    if let Err(error) = containers.watch() {
        tracing::warn!(%error, "containers cannot be watched; their last values may be missed");
    }
    Ok(containers)
}

pub(crate) fn connector_config(config: &AgentConfig) -> ConnectorConfig {
    ConnectorConfig {
        transports: config.transports,
        ..ConnectorConfig::default()
    }
}

fn uplink_config(config: &AgentConfig, id: &AgentId) -> UplinkConfig {
    UplinkConfig {
        aggregator: config.aggregator.clone(),
        introduction: Introduction {
            node: id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            interval: config.interval,
        },
        delivery: DeliveryConfig::default(),
        quarantine: config.quarantine_folder(),
    }
}

#[cfg(test)]
mod tests;
