//! Events as bytes: those that become known together have most of their texts alike, and have them once.
//!
//! A batch is an object of JSON, with `first` (the number of its first event; the others follow), `texts`, and `events`. An event names
//! texts by their places:
//!
//! | member | |
//! |---|---|
//! | `at` | when, in milliseconds since 1970 |
//! | `kind` | its sort, by name |
//! | `alerts` | fingerprints |
//! | `labels` | names and values in turn; left out when there are none |
//! | `group`, `receiver`, `detail` | left out when empty |
//! | `late` | of which time it tells; left out when it does not |
//!
//! An earlier build wrote each event as an object by itself, texts and all.

use std::collections::{BTreeMap, HashMap};

use model::{Labels, TimestampMs};
use serde::{Deserialize, Serialize};

use super::{Event, EventKind, LEDGER, Late, key};
use crate::Fingerprint;
use crate::record::Change;

/// Events as they are kept.
#[derive(Debug)]
pub(super) struct Batch {
    /// The number of the first event.
    pub(super) first: u64,
    /// How many there are.
    pub(super) len: usize,
    bytes: Box<[u8]>,
}

#[derive(Serialize, Deserialize)]
struct Written<T> {
    first: u64,
    texts: Vec<T>,
    events: Vec<WrittenEvent>,
}

#[derive(Serialize, Deserialize)]
struct WrittenEvent {
    at: i64,
    kind: EventKind,
    alerts: Vec<Fingerprint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiver: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late: Option<Late>,
}

/// An event as an earlier build wrote it.
#[derive(Deserialize)]
struct SingleEvent {
    number: u64,
    at: i64,
    alerts: Vec<Fingerprint>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    group: String,
    #[serde(default)]
    receiver: String,
    kind: EventKind,
    detail: String,
    #[serde(default)]
    late: Option<Late>,
}

impl Batch {
    /// Writes events, which are numbered in turn; at least one.
    pub(super) fn write(events: &[Event]) -> Self {
        let first = events.first().map_or(0, |event| event.number);
        let mut texts = Texts::default();
        let written = Written {
            first,
            events: events.iter().map(|event| texts.write(event)).collect(),
            texts: texts.texts,
        };
        Self {
            first,
            len: events.len(),
            // Strings, numbers and lists always have a JSON.
            bytes: serde_json::to_vec(&written).unwrap_or_default().into(),
        }
    }

    /// Returns what was written, and the events of it; `None` when it cannot be read, or has none.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, Vec<Event>)> {
        if let Ok(single) = serde_json::from_slice::<SingleEvent>(bytes) {
            let events = vec![single.read()?];
            return Some((Self::write(&events), events));
        }
        let events = read(bytes)?;
        let batch = Self {
            first: events.first()?.number,
            len: events.len(),
            bytes: bytes.into(),
        };
        Some((batch, events))
    }

    /// Returns the events.
    pub(super) fn events(&self) -> Vec<Event> {
        // What was written, or read before, can be read.
        read(&self.bytes).unwrap_or_default()
    }

    /// Returns what makes this durable.
    pub(super) fn change(&self) -> Change {
        Change {
            table: LEDGER,
            key: key(self.first),
            value: Some(self.bytes.to_vec()),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Event>> {
    let written: Written<String> = serde_json::from_slice(bytes).ok()?;
    let numbers = written.first..;
    let events = numbers.zip(written.events);
    events
        .map(|(number, event)| event.read(number, &written.texts))
        .collect()
}

/// The texts of a batch, each of them once.
#[derive(Default)]
struct Texts<'a> {
    texts: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Texts<'a> {
    fn place(&mut self, text: &'a str) -> usize {
        let next = self.texts.len();
        let place = *self.places.entry(text).or_insert(next);
        if place == next {
            self.texts.push(text);
        }
        place
    }

    fn place_of_some(&mut self, text: &'a str) -> Option<usize> {
        (!text.is_empty()).then(|| self.place(text))
    }

    fn write(&mut self, event: &'a Event) -> WrittenEvent {
        let labels = event.labels.iter();
        let labels = labels.flat_map(|(name, value)| [name, value]);
        WrittenEvent {
            at: event.at.0,
            kind: event.kind,
            alerts: event.alerts.clone(),
            labels: labels.map(|text| self.place(text)).collect(),
            group: self.place_of_some(&event.group),
            receiver: self.place_of_some(&event.receiver),
            detail: self.place_of_some(&event.detail),
            late: event.late,
        }
    }
}

impl WrittenEvent {
    fn read(self, number: u64, texts: &[String]) -> Option<Event> {
        let text = |place: usize| texts.get(place);
        let some = |place: Option<usize>| match place {
            Some(place) => text(place).cloned(),
            None => Some(String::new()),
        };
        let pairs = self.labels.chunks(2).map(|pair| match *pair {
            [name, value] => Some((text(name)?, text(value)?)),
            _ => None,
        });
        let pairs: Vec<(&String, &String)> = pairs.collect::<Option<_>>()?;
        Some(Event {
            number,
            at: TimestampMs(self.at),
            alerts: self.alerts,
            labels: Labels::from_pairs(pairs).ok()?,
            group: some(self.group)?,
            receiver: some(self.receiver)?,
            kind: self.kind,
            detail: some(self.detail)?,
            late: self.late,
        })
    }
}

impl SingleEvent {
    fn read(self) -> Option<Event> {
        Some(Event {
            number: self.number,
            at: TimestampMs(self.at),
            alerts: self.alerts,
            labels: Labels::from_pairs(self.labels).ok()?,
            group: self.group,
            receiver: self.receiver,
            kind: self.kind,
            detail: self.detail,
            late: self.late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_earlier_build_is_read() {
        let old = br#"{"number":42,"at":1764400000000,"alerts":[12345],"labels":{"alertname":"A","team":"db"},"group":"{}:{}","kind":"firing","detail":"fires"}"#;
        let (batch, events) = Batch::read(old).unwrap();
        let expected = Event {
            number: 42,
            at: TimestampMs(1_764_400_000_000),
            alerts: vec![Fingerprint(12345)],
            labels: Labels::from_pairs([("alertname", "A"), ("team", "db")]).unwrap(),
            group: "{}:{}".to_owned(),
            receiver: String::new(),
            kind: EventKind::Firing,
            detail: "fires".to_owned(),
            late: None,
        };
        assert_eq!(events, [expected]);
        assert_eq!((batch.first, batch.len), (42, 1));
        assert_eq!(batch.events(), events);
    }

    #[test]
    fn what_is_no_batch_is_not_read() {
        let texts: [&[u8]; 5] = [
            b"",
            b"7",
            br#"{"first":1,"texts":[],"events":[]}"#,
            br#"{"first":1,"texts":["a"],"events":[{"at":1,"kind":"firing","alerts":[1],"labels":[0]}]}"#,
            br#"{"first":1,"texts":["a"],"events":[{"at":1,"kind":"firing","alerts":[1],"group":1}]}"#,
        ];
        for text in texts {
            assert!(Batch::read(text).is_none(), "{text:?}");
        }
    }
}
