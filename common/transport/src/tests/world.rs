//! What the tests share: an authority, agents, a listening aggregator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::{SharedClock, SimulatedClock};
use files::Disk;
use rows::{BatchNumber, Epoch};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use wire::{AgentMessage, StoreMessage, StreamId};

use crate::{
    Accepted, Authority, Connection, Connector, ConnectorConfig, IdentityStore, Listener,
    ListenerConfig, PeerIdentity, PendingKey, TransportKind, Transports,
};

pub(super) const EACH: [Transports; 2] = [Transports::QuicOnly, Transports::TcpOnly];

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) authority: Arc<Authority>,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wall = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(SimulatedClock::starting_at(wall));
        let authority = authority(&folder.path().join("ca"), &clock);
        Self {
            folder,
            clock,
            authority,
        }
    }

    pub(super) fn clock(&self) -> SharedClock {
        Arc::<SimulatedClock>::clone(&self.clock)
    }

    pub(super) fn home(&self, agent: &str) -> PathBuf {
        self.folder.path().join(agent)
    }

    pub(super) fn agent(&self, agent: &str) -> IdentityStore {
        let key = PendingKey::generate().unwrap();
        let peer = peer(agent);
        let chain = self.authority.issue_agent(key.request(), &peer).unwrap();
        IdentityStore::create(Arc::new(Disk), &self.home(agent), self.clock(), &key, chain).unwrap()
    }

    pub(super) fn config(&self) -> ListenerConfig {
        ListenerConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) async fn listen(&self) -> Listener {
        self.listen_with(self.config()).await
    }

    pub(super) async fn listen_with(&self, config: ListenerConfig) -> Listener {
        Listener::bind(config, Arc::clone(&self.authority))
            .await
            .unwrap()
    }
}

pub(super) fn authority(folder: &std::path::Path, clock: &Arc<SimulatedClock>) -> Arc<Authority> {
    let clock = Arc::<SimulatedClock>::clone(clock);
    Arc::new(Authority::open_or_create(&Disk, folder, clock).unwrap())
}

pub(super) fn peer(agent: &str) -> PeerIdentity {
    PeerIdentity::new(agent.parse().unwrap(), Some("test"), None).unwrap()
}

pub(super) fn over(transports: Transports) -> ConnectorConfig {
    ConnectorConfig {
        transports,
        probe_interval: Duration::from_millis(400),
        ..ConnectorConfig::default()
    }
}

pub(super) fn connector(identity: &IdentityStore, transports: Transports) -> Connector {
    Connector::new(&over(transports), identity).unwrap()
}

/// Connects; returns both ends.
pub(super) async fn pair(
    listener: &Listener,
    identity: &IdentityStore,
    transports: Transports,
) -> (Connection, Accepted) {
    let connector = connector(identity, transports);
    let target = listener.address().to_string();
    let (connected, accepted) =
        within(async { tokio::join!(connector.connect(&target), listener.accept()) }).await;
    let connection = connected.unwrap();
    let kind = match transports {
        Transports::TcpOnly => TransportKind::Tcp,
        Transports::Both | Transports::QuicOnly => TransportKind::Quic,
    };
    assert_eq!(connection.kind(), kind);
    (connection, accepted.unwrap())
}

/// Fails the test when `future` takes longer than any good reason.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("the test hangs")
}

/// Waits for a condition.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A message of an agent with a number in it.
pub(super) fn floor(number: u64) -> AgentMessage {
    AgentMessage::Floor {
        epoch: Epoch(1),
        floor: BatchNumber(number),
    }
}

/// A large message of an agent with a number in it.
pub(super) fn batch(number: u64, bytes: usize) -> AgentMessage {
    AgentMessage::Batch {
        epoch: Epoch(1),
        number: BatchNumber(number),
        body: vec![0xa5; bytes].into(),
    }
}

pub(super) fn number(message: &AgentMessage) -> u64 {
    match message {
        AgentMessage::Floor { floor, .. } => floor.0,
        AgentMessage::Batch { number, .. } => number.0,
        other => panic!("{other:?}"),
    }
}

/// Sends a message each way.
pub(super) async fn check_alive(agent: &Connection, store: &Connection) {
    within(async {
        agent
            .send_message(StreamId::Session, &floor(77))
            .await
            .unwrap();
        let (stream, message) = store.receive::<AgentMessage>().await.unwrap();
        assert_eq!((stream, number(&message)), (StreamId::Session, 77));
        let resend = StoreMessage::Resend {
            epoch: Epoch(1),
            number: BatchNumber(78),
        };
        store
            .send_message(StreamId::Session, &resend)
            .await
            .unwrap();
        let (_, message) = agent.receive::<StoreMessage>().await.unwrap();
        assert!(matches!(
            message,
            StoreMessage::Resend {
                number: BatchNumber(78),
                ..
            }
        ));
    })
    .await;
}
