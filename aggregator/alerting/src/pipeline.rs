//! The way of an alert to people, without clock, sockets or threads.
//!
//! 1. [`Pipeline::take`] merges an alert into what is known of it, and puts it into a group for every route that takes it.
//! 2. [`Pipeline::poll`] looks at the groups that are due: which alerts are inhibited, silenced or muted, and for each integration of
//!    the receiver whether there is something to tell after what was told last. It hands out the attempts that are to be made.
//! 3. [`Pipeline::finished`] takes how an attempt went: the notification log is written, or the attempt waits for another try.
//!
//! Time is handed in, and never goes backwards for a group: a clock that steps back delays, one that steps forward hurries.
//!
//! **Durability.** Every call leaves [`Change`]s ([`Pipeline::drain_changes`]); whoever calls makes them durable, in order, before he
//! answers or lets an attempt begin. Before an attempt there is an intent, with its outcome the intent goes and the log's entry comes,
//! in one transaction. A lane (an integration of a receiver) has [`PipelineLimits::attempts_per_lane`] attempts under way, one unless
//! said otherwise: a process that is killed can leave one notification for each in doubt, which is sent again. Nothing is lost.
//!
//! **Doubt.** A receiver that gives no answer (it hangs, breaks off, or the process dies before it comes) may have taken the message or
//! not. Until one is delivered, both are held possible: what it may take to fire is told when it is resolved, and what it may take to
//! be resolved is told when it fires. So nobody waits for an end that was never sent; at worst somebody hears of an end who had not
//! heard of the beginning.
//!
//! **Bad days.** Whatever a receiver does, others are told in time: each lane waits for itself alone.
//!
//! | the receiver | outcome | counted as |
//! |---|---|---|
//! | answers 5xx, for a day, say | tried again after 0.5 s, then half as long again each time up to a minute, ± half; what the group has become by then is told once | `serverError` |
//! | answers 429 | nothing more is sent to it before `Retry-After` is over, at most an hour | `rateLimited` |
//! | answers another 4xx | given up; decided on anew when the group is looked at next | `clientError`, `authError` |
//! | hangs | broken off at the timeout, tried again as with 5xx, in doubt | `contextDeadlineExceeded` |
//! | breaks off | tried again, in doubt | `brokenOff` |
//! | takes it, and we die before that is logged | in doubt: told again when we are back, once for each lane and death | the ledger's `in_doubt` |
//!
//! **After a restart** alerts that nobody has ended fire for another `resolve_timeout`, so that whoever sends them has time to come
//! back: the end that they had may have passed only because we were not there. All alerts are known before the first group is looked
//! at: what was inhibited stays so.
//!
//! **Where it differs from Alertmanager**, on purpose. An alert that was told of and then silenced or inhibited is told of once more
//! when it is resolved, unless its route says otherwise ([`Route::send_resolved_suppressed`](crate::Route)), and does not come again as
//! new when the silence ends; in a muted time the message waits for the end of it. What waits for another try is replaced by what a
//! later look at its group finds, and keeps its back-off. `Retry-After` holds for the whole lane. The log keeps what it knows of a
//! group for as long as the group is there. Silences may come again ([`RecurringSilence`](crate::RecurringSilence)), and repeats may
//! become rarer ([`Route::repeat_interval_max`](crate::Route)).

mod deliveries;
mod pair;
mod restore;
mod silencing;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, TimestampMs};
use template::Time;

use crate::inhibition::Inhibitor;
use crate::ledger::{Event, EventKind, Late, Ledger};
use crate::notification_log::{Known, Lane, NotificationLog, Standing};
use crate::record::{ALERTS, Change, SILENCES, alert_key};
use crate::silence::Silences;
use crate::texts::Interner;
use crate::{
    Alert, Config, FailureKind, Fingerprint, Integration, IntegrationKind, Posted, RouteTree, Span,
};
pub use deliveries::{AttemptId, ToAttempt};
use deliveries::{Deliveries, Delivery};
use pair::Pair;
pub use pair::{PairConfig, PairCounts, PairPlace, PairView};
pub use restore::Record;
pub use view::{AlertFilter, AlertView, GroupView, HistoryFilter, Sizes};

/// Bounds on what is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub struct PipelineLimits {
    /// Alerts kept at once; more are refused.
    pub alerts: usize,
    /// Alerts of one `alertname` kept at once; more are refused. 0: as many as of all.
    pub alerts_per_name: usize,
    /// Groups at once; an alert that would need one more is in none of that route, and is counted.
    pub groups: usize,
    /// Silences at once, ended ones that are still remembered included.
    pub silences: usize,
    /// Events that the ledger keeps, and up to 512 more; each takes some 200 bytes.
    pub ledger_events: usize,
    /// Attempts under way at once to one integration of a receiver.
    pub attempts_per_lane: usize,
    /// How long ended silences, and at most the log's entries, are remembered.
    pub retention: Duration,
}

impl Default for PipelineLimits {
    fn default() -> Self {
        Self {
            alerts: 200_000,
            alerts_per_name: 0,
            groups: 100_000,
            silences: 10_000,
            ledger_events: 20_000,
            attempts_per_lane: 1,
            retention: Duration::from_secs(120 * 3600),
        }
    }
}

/// What the pipeline has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Alerts that came firing.
    pub received_firing: u64,
    /// Alerts that came resolved.
    pub received_resolved: u64,
    /// Alerts that came and make no sense.
    pub received_invalid: u64,
    /// Alerts that were refused because there are too many.
    pub refused_alerts: u64,
    /// Times that an alert found no group because there are too many.
    pub refused_groups: u64,
    /// Notifications decided on, by kind.
    pub notifications: BTreeMap<IntegrationKind, u64>,
    /// Notifications that were given up or replaced before they were delivered, by kind and reason.
    pub notifications_failed: BTreeMap<(IntegrationKind, FailureKind), u64>,
    /// Notifications kept back, by why: `inhibition`, `silence` (alerts), `time_interval` (groups).
    pub suppressed: BTreeMap<&'static str, u64>,
    /// Attempts, by kind.
    pub attempts: BTreeMap<IntegrationKind, u64>,
    /// Attempts that failed, by kind.
    pub attempts_failed: BTreeMap<IntegrationKind, u64>,
    /// Records of the store that could not be read at the start.
    pub unreadable_records: u64,
    /// What has come of being one of a pair.
    pub pair: PairCounts,
}

/// What came of alerts that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What is wrong with those that make no sense; the others were taken.
    pub invalid: Vec<String>,
    /// How many were refused because there are too many.
    pub refused: usize,
}

/// Takes alerts, and says who is to be told of them.
#[derive(Debug)]
pub struct Pipeline {
    config: Arc<Config>,
    routes: RouteTree,
    receivers: BTreeMap<String, Vec<(Lane, Arc<Integration>)>>,
    external_url: String,
    limits: PipelineLimits,
    alerts: BTreeMap<Fingerprint, Kept>,
    by_name: BTreeMap<String, usize>,
    interner: Interner,
    inhibitor: Inhibitor,
    silences: Silences,
    log: NotificationLog,
    ledger: Ledger,
    groups: BTreeMap<GroupId, Group>,
    /// When each group is looked at.
    due: BTreeSet<(TimestampMs, GroupId)>,
    deliveries: Deliveries,
    /// None: it is alone.
    pair: Option<Pair>,
    forget_at: TimestampMs,
    changes: Vec<Change>,
    counts: Counts,
}

/// An alert, and where it stands.
#[derive(Clone, Debug)]
struct Kept {
    alert: Alert,
    /// One for each route that takes it.
    groups: Vec<GroupId>,
    /// Whether it is in all groups that its routes give it: there is nothing to look for when it comes again.
    is_dispatched: bool,
    /// Whether the ledger says that it fires.
    is_firing_noted: bool,
}

/// A route's place and the group's labels.
type GroupId = (usize, Labels);

/// Groups of another configuration, by their keys and labels.
type EarlierGroups = BTreeMap<(Arc<str>, Labels), Group>;

#[derive(Clone, Debug)]
struct Group {
    key: Arc<str>,
    alerts: BTreeSet<Fingerprint>,
    next_look: TimestampMs,
    was_looked_at: bool,
    /// Resolved alerts that the look now under way tells of, and when they had come.
    telling_resolved: Vec<(Fingerprint, TimestampMs)>,
    /// Whether not all of that look could be told.
    failed: bool,
    /// Whether to look again as soon as an attempt that was under way at the look has ended.
    again: bool,
    /// Whether the next look is the one after the wait for the other of a pair.
    has_waited: bool,
    quiet: BTreeMap<Fingerprint, Quiet>,
    /// Time intervals that mute it, as found at the last look.
    muted_by: Vec<String>,
}

/// What keeps an alert quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quiet {
    Inhibited(BTreeSet<Fingerprint>),
    Silenced(Vec<String>),
}

/// How often old silences and entries of the log are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(15 * 60);

impl Pipeline {
    /// Returns a pipeline that knows no alerts. `external_url` is where people find us.
    pub fn new(config: Arc<Config>, external_url: String, limits: PipelineLimits) -> Self {
        Self {
            routes: RouteTree::new(&config.route),
            receivers: receivers(&config),
            inhibitor: Inhibitor::new(&config.inhibit_rules),
            config,
            external_url,
            limits,
            alerts: BTreeMap::new(),
            by_name: BTreeMap::new(),
            interner: Interner::default(),
            silences: Silences::default(),
            log: NotificationLog::default(),
            ledger: Ledger::default(),
            groups: BTreeMap::new(),
            due: BTreeSet::new(),
            deliveries: Deliveries::default(),
            pair: None,
            forget_at: TimestampMs::MIN,
            changes: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes another configuration: alerts are grouped anew, and groups that both have go on as they were.
    pub fn reconfigure(&mut self, config: Arc<Config>, now: TimestampMs) {
        self.routes = RouteTree::new(&config.route);
        self.receivers = receivers(&config);
        self.inhibitor = Inhibitor::new(&config.inhibit_rules);
        self.config = config;
        self.tell_configuration();
        self.deliveries.drop_waiting();
        self.due.clear();
        let mut old = EarlierGroups::new();
        for ((_, labels), group) in std::mem::take(&mut self.groups) {
            old.insert((Arc::clone(&group.key), labels), group);
        }
        let alerts: Vec<Fingerprint> = self.alerts.keys().copied().collect();
        for fingerprint in alerts {
            let Some(kept) = self.alerts.get_mut(&fingerprint) else {
                continue;
            };
            kept.groups.clear();
            kept.is_dispatched = false;
            let labels = kept.alert.labels.clone();
            self.inhibitor.add(fingerprint, &labels);
            self.dispatch(fingerprint, now, Some(&old));
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Returns what has been counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns what has to become durable since this was last asked.
    pub fn drain_changes(&mut self) -> Vec<Change> {
        self.ledger
            .seal(self.limits.ledger_events, &mut self.changes);
        std::mem::take(&mut self.changes)
    }

    /// Takes alerts.
    pub fn take<'a>(
        &mut self,
        posted: impl IntoIterator<Item = Posted<'a>>,
        now: TimestampMs,
    ) -> Taken {
        let mut taken = Taken::default();
        for posted in posted {
            let accepted = posted.accept(now, self.config.resolve_timeout);
            match accepted.and_then(|span| self.take_one(&posted, span, now)) {
                Ok(has_room) => taken.refused += usize::from(!has_room),
                Err(why) => {
                    self.counts.received_invalid += 1;
                    taken.invalid.push(why);
                }
            }
        }
        taken
    }

    /// Takes an alert; returns whether there was room for it.
    fn take_one(
        &mut self,
        posted: &Posted<'_>,
        span: Span,
        now: TimestampMs,
    ) -> Result<bool, String> {
        let fingerprint = posted.fingerprint();
        if let Some(kept) = self.alerts.get_mut(&fingerprint) {
            // An alert that merely goes on is as after a restart anyway: nothing is written for it.
            if kept.alert.update(posted, span, now, &mut self.interner) {
                let change = Change::alert(fingerprint, &kept.alert);
                self.changes.push(change);
            }
        } else if self.has_room_for(posted) {
            let alert = posted.alert(span, &mut self.interner);
            let alert = alert.map_err(|error| format!("invalid label set: {error}"))?;
            self.changes.push(Change::alert(fingerprint, &alert));
            self.keep(fingerprint, alert, false);
        } else {
            self.counts.refused_alerts += 1;
            self.count_received(span, now);
            return Ok(false);
        }
        self.count_received(span, now);
        self.dispatch(fingerprint, now, None);
        self.note_firing(fingerprint, now);
        Ok(true)
    }

    fn count_received(&mut self, span: Span, now: TimestampMs) {
        if span.is_resolved(now) {
            self.counts.received_resolved += 1;
        } else {
            self.counts.received_firing += 1;
        }
    }

    fn has_room_for(&self, posted: &Posted<'_>) -> bool {
        let name = posted.value_or_empty("alertname");
        let of_name = self.by_name.get(name).copied().unwrap_or_default();
        let limit = match self.limits.alerts_per_name {
            0 => self.limits.alerts,
            limit => limit,
        };
        self.alerts.len() < self.limits.alerts && of_name < limit
    }

    /// Keeps an alert that is not known yet.
    fn keep(&mut self, fingerprint: Fingerprint, alert: Alert, is_firing_noted: bool) {
        let name = alert.labels.value_or_empty("alertname");
        match self.by_name.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.by_name.insert(name.to_owned(), 1)),
        }
        self.inhibitor.add(fingerprint, &alert.labels);
        let kept = Kept {
            alert,
            groups: Vec::new(),
            is_dispatched: false,
            is_firing_noted,
        };
        self.alerts.insert(fingerprint, kept);
    }

    /// Puts an alert into a group for every route that takes it; `earlier` has the groups as they were where alerts are grouped anew, which
    /// is no news. A group that was never looked at is, when the alert has waited.
    fn dispatch(
        &mut self,
        fingerprint: Fingerprint,
        now: TimestampMs,
        earlier: Option<&EarlierGroups>,
    ) {
        let Some(kept) = self.alerts.get(&fingerprint) else {
            return;
        };
        if !kept.is_dispatched {
            self.enter_groups(fingerprint, now, earlier);
        }
        let Some(kept) = self.alerts.get(&fingerprint) else {
            return;
        };
        let starts_at = kept.alert.span.starts_at;
        let hurried = kept.groups.iter().filter(|id| {
            let wait = self
                .routes
                .get(id.0)
                .map_or(Duration::ZERO, |node| node.route.group_wait);
            let is_waiting = (self.groups.get(id)).is_some_and(|group| !group.was_looked_at);
            is_waiting && starts_at.saturating_add(wait) < now
        });
        let hurried: Vec<GroupId> = hurried.cloned().collect();
        for id in hurried {
            self.look_at(&id, now);
        }
    }

    fn enter_groups(
        &mut self,
        fingerprint: Fingerprint,
        now: TimestampMs,
        earlier: Option<&EarlierGroups>,
    ) {
        let Some(kept) = self.alerts.get(&fingerprint) else {
            return;
        };
        let labels = kept.alert.labels.clone();
        let mut groups = Vec::with_capacity(1);
        let mut is_everywhere = true;
        for route in self.routes.matching(&labels) {
            let Some(node) = self.routes.get(route) else {
                continue;
            };
            let id = (route, node.group_labels(&labels));
            if !self.groups.contains_key(&id) {
                if self.groups.len() >= self.limits.groups {
                    self.counts.refused_groups += 1;
                    is_everywhere = false;
                    continue;
                }
                let key = Arc::<str>::from(node.group_key(&id.1));
                let before = (Arc::clone(&key), id.1.clone());
                let group = match earlier.and_then(|earlier| earlier.get(&before)) {
                    Some(group) => Group {
                        alerts: BTreeSet::new(),
                        ..group.clone()
                    },
                    None => Group::new(key, now.saturating_add(node.route.group_wait)),
                };
                self.due.insert((group.next_look, id.clone()));
                self.groups.insert(id.clone(), group);
            }
            // The labels of the group itself are shared by its alerts.
            let Some((id, _)) = self.groups.get_key_value(&id) else {
                continue;
            };
            let id = id.clone();
            groups.push(id.clone());
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            if group.alerts.insert(fingerprint) && earlier.is_none() {
                let event = event(EventKind::Grouped, now, [fingerprint], &group.key);
                self.record(event);
            }
        }
        if let Some(kept) = self.alerts.get_mut(&fingerprint) {
            kept.groups = groups;
            kept.is_dispatched = is_everywhere;
        }
    }

    /// Sets when a group is looked at next.
    fn look_at(&mut self, id: &GroupId, at: TimestampMs) {
        if let Some(group) = self.groups.get_mut(id) {
            self.due.remove(&(group.next_look, id.clone()));
            group.next_look = at;
            self.due.insert((at, id.clone()));
        }
    }

    /// Writes into the ledger whether an alert fires, when that has changed.
    fn note_firing(&mut self, fingerprint: Fingerprint, now: TimestampMs) {
        let Some(kept) = self.alerts.get_mut(&fingerprint) else {
            return;
        };
        let is_firing = !kept.alert.is_resolved(now);
        if kept.is_firing_noted == is_firing {
            return;
        }
        kept.is_firing_noted = is_firing;
        let (kind, detail) = if is_firing {
            (EventKind::Firing, "fires")
        } else if kept.alert.span.was_ended() {
            (EventKind::Resolved, "was ended by whoever sends it")
        } else {
            (EventKind::Resolved, "has not come again in time")
        };
        let labels = kept.alert.labels.clone();
        self.record(Event {
            labels,
            detail: detail.to_owned(),
            ..event(kind, now, [fingerprint], "")
        });
    }

    /// Writes into the ledger what an alert with these labels was in the past; nobody is told. The same may come twice.
    pub fn amend(&mut self, labels: &Labels, late: Late, now: TimestampMs) {
        let fingerprint = Fingerprint::of(labels);
        if self.ledger.grow(fingerprint, late, &mut self.changes) {
            return;
        }
        let detail = if late.fired {
            "fired, as rows that came late say; nobody was told"
        } else {
            "was said to fire, and did not, as rows that came late say"
        };
        self.record(Event {
            labels: labels.clone(),
            detail: detail.to_owned(),
            late: Some(late),
            ..event(EventKind::Late, now, [fingerprint], "")
        });
    }

    fn record(&mut self, event: Event) {
        self.ledger
            .record(event, self.limits.ledger_events, &mut self.changes);
    }

    /// Looks at all groups that are due, and returns the attempts to make: first those that have waited longest.
    pub fn poll(&mut self, now: TimestampMs) -> Vec<ToAttempt> {
        if let Some(pair) = &mut self.pair
            && !pair.settle(now)
        {
            return Vec::new();
        }
        if self.forget_at <= now {
            self.forget_at = now.saturating_add(FORGET_INTERVAL);
            self.forget(now);
        }
        while let Some((at, id)) = self.due.first().cloned()
            && at <= now
        {
            self.look(&id, now);
        }
        self.begin_attempts(now)
    }

    /// Returns when [`Pipeline::poll`] has something to do.
    pub fn next_poll(&self) -> TimestampMs {
        if let Some(pair) = &self.pair {
            if let Some(at) = pair.settles_by() {
                return at;
            }
            if pair.has_allowed() {
                return TimestampMs::MIN;
            }
        }
        let due = self.due.first().map(|(at, _)| *at);
        let ready = self.deliveries.next_ready(self.limits.attempts_per_lane);
        let times = due.into_iter().chain(ready);
        times
            .min()
            .map_or(self.forget_at, |at| at.min(self.forget_at))
    }

    fn forget(&mut self, now: TimestampMs) {
        for id in self.silences.forget(now, self.limits.retention) {
            self.changes.push(Change::remove(SILENCES, id.into_bytes()));
        }
        let groups = self.groups.values().map(|group| &*group.key);
        for (group_key, lane) in self.log.forget(now, &groups.collect()) {
            self.changes
                .extend(deliveries::forgotten(&group_key, &lane));
        }
    }

    /// Looks at a group: decides for each integration whether there is something to tell.
    fn look(&mut self, id: &GroupId, now: TimestampMs) {
        let Some(node) = self.routes.get(id.0).cloned() else {
            return;
        };
        self.look_at(id, now.saturating_add(node.route.group_interval));
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let (key, fingerprints) = (Arc::clone(&group.key), group.alerts.clone());
        for fingerprint in &fingerprints {
            self.note_firing(*fingerprint, now);
        }
        let alerts: BTreeMap<Fingerprint, Alert> = fingerprints
            .iter()
            .filter_map(|fingerprint| {
                let kept = self.alerts.get(fingerprint)?;
                Some((*fingerprint, kept.alert.clone()))
            })
            .collect();
        let quiet = self.quiet(&alerts, now);
        self.note_quiet(id, &quiet, now);
        let muted_by = self.muted_by(&node.route, now);
        self.note_muted(id, &muted_by, now);
        let resolved = alerts
            .iter()
            .filter(|(_, alert)| alert.is_resolved(now))
            .map(|(fingerprint, alert)| (*fingerprint, alert.span.updated_at));
        let resolved: Vec<_> = resolved.collect();
        let lanes = self.lanes(&node.route.receiver);
        if let Some(group) = self.groups.get_mut(id) {
            group.was_looked_at = true;
            (group.failed, group.again) = (false, false);
            group.telling_resolved = resolved;
        }
        if !muted_by.is_empty() {
            self.hold_back(id, &lanes);
            return;
        }
        if self.waits_for_other(id, (&lanes, &node.route), (&alerts, &quiet), now) {
            return;
        }
        for (lane, integration) in lanes {
            if self.deliveries.is_under_way(&key, &lane) {
                if let Some(group) = self.groups.get_mut(id) {
                    group.again = true;
                }
                continue;
            }
            let known = self.log.known(&key, &lane);
            let standing = standing(&node.route, &alerts, &quiet, known, now);
            let reason =
                standing.reason_after(known, integration.send_resolved, node.route.repeats(), now);
            let Some(reason) = reason else {
                self.deliveries.drop_one(&key, &lane);
                continue;
            };
            let delivery = Delivery {
                group: id.clone(),
                group_key: Arc::clone(&key),
                lane,
                integration,
                standing,
                reason,
                repeats: node.route.repeats(),
                at: now,
            };
            self.decide(delivery, &alerts, &node.route, now);
        }
        self.settle(id, now);
    }

    /// Whether there is something to tell, and the other of a pair is to have time to tell it: then the group is looked at again.
    fn waits_for_other(
        &mut self,
        id: &GroupId,
        (lanes, route): (&[(Lane, Arc<Integration>)], &crate::Route),
        (alerts, quiet): (&BTreeMap<Fingerprint, Alert>, &BTreeMap<Fingerprint, Quiet>),
        now: TimestampMs,
    ) -> bool {
        let Some(pair) = &self.pair else {
            return false;
        };
        let (patience, Some(group)) = (pair.patience(now), self.groups.get_mut(id)) else {
            return false;
        };
        let has_waited = std::mem::take(&mut group.has_waited);
        let is_due = |(lane, integration): &(Lane, Arc<Integration>)| {
            let known = self.log.known(&group.key, lane);
            let standing = standing(route, alerts, quiet, known, now);
            let (send_resolved, repeats) = (integration.send_resolved, route.repeats());
            let reason = standing.reason_after(known, send_resolved, repeats, now);
            reason.is_some() && !self.deliveries.is_under_way(&group.key, lane)
        };
        let is_due = lanes.iter().any(is_due);
        if has_waited {
            self.counts.pair.told_by_other += u64::from(!is_due);
            return false;
        }
        let Some(patience) = patience.filter(|_| is_due) else {
            return false;
        };
        group.has_waited = true;
        self.look_at(id, now.saturating_add(patience));
        true
    }

    fn inhibited_by(&self, labels: &Labels, now: TimestampMs) -> BTreeSet<Fingerprint> {
        self.inhibitor.inhibiting(labels, |source| {
            self.alerts
                .get(&source)
                .is_some_and(|kept| !kept.alert.is_resolved(now))
        })
    }

    /// Returns the time intervals that keep a route quiet.
    fn muted_by(&self, route: &crate::Route, now: TimestampMs) -> Vec<String> {
        let time = Time::from_unix_ms(now.0);
        let contains = |name: &&String| {
            let parts = self.config.time_intervals.get(*name);
            parts.is_some_and(|parts| parts.iter().any(|part| part.contains(&time)))
        };
        let active = &route.active_time_intervals;
        if !active.is_empty() && !active.iter().any(|name| contains(&name)) {
            return active.clone();
        }
        let muting = route.mute_time_intervals.iter().filter(contains);
        muting.cloned().collect()
    }

    fn note_quiet(&mut self, id: &GroupId, quiet: &BTreeMap<Fingerprint, Quiet>, now: TimestampMs) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        for quiet in quiet.values() {
            let why = match quiet {
                Quiet::Inhibited(_) => "inhibition",
                Quiet::Silenced(_) => "silence",
            };
            *self.counts.suppressed.entry(why).or_default() += 1;
        }
        let before = std::mem::replace(&mut group.quiet, quiet.clone());
        if before == *quiet {
            return;
        }
        let key = Arc::clone(&group.key);
        for (fingerprint, now_quiet) in quiet {
            if before.get(fingerprint) == Some(now_quiet) {
                continue;
            }
            let (kind, detail) = match now_quiet {
                Quiet::Inhibited(by) => {
                    (EventKind::Inhibited, format!("inhibited by {}", list(by)))
                }
                Quiet::Silenced(by) => (EventKind::Silenced, format!("silenced by {}", list(by))),
            };
            self.record(Event {
                detail,
                ..event(kind, now, [*fingerprint], &key)
            });
        }
        for fingerprint in before.keys().filter(|one| !quiet.contains_key(one)) {
            if self.alerts.contains_key(fingerprint) {
                self.record(Event {
                    detail: "neither inhibited nor silenced any more".to_owned(),
                    ..event(EventKind::Released, now, [*fingerprint], &key)
                });
            }
        }
    }

    fn note_muted(&mut self, id: &GroupId, muted_by: &[String], now: TimestampMs) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if !muted_by.is_empty() {
            *self.counts.suppressed.entry("time_interval").or_default() += 1;
        }
        if group.muted_by == muted_by {
            return;
        }
        group.muted_by = muted_by.to_vec();
        let (key, alerts) = (Arc::clone(&group.key), group.alerts.clone());
        let (kind, detail) = if muted_by.is_empty() {
            (EventKind::Released, "no longer muted".to_owned())
        } else {
            (
                EventKind::Muted,
                format!("muted by {}", muted_by.join(", ")),
            )
        };
        self.record(Event {
            detail,
            ..event(kind, now, alerts, &key)
        });
    }

    /// In a muted time, resolved alerts that a receiver still takes to fire stay until it can be told.
    fn hold_back(&mut self, id: &GroupId, lanes: &[(Lane, Arc<Integration>)]) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let key = Arc::clone(&group.key);
        group.telling_resolved.retain(|(one, _)| {
            let mut known = lanes.iter().map(|(lane, _)| self.log.known(&key, lane));
            !known.any(|known| known.may_fire(*one))
        });
        for (lane, _) in lanes {
            self.deliveries.drop_one(&key, lane);
        }
        self.leave_resolved(id);
    }

    /// Once all that a look decided on is told, its resolved alerts leave the group.
    fn settle(&mut self, id: &GroupId, now: TimestampMs) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let Some(node) = self.routes.get(id.0) else {
            return;
        };
        let key = Arc::clone(&group.key);
        let lanes = self.lanes(&node.route.receiver);
        let is_told = |(lane, _): &(Lane, _)| !self.deliveries.contains(&key, lane);
        if !lanes.iter().all(is_told) {
            return;
        }
        if group.again {
            self.look_at(id, now);
        } else if !group.failed {
            self.leave_resolved(id);
        }
    }

    /// Lets resolved alerts leave a group, unless they have come again; an alert that is in no group is forgotten, as is an empty group.
    fn leave_resolved(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        for (fingerprint, updated_at) in std::mem::take(&mut group.telling_resolved) {
            let Some(kept) = self.alerts.get_mut(&fingerprint) else {
                continue;
            };
            if kept.alert.span.updated_at != updated_at {
                continue;
            }
            group.alerts.remove(&fingerprint);
            group.quiet.remove(&fingerprint);
            kept.groups.retain(|one| one != id);
            kept.is_dispatched = false;
            if !kept.groups.is_empty() {
                continue;
            }
            let labels = kept.alert.labels.clone();
            self.alerts.remove(&fingerprint);
            self.inhibitor.remove(fingerprint, &labels);
            let name = labels.value_or_empty("alertname");
            if let Some(count) = self.by_name.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.by_name.remove(name);
                }
            }
            self.changes
                .push(Change::remove(ALERTS, alert_key(fingerprint)));
        }
        if group.alerts.is_empty() {
            let at = group.next_look;
            self.due.remove(&(at, id.clone()));
            self.groups.remove(id);
        }
    }

    /// Returns the integrations of a receiver.
    fn lanes(&self, receiver: &str) -> Vec<(Lane, Arc<Integration>)> {
        self.receivers.get(receiver).cloned().unwrap_or_default()
    }
}

impl Group {
    const fn new(key: Arc<str>, next_look: TimestampMs) -> Self {
        Self {
            key,
            alerts: BTreeSet::new(),
            next_look,
            was_looked_at: false,
            telling_resolved: Vec::new(),
            failed: false,
            again: false,
            has_waited: false,
            quiet: BTreeMap::new(),
            muted_by: Vec::new(),
        }
    }
}

/// Returns where the notifications of each receiver go.
fn receivers(config: &Config) -> BTreeMap<String, Vec<(Lane, Arc<Integration>)>> {
    let receivers = config.receivers.iter();
    receivers
        .map(|(name, receiver)| {
            let shared = Arc::<str>::from(name.as_str());
            let lanes = receiver.integrations.iter().map(|integration| {
                let lane = Lane {
                    receiver: Arc::clone(&shared),
                    kind: integration.kind,
                    index: integration.index,
                };
                (lane, Arc::new(integration.clone()))
            });
            (name.clone(), lanes.collect())
        })
        .collect()
}

/// Returns how the alerts of a group of this route stand for a lane that knows this.
fn standing(
    route: &crate::Route,
    alerts: &BTreeMap<Fingerprint, Alert>,
    quiet: &BTreeMap<Fingerprint, Quiet>,
    known: Known<'_>,
    now: TimestampMs,
) -> Standing {
    let mut standing = Standing::default();
    for (fingerprint, alert) in alerts {
        let is_known = known.may_fire(*fingerprint);
        let set = match (alert.is_resolved(now), quiet.contains_key(fingerprint)) {
            (true, false) => &mut standing.resolved,
            (true, true) if is_known && route.send_resolved_suppressed => &mut standing.resolved,
            (false, false) => &mut standing.firing,
            (false, true) if is_known => &mut standing.held,
            (_, true) => continue,
        };
        set.insert(*fingerprint);
    }
    standing
}

fn event(
    kind: EventKind,
    at: TimestampMs,
    alerts: impl IntoIterator<Item = Fingerprint>,
    group: &str,
) -> Event {
    Event {
        number: 0,
        at,
        alerts: alerts.into_iter().collect(),
        labels: Labels::empty(),
        group: group.to_owned(),
        receiver: String::new(),
        kind,
        detail: String::new(),
        late: None,
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
