//! The ledger: what happened to every alert, so that "why did this page" has an answer.
//!
//! Events are numbered and kept up to a bound; the oldest go first. Only changes are written: an alert that stays silenced over a
//! hundred looks of its group has one event.
//!
//! Events stand in the order in which they were known. What an alert was in the past, found out when rows came late, is an event of its
//! own sort, [`EventKind::Late`]: it names the span of which it tells, and grows as long as the same comes of the time beside it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::Fingerprint;
use crate::record::{Change, LEDGER};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1, over restarts too.
    pub number: u64,
    /// When.
    #[serde(with = "crate::record::time")]
    pub at: TimestampMs,
    /// To which alerts; of many, the first [`EVENT_ALERTS_MAX`].
    pub alerts: Vec<Fingerprint>,
    /// The labels of the alert, where it is one and the event tells of it first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The key of its group; empty where it is about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The receiver and the integration, as in `ops/slack[0]`; empty where it is about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receiver: String,
    /// What happened.
    pub kind: EventKind,
    /// In words.
    pub detail: String,
    /// Of which time a late event tells, and what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    events: VecDeque<Event>,
    next: u64,
    /// The newest late event of each alert that has one.
    late: HashMap<Fingerprint, u64>,
}

impl Ledger {
    /// Takes an event of an earlier run; they come in their order.
    pub(crate) fn restore(&mut self, event: Event) {
        self.next = event.number;
        self.push(event);
    }

    fn push(&mut self, event: Event) {
        if event.late.is_some() {
            let alerts = event.alerts.iter();
            self.late.extend(alerts.map(|alert| (*alert, event.number)));
        }
        self.events.push_back(event);
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
        let place = self.events.partition_point(|event| event.number < number);
        let newest = self.events.get_mut(place);
        let Some(event) = newest.filter(|event| event.number == number) else {
            return false;
        };
        let Some(known) = &mut event.late else {
            return false;
        };
        if known.fired != late.fired || known.end < late.start || late.end < known.start {
            return false;
        }
        let before = *known;
        known.start = known.start.min(late.start);
        known.end = known.end.max(late.end);
        if *known != before {
            changes.push(Change::set(LEDGER, key(number), event));
        }
        true
    }

    /// Takes an event, numbers it, and says what has to become durable.
    pub(crate) fn record(&mut self, mut event: Event, limit: usize, changes: &mut Vec<Change>) {
        self.next += 1;
        event.number = self.next;
        event.alerts.truncate(EVENT_ALERTS_MAX);
        changes.push(Change::set(LEDGER, key(event.number), &event));
        self.push(event);
        while self.events.len() > limit {
            if let Some(oldest) = self.events.pop_front() {
                for alert in &oldest.alerts {
                    if self.late.get(alert) == Some(&oldest.number) {
                        self.late.remove(alert);
                    }
                }
                changes.push(Change::remove(LEDGER, key(oldest.number)));
            }
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }
}

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
