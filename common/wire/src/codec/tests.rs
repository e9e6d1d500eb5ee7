//! Golden vectors, round trips, and bytes that nobody should send.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, MetricType, TimestampMs};
use proptest::prelude::*;
use rows::{BatchNumber, CohortDefinition, CohortId, Epoch, NumberSet, SeriesDefinition, StoreId};

use super::*;
use crate::{
    AgentHello, AgentStatus, EpochKnown, EpochOffer, FrameDecoder, JoinRefusal, PairHello,
    RefusedSamples, SessionRefusal, Share, SharedRecord, SharedTable, Welcome,
};

fn numbers() -> NumberSet {
    NumberSet::from_intervals([
        (BatchNumber(0), BatchNumber(41)),
        (BatchNumber(300), BatchNumber(70_000)),
    ])
    .unwrap()
}

fn definition(symbols: usize) -> CohortDefinition {
    let series = (0..symbols).map(|n| SeriesDefinition {
        labels: Labels::from_pairs([("__name__", "up".to_owned()), ("n", n.to_string())]).unwrap(),
        kind: MetricType::Gauge,
    });
    CohortDefinition {
        cohort: CohortId(3),
        name: Arc::from("node/fast"),
        first_slot: 7,
        series: series.collect(),
    }
}

fn agent_messages() -> Vec<AgentMessage> {
    vec![
        AgentMessage::Hello(AgentHello {
            node: "n1".to_owned(),
            version: "0.1.0".to_owned(),
            epoch: Epoch(0x0123_4567_89ab_cdef),
            predecessor: Some(Epoch(9)),
            interval: Duration::from_secs(1),
            epochs: vec![
                EpochOffer {
                    epoch: Epoch(9),
                    floor: BatchNumber(250),
                    next: BatchNumber(251),
                },
                EpochOffer {
                    epoch: Epoch(0x0123_4567_89ab_cdef),
                    floor: BatchNumber(0),
                    next: BatchNumber(0),
                },
            ],
            wall: TimestampMs(1_790_000_000_000),
        }),
        AgentMessage::Define {
            epoch: Epoch(9),
            definition: definition(2),
        },
        AgentMessage::Batch {
            epoch: Epoch(9),
            number: BatchNumber(251),
            body: Arc::from(*b"body"),
        },
        AgentMessage::Floor {
            epoch: Epoch(9),
            floor: BatchNumber(1 << 40),
        },
        AgentMessage::Status(AgentStatus {
            spool_bytes: 1,
            spool_bytes_max: 536_870_912,
            oldest_unacknowledged: Some(TimestampMs(-1)),
            dropped_batches: 0,
            dropped_samples: 65_536,
        }),
        AgentMessage::Renew {
            request: vec![0x30, 0x82],
        },
    ]
}

fn store_messages() -> Vec<StoreMessage> {
    vec![
        StoreMessage::Welcome(Welcome {
            store: StoreId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            known: vec![EpochKnown {
                epoch: Epoch(9),
                numbers: numbers(),
            }],
            window_batches: 32,
            wall: TimestampMs(1_790_000_000_000),
        }),
        StoreMessage::Refused {
            reason: SessionRefusal::ClockSkew,
            message: "clocks".to_owned(),
        },
        StoreMessage::Acknowledged {
            epoch: Epoch(9),
            numbers: numbers(),
            refused: vec![RefusedSamples {
                reason: "too_new".to_owned(),
                samples: 12,
            }],
        },
        StoreMessage::Resend {
            epoch: Epoch(9),
            number: BatchNumber(5),
        },
        StoreMessage::Quarantine {
            epoch: Epoch(9),
            number: BatchNumber(5),
            message: "no".to_owned(),
        },
        StoreMessage::Retry {
            epoch: Epoch(9),
            numbers: NumberSet::new(),
            after: Duration::from_secs(2),
        },
        StoreMessage::Certificate {
            chain: vec![vec![1, 2], vec![3]],
        },
        StoreMessage::RenewalRefused {
            message: "no".to_owned(),
        },
    ]
}

fn join_request() -> JoinRequest {
    JoinRequest {
        token: "secret".to_owned(),
        agent: "n1".to_owned(),
        request: vec![0x30],
    }
}

fn join_replies() -> Vec<JoinReply> {
    vec![
        JoinReply::Granted {
            chain: vec![vec![1]],
        },
        JoinReply::Refused {
            reason: JoinRefusal::UsedUp,
            message: "used".to_owned(),
        },
    ]
}

fn pair_messages() -> Vec<PairMessage> {
    let record = |table, key: &[u8]| SharedRecord {
        table,
        key: key.to_vec(),
        value: b"{}".to_vec(),
    };
    let place = || b"p".to_vec();
    vec![
        PairMessage::Hello(PairHello {
            protocol: 1,
            version: "0.1.0".to_owned(),
            name: "a".to_owned(),
            sees: "b:1".to_owned(),
            wall: TimestampMs(1_790_000_000_000),
        }),
        PairMessage::Alive,
        PairMessage::Share(Share::Records(vec![
            record(SharedTable::Silences, b"s"),
            record(SharedTable::Notifications, b"p"),
        ])),
        PairMessage::Share(Share::Synced),
        PairMessage::Share(Share::Ask { place: place() }),
        PairMessage::Share(Share::Answer {
            place: place(),
            granted: true,
        }),
        PairMessage::Share(Share::Release { place: place() }),
        PairMessage::Share(Share::Configuration { digest: 7 }),
        PairMessage::Renew {
            request: vec![0x30, 0x82],
        },
        PairMessage::Certificate {
            chain: vec![vec![1, 2], vec![3]],
        },
        PairMessage::RenewalRefused {
            message: "no".to_owned(),
        },
    ]
}

fn frame_of<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(message, &mut out).unwrap();
    out
}

fn decode<M: Message>(bytes: &[u8]) -> Result<M, DecodeError> {
    let mut decoder = FrameDecoder::new();
    decoder.push(bytes).unwrap();
    decode_message(decoder.next_frame().unwrap().unwrap())
}

/// Every message with its bytes.
fn all() -> Vec<(String, Vec<u8>)> {
    fn with_bytes<M: Message + Debug>(messages: &[M]) -> Vec<(String, Vec<u8>)> {
        let checked = messages.iter().map(|message| {
            let bytes = frame_of(message);
            let text = format!("{message:?}");
            assert_eq!(format!("{:?}", decode::<M>(&bytes).unwrap()), text);
            (text, bytes)
        });
        checked.collect()
    }
    [
        with_bytes(&agent_messages()),
        with_bytes(&store_messages()),
        with_bytes(&[join_request()]),
        with_bytes(&join_replies()),
        with_bytes(&pair_messages()),
    ]
    .concat()
}

/// The examples of PROTOCOL.md, in the order of the messages above: what version 1 of the protocol is, whatever library writes it.
#[test]
fn messages_have_the_bytes_of_the_protocol_document() {
    let document = include_str!("../../PROTOCOL.md");
    let examples: Vec<&str> = document
        .split("```hex\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let actual: Vec<String> = all().iter().map(|(_, bytes)| hex(bytes)).collect();
    assert_eq!(actual, examples, "\n{}", actual.join("\n"));
}

#[test]
fn a_message_does_not_come_from_the_other_side() {
    let batch = frame_of(&agent_messages()[2]);
    let kind = FrameKind::Batch;
    assert_eq!(
        decode::<StoreMessage>(&batch).unwrap_err(),
        DecodeError::Direction { kind }
    );
    assert!(decode::<JoinRequest>(&batch).is_err() && decode::<JoinReply>(&batch).is_err());
    assert!(decode::<AgentMessage>(&frame_of(&store_messages()[0])).is_err());
    assert!(decode::<PairMessage>(&batch).is_err());
    assert!(decode::<AgentMessage>(&frame_of(&pair_messages()[0])).is_err());
}

#[test]
fn long_prose_is_cut_and_other_parts_are_refused() {
    let message = "é".repeat(5_000);
    let bytes = frame_of(&StoreMessage::RenewalRefused { message });
    let Ok(StoreMessage::RenewalRefused { message }) = decode(&bytes) else {
        panic!("it decodes")
    };
    assert_eq!(message.len(), 4_096);
    let mut out = vec![1];
    let mut hello = AgentHello {
        node: "n".repeat(257),
        version: String::new(),
        epoch: Epoch(0),
        predecessor: None,
        interval: Duration::ZERO,
        epochs: vec![],
        wall: TimestampMs(0),
    };
    for _ in 0..2 {
        let error = encode_message(&AgentMessage::Hello(hello.clone()), &mut out).unwrap_err();
        assert!(matches!(error, EncodeError::TooLong { .. }), "{error}");
        assert_eq!(out, [1]);
        hello.node.clear();
        hello.epochs = vec![
            EpochOffer {
                epoch: Epoch(0),
                floor: BatchNumber(0),
                next: BatchNumber(0)
            };
            65
        ];
    }
}

#[test]
fn claims_of_many_items_are_refused_before_they_are_believed() {
    // bincode's form of 2^44: a byte 253, then 8 bytes.
    let huge = [&[253][..], &(1_u64 << 44).to_le_bytes()].concat();
    let text = [&[0][..], &huge].concat();
    let define = [&[9, 3, 1, b'x', 0][..], &huge].concat();
    let chain = huge.clone();
    for (kind, payload) in [
        (FrameKind::Hello, huge),
        (FrameKind::Define, define),
        (FrameKind::Quarantine, text),
        (FrameKind::Certificate, chain.clone()),
        (FrameKind::PairRecords, chain),
    ] {
        let frame = Frame {
            kind,
            payload: &payload,
        };
        let agent = decode_message::<AgentMessage>(frame).err();
        let store = decode_message::<StoreMessage>(frame).err();
        let pair = decode_message::<PairMessage>(frame).err();
        assert!(
            agent.is_some() && store.is_some() && pair.is_some(),
            "{kind:?}"
        );
    }
}

#[test]
fn contents_that_contradict_each_other_are_refused() {
    let define = |symbols: Vec<&'static str>,
                  series: Vec<(u8, u16)>,
                  labels: Vec<(u32, u32)>,
                  first: u16| {
        let envelope = (1_u64, 2_u32, "c", first, symbols, series, labels);
        let payload = bincode::encode_to_vec(envelope, CONFIGURATION).unwrap();
        let kind = FrameKind::Define;
        let payload = &payload;
        decode_message::<AgentMessage>(Frame { kind, payload }).is_ok()
    };
    assert!(define(vec!["a", "b"], vec![(1, 1)], vec![(0, 1)], 0));
    assert!(
        !define(vec!["a", "b"], vec![(1, 1)], vec![(0, 2)], 0),
        "no such symbol"
    );
    assert!(
        !define(vec!["a", "b"], vec![(1, 2)], vec![(0, 1)], 0),
        "too few labels"
    );
    assert!(
        !define(vec!["a", "b"], vec![(1, 0)], vec![(0, 1)], 0),
        "too many labels"
    );
    assert!(
        !define(vec!["a", "b"], vec![(9, 1)], vec![(0, 1)], 0),
        "no such type"
    );
    assert!(
        !define(vec!["a", "b"], vec![(1, 2)], vec![(0, 1), (0, 1)], 0),
        "a name twice"
    );
    assert!(
        !define(vec!["a", "b"], vec![(1, 1)], vec![(0, 1)], 16_384),
        "no such slot"
    );
    let overlapping =
        bincode::encode_to_vec((1_u64, vec![(0_u64, 5_u64), (5, 9)], 0_u64), CONFIGURATION)
            .unwrap();
    let kind = FrameKind::Retry;
    let payload = &overlapping;
    assert!(decode_message::<StoreMessage>(Frame { kind, payload }).is_err());
    let mut trailing = frame_of(&join_request());
    trailing.push(0);
    trailing[0] += 1;
    assert!(decode::<JoinRequest>(&trailing).is_err());
}

proptest! {
    #[test]
    fn mutilated_messages_are_refused_or_decode_to_something(
        which in any::<prop::sample::Index>(), mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), cut in 0usize..10
    ) {
        let all = all();
        let (_, bytes) = which.get(&all);
        let mut payload = bytes[5..].to_vec();
        for (at, byte) in mutations {
            if !payload.is_empty() { let at = at.index(payload.len()); payload[at] = byte; }
        }
        payload.truncate(payload.len() - cut.min(payload.len()));
        let mut decoder = FrameDecoder::new();
        decoder.push(bytes).unwrap();
        let kind = decoder.next_frame().unwrap().unwrap().kind;
        let frame = Frame { kind, payload: &payload };
        // Whatever decodes can be sent on.
        if let Ok(message) = decode_message::<AgentMessage>(frame) { frame_of(&message); }
        if let Ok(message) = decode_message::<StoreMessage>(frame) { frame_of(&message); }
        if let Ok(message) = decode_message::<JoinRequest>(frame) { frame_of(&message); }
        if let Ok(message) = decode_message::<JoinReply>(frame) { frame_of(&message); }
        if let Ok(message) = decode_message::<PairMessage>(frame) { frame_of(&message); }
    }
}
