//! Two pipelines that share the work: each is given all alerts, and one of them tells.
//!
//! **Shared** are silences and the notification log; alerts are not, for whoever sends them sends them to both. Each side keeps all of
//! it, and merges what the other says: of two versions the one that was changed last holds, and of two that were changed in the same
//! millisecond the one whose content is the greater. So it does not matter in which order, and how often, versions come. A new version
//! is dated after the one that it follows, whatever the clock says: clocks may differ. What is old enough to be forgotten is not sent.
//!
//! **Sending.** When the link comes up, all keys are *unsent*; then each that changes. [`Pipeline::next_share`] takes them out and
//! reads what they hold then: what waits is bounded by what is kept, and a key that changes ten times is sent once.
//!
//! **Who tells.** One is the first, the other the second, for good. The first tells as if it were alone. The second, when it finds
//! something to tell, waits for `peer_timeout` and looks again: by then the log says, as a rule, that the first has told. If it has
//! not, the second asks before each attempt, and the first lends it the place (a group and an integration) unless it is about to tell
//! by itself. While a place is lent, the first does not tell there. So nobody is told twice as long as the link is up: not either when a
//! receiver is slow or fails for one of the two.
//!
//! **When the link is down** each is alone, and both tell: better twice than never ([`PairCounts::attempts_alone`]). The second waits
//! as before until the link has been down for `peer_timeout`: a restart of the first takes less. At its own start, either waits for what
//! the other knows, at most for `settle_timeout`.
//!
//! Both are taken to learn of an alert, and of its end, within `peer_timeout` of each other. One that still takes an alert to fire long
//! after the other has told its end tells that it fires.
//!
//! **Configurations** are each side's own affair: each says which one it has ([`PairView::has_same_config`]). Where they differ, a group of
//! the one may be none of the other, and both tell of its alerts.
//!
//! What is in doubt (see [`Pipeline`]) is not shared: when one of the two dies with a message in doubt, the other goes by the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::TimestampMs;
use wire::{Share, SharedRecord, SharedTable};

use super::{AttemptId, Event, EventKind, Pipeline, PipelineLimits, event};
use crate::notification_log::{Entry, NotificationLog, Place};
use crate::record::{
    Change, INTENTS, NOTIFICATIONS, SILENCES, SilenceRecord, lane_key, read_lane_key,
};
use crate::silence::{SilenceState, Silences};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairPlace {
    /// Tells.
    First,
    /// Tells when the first does not.
    Second,
}

/// How a pipeline works in a pair.
#[derive(Clone, Copy, Debug)]
pub struct PairConfig {
    /// Which of the two it is; the other must be the other one.
    pub place: PairPlace,
    /// How long the second waits for the first.
    pub peer_timeout: Duration,
    /// How long it waits at its start for what the other knows.
    pub settle_timeout: Duration,
}

/// What a pair has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// Attempts made while the other could not be reached: it may have told the same.
    pub attempts_alone: u64,
    /// Notifications that were to be sent when the other had told already.
    pub told_by_other: u64,
    /// Records sent.
    pub records_sent: u64,
    /// Records received.
    pub records_received: u64,
    /// Those received that were newer than what was known.
    pub records_merged: u64,
    /// Records not sent because they are too large; the other does not know of them.
    pub records_too_large: u64,
    /// Records received that could not be read, or for which there was no room.
    pub records_refused: u64,
}

/// How a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairView {
    /// Which of the two this is.
    pub place: PairPlace,
    /// Whether the link is up.
    pub is_linked: bool,
    /// Whether people are told: what the other knew at the start has come, or was not waited for any longer.
    pub is_settled: bool,
    /// Records that wait to be sent.
    pub unsent: usize,
    /// Whether the other has the same configuration; `None`: it has not said which, or cannot be reached.
    pub has_same_config: Option<bool>,
}

/// What a message with records may take, about; and what a record may take.
const RECORDS_BYTES_MAX: usize = 256 * 1024;
const RECORD_BYTES_MAX: usize = 1_000_000;
/// Entries of the log per group that there may be: what the other says beyond that is not kept.
const ENTRIES_PER_GROUP_MAX: usize = 8;

/// The pair as one of the two sees it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    config: PairConfig,
    link: Link,
    /// Until when it waits for what the other knows; `None`: no longer.
    settles_by: Option<TimestampMs>,
    /// Of the second: attempts that wait for leave, and those that have it.
    asking: BTreeMap<Place, AttemptId>,
    allowed: Vec<AttemptId>,
    /// Of the second: places that are lent to it. Of the first: places that it has lent.
    lent: BTreeSet<Place>,
}

#[derive(Clone, Debug)]
enum Link {
    Up(Up),
    Down { since: TimestampMs },
}

/// What is to be sent.
#[derive(Clone, Debug, Default)]
struct Up {
    unsent: BTreeSet<Key>,
    /// Whether the other was told that all keys of the beginning are sent.
    has_synced: bool,
    /// Whether the other has said so.
    is_synced: bool,
    /// The digest of the other's configuration.
    config_there: Option<u64>,
    /// Goes once all keys are sent.
    words: VecDeque<Share>,
}

/// Of a record that is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Silence(String),
    Entry(Place),
}

/// Whether an attempt may begin.
pub(super) enum Leave {
    Given,
    /// The other was asked.
    Asked,
    /// The place is lent to the other: not before then.
    Lent(TimestampMs),
}

impl Pair {
    fn new(config: PairConfig, now: TimestampMs) -> Self {
        Self {
            config,
            link: Link::Down { since: now },
            settles_by: Some(now.saturating_add(config.settle_timeout)),
            asking: BTreeMap::new(),
            allowed: Vec::new(),
            lent: BTreeSet::new(),
        }
    }

    /// Returns until when nobody is told.
    pub(super) fn settles_by(&self) -> Option<TimestampMs> {
        self.settles_by
    }

    /// Returns whether people may be told.
    pub(super) fn settle(&mut self, now: TimestampMs) -> bool {
        self.settles_by = self.settles_by.filter(|at| now < *at);
        self.settles_by.is_none()
    }

    /// Returns how long to wait for the other to tell.
    pub(super) fn patience(&self, now: TimestampMs) -> Option<Duration> {
        let PairConfig {
            place,
            peer_timeout,
            ..
        } = self.config;
        let is_gone = match self.link {
            Link::Up(_) => false,
            Link::Down { since } => since.saturating_add(peer_timeout) <= now,
        };
        (place == PairPlace::Second && !is_gone).then_some(peer_timeout)
    }

    pub(super) fn is_linked(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    fn tell(&mut self, words: Share) {
        if let Link::Up(up) = &mut self.link {
            up.words.push_back(words);
        }
    }

    fn mark(&mut self, key: Key) {
        if let Link::Up(up) = &mut self.link {
            up.unsent.insert(key);
        }
    }

    /// Decides whether an attempt at a place may begin.
    pub(super) fn leave(&mut self, place: Place, id: AttemptId, now: TimestampMs) -> Leave {
        match (self.config.place, self.is_linked()) {
            (_, false) => Leave::Given,
            (PairPlace::First, true) if self.lent.contains(&place) => {
                Leave::Lent(now.saturating_add(self.config.peer_timeout))
            }
            (PairPlace::First, true) => Leave::Given,
            (PairPlace::Second, true) => {
                self.tell(Share::Ask {
                    place: lane_key(&place.0, &place.1),
                });
                self.asking.insert(place, id);
                Leave::Asked
            }
        }
    }

    /// Returns the attempts that have leave by now.
    pub(super) fn take_allowed(&mut self) -> Vec<AttemptId> {
        std::mem::take(&mut self.allowed)
    }

    pub(super) fn has_allowed(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Gives a place back, if it is lent.
    fn give_back(&mut self, place: &Place) {
        if self.config.place == PairPlace::Second && self.lent.remove(place) {
            self.tell(Share::Release {
                place: lane_key(&place.0, &place.1),
            });
        }
    }
}

impl Pipeline {
    /// Makes it one of a pair; it waits for what the other knows from `now` on. Comes before anything else.
    #[must_use]
    pub fn in_pair(mut self, config: PairConfig, now: TimestampMs) -> Self {
        self.pair = Some(Pair::new(config, now));
        self
    }

    /// Returns how its pair stands; `None`: it is in none.
    pub fn pair(&self) -> Option<PairView> {
        let pair = self.pair.as_ref()?;
        let (unsent, config_there) = match &pair.link {
            Link::Up(up) => (up.unsent.len(), up.config_there),
            Link::Down { .. } => (0, None),
        };
        Some(PairView {
            place: pair.config.place,
            is_linked: pair.is_linked(),
            is_settled: pair.settles_by.is_none(),
            unsent,
            has_same_config: config_there.map(|there| there == self.config.digest),
        })
    }

    /// Takes it that the link is up: all that is shared is to be sent.
    pub fn peer_came(&mut self) {
        let silences = self.silences.iter();
        let silences = silences.map(|silence| Key::Silence(silence.id.clone()));
        let entries = self.log.places().map(|place| Key::Entry(place.clone()));
        let up = Up {
            unsent: silences.chain(entries).collect(),
            ..Up::default()
        };
        if let Some(pair) = &mut self.pair {
            pair.link = Link::Up(up);
        }
        self.tell_configuration();
    }

    /// Tells the other which configuration is used from now on.
    pub(super) fn tell_configuration(&mut self) {
        let digest = self.config.digest;
        if let Some(pair) = &mut self.pair {
            pair.tell(Share::Configuration { digest });
        }
    }

    /// Takes it that the link is down: whatever was asked, lent and promised is void.
    pub fn peer_went(&mut self, now: TimestampMs) {
        if let Some(pair) = &mut self.pair
            && pair.is_linked()
        {
            pair.link = Link::Down { since: now };
            pair.lent.clear();
            let asking = std::mem::take(&mut pair.asking);
            pair.allowed.extend(asking.into_values());
        }
    }

    /// Returns what is to be sent next; `None` when there is nothing now, or the link is down.
    pub fn next_share(&mut self, now: TimestampMs) -> Option<Share> {
        let Link::Up(up) = &mut self.pair.as_mut()?.link else {
            return None;
        };
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < RECORDS_BYTES_MAX
            && let Some(key) = up.unsent.pop_first()
        {
            let Some(record) = record_of(&key, &self.silences, &self.log, &self.limits, now) else {
                continue;
            };
            let size = record.key.len() + record.value.len();
            if size > RECORD_BYTES_MAX {
                self.counts.pair.records_too_large += 1;
                continue;
            }
            if bytes > 0 && bytes + size > RECORD_BYTES_MAX {
                up.unsent.insert(key);
                break;
            }
            bytes += size;
            records.push(record);
            self.counts.pair.records_sent += 1;
        }
        if !records.is_empty() {
            return Some(Share::Records(records));
        }
        if !up.has_synced {
            up.has_synced = true;
            return Some(Share::Synced);
        }
        up.words.pop_front()
    }

    /// Takes what the other says. [`Pipeline::poll`] may have something to do then.
    pub fn peer_says(&mut self, share: Share, now: TimestampMs) {
        match share {
            Share::Records(records) => {
                for record in records {
                    self.counts.pair.records_received += 1;
                    match self.merge(&record, now) {
                        Some(true) => self.counts.pair.records_merged += 1,
                        Some(false) => {}
                        None => self.counts.pair.records_refused += 1,
                    }
                }
            }
            Share::Synced => {
                if let Some(pair) = &mut self.pair
                    && let Link::Up(up) = &mut pair.link
                {
                    up.is_synced = true;
                    pair.settles_by = None;
                }
            }
            Share::Configuration { digest } => {
                if let Some(pair) = &mut self.pair
                    && let Link::Up(up) = &mut pair.link
                {
                    up.config_there = Some(digest);
                }
            }
            Share::Ask { place } => self.peer_asks(place, now),
            Share::Answer { place, granted } => self.peer_answers(&place, granted, now),
            Share::Release { place } => {
                if let (Some(pair), Some(place)) = (&mut self.pair, read_lane_key(&place)) {
                    pair.lent.remove(&place);
                }
            }
        }
    }

    fn peer_asks(&mut self, bytes: Vec<u8>, now: TimestampMs) {
        let place = read_lane_key(&bytes);
        let granted = (place.as_ref())
            .is_some_and(|(group_key, lane)| !self.deliveries.holds(group_key, lane, now));
        let Some(pair) = &mut self.pair else { return };
        if granted {
            pair.lent.extend(place);
        }
        pair.tell(Share::Answer {
            place: bytes,
            granted,
        });
    }

    fn peer_answers(&mut self, bytes: &[u8], granted: bool, now: TimestampMs) {
        let Some(place) = read_lane_key(bytes) else {
            return;
        };
        let Some(pair) = &mut self.pair else { return };
        let Some(id) = pair.asking.remove(&place) else {
            return;
        };
        let again_at = now.saturating_add(pair.config.peer_timeout);
        if granted {
            pair.lent.insert(place.clone());
        }
        if !self.is_still_due(id, now) {
            self.told_by_other(id, now);
            self.give_back(&place);
        } else if !granted {
            self.deliveries.put_back(id, again_at);
        } else if let Some(pair) = &mut self.pair {
            pair.allowed.push(id);
        }
    }

    /// Takes it that an attempt at a place is over.
    pub(super) fn give_back(&mut self, place: &Place) {
        if let Some(pair) = &mut self.pair {
            pair.give_back(place);
        }
    }

    /// A silence has changed here.
    pub(super) fn share_silence(&mut self, id: &str) {
        if let Some(pair) = &mut self.pair {
            pair.mark(Key::Silence(id.to_owned()));
        }
    }

    /// An entry of the log has changed here.
    pub(super) fn share_entry(&mut self, place: Place) {
        if let Some(pair) = &mut self.pair {
            pair.mark(Key::Entry(place));
        }
    }

    /// Takes a record; returns whether it is newer than what is known, or `None` when it cannot be kept.
    fn merge(&mut self, record: &SharedRecord, now: TimestampMs) -> Option<bool> {
        match record.table {
            SharedTable::Silences => self.merge_silence(record, now),
            SharedTable::Notifications => self.merge_entry(record, now),
        }
    }

    fn merge_silence(&mut self, record: &SharedRecord, now: TimestampMs) -> Option<bool> {
        let silence = SilenceRecord::read(&record.key, &record.value)?;
        let (id, is_over) = (
            silence.id.clone(),
            silence.state(now) == SilenceState::Expired,
        );
        // Each side takes as many as it may; cut off from each other, both.
        let limit = self.limits.silences.saturating_mul(2);
        if self.silences.get(&id).is_none() && self.silences.iter().count() >= limit {
            return None;
        }
        if !self.silences.merge(silence) {
            return Some(false);
        }
        self.write_silence(&id);
        if self.is_synced() {
            let kind = if is_over {
                EventKind::SilenceEnded
            } else {
                EventKind::SilenceSet
            };
            self.record(Event {
                detail: format!("silence {id} was changed at the other of the pair"),
                ..event(kind, now, [], "")
            });
        }
        Some(true)
    }

    fn merge_entry(&mut self, record: &SharedRecord, now: TimestampMs) -> Option<bool> {
        let (group_key, lane) = read_lane_key(&record.key)?;
        let entry: Entry = serde_json::from_slice(&record.value).ok()?;
        let limit = self.limits.groups.saturating_mul(ENTRIES_PER_GROUP_MAX);
        let is_new = self.log.known(&group_key, &lane).last.is_none();
        if is_new && self.log.len() >= limit {
            return None;
        }
        let told = entry.firing.iter().chain(&entry.resolved).copied();
        let delivered = Event {
            receiver: lane.to_string(),
            detail: "told by the other of the pair".to_owned(),
            ..event(EventKind::Delivered, now, told, &group_key)
        };
        if !self.log.merge(&group_key, &lane, entry.clone()) {
            return Some(false);
        }
        let key = record.key.clone();
        self.changes.push(Change::remove(INTENTS, key.clone()));
        self.changes.push(Change::set(NOTIFICATIONS, key, &entry));
        if self.is_synced() {
            self.record(delivered);
        }
        if let Some(id) = self.deliveries.waiting(&group_key, &lane)
            && !self.is_still_due(id, now)
        {
            self.told_by_other(id, now);
        }
        Some(true)
    }

    fn is_synced(&self) -> bool {
        let link = self.pair.as_ref().map(|pair| &pair.link);
        matches!(link, Some(Link::Up(up)) if up.is_synced)
    }
}

/// Returns the record of a key as it is now; `None` when it is gone, or will be before long.
fn record_of(
    key: &Key,
    silences: &Silences,
    log: &NotificationLog,
    limits: &PipelineLimits,
    now: TimestampMs,
) -> Option<SharedRecord> {
    let (table, change) = match key {
        Key::Silence(id) => {
            let silence = silences.get(id).filter(|silence| {
                let ends_at = silence.request.ends_at;
                ends_at.saturating_add(limits.retention) > now
            })?;
            let key = id.as_bytes().to_vec();
            let record = SilenceRecord::from(silence);
            (SharedTable::Silences, Change::set(SILENCES, key, &record))
        }
        Key::Entry((group_key, lane)) => {
            let entry = log.known(group_key, lane).last;
            let entry = entry.filter(|entry| entry.expires_at > now)?;
            let key = lane_key(group_key, lane);
            (
                SharedTable::Notifications,
                Change::set(NOTIFICATIONS, key, entry),
            )
        }
    };
    Some(SharedRecord {
        table,
        key: change.key,
        value: change.value?,
    })
}

#[cfg(test)]
mod tests;
