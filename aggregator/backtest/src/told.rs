//! Notifications as they would have gone out.

use std::collections::BTreeMap;

use alerting::Notification;
use model::TimestampMs;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it would have been sent first.
    pub at: TimestampMs,
    /// The receiver's name.
    pub receiver: String,
    /// The integration, as in `slack[0]`.
    pub integration: String,
    /// The key of the alert group.
    pub group: String,
    /// Why, in Alertmanager's words.
    pub reason: String,
    /// Whether any alert fires; otherwise all are resolved.
    pub is_firing: bool,
    /// Of which alerts.
    pub alerts: Vec<ToldAlert>,
    /// How many more were left out, by the integration's `max_alerts`.
    pub truncated: usize,
}

/// An alert as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldAlert {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it fires.
    pub is_firing: bool,
}

impl Told {
    pub(crate) fn new(at: TimestampMs, notification: &Notification) -> Self {
        let integration = &notification.integration;
        let alerts = notification.data.alerts.iter().map(|alert| ToldAlert {
            labels: alert.labels.clone(),
            is_firing: alert.status == "firing",
        });
        Self {
            at,
            receiver: notification.receiver.clone(),
            integration: format!("{}[{}]", integration.kind.name(), integration.index),
            group: notification.group_key.clone(),
            reason: notification.data.notification_reason.clone(),
            is_firing: notification.is_firing(),
            alerts: alerts.collect(),
            truncated: notification.truncated_alerts,
        }
    }
}

/// What a receiver would have been told, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<String, Total>);

/// The numbers of one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Notifications to any of its integrations.
    pub notifications: u64,
    /// Those of them that are about alerts that fire.
    pub firing: u64,
    /// Alerts in them, each as often as it is told.
    pub alerts: u64,
}

impl Totals {
    /// Counts a notification.
    pub fn add(&mut self, told: &Told) {
        let total = self.0.entry(told.receiver.clone()).or_default();
        total.notifications += 1;
        total.firing += u64::from(told.is_firing);
        total.alerts += (told.alerts.len() + told.truncated) as u64;
    }

    /// Returns the numbers, by receiver.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Total)> {
        self.0.iter().map(|(name, total)| (name.as_str(), *total))
    }
}
