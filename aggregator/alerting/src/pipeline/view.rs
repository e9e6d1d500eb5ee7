//! What can be seen of the pipeline.

use std::collections::BTreeSet;

use model::{AnchoredRegex, Labels, Matcher, TimestampMs};

use super::{Event, Kept, Pipeline};
use crate::routing::matches_all;
use crate::silence::{Silence, SilenceState};
use crate::{Alert, Fingerprint, Receiver};

/// Which alerts to show.
#[derive(Clone, Debug)]
pub struct AlertFilter {
    /// What its labels have to satisfy.
    pub matchers: Vec<Matcher>,
    /// What the name of one of its receivers has to match.
    pub receiver: Option<AnchoredRegex>,
    /// What the labels of one of its receivers have to satisfy.
    pub receiver_matchers: Vec<Matcher>,
    /// Whether those that nothing keeps quiet are shown.
    pub active: bool,
    /// Whether silenced ones are.
    pub silenced: bool,
    /// Whether inhibited ones are.
    pub inhibited: bool,
    /// Whether groups are that a time interval mutes.
    pub muted: bool,
}

impl Default for AlertFilter {
    /// Shows all.
    fn default() -> Self {
        Self {
            matchers: Vec::new(),
            receiver: None,
            receiver_matchers: Vec::new(),
            active: true,
            silenced: true,
            inhibited: true,
            muted: true,
        }
    }
}

/// An alert that fires, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// The alert.
    pub alert: Alert,
    /// The hash of its labels.
    pub fingerprint: Fingerprint,
    /// Who is told of it.
    pub receivers: Vec<String>,
    /// Silences that keep it quiet.
    pub silenced_by: Vec<String>,
    /// Alerts that keep it quiet.
    pub inhibited_by: BTreeSet<Fingerprint>,
    /// Time intervals that keep its group quiet; only within groups.
    pub muted_by: Vec<String>,
}

impl AlertView {
    /// Whether something keeps it quiet.
    pub fn is_suppressed(&self) -> bool {
        !(self.silenced_by.is_empty() && self.inhibited_by.is_empty() && self.muted_by.is_empty())
    }
}

/// A group of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// By which it is grouped.
    pub labels: Labels,
    /// The labels of its route, which are templates.
    pub route_labels: std::collections::BTreeMap<String, String>,
    /// Who is told of it.
    pub receiver: String,
    /// Its alerts.
    pub alerts: Vec<AlertView>,
}

/// Which events of the ledger to show.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// What the labels of an alert have to satisfy; none: all events.
    pub matchers: Vec<Matcher>,
    /// The first time.
    pub start: Option<TimestampMs>,
    /// The last time.
    pub end: Option<TimestampMs>,
    /// How many at most: the newest.
    pub limit: usize,
}

impl Pipeline {
    /// Returns the alerts that fire, by fingerprint.
    pub fn alerts(&self, filter: &AlertFilter, now: TimestampMs) -> Vec<AlertView> {
        let shown = self.alerts.iter().filter_map(|(fingerprint, kept)| {
            let receivers = self.routes.receivers(&kept.alert.labels);
            if !receivers.iter().any(|name| self.is_asked_for(filter, name)) {
                return None;
            }
            let receivers = receivers.into_iter().map(str::to_owned).collect();
            self.view(filter, (*fingerprint, kept), receivers, now)
        });
        shown.collect()
    }

    /// Returns the groups that have alerts to show, by their labels and receivers.
    pub fn groups(&self, filter: &AlertFilter, now: TimestampMs) -> Vec<GroupView> {
        let mut shown: Vec<GroupView> = self
            .groups
            .iter()
            .filter_map(|((route, labels), group)| {
                let route = &self.routes.get(*route)?.route;
                if !self.is_asked_for(filter, &route.receiver) {
                    return None;
                }
                let muted_by = self.muted_by(route, now);
                if !filter.muted && !muted_by.is_empty() {
                    return None;
                }
                let alerts = group.alerts.iter().filter_map(|fingerprint| {
                    let kept = self.alerts.get(fingerprint)?;
                    let mut receivers: Vec<String> = self
                        .routes
                        .receivers(&kept.alert.labels)
                        .into_iter()
                        .filter(|name| self.is_asked_for(filter, name))
                        .map(str::to_owned)
                        .collect();
                    receivers.sort_unstable();
                    let view = self.view(filter, (*fingerprint, kept), receivers, now)?;
                    Some(AlertView {
                        muted_by: muted_by.clone(),
                        ..view
                    })
                });
                let mut alerts: Vec<AlertView> = alerts.collect();
                alerts.sort_by(|a, b| a.alert.order().cmp(&b.alert.order()));
                (!alerts.is_empty()).then(|| GroupView {
                    labels: labels.clone(),
                    route_labels: route.labels.clone(),
                    receiver: route.receiver.clone(),
                    alerts,
                })
            })
            .collect();
        shown.sort_by(|a, b| {
            let order = |group: &GroupView| (group.labels.len(), group.labels.clone());
            (order(a), &a.receiver).cmp(&(order(b), &b.receiver))
        });
        shown
    }

    fn is_asked_for(&self, filter: &AlertFilter, receiver: &str) -> bool {
        let is_named = filter
            .receiver
            .as_ref()
            .is_none_or(|regex| regex.regex().is_match(receiver));
        is_named && self.has_labels(receiver, &filter.receiver_matchers)
    }

    fn has_labels(&self, receiver: &str, matchers: &[Matcher]) -> bool {
        let labels = self.config.receivers.get(receiver);
        matchers.iter().all(|matcher| {
            let value = labels.and_then(|receiver| receiver.labels.get(matcher.name()));
            matcher.matches(value.map_or("", String::as_str))
        })
    }

    fn view(
        &self,
        filter: &AlertFilter,
        (fingerprint, kept): (Fingerprint, &Kept),
        receivers: Vec<String>,
        now: TimestampMs,
    ) -> Option<AlertView> {
        let alert = &kept.alert;
        if alert.span.ends_at < now || !matches_all(&filter.matchers, &alert.labels) {
            return None;
        }
        let view = AlertView {
            fingerprint,
            receivers,
            silenced_by: self.silenced_by(&alert.labels, now, |recurring| recurring.id.clone()),
            inhibited_by: self.inhibited_by(&alert.labels, now),
            muted_by: Vec::new(),
            alert: alert.clone(),
        };
        let is_shown = (filter.active || view.is_suppressed())
            && (filter.silenced || view.silenced_by.is_empty())
            && (filter.inhibited || view.inhibited_by.is_empty());
        is_shown.then_some(view)
    }

    /// Returns the receivers whose labels satisfy the matchers.
    pub fn receivers(&self, matchers: &[Matcher]) -> Vec<&Receiver> {
        let receivers = self.config.receivers.values();
        receivers
            .filter(|receiver| self.has_labels(&receiver.name, matchers))
            .collect()
    }

    /// Returns a silence that somebody has set.
    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// Returns all silences that somebody has set.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter()
    }

    /// Returns how many silences there are of each state.
    pub fn silence_counts(&self, now: TimestampMs) -> [(SilenceState, usize); 3] {
        self.silences.counts(now)
    }

    /// Returns the events that concern alerts with these labels, those now gone included; the oldest first.
    pub fn history(&self, filter: &HistoryFilter) -> Vec<Event> {
        let named = self.fingerprints(&filter.matchers);
        let concerns = |event: &Event| {
            filter.matchers.is_empty() || event.alerts.iter().any(|one| named.contains(one))
        };
        let in_time = |event: &Event| {
            let is_within = |first: TimestampMs, last: TimestampMs| {
                filter.start.is_none_or(|start| start <= last)
                    && filter.end.is_none_or(|end| first <= end)
            };
            // What is asked of a time is also what was found out of it later.
            is_within(event.at, event.at)
                || (event.late).is_some_and(|late| is_within(late.start, late.end))
        };
        let newest = self.ledger.iter().rev().filter(in_time).filter(concerns);
        let mut events: Vec<Event> = newest.take(filter.limit).collect();
        events.reverse();
        events
    }

    /// Returns the alerts, known now or named in the ledger, whose labels satisfy the matchers.
    fn fingerprints(&self, matchers: &[Matcher]) -> BTreeSet<Fingerprint> {
        let known = self.alerts.iter();
        let known = known
            .filter(|(_, kept)| matches_all(matchers, &kept.alert.labels))
            .map(|(fingerprint, _)| *fingerprint);
        let told = self
            .ledger
            .iter()
            .filter(|event| !event.labels.is_empty() && matches_all(matchers, &event.labels));
        known.chain(told.flat_map(|event| event.alerts)).collect()
    }

    /// Returns how many alerts, groups, notifications on their way, entries of the log and events there are.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            alerts: self.alerts.len(),
            groups: self.groups.len(),
            on_their_way: self.deliveries.count(),
            log: self.log.len(),
            events: self.ledger.len(),
        }
    }
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Alerts.
    pub alerts: usize,
    /// Groups.
    pub groups: usize,
    /// Notifications that wait or are under way.
    pub on_their_way: usize,
    /// Entries of the notification log.
    pub log: usize,
    /// Events of the ledger.
    pub events: usize,
}
