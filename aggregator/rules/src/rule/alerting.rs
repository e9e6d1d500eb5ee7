//! Alerting rules: each element of the result is an alert that goes from pending to firing, and is resolved when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Labels, LabelsBuilder, METRIC_NAME, TimestampMs, Value};
use promql::VectorSample;

use super::templates::Expander;
use super::{Instant, Rule, Tracked};
use crate::alert::{ALERT_NAME, Alert, AlertState, Notice, RESOLVED_RETENTION, with_external};
use crate::file::{AlertSpec, RuleSpec};
use crate::world::{RecordedSample, Settings, World};

impl Rule {
    /// Brings the alerts to what the result says; returns the samples that tell of them.
    pub(super) fn follow_alerts(
        &mut self,
        elements: Vec<VectorSample>,
        instant: Instant,
        limit: usize,
        world: &World<'_>,
    ) -> Result<Vec<RecordedSample>, String> {
        let Some(spec) = self.spec.alert() else {
            return Ok(Vec::new());
        };
        let found = found_alerts(&self.spec, spec, &elements, instant.at, world)?;
        let (hold, keep_firing_for) = (spec.hold, spec.keep_firing_for);
        let mut active = 0;
        for (labels, now) in &found {
            match self.alerts.get_mut(labels) {
                Some(known) if known.alert.state != AlertState::Inactive => {
                    known.alert.value = now.value;
                    known.alert.annotations = now.annotations.clone();
                    if known.alert.keep_firing_since.take().is_some() {
                        known.changed = true;
                    }
                }
                _ => {
                    let tracked = Tracked {
                        alert: now.clone(),
                        changed: true,
                    };
                    self.alerts.insert(labels.clone(), tracked);
                }
            }
        }
        let gone = &mut self.gone;
        self.alerts.retain(|labels, tracked| {
            let holds = found.contains_key(labels);
            let kept = tracked.step(holds, instant.at, hold, keep_firing_for);
            if !kept {
                gone.push(labels.clone());
            } else if tracked.alert.state != AlertState::Inactive {
                active += 1;
            }
            kept
        });
        if limit > 0 && active > limit {
            self.gone
                .extend(std::mem::take(&mut self.alerts).into_keys());
            return Err(format!("exceeded limit of {limit} with {active} alerts"));
        }
        Ok(self.state_samples(instant.looks_at))
    }

    fn state_samples(&self, at: TimestampMs) -> Vec<RecordedSample> {
        let mut samples = Vec::new();
        for Tracked { alert, .. } in self.alerts.values() {
            if alert.state == AlertState::Inactive {
                continue;
            }
            let seconds = seconds_of(alert.active_at);
            for (labels, value) in [(alert.state_series(), 1.0), (alert.since_series(), seconds)] {
                samples.push(RecordedSample {
                    labels,
                    at,
                    value: Value::Float(value),
                });
            }
        }
        samples
    }

    /// Returns the alerts to tell of at `at`, and remembers that they are told.
    pub(crate) fn notices(
        &mut self,
        at: TimestampMs,
        interval: Duration,
        settings: &Settings,
    ) -> Vec<Notice> {
        // Two evaluations, or two deliveries, may fail before an alert counts as resolved.
        let valid_for = interval.max(settings.resend_delay) * 4;
        let link = generator_url(&settings.external_url, &self.spec.text);
        let mut notices = Vec::new();
        for Tracked { alert, .. } in self.alerts.values_mut() {
            if !alert.is_due(at, settings.resend_delay) {
                continue;
            }
            alert.sent_at = Some(at);
            let resolved = alert.state == AlertState::Inactive;
            notices.push(Notice {
                labels: with_external(&alert.labels, &settings.external_labels),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert
                    .resolved_at
                    .filter(|_| resolved)
                    .unwrap_or_else(|| at.saturating_add(valid_for)),
                resolved,
                generator_url: link.clone(),
            });
        }
        notices
    }
}

impl Tracked {
    /// Goes to the next state; `holds` says whether the condition does. Returns whether the alert is kept.
    fn step(
        &mut self,
        holds: bool,
        at: TimestampMs,
        hold: Duration,
        keep_firing_for: Duration,
    ) -> bool {
        let alert = &mut self.alert;
        let since = |past: TimestampMs| at.0.saturating_sub(past.0);
        match alert.state {
            AlertState::Pending if !holds => return false,
            AlertState::Pending => {
                if since(alert.active_at) >= milliseconds(hold) {
                    alert.state = AlertState::Firing;
                    alert.fired_at = Some(at);
                    self.changed = true;
                }
            }
            AlertState::Firing if !holds => {
                if !keep_firing_for.is_zero() && alert.keep_firing_since.is_none() {
                    alert.keep_firing_since = Some(at);
                    self.changed = true;
                }
                let keeps = alert
                    .keep_firing_since
                    .is_some_and(|from| since(from) < milliseconds(keep_firing_for));
                if !keeps {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at = Some(at);
                    self.changed = true;
                }
            }
            AlertState::Firing => {}
            AlertState::Inactive => {
                return alert
                    .resolved_at
                    .is_some_and(|resolved| since(resolved) <= milliseconds(RESOLVED_RETENTION));
            }
        }
        true
    }
}

/// Returns the labels of the alerts that a result stands for.
pub(crate) fn found_labels(
    rule: &RuleSpec,
    elements: &[VectorSample],
    at: TimestampMs,
    world: &World<'_>,
) -> Result<BTreeSet<Labels>, String> {
    let Some(spec) = rule.alert() else {
        return Ok(BTreeSet::new());
    };
    let found = found_alerts(rule, spec, elements, at, world)?;
    Ok(found.into_keys().collect())
}

/// Returns the alerts that a result stands for, by their labels, as if they had begun now.
fn found_alerts(
    rule: &RuleSpec,
    spec: &AlertSpec,
    elements: &[VectorSample],
    at: TimestampMs,
    world: &World<'_>,
) -> Result<BTreeMap<Labels, Alert>, String> {
    let mut found = BTreeMap::new();
    for element in elements {
        let mut expander = Expander::new(&rule.name, element, at, world);
        let mut labels = element.labels.to_builder();
        labels.remove(METRIC_NAME);
        expander.expand(&spec.label_templates, &mut labels);
        labels.set(ALERT_NAME, rule.name.as_str());
        let mut annotations = LabelsBuilder::new();
        expander.expand(&spec.annotation_templates, &mut annotations);
        let labels = labels.build();
        let value = match element.value {
            Value::Float(value) => value,
            Value::Histogram(_) => 0.0,
        };
        let alert = Alert::pending(labels.clone(), annotations.build(), value, at);
        if found.insert(labels, alert).is_some() {
            let why = "vector contains metrics with the same labelset after applying alert labels";
            return Err(why.to_owned());
        }
    }
    Ok(found)
}

fn generator_url(external_url: &str, expression: &str) -> String {
    let base = external_url.trim_end_matches('/');
    let mut url = format!("{base}/graph?g0.expr=");
    for byte in expression.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            b' ' => url.push('+'),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("&g0.tab=1");
    url
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "seconds of our time fit")]
fn seconds_of(at: TimestampMs) -> f64 {
    at.0.div_euclid(1_000) as f64
}
