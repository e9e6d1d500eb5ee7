//! How the catalogue writes what it says of one partition, of one epoch.

use model::{TimeRange, TimestampMs};
use rows::Epoch;

use super::ImportEntry;
use crate::bytes::{Malformed, Reader, put_text};
use crate::cohorts::{EpochKey, KnownNumbers};
use crate::deletes::Delete;
use crate::record::{put_number_set, read_number_set};

/// A partition file, as the catalogue names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionEntry {
    pub(crate) shard: u16,
    /// The times of its samples; of a tier, of those that it sums up (in files of earlier versions, the ends of all buckets of the day).
    pub(crate) times: TimeRange,
    pub(crate) bytes: u64,
    pub(crate) samples: u64,
    /// All its rows have this log position or an earlier one.
    pub(crate) until: u64,
    pub(crate) level: Level,
    pub(crate) tier: Tier,
    /// The name of its retention class; `""`: the store's own.
    pub(crate) class: String,
    /// Deletes of this position or an earlier one are carried out in it.
    pub(crate) deleted: u64,
}

/// How far a partition is merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As a seal wrote it.
    #[default]
    Sealed = 0,
    /// All of one span of two hours.
    Span = 1,
    /// All of one day.
    Day = 2,
}

/// How coarse a partition's samples are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// As they came.
    #[default]
    Raw = 0,
    /// One summary per 5 minutes.
    Minutes5 = 1,
    /// One summary per hour.
    Hour = 2,
}

impl Tier {
    /// Returns how the names of files of this tier end, before the extension: for whoever has lost the catalogue.
    pub(crate) const fn name_suffix(self) -> &'static str {
        match self {
            Self::Raw => "",
            Self::Minutes5 => "-5m",
            Self::Hour => "-1h",
        }
    }

    /// Returns the tier that a file's name tells of, repaired or not.
    pub(crate) fn of_name(name: &str) -> Self {
        let stem = name.trim_end_matches(".redb");
        let stem = stem.trim_end_matches("-repaired");
        let tells = |tier: &Self| stem.ends_with(tier.name_suffix());
        [Self::Minutes5, Self::Hour]
            .into_iter()
            .find(tells)
            .unwrap_or_default()
    }
}

impl PartitionEntry {
    /// Returns whether a delete of this position still hides some of the partition's rows.
    pub(crate) fn is_hit_by(&self, position: u64, delete: &Delete) -> bool {
        self.until <= position && self.deleted < position && self.times.overlaps(delete.range)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.shard.to_le_bytes().to_vec();
        out.extend_from_slice(&self.times.start.0.to_le_bytes());
        out.extend_from_slice(&self.times.end.0.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.samples.to_le_bytes());
        out.extend_from_slice(&self.until.to_le_bytes());
        out.extend_from_slice(&[self.level as u8, self.tier as u8]);
        out.extend_from_slice(&self.deleted.to_le_bytes());
        put_text(&mut out, &self.class);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        Ok(Self {
            until: from_first(&mut from)?,
            level: match from.u8("level")? {
                0 => Level::Sealed,
                1 => Level::Span,
                2 => Level::Day,
                _ => return Err(Malformed("level")),
            },
            tier: match from.u8("tier")? {
                0 => Tier::Raw,
                1 => Tier::Minutes5,
                2 => Tier::Hour,
                _ => return Err(Malformed("tier")),
            },
            deleted: from.u64("deletes carried out")?,
            class: from.text("retention class")?.to_owned(),
            ..Self::decode_v1(bytes, 0)?
        })
    }

    /// Reads the entry of a catalogue of version 1, in which all rows come before `sealed`.
    pub(super) fn decode_v1(bytes: &[u8], sealed: u64) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        Ok(Self {
            shard: from.u16("shard")?,
            times: TimeRange::new(
                TimestampMs(from.i64("oldest sample")?),
                TimestampMs(from.i64("newest sample")?),
            ),
            bytes: from.u64("bytes")?,
            samples: from.u64("samples")?,
            until: sealed,
            level: Level::Sealed,
            tier: Tier::Raw,
            class: String::new(),
            deleted: 0,
        })
    }

    /// Returns what version 1 said of the partition: its checksum covers that.
    pub(super) fn encode_v1(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.truncate(V1_BYTES);
        bytes
    }
}

/// Bytes of an entry of version 1, with which later ones begin.
const V1_BYTES: usize = 2 + 4 * 8;

/// Reads the first field behind those of version 1.
fn from_first(from: &mut Reader<'_>) -> Result<u64, Malformed> {
    from.take(V1_BYTES, "entry of a partition")?;
    from.u64("last position")
}

pub(super) fn encode_import(import: &ImportEntry) -> Vec<u8> {
    let mut out = import.from.0.to_le_bytes().to_vec();
    out.extend_from_slice(&import.newest.0.to_le_bytes());
    out.extend_from_slice(&import.samples.to_le_bytes());
    out
}

pub(super) fn decode_import(bytes: &[u8]) -> Result<ImportEntry, Malformed> {
    let mut from = Reader::new(bytes);
    Ok(ImportEntry {
        from: TimestampMs(from.i64("oldest time imported")?),
        newest: TimestampMs(from.i64("newest time imported")?),
        samples: from.u64("samples imported")?,
    })
}

pub(super) fn encode_epoch((agent, epoch): &EpochKey) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, agent.as_str());
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out
}

pub(super) fn decode_epoch(bytes: &[u8]) -> Result<EpochKey, Malformed> {
    let mut from = Reader::new(bytes);
    let agent = from.text("agent")?.parse();
    Ok((
        agent.map_err(|_| Malformed("agent id"))?,
        Epoch(from.u64("epoch")?),
    ))
}

pub(super) fn encode_known(known: &KnownNumbers) -> Vec<u8> {
    let mut out = known.used.0.to_le_bytes().to_vec();
    put_number_set(&mut out, &known.numbers);
    out
}

pub(super) fn decode_known(bytes: &[u8]) -> Result<KnownNumbers, Malformed> {
    let mut from = Reader::new(bytes);
    Ok(KnownNumbers {
        used: TimestampMs(from.i64("last use")?),
        numbers: read_number_set(&mut from)?,
    })
}
