//! What of a group is kept over restarts: its alerts, and when it was evaluated last.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::TimestampMs;
use xxhash_rust::xxh3::xxh3_128;

use super::{Group, GroupKey};
use crate::alert::{Alert, AlertState};
use crate::rule::{Identity, Tracked};

/// While alerts are pending, the time of the last evaluation is kept at least this often.
const SEEN_KEPT_EVERY: Duration = Duration::from_mins(1);

/// A rule, whatever the run: file, group, name, labels, and which of those that have all of these.
pub(crate) type RuleId = u128;
/// A group, whatever the run.
pub(crate) type GroupId = u128;

/// Something to be written to what is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// An alert is gone.
    Gone(RuleId, u128),
    /// An alert is new, or its state.
    Alert(RuleId, u128, Box<Alert>),
    /// The group was evaluated.
    Seen(GroupId, TimestampMs),
}

/// Returns the name of a group in what is kept.
pub(crate) fn group_id(key: &GroupKey) -> GroupId {
    xxh3_128(format!("{}\0{}", key.file.display(), key.name).as_bytes())
}

fn alert_id(labels: &model::Labels) -> u128 {
    xxh3_128(labels.to_string().as_bytes())
}

impl Group {
    /// Returns the name of each rule in what is kept.
    pub(crate) fn rule_ids(&self) -> Vec<RuleId> {
        let group = group_id(&self.key);
        let mut seen: BTreeMap<Identity, usize> = BTreeMap::new();
        let ids = self.rules.iter().map(|rule| {
            let identity = rule.identity();
            let nth = seen.entry(identity.clone()).or_default();
            *nth += 1;
            xxh3_128(format!("{group:032x}\0{identity:?}\0{nth}").as_bytes())
        });
        ids.collect()
    }

    /// Returns what changed since [`Self::kept`].
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut is_pending = false;
        for (id, rule) in self.rule_ids().into_iter().zip(&self.rules) {
            changes.extend((rule.gone.iter()).map(|labels| Change::Gone(id, alert_id(labels))));
            for (labels, Tracked { alert, changed }) in &rule.alerts {
                is_pending |= alert.state == AlertState::Pending;
                if *changed {
                    let alert = Box::new(alert.clone());
                    changes.push(Change::Alert(id, alert_id(labels), alert));
                }
            }
        }
        let Some(seen_at) = self.seen_at else {
            return changes;
        };
        let is_old = self
            .seen_kept
            .is_none_or(|kept| kept.saturating_add(SEEN_KEPT_EVERY) <= seen_at);
        if !changes.is_empty() || (is_pending && is_old) {
            changes.push(Change::Seen(group_id(&self.key), seen_at));
        }
        changes
    }

    /// Says that what [`Self::changes`] returned is kept.
    pub(crate) fn kept(&mut self) {
        self.seen_kept = self.seen_at;
        for rule in &mut self.rules {
            rule.gone.clear();
            for tracked in rule.alerts.values_mut() {
                tracked.changed = false;
            }
        }
    }

    /// Takes what an earlier run has kept, before the first evaluation.
    pub(crate) fn restore(
        &mut self,
        seen: Option<TimestampMs>,
        alerts: &mut HashMap<RuleId, Vec<Alert>>,
    ) {
        self.seen_at = seen;
        self.is_restored = seen.is_some();
        for (id, rule) in self.rule_ids().into_iter().zip(&mut self.rules) {
            for mut alert in alerts.remove(&id).unwrap_or_default() {
                // It was kept before it was told: the process may have died in between.
                alert.sent_at = None;
                if alert.state != AlertState::Inactive {
                    // They have no end yet.
                    rule.written.insert(alert.state_series());
                    rule.written.insert(alert.since_series());
                }
                let tracked = Tracked {
                    alert,
                    changed: false,
                };
                rule.alerts.insert(tracked.alert.labels.clone(), tracked);
            }
        }
    }
}
