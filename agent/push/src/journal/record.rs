//! One record: a group's shape and values, its values alone, or its end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, METRIC_NAME, MetricType, TimestampMs, Value};
use rows::{CohortId, Presence, Row, Slot, decode_key_row, encode_key_row};

use crate::GroupKey;
use crate::group::{Group, GroupId};
use crate::pushed::SERIES_MAX;

const SHAPE: u8 = 1;
const VALUES: u8 = 2;
const END: u8 = 3;

/// A group as the file has it.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub(crate) key: GroupKey,
    pub(crate) pushed: Option<TimestampMs>,
    pub(crate) failed: Option<TimestampMs>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) families: Vec<RestoredFamily>,
}

/// A family as the file has it.
#[derive(Clone, Debug)]
pub(crate) struct RestoredFamily {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: MetricType,
    pub(crate) at: TimestampMs,
    pub(crate) series: Vec<(Labels, Value)>,
}

/// Appends the record of a group's shape and values.
pub(super) fn put_shape(out: &mut Vec<u8>, id: GroupId, group: &Group) -> io::Result<()> {
    out.push(SHAPE);
    out.extend_from_slice(&id.0.to_le_bytes());
    put_pairs(out, group.key.iter());
    put_count(out, group.families.len());
    for family in &group.families {
        put_text(out, &family.about.name);
        put_text(out, &family.about.help);
        put_text(out, family.about.kind.as_str());
        put_count(out, family.series());
        for (labels, _) in group.series(family) {
            put_pairs(out, labels.iter());
        }
    }
    put_state(out, group)
}

/// Appends the record of a group's values.
pub(super) fn put_values(out: &mut Vec<u8>, id: GroupId, group: &Group) -> io::Result<()> {
    out.push(VALUES);
    out.extend_from_slice(&id.0.to_le_bytes());
    put_state(out, group)
}

/// Appends the record of a group's end.
pub(super) fn put_end(out: &mut Vec<u8>, id: GroupId) {
    out.push(END);
    out.extend_from_slice(&id.0.to_le_bytes());
}

/// What both kinds of record end with: times, then the values as a row.
fn put_state(out: &mut Vec<u8>, group: &Group) -> io::Result<()> {
    let time = |at: Option<TimestampMs>| at.map_or(i64::MIN, |at| at.0).to_le_bytes();
    out.extend_from_slice(&time(group.pushed));
    out.extend_from_slice(&time(group.failed));
    let ttl = group.ttl.map_or(u64::MAX, |ttl| {
        u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX - 1)
    });
    out.extend_from_slice(&ttl.to_le_bytes());
    for family in &group.families {
        out.extend_from_slice(&family.at.0.to_le_bytes());
    }
    let slots = group.order.len();
    let mut row = Row {
        cohort: CohortId(0),
        counter: 0,
        at: group.pushed.unwrap_or_default(),
        presence: Presence::filled(slots, true),
        floats: vec![0.0; slots],
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    };
    for (at, slot) in group.order.iter().enumerate() {
        match group.layout.value(*slot) {
            Some(Value::Float(value)) => row.floats[at] = *value,
            Some(Value::Histogram(histogram)) => {
                let slot = Slot::try_from(at).unwrap_or(Slot::MAX);
                row.histograms.push((slot, Arc::clone(histogram)));
            }
            None => row.presence.set(at, false),
        }
    }
    let row = encode_key_row(&row).map_err(io::Error::other)?;
    out.extend_from_slice(&row);
    Ok(())
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // Counts and lengths are bounded far below 4 GiB where they enter.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_pairs<'a>(out: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    put_count(out, pairs.len());
    for (name, value) in pairs {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Follows the records to how the groups stand.
#[derive(Debug, Default)]
pub(super) struct Replay {
    groups: BTreeMap<u32, Restored>,
}

impl Replay {
    /// Takes the next record; `None` when it means nothing.
    pub(super) fn take(&mut self, record: &[u8]) -> Option<()> {
        let mut reader = Reader { rest: record };
        let [kind] = reader.array()?;
        let id = u32::from_le_bytes(reader.array()?);
        match kind {
            SHAPE => {
                let mut group = reader.shape()?;
                reader.state(&mut group)?;
                self.groups.insert(id, group);
            }
            VALUES => reader.state(self.groups.get_mut(&id)?)?,
            END => {
                self.groups.remove(&id);
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn groups(self) -> Vec<Restored> {
        self.groups.into_values().collect()
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn shape(&mut self) -> Option<Restored> {
        let pairs = self.pairs()?;
        let is_label = |(name, _): &(&str, &str)| !name.is_empty() && *name != METRIC_NAME;
        if !pairs.iter().all(is_label) {
            return None;
        }
        let key = GroupKey::new(pairs);
        let mut families = Vec::new();
        let mut series = 0;
        for _ in 0..self.count()? {
            let family = self.family()?;
            series += family.series.len();
            if series > SERIES_MAX {
                return None;
            }
            families.push(family);
        }
        Some(Restored {
            key,
            pushed: None,
            failed: None,
            ttl: None,
            families,
        })
    }

    fn family(&mut self) -> Option<RestoredFamily> {
        let (name, help) = (self.text()?.to_owned(), self.text()?.to_owned());
        let kind = self.text()?.parse().ok()?;
        let mut series = Vec::new();
        for _ in 0..self.count()? {
            let labels = Labels::from_pairs(self.pairs()?).ok()?;
            series.push((labels, Value::Float(0.0)));
        }
        Some(RestoredFamily {
            name,
            help,
            kind,
            at: TimestampMs(0),
            series,
        })
    }

    /// Reads times and values, all of them before any is set: a record that is wrong leaves the group as it was.
    fn state(&mut self, group: &mut Restored) -> Option<()> {
        let times = [self.time()?, self.time()?];
        let ttl = u64::from_le_bytes(self.array()?);
        let mut family_times = Vec::with_capacity(group.families.len());
        for _ in &group.families {
            family_times.push(TimestampMs(i64::from_le_bytes(self.array()?)));
        }
        let row = decode_key_row(self.rest).ok()?;
        let slots: usize = group
            .families
            .iter()
            .map(|family| family.series.len())
            .sum();
        if row.floats.len() != slots {
            return None;
        }
        [group.pushed, group.failed] = times;
        group.ttl = (ttl != u64::MAX).then(|| Duration::from_millis(ttl));
        let mut values = row.floats.iter().copied().map(Value::Float);
        let mut histograms = row.histograms.iter().peekable();
        let mut at = 0;
        for (family, time) in group.families.iter_mut().zip(family_times) {
            family.at = time;
            for ((_, value), float) in family.series.iter_mut().zip(values.by_ref()) {
                let histogram = histograms.next_if(|(slot, _)| usize::from(*slot) == at);
                *value = histogram.map_or(float, |(_, h)| Value::Histogram(Arc::clone(h)));
                at += 1;
            }
        }
        Some(())
    }

    fn time(&mut self) -> Option<Option<TimestampMs>> {
        let at = i64::from_le_bytes(self.array()?);
        Some((at != i64::MIN).then_some(TimestampMs(at)))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn count(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.count()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn pairs(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        let mut pairs = Vec::new();
        for _ in 0..self.count()? {
            pairs.push((self.text()?, self.text()?));
        }
        Some(pairs)
    }
}
