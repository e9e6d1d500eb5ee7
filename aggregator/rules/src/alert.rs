//! An alert: one element of an alerting rule's result, and what becomes of it over time.

use std::fmt;
use std::time::Duration;

use model::{Labels, METRIC_NAME, TimestampMs, Value};

use crate::relabelled::with_labels;
use crate::world::RecordedSample;

/// The series that says which alerts there are: 1, by `alertstate`.
pub(crate) const ALERTS: &str = "ALERTS";
/// The series that says since when, in seconds since 1970.
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
pub(crate) const ALERT_NAME: &str = "alertname";
pub(crate) const ALERT_STATE: &str = "alertstate";

/// A resolved alert is kept for so long, and told again, so that a receiver that missed it hears of it.
pub(crate) const RESOLVED_RETENTION: Duration = Duration::from_mins(15);

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It is over.
    Inactive,
    /// Its condition holds, but not for long enough.
    Pending,
    /// It is told to people.
    Firing,
}

impl AlertState {
    /// Returns the name that Prometheus has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The labels of the element and of the rule, and `alertname`; they name the alert.
    pub labels: Labels,
    /// The rule's annotations.
    pub annotations: Labels,
    /// The element's value when it was seen last.
    pub value: f64,
    /// Where it stands.
    pub state: AlertState,
    /// Since when its condition holds.
    pub active_at: TimestampMs,
    /// Since when it fires.
    pub fired_at: Option<TimestampMs>,
    /// When it ceased to fire.
    pub resolved_at: Option<TimestampMs>,
    /// Since when it fires on although its condition does not hold.
    pub keep_firing_since: Option<TimestampMs>,
    /// When it was handed to the sink.
    pub sent_at: Option<TimestampMs>,
}

impl Alert {
    pub(crate) const fn pending(
        labels: Labels,
        annotations: Labels,
        value: f64,
        at: TimestampMs,
    ) -> Self {
        Self {
            labels,
            annotations,
            value,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            sent_at: None,
        }
    }

    /// Whether it is to be told at `at`: firing ones again and again, resolved ones once at once and then as firing ones.
    pub(crate) fn is_due(&self, at: TimestampMs, resend_delay: Duration) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(sent_at) = self.sent_at else {
            return true;
        };
        self.resolved_at.is_some_and(|resolved| resolved > sent_at)
            || sent_at.saturating_add(resend_delay) < at
    }

    /// Returns the labels of its series in [`ALERTS`].
    pub(crate) fn state_series(&self) -> Labels {
        let state = self.state.name();
        with_labels(&self.labels, &[(METRIC_NAME, ALERTS), (ALERT_STATE, state)])
    }

    /// Returns the labels of its series in [`ALERTS_FOR_STATE`].
    pub(crate) fn since_series(&self) -> Labels {
        with_labels(&self.labels, &[(METRIC_NAME, ALERTS_FOR_STATE)])
    }
}

/// What a sink is told of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The alert's labels, and those external labels that it has not itself.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: TimestampMs,
    /// When it was resolved; of one that fires, when it counts as resolved should nothing more be heard of it.
    pub ends_at: TimestampMs,
    /// Whether it is over.
    pub resolved: bool,
    /// A link to the rule's expression.
    pub generator_url: String,
}

/// What an alert was at a time gone by, found out late: other than was said then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The alert's labels, and those external labels that it has not itself.
    pub labels: Labels,
    /// The evaluation of which that holds.
    pub at: TimestampMs,
    /// The next one, up to which it holds.
    pub until: TimestampMs,
    /// Which state it was said to be in, or should have been.
    pub state: AlertState,
    /// Whether it was in that state.
    pub holds: bool,
}

impl Amendment {
    /// Returns what the correction of a sample of the evaluation at `at` says of an alert, if it does; `was_said`: the sample said that the
    /// alert was in that state.
    pub(crate) fn of(
        correction: &RecordedSample,
        was_said: bool,
        (at, until): (TimestampMs, TimestampMs),
        external: &Labels,
    ) -> Option<Self> {
        let labels = &correction.labels;
        let state = labels.get(ALERT_STATE)?;
        let holds = correction.value.same_bits(&Value::Float(1.0));
        if labels.get(METRIC_NAME) != Some(ALERTS) || holds == was_said {
            return None;
        }
        let state = if state == AlertState::Firing.name() {
            AlertState::Firing
        } else {
            AlertState::Pending
        };
        let mut alert = labels.to_builder();
        alert.remove(METRIC_NAME);
        alert.remove(ALERT_STATE);
        Some(Self {
            labels: with_external(&alert.build(), external),
            at,
            until,
            state,
            holds,
        })
    }
}

/// Returns the labels of an alert, and those external labels that it has not itself.
pub(crate) fn with_external(labels: &Labels, external: &Labels) -> Labels {
    let mut all = labels.to_builder();
    for (name, value) in external.iter() {
        if labels.get(name).is_none() {
            all.set(name, value);
        }
    }
    all.build()
}

/// Whoever is told of alerts. Told again every resend delay while an alert fires, and for 15 minutes after it is over; so a notice that
/// a crash swallows is made good, and a sink must take the same one twice.
pub trait AlertSink: Send + Sync + fmt::Debug {
    /// Takes alerts of one evaluation of a group. Must not block for long.
    fn notify(&self, notices: Vec<Notice>);

    /// Takes what alerts of one evaluation in truth were, late: for a history of alerts, and for nobody to be told. Comes before what rules
    /// recorded is corrected; so after a crash the same may come twice, and none is left out. Who keeps no history leaves it.
    fn amend(&self, _amendments: Vec<Amendment>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_told_again_after_the_delay() {
        let delay = Duration::from_secs(60);
        let at = TimestampMs;
        let mut alert = Alert::pending(Labels::empty(), Labels::empty(), 1.0, at(0));
        assert!(!alert.is_due(at(0), delay));
        alert.state = AlertState::Firing;
        assert!(alert.is_due(at(0), delay));
        alert.sent_at = Some(at(0));
        assert!(!alert.is_due(at(60_000), delay));
        assert!(alert.is_due(at(60_001), delay));
        alert.state = AlertState::Inactive;
        alert.resolved_at = Some(at(30_000));
        assert!(alert.is_due(at(30_000), delay));
    }
}
