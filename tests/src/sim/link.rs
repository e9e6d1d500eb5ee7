//! Connections: ordered streams of encoded frames, each with a time of its own, that break and arrive late.

use std::collections::VecDeque;
use std::time::Duration;

use ingest::{Flow, Session};
use wire::FrameDecoder;

/// Names a connection.
pub(crate) type ConnectionId = u64;

/// A way through a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the agent, on the session stream.
    UpLive,
    /// From the agent, on the catch-up stream.
    UpCatchUp,
    /// To the agent.
    Down,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Agent,
    Store,
}

/// What travels.
#[derive(Debug)]
pub(crate) enum Item {
    Bytes(Vec<u8>),
    /// The other end has closed the connection.
    Close,
}

/// One way's items under way, in order.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) items: VecDeque<Item>,
    /// When the last of them arrives.
    pub(crate) last_arrival: Duration,
    /// Items that have arrived and were not read: the receiver is blocked.
    pub(crate) arrived: usize,
    pub(crate) frames: FrameDecoder,
}

/// A connection, as both ends see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) machine: usize,
    /// The run of the agent that opened it.
    pub(crate) run: u64,
    pub(crate) agent_open: bool,
    /// The aggregator's end; `None` when it has closed it.
    pub(crate) session: Option<Session>,
    pub(crate) flow: Flow,
    /// Nothing that is sent from now on arrives.
    pub(crate) broken: bool,
    streams: [Stream; 3],
}

impl Connection {
    pub(crate) fn new(machine: usize, run: u64, session: Session) -> Self {
        Self {
            machine,
            run,
            agent_open: true,
            session: Some(session),
            flow: Flow::Open,
            broken: false,
            streams: Default::default(),
        }
    }

    pub(crate) const fn stream(&mut self, way: Way) -> &mut Stream {
        &mut self.streams[way as usize]
    }

    /// Breaks: of each way, only the first so many items still arrive.
    pub(crate) fn break_off(&mut self, rng: &mut fastrand::Rng) {
        self.broken = true;
        for stream in &mut self.streams {
            let kept = rng.usize(0..=stream.items.len()).max(stream.arrived);
            stream.items.truncate(kept);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        !self.agent_open && self.session.is_none()
    }
}
