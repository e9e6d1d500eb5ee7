//! What has been told to whom, and whether there is something to tell again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, IntegrationKind, Remembered};

/// Where notifications of a group go: one integration of one receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane {
    pub(crate) receiver: String,
    pub(crate) kind: IntegrationKind,
    /// Its place among those of its kind.
    pub(crate) index: usize,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            receiver,
            kind,
            index,
        } = self;
        write!(f, "{receiver}/{}[{index}]", kind.name())
    }
}

/// The last notification of a group in a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(with = "crate::record::time")]
    pub(crate) at: TimestampMs,
    /// Alerts that the receiver knows to fire.
    pub(crate) firing: BTreeSet<Fingerprint>,
    /// Alerts that the receiver knows to be resolved.
    pub(crate) resolved: BTreeSet<Fingerprint>,
    pub(crate) remembered: Remembered,
    /// When it may be forgotten.
    #[serde(with = "crate::record::time")]
    pub(crate) expires_at: TimestampMs,
}

/// The last notifications, by group and lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotificationLog(BTreeMap<(String, Lane), Entry>);

impl NotificationLog {
    pub(crate) fn get(&self, group_key: &str, lane: &Lane) -> Option<&Entry> {
        self.0.get(&(group_key.to_owned(), lane.clone()))
    }

    pub(crate) fn set(&mut self, group_key: &str, lane: &Lane, entry: Entry) {
        self.0.insert((group_key.to_owned(), lane.clone()), entry);
    }

    /// Forgets what has expired, and returns where it was. What is about a group in `groups` stays: its receiver waits for the end.
    pub(crate) fn forget(
        &mut self,
        now: TimestampMs,
        groups: &BTreeSet<&str>,
    ) -> Vec<(String, Lane)> {
        let is_expired = |(at, entry): &(&(String, Lane), &Entry)| {
            entry.expires_at <= now && !groups.contains(at.0.as_str())
        };
        let expired = self.0.iter().filter(is_expired);
        let expired: Vec<_> = expired.map(|(at, _)| at.clone()).collect();
        for at in &expired {
            self.0.remove(at);
        }
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The alerts of a group as a lane would tell of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) firing: BTreeSet<Fingerprint>,
    pub(crate) resolved: BTreeSet<Fingerprint>,
    /// Alerts that fire, are suppressed now, and of which the receiver has been told: it still takes them to fire.
    pub(crate) held: BTreeSet<Fingerprint>,
}

/// Why a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    First,
    NewAlerts,
    SomeResolved,
    AllResolved,
    Repeat,
}

impl Reason {
    /// Returns Alertmanager's words for it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::First => "first notification",
            Self::NewAlerts => "new alerts added",
            Self::SomeResolved => "some alerts resolved",
            Self::AllResolved => "all alerts resolved",
            Self::Repeat => "repeat interval elapsed",
        }
    }
}

impl Standing {
    /// Returns why there is something to tell after `last`; `None`: there is nothing.
    ///
    /// | last notification | now | |
    /// |---|---|---|
    /// | none | something fires | first |
    /// | | an alert fires that it did not name | first when it named none, else new alerts |
    /// | named firing alerts | nothing fires, nothing is held | all resolved |
    /// | | an alert is resolved that it did not name so, and such are told | some resolved |
    /// | older than `repeat` | something fires | repeat |
    pub(crate) fn reason_after(
        &self,
        last: Option<&Entry>,
        send_resolved: bool,
        repeat: Duration,
        now: TimestampMs,
    ) -> Option<Reason> {
        let Some(last) = last else {
            return (!self.firing.is_empty()).then_some(Reason::First);
        };
        if !self.firing.is_subset(&last.firing) {
            return Some(if last.firing.is_empty() {
                Reason::First
            } else {
                Reason::NewAlerts
            });
        }
        if self.firing.is_empty() && self.held.is_empty() {
            // What fired and ended in between was never told.
            return (!last.firing.is_empty()).then_some(Reason::AllResolved);
        }
        if send_resolved && !self.resolved.is_subset(&last.resolved) {
            return Some(Reason::SomeResolved);
        }
        let is_old = last.at < now.saturating_sub(repeat);
        (is_old && !self.firing.is_empty()).then_some(Reason::Repeat)
    }

    /// Returns the alerts that the receiver takes to fire once it has been told.
    pub(crate) fn known_firing(&self) -> BTreeSet<Fingerprint> {
        &self.firing | &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u64]) -> BTreeSet<Fingerprint> {
        numbers.iter().copied().map(Fingerprint).collect()
    }

    #[test]
    fn there_is_something_to_tell_or_not() {
        let hour = Duration::from_secs(3600);
        type Case = (
            Option<(&'static [u64], &'static [u64], i64)>,
            [&'static [u64]; 3],
            bool,
            Option<Reason>,
        );
        let cases: &[Case] = &[
            (None, [&[], &[], &[]], true, None),
            (None, [&[], &[1], &[]], true, None),
            (None, [&[1], &[], &[]], true, Some(Reason::First)),
            (
                Some((&[], &[1], 0)),
                [&[1], &[], &[]],
                true,
                Some(Reason::First),
            ),
            (
                Some((&[1], &[], 0)),
                [&[1, 2], &[], &[]],
                true,
                Some(Reason::NewAlerts),
            ),
            (Some((&[1], &[], 0)), [&[1], &[], &[]], true, None),
            (Some((&[1, 2], &[], 0)), [&[1], &[], &[]], true, None),
            (
                Some((&[1, 2], &[], 0)),
                [&[1], &[2], &[]],
                true,
                Some(Reason::SomeResolved),
            ),
            (Some((&[1, 2], &[], 0)), [&[1], &[2], &[]], false, None),
            (Some((&[1], &[2], 0)), [&[1], &[2], &[]], true, None),
            (
                Some((&[1], &[], 0)),
                [&[], &[1], &[]],
                true,
                Some(Reason::AllResolved),
            ),
            (
                Some((&[1], &[], 0)),
                [&[], &[1], &[]],
                false,
                Some(Reason::AllResolved),
            ),
            (Some((&[], &[1], 0)), [&[], &[1, 2], &[]], true, None),
            (Some((&[1], &[], 3_600_000)), [&[1], &[], &[]], true, None),
            (
                Some((&[1], &[], -1)),
                [&[1], &[], &[]],
                true,
                Some(Reason::Repeat),
            ),
            // A silenced alert of which the receiver knows keeps the group from being resolved.
            (Some((&[1], &[], 0)), [&[], &[], &[1]], true, None),
            (
                Some((&[1, 2], &[], 0)),
                [&[], &[2], &[1]],
                true,
                Some(Reason::SomeResolved),
            ),
            (Some((&[1], &[], -1)), [&[], &[], &[1]], true, None),
        ];
        for (last, [firing, resolved, held], send_resolved, expected) in cases {
            let last = last.map(|(firing, resolved, at)| Entry {
                at: TimestampMs(at),
                firing: set(firing),
                resolved: set(resolved),
                remembered: Remembered::new(),
                expires_at: TimestampMs::MAX,
            });
            let standing = Standing {
                firing: set(firing),
                resolved: set(resolved),
                held: set(held),
            };
            let reason =
                standing.reason_after(last.as_ref(), *send_resolved, hour, TimestampMs(3_600_000));
            assert_eq!(reason, *expected, "{last:?} {standing:?} {send_resolved}");
        }
    }
}
