//! What a group shows of itself: a copy, so that nobody who looks waits for an evaluation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;

use super::{Counts, Group, GroupKey};
use crate::alert::{Alert, AlertState};
use crate::rule::{Evaluated, Rule};

/// A group as it is after an evaluation.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its name.
    pub key: GroupKey,
    /// Between two evaluations.
    pub interval: Duration,
    /// Results that a rule may have; 0: no bound.
    pub limit: usize,
    /// When it was evaluated last; `None`: never.
    pub at: Option<TimestampMs>,
    /// How long that took.
    pub took: Duration,
    /// The samples that it gave.
    pub samples: usize,
    /// What it has counted.
    pub counts: Counts,
    /// Its rules, in order.
    pub rules: Vec<RuleView>,
}

/// A rule as it is after an evaluation.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The metric that it records, or the alert's name.
    pub name: String,
    /// Its expression, as it prints.
    pub query: Arc<str>,
    /// Its labels and those of its group; templates where it is an alert.
    pub labels: BTreeMap<String, String>,
    /// How it does.
    pub last: Evaluated,
    /// What it is as an alert; `None`: it records.
    pub alert: Option<AlertView>,
}

/// An alerting rule as it is after an evaluation.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long it goes on firing without its condition.
    pub keep_firing_for: Duration,
    /// Templates, by name.
    pub annotations: BTreeMap<String, String>,
    /// Those that are pending or fire, by their labels.
    pub active: Vec<Alert>,
}

impl AlertView {
    /// Returns the state of the rule: that of its most urgent alert.
    pub fn state(&self) -> AlertState {
        let states = self.active.iter().map(|alert| alert.state);
        states.max().unwrap_or(AlertState::Inactive)
    }
}

impl Group {
    /// Returns what the group shows of itself. Costs a copy of its alerts.
    pub fn view(&self) -> GroupView {
        let last = self.last.as_ref();
        GroupView {
            key: self.key.clone(),
            interval: self.interval,
            limit: self.limit,
            at: last.map(|pass| pass.at),
            took: last.map(|pass| pass.took).unwrap_or_default(),
            samples: last.map(|pass| pass.samples).unwrap_or_default(),
            counts: self.counts,
            rules: self.rules.iter().map(rule_view).collect(),
        }
    }
}

fn rule_view(rule: &Rule) -> RuleView {
    let active = || {
        let all = rule.alerts.values().map(|tracked| &tracked.alert);
        all.filter(|alert| alert.state != AlertState::Inactive)
            .cloned()
            .collect()
    };
    RuleView {
        name: rule.spec.name.clone(),
        query: Arc::clone(&rule.query),
        labels: rule.spec.labels.clone(),
        last: rule.last.clone(),
        alert: rule.spec.alert().map(|spec| AlertView {
            hold: spec.hold,
            keep_firing_for: spec.keep_firing_for,
            annotations: spec.annotations.clone(),
            active: active(),
        }),
    }
}
