//! What a request says of metric families: read where it stands, and each thing once, for 2.0 says it with every series.

use std::collections::HashSet;
use std::ops::Range;

use model::{Metadata, MetricType};
use rows::MetricMetadata;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::protobuf::{Fields, Malformed};
use super::request::{place, slice};

/// The most metric families that a request describes; more are left out.
const FAMILIES_MAX: usize = 16_384;
/// The longest name of a family that is taken.
const NAME_BYTES_MAX: u32 = 2_048;
/// The longest help text or unit that is kept.
const TEXT_BYTES_MAX: u32 = 16_384;

/// What is said of a family; its texts stand in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Described {
    pub(super) family: Range<u32>,
    pub(super) kind: MetricType,
    pub(super) help: Range<u32>,
    pub(super) unit: Range<u32>,
}

/// What a request says of families, each thing once.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    all: Vec<Described>,
    seen: HashSet<Described>,
}

/// A description with its texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description<'a> {
    family: &'a str,
    kind: MetricType,
    help: &'a str,
    unit: &'a str,
}

/// A family and what is said of it, as hashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct DescriptionHash {
    pub(super) family: u64,
    pub(super) said: u64,
}

impl Descriptions {
    /// Adds what is said of a family, unless it was said before, is too long, or too much is said.
    pub(super) fn add(&mut self, described: Described) {
        let fits = !described.family.is_empty()
            && length(&described.family) <= NAME_BYTES_MAX
            && [&described.help, &described.unit]
                .iter()
                .all(|text| length(text) <= TEXT_BYTES_MAX);
        // Series of a family come together.
        let is_last = self.all.last() == Some(&described);
        if fits && !is_last && self.all.len() < FAMILIES_MAX && self.seen.insert(described.clone())
        {
            self.all.push(described);
        }
    }

    /// Returns all that is said, in the order in which it came; texts that are none are empty.
    pub(super) fn iter<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = Description<'a>> {
        let text = |place| std::str::from_utf8(slice(body, place)).unwrap_or_default();
        self.all.iter().map(move |described| Description {
            family: text(&described.family),
            kind: described.kind,
            help: text(&described.help),
            unit: text(&described.unit),
        })
    }
}

impl Description<'_> {
    pub(super) fn hash(&self) -> DescriptionHash {
        let mut said = Xxh3::new();
        for part in [self.kind.as_str(), "\0", self.unit, "\0", self.help] {
            said.update(part.as_bytes());
        }
        DescriptionHash {
            family: xxh3_64(self.family.as_bytes()),
            said: said.digest(),
        }
    }

    /// Returns what a copy takes.
    pub(super) const fn bytes(&self) -> usize {
        size_of::<MetricMetadata>() + self.family.len() + self.help.len() + self.unit.len()
    }

    pub(super) fn to_metadata(self) -> MetricMetadata {
        MetricMetadata {
            metric: self.family.into(),
            metadata: Metadata {
                kind: self.kind,
                help: self.help.to_owned(),
                unit: self.unit.to_owned(),
            },
        }
    }
}

const fn length(place: &Range<u32>) -> u32 {
    place.end - place.start
}

/// Reads what 1.0 says of a family.
pub(super) fn read_1(body: &[u8], message: &[u8]) -> Result<Described, Malformed> {
    let mut fields = Fields::new(message);
    let mut described = Described::default();
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => described.kind = kind_of(value.varint()?),
            2 => described.family = place(body, value.bytes()?),
            4 => described.help = place(body, value.bytes()?),
            5 => described.unit = place(body, value.bytes()?),
            _ => {}
        }
    }
    Ok(described)
}

/// What 2.0 says of a series' metric: the type, and which symbols are help and unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) kind: MetricType,
    pub(super) help: u64,
    pub(super) unit: u64,
}

/// Reads what 2.0 says of a series' metric.
pub(super) fn read_2(message: &[u8]) -> Result<Said, Malformed> {
    let mut fields = Fields::new(message);
    let mut said = Said::default();
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => said.kind = kind_of(value.varint()?),
            3 => said.help = value.varint()?,
            4 => said.unit = value.varint()?,
            _ => {}
        }
    }
    Ok(said)
}

const fn kind_of(code: u64) -> MetricType {
    match code {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Returns the family of a metric: what the exposition calls it, without the endings of its series.
pub(super) fn family_of(metric: &str, kind: MetricType) -> &str {
    let endings: &[&str] = match kind {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        MetricType::Unknown
        | MetricType::Counter
        | MetricType::Gauge
        | MetricType::Info
        | MetricType::StateSet => &[],
    };
    endings
        .iter()
        .find_map(|ending| metric.strip_suffix(ending))
        .unwrap_or(metric)
}
