//! What is kept of agents from one start of the aggregator to the next.
//!
//! A record is for people who look at the list of agents, and for the question which agents should be here: losing the newest minute
//! of it in a crash does no harm, so it is written rarely.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use files::{KeyValue, KeyValueError};
use model::TimestampMs;
use rows::{AgentId, Epoch};
use transport::PeerIdentity;
use wire::AgentStatus;

use super::{Agent, AgentView, Agents, Known};

const TABLE: &str = "agents";
const RECORD_VERSION: u8 = 1;
/// An agent that was not here for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// While an agent is connected its record is written this often.
const SAVED_EVERY: Duration = Duration::from_secs(60);
/// Texts that agents say of themselves are kept up to this many bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Records read at once.
const PAGE: usize = 1_000;
/// Stands for a time that there is not.
const NEVER: i64 = i64::MIN;

/// What the database does not know yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    written: Vec<(AgentId, Vec<u8>)>,
    forgotten: BTreeSet<AgentId>,
}

impl Agents {
    /// Lists the agents that `database` has, as not connected, and keeps them there from now on: see [`Self::save`].
    pub fn keep_in(&self, database: Arc<KeyValue>) -> Result<(), KeyValueError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = database.scan(TABLE, &[], after.as_deref(), PAGE)?;
            let mut known = self.known();
            for (key, value) in &page {
                known.remember(key, value, self.known_max());
            }
            let last = page.len() < PAGE;
            after = page.into_iter().next_back().map(|(key, _)| key);
            if last {
                known.kept_in = Some(database);
                return Ok(());
            }
        }
    }

    /// Forgets agents that were not here for 30 days, and makes durable what changed: sessions that began or ended, and once a minute
    /// what connected agents brought. Not for a thread of the async runtime. What could not be written is tried again next time.
    pub fn save(&self, now: TimestampMs) -> Result<(), KeyValueError> {
        let (database, changes) = {
            let mut known = self.known();
            known.forget_silent(now, self.known_max());
            (known.kept_in.clone(), known.take_changes(now))
        };
        let Some(database) = database.filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        let written = database.write(|batch| {
            for (agent, record) in &changes.written {
                batch.put(TABLE, agent.as_str().as_bytes(), record)?;
            }
            for agent in &changes.forgotten {
                batch.delete(TABLE, agent.as_str().as_bytes())?;
            }
            Ok(())
        });
        if written.is_err() {
            self.known().take_back(changes, self.known_max());
        }
        written
    }

    /// Like [`Self::save`], with the newest of connected agents too: for the end of the process.
    pub fn save_all(&self, now: TimestampMs) -> Result<(), KeyValueError> {
        for agent in self.known().agents.values_mut() {
            if agent.session.is_some() {
                agent.saved = None;
            }
        }
        self.save(now)
    }

    /// How many agents are known at most, connected or not.
    pub(super) const fn known_max(&self) -> usize {
        self.connected_max.saturating_mul(2)
    }
}

impl Known {
    /// Takes a record; one that makes no sense is forgotten.
    fn remember(&mut self, key: &[u8], value: &[u8], known_max: usize) {
        let id: Option<AgentId> = std::str::from_utf8(key).ok().and_then(|id| id.parse().ok());
        let Some(id) = id else {
            return;
        };
        match decode(value).filter(|agent| *agent.view.peer.agent() == id) {
            Some(agent) => {
                self.agents.entry(id).or_insert(agent);
                self.make_room(known_max);
            }
            None => self.forget(id, known_max),
        }
    }

    /// Forgets those that were away longest until there are `known_max` at most.
    pub(super) fn make_room(&mut self, known_max: usize) {
        while self.agents.len() > known_max {
            let away = self
                .agents
                .iter()
                .filter(|(_, agent)| agent.session.is_none());
            let Some((oldest, _)) = away.min_by_key(|(_, agent)| agent.seen) else {
                return;
            };
            let oldest = oldest.clone();
            self.agents.remove(&oldest);
            self.forget(oldest, known_max);
        }
    }

    fn forget_silent(&mut self, now: TimestampMs, known_max: usize) {
        for agent in self.agents.values_mut() {
            if agent.session.is_some() {
                agent.seen = now;
            }
        }
        let horizon = now.saturating_sub(FORGOTTEN_AFTER);
        let silent = self
            .agents
            .extract_if(.., |_, agent| agent.seen < horizon)
            .map(|(id, _)| id);
        for id in silent.collect::<Vec<_>>() {
            self.forget(id, known_max);
        }
    }

    /// Has the record removed. Beyond the bound it stays, and goes when it is next read.
    fn forget(&mut self, id: AgentId, known_max: usize) {
        if self.forgotten.len() < known_max {
            self.forgotten.insert(id);
        }
    }

    fn take_changes(&mut self, now: TimestampMs) -> Changes {
        let mut changes = Changes {
            written: Vec::new(),
            forgotten: std::mem::take(&mut self.forgotten),
        };
        for (id, agent) in &mut self.agents {
            changes.forgotten.remove(id);
            let due = agent.saved.is_none_or(|saved| {
                let since = Duration::from_millis(now.0.abs_diff(saved.0));
                agent.session.is_some() && since >= SAVED_EVERY
            });
            if due {
                agent.saved = Some(now);
                changes.written.push((id.clone(), encode(agent)));
            }
        }
        changes
    }

    fn take_back(&mut self, changes: Changes, known_max: usize) {
        for (id, _) in changes.written {
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.saved = None;
            }
        }
        for id in changes.forgotten {
            self.forget(id, known_max);
        }
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.forgotten.is_empty()
    }
}

/// A record: version, epoch, newest row, when it came, when the agent was last here, transport, then certificate URI, node and version of
/// the agent, each with its length; integers little-endian.
fn encode(agent: &Agent) -> Vec<u8> {
    let view = &agent.view;
    let mut out = vec![RECORD_VERSION];
    out.extend_from_slice(&view.epoch.0.to_le_bytes());
    for at in [view.last_row, view.last_seen, Some(agent.seen)] {
        out.extend_from_slice(&at.map_or(NEVER, |at| at.0).to_le_bytes());
    }
    out.push(match view.transport {
        "quic" => 1,
        "tcp" => 2,
        _ => 0,
    });
    let peer = view.peer.to_string();
    for text in [peer.as_str(), cut(&view.node), cut(&view.version)] {
        // The URI is at most three names of 253 bytes.
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Agent> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != RECORD_VERSION {
        return None;
    }
    let epoch = Epoch(u64::from_le_bytes(take(&mut rest)?));
    let (last_row, last_seen) = (take_time(&mut rest)?, take_time(&mut rest)?);
    let seen = TimestampMs(take_time(&mut rest)?);
    let transport = match take(&mut rest)? {
        [1] => "quic",
        [2] => "tcp",
        _ => "",
    };
    let peer: PeerIdentity = take_text(&mut rest)?.parse().ok()?;
    let view = AgentView {
        peer,
        node: take_text(&mut rest)?.to_owned(),
        version: take_text(&mut rest)?.to_owned(),
        epoch,
        transport,
        connected: false,
        last_row: known_time(last_row),
        last_seen: known_time(last_seen),
        clock_ahead_ms: 0,
        status: AgentStatus::default(),
    };
    Some(Agent {
        view,
        last_rows: None,
        interval: Duration::ZERO,
        session: None,
        seen,
        saved: Some(seen),
    })
}

fn cut(text: &str) -> &str {
    text.split_at(text.floor_char_boundary(TEXT_BYTES_MAX)).0
}

fn known_time(at: i64) -> Option<TimestampMs> {
    (at != NEVER).then_some(TimestampMs(at))
}

fn take_time(rest: &mut &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(take(rest)?))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u16::from_le_bytes(take(rest)?);
    let (text, left) = rest.split_at_checked(usize::from(length))?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clock::Monotonic;
    use files::Simulated;
    use proptest::prelude::*;
    use wire::AgentHello;

    use super::super::{Arrival, Generation};
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const START: TimestampMs = TimestampMs(1_000_000);

    fn open(disk: &Simulated) -> Arc<KeyValue> {
        let files = Arc::new(disk.clone());
        Arc::new(KeyValue::open(files, Path::new("/service.redb")).expect("opened"))
    }

    fn started(disk: &Simulated, connected_max: usize) -> Agents {
        let agents = Agents::new(connected_max);
        agents.keep_in(open(disk)).expect("read");
        agents
    }

    fn peer(id: &str) -> PeerIdentity {
        PeerIdentity::new(id.parse().expect("an id"), Some("prod"), None).expect("valid")
    }

    fn arrive(agents: &Agents, id: &str, wall: TimestampMs) -> Generation {
        let hello = AgentHello {
            node: "é".repeat(TEXT_BYTES_MAX),
            version: "1.2".to_owned(),
            epoch: Epoch(9),
            predecessor: None,
            interval: Duration::from_secs(15),
            epochs: Vec::new(),
            wall,
        };
        let arrival = Arrival {
            peer: &peer(id),
            hello: &hello,
            transport: "tcp",
            now: Monotonic::ORIGIN,
            wall,
        };
        agents.admit(&arrival, Arc::new(|| ())).expect("admitted")
    }

    fn ids(agents: &Agents) -> Vec<String> {
        let views = agents.list().into_iter();
        views.map(|view| view.peer.agent().to_string()).collect()
    }

    #[test]
    fn agents_are_known_after_a_power_cut_as_silent() {
        let disk = Simulated::new();
        let agents = started(&disk, 10);
        let generation = arrive(&agents, "a", START);
        let now = (Monotonic::ORIGIN, TimestampMs(8));
        agents.rows_came(peer("a").agent(), generation, TimestampMs(7), now);
        agents.save(START).expect("saved");
        drop(agents);
        disk.crash(1);
        let agents = started(&disk, 10);
        let view = &agents.list()[0];
        assert_eq!((&view.peer, view.epoch), (&peer("a"), Epoch(9)));
        assert_eq!((view.transport, view.connected), ("tcp", false));
        assert_eq!(view.node, "é".repeat(TEXT_BYTES_MAX / 2));
        assert_eq!(view.version, "1.2");
        assert_eq!(view.last_row, Some(TimestampMs(7)));
        assert_eq!(view.last_seen, Some(TimestampMs(8)));
    }

    #[test]
    fn a_connected_agent_is_written_once_a_minute_and_one_that_leaves_at_once() {
        let disk = Simulated::new();
        let agents = started(&disk, 10);
        let id = peer("a").agent().clone();
        let generation = arrive(&agents, "a", START);
        let rows =
            |at| agents.rows_came(&id, generation, TimestampMs(at), (Monotonic::ORIGIN, START));
        let written = || {
            let database = agents.known().kept_in.clone().expect("kept");
            let record = database.get(TABLE, b"a").expect("read").expect("written");
            decode(&record).expect("whole").view.last_row
        };
        for (after, row, expected) in [
            (0, 1, Some(1)),
            (15, 2, Some(1)),
            (59, 3, Some(1)),
            (60, 4, Some(4)),
            (119, 5, Some(4)),
            (120, 6, Some(6)),
        ] {
            rows(row);
            agents
                .save(START + Duration::from_secs(after))
                .expect("saved");
            assert_eq!(written(), expected.map(TimestampMs), "after {after} s");
        }
        rows(7);
        agents
            .save_all(START + Duration::from_secs(121))
            .expect("saved");
        assert_eq!(written(), Some(TimestampMs(7)));
        rows(8);
        agents.left(&id, generation);
        agents
            .save(START + Duration::from_secs(122))
            .expect("saved");
        assert_eq!(written(), Some(TimestampMs(8)));
    }

    #[test]
    fn agents_away_for_a_month_are_forgotten_for_good() {
        let disk = Simulated::new();
        let agents = started(&disk, 10);
        let gone = arrive(&agents, "gone", START);
        arrive(&agents, "here", START);
        agents.left(peer("gone").agent(), gone);
        agents.save(START).expect("saved");
        agents.save(START + DAY * 30).expect("saved");
        assert_eq!(ids(&agents), ["gone", "here"]);
        agents.save(START + DAY * 31).expect("saved");
        assert_eq!(ids(&agents), ["here"]);
        assert_eq!(ids(&started(&disk, 10)), ["here"]);
    }

    #[test]
    fn the_oldest_make_room_in_memory_and_in_the_database() {
        let disk = Simulated::new();
        let agents = started(&disk, 2);
        for (seconds, id) in (0..).zip(["d", "a", "e", "b", "c"]) {
            let generation = arrive(&agents, id, START + Duration::from_secs(seconds));
            agents.left(peer(id).agent(), generation);
            agents.save(START).expect("saved");
        }
        assert_eq!(ids(&agents), ["a", "b", "c", "e"]);
        assert_eq!(open_count(&agents), 4);
        drop(agents);
        let fewer = started(&disk, 1);
        assert_eq!(ids(&fewer), ["b", "c"]);
        fewer.save(START).expect("saved");
        assert_eq!(open_count(&fewer), 2);
    }

    fn open_count(agents: &Agents) -> u64 {
        let database = agents.known().kept_in.clone().expect("kept");
        database.count(TABLE).expect("counted")
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let agents = started(&Simulated::new(), 10);
        arrive(&agents, "a", START);
        let mut known = agents.known();
        known.forgotten.insert(peer("b").agent().clone());
        let changes = known.take_changes(START);
        assert_eq!((changes.written.len(), changes.forgotten.len()), (1, 1));
        assert!(known.take_changes(START).is_empty(), "taken once");
        known.take_back(changes, agents.known_max());
        let again = known.take_changes(START);
        assert_eq!((again.written.len(), again.forgotten.len()), (1, 1));
    }

    #[test]
    fn a_record_that_makes_no_sense_is_removed() {
        let disk = Simulated::new();
        open(&disk)
            .put(TABLE, b"a", &[RECORD_VERSION, 1])
            .expect("written");
        let agents = started(&disk, 10);
        assert!(agents.list().is_empty());
        agents.save(START).expect("saved");
        assert_eq!(open_count(&agents), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(version) = bytes.first_mut() {
                *version = RECORD_VERSION;
            }
            let _ = decode(&bytes);
        }
    }
}
