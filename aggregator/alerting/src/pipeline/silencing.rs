//! Silences: those that somebody sets, and those that come again.

use std::collections::BTreeMap;

use model::{Labels, TimestampMs};

use super::{Event, EventKind, Pipeline, Quiet, event};
use crate::record::{Change, SILENCES, SilenceRecord};
use crate::routing::matches_all;
use crate::silence::{SilenceError, SilenceRequest};
use crate::{Alert, Fingerprint, RecurringSilence, Silence};

impl Pipeline {
    /// Returns what keeps alerts quiet.
    pub(super) fn quiet(
        &self,
        alerts: &BTreeMap<Fingerprint, Alert>,
        now: TimestampMs,
    ) -> BTreeMap<Fingerprint, Quiet> {
        let of = |(fingerprint, alert): (&Fingerprint, &Alert)| {
            let by = self.inhibited_by(&alert.labels, now);
            let quiet = if by.is_empty() {
                let by = self.silenced_by(&alert.labels, now, |recurring| {
                    format!("recurring silence {}", recurring.name)
                });
                (!by.is_empty()).then_some(Quiet::Silenced(by))
            } else {
                Some(Quiet::Inhibited(by))
            };
            quiet.map(|quiet| (*fingerprint, quiet))
        };
        alerts.iter().filter_map(of).collect()
    }

    /// Returns the names of the silences that keep an alert with these labels quiet; `name` says what one that comes again is called.
    pub(super) fn silenced_by(
        &self,
        labels: &Labels,
        now: TimestampMs,
        name: impl Fn(&RecurringSilence) -> String,
    ) -> Vec<String> {
        let recurring = self.config.recurring_silences.iter();
        // A look at a calendar costs more than one at labels.
        let recurring = recurring
            .filter(|silence| matches_all(&silence.matchers, labels) && silence.is_active(now))
            .map(name);
        let mut by = self.silences.silencing(labels, now);
        by.extend(recurring);
        by
    }

    /// Returns those that come again and silence now, each as this occurrence of it. Costs a look at a calendar for each minute that it
    /// lasts, of two days at most.
    pub fn recurring_silences(&self, now: TimestampMs) -> Vec<Silence> {
        let all = self.config.recurring_silences.iter();
        all.filter_map(|silence| silence.occurrence(now)).collect()
    }

    /// Nobody sets or ends a silence that comes again.
    fn check_recurs(&self, id: &str) -> Result<(), SilenceError> {
        let mut recurring = self.config.recurring_silences.iter();
        match recurring.find(|silence| silence.id == id) {
            Some(silence) => Err(SilenceError::Recurs {
                id: silence.id.clone(),
                name: silence.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Sets a silence; `new_id` names it when it is a new one. Returns its name.
    pub fn set_silence(
        &mut self,
        request: SilenceRequest,
        new_id: String,
        now: TimestampMs,
    ) -> Result<String, SilenceError> {
        if let Some(id) = &request.id {
            self.check_recurs(id)?;
        }
        let changed = self
            .silences
            .set(request, new_id, now, self.limits.silences)?;
        for id in &changed {
            self.keep_silence(id);
        }
        let id = changed.last().cloned().unwrap_or_default();
        self.record(Event {
            detail: format!("silence {id} was set"),
            ..event(EventKind::SilenceSet, now, [], "")
        });
        Ok(id)
    }

    /// Ends a silence.
    pub fn expire_silence(&mut self, id: &str, now: TimestampMs) -> Result<(), SilenceError> {
        self.check_recurs(id)?;
        self.silences.expire(id, now)?;
        self.keep_silence(id);
        self.record(Event {
            detail: format!("silence {id} was ended"),
            ..event(EventKind::SilenceEnded, now, [], "")
        });
        Ok(())
    }

    fn keep_silence(&mut self, id: &str) {
        self.write_silence(id);
        self.share_silence(id);
    }

    pub(super) fn write_silence(&mut self, id: &str) {
        if let Some(silence) = self.silences.get(id) {
            let record = SilenceRecord::from(silence);
            let key = id.as_bytes().to_vec();
            self.changes.push(Change::set(SILENCES, key, &record));
        }
    }
}
