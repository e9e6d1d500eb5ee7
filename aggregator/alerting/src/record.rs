//! How alerts, silences and the rest are written into the store: as JSON objects, so that later versions may add fields.
//!
//! | table | key | value |
//! |---|---|---|
//! | `alerts` | fingerprint, 8 bytes, big endian | [`AlertRecord`] |
//! | `silences` | the silence's name | [`SilenceRecord`] |
//! | `notifications` | JSON: group key, receiver, kind, place | the log's entry |
//! | `intents` | as in `notifications` | what the receiver may have been told: by the attempt under way, and by those that had no answer |
//! | `ledger` | number of the first event, 8 bytes, big endian | a batch of events, which share their texts |
//!
//! Earlier builds wrote an intent as the time when the attempt began, a number, and each event of the ledger by itself; both are read.
//! A record that does not parse is left out and counted: it is of a later version, or the disk has lied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{MatchOp, Matcher, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::notification_log::Lane;
use crate::silence::{Silence, SilenceRequest};
use crate::texts::{Interner, Pairs};
use crate::{Alert, Fingerprint, IntegrationKind, Posted, Span};

pub(crate) const ALERTS: &str = "alerts";
pub(crate) const SILENCES: &str = "silences";
pub(crate) const NOTIFICATIONS: &str = "notifications";
pub(crate) const INTENTS: &str = "intents";
pub(crate) const LEDGER: &str = "ledger";

/// A change that has to become durable: a value to set, or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which table.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// What it becomes; `None`: it goes.
    pub value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn set(table: &'static str, key: Vec<u8>, value: &impl Serialize) -> Self {
        Self {
            table,
            key,
            // Strings, numbers, lists and maps by strings always have a JSON.
            value: Some(serde_json::to_vec(value).unwrap_or_default()),
        }
    }

    pub(crate) fn alert(fingerprint: Fingerprint, alert: &Alert) -> Self {
        Self::set(ALERTS, alert_key(fingerprint), &AlertRecord::from(alert))
    }

    pub(crate) const fn remove(table: &'static str, key: Vec<u8>) -> Self {
        Self {
            table,
            key,
            value: None,
        }
    }
}

/// Times as milliseconds since 1970.
pub(crate) mod time {
    use model::TimestampMs;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        at: &TimestampMs,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TimestampMs, D::Error> {
        i64::deserialize(deserializer).map(TimestampMs)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertRecord<'a> {
    #[serde(borrow)]
    labels: Pairs<'a>,
    #[serde(borrow)]
    annotations: Pairs<'a>,
    starts_at: i64,
    ends_at: i64,
    updated_at: i64,
    #[serde(borrow)]
    generator_url: Cow<'a, str>,
    times_out: bool,
}

impl<'a> From<&'a Alert> for AlertRecord<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            labels: alert.labels.iter().collect(),
            annotations: alert.annotations.iter().collect(),
            starts_at: alert.span.starts_at.0,
            ends_at: alert.span.ends_at.0,
            updated_at: alert.span.updated_at.0,
            generator_url: Cow::Borrowed(&alert.generator_url),
            times_out: alert.span.times_out,
        }
    }
}

impl AlertRecord<'_> {
    pub(crate) fn read(bytes: &[u8], interner: &mut Interner) -> Option<Alert> {
        let record: AlertRecord<'_> = serde_json::from_slice(bytes).ok()?;
        let span = Span {
            starts_at: TimestampMs(record.starts_at),
            ends_at: TimestampMs(record.ends_at),
            updated_at: TimestampMs(record.updated_at),
            times_out: record.times_out,
        };
        let posted = Posted {
            labels: record.labels,
            annotations: record.annotations,
            generator_url: record.generator_url,
            ..Posted::default()
        };
        posted.alert(span, interner).ok()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SilenceRecord {
    /// Name, comparison, value.
    matcher_sets: Vec<Vec<(String, String, String)>>,
    starts_at: i64,
    ends_at: i64,
    updated_at: i64,
    created_by: String,
    comment: String,
    annotations: BTreeMap<String, String>,
}

impl From<&Silence> for SilenceRecord {
    fn from(silence: &Silence) -> Self {
        let request = &silence.request;
        let written = |matcher: &Matcher| {
            (
                matcher.name().to_owned(),
                matcher.op().to_string(),
                matcher.value().to_owned(),
            )
        };
        let sets = request.matcher_sets.iter();
        Self {
            matcher_sets: sets.map(|set| set.iter().map(written).collect()).collect(),
            starts_at: request.starts_at.0,
            ends_at: request.ends_at.0,
            updated_at: silence.updated_at.0,
            created_by: request.created_by.clone(),
            comment: request.comment.clone(),
            annotations: request.annotations.clone(),
        }
    }
}

impl SilenceRecord {
    pub(crate) fn read(id: &[u8], bytes: &[u8]) -> Option<Silence> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        let sets = record.matcher_sets.into_iter();
        let sets = sets.map(|set| set.into_iter().map(matcher).collect::<Option<Vec<_>>>());
        Some(Silence {
            id: String::from_utf8(id.to_vec()).ok()?,
            request: SilenceRequest {
                id: None,
                matcher_sets: sets.collect::<Option<_>>()?,
                starts_at: TimestampMs(record.starts_at),
                ends_at: TimestampMs(record.ends_at),
                created_by: record.created_by,
                comment: record.comment,
                annotations: record.annotations,
            },
            updated_at: TimestampMs(record.updated_at),
        })
    }
}

fn matcher((name, op, value): (String, String, String)) -> Option<Matcher> {
    let op = match op.as_str() {
        "=" => MatchOp::Equal,
        "!=" => MatchOp::NotEqual,
        "=~" => MatchOp::Regex,
        "!~" => MatchOp::NotRegex,
        _ => return None,
    };
    Matcher::new(name, op, value).ok()
}

pub(crate) fn alert_key(fingerprint: Fingerprint) -> Vec<u8> {
    fingerprint.0.to_be_bytes().to_vec()
}

pub(crate) fn lane_key(group_key: &str, lane: &Lane) -> Vec<u8> {
    let key = (group_key, &*lane.receiver, lane.kind.name(), lane.index);
    serde_json::to_vec(&key).unwrap_or_default()
}

pub(crate) fn read_lane_key(key: &[u8]) -> Option<(Arc<str>, Lane)> {
    let (group_key, receiver, kind, index): (String, String, String, usize) =
        serde_json::from_slice(key).ok()?;
    let kind = IntegrationKind::ALL.iter().find(|one| one.name() == kind)?;
    let lane = Lane {
        receiver: receiver.into(),
        kind: *kind,
        index,
    };
    Some((group_key.into(), lane))
}

/// Returns pairs as templates have them.
pub(crate) fn by_name<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
