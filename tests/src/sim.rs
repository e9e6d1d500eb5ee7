//! Agents, links and an aggregator under one virtual clock.
//!
//! # What runs
//! The state machines are those of the product: `spool::Spool`, `uplink::Maker` and `uplink::Delivery` on each agent's machine,
//! `ingest::Session` and `ingest::Agents` at the aggregator; between them travel the bytes that `wire` encodes. What the shells do around
//! them (reconnecting with `runtime::Backoff`, upkeep of the spool, asking a busy store again, closing a replaced session) is done here
//! as `uplink::Uplink` and `ingest::Service` do it. Disks are `files::Simulated`.
//!
//! # What breaks
//! Connections break, with what is under way lost at either end; one end notices long before the other, so that an older and a newer
//! connection of an agent overlap. Streams of a connection have times of their own. Links part for minutes. Agents and the aggregator are
//! killed and have their power cut, disks fill up, the store stalls and says busy, wall clocks step, a batch arrives mangled, an
//! old copy of the aggregator's folder is put back.
//!
//! # Which store
//! Most seeds run on a twin (`twin`), which keeps the same contract with explicit unsynced state: it costs microseconds and is
//! deterministic to the last byte. Every [`REAL_STORE_EVERY`]th seed runs on the real `tsdb::Tsdb` on a simulated disk with small segments and early
//! seals. It has threads of its own, so virtual time stands still until it has answered what it took; how far its sealing has come when the
//! power goes is all that a replay may do otherwise.
//!
//! # What is checked
//! The ledger knows every sample of every batch that a maker put into a spool. At the end each is stored exactly once, whole, to the bit and
//! under the right labels, unless there is an excuse that was reported: a power cut of the agent before the sync, a counted gap, a
//! quarantine, a restored copy. During the run: no acknowledgement before the number is durable, none forgotten by a restart, no breach of
//! the protocol by either side, no "knows less" without a restored copy, live rows through within [`LIVE_WITHIN`] whatever the
//! backlog, and all drained within [`QUIET_WITHIN`] of the last fault.

mod agents;
mod faults;
mod host;
mod ledger;
mod link;
mod sampler;
mod sessions;
mod story;
mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use clock::Monotonic;
use ingest::{Agents, Metrics, Now, Shared};
use model::TimestampMs;
use rows::AgentId;
use uplink::DeliveryStats;

use agents::Machine;
use faults::Fault;
use host::{Backup, Host};
use ledger::Ledger;
use link::{Connection, ConnectionId, End, Way};
use story::Story;

pub use ledger::StoredSample;
pub use twin::Lie;

/// Every so many seeds run on the real store.
pub const REAL_STORE_EVERY: u64 = 20;
/// How late a row may become durable while nothing is broken, whatever else waits in the spool.
pub const LIVE_WITHIN: Duration = Duration::from_secs(15);
/// How long after the last fault everything is delivered.
pub const QUIET_WITHIN: Duration = Duration::from_secs(180);
/// The wall clock when a run begins, shortly before the end of a two-hour span, so that partitions of two spans come about.
const WALL_START_MS: u64 = 1_699_999_200_000 + 6_900_000;
/// How often the real store is dumped until it shows what it has acknowledged.
const APPLY_ATTEMPTS: u32 = 300;
/// Messages of one pump: far more than any backlog here has.
const PUMP_MAX: usize = 100_000;

/// How a run is set up.
#[derive(Clone, Debug)]
struct Setting {
    agents: usize,
    interval: Duration,
    /// The least and the most that a message travels, in milliseconds.
    latency_ms: (u64, u64),
    /// The least and the most that a sync of the twin takes, in milliseconds.
    sync_ms: (u64, u64),
    window: u32,
    spool: spool::Settings,
    /// What the twin's intake holds.
    waiting_max: usize,
    real_store: bool,
    lie: Option<Lie>,
}

/// What happens at some time.
#[derive(Clone, Debug)]
enum Event {
    Sample { machine: usize },
    Wake { machine: usize, run: u64 },
    Connect { machine: usize, run: u64 },
    Arrive { connection: ConnectionId, way: Way },
    Notice { connection: ConnectionId, end: End },
    Retry { connection: ConnectionId },
    StoreSync { process: u64 },
    Fault(Fault),
}

/// A simulated world. Built by chaining, started by the first thing that takes time; a violation panics with the seed and the story.
#[derive(Debug)]
pub struct Sim {
    seed: u64,
    setting: Setting,
    rng: fastrand::Rng,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    machines: Vec<Machine>,
    connections: BTreeMap<ConnectionId, Connection>,
    connections_made: u64,
    runs: u64,
    host: Host,
    /// The aggregator's process; `None` while it is down.
    shared: Option<Shared>,
    metrics: Metrics,
    /// Counts the aggregator's processes.
    processes: u64,
    sync_due: bool,
    stalled_until: Duration,
    store_full: bool,
    /// When the aggregator was last in trouble.
    store_well_since: Duration,
    backup: Option<Backup>,
    restored: bool,
    sampling: bool,
    started: bool,
    ledger: Ledger,
    story: Story,
}

impl Sim {
    /// Returns a quiet world of three agents that sample every 2 s, on the twin.
    pub fn seeded(seed: u64) -> Self {
        let setting = Setting {
            agents: 3,
            interval: Duration::from_secs(2),
            latency_ms: (1, 40),
            sync_ms: (1, 20),
            window: 64,
            spool: spool::Settings::default(),
            waiting_max: 64,
            real_store: false,
            lie: None,
        };
        Self {
            seed,
            setting,
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            machines: Vec::new(),
            connections: BTreeMap::new(),
            connections_made: 0,
            runs: 0,
            host: Host::twin(1, None),
            shared: None,
            metrics: Metrics::register(&telemetry::Registry::new()),
            processes: 0,
            sync_due: false,
            stalled_until: Duration::ZERO,
            store_full: false,
            store_well_since: Duration::ZERO,
            backup: None,
            restored: false,
            sampling: true,
            started: false,
            ledger: Ledger::default(),
            story: Story::default(),
        }
    }

    /// Has so many agents.
    #[must_use]
    pub const fn agents(mut self, agents: usize) -> Self {
        self.setting.agents = agents;
        self
    }

    /// Samples so often.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.setting.interval = interval;
        self
    }

    /// Allows so many batches on their way.
    #[must_use]
    pub const fn window(mut self, batches: u32) -> Self {
        self.setting.window = batches;
        self
    }

    /// Gives each spool the smallest size there is.
    #[must_use]
    pub const fn smallest_spools(mut self) -> Self {
        self.setting.spool.bytes_max = 64 << 10;
        self.setting.spool.segment_bytes = 4 << 10;
        self
    }

    /// Runs on the real store.
    #[must_use]
    pub const fn real_store(mut self) -> Self {
        self.setting.real_store = true;
        self
    }

    /// Lets the twin break its promises.
    #[must_use]
    pub const fn store_that_lies(mut self, lie: Lie) -> Self {
        self.setting.lie = Some(lie);
        self
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.start();
        let until = self.now + time;
        while let Some(((at, _), event)) = self.events.first_key_value() {
            if *at > until {
                break;
            }
            let (at, event) = (*at, event.clone());
            self.events.pop_first();
            self.advance_to(at);
            self.happen(event);
        }
        self.advance_to(until);
    }

    /// Stops sampling and lets everything be delivered; fails when that takes longer than [`QUIET_WITHIN`].
    pub fn run_until_quiet(&mut self) {
        self.start();
        self.sampling = false;
        let began = self.now;
        while !self.is_quiet() {
            if self.now - began > QUIET_WITHIN {
                self.violation(&format!("wedged: {}", self.what_waits()));
            }
            self.run_for(Duration::from_secs(1));
        }
    }

    /// Compares everything stored with everything promised.
    pub fn verify(&mut self) {
        let running = self.machines.iter().filter_map(Machine::epoch);
        let present: BTreeSet<_> = running.collect();
        let mut attempts = if self.setting.real_store {
            APPLY_ATTEMPTS
        } else {
            1
        };
        loop {
            attempts -= 1;
            match self.ledger.verify(&self.stored(), &present) {
                Ok(()) => return,
                // What is durable is still being applied by the threads of the real store.
                Err(_) if attempts > 0 => std::thread::park_timeout(Duration::from_millis(10)),
                Err(what) => self.violation(&what),
            }
        }
    }

    /// Returns every stored sample, repeats included, sorted.
    pub fn stored(&self) -> Vec<StoredSample> {
        match self.host.dump() {
            Ok(mut stored) => {
                stored.sort();
                stored
            }
            Err(what) => self.violation(&what),
        }
    }

    /// Returns every sample that was put into a spool and has no excuse to be missing, sorted.
    pub fn scraped(&self) -> Vec<StoredSample> {
        self.ledger.required()
    }

    /// Returns the counters of the present run's delivery.
    pub fn delivered(&self, agent: usize) -> DeliveryStats {
        let process = self.machines[agent].process.as_ref();
        process.map_or_else(DeliveryStats::default, |process| process.delivery.stats())
    }

    /// Returns what the present run's spool counts.
    pub fn spool_stats(&self, agent: usize) -> spool::Stats {
        let process = self.machines[agent].process.as_ref();
        process.map_or_else(spool::Stats::default, |process| process.spool.stats())
    }

    /// Returns how many batches the agent still has to deliver.
    pub fn backlog(&self, agent: usize) -> u64 {
        self.machines[agent].backlog().batches
    }

    /// Returns whether the agent has a session.
    pub fn is_open(&self, agent: usize) -> bool {
        let process = self.machines[agent].process.as_ref();
        process.is_some_and(|process| process.delivery.is_open())
    }

    /// Returns why the agent's last session was refused, if one was.
    pub fn refusal(&self, agent: usize) -> Option<wire::SessionRefusal> {
        self.machines[agent].refused
    }

    /// Returns how often the agent said that the store knows less than it had acknowledged.
    pub fn losses_reported(&self, agent: usize) -> u64 {
        self.machines[agent].losses_reported
    }

    /// Returns how late the agent's rows have become durable at most, while all was well.
    pub fn live_lag_max(&self, agent: usize) -> Duration {
        self.machines[agent].live_lag_max
    }

    /// Returns batches made, batches that could not be spooled, and batches with an excuse.
    pub fn counts(&self) -> (u64, u64, u64) {
        self.ledger.counts()
    }

    fn start(&mut self) {
        if self.started {
            return;
        }
        self.started = true;
        let setting = self.setting.clone();
        self.host = if setting.real_store {
            Host::real(SystemTime::UNIX_EPOCH + Duration::from_millis(WALL_START_MS))
        } else {
            Host::twin(setting.waiting_max, setting.lie)
        };
        self.start_aggregator();
        for index in 0..setting.agents {
            self.add_machine(&format!("node-{index}"));
        }
    }

    /// Adds a machine and starts its agent; returns its number.
    fn add_machine(&mut self, id: &str) -> usize {
        let id: AgentId = id.parse().expect("a valid id");
        let machine = self.machines.len();
        self.machines.push(Machine::new(id));
        self.start_agent(machine);
        let first = self.setting.interval.mul_f64(self.rng.f64());
        self.schedule_in(first, Event::Sample { machine });
        machine
    }

    fn advance_to(&mut self, at: Duration) {
        self.host.advance(at.saturating_sub(self.now));
        self.now = at.max(self.now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Sample { machine } => self.sample(machine),
            Event::Wake { machine, run } => self.wake(machine, run),
            Event::Connect { machine, run } => self.connect(machine, run),
            Event::Arrive { connection, way } => self.arrive(connection, way),
            Event::Notice { connection, end } => self.notice(connection, end),
            Event::Retry { connection } => self.retry(connection),
            Event::StoreSync { process } => self.store_sync(process),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn schedule_in(&mut self, after: Duration, event: Event) {
        self.schedule(self.now + after, event);
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events
            .insert((at.max(self.now), self.scheduled), event);
    }

    fn start_aggregator(&mut self) {
        if self.shared.is_some() {
            return;
        }
        let store = match self.host.start() {
            Ok(store) => store,
            Err(what) if self.host.power_is_cut() => {
                self.tell(format_args!(
                    "the power goes while the aggregator starts: {what}"
                ));
                let seed = self.rng.u64(..);
                self.host.crash(true, seed);
                return self.start_aggregator();
            }
            Err(what) => self.violation(&what),
        };
        self.processes += 1;
        self.sync_due = false;
        self.store_well_since = self.now;
        self.shared = Some(Shared {
            agents: Agents::new(100),
            store,
            metrics: self.metrics.clone(),
            window_batches: self.setting.window,
        });
        self.tell(format_args!("aggregator started"));
        self.check_nothing_forgotten();
    }

    /// What was acknowledged must be known after every start.
    fn check_nothing_forgotten(&self) {
        let Some(shared) = &self.shared else { return };
        for (epoch, machine) in self.ledger.epochs() {
            let known = shared.store.known(&self.machines[machine].id, epoch);
            if let Some(number) = self.ledger.forgotten(epoch, &known) {
                self.violation(&format!(
                    "the store acknowledged batch {number} of epoch {epoch} and forgot it"
                ));
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let delivered = self.machines.iter().all(|machine| {
            machine.exempt || (machine.process.is_some() && machine.backlog().batches == 0)
        });
        delivered && !self.host.has_waiting() && self.shared.is_some()
    }

    fn what_waits(&self) -> String {
        let machines = self
            .machines
            .iter()
            .enumerate()
            .map(|(index, machine)| format!("machine {index}: {}", machine.describe()));
        machines.collect::<Vec<_>>().join("; ")
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.now)
    }

    /// The aggregator's times.
    fn times(&self) -> Now {
        Now {
            monotonic: self.monotonic(),
            wall: self.wall(0),
        }
    }

    /// A wall clock that is off by so many milliseconds.
    fn wall(&self, offset_ms: i64) -> TimestampMs {
        let elapsed = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        let true_ms = i64::try_from(WALL_START_MS + elapsed).unwrap_or(i64::MAX);
        TimestampMs(true_ms + offset_ms)
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.now, what);
    }

    fn random_ms(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(self.rng.u64(least..=most))
    }

    /// Ends the test: a promise was broken.
    #[track_caller]
    fn violation(&self, what: &str) -> ! {
        let what = format!(
            "seed {}, {:.3} s: {what}\nsetting: {:?}\nreplay: PROMONTORY_SIM_SEED={} cargo test -p tests --test it sim::seeds::replay\n{}",
            self.seed,
            self.now.as_secs_f64(),
            self.setting,
            self.seed,
            self.story
        );
        panic!("{what}")
    }
}
