//! What has to be done from time to time: syncs, cursors, and what failed before.

use std::collections::BTreeSet;

use clock::Monotonic;
use rows::Epoch;
use tracing::warn;

use super::{DestinationId, Spool};
use crate::note::Note;

impl Spool {
    /// Syncs when [`sync_bytes`](crate::Settings::sync_bytes) are unsynced, or some are since
    /// [`sync_interval`](crate::Settings::sync_interval), and does the other upkeep that is due. Returns when to call again at the latest;
    /// call it after each append besides. Bytes that every destination has acknowledged need no sync and get none.
    ///
    /// It has no error to return: a failed sync closes the segment, whose unsynced end may be lost in a power cut, counts
    /// [`sync_errors`](crate::Stats::sync_errors), and the next batch begins another.
    pub fn sync_if_due(&mut self, now: Monotonic) -> Option<Monotonic> {
        let settings = &self.settings;
        let (interval, bytes) = (settings.sync_interval, settings.sync_bytes);
        let needed = self.needs_sync();
        if let Some(active) = &mut self.active {
            active.unsynced_since = needed.then(|| active.unsynced_since.unwrap_or(now));
            let is_due = |since| active.unsynced_bytes >= bytes || now >= since + interval;
            if active.unsynced_since.is_some_and(is_due) {
                self.sync_active();
            }
        }
        let cursors_due = self
            .cursors_written
            .is_none_or(|written| now >= written + self.settings.cursor_interval);
        if cursors_due {
            self.cursors_written = Some(now);
            self.write_cursors();
            self.write_gaps();
            self.remove_doomed();
            if self.active.is_some() {
                self.note_epoch();
            }
        }
        self.next_due(now)
    }

    /// Syncs and writes what is left to write; for an orderly end.
    pub fn close(mut self) {
        self.close_active();
        self.write_cursors();
        self.write_gaps();
    }

    fn next_due(&self, now: Monotonic) -> Option<Monotonic> {
        let cursors = self.cursors.iter().flatten();
        let cursors_dirty = cursors.clone().any(|cursor| cursor.dirty);
        let upkeep = (cursors_dirty || self.gaps_dirty || !self.doomed.is_empty())
            .then(|| self.cursors_written.unwrap_or(now) + self.settings.cursor_interval);
        let active = self.active.as_ref().filter(|_| self.needs_sync());
        let sync =
            active.map(|active| active.unsynced_since.unwrap_or(now) + self.settings.sync_interval);
        upkeep.into_iter().chain(sync).min()
    }

    /// Whether something is unsynced that a destination still needs.
    fn needs_sync(&self) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let segment = self.segments.get(&active.segment);
            active.unsynced_bytes > 0 && segment.is_some_and(|segment| !self.is_settled(segment))
        })
    }

    /// Ends the segment: no more is appended to it.
    pub(super) fn close_active(&mut self) {
        if self.needs_sync() {
            self.sync_active();
        }
        self.active = None;
        self.remove_settled();
    }

    fn sync_active(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let entry = !active.entry_synced;
        let synced = active.file.sync_data().and_then(|()| {
            if entry {
                self.files.sync_folder(&self.folder)
            } else {
                Ok(())
            }
        });
        match synced {
            Ok(()) => {
                active.unsynced_bytes = 0;
                active.unsynced_since = None;
                active.entry_synced = true;
                self.counters.syncs += 1;
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    segment = active.segment.0,
                    unsynced_bytes = active.unsynced_bytes,
                    "cannot sync the spool; a power cut may lose its newest batches"
                );
                self.counters.sync_errors += 1;
                self.active = None;
            }
        }
    }

    /// Writes the cursors that changed, without what no longer matters.
    fn write_cursors(&mut self) {
        let segments = self.segments.values();
        let epochs: BTreeSet<Epoch> = segments.map(|segment| segment.identity.epoch).collect();
        for slot in 0..self.cursors.len() {
            for epoch in &epochs {
                self.settle(DestinationId(slot), *epoch);
            }
            let Some(cursor) = &mut self.cursors[slot] else {
                continue;
            };
            cursor
                .acknowledged
                .retain(|epoch, _| epochs.contains(epoch));
            if !cursor.dirty {
                continue;
            }
            let path = self.folder.join(cursor.file_name());
            match Note::Cursor(cursor.acknowledged.clone()).write(&*self.files, &path) {
                Ok(()) => cursor.dirty = false,
                Err(_) => self.counters.upkeep_errors += 1,
            }
        }
    }
}
