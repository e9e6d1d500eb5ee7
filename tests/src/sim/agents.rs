//! The agents' side: what `uplink::Uplink` does around its state machines.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use files::Simulated;
use rows::{AgentId, BatchNumber, Epoch};
use runtime::Backoff;
use spool::{Backlog, DestinationId, Spool};
use uplink::{Delivery, DeliveryConfig, DeliveryError, Introduction, Maker};
use wire::{AgentMessage, SessionRefusal, StoreMessage, StreamId, decode_message, encode_message};

use super::ledger::Excuse;
use super::link::{ConnectionId, End, Item, Way};
use super::sampler::{Sampler, UsedTimes, mix};
use super::{Event, LIVE_WITHIN, PUMP_MAX, Sim};

const FOLDER: &str = "/spool";
const AGGREGATOR: &str = "aggregator:4433";

/// A node: a disk, a clock, and an agent most of the time.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: AgentId,
    pub(super) disk: Simulated,
    pub(super) process: Option<Process>,
    pub(super) parted_until: Duration,
    pub(super) clock_offset_ms: i64,
    /// Batches whose bodies are mangled on the way.
    pub(super) mangle: u32,
    pub(super) mangled: bool,
    pub(super) power_was_cut: bool,
    pub(super) disk_full: bool,
    /// Not expected to deliver anything.
    pub(super) exempt: bool,
    pub(super) refused: Option<SessionRefusal>,
    pub(super) losses_reported: u64,
    pub(super) live_lag_max: Duration,
    used: UsedTimes,
}

/// A run of an agent.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) run: u64,
    pub(super) spool: Spool,
    pub(super) maker: Maker,
    pub(super) delivery: Delivery,
    pub(super) destination: DestinationId,
    pub(super) connection: Option<ConnectionId>,
    sampler: Sampler,
    backoff: Backoff,
    wake_at: Option<Duration>,
    dropped_seen: u64,
    opened_at: Duration,
    /// Batches made since the session opened, not acknowledged yet.
    live: VecDeque<(BatchNumber, Duration)>,
}

impl Machine {
    pub(super) fn new(id: AgentId) -> Self {
        Self {
            id,
            disk: Simulated::new(),
            process: None,
            parted_until: Duration::ZERO,
            clock_offset_ms: 0,
            mangle: 0,
            mangled: false,
            power_was_cut: false,
            disk_full: false,
            exempt: false,
            refused: None,
            losses_reported: 0,
            live_lag_max: Duration::ZERO,
            used: UsedTimes::new(),
        }
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.process.as_ref().map(|process| process.spool.epoch())
    }

    pub(super) fn backlog(&self) -> Backlog {
        let process = self.process.as_ref();
        process.map_or_else(Backlog::default, |p| p.spool.backlog(p.destination))
    }

    pub(super) fn describe(&self) -> String {
        match &self.process {
            None => "down".to_owned(),
            Some(process) => format!(
                "run {}, epoch {}, connection {:?}, {:?}, {:?}, last refusal {:?}",
                process.run,
                process.spool.epoch(),
                process.connection,
                self.backlog(),
                process.delivery.stats(),
                self.refused,
            ),
        }
    }
}

impl Sim {
    /// Starts a machine's agent; when its disk does not let it, tries again a second later, as a supervisor does.
    pub(super) fn start_agent(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() {
            return;
        }
        let epoch = Epoch(self.rng.u64(..));
        let files = Arc::new(self.machines[machine].disk.clone());
        let settings = self.setting.spool.clone();
        let opened = Spool::open(files, Path::new(FOLDER), settings, epoch);
        let (mut spool, report) = match opened {
            Ok(opened) => opened,
            Err(error) if self.machines[machine].disk_full => {
                self.tell(format_args!("machine {machine}: cannot start: {error}"));
                let again = super::faults::Fault::StartAgent { machine };
                return self.schedule_in(Duration::from_secs(1), Event::Fault(again));
            }
            Err(error) => self.violation(&format!("machine {machine}: {error}")),
        };
        if !report.damages.is_empty() && !self.machines[machine].power_was_cut {
            self.violation(&format!(
                "machine {machine}: damage without a power cut: {:?}",
                report.damages
            ));
        }
        let destination = spool.destination(AGGREGATOR).expect("the only one");
        spool.retain_destinations(&[AGGREGATOR]);
        self.runs += 1;
        let run = self.runs;
        self.tell(format_args!(
            "machine {machine}: run {run} begins, epoch {epoch}, predecessor {:?}, spool {:?}",
            spool.predecessor(),
            spool.epochs()
        ));
        // What an earlier run left has been synced by opening.
        let of_machine = self.ledger.epochs().filter(|(_, of)| *of == machine);
        let earlier: Vec<Epoch> = of_machine.map(|(epoch, _)| epoch).collect();
        earlier
            .into_iter()
            .for_each(|epoch| self.ledger.synced(epoch));
        self.ledger.began(epoch, machine);
        let introduction = Introduction {
            node: self.machines[machine].id.to_string(),
            version: "simulated".to_owned(),
            interval: self.setting.interval,
        };
        let config = DeliveryConfig::default();
        let seed = mix(self.seed ^ mix(run));
        let id = self.machines[machine].id.clone();
        let process = Process {
            run,
            maker: Maker::new(&spool),
            delivery: Delivery::new(config, destination, introduction),
            destination,
            connection: None,
            sampler: Sampler::new(seed, machine, id.as_str(), run),
            backoff: Backoff::default(),
            wake_at: None,
            dropped_seen: 0,
            opened_at: self.now,
            live: VecDeque::new(),
            spool,
        };
        self.note_gaps(&process.spool);
        self.machines[machine].process = Some(process);
        self.schedule_in(Duration::from_millis(5), Event::Connect { machine, run });
    }

    /// Ends a machine's agent, and its power with it or not.
    pub(super) fn crash_agent(&mut self, machine: usize, power: bool) {
        let Some(process) = self.machines[machine].process.take() else {
            return;
        };
        let seed = self.rng.u64(..);
        let state = &mut self.machines[machine];
        if power {
            state.power_was_cut = true;
            state.disk.crash(seed);
            self.ledger.power_cut(machine);
        } else {
            state.disk.kill();
        }
        let how = if power { "loses power" } else { "is killed" };
        self.tell(format_args!("machine {machine}: run {} {how}", process.run));
        if let Some(id) = process.connection {
            self.drop_connection(id, 30_000);
        }
    }

    /// The agent's end of a connection is gone; the other end notices within so many milliseconds.
    fn drop_connection(&mut self, id: ConnectionId, notice_ms: u64) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.agent_open = false;
            connection.break_off(&mut self.rng);
        }
        let after = self.random_ms((0, notice_ms));
        let (connection, end) = (id, End::Store);
        self.schedule_in(after, Event::Notice { connection, end });
        self.forget_if_over(id);
    }

    pub(super) fn sample(&mut self, machine: usize) {
        if self.sampling {
            let again = self.setting.interval;
            self.schedule_in(again, Event::Sample { machine });
        } else {
            return;
        }
        let wall = self.wall(self.machines[machine].clock_offset_ms);
        let Some(mut process) = self.machines[machine].process.take() else {
            return;
        };
        let used = &mut self.machines[machine].used;
        let (update, expected) = process.sampler.sample(wall, used);
        let lost_before = process.maker.stats().rows_lost;
        match process.maker.make(&mut process.spool, &update, wall) {
            Ok(Some(made)) => {
                let epoch = process.spool.epoch();
                if let Err(what) = self.ledger.made(epoch, made.last, expected) {
                    self.violation(&what);
                }
                process.live.push_back((made.last, self.now));
            }
            Ok(None) => self.violation("rows went nowhere"),
            Err(error) => {
                self.tell(format_args!("machine {machine}: rows lost: {error}"));
                let lost = process.maker.stats().rows_lost - lost_before;
                if lost != update.rows.len() as u64 {
                    self.violation(&format!(
                        "{} rows were lost and {lost} counted",
                        update.rows.len()
                    ));
                }
                self.ledger.not_made(expected);
            }
        }
        self.note_gaps(&process.spool);
        let (spool, to) = (&process.spool, process.destination);
        let epoch = spool.epoch();
        let dropped = spool
            .gaps()
            .iter()
            .filter(|gap| gap.epoch == epoch)
            .map(|gap| gap.last)
            .max();
        process.live.retain(|(number, _)| {
            dropped.is_none_or(|last| *number > last) && !spool.is_acknowledged(to, epoch, *number)
        });
        self.machines[machine].process = Some(process);
        self.pump_agent(machine);
        self.check_live(machine);
    }

    pub(super) fn wake(&mut self, machine: usize, run: u64) {
        let now = self.monotonic();
        let Some(process) = self.running(machine, run) else {
            return;
        };
        process.wake_at = None;
        match process.delivery.check(now) {
            Ok(()) => self.pump_agent(machine),
            Err(error) => self.session_failed(machine, &error),
        }
    }

    fn running(&mut self, machine: usize, run: u64) -> Option<&mut Process> {
        let process = self.machines[machine].process.as_mut();
        process.filter(|process| process.run == run)
    }

    pub(super) fn connect(&mut self, machine: usize, run: u64) {
        let there = self.running(machine, run);
        if there.is_none_or(|process| process.connection.is_some()) {
            return;
        }
        let connection = self.open_connection(machine, run);
        let (now, wall) = (
            self.monotonic(),
            self.wall(self.machines[machine].clock_offset_ms),
        );
        let Some(process) = self.running(machine, run) else {
            return;
        };
        if connection.is_none() {
            return self.connect_later(machine);
        }
        process.connection = connection;
        process.delivery.connected(now, wall, &process.spool);
        self.pump_agent(machine);
    }

    fn connect_later(&mut self, machine: usize) {
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        let pause = process.backoff.next(&mut self.rng);
        let run = process.run;
        self.schedule_in(pause, Event::Connect { machine, run });
    }

    /// Sends what is to be sent, looks after the spool, and says when to be woken.
    pub(super) fn pump_agent(&mut self, machine: usize) {
        let now = self.monotonic();
        let Some(mut process) = self.machines[machine].process.take() else {
            return;
        };
        let mut again = false;
        for _ in 0..PUMP_MAX {
            process.spool.sync_if_due(now);
            let next = process.delivery.poll_send(now, &mut process.spool);
            again |= self.handle_events(machine, &mut process);
            match next {
                Ok(Some((stream, message))) => self.send_up(machine, &process, stream, message),
                Ok(None) => break,
                Err(error) => self.violation(&format!("machine {machine}: {error}")),
            }
        }
        let upkeep = process.spool.sync_if_due(now);
        let stats = process.spool.stats();
        if stats.unsynced_bytes == 0 && stats.sync_errors == 0 {
            self.ledger.synced(process.spool.epoch());
        }
        if stats.dropped_batches != process.dropped_seen {
            process.dropped_seen = stats.dropped_batches;
            self.tell(format_args!(
                "machine {machine}: the spool dropped {} batches so far: {:?}",
                stats.dropped_batches,
                process.spool.gaps()
            ));
            self.note_gaps(&process.spool);
        }
        let timeouts = [process.delivery.next_timeout(), upkeep];
        let wake = timeouts.into_iter().flatten().min();
        let wake = wake.map(|at| at.since_origin().max(self.now + Duration::from_millis(1)));
        if let Some(at) = wake
            && process.wake_at.is_none_or(|present| at < present)
        {
            process.wake_at = Some(at);
            let run = process.run;
            self.schedule(at, Event::Wake { machine, run });
        }
        self.machines[machine].process = Some(process);
        if again {
            self.close_and_connect(machine, Duration::ZERO);
        }
    }

    fn send_up(
        &mut self,
        machine: usize,
        process: &Process,
        stream: StreamId,
        mut message: AgentMessage,
    ) {
        if let AgentMessage::Batch { body, .. } = &mut message
            && self.machines[machine].mangle > 0
        {
            self.machines[machine].mangle -= 1;
            self.machines[machine].mangled = true;
            *body = Arc::from([0xff; 40]);
        }
        let way = match stream {
            StreamId::Session => Way::UpLive,
            StreamId::CatchUp => Way::UpCatchUp,
        };
        let mut bytes = Vec::new();
        if let Err(error) = encode_message(&message, &mut bytes) {
            self.violation(&format!("machine {machine}: cannot encode: {error}"));
        }
        if let Some(id) = process.connection {
            self.send(id, way, bytes);
        }
    }

    /// Returns whether to connect again at once.
    fn handle_events(&mut self, machine: usize, process: &mut Process) -> bool {
        let mut again = false;
        while let Some(event) = process.delivery.poll_event() {
            use uplink::Event as Said;
            match event {
                Said::Opened { .. } => {
                    process.opened_at = self.now;
                    process.live.clear();
                    let (connection, backlog) = (
                        process.connection,
                        process.spool.backlog(process.destination),
                    );
                    self.tell(format_args!(
                        "machine {machine}: session open on {connection:?}, {backlog:?}"
                    ));
                }
                Said::StoreKnowsLess { epoch, batches } => {
                    self.tell(format_args!(
                        "machine {machine}: the store lacks {batches} batches of {epoch}"
                    ));
                    let state = &self.machines[machine];
                    // What an earlier run put aside or lost to a power cut is forgotten with it, unless the store was told.
                    let forgiven =
                        epoch != process.spool.epoch() && (state.mangled || state.power_was_cut);
                    if !self.restored && !forgiven {
                        self.violation("the store is said to know less, and no copy was restored");
                    }
                    self.machines[machine].losses_reported += 1;
                    self.ledger.loss_reported(epoch);
                }
                Said::Quarantined { epoch, number, .. } => {
                    self.tell(format_args!(
                        "machine {machine}: {epoch} {number} put aside"
                    ));
                    process.live.retain(|(waiting, _)| *waiting != number);
                    if !self.machines[machine].mangled {
                        self.violation("a batch was put aside that nobody mangled");
                    }
                    self.ledger.excuse(epoch, number, Excuse::Quarantined);
                }
                Said::Unreadable { epoch, number, .. } => {
                    self.tell(format_args!(
                        "machine {machine}: {epoch} {number} unreadable"
                    ));
                    if !self.machines[machine].power_was_cut {
                        self.violation("a spooled batch cannot be read, and no power was cut");
                    }
                }
                Said::Gap(gap) => {
                    self.tell(format_args!("machine {machine}: reports {gap:?}"));
                }
                Said::MoreEpochs => again = true,
                Said::Certificate(_) | Said::RenewalRefused(_) => {}
            }
        }
        again
    }

    /// What the spool dropped is counted, and need not arrive.
    fn note_gaps(&mut self, spool: &Spool) {
        for gap in spool.gaps() {
            for number in gap.first.0..=gap.last.0 {
                self.ledger
                    .excuse(gap.epoch, BatchNumber(number), Excuse::Dropped);
            }
        }
    }

    pub(super) fn arrive_at_agent(&mut self, id: ConnectionId, item: Item) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (machine, run) = (connection.machine, connection.run);
        let Item::Bytes(bytes) = item else {
            return self.agent_loses(id);
        };
        let frames = &mut connection.stream(Way::Down).frames;
        let message = match frames.push(&bytes).and_then(|()| frames.next_frame()) {
            Ok(None) => return,
            Ok(Some(frame)) => decode_message::<StoreMessage>(frame),
            Err(error) => self.violation(&format!("a frame of the store is refused: {error}")),
        };
        match message {
            Ok(message) => self.receive(machine, run, message),
            Err(error) => self.violation(&format!("a message of the store is refused: {error}")),
        }
    }

    fn receive(&mut self, machine: usize, run: u64, message: StoreMessage) {
        let now = self.monotonic();
        let wall = self.wall(self.machines[machine].clock_offset_ms);
        let Some(mut process) = self.machines[machine].process.take_if(|p| p.run == run) else {
            return;
        };
        match &message {
            StoreMessage::Acknowledged { epoch, numbers, .. } => {
                self.ledger.acknowledged(*epoch, numbers);
                if *epoch == process.spool.epoch() {
                    process
                        .live
                        .retain(|(number, _)| !numbers.contains(*number));
                }
            }
            StoreMessage::Welcome(welcome) => {
                for known in &welcome.known {
                    self.ledger.acknowledged(known.epoch, &known.numbers);
                }
            }
            _ => {}
        }
        let received = process
            .delivery
            .receive(now, wall, message, &mut process.spool);
        if process.delivery.is_open() {
            process.backoff.reset();
            self.machines[machine].refused = None;
        }
        self.machines[machine].process = Some(process);
        match received {
            Ok(()) => self.pump_agent(machine),
            Err(error) => self.session_failed(machine, &error),
        }
    }

    fn session_failed(&mut self, machine: usize, error: &DeliveryError) {
        self.tell(format_args!("machine {machine}: session ends: {error}"));
        match error {
            DeliveryError::Unexpected { .. } => self.violation(&error.to_string()),
            DeliveryError::Refused { reason, .. } => {
                self.machines[machine].refused = Some(*reason);
            }
            DeliveryError::Silent { .. } => {}
        }
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        let pause = process.backoff.next(&mut self.rng);
        self.close_and_connect(machine, pause);
    }

    /// Closes the agent's connection, if any, and connects anew after a pause.
    fn close_and_connect(&mut self, machine: usize, pause: Duration) {
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        process.delivery.disconnected();
        let run = process.run;
        if let Some(id) = process.connection.take() {
            let notice = if self.rng.bool() { 50 } else { 20_000 };
            self.drop_connection(id, notice);
        }
        self.schedule_in(
            pause.max(Duration::from_millis(1)),
            Event::Connect { machine, run },
        );
    }

    /// The agent learns that a connection is gone.
    pub(super) fn agent_loses(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.agent_open) else {
            return;
        };
        connection.agent_open = false;
        let (machine, run) = (connection.machine, connection.run);
        self.forget_if_over(id);
        let Some(process) = self.running(machine, run) else {
            return;
        };
        if process.connection != Some(id) {
            return;
        }
        process.connection = None;
        process.delivery.disconnected();
        self.tell(format_args!("machine {machine}: connection {id} is gone"));
        self.connect_later(machine);
    }

    /// What is sampled while all is well becomes durable soon, whatever else waits.
    fn check_live(&mut self, machine: usize) {
        let state = &self.machines[machine];
        let Some(process) = &state.process else {
            return;
        };
        let connection = process.connection.and_then(|id| self.connections.get(&id));
        let well = process.delivery.is_open()
            && connection.is_some_and(|c| !c.broken && c.session.is_some())
            && !self.store_full
            && self.stalled_until <= self.now
            && state.parted_until <= self.now;
        let Some((number, made)) = process.live.front().filter(|_| well) else {
            return;
        };
        let since = (*made)
            .max(process.opened_at)
            .max(self.store_well_since)
            .max(self.stalled_until)
            .max(state.parted_until);
        let lag = self.now.saturating_sub(since);
        if lag > LIVE_WITHIN {
            self.violation(&format!(
                "machine {machine}: live batch {number} has waited for {} s; {}",
                lag.as_secs(),
                state.describe()
            ));
        }
        self.machines[machine].live_lag_max = self.machines[machine].live_lag_max.max(lag);
    }
}
