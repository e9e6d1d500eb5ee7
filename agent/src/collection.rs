//! One tick: collectors into rows, rows into an update.

use std::collections::HashSet;
use std::sync::Arc;

use clock::{Clock, SharedClock};
use containers::Containers;
use exposition::Part;
use host::{Host, Tier};
use model::{Metadata, TimestampMs};
use rows::{
    AgentId, CohortBuilder, CohortId, Collected, Epoch, Family, MetricMetadata, RowSink, Sink,
};
use telemetry::{Registry, Visitor};
use uplink::Update;

use crate::container_rows::ContainerRows;
use crate::latest::Latest;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

static UP: Family = Family::gauge(
    "up",
    "1 while this is collected; of a silent agent the aggregator writes 0.",
    &[],
);

const NODE_JOB: &str = "node-exporter";
const OWN_JOB: &str = "promontory-agent";

/// The cohorts of an agent, and what fills them.
#[derive(Debug)]
pub(crate) struct Collection {
    host: Host,
    instance: String,
    fast: CohortBuilder,
    slow: CohortBuilder,
    own: Own,
    containers: Option<ContainerRows>,
    ledger: Option<Ledger>,
    cohorts: Cohorts,
    latest: Arc<Latest>,
    metrics: Metrics,
}

/// The agent's own metrics as a cohort.
#[derive(Debug)]
struct Own {
    registry: Registry,
    builder: CohortBuilder,
    /// The registry's generation when its families were last looked at.
    generation: Option<u64>,
    described: HashSet<String>,
}

/// Numbers for cohorts, each used once.
#[derive(Debug, Default)]
pub(crate) struct Cohorts {
    next: u32,
}

impl Cohorts {
    pub(crate) fn next(&mut self) -> CohortId {
        let id = CohortId(self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}

impl Collection {
    pub(crate) fn new(
        host: Host,
        id: &AgentId,
        registry: Registry,
        latest: Arc<Latest>,
        metrics: Metrics,
    ) -> Self {
        let instance = id.to_string();
        let mut cohorts = Cohorts::default();
        let mut builder = |name: &str, job: &str| {
            let labels = [("job", job), ("instance", instance.as_str())];
            CohortBuilder::new(cohorts.next(), Arc::from(name), &labels)
        };
        Self {
            host,
            fast: builder("node/fast", NODE_JOB),
            slow: builder("node/slow", NODE_JOB),
            own: Own {
                registry,
                builder: builder("agent", OWN_JOB),
                generation: None,
                described: HashSet::new(),
            },
            containers: None,
            ledger: None,
            instance,
            cohorts,
            latest,
            metrics,
        }
    }

    /// Adds containers.
    pub(crate) fn keep_containers(&mut self, containers: Containers, latest: Arc<Latest>) {
        self.containers = Some(ContainerRows::new(containers, &self.instance, latest));
    }

    /// Adds the ledger, of so many series, to what is collected often.
    pub(crate) fn keep_ledger(&mut self, agent: &AgentId, epoch: Epoch, series: u16) {
        self.ledger = Some(Ledger::new(agent, epoch, series, self.cohorts.next()));
    }

    /// Collects what is due into rows with the time `at`.
    pub(crate) fn collect(&mut self, clock: &SharedClock, at: TimestampMs, slow: bool) -> Update {
        let mut update = Update::default();
        self.renew_worn(&mut update);
        self.collect_tier(Tier::Fast, &**clock, at, &mut update);
        if let Some(collected) = self.ledger.as_mut().map(|ledger| ledger.collect(at)) {
            self.take(collected, None, &mut update);
        }
        self.collect_containers(&**clock, at, slow, &mut update);
        if slow {
            self.collect_tier(Tier::Slow, &**clock, at, &mut update);
            self.collect_own(at, &mut update);
        }
        update
    }

    fn collect_tier(
        &mut self,
        tier: Tier,
        clock: &dyn Clock,
        at: TimestampMs,
        update: &mut Update,
    ) {
        let begun = clock.monotonic();
        let (builder, seconds) = match tier {
            Tier::Fast => (&mut self.fast, &self.metrics.fast_seconds),
            Tier::Slow => (&mut self.slow, &self.metrics.slow_seconds),
        };
        let mut sink = builder.begin(at);
        if tier == Tier::Fast {
            sink.sample(&UP, &[], 1.0);
        }
        self.host.collect(tier, &mut sink);
        let collected = sink.finish();
        seconds.observe_duration(clock.monotonic().saturating_since(begun));
        self.take(collected, Some(&self.latest), update);
    }

    fn collect_containers(
        &mut self,
        clock: &dyn Clock,
        at: TimestampMs,
        slow: bool,
        update: &mut Update,
    ) {
        if let Some(containers) = &mut self.containers {
            let begun = clock.monotonic();
            let dropped = containers.collect(&mut self.cohorts, at, slow, update);
            let took = clock.monotonic().saturating_since(begun);
            self.metrics.container_seconds.observe_duration(took);
            self.metrics.duplicates.add(dropped.duplicates as u64);
            self.metrics.refused.add(dropped.refused as u64);
        }
    }

    fn collect_own(&mut self, at: TimestampMs, update: &mut Update) {
        let own = &mut self.own;
        let generation = own.registry.generation();
        if own.generation != Some(generation) {
            own.generation = Some(generation);
            own.registry.gather(&mut Descriptions {
                described: &mut own.described,
                new: &mut update.metadata,
            });
        }
        let mut sink: RowSink<'_> = own.builder.begin(at);
        sink.sample(&UP, &[], 1.0);
        let labels = [("job", OWN_JOB), ("instance", self.instance.as_str())];
        own.registry.collect(&mut sink, &labels);
        let collected = sink.finish();
        self.take(collected, None, update);
    }

    fn take(&self, collected: Collected, latest: Option<&Latest>, update: &mut Update) {
        self.metrics.duplicates.add(collected.duplicates as u64);
        self.metrics.refused.add(collected.refused as u64);
        let row = Arc::new(collected.row.clone());
        if let Some(latest) = latest {
            latest.put(&collected, &row);
        }
        update.rows.push(row);
        update.definitions.extend(collected.definition);
        update.metadata.extend(collected.metadata);
    }

    /// Lets cohorts that are mostly dead series begin anew.
    fn renew_worn(&mut self, update: &mut Update) {
        for builder in [&mut self.fast, &mut self.slow, &mut self.own.builder] {
            if builder.is_worn() {
                let ended = builder.definition().cohort;
                builder.renew(self.cohorts.next());
                self.latest.end(ended);
                self.metrics.renewals.inc();
                update.ended.push(ended);
            }
        }
    }
}

/// Gathers what families say of themselves.
struct Descriptions<'a> {
    described: &'a mut HashSet<String>,
    new: &'a mut Vec<MetricMetadata>,
}

impl Visitor for Descriptions<'_> {
    fn family(&mut self, family: &exposition::Family<'_>) {
        if self.described.insert(family.name.to_owned()) {
            self.new.push(MetricMetadata {
                metric: Arc::from(family.name),
                metadata: Metadata {
                    kind: family.kind,
                    help: family.help.to_owned(),
                    unit: family.unit.to_owned(),
                },
            });
        }
    }

    fn sample(&mut self, _: &exposition::Family<'_>, _: Part, _: &[(&str, &str)], _: f64) {}
}
