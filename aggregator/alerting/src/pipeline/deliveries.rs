//! Notifications on their way: what waits for its turn, what is under way, what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;
use template::Time;

use super::pair::{Leave, Pair};
use super::{Event, EventKind, GroupId, Pipeline, PipelineLimits, event};
use crate::notification_log::{Doubt, Entry, Lane, NotificationLog, Place, Reason, Standing};
use crate::record::{Change, INTENTS, NOTIFICATIONS, by_name, lane_key};
use crate::repeat::Repeats;
use crate::{
    Alert, Data, Failure, FailureKind, Fingerprint, Integration, Notification, Outcome,
    REMEMBERED_BYTES_MAX, Remembered, Route,
};

/// Names an attempt under way.
pub type AttemptId = u64;

/// An attempt to make.
#[derive(Clone, Debug)]
pub struct ToAttempt {
    /// By which its outcome is told.
    pub id: AttemptId,
    /// What to deliver.
    pub notification: Arc<Notification>,
}

/// The first wait after a failed attempt; each next one is half as long again.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait between two attempts that nobody asks for.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest wait that another side may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Failures of one notification are written into the ledger up to this one, and then each time their number is a power of two.
const FAILURES_NOTED: u32 = 4;

/// A notification that was decided on.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) group: GroupId,
    pub(super) group_key: Arc<str>,
    pub(super) lane: Lane,
    pub(super) integration: Arc<Integration>,
    pub(super) standing: Standing,
    pub(super) reason: Reason,
    pub(super) repeats: Repeats,
    pub(super) at: TimestampMs,
}

impl Delivery {
    fn place(&self) -> Place {
        (Arc::clone(&self.group_key), self.lane.clone())
    }

    /// Returns what its receiver may have been told, should no answer come.
    fn doubt(&self, log: &NotificationLog, limits: &PipelineLimits, now: TimestampMs) -> Doubt {
        let known = log.known(&self.group_key, &self.lane);
        let expires_at = now.saturating_add(limits.retention);
        known.doubt.cloned().unwrap_or_default().and(
            &self.standing,
            self.integration.send_resolved,
            expires_at,
        )
    }
}

#[derive(Clone, Debug)]
struct OnItsWay {
    delivery: Delivery,
    content: Content,
    attempts: u32,
    /// When the next attempt may begin; `None`: one is under way.
    ready_at: Option<TimestampMs>,
    last_failure: Option<Failure>,
}

/// What it says. Thousands may wait for their turn: each becomes a notification when an attempt begins.
#[derive(Clone, Debug)]
struct Content {
    /// In their order.
    alerts: Vec<Alert>,
    /// How many more there are.
    truncated: usize,
    route_labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct LaneState {
    under_way: usize,
    /// Until when the other side wants to hear nothing.
    closed_until: TimestampMs,
    queue: BTreeSet<(TimestampMs, AttemptId)>,
}

/// All notifications on their way: at most one for a group and a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    by_id: BTreeMap<AttemptId, OnItsWay>,
    ids: BTreeMap<(Arc<str>, Lane), AttemptId>,
    lanes: BTreeMap<Lane, LaneState>,
    next_id: AttemptId,
}

impl Deliveries {
    fn find(&self, group_key: &Arc<str>, lane: &Lane) -> Option<(AttemptId, &OnItsWay)> {
        let id = self.ids.get(&(Arc::clone(group_key), lane.clone()))?;
        Some((*id, self.by_id.get(id)?))
    }

    pub(super) fn contains(&self, group_key: &Arc<str>, lane: &Lane) -> bool {
        self.find(group_key, lane).is_some()
    }

    pub(super) fn is_under_way(&self, group_key: &Arc<str>, lane: &Lane) -> bool {
        self.find(group_key, lane)
            .is_some_and(|(_, one)| one.ready_at.is_none())
    }

    /// Returns what waits for a turn in one lane.
    pub(super) fn waiting(&self, group_key: &Arc<str>, lane: &Lane) -> Option<AttemptId> {
        let (id, one) = self.find(group_key, lane)?;
        one.ready_at.is_some().then_some(id)
    }

    /// Whether a notification will be told here, or has to wait whoever tells it: nobody else should begin.
    pub(super) fn holds(&self, group_key: &Arc<str>, lane: &Lane, now: TimestampMs) -> bool {
        let is_closed = (self.lanes.get(lane)).is_some_and(|lane| lane.closed_until > now);
        let has_failed = |one: &OnItsWay| one.ready_at.is_some() && one.attempts > 0;
        let is_on_its_way = self
            .find(group_key, lane)
            .is_some_and(|(_, one)| !has_failed(one));
        is_closed || is_on_its_way
    }

    /// Takes back that an attempt has begun: not before `at`.
    pub(super) fn put_back(&mut self, id: AttemptId, at: TimestampMs) {
        if let Some(mut one) = self.remove(id) {
            one.attempts = one.attempts.saturating_sub(1);
            one.ready_at = Some(at);
            self.add(id, one);
        }
    }

    /// Drops what waits for a turn; what is under way comes to its end.
    pub(super) fn drop_waiting(&mut self) {
        let waiting = self.by_id.iter().filter(|(_, one)| one.ready_at.is_some());
        let waiting: Vec<AttemptId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.remove(id);
        }
    }

    /// Drops what waits for a turn in one lane.
    pub(super) fn drop_one(&mut self, group_key: &Arc<str>, lane: &Lane) {
        if let Some((id, one)) = self.find(group_key, lane)
            && one.ready_at.is_some()
        {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: AttemptId) -> Option<OnItsWay> {
        let one = self.by_id.remove(&id)?;
        let delivery = &one.delivery;
        self.ids
            .remove(&(Arc::clone(&delivery.group_key), delivery.lane.clone()));
        let state = self.lanes.entry(delivery.lane.clone()).or_default();
        match one.ready_at {
            Some(at) => drop(state.queue.remove(&(at, id))),
            None => state.under_way -= 1,
        }
        Some(one)
    }

    fn add(&mut self, id: AttemptId, one: OnItsWay) {
        let (delivery, lane) = (&one.delivery, one.delivery.lane.clone());
        self.ids
            .insert((Arc::clone(&delivery.group_key), lane.clone()), id);
        let state = self.lanes.entry(lane).or_default();
        match one.ready_at {
            Some(at) => drop(state.queue.insert((at, id))),
            None => state.under_way += 1,
        }
        self.by_id.insert(id, one);
    }

    /// Returns when the next attempt can begin.
    pub(super) fn next_ready(&self, attempts_per_lane: usize) -> Option<TimestampMs> {
        let open = self.lanes.values();
        let open = open.filter(|lane| lane.under_way < attempts_per_lane);
        open.filter_map(|lane| {
            let (at, _) = lane.queue.first()?;
            Some((*at).max(lane.closed_until))
        })
        .min()
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the attempts that can begin, and takes them to be under way.
    fn begin(&mut self, attempts_per_lane: usize, now: TimestampMs) -> Vec<AttemptId> {
        let mut begun = Vec::new();
        for state in self.lanes.values_mut() {
            while state.under_way < attempts_per_lane
                && state.closed_until <= now
                && let Some((at, id)) = state.queue.first().copied()
                && at <= now
            {
                state.queue.remove(&(at, id));
                state.under_way += 1;
                begun.push((at, id));
            }
        }
        begun.sort_unstable();
        for (_, id) in &begun {
            if let Some(one) = self.by_id.get_mut(id) {
                one.ready_at = None;
                one.attempts += 1;
            }
        }
        begun.into_iter().map(|(_, id)| id).collect()
    }
}

impl Pipeline {
    /// Lets a notification wait for its turn; it takes the place, and the back-off, of an older one of its group.
    pub(super) fn decide(
        &mut self,
        delivery: Delivery,
        alerts: &BTreeMap<Fingerprint, Alert>,
        route: &Route,
        now: TimestampMs,
    ) {
        let (group_key, lane) = (&delivery.group_key, &delivery.lane);
        let mut told: Vec<Fingerprint> = delivery.standing.firing.iter().copied().collect();
        if delivery.integration.send_resolved {
            told.extend(&delivery.standing.resolved);
        }
        if told.is_empty() {
            // All are resolved, and nobody wants to know: only the log does.
            self.deliveries.drop_one(group_key, lane);
            let remembered = Remembered::new();
            self.log_delivery(&delivery, remembered, now);
            return;
        }
        let older = self.deliveries.find(group_key, lane).map(|(id, _)| id);
        let older = older.and_then(|id| self.deliveries.remove(id));
        let is_new_reason = older
            .as_ref()
            .is_none_or(|older| older.delivery.standing != delivery.standing);
        if let Some(failure) = older.as_ref().and_then(|older| older.last_failure.as_ref()) {
            let key = (lane.kind, failure.kind);
            *self.counts.notifications_failed.entry(key).or_default() += 1;
        }
        *self.counts.notifications.entry(lane.kind).or_default() += 1;
        if is_new_reason {
            self.record(Event {
                receiver: lane.to_string(),
                detail: delivery.reason.text().to_owned(),
                ..event(EventKind::Decided, now, told.iter().copied(), group_key)
            });
        }
        let content = Content::new(&delivery, &told, alerts, route);
        self.deliveries.next_id += 1;
        let id = self.deliveries.next_id;
        let one = OnItsWay {
            delivery,
            content,
            attempts: older.as_ref().map_or(0, |older| older.attempts),
            ready_at: Some(
                older
                    .as_ref()
                    .and_then(|older| older.ready_at)
                    .unwrap_or(now),
            ),
            last_failure: older.and_then(|older| older.last_failure),
        };
        self.deliveries.add(id, one);
    }

    fn notification(&self, one: &OnItsWay) -> Notification {
        let OnItsWay {
            delivery, content, ..
        } = one;
        let (lane, alerts) = (&delivery.lane, &content.alerts);
        let is_resolved = |alert: &Alert| alert.is_resolved(delivery.at);
        let is_firing = alerts.iter().any(|alert| !is_resolved(alert));
        let data = Data {
            receiver: quoted(&lane.receiver),
            status: status(is_firing).to_owned(),
            common_labels: common(alerts.iter().map(|alert| alert.labels.iter())),
            common_annotations: common(alerts.iter().map(|alert| alert.annotations.iter())),
            alerts: alerts
                .iter()
                .map(|alert| shown(alert, !is_resolved(alert)))
                .collect(),
            notification_reason: delivery.reason.text().to_owned(),
            group_labels: by_name(delivery.group.1.iter()),
            route_labels: template::RouteLabels::Templates(content.route_labels.clone()),
            external_url: self.external_url.clone(),
        };
        // Nothing else is told to the lane about the group meanwhile.
        let last = self.log.known(&delivery.group_key, lane).last;
        let remembered = match delivery.reason {
            Reason::First => Remembered::new(),
            _ => last.map(|last| last.remembered.clone()).unwrap_or_default(),
        };
        Notification {
            receiver: lane.receiver.to_string(),
            integration: Arc::clone(&delivery.integration),
            group_key: delivery.group_key.to_string(),
            data,
            truncated_alerts: content.truncated,
            remembered,
            at: Time::from_unix_ms(delivery.at.0),
        }
    }

    /// Returns the attempts that can begin now; each has its intent written.
    pub(super) fn begin_attempts(&mut self, now: TimestampMs) -> Vec<ToAttempt> {
        let mut begun = self.with_leave(now);
        begun.extend(
            self.pair
                .as_mut()
                .map(Pair::take_allowed)
                .into_iter()
                .flatten(),
        );
        let mut attempts = Vec::new();
        for id in begun {
            let Some(one) = self.deliveries.by_id.get(&id) else {
                continue;
            };
            attempts.push(ToAttempt {
                id,
                notification: Arc::new(self.notification(one)),
            });
            let lane = &one.delivery.lane;
            let is_alone = (self.pair.as_ref()).is_some_and(|pair| !pair.is_linked());
            self.counts.pair.attempts_alone += u64::from(is_alone);
            *self.counts.attempts.entry(lane.kind).or_default() += 1;
            let key = lane_key(&one.delivery.group_key, lane);
            let intent = Doubt {
                is_under_way: true,
                ..one.delivery.doubt(&self.log, &self.limits, now)
            };
            self.changes.push(Change::set(INTENTS, key, &intent));
        }
        attempts
    }

    /// Returns the attempts that can begin, but for those that the other of a pair is asked about, or makes.
    fn with_leave(&mut self, now: TimestampMs) -> Vec<AttemptId> {
        let mut begun = self.deliveries.begin(self.limits.attempts_per_lane, now);
        let Some(pair) = &mut self.pair else {
            return begun;
        };
        let deliveries = &mut self.deliveries;
        begun.retain(|id| {
            let Some(one) = deliveries.by_id.get(id) else {
                return false;
            };
            match pair.leave(one.delivery.place(), *id, now) {
                Leave::Given => return true,
                Leave::Asked => {}
                Leave::Lent(until) => deliveries.put_back(*id, until),
            }
            false
        });
        begun
    }

    /// Whether what a notification says is still to be told, by what the log knows now.
    pub(super) fn is_still_due(&self, id: AttemptId, now: TimestampMs) -> bool {
        self.deliveries.by_id.get(&id).is_some_and(|one| {
            let delivery = &one.delivery;
            let known = self.log.known(&delivery.group_key, &delivery.lane);
            let (send_resolved, repeats) = (delivery.integration.send_resolved, delivery.repeats);
            let reason = (delivery.standing).reason_after(known, send_resolved, repeats, now);
            reason.is_some()
        })
    }

    /// Drops a notification that the other of a pair has told.
    pub(super) fn told_by_other(&mut self, id: AttemptId, now: TimestampMs) {
        if let Some(one) = self.deliveries.remove(id) {
            self.counts.pair.told_by_other += 1;
            self.settle(&one.delivery.group, now);
        }
    }

    /// Takes how an attempt went. An attempt that nobody has under way is left out.
    pub fn finished(&mut self, id: AttemptId, outcome: Outcome, now: TimestampMs) {
        let is_under_way =
            (self.deliveries.by_id.get(&id)).is_some_and(|one| one.ready_at.is_none());
        if !is_under_way {
            return;
        }
        let Some(one) = self.deliveries.remove(id) else {
            return;
        };
        let (group, place) = (one.delivery.group.clone(), one.delivery.place());
        match outcome {
            Outcome::Delivered { remembered } => {
                self.note_outcome(&one, EventKind::Delivered, "delivered", now);
                self.log_delivery(&one.delivery, remembered, now);
            }
            Outcome::Retry { after, failure } => {
                self.note_failure(&one, &failure, now);
                self.keep_doubt(&one.delivery, failure.kind, now);
                self.wait(id, one, after, failure, now);
            }
            Outcome::GiveUp(failure) => {
                self.note_failure(&one, &failure, now);
                self.keep_doubt(&one.delivery, failure.kind, now);
                self.give_up(&one, &failure, now);
            }
        }
        self.give_back(&place);
        self.settle(&group, now);
    }

    /// Once an attempt has failed its intent goes; what stays is what the receiver may have been told.
    fn keep_doubt(&mut self, delivery: &Delivery, kind: FailureKind, now: TimestampMs) {
        let (group_key, lane) = (&delivery.group_key, &delivery.lane);
        if kind.may_have_arrived() {
            let doubt = delivery.doubt(&self.log, &self.limits, now);
            self.log.set_doubt(group_key, lane, doubt);
        }
        let key = lane_key(group_key, lane);
        self.changes
            .push(match self.log.known(group_key, lane).doubt {
                Some(doubt) => Change::set(INTENTS, key, doubt),
                None => Change::remove(INTENTS, key),
            });
    }

    /// Lets a notification wait for another attempt, unless its group is to be looked at again.
    fn wait(
        &mut self,
        id: AttemptId,
        mut one: OnItsWay,
        after: Option<Duration>,
        failure: Failure,
        now: TimestampMs,
    ) {
        let group = self.groups.get(&one.delivery.group);
        let is_current = group.is_some_and(|group| group.key == one.delivery.group_key);
        if !is_current {
            self.give_up(&one, &failure, now);
            return;
        }
        let asked = after.unwrap_or_default().min(RETRY_AFTER_MAX);
        if !asked.is_zero() {
            let lane = self.deliveries.lanes.entry(one.delivery.lane.clone());
            let lane = lane.or_default();
            lane.closed_until = lane.closed_until.max(now.saturating_add(asked));
        }
        let wait = backoff(one.attempts, id).max(asked);
        one.ready_at = Some(now.saturating_add(wait));
        one.last_failure = Some(failure);
        self.deliveries.add(id, one);
    }

    fn give_up(&mut self, one: &OnItsWay, failure: &Failure, now: TimestampMs) {
        let delivery = &one.delivery;
        let key = (delivery.lane.kind, failure.kind);
        *self.counts.notifications_failed.entry(key).or_default() += 1;
        if let Some(group) = self.groups.get_mut(&delivery.group) {
            group.failed = true;
        }
        self.note_outcome(one, EventKind::GivenUp, &failure.reason, now);
    }

    fn note_failure(&mut self, one: &OnItsWay, failure: &Failure, now: TimestampMs) {
        let kind = one.delivery.lane.kind;
        *self.counts.attempts_failed.entry(kind).or_default() += 1;
        let is_noted = one.attempts <= FAILURES_NOTED
            || one.attempts.is_power_of_two()
            || one.last_failure.as_ref().map(|last| last.kind) != Some(failure.kind);
        if is_noted {
            self.note_outcome(one, EventKind::Failed, &failure.reason, now);
        }
    }

    fn note_outcome(&mut self, one: &OnItsWay, kind: EventKind, detail: &str, now: TimestampMs) {
        let delivery = &one.delivery;
        let standing = &delivery.standing;
        let told = standing.firing.iter().chain(&standing.resolved).copied();
        self.record(Event {
            receiver: delivery.lane.to_string(),
            detail: format!("attempt {}: {detail}", one.attempts),
            ..event(kind, now, told, &delivery.group_key)
        });
    }

    fn log_delivery(&mut self, delivery: &Delivery, remembered: Remembered, now: TimestampMs) {
        let bytes = remembered
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let is_small = bytes.sum::<usize>() <= REMEMBERED_BYTES_MAX;
        let longest = delivery.repeats.longest;
        let kept = longest.saturating_mul(2).min(self.limits.retention);
        // After what was told before, whatever the clock says.
        let last = self.log.known(&delivery.group_key, &delivery.lane).last;
        let next = last.map(|last| last.at.saturating_add(Duration::from_millis(1)));
        let repeats = match delivery.reason {
            Reason::Repeat => last.map_or(0, |last| last.repeats.saturating_add(1)),
            _ => 0,
        };
        let entry = Entry {
            at: next.map_or(delivery.at, |next| next.max(delivery.at)),
            firing: delivery.standing.known_firing(),
            resolved: delivery.standing.resolved.clone(),
            remembered: if is_small {
                remembered
            } else {
                Remembered::new()
            },
            expires_at: now.saturating_add(kept),
            repeats,
        };
        let key = lane_key(&delivery.group_key, &delivery.lane);
        self.changes.push(Change::remove(INTENTS, key.clone()));
        self.changes.push(Change::set(NOTIFICATIONS, key, &entry));
        self.log.set(&delivery.group_key, &delivery.lane, entry);
        self.share_entry(delivery.place());
    }
}

impl Content {
    fn new(
        delivery: &Delivery,
        told: &[Fingerprint],
        alerts: &BTreeMap<Fingerprint, Alert>,
        route: &Route,
    ) -> Self {
        let told = told.iter().filter_map(|one| alerts.get(one));
        let mut told: Vec<Alert> = told.cloned().collect();
        told.sort_by(|a, b| a.order().cmp(&b.order()));
        let limit = usize::try_from(delivery.integration.settings.integer("max_alerts"));
        let limit = limit.ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let truncated = told.len().saturating_sub(limit);
        told.truncate(limit);
        Self {
            alerts: told,
            truncated,
            route_labels: route.labels.clone(),
        }
    }
}

/// Returns the changes by which an entry of the log, and what is in doubt, go.
pub(super) fn forgotten(group_key: &Arc<str>, lane: &Lane) -> [Change; 2] {
    [NOTIFICATIONS, INTENTS].map(|table| Change::remove(table, lane_key(group_key, lane)))
}

/// Returns how long to wait after so many attempts: a random part of it, drawn from the attempt's name, keeps many from coming at once.
fn backoff(attempts: u32, id: AttemptId) -> Duration {
    let exponent = attempts.saturating_sub(1).min(16);
    let exponent = i32::try_from(exponent).unwrap_or(16);
    let wait = BACKOFF_FIRST
        .mul_f64(1.5_f64.powi(exponent))
        .min(BACKOFF_MAX);
    let drawn = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(attempts)) >> 56;
    // Between half and one and a half.
    wait.mul_f64(0.5 + f64::from(u8::try_from(drawn).unwrap_or(128)) / 256.0)
}

const fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

fn shown(alert: &Alert, is_firing: bool) -> template::Alert {
    template::Alert {
        status: status(is_firing).to_owned(),
        labels: by_name(alert.labels.iter()),
        annotations: by_name(alert.annotations.iter()),
        starts_at: Time::from_unix_ms(alert.span.starts_at.0),
        ends_at: if is_firing {
            Time::zero()
        } else {
            Time::from_unix_ms(alert.span.ends_at.0)
        },
        generator_url: alert.generator_url.to_string(),
        fingerprint: Fingerprint::of(&alert.labels).to_string(),
    }
}

/// Returns the pairs that all have; each is sorted by name.
fn common<'a>(
    mut sets: impl Iterator<Item = impl Iterator<Item = (&'a str, &'a str)>>,
) -> BTreeMap<String, String> {
    let mut common: Vec<(&str, &str)> = sets.next().into_iter().flatten().collect();
    for set in sets {
        let mut set = set.peekable();
        common.retain(|pair| {
            while set.next_if(|one| one.0 < pair.0).is_some() {}
            set.peek() == Some(pair)
        });
    }
    by_name(common.into_iter())
}

/// Returns an expression that matches just `text`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
