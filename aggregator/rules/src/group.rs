//! A group: rules evaluated together, in order, at times of their own.
//!
//! An evaluation goes wave by wave (see [`crate::dependencies`]): the questions of a wave are asked together, what its rules make of the
//! answers is stored, and the next wave sees it. Time is handed in; the only effects are those of the [`World`].

mod again;
mod apart;
mod kept;
mod reload;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::{Labels, TimestampMs};
use promql::ast::Expr;
use promql::{ParserOptions, Reach, related};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use self::again::Again;
pub(crate) use self::apart::keep_apart;
pub(crate) use self::kept::{Change, GroupId, RuleId, group_id};
pub use self::view::{AlertView, GroupView, RuleView};
use crate::alert::{AlertState, Notice};
use crate::dependencies::{Reads, may_read, reads_of, waves};
use crate::file::GroupSpec;
use crate::rule::{Health, Instant, Rule, ends};
use crate::world::{Question, RecordedSample, Settings, World};

/// When nobody looked for longer than this beyond two intervals, the time does not count for an alert that was pending.
const UNSEEN_MAX: Duration = Duration::from_mins(2);

/// The name of a group: the file and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The file.
    pub file: PathBuf,
    /// The name.
    pub name: String,
}

impl GroupKey {
    /// Returns a short name for the group, for paging through groups.
    pub fn token(&self) -> String {
        format!("{:032x}", group_id(self))
    }
}

/// A group and all that its rules have come to.
#[derive(Debug)]
pub struct Group {
    key: GroupKey,
    interval: Duration,
    /// The milliseconds from the beginning of each interval, counted from 1970, to the evaluation.
    phase: i64,
    query_offset: Duration,
    limit: usize,
    rules: Vec<Rule>,
    waves: Vec<Wave>,
    /// Series of rules that are no more, to be ended.
    abandoned: Vec<Labels>,
    /// When it was loaded first, in whichever run.
    pub(crate) known_since: TimestampMs,
    /// When it was evaluated last, in this run or, until the first of it, in the one before.
    seen_at: Option<TimestampMs>,
    /// When `seen_at` was kept.
    seen_kept: Option<TimestampMs>,
    /// Whether `seen_at` is of the run before.
    is_restored: bool,
    last: Option<Pass>,
    counts: Counts,
}

/// Rules that are evaluated together.
#[derive(Clone, Debug)]
struct Wave {
    rules: Vec<usize>,
    /// By rule: see [`Question::kin`].
    kin: Vec<usize>,
}

/// One evaluation.
#[derive(Clone, Copy, Debug)]
struct Pass {
    at: TimestampMs,
    took: Duration,
    samples: usize,
}

/// What a group counts from its start, reloads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Evaluations of the group.
    pub iterations: u64,
    /// Evaluations that were due and did not happen.
    pub missed: u64,
    /// Evaluations of rules.
    pub evaluations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Samples that the store refused.
    pub refused: u64,
}

impl Group {
    /// Returns a group that has not been evaluated. Groups of the same interval spread over it by their names, the same in every run.
    pub fn new(file: PathBuf, spec: GroupSpec, settings: &Settings, parser: ParserOptions) -> Self {
        let mut by_wave: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (rule, wave) in waves(&spec.rules, parser).into_iter().enumerate() {
            by_wave.entry(wave).or_default().push(rule);
        }
        let wave = |rules: Vec<usize>| {
            let exprs: Vec<&Expr> = rules.iter().map(|rule| &*spec.rules[*rule].expr).collect();
            let kin = related(&exprs);
            Wave { rules, kin }
        };
        let waves = by_wave.into_values().map(wave).collect();
        let interval = spec.interval.unwrap_or(settings.interval);
        let name = format!("{}\0{}", file.display(), spec.name);
        let phase = xxh3_64(name.as_bytes()) % interval_ms(interval).unsigned_abs();
        Self {
            key: GroupKey {
                file,
                name: spec.name,
            },
            interval,
            phase: i64::try_from(phase).unwrap_or(0),
            query_offset: spec.query_offset.unwrap_or(settings.query_offset),
            limit: spec.limit,
            rules: spec.rules.into_iter().map(Rule::new).collect(),
            waves,
            abandoned: Vec::new(),
            known_since: TimestampMs(0),
            seen_at: None,
            seen_kept: None,
            is_restored: false,
            last: None,
            counts: Counts::default(),
        }
    }

    /// Returns the group's name.
    pub const fn key(&self) -> &GroupKey {
        &self.key
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the time between two evaluations.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the last time not after `now` at which the group is to be evaluated.
    pub fn due_before(&self, now: TimestampMs) -> TimestampMs {
        let since = now.0.saturating_sub(self.phase);
        TimestampMs(now.0 - since.rem_euclid(self.interval_ms()))
    }

    /// Returns the first time after `now` at which the group is to be evaluated.
    pub fn due_after(&self, now: TimestampMs) -> TimestampMs {
        self.due_before(now).saturating_add(self.interval)
    }

    /// Returns the first time at which the group was to be evaluated, in whichever run.
    pub(crate) fn first_due(&self) -> TimestampMs {
        self.due_after(TimestampMs(self.known_since.0.saturating_sub(1)))
    }

    /// Returns the first evaluation that looks at `at` or later as its present.
    pub(crate) fn first_looking_at(&self, at: TimestampMs) -> TimestampMs {
        let at = at.saturating_add(self.query_offset);
        self.due_after(TimestampMs(at.0.saturating_sub(1)))
    }

    /// Returns how far all rules look; `None`: none looks at samples.
    pub(crate) fn reach(&self, lookback: Duration) -> Option<Reach> {
        let reaches = (self.rules.iter()).filter_map(|rule| Reach::of(&rule.spec.expr, lookback));
        reaches.reduce(Reach::union)
    }

    /// Returns what the rules look at.
    pub(crate) fn reads(&self, parser: ParserOptions) -> Vec<Reads> {
        let rules = self.rules.iter();
        rules.map(|rule| reads_of(&rule.spec, parser)).collect()
    }

    /// Returns whether any of those reads may be of what the rules write.
    pub(crate) fn may_feed(&self, reads: &[Reads]) -> bool {
        let fed = |rule: &Rule| reads.iter().any(|reads| may_read(reads, &rule.spec));
        self.rules.iter().any(fed)
    }

    fn interval_ms(&self) -> i64 {
        interval_ms(self.interval)
    }

    /// Evaluates all rules as of `at`, which is later than the time before; returns the alerts to tell of.
    pub fn evaluate(&mut self, at: TimestampMs, world: &World<'_>) -> Vec<Notice> {
        self.settle_absence(at);
        self.count_missed(at);
        if self.last.is_none() {
            self.recall_written(at, world);
        }
        let instant = Instant {
            at,
            looks_at: at.saturating_sub(self.query_offset),
        };
        let mut pass = Pass {
            at,
            took: Duration::ZERO,
            samples: 0,
        };
        let mut notices = Vec::new();
        for wave in 0..self.waves.len() {
            notices.extend(self.evaluate_wave(wave, instant, world, &mut pass));
        }
        self.end_abandoned(instant.looks_at, world);
        self.seen_at = Some(at);
        self.counts.iterations += 1;
        self.last = Some(pass);
        notices
    }

    fn evaluate_wave(
        &mut self,
        wave: usize,
        instant: Instant,
        world: &World<'_>,
        pass: &mut Pass,
    ) -> Vec<Notice> {
        let answers = world.queries.answer(self.questions(wave, instant));
        let members = &self.waves[wave].rules;
        let (mut samples, mut notices) = (Vec::new(), Vec::new());
        let mut shares = Vec::with_capacity(members.len());
        for (index, answer) in members.iter().zip(answers) {
            let (rule, begin) = (&mut self.rules[*index], samples.len());
            pass.took += answer.took;
            samples.extend(rule.take(answer, instant, self.limit, world));
            // Whether its samples can be stored does not matter to those whom it wakes.
            if rule.last.health == Health::Good {
                notices.extend(rule.notices(instant.at, self.interval, world.settings));
            }
            shares.push((*index, begin..samples.len()));
        }
        pass.samples += samples.len();
        match record(&samples, world) {
            Ok(refused) => self.counts.refused += refused,
            Err(error) => {
                for (index, share) in &shares {
                    self.rules[*index].not_stored(&samples[share.clone()], &error);
                }
            }
        }
        self.counts.evaluations += shares.len() as u64;
        let failed = |index: usize| matches!(self.rules[index].last.health, Health::Bad(_));
        self.counts.failures += shares.iter().filter(|(index, _)| failed(*index)).count() as u64;
        notices
    }

    fn questions(&self, wave: usize, instant: Instant) -> Vec<Question> {
        let Wave { rules, kin } = &self.waves[wave];
        let ask =
            |(rule, kin): (&usize, &usize)| self.rules[*rule].question(instant.looks_at, *kin);
        rules.iter().zip(kin).map(ask).collect()
    }

    fn end_abandoned(&mut self, at: TimestampMs, world: &World<'_>) {
        if self.abandoned.is_empty() {
            return;
        }
        let ended: Vec<RecordedSample> = ends(self.abandoned.iter().cloned(), at).collect();
        if record(&ended, world).is_ok() {
            self.abandoned.clear();
        }
    }

    fn count_missed(&mut self, at: TimestampMs) {
        let Some(seen_at) = self.seen_at else {
            return;
        };
        let steps = at.0.saturating_sub(seen_at.0) / self.interval_ms();
        self.counts.missed += u64::try_from(steps - 1).unwrap_or(0);
    }

    /// Time in which nobody looked does not count for alerts that were pending: nobody knows whether their conditions held.
    fn settle_absence(&mut self, at: TimestampMs) {
        if !std::mem::take(&mut self.is_restored) {
            return;
        }
        let Some(seen_at) = self.seen_at.take() else {
            return;
        };
        let unseen = at.0.saturating_sub(seen_at.0);
        let tolerated = self.interval * 2 + UNSEEN_MAX;
        if u128::from(unseen.max(0).unsigned_abs()) <= tolerated.as_millis() {
            return;
        }
        let interval = self.interval_ms();
        for rule in &mut self.rules {
            for tracked in rule.alerts.values_mut() {
                if tracked.alert.state == AlertState::Pending {
                    tracked.alert.active_at.0 += unseen - interval;
                    tracked.changed = true;
                }
            }
        }
    }
}

fn interval_ms(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis())
        .unwrap_or(i64::MAX)
        .max(1)
}

fn record(samples: &[RecordedSample], world: &World<'_>) -> Result<u64, String> {
    if samples.is_empty() {
        return Ok(0);
    }
    world.recorder.record(samples)
}

#[cfg(test)]
mod tests;
