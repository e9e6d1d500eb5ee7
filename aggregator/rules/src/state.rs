//! What is kept of alerts in a small database, so that a restart forgets none.
//!
//! A record per alert, written when the alert begins, changes its state or goes: the steady state writes nothing. Beside them, the time
//! of the last evaluation per group, at most a minute old while alerts are pending.
//!
//! # Records
//! Table `rule-alerts`: key = rule (16 bytes) and alert (16 bytes), both hashes; value = version (1), state (0 inactive, 1 pending,
//! 2 firing), value (8 bytes, bits of the double), five times (8 bytes each: active, fired, resolved, keeps firing since, told; the
//! smallest number where there is none), labels and annotations, each as a count (4 bytes) and as many pairs of texts, each text with
//! its length (4 bytes) before it. Table `rule-groups`: key = group (16 bytes); value = version (1) and the time (8 bytes). Table
//! `rule-since`: the same, with the time at which the group was loaded first. Table `rule-late`:
//! key = `owed`; value = version (1), then start and end (8 bytes each) of each span for which rules are still to be evaluated again: late rows
//! came of it, or a pass under way corrects it. All numbers are little-endian. A record of another version, or one that does not read, is left out and reported.

use std::collections::HashMap;

use files::{KeyValue, KeyValueError};
use model::{Labels, LabelsBuilder, Spans, TimeRange, TimestampMs};

use crate::alert::{Alert, AlertState};
use crate::group::{Change, GroupId, RuleId};

const ALERTS: &str = "rule-alerts";
const GROUPS: &str = "rule-groups";
const SINCE: &str = "rule-since";
const LATE: &str = "rule-late";
const OWED: &[u8] = b"owed";
const VERSION: u8 = 1;
/// Records read at once.
const PAGE: usize = 1_000;
/// Stands for a time that there is not.
const NEVER: i64 = i64::MIN;

/// All that is kept, as it was read.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) alerts: HashMap<RuleId, Vec<Alert>>,
    pub(crate) seen: HashMap<GroupId, TimestampMs>,
    /// When groups were loaded first.
    pub(crate) since: HashMap<GroupId, TimestampMs>,
    pub(crate) owed: Spans,
    /// The keys of all records.
    keys: Vec<(&'static str, Vec<u8>)>,
}

impl Kept {
    /// Reads everything.
    pub(crate) fn read(database: &KeyValue) -> Result<Self, KeyValueError> {
        let mut kept = Self::default();
        for table in [ALERTS, GROUPS, SINCE] {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = database.scan(table, &[], after.as_deref(), PAGE)?;
                for (key, value) in &page {
                    if kept.take(table, key, value).is_none() {
                        tracing::warn!(
                            table,
                            "a record of the rules' state does not read; left out"
                        );
                    }
                    kept.keys.push((table, key.clone()));
                }
                let is_last = page.len() < PAGE;
                after = page.into_iter().next_back().map(|(key, _)| key);
                if is_last {
                    break;
                }
            }
        }
        let owed = database.get(LATE, OWED)?;
        kept.owed = owed
            .and_then(|value| read_spans(&value))
            .unwrap_or_default();
        Ok(kept)
    }

    fn take(&mut self, table: &str, key: &[u8], value: &[u8]) -> Option<()> {
        let id = u128::from_be_bytes(key.get(..16)?.try_into().ok()?);
        let mut reading = Reading(value);
        if reading.byte()? != VERSION {
            return None;
        }
        match table {
            GROUPS => drop(self.seen.insert(id, TimestampMs(reading.number()?))),
            SINCE => drop(self.since.insert(id, TimestampMs(reading.number()?))),
            _ => self.alerts.entry(id).or_default().push(reading.alert()?),
        }
        Some(())
    }

    /// Removes the records that belong to none of these rules and groups.
    pub(crate) fn forget_others(
        &self,
        database: &KeyValue,
        is_known: impl Fn(u128) -> bool,
    ) -> Result<(), KeyValueError> {
        let is_orphan = |key: &[u8]| {
            let id = key.get(..16).and_then(|id| id.try_into().ok());
            id.is_none_or(|id| !is_known(u128::from_be_bytes(id)))
        };
        let orphans = || self.keys.iter().filter(|(_, key)| is_orphan(key));
        if orphans().next().is_none() {
            return Ok(());
        }
        database.write(|batch| {
            for (table, key) in orphans() {
                batch.delete(table, key)?;
            }
            Ok(())
        })
    }
}

/// Writes changes as one transaction.
pub(crate) fn write(database: &KeyValue, changes: &[Change]) -> Result<(), KeyValueError> {
    if changes.is_empty() {
        return Ok(());
    }
    database.write(|batch| {
        for change in changes {
            match change {
                Change::Gone(rule, alert) => {
                    batch.delete(ALERTS, &alert_key(*rule, *alert))?;
                }
                Change::Alert(rule, id, alert) => {
                    batch.put(ALERTS, &alert_key(*rule, *id), &record(alert))?;
                }
                Change::Seen(group, at) => {
                    batch.put(GROUPS, &group.to_be_bytes(), &time_record(*at))?;
                }
            }
        }
        Ok(())
    })
}

/// Writes that groups have been loaded first at `now`, as one transaction.
pub(crate) fn write_since(
    database: &KeyValue,
    groups: &[GroupId],
    now: TimestampMs,
) -> Result<(), KeyValueError> {
    if groups.is_empty() {
        return Ok(());
    }
    database.write(|batch| {
        (groups.iter())
            .try_for_each(|group| batch.put(SINCE, &group.to_be_bytes(), &time_record(now)))
    })
}

fn time_record(at: TimestampMs) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend(at.0.to_le_bytes());
    value
}

/// Writes what is owed.
pub(crate) fn write_owed(database: &KeyValue, owed: &Spans) -> Result<(), KeyValueError> {
    let mut value = vec![VERSION];
    for span in owed.as_slice() {
        value.extend(span.start.0.to_le_bytes());
        value.extend(span.end.0.to_le_bytes());
    }
    database.write(|batch| batch.put(LATE, OWED, &value))
}

fn read_spans(value: &[u8]) -> Option<Spans> {
    let mut reading = Reading(value);
    if reading.byte()? != VERSION {
        return None;
    }
    let mut spans = Spans::default();
    while !reading.0.is_empty() {
        let (start, end) = (reading.number()?, reading.number()?);
        spans.add(TimeRange::new(TimestampMs(start), TimestampMs(end)));
    }
    Some(spans)
}

fn alert_key(rule: u128, alert: u128) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&rule.to_be_bytes());
    key[16..].copy_from_slice(&alert.to_be_bytes());
    key
}

fn record(alert: &Alert) -> Vec<u8> {
    let state = match alert.state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    };
    let mut out = vec![VERSION, state];
    out.extend(alert.value.to_bits().to_le_bytes());
    for time in [
        Some(alert.active_at),
        alert.fired_at,
        alert.resolved_at,
        alert.keep_firing_since,
        alert.sent_at,
    ] {
        out.extend(time.map_or(NEVER, |time| time.0).to_le_bytes());
    }
    for labels in [&alert.labels, &alert.annotations] {
        put_length(&mut out, labels.len());
        for (name, value) in labels.iter() {
            for text in [name, value] {
                put_length(&mut out, text.len());
                out.extend(text.as_bytes());
            }
        }
    }
    out
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

/// The rest of a record.
struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?)).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn labels(&mut self) -> Option<Labels> {
        let mut labels = LabelsBuilder::new();
        for _ in 0..self.length()? {
            labels.set(self.text()?, self.text()?);
        }
        Some(labels.build())
    }

    fn time(&mut self) -> Option<Option<TimestampMs>> {
        let time = self.number()?;
        Some((time != NEVER).then_some(TimestampMs(time)))
    }

    fn alert(&mut self) -> Option<Alert> {
        let state = match self.byte()? {
            0 => AlertState::Inactive,
            1 => AlertState::Pending,
            2 => AlertState::Firing,
            _ => return None,
        };
        let value = f64::from_bits(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?));
        let active_at = self.time()??;
        let (fired_at, resolved_at) = (self.time()?, self.time()?);
        let (keep_firing_since, sent_at) = (self.time()?, self.time()?);
        Some(Alert {
            state,
            value,
            active_at,
            fired_at,
            resolved_at,
            keep_firing_since,
            sent_at,
            labels: self.labels()?,
            annotations: self.labels()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_cut_ones_do_not() {
        let labels = Labels::from_pairs([("alertname", "A"), ("job", "ü")]).unwrap();
        let alert = Alert {
            fired_at: Some(TimestampMs(7)),
            state: AlertState::Firing,
            ..Alert::pending(labels, Labels::empty(), -0.5, TimestampMs(5))
        };
        let bytes = record(&alert);
        assert_eq!(Reading(&bytes[1..]).alert(), Some(alert));
        for end in 1..bytes.len() {
            assert_eq!(Reading(&bytes[1..end]).alert(), None, "{end}");
        }
    }
}
