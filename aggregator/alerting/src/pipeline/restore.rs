//! What an earlier run left.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TimestampMs;

use super::{Event, EventKind, Kept, Pipeline, event};
use crate::Fingerprint;
use crate::notification_log::Doubt;
use crate::record::{
    ALERTS, AlertRecord, Change, INTENTS, LEDGER, NOTIFICATIONS, SILENCES, SilenceRecord,
    read_lane_key,
};

/// A record of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Pipeline {
    /// The tables to hand to [`Pipeline::restore`], each in the order of its keys.
    pub const TABLES: &'static [&'static str] = &[SILENCES, NOTIFICATIONS, LEDGER, ALERTS, INTENTS];

    /// Takes what an earlier run left. Comes before anything else.
    pub fn restore(&mut self, records: impl IntoIterator<Item = Record>, now: TimestampMs) {
        for record in records {
            if self.restore_one(&record, now).is_none() {
                self.counts.unreadable_records += 1;
            }
        }
        // Only now: whoever is inhibited by an alert has to find it.
        let alerts: Vec<Fingerprint> = self.alerts.keys().copied().collect();
        for fingerprint in alerts {
            self.dispatch(fingerprint, now, &BTreeMap::new());
        }
    }

    fn restore_one(&mut self, record: &Record, now: TimestampMs) -> Option<()> {
        match record.table {
            SILENCES => self
                .silences
                .restore(SilenceRecord::read(&record.key, &record.value)?),
            NOTIFICATIONS => {
                let (group_key, lane) = read_lane_key(&record.key)?;
                let entry = serde_json::from_slice(&record.value).ok()?;
                self.log.set(&group_key, &lane, entry);
            }
            LEDGER => self
                .ledger
                .restore(serde_json::from_slice(&record.value).ok()?),
            ALERTS => self.restore_alert(&record.value, now)?,
            INTENTS => self.restore_intent(record, now)?,
            _ => return None,
        }
        Some(())
    }

    fn restore_intent(&mut self, record: &Record, now: TimestampMs) -> Option<()> {
        let (group_key, lane) = read_lane_key(&record.key)?;
        let mut doubt: Doubt = serde_json::from_slice(&record.value).ok()?;
        if std::mem::take(&mut doubt.is_under_way) {
            let told = doubt.firing.iter().chain(&doubt.resolved).copied();
            self.record(Event {
                receiver: lane.to_string(),
                detail: "the process ended before the answer came".to_owned(),
                ..event(EventKind::InDoubt, now, told, &group_key)
            });
            self.changes
                .push(Change::set(INTENTS, record.key.clone(), &doubt));
        }
        self.log.set_doubt(&group_key, &lane, doubt);
        Some(())
    }

    fn restore_alert(&mut self, value: &[u8], now: TimestampMs) -> Option<()> {
        let mut alert = AlertRecord::read(value)?;
        let is_firing = !alert.was_ended();
        if is_firing {
            let end = now.saturating_add(self.config.resolve_timeout);
            alert.ends_at = alert.ends_at.max(end);
        }
        let fingerprint = Fingerprint::of(&alert.labels);
        let name = alert.labels.value_or_empty("alertname").to_owned();
        *self.by_name.entry(name).or_default() += 1;
        self.inhibitor.add(fingerprint, &alert.labels);
        let kept = Kept {
            alert: Arc::new(alert),
            groups: std::collections::BTreeSet::new(),
            is_firing_noted: is_firing,
        };
        self.alerts.insert(fingerprint, kept);
        Some(())
    }
}
