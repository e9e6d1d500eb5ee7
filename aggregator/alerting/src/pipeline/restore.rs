//! What an earlier run left.

use model::TimestampMs;

use super::{EarlierGroups, Event, EventKind, Pipeline, event};
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

    /// Takes what an earlier run left, or a part of it; [`Pipeline::go_on`] follows. Comes before anything else.
    pub fn restore(&mut self, records: impl IntoIterator<Item = Record>, now: TimestampMs) {
        for record in records {
            if self.restore_one(&record, now).is_none() {
                self.counts.unreadable_records += 1;
            }
        }
    }

    /// Groups the alerts that an earlier run left. Not before all are known: whoever is inhibited by an alert has to find it.
    pub fn go_on(&mut self, now: TimestampMs) {
        let alerts: Vec<Fingerprint> = self.alerts.keys().copied().collect();
        for fingerprint in alerts {
            self.dispatch(fingerprint, now, Some(&EarlierGroups::new()));
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
            LEDGER => self.ledger.restore(&record.value)?,
            ALERTS => self.restore_alert(&record.value, now)?,
            INTENTS => self.restore_intent(record, now)?,
            _ => return None,
        }
        Some(())
    }

    fn restore_intent(&mut self, record: &Record, now: TimestampMs) -> Option<()> {
        let (group_key, lane) = read_lane_key(&record.key)?;
        let mut doubt = Doubt::read(&record.value)?;
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
        let mut alert = AlertRecord::read(value, &mut self.interner)?;
        let is_firing = !alert.span.was_ended();
        if is_firing {
            let end = now.saturating_add(self.config.resolve_timeout);
            alert.span.ends_at = alert.span.ends_at.max(end);
        }
        self.keep(Fingerprint::of(&alert.labels), alert, is_firing);
        Some(())
    }
}
