//! The aggregator's side: what `ingest::Service` does around sessions.

use std::sync::Arc;
use std::time::Duration;

use ingest::{Flow, Session};
use rows::{Epoch, NumberSet};
use transport::PeerIdentity;
use wire::{AgentMessage, StoreMessage, StreamId, decode_message, encode_message};

use super::link::{Connection, ConnectionId, End, Item, Way};
use super::{Event, Sim};

/// How long a store that was busy is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

impl Sim {
    /// Opens a connection of a machine's present run; `None` when the aggregator cannot be reached.
    pub(super) fn open_connection(&mut self, machine: usize, run: u64) -> Option<ConnectionId> {
        if self.machines[machine].parted_until > self.now {
            return None;
        }
        let shared = self.shared.clone()?;
        let id = self.machines[machine].id.clone();
        let peer = PeerIdentity::new(id, None, None).expect("no names");
        let session = Session::new(shared, peer, "quic", Arc::new(|| {}));
        self.connections_made += 1;
        let connection = Connection::new(machine, run, session);
        self.connections.insert(self.connections_made, connection);
        Some(self.connections_made)
    }

    /// Puts bytes on their way.
    pub(super) fn send(&mut self, id: ConnectionId, way: Way, bytes: Vec<u8>) {
        let cut = if bytes.len() > 1 && self.rng.u8(..32) == 0 {
            self.rng.usize(1..bytes.len())
        } else {
            bytes.len()
        };
        let (first, second) = bytes.split_at(cut);
        let pieces = [first, second].map(<[u8]>::to_vec);
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.send_item(id, way, Item::Bytes(piece));
        }
    }

    fn send_item(&mut self, id: ConnectionId, way: Way, item: Item) {
        let travel = self.random_ms(self.setting.latency_ms);
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.broken) else {
            return;
        };
        // What is sent into a partition arrives when the link is back.
        let leaves = self.now.max(self.machines[connection.machine].parted_until);
        let stream = connection.stream(way);
        stream.last_arrival = stream.last_arrival.max(leaves + travel);
        let at = stream.last_arrival;
        stream.items.push_back(item);
        let arrive = Event::Arrive {
            connection: id,
            way,
        };
        self.schedule(at, arrive);
    }

    pub(super) fn arrive(&mut self, id: ConnectionId, way: Way) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match way {
            Way::Down => {
                let item = connection.stream(way).items.pop_front();
                if connection.agent_open
                    && let Some(item) = item
                {
                    self.arrive_at_agent(id, item);
                }
            }
            Way::UpLive | Way::UpCatchUp => {
                let stream = connection.stream(way);
                if stream.items.len() > stream.arrived {
                    stream.arrived += 1;
                    self.read(id);
                }
            }
        }
    }

    /// Reads what has arrived for the session, as far as it goes.
    fn read(&mut self, id: ConnectionId) {
        for way in [Way::UpLive, Way::UpCatchUp] {
            while let Some(connection) = self.connections.get_mut(&id) {
                let stream = connection.stream(way);
                if stream.arrived == 0
                    || connection.flow == Flow::Blocked
                    || connection.session.is_none()
                {
                    break;
                }
                let stream = connection.stream(way);
                stream.arrived -= 1;
                match stream.items.pop_front() {
                    Some(Item::Bytes(bytes)) => self.take_bytes(id, way, &bytes),
                    Some(Item::Close) => self.close_session(id),
                    None => break,
                }
            }
        }
    }

    fn take_bytes(&mut self, id: ConnectionId, way: Way, bytes: &[u8]) {
        let now = self.times();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let frames = &mut connection.stream(way).frames;
        let message = match frames.push(bytes).and_then(|()| frames.next_frame()) {
            Ok(None) => return,
            Ok(Some(frame)) => decode_message::<AgentMessage>(frame),
            Err(error) => self.violation(&format!("a frame of an agent is refused: {error}")),
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => self.violation(&format!("a message of an agent is refused: {error}")),
        };
        let stream = match way {
            Way::UpCatchUp => StreamId::CatchUp,
            Way::UpLive | Way::Down => StreamId::Session,
        };
        let Some(session) = &mut connection.session else {
            return;
        };
        match session.receive(now, stream, message) {
            Ok(flow) => connection.flow = flow,
            Err(error) => {
                let what = format!("an agent breaks the protocol on connection {id}: {error}");
                self.violation(&what);
            }
        }
        self.after_store(id);
    }

    /// The store may have something to say, or to do.
    fn after_store(&mut self, id: ConnectionId) {
        let blocked = |c: &Connection| c.flow == Flow::Blocked;
        if self.connections.get(&id).is_some_and(blocked) {
            self.schedule_in(BUSY_PAUSE, Event::Retry { connection: id });
        }
        if let Err(what) = self.host.settle() {
            self.violation(&what);
        }
        if self.host.power_is_cut() {
            self.tell(format_args!(
                "the aggregator's power goes in the midst of an append"
            ));
            self.crash_aggregator_process(true);
            return;
        }
        if self.host.has_waiting() && !self.sync_due {
            self.sync_due = true;
            let at = (self.now + self.random_ms(self.setting.sync_ms)).max(self.stalled_until);
            let process = self.processes;
            self.schedule(at, Event::StoreSync { process });
        }
        self.pump_sessions();
    }

    pub(super) fn store_sync(&mut self, process: u64) {
        if process != self.processes {
            return;
        }
        self.sync_due = false;
        if self.now < self.stalled_until {
            self.sync_due = true;
            self.schedule(self.stalled_until, Event::StoreSync { process });
            return;
        }
        self.host.sync();
        self.pump_sessions();
    }

    pub(super) fn retry(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(session) = &mut connection.session else {
            return;
        };
        connection.flow = session.retry();
        self.after_store(id);
        self.read(id);
    }

    fn pump_sessions(&mut self) {
        let open = self.connections.iter().filter(|(_, c)| c.session.is_some());
        let open: Vec<ConnectionId> = open.map(|(id, _)| *id).collect();
        for id in open {
            self.pump_session(id);
        }
    }

    fn pump_session(&mut self, id: ConnectionId) {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let machine = connection.machine;
            let Some(session) = &mut connection.session else {
                return;
            };
            let Some(reply) = session.poll_reply() else {
                break;
            };
            match &reply {
                StoreMessage::Acknowledged {
                    epoch,
                    numbers,
                    refused,
                } => {
                    // Reported, and so no violation, when the definition was never synced.
                    if let Some(refused) = refused.first()
                        && (refused.reason != "undefined"
                            || !self.ledger.definition_lost(*epoch, numbers))
                    {
                        let what = format!("samples of {epoch} are refused: {refused:?}");
                        self.violation(&what);
                    }
                    self.check_durable(machine, *epoch, numbers);
                }
                StoreMessage::Resend { epoch, number } => {
                    self.tell(format_args!("{epoch} {number}: resend asked for"));
                }
                StoreMessage::Retry { epoch, numbers, .. } => {
                    self.tell(format_args!("{epoch} {numbers:?}: sent back"));
                }
                StoreMessage::Quarantine {
                    epoch,
                    number,
                    message,
                } => {
                    self.tell(format_args!("{epoch} {number}: quarantine: {message}"));
                }
                _ => {}
            }
            let mut bytes = Vec::new();
            if let Err(error) = encode_message(&reply, &mut bytes) {
                self.violation(&format!("a reply cannot be encoded: {error}"));
            }
            self.send(id, Way::Down, bytes);
        }
        let over = self.connections.get(&id).and_then(|c| c.session.as_ref());
        // The driver may read once more before it sees that its session was replaced.
        if over.is_some_and(Session::is_over) && self.rng.bool() {
            self.send_item(id, Way::Down, Item::Close);
            self.close_session(id);
        }
    }

    fn check_durable(&self, machine: usize, epoch: Epoch, numbers: &NumberSet) {
        let Some(shared) = &self.shared else { return };
        let known = shared.store.known(&self.machines[machine].id, epoch);
        for (first, last) in numbers.intervals() {
            for number in first.0..=last.0 {
                if !known.contains(rows::BatchNumber(number)) {
                    self.violation(&format!(
                        "batch {number} of epoch {epoch} is acknowledged and not durable"
                    ));
                }
            }
        }
    }

    pub(super) fn close_session(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = None;
        }
        self.forget_if_over(id);
    }

    pub(super) fn forget_if_over(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(Connection::is_over) {
            self.connections.remove(&id);
        }
    }

    /// An end learns that the connection is gone.
    pub(super) fn notice(&mut self, id: ConnectionId, end: End) {
        match end {
            End::Store => self.close_session(id),
            End::Agent => self.agent_loses(id),
        }
    }

    /// Breaks a connection; each end notices after a while.
    pub(super) fn break_connection(&mut self, id: ConnectionId, agent_ms: u64, store_ms: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.break_off(&mut self.rng);
        for (end, most) in [(End::Agent, agent_ms), (End::Store, store_ms)] {
            let after = self.random_ms((0, most));
            let connection = id;
            self.schedule_in(after, Event::Notice { connection, end });
        }
    }

    /// Ends the aggregator's process. Those who were connected find out later.
    pub(super) fn crash_aggregator_process(&mut self, power: bool) {
        if self.shared.take().is_none() {
            return;
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.session = None;
            }
            let most = if self.rng.bool() { 50 } else { 20_000 };
            self.break_connection(id, most, 0);
            self.forget_if_over(id);
        }
        let seed = self.rng.u64(..);
        self.host.crash(power, seed);
        self.store_well_since = self.now;
        let how = if power { "loses power" } else { "is killed" };
        self.tell(format_args!("the aggregator {how}"));
    }
}
