//! What late rows have changed is evaluated again.
//!
//! 1. The store tells of spans of which late rows came; what lies too far back is dropped, the rest is **owed**, and kept, so that a crash
//!    forgets none of it. More spans than [`Spans::MOST`] become fewer and longer ones.
//! 2. When no more have come for a while, or the first has waited for long, a [`LatePass`] takes all that is owed. It goes through the times
//!    at which groups were evaluated, or would have been had nobody been away, in their order over all groups. It evaluates a group again where
//!    it looks at an owed span and has missed the rows ([`Owing::missed_until`]), looks at what another group has corrected, or goes on from
//!    what it has corrected itself (stale marks, alerts). So groups that read what others record come behind them, and where nothing is
//!    corrected any more nothing is evaluated. Of the time before a group was loaded first there is nothing to correct.
//! 3. Where a group has come to its last evaluation, the live one goes on from there.
//!
//! The pass is walked step by step, one evaluation of a group each, by whoever sees to its pace. One that is cut short, by a crash or an
//! error, is walked again from its beginning. What it has corrected needs no correction then, and what follows from that may still do; so the
//! times of its corrections are owed like late rows, and kept before the first sample of them is corrected ([`Account::will_correct`]).
//!
//! All groups count as readers of all late rows, for these have no names; of what rules record only those that may read it. A group sees
//! what is stored now: of another group's samples also those that were not there yet at the time, when it looks further ahead than that group's
//! query offset lets samples come. Groups that read what others record have best the same query offset.

mod account;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Matcher, Spans, TimeRange, TimestampMs};
use promql::{ParserOptions, Reach};

pub(crate) use self::account::{Account, Owing};
use crate::alert::AlertSink;
use crate::dependencies::Reads;
use crate::group::{Again, Group};
use crate::rules::Entry;
use crate::world::{Queries, RecordedSample, Recorder, Settings, World};

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
    /// Passes that were cut short, by an error or a reload.
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

/// A walk through the past.
pub struct LatePass {
    account: Arc<Account>,
    owing: Owing,
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
        (account, owing): (Arc<Account>, Owing),
        groups: Vec<(Arc<Entry>, Group)>,
        settings: Arc<Settings>,
        sink: Arc<dyn AlertSink>,
        parser: ParserOptions,
    ) -> Self {
        let reads: Vec<Vec<Reads>> = (groups.iter())
            .map(|(_, group)| group.reads(parser))
            .collect();
        let start = owing.spans.as_slice().first().map(|first| first.start);
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
                let first = group.first_looking_at(sees.min(start));
                first.max(group.first_due())
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
            account,
            owing,
            settings,
            sink,
            counts: LateCounts::default(),
        }
    }

    /// Evaluates the next group that is affected; returns whether there was one. After an error the pass is to be ended.
    pub fn step(&mut self, queries: &dyn Queries, recorder: &dyn Recorder) -> Result<bool, String> {
        while let Some(index) = self.next_member() {
            let at = self.members[index].next;
            let is_fed = self.is_fed(index, at);
            if is_fed || self.goes_on_from_else(index, at) {
                self.evaluate(index, at, is_fed, queries, recorder)?;
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

    /// Whether a group may see something else as of `at` than it has seen.
    fn is_fed(&self, index: usize, at: TimestampMs) -> bool {
        let member = &self.members[index];
        let around = |reach: Reach| reach.around(member.group.looks_at(at));
        let corrected = |other: &usize| &self.members[*other].corrected;
        member.reach.map(around).is_some_and(|seen| {
            let mut corrected = member.reads.iter().map(corrected);
            let missed = at <= self.owing.missed_until && self.owing.spans.overlap(seen);
            missed || corrected.any(|spans| spans.overlap(seen))
        })
    }

    /// Whether a group goes on as of `at` from something else than it went on from. This pass has seen to that, or one that was cut short.
    fn goes_on_from_else(&self, index: usize, at: TimestampMs) -> bool {
        let member = &self.members[index];
        let before = at.saturating_sub(member.group.interval());
        let stored = member.group.looks_at(before);
        let spans = &self.owing.spans;
        member.is_disturbed || spans.overlap(TimeRange::new(stored, stored))
    }

    fn evaluate(
        &mut self,
        index: usize,
        at: TimestampMs,
        is_fed: bool,
        queries: &dyn Queries,
        recorder: &dyn Recorder,
    ) -> Result<(), String> {
        let member = &mut self.members[index];
        let interval = member.group.interval();
        let before = at.saturating_sub(interval);
        let recorder = Announcing {
            recorder,
            account: &self.account,
        };
        let world = World {
            queries,
            recorder: &recorder,
            settings: &self.settings,
        };
        if member.stands_at != Some(before) {
            member.group.recall(before, &world)?;
        }
        let Again {
            corrected,
            failures,
        } = member.group.evaluate_again(at, &world, &*self.sink)?;
        let looked_at = member.group.looks_at(at);
        if corrected > 0 {
            member.corrected.add(TimeRange::new(looked_at, looked_at));
        }
        // Even where nothing was to be corrected: a pass that was cut short may have done so, and nobody has learned of it.
        let is_learned = member.entry.learn(&member.group, at);
        let is_else = corrected > 0 || !member.group.is_settled(is_fed);
        member.is_disturbed = is_else && !is_learned;
        member.stands_at = Some(at);
        member.next = at.saturating_add(interval);
        self.counts.evaluations += 1;
        self.counts.failures += failures;
        self.counts.corrected += corrected;
        Ok(())
    }

    pub(crate) const fn counts(&self) -> LateCounts {
        self.counts
    }

    /// Returns the groups that it goes through.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.members.iter().map(|member| &*member.entry)
    }
}

/// Corrects what is owed by then.
#[derive(Debug)]
struct Announcing<'a> {
    recorder: &'a dyn Recorder,
    account: &'a Account,
}

impl Recorder for Announcing<'_> {
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        self.recorder.record(samples)
    }

    fn recorded(
        &self,
        matchers: &[Matcher],
        at: TimestampMs,
    ) -> Result<Vec<RecordedSample>, String> {
        self.recorder.recorded(matchers, at)
    }

    fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        let times: BTreeSet<TimestampMs> = samples.iter().map(|sample| sample.at).collect();
        (times.into_iter()).try_for_each(|at| self.account.will_correct(at))?;
        self.recorder.correct(samples)
    }
}

impl fmt::Debug for LatePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatePass")
            .field("owing", &self.owing)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
