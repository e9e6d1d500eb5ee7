//! What has been told to whom, and whether there is something to tell again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::repeat::Repeats;
use crate::{Fingerprint, IntegrationKind, Remembered};

/// Where notifications of a group go: one integration of one receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane {
    pub(crate) receiver: Arc<str>,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    // First: by it, entries are older and newer.
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
    /// How often the same was told again before; earlier builds did not count.
    #[serde(default)]
    pub(crate) repeats: u32,
}

/// What a receiver may have been told beside what the log says: by attempts to which no answer came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    /// Alerts that it may take to fire.
    pub(crate) firing: BTreeSet<Fingerprint>,
    /// Alerts that it may take to be resolved.
    pub(crate) resolved: BTreeSet<Fingerprint>,
    /// Whether an attempt is under way: in a record that a restart finds, the process ended before the answer came.
    pub(crate) is_under_way: bool,
    /// When it may be forgotten.
    #[serde(with = "crate::record::time")]
    pub(crate) expires_at: TimestampMs,
}

impl Doubt {
    /// Reads a record. An earlier build wrote when the attempt began, and not of which alerts it told.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice::<i64>(bytes) {
            Ok(began_at) => Some(Self {
                is_under_way: true,
                expires_at: TimestampMs(began_at),
                ..Self::default()
            }),
            Err(_) => serde_json::from_slice(bytes).ok(),
        }
    }

    /// Returns this and what one more attempt says.
    pub(crate) fn and(
        &self,
        standing: &Standing,
        send_resolved: bool,
        expires_at: TimestampMs,
    ) -> Self {
        let mut doubt = self.clone();
        doubt.firing.extend(&standing.firing);
        if send_resolved {
            doubt.resolved.extend(&standing.resolved);
        }
        doubt.expires_at = expires_at;
        doubt
    }
}

/// What a receiver knows of a group, for certain and perhaps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'a> {
    pub(crate) last: Option<&'a Entry>,
    pub(crate) doubt: Option<&'a Doubt>,
}

static NONE: BTreeSet<Fingerprint> = BTreeSet::new();

impl<'a> Known<'a> {
    fn firing(self) -> &'a BTreeSet<Fingerprint> {
        self.last.map_or(&NONE, |last| &last.firing)
    }

    fn resolved(self) -> &'a BTreeSet<Fingerprint> {
        self.last.map_or(&NONE, |last| &last.resolved)
    }

    fn perhaps_firing(self) -> &'a BTreeSet<Fingerprint> {
        self.doubt.map_or(&NONE, |doubt| &doubt.firing)
    }

    fn perhaps_resolved(self) -> &'a BTreeSet<Fingerprint> {
        self.doubt.map_or(&NONE, |doubt| &doubt.resolved)
    }

    /// Whether the receiver may take an alert to fire.
    pub(crate) fn may_fire(self, alert: Fingerprint) -> bool {
        self.firing().contains(&alert) || self.perhaps_firing().contains(&alert)
    }
}

/// Where something was told: a group's key, and a lane.
pub(crate) type Place = (Arc<str>, Lane);

/// The last notifications and what is in doubt, by group and lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotificationLog {
    entries: BTreeMap<Place, Entry>,
    doubts: BTreeMap<Place, Doubt>,
}

impl NotificationLog {
    /// Returns what a lane knows of a group.
    pub(crate) fn known(&self, group_key: &Arc<str>, lane: &Lane) -> Known<'_> {
        let place = (Arc::clone(group_key), lane.clone());
        Known {
            last: self.entries.get(&place),
            doubt: self.doubts.get(&place),
        }
    }

    /// Writes down what was delivered, which leaves nothing in doubt.
    pub(crate) fn set(&mut self, group_key: &Arc<str>, lane: &Lane, entry: Entry) {
        let place = (Arc::clone(group_key), lane.clone());
        self.doubts.remove(&place);
        self.entries.insert(place, entry);
    }

    /// Takes an entry of another log when it is newer than what is known, and returns whether it is.
    pub(crate) fn merge(&mut self, group_key: &Arc<str>, lane: &Lane, entry: Entry) -> bool {
        let is_newer = (self.known(group_key, lane).last).is_none_or(|last| *last < entry);
        if is_newer {
            self.set(group_key, lane, entry);
        }
        is_newer
    }

    /// Returns where something was told.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.entries.keys()
    }

    /// Writes down what is in doubt.
    pub(crate) fn set_doubt(&mut self, group_key: &Arc<str>, lane: &Lane, doubt: Doubt) {
        self.doubts
            .insert((Arc::clone(group_key), lane.clone()), doubt);
    }

    /// Forgets what has expired, and returns where it was. What is about a group in `groups` stays: its receiver waits for the end.
    pub(crate) fn forget(&mut self, now: TimestampMs, groups: &BTreeSet<&str>) -> BTreeSet<Place> {
        let mut expired = BTreeSet::new();
        let mut stays = |place: &Place, expires_at: TimestampMs| {
            let stays = expires_at > now || groups.contains(&*place.0);
            if !stays {
                expired.insert(place.clone());
            }
            stays
        };
        self.entries
            .retain(|place, entry| stays(place, entry.expires_at));
        self.doubts
            .retain(|place, doubt| stays(place, doubt.expires_at));
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
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
    /// Returns why there is something to tell to a receiver that knows this; `None`: there is nothing.
    ///
    /// | last notification | now | |
    /// |---|---|---|
    /// | none | something fires | first |
    /// | | an alert fires that it did not name | first when it named none, else new alerts |
    /// | named firing alerts | nothing fires, nothing is held | all resolved |
    /// | | an alert is resolved that it did not name so, and such are told | some resolved |
    /// | older than `repeats` says | something fires | repeat |
    ///
    /// What is in doubt counts against us: an alert that the receiver may take to be resolved is new, one that it may take to fire is
    /// told when it is resolved.
    pub(crate) fn reason_after(
        &self,
        known: Known<'_>,
        send_resolved: bool,
        repeats: Repeats,
        now: TimestampMs,
    ) -> Option<Reason> {
        if !self.firing.is_subset(known.firing())
            || !self.firing.is_disjoint(known.perhaps_resolved())
        {
            return Some(if known.firing().is_empty() {
                Reason::First
            } else {
                Reason::NewAlerts
            });
        }
        if self.firing.is_empty() && self.held.is_empty() {
            // What fired and ended in between was never told.
            let is_known = !known.firing().is_empty() || !known.perhaps_firing().is_empty();
            return is_known.then_some(Reason::AllResolved);
        }
        if send_resolved
            && (!self.resolved.is_subset(known.resolved())
                || !self.resolved.is_disjoint(known.perhaps_firing()))
        {
            return Some(Reason::SomeResolved);
        }
        let last = known.last?;
        let is_old = last.at < now.saturating_sub(repeats.after(last.repeats));
        (is_old && !self.firing.is_empty()).then_some(Reason::Repeat)
    }

    /// Returns the alerts that the receiver takes to fire once it has been told.
    pub(crate) fn known_firing(&self) -> BTreeSet<Fingerprint> {
        &self.firing | &self.held
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOURLY: Repeats = Repeats {
        first: Duration::from_secs(3600),
        longest: Duration::from_secs(3600),
    };

    fn set(numbers: &[u64]) -> BTreeSet<Fingerprint> {
        numbers.iter().copied().map(Fingerprint).collect()
    }

    #[test]
    fn there_is_something_to_tell_or_not() {
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
                repeats: 0,
            });
            let standing = Standing {
                firing: set(firing),
                resolved: set(resolved),
                held: set(held),
            };
            let known = Known {
                last: last.as_ref(),
                doubt: None,
            };
            let reason =
                standing.reason_after(known, *send_resolved, HOURLY, TimestampMs(3_600_000));
            assert_eq!(reason, *expected, "{last:?} {standing:?} {send_resolved}");
        }
    }

    #[test]
    fn what_is_in_doubt_is_told_again_when_it_matters() {
        type Case = (
            Option<&'static [u64]>,
            [&'static [u64]; 2],
            [&'static [u64]; 2],
            Option<Reason>,
        );
        // What the receiver was last told to fire; what it may take to fire and to be resolved; what fires and is resolved now.
        let cases: &[Case] = &[
            (None, [&[1], &[]], [&[1], &[]], Some(Reason::First)),
            (None, [&[1], &[]], [&[], &[1]], Some(Reason::AllResolved)),
            (Some(&[1]), [&[1], &[]], [&[1], &[]], None),
            (
                Some(&[1]),
                [&[], &[1]],
                [&[], &[1]],
                Some(Reason::AllResolved),
            ),
            (
                Some(&[1]),
                [&[], &[1]],
                [&[1], &[]],
                Some(Reason::NewAlerts),
            ),
            (
                Some(&[1]),
                [&[1, 2], &[]],
                [&[1], &[2]],
                Some(Reason::SomeResolved),
            ),
        ];
        for (last, [firing, resolved], [now_firing, now_resolved], expected) in cases {
            let last = last.map(|firing| Entry {
                at: TimestampMs(0),
                firing: set(firing),
                resolved: BTreeSet::new(),
                remembered: Remembered::new(),
                expires_at: TimestampMs::MAX,
                repeats: 0,
            });
            let doubt = Doubt {
                firing: set(firing),
                resolved: set(resolved),
                ..Doubt::default()
            };
            let known = Known {
                last: last.as_ref(),
                doubt: Some(&doubt),
            };
            let standing = Standing {
                firing: set(now_firing),
                resolved: set(now_resolved),
                held: BTreeSet::new(),
            };
            let reason = standing.reason_after(known, true, HOURLY, TimestampMs(0));
            assert_eq!(reason, *expected, "{known:?} {standing:?}");
        }
    }
}
