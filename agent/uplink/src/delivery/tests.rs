use std::path::Path;

use files::Simulated;
use rows::{CohortDefinition, CohortId, Presence, Row, SeriesDefinition};
use spool::Settings;

use super::*;
use crate::maker::{Maker, Update};

const EPOCH: Epoch = Epoch(7);

struct Case {
    spool: Spool,
    maker: Maker,
    delivery: Delivery,
    now: Monotonic,
    counter: u64,
}

impl Case {
    fn new() -> Self {
        let files = Arc::new(Simulated::new());
        let (mut spool, _) = Spool::open(files, Path::new("/spool"), Settings::default(), EPOCH)
            .expect("an empty disk");
        let destination = spool.destination("a").expect("the only one");
        let introduction = Introduction {
            node: "n".to_owned(),
            version: "0".to_owned(),
            interval: Duration::from_secs(1),
        };
        Self {
            maker: Maker::new(&spool),
            delivery: Delivery::new(DeliveryConfig::default(), destination, introduction),
            spool,
            now: Monotonic::ORIGIN,
            counter: 0,
        }
    }

    /// Makes a batch of one row of one slot.
    fn make(&mut self) {
        let definition = CohortDefinition {
            cohort: CohortId(1),
            name: Arc::from("c"),
            first_slot: 0,
            series: vec![SeriesDefinition {
                labels: model::Labels::from_pairs([("__name__", "m")]).expect("valid"),
                kind: model::MetricType::Gauge,
            }],
        };
        let row = Row {
            cohort: CohortId(1),
            counter: self.counter,
            at: self.wall(),
            presence: Presence::filled(1, true),
            floats: vec![1.5],
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        };
        let update = Update {
            definitions: if self.counter == 0 {
                vec![definition]
            } else {
                vec![]
            },
            rows: vec![Arc::new(row)],
            ..Update::default()
        };
        self.counter += 1;
        let wall = self.wall();
        self.maker
            .make(&mut self.spool, &update, wall)
            .expect("room");
    }

    fn wall(&self) -> TimestampMs {
        let ms = self.now.since_origin().as_millis();
        TimestampMs(i64::try_from(ms).expect("small"))
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Connects; the store has these numbers.
    fn open(&mut self, window: u32, known: &[(u64, u64)]) {
        self.delivery.connected(self.now, self.wall(), &self.spool);
        let hello = self.poll();
        assert!(
            matches!(hello, Some((_, AgentMessage::Hello(_)))),
            "{hello:?}"
        );
        let welcome = Welcome {
            store: StoreId(1),
            known: vec![EpochKnown {
                epoch: EPOCH,
                numbers: set(known),
            }],
            window_batches: window,
            wall: self.wall(),
        };
        self.receive(StoreMessage::Welcome(welcome));
    }

    fn receive(&mut self, message: StoreMessage) {
        let wall = self.wall();
        self.delivery
            .receive(self.now, wall, message, &mut self.spool)
            .expect("as agreed");
    }

    fn acknowledge(&mut self, first: u64, last: u64) {
        self.receive(StoreMessage::Acknowledged {
            epoch: EPOCH,
            numbers: set(&[(first, last)]),
            refused: vec![],
        });
    }

    fn poll(&mut self) -> Option<(StreamId, AgentMessage)> {
        self.delivery
            .poll_send(self.now, &mut self.spool)
            .expect("readable")
    }

    /// The batches to be sent now, with their streams and bodies.
    fn sent(&mut self) -> Vec<(StreamId, u64, Arc<[u8]>)> {
        let mut sent = Vec::new();
        while let Some((stream, message)) = self.poll() {
            if let AgentMessage::Batch { number, body, .. } = message {
                sent.push((stream, number.0, body));
            }
        }
        sent
    }

    fn numbers_sent(&mut self) -> Vec<(StreamId, u64)> {
        let sent = self.sent().into_iter();
        sent.map(|(stream, number, _)| (stream, number)).collect()
    }

    fn losses(&mut self) -> Vec<u64> {
        let events = std::iter::from_fn(|| self.delivery.poll_event());
        events
            .filter_map(|event| match event {
                Event::StoreKnowsLess { batches, .. } => Some(batches),
                _ => None,
            })
            .collect()
    }
}

fn set(intervals: &[(u64, u64)]) -> NumberSet {
    let numbers = intervals.iter();
    NumberSet::from_intervals(numbers.map(|(a, b)| (BatchNumber(*a), BatchNumber(*b))))
        .expect("in order")
}

fn live(numbers: impl IntoIterator<Item = u64>) -> Vec<(StreamId, u64)> {
    let numbers = numbers.into_iter();
    numbers.map(|number| (StreamId::Session, number)).collect()
}

#[test]
fn no_more_than_a_window_is_on_its_way() {
    let mut case = Case::new();
    case.open(3, &[]);
    (0..10).for_each(|_| case.make());
    assert_eq!(case.numbers_sent(), live([0, 1, 2]));
    case.acknowledge(0, 1);
    assert_eq!(case.numbers_sent(), live([3, 4]));
    // What comes back takes its place again before anything new.
    case.receive(StoreMessage::Retry {
        epoch: EPOCH,
        numbers: set(&[(2, 3)]),
        after: Duration::from_secs(2),
    });
    case.acknowledge(4, 4);
    assert_eq!(case.numbers_sent(), live([]));
    case.pass(2);
    assert_eq!(case.numbers_sent(), live([2, 3, 5]));
}

#[test]
fn a_status_goes_along_with_a_batch_and_alone_only_where_none_is_made() {
    let mut case = Case::new();
    case.open(10, &[]);
    let statuses = |case: &mut Case| {
        let sent = std::iter::from_fn(|| case.poll());
        let statuses = sent.filter_map(|(_, message)| match message {
            AgentMessage::Status(status) => Some(status.oldest_unacknowledged),
            _ => None,
        });
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(statuses(&mut case), [None], "at the beginning");
    let mut along = 0;
    for number in 0..60 {
        case.pass(1);
        assert_eq!(statuses(&mut case), [], "alone, before batch {number}");
        case.make();
        along += statuses(&mut case).len();
        case.acknowledge(number, number);
    }
    assert_eq!(along, 15, "every 4 s");
    // What waits longer than the batch that goes along does count.
    case.pass(1);
    let waits = case.wall();
    case.make();
    assert_eq!(statuses(&mut case), []);
    case.pass(3);
    case.make();
    assert_eq!(statuses(&mut case), [Some(waits)]);
    case.acknowledge(60, 61);
    for _ in 0..3 {
        case.now = case.delivery.next_timeout().expect("a status");
        assert_eq!(statuses(&mut case), [None]);
    }
    assert_eq!(
        case.wall(),
        waits.saturating_add(Duration::from_secs(3 + 15))
    );
}

#[test]
fn a_batch_asked_for_again_comes_as_key_rows_and_so_does_what_follows() {
    let mut case = Case::new();
    case.open(10, &[]);
    (0..3).for_each(|_| case.make());
    assert_eq!(case.sent().len(), 3);
    case.receive(StoreMessage::Resend {
        epoch: EPOCH,
        number: BatchNumber(1),
    });
    case.make();
    case.make();
    let mut decoder = rows::BatchDecoder::new();
    let sent = case.sent();
    let numbers: Vec<u64> = sent.iter().map(|(_, number, _)| *number).collect();
    assert_eq!(numbers, [1, 3, 4]);
    for (at, (_, number, body)) in sent.into_iter().enumerate() {
        if at < 2 {
            decoder.reset();
        }
        decoder
            .decode(BatchNumber(number), body)
            .expect("stands alone");
    }
}

#[test]
fn a_short_backlog_goes_in_order_and_a_long_one_beside_what_is_live() {
    let mut case = Case::new();
    (0..4).for_each(|_| case.make());
    case.pass(9);
    case.open(10, &[]);
    case.make();
    assert_eq!(case.numbers_sent(), live(0..5));

    case.delivery.disconnected();
    case.pass(60);
    case.open(4, &[]);
    case.make();
    let behind = |number| (StreamId::CatchUp, number);
    assert_eq!(
        case.numbers_sent(),
        [live([5]), vec![behind(0), behind(1)]].concat(),
        "half of the window is left to what is live"
    );
    case.make();
    assert_eq!(case.numbers_sent(), live([6]));
    case.acknowledge(0, 1);
    assert_eq!(case.numbers_sent(), [behind(2), behind(3)]);
}

#[test]
fn a_backlog_from_before_a_clock_went_back_does_not_hold_up_what_is_live() {
    let mut case = Case::new();
    case.pass(3_600);
    case.make();
    case.now = Monotonic::ORIGIN;
    case.open(4, &[]);
    case.make();
    let expected = [(StreamId::Session, 1), (StreamId::CatchUp, 0)];
    assert_eq!(case.numbers_sent(), expected);
}

#[test]
fn silence_counts_from_the_first_batch_that_is_owed_an_answer() {
    let mut case = Case::new();
    case.open(4, &[]);
    case.pass(600);
    assert_eq!(case.delivery.check(case.now), Ok(()));
    case.make();
    assert_eq!(case.sent().len(), 1);
    assert_eq!(case.delivery.check(case.now), Ok(()), "just sent");
    case.pass(29);
    assert_eq!(case.delivery.check(case.now), Ok(()));
    case.pass(1);
    assert!(case.delivery.check(case.now).is_err());
}

#[test]
fn a_store_that_knows_less_gets_what_is_still_there_and_numbers_put_aside_are_no_loss() {
    let mut case = Case::new();
    case.open(10, &[]);
    (0..5).for_each(|_| case.make());
    assert_eq!(case.sent().len(), 5);
    case.acknowledge(0, 1);
    case.acknowledge(3, 4);
    case.receive(StoreMessage::Quarantine {
        epoch: EPOCH,
        number: BatchNumber(2),
        message: String::new(),
    });
    case.delivery.disconnected();
    case.open(10, &[(0, 1), (3, 4)]);
    assert_eq!(case.losses(), [0; 0]);
    assert_eq!(case.numbers_sent(), []);
    case.delivery.disconnected();
    case.open(10, &[(0, 0)]);
    assert_eq!(case.losses(), [3]);
    case.pass(1);
    assert_eq!(case.numbers_sent(), live([1, 3, 4]));
}

#[test]
fn missing_numbers_are_counted_below_the_floor_only() {
    let cases = [
        (0, vec![], 0),
        (5, vec![], 5),
        (5, vec![(0, 4)], 0),
        (5, vec![(3, 9), (0, 1)], 1),
        (5, vec![(0, 3), (1, 2), (2, 3)], 1),
        (5, vec![(7, 9)], 5),
        (u64::MAX, vec![(0, u64::MAX)], 0),
    ];
    for (floor, intervals, missing) in cases {
        let intervals: Vec<_> = intervals
            .into_iter()
            .map(|(first, last)| (BatchNumber(first), BatchNumber(last)))
            .collect();
        assert_eq!(
            missing_below(BatchNumber(floor), intervals.clone()),
            missing,
            "{floor} {intervals:?}"
        );
    }
}
