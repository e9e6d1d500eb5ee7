//! Containers as rows: two cohorts of each pod and container, by tier, and one of each other group.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use containers::{
    Containers, ContainersConfig, CriConfig, LABELS, Metrics, Names, Showing, Taken, Taker, Tier,
};
use exposition::Format;
use model::{LabelsBuilder, METRIC_NAME, Metadata, TimestampMs};
use rows::{
    CohortBuilder, CohortId, Collected, Family, MetricMetadata, RowSink, SeriesDefinition, Sink,
};
use runtime::{Tasks, Timer, run_apart};
use telemetry::Registry;
use uplink::Update;

use crate::AgentError;
use crate::collection::Cohorts;
use crate::latest::Latest;

/// Labels as a Prometheus has them that scrapes a kubelet.
const JOB: &str = "kubelet";
const METRICS_PATH: &str = "/metrics/cadvisor";

/// How containers are collected.
#[derive(Clone, Debug)]
pub struct ContainerConfig {
    /// What is read.
    pub containers: ContainersConfig,
    /// Who tells their names.
    pub names: NameSource,
}

/// Who tells the names of containers.
#[derive(Clone, Debug)]
pub enum NameSource {
    /// The runtime, over its socket.
    Runtime(CriConfig),
    /// A file that holds what it would say.
    Snapshot(PathBuf),
}

impl ContainerConfig {
    /// Returns the names there are before a runtime has spoken.
    pub(crate) fn names(&self) -> Result<Names, AgentError> {
        let names = Names::new();
        if let NameSource::Snapshot(path) = &self.names {
            let read = std::fs::read(path).map_err(|source| AgentError::SnapshotFile {
                path: path.clone(),
                source,
            })?;
            let learned = names.learn_snapshot(&read);
            learned.map_err(|source| AgentError::SnapshotText {
                path: path.clone(),
                source,
            })?;
        }
        Ok(names)
    }
}

/// Reads all containers once and writes what they say. Names come from the runtime, if there is one, or a snapshot, and from what is on the
/// disk. Blocks; not for a worker of a runtime.
pub fn exposed_containers(
    config: &ContainerConfig,
    clock: SharedClock,
    format: Format,
) -> Result<String, AgentError> {
    let names = config.names()?;
    let metrics = Metrics::new(&Registry::new());
    if let NameSource::Runtime(runtime) = &config.names {
        let (names, metrics) = (names.clone(), metrics.clone());
        let (timer, tasks) = (Timer::new(Arc::clone(&clock)), Tasks::new("names"));
        let learning = containers::learn_once(runtime.clone(), names, metrics, timer, tasks);
        if let Err(error) = run_apart(learning) {
            tracing::warn!(%error, "the container runtime cannot be asked; names come from the disk");
        }
    }
    let at = TimestampMs::from(clock.wall());
    let containers = Containers::new(config.containers.clone(), names, metrics, clock);
    let latest = Arc::new(Latest::of_containers());
    let mut rows = ContainerRows::new(containers, "", Arc::clone(&latest));
    let (mut cohorts, mut update) = (Cohorts::default(), Update::default());
    rows.collect_with(&mut cohorts, at, &mut update, |containers, taker| {
        containers.collect_once(taker);
    });
    Ok(latest.expose(format))
}

/// Makes the rows of containers.
#[derive(Debug)]
pub(crate) struct ContainerRows {
    containers: Containers,
    state: State,
}

#[derive(Debug)]
struct State {
    base_labels: [(&'static str, String); 3],
    cohorts: HashMap<(Showing, Tier), Cohort>,
    /// Cohorts whose last row is on its way.
    ending: Vec<CohortId>,
    described: HashSet<String>,
    latest: Arc<Latest>,
}

#[derive(Debug)]
struct Cohort {
    id: CohortId,
    builder: CohortBuilder,
    last: Option<TimestampMs>,
}

impl ContainerRows {
    pub(crate) fn new(containers: Containers, instance: &str, latest: Arc<Latest>) -> Self {
        Self {
            containers,
            state: State {
                base_labels: [
                    ("job", JOB.to_owned()),
                    ("instance", instance.to_owned()),
                    ("metrics_path", METRICS_PATH.to_owned()),
                ],
                cohorts: HashMap::new(),
                ending: Vec::new(),
                described: HashSet::new(),
                latest,
            },
        }
    }

    /// Collects what is due into rows with the time `at`; what has ended has its last row a little before.
    pub(crate) fn collect(
        &mut self,
        cohorts: &mut Cohorts,
        at: TimestampMs,
        slow: bool,
        update: &mut Update,
    ) -> Dropped {
        self.collect_with(cohorts, at, update, |containers, taker| {
            containers.collect(slow, taker);
        })
    }

    fn collect_with(
        &mut self,
        cohorts: &mut Cohorts,
        at: TimestampMs,
        update: &mut Update,
        collect: impl FnOnce(&mut Containers, &mut dyn Taker),
    ) -> Dropped {
        update.ended.append(&mut self.state.ending);
        let mut rows = Rows {
            state: &mut self.state,
            cohorts,
            at,
            update,
            dropped: Dropped::default(),
        };
        collect(&mut self.containers, &mut rows);
        rows.dropped
    }
}

/// Samples that went into no row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) duplicates: usize,
    pub(crate) refused: usize,
}

/// Takes the samples of one collection.
struct Rows<'a> {
    state: &'a mut State,
    cohorts: &'a mut Cohorts,
    at: TimestampMs,
    update: &'a mut Update,
    dropped: Dropped,
}

impl Taker for Rows<'_> {
    fn take(&mut self, taken: Taken<'_>, give: &dyn Fn(&mut dyn Sink)) {
        let State {
            base_labels,
            cohorts,
            described,
            latest,
            ..
        } = &mut *self.state;
        let cohort = (cohorts.entry((taken.showing, taken.tier)))
            .or_insert_with(|| Cohort::new(self.cohorts.next(), &taken));
        let at = match taken.last {
            None => self.at,
            // Before the mark that says that there will be no more.
            Some(age) => cohort.before(self.at, age),
        };
        let mut sink = ContainerSink {
            row: cohort.builder.begin(at),
            identity: Vec::new(),
            base_labels,
            described,
            metadata: Vec::new(),
        };
        give(&mut sink);
        let metadata = sink.metadata;
        let mut collected = sink.row.finish();
        collected.metadata.extend(metadata);
        cohort.last = Some(at);
        self.dropped.duplicates += collected.duplicates;
        self.dropped.refused += collected.refused;
        let row = Arc::new(collected.row.clone());
        latest.put(&collected, &row);
        let Collected {
            definition,
            metadata,
            ..
        } = collected;
        self.update.rows.push(row);
        self.update.definitions.extend(definition);
        self.update.metadata.extend(metadata);
    }

    fn ended(&mut self, showing: Showing) {
        for tier in [Tier::Fast, Tier::Slow] {
            let Some(mut cohort) = self.state.cohorts.remove(&(showing, tier)) else {
                continue;
            };
            let row = cohort.builder.end(self.at);
            self.update.rows.push(Arc::new(row));
            self.state.latest.end(cohort.id);
            self.state.ending.push(cohort.id);
        }
    }
}

impl Cohort {
    fn new(id: CohortId, taken: &Taken<'_>) -> Self {
        let tier = match taken.tier {
            Tier::Fast => "fast",
            Tier::Slow => "slow",
        };
        let name = format!("container/{tier}{}", taken.id);
        Self {
            id,
            builder: CohortBuilder::new(id, Arc::from(name), &[]),
            last: None,
        }
    }

    /// Returns the time of values that were read so long before `at`: after the row before, and before `at`.
    fn before(&self, at: TimestampMs, age: Duration) -> TimestampMs {
        let after = self.last.map_or(i64::MIN, |last| last.0.saturating_add(1));
        let read = at.saturating_sub(age).0;
        TimestampMs(read.min(at.0.saturating_sub(1)).max(after))
    }
}

/// Takes the samples of one group into a row. Within its cohort a series is known by what differs there: its name and own labels.
struct ContainerSink<'a> {
    row: RowSink<'a>,
    identity: Vec<u8>,
    base_labels: &'a [(&'static str, String)],
    described: &'a mut HashSet<String>,
    metadata: Vec<MetricMetadata>,
}

impl Sink for ContainerSink<'_> {
    fn sample(&mut self, family: &Family, values: &[&str], value: f64) {
        const SEPARATOR: u8 = 0xff;
        self.identity.clear();
        self.identity.extend_from_slice(family.name().as_bytes());
        for own in values.iter().skip(LABELS.len()) {
            self.identity.push(SEPARATOR);
            self.identity.extend_from_slice(own.as_bytes());
        }
        let (base_labels, described) = (self.base_labels, &mut *self.described);
        let metadata = &mut self.metadata;
        self.row.series(&self.identity, value, || {
            if !described.contains(family.name()) {
                described.insert(family.name().to_owned());
                metadata.push(about(family));
            }
            definition(family, values, base_labels)
        });
    }
}

fn about(family: &Family) -> MetricMetadata {
    MetricMetadata {
        metric: Arc::from(family.name()),
        metadata: Metadata {
            kind: family.kind(),
            help: family.help().to_owned(),
            unit: String::new(),
        },
    }
}

fn definition(
    family: &Family,
    values: &[&str],
    base_labels: &[(&'static str, String)],
) -> SeriesDefinition {
    let mut labels = LabelsBuilder::new();
    for (name, value) in base_labels {
        labels.set(*name, value.as_str());
    }
    labels.set(METRIC_NAME, family.name());
    for (name, value) in family.labels().zip(values) {
        labels.set(name, *value);
    }
    SeriesDefinition {
        labels: labels.build(),
        kind: family.kind(),
    }
}

#[cfg(test)]
mod tests;
