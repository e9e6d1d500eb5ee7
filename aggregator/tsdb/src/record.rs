//! The bodies of log records; FORMAT.md has the drawing.

use std::sync::Arc;

use model::{Labels, MetricType, TimeRange, TimestampMs};
use rows::{
    AgentId, BatchNumber, CohortId, Epoch, INTERVALS_MAX, NumberSet, SLOTS_MAX, SeriesDefinition,
    Slot,
};
use storage::{Lane, RefusalReason};

use crate::admission::SERIES_BYTES_MAX;
use crate::bytes::{Malformed, Reader, put_text};
use crate::layout::SlotState;

/// A definition record is closed when its slots, uncompressed, reach this; one slot more may exceed it.
const DEFINITION_BYTES: usize = 256 * 1024;
/// What an uncompressed definition record can be at most, with all lengths of its last slot.
const DEFINITION_BYTES_MAX: usize = DEFINITION_BYTES + SERIES_BYTES_MAX + 1024;

const KINDS: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// One record, read or to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<'a> {
    /// A batch as it was received, with what the log decided: rows outside `taken` are refused.
    Batch {
        source: LogSource,
        number: BatchNumber,
        taken: TimeRange,
        body: &'a [u8],
    },
    /// A row that the next batches of this source lean on, encoded as a key row.
    Base { source: LogSource, row: &'a [u8] },
    /// What slots of a cohort are.
    Definition(Definition),
    /// Numbers below the floor will never come.
    Settle {
        agent: AgentId,
        epoch: Epoch,
        floor: BatchNumber,
    },
    /// Since when counters of a cohort count, as known before the next row.
    Starts {
        agent: AgentId,
        epoch: Epoch,
        cohort: CohortId,
        starts: Vec<(Slot, TimestampMs)>,
    },
    /// The durable numbers of an epoch before this record's group.
    Numbers {
        agent: AgentId,
        epoch: Epoch,
        numbers: NumberSet,
    },
}

/// Who a record is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogSource {
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
    pub(crate) lane: Lane,
}

/// A stretch of a layout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
    pub(crate) cohort: CohortId,
    pub(crate) name: Arc<str>,
    pub(crate) packed: PackedSlots,
    /// What `packed` has.
    pub(crate) slots: Vec<SlotState>,
}

pub(crate) const BATCH: u8 = 1;
pub(crate) const BASE: u8 = 2;
pub(crate) const DEFINITION: u8 = 3;
pub(crate) const SETTLE: u8 = 4;
pub(crate) const NUMBERS: u8 = 5;
pub(crate) const STARTS: u8 = 6;

/// Appends the body of a batch record.
pub(crate) fn put_batch(
    out: &mut Vec<u8>,
    source: &LogSource,
    number: BatchNumber,
    taken: TimeRange,
    body: &[u8],
) {
    put_source(out, source);
    out.extend_from_slice(&number.0.to_le_bytes());
    out.extend_from_slice(&taken.start.0.to_le_bytes());
    out.extend_from_slice(&taken.end.0.to_le_bytes());
    out.extend_from_slice(body);
}

/// Appends the body of a base record; the caller appends the row.
pub(crate) fn put_base(out: &mut Vec<u8>, source: &LogSource) {
    put_source(out, source);
}

/// Appends the body of a settle record.
pub(crate) fn put_settle(out: &mut Vec<u8>, agent: &AgentId, epoch: Epoch, floor: BatchNumber) {
    put_epoch(out, agent, epoch);
    out.extend_from_slice(&floor.0.to_le_bytes());
}

/// Appends the body of a numbers record.
pub(crate) fn put_numbers(out: &mut Vec<u8>, agent: &AgentId, epoch: Epoch, numbers: &NumberSet) {
    put_epoch(out, agent, epoch);
    put_number_set(out, numbers);
}

/// Appends the body of a starts record.
pub(crate) fn put_starts<'a>(
    out: &mut Vec<u8>,
    (agent, epoch, cohort): (&AgentId, Epoch, CohortId),
    starts: impl ExactSizeIterator<Item = (&'a Slot, &'a TimestampMs)>,
) {
    put_epoch(out, agent, epoch);
    out.extend_from_slice(&cohort.0.to_le_bytes());
    let count = u16::try_from(starts.len()).expect("slots are bounded to 16,384");
    out.extend_from_slice(&count.to_le_bytes());
    for (slot, start) in starts {
        out.extend_from_slice(&slot.to_le_bytes());
        out.extend_from_slice(&start.0.to_le_bytes());
    }
}

/// Appends a number set: a count in 16 bits, then first and last of each interval.
pub(crate) fn put_number_set(out: &mut Vec<u8>, numbers: &NumberSet) {
    let intervals = numbers.intervals();
    let count = u16::try_from(intervals.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for (first, last) in intervals {
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&last.0.to_le_bytes());
    }
}

/// Consecutive slots of a layout as a definition record has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedSlots {
    pub(crate) first: Slot,
    pub(crate) count: u16,
    raw_bytes: u32,
    /// One zstd frame.
    frame: Arc<[u8]>,
}

impl PackedSlots {
    /// Packs the first of these slots, which stand from `first` on: at least one when there is one, as many as a record may have.
    pub(crate) fn pack(first: Slot, slots: &[SlotState]) -> Self {
        let mut raw = Vec::new();
        let mut count: u16 = 0;
        for slot in slots {
            if raw.len() >= DEFINITION_BYTES {
                break;
            }
            put_slot(&mut raw, slot);
            count += 1;
        }
        let frame = zstd::bulk::compress(&raw, 1).expect("compressing into memory cannot fail");
        Self {
            first,
            count,
            raw_bytes: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            frame: frame.into(),
        }
    }

    /// Packs all of these slots, which stand from `first` on.
    pub(crate) fn pack_all(first: Slot, slots: &[SlotState]) -> Vec<Self> {
        let (mut parts, mut rest) = (Vec::new(), slots);
        while !rest.is_empty() {
            let at = usize::from(first) + (slots.len() - rest.len());
            let first = Slot::try_from(at).expect("bounded to 16,384 slots");
            let part = Self::pack(first, rest);
            rest = &rest[usize::from(part.count)..];
            parts.push(part);
        }
        parts
    }

    /// Returns how much memory the slots take.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.frame.len()
    }

    /// Returns the slot behind the last.
    pub(crate) fn end(&self) -> usize {
        usize::from(self.first) + usize::from(self.count)
    }

    /// Returns whether it is so short that more slots had better be packed with these.
    pub(crate) const fn takes_more(&self) -> bool {
        (self.raw_bytes as usize) < DEFINITION_BYTES / 8
    }

    /// Returns the slots.
    pub(crate) fn unpack(&self) -> Vec<SlotState> {
        let raw = zstd::bulk::decompress(&self.frame, self.raw_bytes as usize);
        let raw = raw.expect("a frame that this process made, or has read once");
        let mut raw = Reader::new(&raw);
        (0..self.count)
            .map(|_| read_slot(&mut raw).expect("slots that this process wrote, or has read once"))
            .collect()
    }
}

/// Appends the body of a definition record.
pub(crate) fn put_definition(
    out: &mut Vec<u8>,
    (agent, epoch, cohort, name): (&AgentId, Epoch, CohortId, &str),
    slots: &PackedSlots,
) {
    put_epoch(out, agent, epoch);
    out.extend_from_slice(&cohort.0.to_le_bytes());
    put_text(out, name);
    out.extend_from_slice(&slots.first.to_le_bytes());
    out.extend_from_slice(&slots.count.to_le_bytes());
    out.extend_from_slice(&slots.raw_bytes.to_le_bytes());
    out.extend_from_slice(&slots.frame);
}

fn put_slot(out: &mut Vec<u8>, slot: &SlotState) {
    match slot {
        SlotState::Undefined => out.push(0),
        SlotState::Refused(reason) => {
            out.push(1);
            out.push(position(&RefusalReason::ALL, reason));
        }
        SlotState::Series(series) => {
            out.push(2);
            out.push(position(&KINDS, &series.kind));
            put_labels(out, &series.labels);
        }
    }
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let count = u16::try_from(labels.len()).expect("admission bounds the labels of a series");
    out.extend_from_slice(&count.to_le_bytes());
    for (name, value) in labels.iter() {
        put_text(out, name);
        put_text(out, value);
    }
}

fn position<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter()
        .position(|other| other == one)
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(0)
}

fn put_epoch(out: &mut Vec<u8>, agent: &AgentId, epoch: Epoch) {
    put_text(out, agent.as_str());
    out.extend_from_slice(&epoch.0.to_le_bytes());
}

fn put_source(out: &mut Vec<u8>, source: &LogSource) {
    put_epoch(out, &source.agent, source.epoch);
    out.push(match source.lane {
        Lane::Live => 0,
        Lane::CatchUp => 1,
        Lane::Correction => 2,
    });
}

/// Reads the body of a record; `None` when its kind is not known to this version.
pub(crate) fn read(kind: u8, body: &[u8]) -> Result<Option<Record<'_>>, Malformed> {
    let mut reader = Reader::new(body);
    let from = &mut reader;
    Ok(Some(match kind {
        BATCH => Record::Batch {
            source: read_source(from)?,
            number: BatchNumber(from.u64("batch number")?),
            taken: TimeRange::new(
                TimestampMs(from.i64("lower bound")?),
                TimestampMs(from.i64("upper bound")?),
            ),
            body: from.rest(),
        },
        BASE => Record::Base {
            source: read_source(from)?,
            row: from.rest(),
        },
        DEFINITION => Record::Definition(read_definition(from)?),
        SETTLE => {
            let (agent, epoch) = read_epoch(from)?;
            Record::Settle {
                agent,
                epoch,
                floor: BatchNumber(from.u64("floor")?),
            }
        }
        NUMBERS => {
            let (agent, epoch) = read_epoch(from)?;
            Record::Numbers {
                agent,
                epoch,
                numbers: read_number_set(from)?,
            }
        }
        STARTS => {
            let (agent, epoch) = read_epoch(from)?;
            let cohort = CohortId(from.u32("cohort")?);
            let count = from.u16("start count")?;
            let mut start = || Ok((from.u16("slot")?, TimestampMs(from.i64("start time")?)));
            Record::Starts {
                agent,
                epoch,
                cohort,
                starts: (0..count)
                    .map(|_| start())
                    .collect::<Result<_, Malformed>>()?,
            }
        }
        _ => return Ok(None),
    }))
}

fn read_epoch(from: &mut Reader<'_>) -> Result<(AgentId, Epoch), Malformed> {
    let agent = from
        .text("agent")?
        .parse()
        .map_err(|_| Malformed("agent id"))?;
    Ok((agent, Epoch(from.u64("epoch")?)))
}

fn read_source(from: &mut Reader<'_>) -> Result<LogSource, Malformed> {
    let (agent, epoch) = read_epoch(from)?;
    let lane = match from.u8("lane")? {
        0 => Lane::Live,
        1 => Lane::CatchUp,
        2 => Lane::Correction,
        _ => return Err(Malformed("lane")),
    };
    Ok(LogSource { agent, epoch, lane })
}

/// Reads what [`put_number_set`] wrote.
pub(crate) fn read_number_set(from: &mut Reader<'_>) -> Result<NumberSet, Malformed> {
    let count = usize::from(from.u16("interval count")?);
    if count > INTERVALS_MAX {
        return Err(Malformed("interval count"));
    }
    let mut intervals = Vec::with_capacity(count);
    for _ in 0..count {
        let first = BatchNumber(from.u64("interval")?);
        intervals.push((first, BatchNumber(from.u64("interval")?)));
    }
    NumberSet::from_intervals(intervals).ok_or(Malformed("number set"))
}

fn read_definition(from: &mut Reader<'_>) -> Result<Definition, Malformed> {
    let (agent, epoch) = read_epoch(from)?;
    let cohort = CohortId(from.u32("cohort")?);
    let name = Arc::from(from.text("cohort name")?);
    let packed = PackedSlots {
        first: from.u16("first slot")?,
        count: from.u16("slot count")?,
        raw_bytes: from.u32("definition length")?,
        frame: from.rest().into(),
    };
    let raw_bytes = packed.raw_bytes as usize;
    if packed.end() > SLOTS_MAX || raw_bytes > DEFINITION_BYTES_MAX {
        return Err(Malformed("definition length"));
    }
    let raw = zstd::bulk::decompress(&packed.frame, raw_bytes)
        .map_err(|_| Malformed("compressed definition"))?;
    let mut raw = Reader::new(&raw);
    let slots = (0..packed.count)
        .map(|_| read_slot(&mut raw))
        .collect::<Result<_, _>>()?;
    Ok(Definition {
        agent,
        epoch,
        cohort,
        name,
        packed,
        slots,
    })
}

fn read_slot(from: &mut Reader<'_>) -> Result<SlotState, Malformed> {
    match from.u8("slot state")? {
        0 => Ok(SlotState::Undefined),
        1 => RefusalReason::ALL
            .get(usize::from(from.u8("refusal reason")?))
            .map(|reason| SlotState::Refused(*reason))
            .ok_or(Malformed("refusal reason")),
        2 => {
            let kind = KINDS
                .get(usize::from(from.u8("metric type")?))
                .copied()
                .ok_or(Malformed("metric type"))?;
            let labels = read_labels(from)?;
            Ok(SlotState::Series(SeriesDefinition { labels, kind }))
        }
        _ => Err(Malformed("slot state")),
    }
}

fn read_labels(from: &mut Reader<'_>) -> Result<Labels, Malformed> {
    let count = from.u16("label count")?;
    let pairs = (0..count)
        .map(|_| Ok((from.text("label name")?, from.text("label value")?)))
        .collect::<Result<Vec<_>, Malformed>>()?;
    Labels::from_pairs(pairs).map_err(|_| Malformed("label set"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn source() -> LogSource {
        LogSource {
            agent: "node-1".parse().unwrap(),
            epoch: Epoch(7),
            lane: Lane::CatchUp,
        }
    }

    fn slots() -> Vec<SlotState> {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "ü")]).unwrap();
        let kind = MetricType::GaugeHistogram;
        vec![
            SlotState::Series(SeriesDefinition { labels, kind }),
            SlotState::Undefined,
            SlotState::Refused(RefusalReason::Memory),
        ]
    }

    #[test]
    fn records_read_back_as_written_and_no_cut_panics() {
        let source = source();
        let range = TimeRange::new(TimestampMs(-5), TimestampMs(9));
        let mut numbers = NumberSet::new();
        numbers.insert(BatchNumber(3));
        numbers.insert(BatchNumber(9));
        let mut bodies: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut body = |kind: u8, put: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            put(&mut out);
            bodies.push((kind, out));
        };
        body(BATCH, &|out| {
            put_batch(out, &source, BatchNumber(4), range, b"rows")
        });
        body(BASE, &|out| {
            put_base(out, &source);
            out.extend_from_slice(b"row");
        });
        body(DEFINITION, &|out| {
            let of = (&source.agent, source.epoch, CohortId(2), "node/fast");
            put_definition(out, of, &PackedSlots::pack(5, &slots()));
        });
        body(SETTLE, &|out| {
            put_settle(out, &source.agent, source.epoch, BatchNumber(8))
        });
        body(NUMBERS, &|out| {
            put_numbers(out, &source.agent, source.epoch, &numbers)
        });
        let starts = BTreeMap::from([(3, TimestampMs(-9)), (16_000, TimestampMs(5))]);
        body(STARTS, &|out| {
            put_starts(
                out,
                (&source.agent, source.epoch, CohortId(2)),
                starts.iter(),
            );
        });

        let expected = [
            Record::Batch {
                source: source.clone(),
                number: BatchNumber(4),
                taken: range,
                body: b"rows",
            },
            Record::Base {
                source: source.clone(),
                row: b"row",
            },
            Record::Definition(Definition {
                agent: source.agent.clone(),
                epoch: source.epoch,
                cohort: CohortId(2),
                name: Arc::from("node/fast"),
                packed: PackedSlots::pack(5, &slots()),
                slots: slots(),
            }),
            Record::Settle {
                agent: source.agent.clone(),
                epoch: source.epoch,
                floor: BatchNumber(8),
            },
            Record::Numbers {
                agent: source.agent.clone(),
                epoch: source.epoch,
                numbers,
            },
            Record::Starts {
                agent: source.agent.clone(),
                epoch: source.epoch,
                cohort: CohortId(2),
                starts: starts.clone().into_iter().collect(),
            },
        ];
        for ((kind, body), expected) in bodies.iter().zip(&expected) {
            assert_eq!(read(*kind, body), Ok(Some(expected.clone())));
            for cut in 0..body.len() {
                drop(read(*kind, &body[..cut]));
            }
        }
        assert_eq!(read(200, b"what"), Ok(None));
    }

    #[test]
    fn a_large_layout_takes_several_records() {
        let value = "v".repeat(2_000);
        let slots: Vec<SlotState> = (0..400)
            .map(|id| {
                let labels =
                    Labels::from_pairs([("id", id.to_string()), ("x", value.clone())]).unwrap();
                SlotState::Series(SeriesDefinition {
                    labels,
                    kind: MetricType::Unknown,
                })
            })
            .collect();
        let source = source();
        let mut at = 0;
        let mut records = 0;
        while at < slots.len() {
            let mut out = Vec::new();
            let of = (&source.agent, source.epoch, CohortId(2), "c");
            let first = Slot::try_from(at).unwrap();
            let packed = PackedSlots::pack(first, &slots[at..]);
            put_definition(&mut out, of, &packed);
            let Ok(Some(Record::Definition(read))) = read(DEFINITION, &out) else {
                panic!("a definition");
            };
            assert_eq!(read.slots, slots[at..packed.end()]);
            assert_eq!(packed.unpack(), read.slots);
            at = packed.end();
            records += 1;
        }
        assert!(records > 2, "{records}");
    }
}
