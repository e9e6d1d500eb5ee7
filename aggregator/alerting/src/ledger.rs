//! The ledger: what happened to every alert, so that "why did this page" has an answer.
//!
//! Events are numbered and kept up to a bound; the oldest go first. Only changes are written: an alert that stays silenced over a
//! hundred looks of its group has one event.
//!
//! Events that become known together are kept together, as a batch: in memory as on disk it is the [`batch`]'s bytes, which are read
//! when somebody asks.
//!
//! Events stand in the order in which they were known. What an alert was in the past, found out when rows came late, is an event of its
//! own sort, [`EventKind::Late`]: it names the span of which it tells, and grows as long as the same comes of the time beside it.

mod batch;

use std::collections::{HashMap, VecDeque};

use model::{Labels, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::Fingerprint;
use crate::record::{Change, LEDGER};
use batch::Batch;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts from 1, over restarts too.
    pub number: u64,
    /// When.
    pub at: TimestampMs,
    /// To which alerts; of many, the first [`EVENT_ALERTS_MAX`].
    pub alerts: Vec<Fingerprint>,
    /// The labels of the alert, where it is one and the event tells of it first.
    pub labels: Labels,
    /// The key of its group; empty where it is about none.
    pub group: String,
    /// The receiver and the integration, as in `ops/slack[0]`; empty where it is about none.
    pub receiver: String,
    /// What happened.
    pub kind: EventKind,
    /// In words.
    pub detail: String,
    /// Of which time a late event tells, and what.
    pub late: Option<Late>,
}

/// What an alert was in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// From when.
    #[serde(with = "crate::record::time")]
    pub start: TimestampMs,
    /// Up to when: the first moment that it does not tell of.
    #[serde(with = "crate::record::time")]
    pub end: TimestampMs,
    /// Whether it fired, and nobody was told; otherwise it was said to fire, and did not.
    pub fired: bool,
}

/// The alerts that an event names at most.
pub const EVENT_ALERTS_MAX: usize = 64;

/// Sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The alert fires, for the first time or again.
    Firing,
    /// The alert is resolved.
    Resolved,
    /// The alert was put into a group.
    Grouped,
    /// The alert is kept quiet by another one.
    Inhibited,
    /// The alert is kept quiet by a silence.
    Silenced,
    /// The group is kept quiet by a time interval.
    Muted,
    /// The alert is no longer kept quiet.
    Released,
    /// A notification was decided on.
    Decided,
    /// An attempt began.
    Attempted,
    /// The other side has taken the notification.
    Delivered,
    /// The attempt failed.
    Failed,
    /// The notification will not be tried again.
    GivenUp,
    /// The process ended between an attempt and its outcome: it may have been delivered, and is decided on anew.
    InDoubt,
    /// A silence was set or changed.
    SilenceSet,
    /// A silence was ended.
    SilenceEnded,
    /// The alert was something else than was said at the time; nobody is told.
    Late,
}

impl EventKind {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Grouped => "grouped",
            Self::Inhibited => "inhibited",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
            Self::Released => "released",
            Self::Decided => "decided",
            Self::Attempted => "attempted",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::InDoubt => "in_doubt",
            Self::SilenceSet => "silence_set",
            Self::SilenceEnded => "silence_ended",
            Self::Late => "late",
        }
    }
}

/// The events that are kept.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// In the order of their events.
    batches: VecDeque<Batch>,
    /// How many events the batches have.
    events: usize,
    /// What is in no batch yet.
    open: Vec<Event>,
    /// The number of the newest event.
    newest: u64,
    /// The newest late event of each alert that has one. A late event is a batch of its own, for it grows.
    late: HashMap<Fingerprint, u64>,
}

/// Events of a batch at most: so many are read to show one of them.
const BATCH_EVENTS_MAX: usize = 512;

impl Ledger {
    /// Takes a batch, or an event, of an earlier run; they come in their order. `None`: it cannot be read.
    pub(crate) fn restore(&mut self, value: &[u8]) -> Option<()> {
        let (batch, events) = Batch::read(value)?;
        self.newest = events.last()?.number;
        self.push(batch, &events);
        Some(())
    }

    fn push(&mut self, batch: Batch, events: &[Event]) {
        for event in events.iter().filter(|event| event.late.is_some()) {
            let alerts = event.alerts.iter();
            self.late.extend(alerts.map(|alert| (*alert, event.number)));
        }
        self.events += events.len();
        self.batches.push_back(batch);
    }

    /// Lets the newest late event of an alert tell of `late` too, when it tells the same of the time before, beside or behind it; returns
    /// whether it does.
    pub(crate) fn grow(
        &mut self,
        alert: Fingerprint,
        late: Late,
        changes: &mut Vec<Change>,
    ) -> bool {
        let number = self.late.get(&alert).copied().unwrap_or_default();
        let place = self.batches.partition_point(|batch| batch.first < number);
        let newest = self.batches.get_mut(place);
        let Some(batch) = newest.filter(|batch| batch.first == number) else {
            return false;
        };
        let mut events = batch.events();
        let Some(known) = events.first_mut().and_then(|event| event.late.as_mut()) else {
            return false;
        };
        if known.fired != late.fired || known.end < late.start || late.end < known.start {
            return false;
        }
        let before = *known;
        known.start = known.start.min(late.start);
        known.end = known.end.max(late.end);
        if *known != before {
            *batch = Batch::write(&events);
            changes.push(batch.change());
        }
        true
    }

    /// Takes an event and numbers it. [`Ledger::seal`] says what has to become durable.
    pub(crate) fn record(&mut self, mut event: Event, limit: usize, changes: &mut Vec<Change>) {
        let is_late = event.late.is_some();
        if is_late || self.open.len() >= BATCH_EVENTS_MAX {
            self.seal(limit, changes);
        }
        self.newest += 1;
        event.number = self.newest;
        event.alerts.truncate(EVENT_ALERTS_MAX);
        self.open.push(event);
        if is_late {
            self.seal(limit, changes);
        }
    }

    /// Makes a batch of the events since the last one, and says what has to become durable. The oldest batches go while there are more
    /// than `limit` events without them.
    pub(crate) fn seal(&mut self, limit: usize, changes: &mut Vec<Change>) {
        if self.open.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.open);
        let batch = Batch::write(&events);
        changes.push(batch.change());
        self.push(batch, &events);
        while let Some(oldest) = self.batches.front()
            && self.events - oldest.len >= limit
        {
            changes.push(Change::remove(LEDGER, key(oldest.first)));
            self.events -= oldest.len;
            if !self.late.is_empty() {
                let first = oldest.first;
                for alert in oldest.events().iter().flat_map(|event| &event.alerts) {
                    if self.late.get(alert) == Some(&first) {
                        self.late.remove(alert);
                    }
                }
            }
            self.batches.pop_front();
        }
    }

    /// Returns the events, the oldest first. Reads each of them.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Event> {
        let sealed = self.batches.iter().flat_map(Batch::events);
        sealed.chain(self.open.iter().cloned())
    }

    pub(crate) fn len(&self) -> usize {
        self.events + self.open.len()
    }
}

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, alert: u64) -> Event {
        Event {
            number: 0,
            at: TimestampMs(at),
            alerts: vec![Fingerprint(alert)],
            labels: Labels::from_pairs([("alertname", "A"), ("n", &alert.to_string())]).unwrap(),
            group: "{}:{}".to_owned(),
            receiver: String::new(),
            kind: EventKind::Firing,
            detail: "fires".to_owned(),
            late: None,
        }
    }

    fn late(start: i64, end: i64) -> Late {
        Late {
            start: TimestampMs(start),
            end: TimestampMs(end),
            fired: true,
        }
    }

    /// What the disk has, as a ledger of a next run.
    fn restored(disk: &[Change]) -> Ledger {
        let mut rows = std::collections::BTreeMap::new();
        for Change { key, value, .. } in disk {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(key)),
            }
        }
        let mut ledger = Ledger::default();
        for row in rows.values() {
            ledger.restore(row).expect("it was written so");
        }
        ledger
    }

    #[test]
    fn the_disk_has_what_is_kept_and_the_oldest_go_first() {
        const LIMIT: usize = 1_200;
        let (mut ledger, mut disk) = (Ledger::default(), Vec::new());
        let mut random = 1_u64;
        for at in 0..5_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let mut event = event(at, random >> 60);
            event.late = (random.is_multiple_of(50)).then(|| late(at, at + 1));
            ledger.record(event, LIMIT, &mut disk);
            if random >> 32 & 0xff == 0 {
                ledger.seal(LIMIT, &mut disk);
            }
        }
        ledger.seal(LIMIT, &mut disk);
        let kept: Vec<Event> = ledger.iter().collect();
        assert_eq!(kept.len(), ledger.len());
        assert!(
            (LIMIT..LIMIT + BATCH_EVENTS_MAX).contains(&kept.len()),
            "{}",
            kept.len()
        );
        let numbers: Vec<u64> = kept.iter().map(|event| event.number).collect();
        let first = 5_001 - u64::try_from(kept.len()).unwrap();
        assert!(numbers.into_iter().eq(first..=5_000));
        let again = restored(&disk);
        assert!(again.iter().eq(kept.iter().cloned()));
        assert_eq!((again.newest, &again.late), (5_000, &ledger.late));
        assert!(again.iter().rev().eq(kept.into_iter().rev()));
    }

    #[test]
    fn late_events_grow_on_the_disk_too() {
        let (mut ledger, mut disk) = (Ledger::default(), Vec::new());
        ledger.record(event(1, 7), 9, &mut disk);
        let mut of_seven = event(2, 7);
        of_seven.late = Some(late(10, 20));
        ledger.record(of_seven, 9, &mut disk);
        ledger.record(event(3, 7), 9, &mut disk);
        ledger.seal(9, &mut disk);
        assert!(ledger.grow(Fingerprint(7), late(20, 30), &mut disk));
        assert!(
            !ledger.grow(Fingerprint(7), late(31, 40), &mut disk),
            "a gap"
        );
        assert!(
            !ledger.grow(Fingerprint(8), late(20, 30), &mut disk),
            "another"
        );
        let found: Vec<Option<Late>> = restored(&disk).iter().map(|event| event.late).collect();
        assert_eq!(found, [None, Some(late(10, 30)), None]);
    }
}
