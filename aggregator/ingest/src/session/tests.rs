use std::sync::atomic::{AtomicBool, Ordering};

use model::{Labels, MetricType};
use rows::{BatchContents, BatchEncoder, CohortId, Presence, Row, SeriesDefinition};
use storage::{Appender, Done, MemoryStore, Queryable, Select, SelectHints, Unlimited};
use wire::EpochOffer;

use super::*;

const EPOCH: Epoch = Epoch(7);
const NOW: Now = Now {
    monotonic: Monotonic::ORIGIN,
    wall: TimestampMs(1_000_000),
};

/// A store that can be told to be busy, to fail, or to answer later.
#[derive(Debug, Default)]
struct Moody {
    store: MemoryStore,
    busy: AtomicBool,
    failing: AtomicBool,
}

impl Appender for Moody {
    fn store_id(&self) -> rows::StoreId {
        self.store.store_id()
    }

    fn known(&self, agent: &rows::AgentId, epoch: Epoch) -> NumberSet {
        self.store.known(agent, epoch)
    }

    fn settle(&self, agent: &rows::AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        self.store.settle(agent, epoch, floor)
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        self.store.define(source, definition)
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        if self.busy.load(Ordering::Relaxed) {
            return Err(Busy);
        }
        if self.failing.load(Ordering::Relaxed) {
            done(AppendOutcome::Failed("disk full".to_owned()));
            return Ok(());
        }
        self.store.append(source, batch, done)
    }
}

struct Case {
    store: Arc<Moody>,
    session: Session,
    encoder: BatchEncoder,
    counter: u64,
}

fn hello() -> AgentHello {
    AgentHello {
        node: "n".to_owned(),
        version: "0".to_owned(),
        epoch: EPOCH,
        predecessor: None,
        interval: Duration::from_secs(1),
        epochs: vec![EpochOffer {
            epoch: EPOCH,
            floor: BatchNumber(0),
            next: BatchNumber(0),
        }],
        wall: NOW.wall,
    }
}

impl Case {
    fn new() -> Self {
        let store = Arc::new(Moody::default());
        let shared = Shared {
            agents: Agents::new(10),
            store: Arc::<Moody>::clone(&store),
            metrics: Metrics::register(&telemetry::Registry::new()),
            window_batches: 4,
        };
        let peer = PeerIdentity::new("n1".parse().expect("an id"), None, None).expect("valid");
        let session = Session::new(shared, peer, "quic", Arc::new(|| {}));
        Self {
            store,
            session,
            encoder: BatchEncoder::new(),
            counter: 0,
        }
    }

    fn opened() -> Self {
        let mut case = Self::new();
        case.send(AgentMessage::Hello(hello())).expect("welcome");
        assert!(matches!(
            case.session.poll_reply(),
            Some(StoreMessage::Welcome(_))
        ));
        let series = SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "x"), ("node", "forged")]).expect("valid"),
            kind: MetricType::Gauge,
        };
        let definition = CohortDefinition {
            cohort: CohortId(1),
            name: Arc::from("c"),
            first_slot: 0,
            series: vec![series],
        };
        case.send(AgentMessage::Define {
            epoch: EPOCH,
            definition,
        })
        .expect("defined");
        case
    }

    fn send(&mut self, message: AgentMessage) -> Result<Flow, ProtocolError> {
        self.session.receive(NOW, StreamId::Session, message)
    }

    /// The next row, encoded against the one before it.
    fn batch(&mut self, number: u64) -> AgentMessage {
        self.counter += 1;
        let row = Row {
            cohort: CohortId(1),
            counter: self.counter,
            at: TimestampMs(i64::try_from(self.counter).expect("small") * 1_000),
            presence: Presence::filled(1, true),
            floats: vec![1.5],
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        };
        let contents = BatchContents {
            rows: &[Arc::new(row)],
            ..BatchContents::default()
        };
        let body = self.encoder.encode(&contents).expect("encodes").bytes;
        AgentMessage::Batch {
            epoch: EPOCH,
            number: BatchNumber(number),
            body,
        }
    }

    fn stored(&self) -> usize {
        let querier = self.store.store.querier().expect("in memory");
        let matchers = [
            model::Matcher::equal("node", "n1"),
            model::Matcher::equal("exported_node", "forged"),
        ];
        let select = Select {
            matchers: &matchers,
            range: model::TimeRange::ALL,
            hints: SelectHints::default(),
        };
        let found = querier.select(&select, &Unlimited).expect("in memory");
        found
            .iter()
            .map(|series| series.samples(model::TimeRange::ALL).count())
            .sum()
    }

    fn acknowledged(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(reply) = self.session.poll_reply() {
            let StoreMessage::Acknowledged {
                epoch: EPOCH,
                numbers,
                refused,
            } = reply
            else {
                panic!("not an acknowledgement: {reply:?}")
            };
            assert_eq!(refused, []);
            all.extend(
                numbers
                    .intervals()
                    .flat_map(|(first, last)| first.0..=last.0),
            );
        }
        all
    }
}

#[test]
fn batches_are_stored_once_under_the_labels_of_the_certificate_and_acknowledged_together() {
    let mut case = Case::opened();
    let (first, second) = (case.batch(0), case.batch(1));
    case.send(first.clone()).expect("taken");
    case.send(second).expect("taken");
    assert_eq!(case.acknowledged(), [0, 1]);
    assert_eq!(case.stored(), 2);
    case.send(first).expect("taken again");
    assert_eq!(case.acknowledged(), [0]);
    assert_eq!(case.stored(), 2);
}

#[test]
fn what_cannot_be_decoded_is_asked_for_once_more_and_then_quarantined() {
    let mut case = Case::opened();
    drop(case.batch(0));
    let leaning = case.batch(1);
    case.send(leaning.clone()).expect("no breach");
    assert!(matches!(
        case.session.poll_reply(),
        Some(StoreMessage::Resend {
            number: BatchNumber(1),
            ..
        })
    ));
    case.encoder.reset();
    case.counter -= 1;
    let as_key_row = case.batch(1);
    case.send(as_key_row).expect("taken");
    assert_eq!(case.acknowledged(), [1]);

    let garbage = AgentMessage::Batch {
        epoch: EPOCH,
        number: BatchNumber(2),
        body: Arc::from([0xff; 40]),
    };
    case.send(garbage.clone()).expect("no breach");
    assert!(matches!(
        case.session.poll_reply(),
        Some(StoreMessage::Resend { .. })
    ));
    case.send(garbage).expect("no breach");
    assert!(matches!(
        case.session.poll_reply(),
        Some(StoreMessage::Quarantine {
            number: BatchNumber(2),
            ..
        })
    ));
}

#[test]
fn a_busy_store_stops_the_reading_and_a_failing_one_sends_back() {
    let mut case = Case::opened();
    case.store.busy.store(true, Ordering::Relaxed);
    let batch = case.batch(0);
    assert_eq!(case.send(batch), Ok(Flow::Blocked));
    assert_eq!(case.session.retry(), Flow::Blocked);
    assert_eq!(case.acknowledged(), []);
    case.store.busy.store(false, Ordering::Relaxed);
    assert_eq!(case.session.retry(), Flow::Open);
    assert_eq!(case.acknowledged(), [0]);

    case.store.failing.store(true, Ordering::Relaxed);
    let batch = case.batch(1);
    case.send(batch).expect("taken");
    let reply = case.session.poll_reply();
    assert!(
        matches!(reply, Some(StoreMessage::Retry { .. })),
        "{reply:?}"
    );
}

#[test]
fn breaches_of_the_protocol_end_the_session() {
    let mut case = Case::new();
    let batch = case.batch(0);
    assert_eq!(
        case.send(batch.clone()),
        Err(ProtocolError::Unexpected { what: "batch" })
    );
    let stranger = AgentHello {
        epoch: Epoch(8),
        ..hello()
    };
    assert_eq!(
        case.send(AgentMessage::Hello(stranger)),
        Err(ProtocolError::Epochs { offered: 1 })
    );
    let elsewhere = case
        .session
        .receive(NOW, StreamId::CatchUp, AgentMessage::Hello(hello()));
    assert_eq!(elsewhere, Err(ProtocolError::Unexpected { what: "hello" }));

    let mut case = Case::opened();
    assert_eq!(
        case.send(AgentMessage::Hello(hello())),
        Err(ProtocolError::Unexpected { what: "hello" })
    );
    let AgentMessage::Batch { number, body, .. } = batch else {
        panic!("a batch")
    };
    let unoffered = AgentMessage::Batch {
        epoch: Epoch(9),
        number,
        body,
    };
    assert_eq!(
        case.send(unoffered),
        Err(ProtocolError::UnknownEpoch(Epoch(9)))
    );
    for number in 0..4 {
        let batch = case.batch(number);
        case.send(batch).expect("within the window");
    }
    let one_more = case.batch(4);
    assert_eq!(
        case.send(one_more),
        Err(ProtocolError::WindowExceeded { window: 4 })
    );
}

#[test]
fn a_refused_hello_and_a_newer_session_end_it_politely() {
    let mut case = Case::new();
    let skewed = AgentHello {
        wall: TimestampMs(NOW.wall.0 + 1_200_000),
        ..hello()
    };
    case.send(AgentMessage::Hello(skewed)).expect("answered");
    let reply = case.session.poll_reply();
    assert!(
        matches!(
            reply,
            Some(StoreMessage::Refused {
                reason: SessionRefusal::ClockSkew,
                ..
            })
        ),
        "{reply:?}"
    );
    assert!(case.session.is_over());

    let case = Case::opened();
    let mut newer = Session::new(
        case.session.shared.clone(),
        case.session.peer.clone(),
        "tcp",
        Arc::new(|| {}),
    );
    newer
        .receive(NOW, StreamId::Session, AgentMessage::Hello(hello()))
        .expect("welcome");
    assert!(case.session.is_over() && !newer.is_over());
}
