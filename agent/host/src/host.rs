//! The collectors of a node, run by tier.

use std::time::{Duration, SystemTime};

use clock::{Monotonic, SharedClock};

use crate::collectors::{self, Collector};
use crate::error::CollectError;
use crate::{
    CollectorName, Family, HostConfig, HostConfigError, MetricFamily, Sink, Snapshot, Tier,
};

static DURATION: Family = Family::gauge(
    "node_scrape_collector_duration_seconds",
    "node_exporter: Duration of a collector scrape.",
    &["collector"],
);
static SUCCESS: Family = Family::gauge(
    "node_scrape_collector_success",
    "node_exporter: Whether a collector succeeded.",
    &["collector"],
);

/// How long a collection waits for mounts: a local `statfs` takes microseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// So long a collector rests that has found nothing of what it looks for: what is not there seldom comes, and to look for it takes as long as
/// to read a small file. One that collects every 15 s looks each time.
const REST: Duration = Duration::from_secs(14);

/// What a collector is told of the collection it runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Monotonic,
    pub(crate) wall: SystemTime,
    /// How long this collection may wait for what is slow.
    pub(crate) patience: Duration,
}

/// The collectors of a node.
///
/// Blocking: its owner calls it from a thread of its own. Dropping it ends its threads, but for those that the kernel holds.
#[derive(Debug)]
pub struct Host {
    clock: SharedClock,
    mount_timeout: Duration,
    collectors: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: CollectorName,
    tier: Tier,
    collector: Box<dyn Collector>,
    /// `None` before the first run.
    succeeded: Option<bool>,
    /// Until when it is not asked, and how long it took the last time, in seconds.
    rest: Option<(Monotonic, f64)>,
}

impl Host {
    /// Returns a host that collects what `config` says; opens no file yet.
    pub fn new(config: &HostConfig, clock: SharedClock) -> Result<Self, HostConfigError> {
        let collectors = CollectorName::ALL
            .into_iter()
            .filter_map(|name| Some((name, *config.collectors.get(&name)?)))
            .map(|(name, tier)| {
                Ok(Entry {
                    name,
                    tier,
                    collector: collectors::build(name, config)?,
                    succeeded: None,
                    rest: None,
                })
            })
            .collect::<Result<_, HostConfigError>>()?;
        Ok(Self {
            clock,
            mount_timeout: config.filesystem.mount_timeout,
            collectors,
        })
    }

    /// Runs the collectors of `tier` into `sink`, each followed by its duration and success.
    ///
    /// Takes a millisecond or so, and at most 0.1 s longer when mounts do not answer. What is not there is looked for every 14 s.
    pub fn collect(&mut self, tier: Tier, sink: &mut dyn Sink) {
        self.run(Some(tier), PATIENCE, sink);
    }

    /// Runs all collectors once, for a text form; waits for mounts as long as `mount_timeout`.
    pub fn expose(&mut self) -> Vec<MetricFamily> {
        let mut snapshot = Snapshot::new();
        self.run(None, self.mount_timeout, &mut snapshot);
        snapshot.into_families()
    }

    fn run(&mut self, tier: Option<Tier>, patience: Duration, sink: &mut dyn Sink) {
        for entry in &mut self.collectors {
            if tier.is_some_and(|tier| tier != entry.tier) {
                continue;
            }
            let moment = Moment {
                now: self.clock.monotonic(),
                wall: self.clock.wall(),
                patience,
            };
            let label = [entry.name.as_str()];
            if let (Some(_), Some((until, took))) = (tier, entry.rest)
                && moment.now < until
            {
                sink.sample(&DURATION, &label, took);
                sink.sample(&SUCCESS, &label, 0.0);
                continue;
            }
            let outcome = entry.collector.collect(moment, sink);
            let took = self.clock.monotonic().saturating_since(moment.now);
            let took = whole_microseconds(took);
            sink.sample(&DURATION, &label, took);
            sink.sample(&SUCCESS, &label, if outcome.is_ok() { 1.0 } else { 0.0 });
            let found_nothing = matches!(outcome, Err(CollectError::NoData(_)));
            entry.rest = found_nothing.then(|| (moment.now + REST, took));
            entry.report(outcome);
        }
    }
}

impl Entry {
    /// Logs a change of fortune, not every failure.
    fn report(&mut self, outcome: Result<(), CollectError>) {
        let before = self.succeeded.replace(outcome.is_ok());
        let collector = self.name.as_str();
        match outcome {
            Ok(()) if before == Some(false) => tracing::info!(collector, "collector recovered"),
            Err(CollectError::NoData(why)) if before != Some(false) => {
                tracing::debug!(collector, why, "collector has no data");
            }
            Err(error) if before != Some(false) => {
                tracing::warn!(
                    collector,
                    error = &error as &dyn std::error::Error,
                    "collector failed"
                );
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Seconds without digits that mean nothing: they would cost bytes in every row.
fn whole_microseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}
