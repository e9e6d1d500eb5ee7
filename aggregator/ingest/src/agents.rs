//! The agents that this aggregator knows: which run of each holds the id, and what people want to see of them.

mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Monotonic;
use files::KeyValue;
use model::TimestampMs;
use rows::{AgentId, Epoch};
use wire::{AgentHello, AgentStatus, SessionRefusal};

use transport::PeerIdentity;

/// The id under which an aggregator stores its own series; no agent may join with it.
pub const OWN_ID: &str = "promontory-aggregator";
/// The id under which the results of rules are stored.
pub const RULES_ID: &str = "promontory-rules";
/// Two wall clocks further apart than this cannot share a store: rows would land in the wrong past or be refused as future.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(600);
/// An epoch that sent rows within this many of its intervals is alive.
const ALIVE_INTERVALS: u32 = 2;

/// Wakes whoever drives a session; called from any thread, must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Names one session among all that this process has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u64);

/// The agents, connected or not; at most twice as many as may be connected. Cloning shares them.
#[derive(Clone)]
pub struct Agents {
    known: Arc<Mutex<Known>>,
    connected_max: usize,
}

struct Known {
    agents: BTreeMap<AgentId, Agent>,
    sessions_begun: u64,
    /// Where records survive a restart; `None`: nowhere.
    kept_in: Option<Arc<KeyValue>>,
    /// Those whose record is to be removed.
    forgotten: BTreeSet<AgentId>,
}

struct Agent {
    view: AgentView,
    last_rows: Option<Monotonic>,
    interval: Duration,
    session: Option<(Generation, Wake)>,
    /// When it was last here, whether it brought rows or not.
    seen: TimestampMs,
    /// When its record was last written; `None`: it is to be written.
    saved: Option<TimestampMs>,
}

/// What people want to see of an agent.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Who.
    pub peer: PeerIdentity,
    /// The node's name, as the agent says it.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Its present or last epoch.
    pub epoch: Epoch,
    /// `quic` or `tcp`; of the last session when it is not connected.
    pub transport: &'static str,
    /// Whether a session is open.
    pub connected: bool,
    /// The time of the newest row received.
    pub last_row: Option<TimestampMs>,
    /// When that row was received.
    pub last_seen: Option<TimestampMs>,
    /// How far the agent's wall clock was ahead when the session began, in milliseconds.
    pub clock_ahead_ms: i64,
    /// How it is, as it says.
    pub status: AgentStatus,
}

/// What a session tells when it begins.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Who, by certificate.
    pub peer: &'a PeerIdentity,
    /// What it said.
    pub hello: &'a AgentHello,
    /// Over what.
    pub transport: &'static str,
    /// Now.
    pub now: Monotonic,
    /// Now.
    pub wall: TimestampMs,
}

impl Agents {
    /// Returns an empty registry that admits `connected_max` sessions at once.
    pub fn new(connected_max: usize) -> Self {
        let known = Known {
            agents: BTreeMap::new(),
            sessions_begun: 0,
            kept_in: None,
            forgotten: BTreeSet::new(),
        };
        Self {
            known: Arc::new(Mutex::new(known)),
            connected_max,
        }
    }

    /// Opens a session, or says why not. The older session of the same epoch, or of the epoch that this one succeeds, is
    /// woken and finds that it [is no longer current](Self::is_current).
    pub fn admit(
        &self,
        arrival: &Arrival<'_>,
        wake: Wake,
    ) -> Result<Generation, (SessionRefusal, String)> {
        let Arrival {
            peer,
            hello,
            now,
            wall,
            ..
        } = *arrival;
        let clock_ahead_ms = hello.wall.0.saturating_sub(wall.0);
        if u128::from(clock_ahead_ms.unsigned_abs()) > CLOCK_SKEW_MAX.as_millis() {
            let message = format!(
                "the agent's clock is {} s {} the aggregator's, more than the {} s allowed: set it right (chrony, ntpd); rows wait in the spool until then",
                clock_ahead_ms.unsigned_abs() / 1_000,
                if clock_ahead_ms > 0 {
                    "ahead of"
                } else {
                    "behind"
                },
                CLOCK_SKEW_MAX.as_secs(),
            );
            return Err((SessionRefusal::ClockSkew, message));
        }
        let mut known = self.known();
        let present = known.agents.get(peer.agent());
        if let Some(present) = present.filter(|present| present.defends_against(hello, now)) {
            let message = format!(
                "agent id {} is in use: another agent (node {}, epoch {}) sent rows less than {} intervals ago; give this one an id of its own (--agent.id), or stop the other",
                peer.agent(),
                present.view.node,
                present.view.epoch,
                ALIVE_INTERVALS
            );
            return Err((SessionRefusal::IdInUse, message));
        }
        let reconnects = present.is_some_and(|present| present.session.is_some());
        let connected = known
            .agents
            .values()
            .filter(|agent| agent.session.is_some())
            .count();
        if !reconnects && connected >= self.connected_max {
            let message =
                format!("{connected} agents are connected, as many as --ingest.max-agents allows");
            return Err((SessionRefusal::TooManyAgents, message));
        }
        known.sessions_begun += 1;
        let generation = Generation(known.sessions_begun);
        known.open(arrival, clock_ahead_ms, (generation, wake));
        known.make_room(self.known_max());
        Ok(generation)
    }

    /// Returns whether the session still is the agent's; a newer one has replaced it otherwise.
    pub fn is_current(&self, agent: &AgentId, generation: Generation) -> bool {
        self.known().of_session(agent, generation).is_some()
    }

    /// Notes that the session brought rows, the newest sampled at `newest`.
    pub fn rows_came(
        &self,
        agent: &AgentId,
        generation: Generation,
        newest: TimestampMs,
        now: (Monotonic, TimestampMs),
    ) {
        if let Some(agent) = self.known().of_session(agent, generation) {
            agent.last_rows = Some(now.0);
            agent.seen = now.1;
            agent.view.last_seen = Some(now.1);
            agent.view.last_row = agent.view.last_row.max(Some(newest));
        }
    }

    /// Notes how the agent is.
    pub fn status_came(&self, agent: &AgentId, generation: Generation, status: AgentStatus) {
        if let Some(agent) = self.known().of_session(agent, generation) {
            agent.view.status = status;
        }
    }

    /// Closes a session; nothing happens when a newer one has replaced it.
    pub fn left(&self, agent: &AgentId, generation: Generation) {
        if let Some(agent) = self.known().of_session(agent, generation) {
            agent.session = None;
            agent.saved = None;
            agent.view.connected = false;
        }
    }

    /// Returns all agents, by id.
    pub fn list(&self) -> Vec<AgentView> {
        self.known()
            .agents
            .values()
            .map(|agent| agent.view.clone())
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is a few plain assignments: a panicking holder leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of_session(&mut self, agent: &AgentId, generation: Generation) -> Option<&mut Agent> {
        let agent = self.agents.get_mut(agent)?;
        (agent.session.as_ref()?.0 == generation).then_some(agent)
    }

    fn open(&mut self, arrival: &Arrival<'_>, clock_ahead_ms: i64, session: (Generation, Wake)) {
        let hello = arrival.hello;
        let before = self.agents.remove(arrival.peer.agent());
        if let Some((_, wake)) = before.as_ref().and_then(|before| before.session.as_ref()) {
            wake();
        }
        let view = AgentView {
            peer: arrival.peer.clone(),
            node: hello.node.clone(),
            version: hello.version.clone(),
            epoch: hello.epoch,
            transport: arrival.transport,
            connected: true,
            last_row: before.as_ref().and_then(|before| before.view.last_row),
            last_seen: before.as_ref().and_then(|before| before.view.last_seen),
            clock_ahead_ms,
            status: before
                .as_ref()
                .map(|before| before.view.status)
                .unwrap_or_default(),
        };
        let last_rows = before.and_then(|before| before.last_rows);
        let agent = Agent {
            view,
            last_rows,
            interval: hello.interval,
            session: Some(session),
            seen: arrival.wall,
            saved: None,
        };
        self.agents.insert(arrival.peer.agent().clone(), agent);
    }
}

impl Agent {
    /// Whether this run holds the id against the one that says `hello`.
    fn defends_against(&self, hello: &AgentHello, now: Monotonic) -> bool {
        let same_run = hello.epoch == self.view.epoch || hello.predecessor == Some(self.view.epoch);
        let alive = self
            .last_rows
            .is_some_and(|at| now.saturating_since(at) < self.interval * ALIVE_INTERVALS);
        !same_run && alive
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents")
            .field("known", &self.known().agents.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn hello(epoch: u64, predecessor: Option<u64>, wall: TimestampMs) -> AgentHello {
        AgentHello {
            node: "n".to_owned(),
            version: "0".to_owned(),
            epoch: Epoch(epoch),
            predecessor: predecessor.map(Epoch),
            interval: INTERVAL,
            epochs: Vec::new(),
            wall,
        }
    }

    struct Case {
        agents: Agents,
        woken: Arc<AtomicU32>,
        now: Monotonic,
    }

    impl Case {
        fn new() -> Self {
            Self {
                agents: Agents::new(2),
                woken: Arc::default(),
                now: Monotonic::ORIGIN + Duration::from_secs(100),
            }
        }

        fn peer(id: &str) -> PeerIdentity {
            PeerIdentity::new(id.parse().expect("an id"), None, None).expect("valid")
        }

        fn arrive(&self, id: &str, hello: &AgentHello) -> Result<Generation, SessionRefusal> {
            let woken = Arc::clone(&self.woken);
            let wake: Wake = Arc::new(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            });
            let peer = Self::peer(id);
            let arrival = Arrival {
                peer: &peer,
                hello,
                transport: "quic",
                now: self.now,
                wall: TimestampMs(0),
            };
            self.agents
                .admit(&arrival, wake)
                .map_err(|(reason, _)| reason)
        }
    }

    #[test]
    fn a_reconnect_replaces_and_a_twin_is_refused_while_the_other_lives() {
        let mut case = Case::new();
        let id = Case::peer("a").agent().clone();
        let first = case
            .arrive("a", &hello(1, None, TimestampMs(0)))
            .expect("free");
        case.agents
            .rows_came(&id, first, TimestampMs(5), (case.now, TimestampMs(6)));
        let again = case
            .arrive("a", &hello(1, None, TimestampMs(0)))
            .expect("the same run");
        assert_eq!(case.woken.load(Ordering::Relaxed), 1);
        assert!(!case.agents.is_current(&id, first) && case.agents.is_current(&id, again));
        case.agents.left(&id, first);
        assert!(
            case.agents.list()[0].connected,
            "an old session cannot close the new one"
        );

        case.now = case.now + INTERVAL;
        assert_eq!(
            case.arrive("a", &hello(2, None, TimestampMs(0))),
            Err(SessionRefusal::IdInUse)
        );
        assert!(
            case.arrive("a", &hello(3, Some(1), TimestampMs(0))).is_ok(),
            "a successor takes over at once"
        );
        case.now = case.now + INTERVAL * 2;
        assert!(
            case.arrive("a", &hello(4, None, TimestampMs(0))).is_ok(),
            "a silent run does not hold the id"
        );
    }

    #[test]
    fn clocks_and_numbers_of_agents_are_bounded() {
        let case = Case::new();
        let skewed = hello(1, None, TimestampMs(1_200_000));
        assert_eq!(case.arrive("a", &skewed), Err(SessionRefusal::ClockSkew));
        let behind = hello(1, None, TimestampMs(-1_200_000));
        assert_eq!(case.arrive("a", &behind), Err(SessionRefusal::ClockSkew));
        assert!(
            case.agents.list().is_empty(),
            "who was refused is not listed"
        );
        for id in ["a", "b"] {
            assert!(case.arrive(id, &hello(1, None, TimestampMs(0))).is_ok());
        }
        assert_eq!(
            case.arrive("c", &hello(1, None, TimestampMs(0))),
            Err(SessionRefusal::TooManyAgents)
        );
    }
}
