//! What the agent says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bincode::{BorrowDecode, Encode};
use model::{Labels, MetricType, TimestampMs};
use rows::{
    BODY_BYTES_MAX, BatchNumber, CohortDefinition, CohortId, Epoch, SLOTS_MAX, SeriesDefinition,
};

use super::parts::{NAME_BYTES_MAX, fits, fitted, millis, take_name};
use super::sealed::Codec;
use super::{malformed, put_envelope, renewal, take_envelope, take_envelope_and_rest};
use crate::{
    AgentHello, AgentMessage, AgentStatus, DecodeError, EPOCHS_MAX, EncodeError, EpochOffer, Frame,
    FrameKind,
};

#[derive(Encode, BorrowDecode)]
struct Hello<'a> {
    node: &'a str,
    version: &'a str,
    epoch: u64,
    predecessor: Option<u64>,
    interval_ms: u64,
    /// Epoch, floor, next.
    epochs: Vec<(u64, u64, u64)>,
    wall_ms: i64,
}

#[derive(Encode, BorrowDecode)]
struct Define<'a> {
    epoch: u64,
    cohort: u32,
    name: &'a str,
    first_slot: u16,
    /// Each text once.
    symbols: Vec<&'a str>,
    /// Metric type, number of labels.
    series: Vec<(u8, u16)>,
    /// For each series in turn, for each label in turn: symbol of the name, symbol of the value.
    labels: Vec<(u32, u32)>,
}

/// The body follows the envelope and fills the frame.
#[derive(Encode, BorrowDecode)]
struct Batch {
    epoch: u64,
    number: u64,
}

#[derive(Encode, BorrowDecode)]
struct Floor {
    epoch: u64,
    floor: u64,
}

#[derive(Encode, BorrowDecode)]
struct Status {
    spool_bytes: u64,
    spool_bytes_max: u64,
    oldest_unacknowledged_ms: Option<i64>,
    dropped_batches: u64,
    dropped_samples: u64,
}

impl Codec for AgentMessage {
    fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Define { .. } => FrameKind::Define,
            Self::Batch { .. } => FrameKind::Batch,
            Self::Floor { .. } => FrameKind::Floor,
            Self::Status(_) => FrameKind::Status,
            Self::Renew { .. } => FrameKind::Renew,
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = self.kind();
        match self {
            Self::Hello(hello) => put_hello(out, hello),
            Self::Define { epoch, definition } => put_definition(out, *epoch, definition),
            Self::Batch {
                epoch,
                number,
                body,
            } => {
                fits("a batch", body.len(), BODY_BYTES_MAX)?;
                let (epoch, number) = (epoch.0, number.0);
                put_envelope(out, kind, Batch { epoch, number })?;
                out.extend_from_slice(body);
                Ok(())
            }
            Self::Floor { epoch, floor } => {
                let (epoch, floor) = (epoch.0, floor.0);
                put_envelope(out, kind, Floor { epoch, floor })
            }
            Self::Status(status) => put_envelope(
                out,
                kind,
                Status {
                    spool_bytes: status.spool_bytes,
                    spool_bytes_max: status.spool_bytes_max,
                    oldest_unacknowledged_ms: status.oldest_unacknowledged.map(|at| at.0),
                    dropped_batches: status.dropped_batches,
                    dropped_samples: status.dropped_samples,
                },
            ),
            Self::Renew { request } => renewal::put_request(out, request),
        }
    }

    fn take(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let kind = frame.kind;
        Ok(match kind {
            FrameKind::Hello => Self::Hello(take_hello(frame)?),
            FrameKind::Define => take_definition(frame)?,
            FrameKind::Batch => {
                let (Batch { epoch, number }, body) = take_envelope_and_rest(frame)?;
                fitted(kind, "its body is too long", body.len(), BODY_BYTES_MAX)?;
                Self::Batch {
                    epoch: Epoch(epoch),
                    number: BatchNumber(number),
                    body: Arc::from(body),
                }
            }
            FrameKind::Floor => {
                let Floor { epoch, floor } = take_envelope(frame)?;
                Self::Floor {
                    epoch: Epoch(epoch),
                    floor: BatchNumber(floor),
                }
            }
            FrameKind::Status => {
                let status: Status = take_envelope(frame)?;
                Self::Status(AgentStatus {
                    spool_bytes: status.spool_bytes,
                    spool_bytes_max: status.spool_bytes_max,
                    oldest_unacknowledged: status.oldest_unacknowledged_ms.map(TimestampMs),
                    dropped_batches: status.dropped_batches,
                    dropped_samples: status.dropped_samples,
                })
            }
            FrameKind::Renew => Self::Renew {
                request: renewal::take_request(frame)?,
            },
            FrameKind::JoinRequest
            | FrameKind::JoinReply
            | FrameKind::Welcome
            | FrameKind::Refused
            | FrameKind::Acknowledged
            | FrameKind::Resend
            | FrameKind::Quarantine
            | FrameKind::Retry
            | FrameKind::Certificate
            | FrameKind::RenewalRefused
            | FrameKind::PairHello
            | FrameKind::PairAlive
            | FrameKind::PairRecords
            | FrameKind::PairSynced
            | FrameKind::PairAsk
            | FrameKind::PairAnswer
            | FrameKind::PairRelease
            | FrameKind::PairConfiguration => return Err(DecodeError::Direction { kind }),
        })
    }
}

fn put_hello(out: &mut Vec<u8>, hello: &AgentHello) -> Result<(), EncodeError> {
    fits("the node's name", hello.node.len(), NAME_BYTES_MAX)?;
    fits("the version", hello.version.len(), NAME_BYTES_MAX)?;
    fits("the list of epochs", hello.epochs.len(), EPOCHS_MAX)?;
    let offer = |offer: &EpochOffer| (offer.epoch.0, offer.floor.0, offer.next.0);
    let mirror = Hello {
        node: &hello.node,
        version: &hello.version,
        epoch: hello.epoch.0,
        predecessor: hello.predecessor.map(|epoch| epoch.0),
        interval_ms: millis(hello.interval),
        epochs: hello.epochs.iter().map(offer).collect(),
        wall_ms: hello.wall.0,
    };
    put_envelope(out, FrameKind::Hello, mirror)
}

fn take_hello(frame: Frame<'_>) -> Result<AgentHello, DecodeError> {
    let hello: Hello<'_> = take_envelope(frame)?;
    let kind = frame.kind;
    fitted(
        kind,
        "it offers too many epochs",
        hello.epochs.len(),
        EPOCHS_MAX,
    )?;
    let offer = |(epoch, floor, next)| EpochOffer {
        epoch: Epoch(epoch),
        floor: BatchNumber(floor),
        next: BatchNumber(next),
    };
    Ok(AgentHello {
        node: take_name(kind, hello.node)?,
        version: take_name(kind, hello.version)?,
        epoch: Epoch(hello.epoch),
        predecessor: hello.predecessor.map(Epoch),
        interval: Duration::from_millis(hello.interval_ms),
        epochs: hello.epochs.into_iter().map(offer).collect(),
        wall: TimestampMs(hello.wall_ms),
    })
}

fn put_definition(
    out: &mut Vec<u8>,
    epoch: Epoch,
    definition: &CohortDefinition,
) -> Result<(), EncodeError> {
    fits("a cohort's name", definition.name.len(), NAME_BYTES_MAX)?;
    let slots = usize::from(definition.first_slot) + definition.series.len();
    fits("a layout", slots, SLOTS_MAX)?;
    let mut symbols = Symbols::default();
    let mut series = Vec::with_capacity(definition.series.len());
    let mut labels = Vec::new();
    for SeriesDefinition {
        labels: set, kind, ..
    } in &definition.series
    {
        let count = u16::try_from(set.len()).map_err(|_| EncodeError::TooLong {
            what: "a label set",
            length: set.len(),
            limit: usize::from(u16::MAX),
        })?;
        series.push((type_code(*kind), count));
        for (name, value) in set.iter() {
            labels.push((symbols.number(name), symbols.number(value)));
        }
    }
    let mirror = Define {
        epoch: epoch.0,
        cohort: definition.cohort.0,
        name: &definition.name,
        first_slot: definition.first_slot,
        symbols: symbols.list,
        series,
        labels,
    };
    put_envelope(out, FrameKind::Define, mirror)
}

/// Numbers texts in order of appearance.
#[derive(Default)]
struct Symbols<'a> {
    numbers: HashMap<&'a str, u32>,
    list: Vec<&'a str>,
}

impl<'a> Symbols<'a> {
    fn number(&mut self, text: &'a str) -> u32 {
        // A frame has room for far fewer than 2^32.
        let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(text).or_insert_with(|| {
            self.list.push(text);
            next
        })
    }
}

fn take_definition(frame: Frame<'_>) -> Result<AgentMessage, DecodeError> {
    let kind = frame.kind;
    let define: Define<'_> = take_envelope(frame)?;
    let slots = usize::from(define.first_slot) + define.series.len();
    fitted(kind, "its layout is too long", slots, SLOTS_MAX)?;
    fitted(
        kind,
        "a name is too long",
        define.name.len(),
        NAME_BYTES_MAX,
    )?;
    let symbol = |number: u32| {
        let index = usize::try_from(number).ok();
        index.and_then(|index| define.symbols.get(index).copied())
    };
    let mut rest = &define.labels[..];
    let mut series = Vec::with_capacity(define.series.len());
    // Small symbols may be named often: what they expand to is bounded as well.
    let mut bytes = 0;
    for (code, count) in &define.series {
        let (labels, after) = rest
            .split_at_checked(usize::from(*count))
            .ok_or_else(|| malformed(kind, "a series has more labels than there are"))?;
        rest = after;
        let pair = |(name, value): &(u32, u32)| Some((symbol(*name)?, symbol(*value)?));
        let pairs: Option<Vec<_>> = labels.iter().map(pair).collect();
        let pairs = pairs.ok_or_else(|| malformed(kind, "a label names no symbol"))?;
        bytes += pairs.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        fitted(kind, "its labels are too long", bytes, LABEL_BYTES_MAX)?;
        series.push(SeriesDefinition {
            labels: Labels::from_pairs(pairs)
                .map_err(|_| malformed(kind, "a label set is malformed"))?,
            kind: take_type(kind, *code)?,
        });
    }
    if !rest.is_empty() {
        return Err(malformed(kind, "there are more labels than series have"));
    }
    Ok(AgentMessage::Define {
        epoch: Epoch(define.epoch),
        definition: CohortDefinition {
            cohort: CohortId(define.cohort),
            name: Arc::from(define.name),
            first_slot: define.first_slot,
            series,
        },
    })
}

/// The most bytes of all labels of a definition, written out.
const LABEL_BYTES_MAX: usize = 16 << 20;

const fn type_code(kind: MetricType) -> u8 {
    match kind {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

const fn take_type(kind: FrameKind, code: u8) -> Result<MetricType, DecodeError> {
    Ok(match code {
        0 => MetricType::Unknown,
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => return Err(malformed(kind, "a metric is of no known type")),
    })
}
