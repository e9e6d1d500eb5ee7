//! The push API's shell: a gateway behind a lock, and the task that brings its rows to the uplink.
//!
//! Pushed samples travel at once: the first push after a pause leaves within its own moment. While more follow, what came
//! meanwhile is sent together every [`PACE`], so that a thousand pushes per second make a hundred batches, not a thousand.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Clock, Deadline, Monotonic, SharedClock};
use exposition::Format;
use files::SharedFileSystem;
use model::TimestampMs;
use push::{
    Body, Caller, Gateway, GatewayConfig, GroupKey, Harvest, Metrics, Names, Now, Part, PathError,
    PushError, PushOptions, Pushed, SYNC_INTERVAL, parse_path,
};
use rows::CohortId;
use runtime::{QueueSender, Tasks, Timer, Token};
use telemetry::Registry;
use tokio::sync::Notify;
use tokio::time::timeout;
use uplink::Update;

use crate::AgentError;

/// The time between two harvests while pushes come in.
const PACE: Duration = Duration::from_millis(10);
/// A group that is not pushed to has a row so often, as if it were scraped.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(15);
/// So many parts of the groups take turns, one a second: rows of all at once would take memory for a moment that is then never needed.
const SAMPLE_PARTS: u32 = 15;
/// How long a push waits for room among the rows that wait for the uplink.
const ROOM_WITHIN: Duration = Duration::from_secs(10);
/// Cohorts of groups count from here, collectors' from 0.
const FIRST_COHORT: CohortId = CohortId(1 << 31);

/// How pushes are taken.
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// What may be held, and where it is kept.
    pub gateway: GatewayConfig,
    /// Which names are taken.
    pub names: Names,
    /// The most bytes of a body, before and after it is decompressed.
    pub body_bytes_max: usize,
    /// How long a change may wait for its sync to disk.
    pub sync_interval: Duration,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            gateway: GatewayConfig::default(),
            names: Names::Classic,
            body_bytes_max: 4 << 20,
            sync_interval: SYNC_INTERVAL,
        }
    }
}

/// The push API of an agent. Clones are one; it outlives the agent.
#[derive(Clone, Debug)]
pub struct Pushing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Mutex<Gateway>,
    metrics: Metrics,
    clock: SharedClock,
    config: PushConfig,
    rootfs: PathBuf,
    started: TimestampMs,
    /// Rows have come to an outlet that had none.
    arrived: Notify,
    /// Rows were taken.
    room: Notify,
    /// Nothing is taken any more.
    closed: Token,
}

/// Why a push was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PushFailure {
    /// It is wrong, or there is no room for it.
    #[error(transparent)]
    Refused(#[from] PushError),
    /// Too much waits for the uplink; later there may be room.
    #[error("{0}; try again later")]
    Crowded(&'static str),
    /// The agent stops.
    #[error("the agent stops; try again once it is back")]
    Closed,
}

impl Pushing {
    /// Opens what is on disk; `rootfs` is where the node's root is mounted.
    pub(crate) fn open(
        config: PushConfig,
        rootfs: &Path,
        files: SharedFileSystem,
        clock: SharedClock,
        registry: &Registry,
    ) -> Result<Self, AgentError> {
        let metrics = Metrics::new(registry, env!("CARGO_PKG_VERSION"));
        let now = now(&*clock);
        let gateway = Gateway::open(&config.gateway, files, registry, metrics.clone(), now)?;
        Ok(Self(Arc::new(Shared {
            gateway: Mutex::new(gateway),
            metrics,
            clock,
            config,
            rootfs: rootfs.to_owned(),
            started: now.wall,
            arrived: Notify::new(),
            room: Notify::new(),
            closed: Token::new(),
        })))
    }

    /// Returns the group that a path names, for a caller that the kernel knows by this cgroup.
    pub fn key(&self, path: &str, cgroup: Option<&str>) -> Result<GroupKey, PathError> {
        let key = parse_path(path, self.0.config.names)?;
        Ok(match cgroup {
            None => key,
            Some(cgroup) => key.with(Caller::of_cgroup(cgroup, &self.0.rootfs).labels()),
        })
    }

    /// Changes a group as a push says. Cancelled, it has changed nothing, or all.
    pub async fn push(
        &self,
        key: &GroupKey,
        body: &Body<'_>,
        options: PushOptions,
    ) -> Result<(), PushFailure> {
        let config = &self.0.config;
        let pushed = body.read(config.names, config.body_bytes_max);
        let waiting = timeout(ROOM_WITHIN, self.change_when_room(key, &pushed, options)).await;
        waiting.unwrap_or_else(|_| {
            let why = "more rows wait for the uplink than fit";
            Err(PushFailure::Crowded(why))
        })
    }

    async fn change_when_room(
        &self,
        key: &GroupKey,
        pushed: &Result<Pushed, PushError>,
        options: PushOptions,
    ) -> Result<(), PushFailure> {
        loop {
            let room = self.0.room.notified();
            if let Some(done) = self.try_push(key, pushed, options) {
                return done;
            }
            room.await;
        }
    }

    /// `None`: there is no room now.
    fn try_push(
        &self,
        key: &GroupKey,
        pushed: &Result<Pushed, PushError>,
        options: PushOptions,
    ) -> Option<Result<(), PushFailure>> {
        let mut gateway = self.gateway();
        // Asked under the lock: what is taken before the end goes into the last harvest.
        if self.0.closed.is_stopped() {
            return Some(Err(PushFailure::Closed));
        }
        if gateway.is_crowded() {
            return None;
        }
        let pushed = pushed.as_ref().map_err(PushError::clone);
        let done = gateway.push(key, pushed, options, self.now());
        drop(gateway);
        self.0.arrived.notify_one();
        Some(done.map_err(PushFailure::from))
    }

    /// Ends a group, if there is one.
    pub fn delete(&self, key: &GroupKey) {
        self.change(|gateway, now| gateway.delete(key, now));
    }

    /// Ends all groups.
    pub fn wipe(&self) {
        self.change(Gateway::wipe);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Gateway, Now) -> T) {
        let mut gateway = self.gateway();
        if !self.0.closed.is_stopped() {
            change(&mut gateway, self.now());
        }
        drop(gateway);
        self.0.arrived.notify_one();
    }

    /// Returns why pushes are not safe; `None` when all is well.
    pub fn unhealthy(&self) -> Option<&'static str> {
        self.gateway().unhealthy()
    }

    /// Returns the exposition of everything.
    pub fn expose(&self, format: Format) -> String {
        self.gateway().expose(format)
    }

    /// Returns the answer to `/api/v1/metrics`.
    pub fn metrics_json(&self) -> String {
        self.gateway().metrics_json()
    }

    /// Returns the answer to `/api/v1/status`.
    pub fn status_json<'a>(&self, flags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        push::status_json(flags, self.0.started, env!("CARGO_PKG_VERSION"))
    }

    /// Returns the page that lists groups.
    pub fn page(&self) -> String {
        self.gateway().page(self.now())
    }

    /// Returns the counters of the API.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the time, for who measures requests.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Returns whether families are checked against each other: pushes are then answered with 200, otherwise with 202.
    pub fn checks(&self) -> bool {
        self.0.config.gateway.store.check_types
    }

    /// Makes rows from now on.
    pub(crate) fn connect(&self) {
        let now = self.now();
        self.gateway().connect(FIRST_COHORT, now);
        self.0.arrived.notify_one();
    }

    /// Brings rows to the uplink and keeps the gateway in order, until `stop`; then takes no more, and hands over what is left.
    pub(crate) async fn run(self, updates: QueueSender<Update>, tasks: Tasks, stop: Token) {
        let mut courier = Courier {
            timer: Timer::new(Arc::clone(&self.0.clock)),
            sample_at: Deadline::after(self.0.clock.monotonic(), SAMPLE_INTERVAL / SAMPLE_PARTS),
            next_part: 0,
            upkeep_at: Deadline::after(self.0.clock.monotonic(), Duration::ZERO),
            harvest_at: None,
            is_idle: false,
            pushing: self,
            updates,
            tasks,
        };
        while stop.run(courier.step()).await.is_some() {}
        courier.close().await;
    }

    /// Keeps the gateway in order; returns when that is due again, and whether it is only after the next change.
    fn upkeep(&self) -> (Option<Monotonic>, bool) {
        let now = self.now();
        let upkeep = self.gateway().upkeep(now);
        if let Some(file) = upkeep.sync {
            // Without the lock: pushes go on meanwhile.
            let outcome = file.sync_data();
            self.gateway().synced(outcome);
        }
        (upkeep.again, upkeep.is_idle)
    }

    fn gateway(&self) -> MutexGuard<'_, Gateway> {
        // Pushes are planned before anything is changed; a panic in between would leave a group without its row, no more.
        (self.0.gateway.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        now(&*self.0.clock)
    }
}

fn now(clock: &dyn Clock) -> Now {
    Now {
        wall: TimestampMs::from(clock.wall()),
        monotonic: clock.monotonic(),
    }
}

/// What the task does.
struct Courier {
    pushing: Pushing,
    updates: QueueSender<Update>,
    tasks: Tasks,
    timer: Timer,
    sample_at: Deadline,
    next_part: u32,
    upkeep_at: Deadline,
    /// When rows may be taken again; `None`: at once.
    harvest_at: Option<Deadline>,
    /// There is nothing to sample and nothing to keep in order, before the next change.
    is_idle: bool,
}

impl Courier {
    /// Does what is due, and waits until something is. Cancelling loses nothing: rows are taken and sent without a pause in between.
    async fn step(&mut self) {
        let now = self.timer.now();
        if self.sample_at.passed(now) {
            self.sample_at = Deadline::after(now, SAMPLE_INTERVAL / SAMPLE_PARTS);
            let part = Part {
                number: self.next_part,
                parts: SAMPLE_PARTS,
            };
            self.next_part = (self.next_part + 1) % SAMPLE_PARTS;
            let (now, mut gateway) = (self.pushing.now(), self.pushing.gateway());
            gateway.sample(part, now.wall.saturating_sub(SAMPLE_INTERVAL), now);
        }
        if self.upkeep_at.passed(now) {
            self.upkeep().await;
        }
        if self.harvest_at.is_some_and(|at| at.passed(now)) {
            self.harvest_at = None;
        }
        let has_rows = self.pushing.gateway().has_rows();
        if has_rows && self.harvest_at.is_none() {
            self.harvest();
            self.harvest_at = Some(Deadline::after(now, PACE));
        }
        let rounds = (!self.is_idle).then(|| self.sample_at.min(self.upkeep_at));
        let harvest = self.harvest_at.filter(|_| has_rows);
        let wake = rounds.into_iter().chain(harvest).min();
        let timer = &self.timer;
        let waiting = async {
            match wake {
                Some(wake) => timer.until(wake).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = self.pushing.0.arrived.notified(), if !has_rows => self.is_idle = false,
        }
    }

    /// Leaves half of the queue to collectors: pushes can wait, a tick cannot.
    fn harvest(&self) {
        let stats = self.updates.stats();
        if stats.length < stats.capacity / 2 {
            self.hand_over();
        }
    }

    fn hand_over(&self) {
        let harvest = self.pushing.gateway().harvest();
        self.pushing.0.room.notify_waiters();
        if self.updates.try_send(update(harvest)).is_err() {
            tracing::debug!("rows of pushed groups go nowhere: the uplink has ended");
        }
    }

    async fn upkeep(&mut self) {
        let (again, is_idle) = if self.pushing.gateway().is_on_disk() {
            let pushing = self.pushing.clone();
            let upkeep = move || pushing.upkeep();
            let upkeep = self.tasks.spawn_blocking("upkeep of pushed groups", upkeep);
            upkeep.await.unwrap_or_default()
        } else {
            self.pushing.upkeep()
        };
        self.is_idle = is_idle;
        let now = self.timer.now();
        let interval = self.pushing.0.config.sync_interval.min(SYNC_INTERVAL);
        let next = again.map_or(interval, |again| again.saturating_since(now).min(interval));
        self.upkeep_at = Deadline::after(now, next);
    }

    /// The last harvest goes whether half of the queue is free or not: collectors have stopped.
    async fn close(self) {
        let pushing = self.pushing.clone();
        let closing = move || {
            let mut gateway = pushing.gateway();
            pushing.0.closed.stop();
            gateway.close(pushing.now());
        };
        let closing = self.tasks.spawn_blocking("close pushed groups", closing);
        if let Err(error) = closing.await {
            tracing::error!(%error, "pushed groups were not closed in order");
        }
        self.hand_over();
    }
}

fn update(harvest: Harvest) -> Update {
    let Harvest {
        definitions,
        ended,
        rows,
        metadata,
    } = harvest;
    Update {
        definitions,
        ended,
        rows,
        samples: Vec::new(),
        metadata,
    }
}

#[cfg(test)]
mod tests;
