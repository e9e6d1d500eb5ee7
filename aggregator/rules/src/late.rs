//! What late rows have changed is evaluated again.
//!
//! 1. The store tells of spans of which late rows came; what lies too far back is dropped, the rest is **owed**, and kept, so that a crash
//!    forgets none of it. More spans than [`Spans::MOST`] become fewer and longer ones.
//! 2. When no more have come for a while, or the first has waited for long, a [`LatePass`] takes all that is owed. It goes through the times
//!    at which groups were evaluated, in their order over all groups, and evaluates a group again where it looks at an owed span, at what
//!    another group has corrected, or goes on from what it has corrected itself (stale marks, alerts). So groups that read what others
//!    record come behind them, and where nothing is corrected any more nothing is evaluated.
//! 3. Where a group has come to its last evaluation, the live one goes on from there.
//!
//! The pass is walked step by step, one evaluation of a group each, by whoever sees to its pace. One that is cut short, by a crash or an
//! error, is walked again from its beginning: what is corrected already needs no correction.
//!
//! All groups count as readers of all late rows, for these have no names; of what rules record only those that may read it. A group sees
//! what is stored now: of another group's samples also those that were not there yet at the time, when it looks further ahead than that group's
//! query offset lets samples come. Groups that read what others record have best the same query offset.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Spans, TimeRange, TimestampMs};
use promql::{ParserOptions, Reach};

use crate::alert::AlertSink;
use crate::dependencies::Reads;
use crate::group::{Again, Group};
use crate::rules::Entry;
use crate::world::{Queries, Recorder, Settings, World};

/// What becomes of late rows.
#[derive(Clone, Copy, Debug)]
pub struct LateSettings {
    /// How far back rules are evaluated again; zero: never.
    pub back: Duration,
    /// So long no more late rows must have come.
    pub settle: Duration,
    /// After so long those that came first wait no more.
    pub delay_max: Duration,
    /// How old the newest sample of a series may be for questions to see it.
    pub lookback: Duration,
}

impl Default for LateSettings {
    /// Returns a day, half a minute, ten minutes, and Prometheus' look-back.
    fn default() -> Self {
        Self {
            back: Duration::from_hours(24),
            settle: Duration::from_secs(30),
            delay_max: Duration::from_mins(10),
            lookback: Duration::from_mins(5),
        }
    }
}

/// What is counted of late rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateCounts {
    /// Spans that are owed.
    pub owed: usize,
    /// Passes that were walked to their end.
    pub passes: u64,
    /// Passes that were cut short by an error.
    pub broken: u64,
    /// Evaluations of groups.
    pub evaluations: u64,
    /// Rules that failed in them.
    pub failures: u64,
    /// Samples that were corrected.
    pub corrected: u64,
    /// Times that spans were dropped, or cut, for they lay too far back.
    pub too_old: u64,
}

/// What is owed.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// What came since the pass under way began, if one is.
    waiting: Spans,
    /// When the first and the last of it came.
    came: Option<(TimestampMs, TimestampMs)>,
    /// What the pass under way is for.
    under_way: Spans,
    counts: LateCounts,
}

impl Owed {
    /// Adds spans.
    pub(crate) fn add(&mut self, spans: &Spans, now: TimestampMs) {
        if !spans.is_empty() {
            self.waiting.add_all(spans);
            let first = self.came.map_or(now, |(first, _)| first);
            self.came = Some((first, now));
        }
    }

    /// Drops what lies before `start`.
    pub(crate) fn forget_before(&mut self, start: TimestampMs) {
        if self.waiting.forget_before(start) {
            self.counts.too_old += 1;
        }
    }

    /// Returns what a pass is to be for, if it is time.
    pub(crate) fn begin(&mut self, now: TimestampMs, settings: &LateSettings) -> Option<Spans> {
        let (first, last) = self.came?;
        let since = |at: TimestampMs| u128::from(now.0.saturating_sub(at.0).max(0).unsigned_abs());
        let is_time = since(last) >= settings.settle.as_millis()
            || since(first) >= settings.delay_max.as_millis();
        if !is_time || !self.under_way.is_empty() || self.waiting.is_empty() {
            return None;
        }
        self.came = None;
        self.under_way = std::mem::take(&mut self.waiting);
        Some(self.under_way.clone())
    }

    /// Ends the pass under way; what one was for that was cut short is owed again.
    pub(crate) fn end(&mut self, pass: LateCounts, is_done: bool, now: TimestampMs) {
        let spans = std::mem::take(&mut self.under_way);
        self.counts.evaluations += pass.evaluations;
        self.counts.failures += pass.failures;
        self.counts.corrected += pass.corrected;
        if is_done {
            self.counts.passes += 1;
        } else {
            self.counts.broken += 1;
            self.add(&spans, now);
        }
    }

    pub(crate) fn counts(&self) -> LateCounts {
        LateCounts {
            owed: self.all().as_slice().len(),
            ..self.counts
        }
    }

    /// Returns all that is owed.
    pub(crate) fn all(&self) -> Spans {
        let mut all = self.under_way.clone();
        all.add_all(&self.waiting);
        all
    }
}

/// A walk through the past.
pub struct LatePass {
    spans: Spans,
    members: Vec<Member>,
    settings: Arc<Settings>,
    sink: Arc<dyn AlertSink>,
    counts: LateCounts,
}

/// A group in a pass.
struct Member {
    entry: Arc<Entry>,
    group: Group,
    /// `None`: it looks at no samples.
    reach: Option<Reach>,
    /// Which others may write what it reads.
    reads: Vec<usize>,
    /// When it is to be looked at next.
    next: TimestampMs,
    /// The evaluation that `group` has come to; `None`: to none.
    stands_at: Option<TimestampMs>,
    /// Whether the next evaluation goes on from something else than was stored.
    is_disturbed: bool,
    /// Where it corrected samples.
    corrected: Spans,
}

impl LatePass {
    /// Returns a walk for these spans through all groups.
    pub(crate) fn new(
        spans: Spans,
        groups: Vec<(Arc<Entry>, Group)>,
        settings: Arc<Settings>,
        sink: Arc<dyn AlertSink>,
        parser: ParserOptions,
    ) -> Self {
        let reads: Vec<Vec<Reads>> = (groups.iter())
            .map(|(_, group)| group.reads(parser))
            .collect();
        let start = spans.as_slice().first().map(|first| first.start);
        let readers = |index: usize| {
            let may = |(other, (_, writer)): (usize, &(Arc<Entry>, Group))| {
                (other != index && writer.may_feed(&reads[index])).then_some(other)
            };
            groups.iter().enumerate().filter_map(may).collect()
        };
        let read: Vec<Vec<usize>> = (0..groups.len()).map(readers).collect();
        let member = |((entry, group), reads): ((Arc<Entry>, Group), Vec<usize>)| {
            let reach = group.reach(settings.late.lookback);
            let first = start.map_or(TimestampMs::MAX, |start| {
                let sees = reach.map_or(start, |reach| reach.first_to_see(start));
                group.first_looking_at(sees)
            });
            Member {
                entry,
                next: first,
                group,
                reach,
                reads,
                stands_at: None,
                is_disturbed: false,
                corrected: Spans::default(),
            }
        };
        Self {
            members: groups.into_iter().zip(read).map(member).collect(),
            spans,
            settings,
            sink,
            counts: LateCounts::default(),
        }
    }

    /// Evaluates the next group that is affected; returns whether there was one. After an error the pass is to be ended.
    pub fn step(&mut self, queries: &dyn Queries, recorder: &dyn Recorder) -> Result<bool, String> {
        while let Some(index) = self.next_member() {
            let at = self.members[index].next;
            if self.is_affected(index, at) {
                self.evaluate(index, at, queries, recorder)?;
                return Ok(true);
            }
            let member = &mut self.members[index];
            member.stands_at = None;
            member.next = at.saturating_add(member.group.interval());
        }
        Ok(false)
    }

    /// Returns the group that comes next of those that have been evaluated live by then.
    fn next_member(&self) -> Option<usize> {
        let members = self.members.iter().enumerate();
        let past = members.filter(|(_, member)| member.next <= member.entry.evaluated_until());
        past.min_by_key(|(_, member)| member.next)
            .map(|(index, _)| index)
    }

    fn is_affected(&self, index: usize, at: TimestampMs) -> bool {
        let member = &self.members[index];
        let looks_at = member.group.looks_at(at);
        let seen = member.reach.map(|reach| reach.around(looks_at));
        member.is_disturbed
            || seen.is_some_and(|seen| {
                let fed = |other: &usize| self.members[*other].corrected.overlap(seen);
                self.spans.overlap(seen) || member.reads.iter().any(fed)
            })
    }

    fn evaluate(
        &mut self,
        index: usize,
        at: TimestampMs,
        queries: &dyn Queries,
        recorder: &dyn Recorder,
    ) -> Result<(), String> {
        let world = World {
            queries,
            recorder,
            settings: &self.settings,
        };
        let member = &mut self.members[index];
        let before = at.saturating_sub(member.group.interval());
        if member.stands_at != Some(before) {
            member.group.recall(before, &world)?;
        }
        let Again {
            corrected,
            failures,
            amendments,
        } = member.group.evaluate_again(at, &world)?;
        let looked_at = member.group.looks_at(at);
        if corrected > 0 {
            member.corrected.add(TimeRange::new(looked_at, looked_at));
        }
        member.is_disturbed = corrected > 0 || !member.group.is_settled();
        if member.is_disturbed && member.entry.learn(&member.group, at) {
            member.is_disturbed = false;
        }
        member.stands_at = Some(at);
        member.next = at.saturating_add(member.group.interval());
        self.counts.evaluations += 1;
        self.counts.failures += failures;
        self.counts.corrected += corrected;
        if !amendments.is_empty() {
            self.sink.amend(amendments);
        }
        Ok(())
    }

    pub(crate) const fn counts(&self) -> LateCounts {
        self.counts
    }
}

impl fmt::Debug for LatePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatePass")
            .field("spans", &self.spans)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
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
        let mut owed = Owed::default();
        assert_eq!(owed.begin(at(0), &SETTINGS), None);
        owed.add(&spans(&[(1, 2)]), at(100));
        assert_eq!(owed.begin(at(109), &SETTINGS), None);
        owed.add(&spans(&[(4, 5)]), at(109));
        assert_eq!(owed.begin(at(118), &SETTINGS), None);
        assert_eq!(
            owed.begin(at(119), &SETTINGS),
            Some(spans(&[(1, 2), (4, 5)]))
        );
        for second in 120..=185 {
            owed.add(&spans(&[(second, second)]), at(second));
            assert_eq!(owed.begin(at(second), &SETTINGS), None, "one at a time");
        }
        assert_eq!(owed.all().as_slice().len(), 3);
        owed.end(LateCounts::default(), true, at(185));
        assert_eq!(owed.begin(at(186), &SETTINGS), Some(spans(&[(120, 185)])));
        // Cut short: all of it is owed again.
        owed.end(LateCounts::default(), false, at(187));
        owed.forget_before(TimestampMs(150));
        assert_eq!(owed.begin(at(197), &SETTINGS), Some(spans(&[(150, 185)])));
        let counts = owed.counts();
        assert_eq!((counts.passes, counts.broken, counts.too_old), (1, 1, 1));
    }
}
