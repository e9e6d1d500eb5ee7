//! What is owed to late rows, as it is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use files::KeyValue;
use model::{Spans, TimeRange, TimestampMs};

use super::{LateCounts, LateSettings};
use crate::state;

/// So much of the past is kept as owed at once, from a correction on, so that walking on through it writes nothing.
const AHEAD: Duration = Duration::from_mins(5);

/// What is owed, in memory and in a small database: shared by those who add to it and the pass that pays it.
#[derive(Debug)]
pub(crate) struct Account {
    database: Option<Arc<KeyValue>>,
    owed: Mutex<Owed>,
}

impl Account {
    /// Returns an account that owes nothing. Without a database nothing outlives it.
    pub(crate) fn new(database: Option<Arc<KeyValue>>) -> Self {
        Self {
            database,
            owed: Mutex::default(),
        }
    }

    /// Takes on what was kept; `missed_until` is as in [`Owing`].
    pub(crate) fn take_on(&self, kept: &Spans, missed_until: TimestampMs, now: TimestampMs) {
        self.owed().add(kept, missed_until, now);
    }

    /// Adds spans, as far as they are not before `start`; `missed_until` is as in [`Owing`].
    pub(crate) fn add(
        &self,
        spans: &Spans,
        missed_until: TimestampMs,
        start: TimestampMs,
        now: TimestampMs,
    ) {
        let mut owed = self.owed();
        owed.add(spans, missed_until, now);
        owed.forget_before(start);
        self.keep(&owed.all());
    }

    /// Returns what a pass is to be for, if it is time.
    pub(crate) fn begin(&self, now: TimestampMs, settings: &LateSettings) -> Option<Owing> {
        let mut owed = self.owed();
        owed.forget_before(now.saturating_sub(settings.back));
        owed.begin(now, settings)
    }

    /// Says that samples at `at` are about to be corrected by the pass under way: should it be cut short, what follows from them is owed.
    /// Returns when that is kept, which mostly it is already; after an error nothing is to be corrected.
    pub(crate) fn will_correct(&self, at: TimestampMs) -> Result<(), String> {
        let mut owed = self.owed();
        if owed.under_way.overlap(TimeRange::new(at, at)) {
            return Ok(());
        }
        let mut wider = owed.under_way.clone();
        wider.add(TimeRange::new(at, at.saturating_add(AHEAD)));
        let mut all = wider.clone();
        all.add_all(&owed.waiting);
        self.write(&all)?;
        owed.under_way = wider;
        Ok(())
    }

    /// Ends the pass under way; what one was for that was cut short is owed again, with `missed_until` as in [`Owing`].
    pub(crate) fn end(
        &self,
        pass: LateCounts,
        is_done: bool,
        missed_until: TimestampMs,
        now: TimestampMs,
    ) {
        let mut owed = self.owed();
        owed.end(pass, is_done, missed_until, now);
        self.keep(&owed.all());
    }

    pub(crate) fn counts(&self) -> LateCounts {
        self.owed().counts()
    }

    fn keep(&self, all: &Spans) {
        if let Err(error) = self.write(all) {
            tracing::error!(
                error,
                "what late rows have changed is not kept; a restart would forget it"
            );
        }
    }

    fn write(&self, all: &Spans) -> Result<(), String> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        state::write_owed(database, all).map_err(|error| format!("{error}: {}", error.source))
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pass is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owing {
    pub(crate) spans: Spans,
    /// The last evaluation that may have begun before questions found the rows: those as of later times have seen them.
    pub(crate) missed_until: TimestampMs,
}

/// What is owed.
#[derive(Debug, Default)]
struct Owed {
    /// What came since the pass under way began, if one is.
    waiting: Spans,
    /// Of what is waiting: see [`Owing`].
    missed_until: Option<TimestampMs>,
    /// When the first and the last of it came.
    came: Option<(TimestampMs, TimestampMs)>,
    /// What the pass under way is for.
    under_way: Spans,
    counts: LateCounts,
}

impl Owed {
    /// Adds spans.
    fn add(&mut self, spans: &Spans, missed_until: TimestampMs, now: TimestampMs) {
        if !spans.is_empty() {
            self.waiting.add_all(spans);
            self.missed_until = self.missed_until.max(Some(missed_until));
            let first = self.came.map_or(now, |(first, _)| first);
            self.came = Some((first, now));
        }
    }

    /// Drops what lies before `start`.
    fn forget_before(&mut self, start: TimestampMs) {
        if self.waiting.forget_before(start) {
            self.counts.too_old += 1;
        }
    }

    /// Returns what a pass is to be for, if it is time.
    fn begin(&mut self, now: TimestampMs, settings: &LateSettings) -> Option<Owing> {
        let (first, last) = self.came?;
        let since = |at: TimestampMs| u128::from(now.0.saturating_sub(at.0).max(0).unsigned_abs());
        let is_time = since(last) >= settings.settle.as_millis()
            || since(first) >= settings.delay_max.as_millis();
        if !is_time || !self.under_way.is_empty() || self.waiting.is_empty() {
            return None;
        }
        self.came = None;
        self.under_way = std::mem::take(&mut self.waiting);
        Some(Owing {
            spans: self.under_way.clone(),
            missed_until: self.missed_until.take().unwrap_or(now),
        })
    }

    /// Ends the pass under way; what one was for that was cut short is owed again.
    fn end(
        &mut self,
        pass: LateCounts,
        is_done: bool,
        missed_until: TimestampMs,
        now: TimestampMs,
    ) {
        let spans = std::mem::take(&mut self.under_way);
        self.counts.evaluations += pass.evaluations;
        self.counts.failures += pass.failures;
        self.counts.corrected += pass.corrected;
        if is_done {
            self.counts.passes += 1;
        } else {
            self.counts.broken += 1;
            self.add(&spans, missed_until, now);
        }
    }

    fn counts(&self) -> LateCounts {
        LateCounts {
            owed: self.all().as_slice().len(),
            ..self.counts
        }
    }

    /// Returns all that is owed.
    fn all(&self) -> Spans {
        let mut all = self.under_way.clone();
        all.add_all(&self.waiting);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: LateSettings = LateSettings {
        back: Duration::from_hours(1),
        settle: Duration::from_secs(10),
        delay_max: Duration::from_secs(60),
        lookback: Duration::from_secs(300),
    };

    fn spans(ranges: &[(i64, i64)]) -> Spans {
        let mut spans = Spans::default();
        for (start, end) in ranges {
            spans.add(TimeRange::new(TimestampMs(*start), TimestampMs(*end)));
        }
        spans
    }

    #[test]
    fn a_backfill_is_waited_for_but_not_for_ever() {
        let at = |second: i64| TimestampMs(second * 1_000);
        let owing = |ranges: &[(i64, i64)], missed_until: i64| {
            Some(Owing {
                spans: spans(ranges),
                missed_until: at(missed_until),
            })
        };
        let mut owed = Owed::default();
        assert_eq!(owed.begin(at(0), &SETTINGS), None);
        owed.add(&spans(&[(1, 2)]), at(99), at(100));
        assert_eq!(owed.begin(at(109), &SETTINGS), None);
        owed.add(&spans(&[(4, 5)]), at(98), at(109));
        assert_eq!(owed.begin(at(118), &SETTINGS), None);
        assert_eq!(owed.begin(at(119), &SETTINGS), owing(&[(1, 2), (4, 5)], 99));
        for second in 120..=185 {
            owed.add(&spans(&[(second, second)]), at(second), at(second));
            assert_eq!(owed.begin(at(second), &SETTINGS), None, "one at a time");
        }
        assert_eq!(owed.all().as_slice().len(), 3);
        owed.end(LateCounts::default(), true, at(184), at(185));
        assert_eq!(owed.begin(at(186), &SETTINGS), owing(&[(120, 185)], 185));
        // Cut short: all of it is owed again, and what was evaluated meanwhile may have missed what it corrected.
        owed.end(LateCounts::default(), false, at(186), at(187));
        owed.forget_before(TimestampMs(150));
        assert_eq!(owed.begin(at(197), &SETTINGS), owing(&[(150, 185)], 186));
        let counts = owed.counts();
        assert_eq!((counts.passes, counts.broken, counts.too_old), (1, 1, 1));
    }
}
