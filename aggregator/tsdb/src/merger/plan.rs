//! What to merge next: a pure choice from what the catalogue says of a shard's partitions.
//!
//! - A **span** (two hours) that is settled is merged into one file, unless its day is.
//! - A span that is still written is merged when it has [`OPEN_FILES_MAX`] files, so that queries do not slow down.
//! - A **day** that is settled is merged into one file per class. What comes later is merged into that when it has grown to an eighth of
//!   it, or when nothing has come for some hours: never again and again for a trickle.
//! - A day that is not split by class, since there were no classes or others, is merged once more.
//! - A file that deletes hit is rewritten alone when that is asked for, or a tier is to be made of it.
//!
//! Files are weighed by their samples: small ones have many bytes that are not samples'.
//!
//! Whatever is merged lies together in the log: files are taken from the newest backwards, without leaving one out.

use std::collections::BTreeMap;

use model::{TimeRange, TimestampMs};

use crate::catalogue::{Level, PartitionEntry, Tier};
use crate::seal::{SPAN_MS, span_of};

/// How long a day is.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Files of a span that is still written.
const OPEN_FILES_MAX: usize = 6;
/// Late files of a span, before they become one.
const LATE_FILES_MAX: usize = 4;
/// Late data is merged into a day's files when it is this much of them.
const GROWTH: u64 = 8;
/// Late data of less is merged in when nothing has come for so long.
const QUIET_MS: i64 = 6 * 60 * 60 * 1_000;
/// A head that still has samples of a span is waited for no longer than this.
const HEAD_PATIENCE_MS: i64 = 4 * 60 * 60 * 1_000;
/// Files of one merge.
const INPUTS_MAX: usize = 64;

/// A partition that may be merged.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) entry: &'a PartitionEntry,
    /// When this process first saw it.
    pub(crate) seen: TimestampMs,
    /// Whether deletes hit it that are to be carried out in it now.
    pub(crate) rewrite: bool,
    /// Whether it cannot be merged: it cannot be read.
    pub(crate) barred: bool,
}

/// What of a shard is to become one file per class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) level: Level,
    pub(crate) span: TimeRange,
    pub(crate) inputs: Vec<String>,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: TimestampMs,
    /// The oldest sample that is still in the shard's heads.
    pub(crate) head: Option<TimestampMs>,
    pub(crate) slack_ms: i64,
    /// Whether there are retention classes, by which files are split.
    pub(crate) split: bool,
}

impl Moment {
    /// Returns whether little more is to be expected of the time before `end`.
    fn settled(&self, end: TimestampMs) -> bool {
        let past = self.now.0.saturating_sub(end.0);
        let in_head = self.head.is_some_and(|oldest| oldest <= end);
        past >= self.slack_ms && (!in_head || past >= HEAD_PATIENCE_MS)
    }
}

/// Returns what to merge next of one shard's partitions.
pub(crate) fn plan(candidates: &[Candidate<'_>], moment: Moment) -> Option<Plan> {
    let mut days: BTreeMap<i64, Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in candidates {
        if candidate.entry.tier == Tier::Raw {
            let day = candidate.entry.times.start.0.div_euclid(DAY_MS);
            days.entry(day).or_default().push(candidate);
        }
    }
    // The newest first: that is where queries look.
    days.into_iter().rev().find_map(|(day, mut files)| {
        if files.iter().any(|file| file.barred) {
            return None;
        }
        files.sort_by_key(|file| (file.entry.until, file.name));
        of_day(day, &files, moment).or_else(|| {
            let hit = files.iter().find(|file| file.rewrite)?;
            Some(rewrite(hit))
        })
    })
}

fn span_plan(level: Level, number: i64, width: i64, inputs: &[&Candidate<'_>]) -> Plan {
    let start = number.saturating_mul(width);
    Plan {
        level,
        span: TimeRange::new(
            TimestampMs(start),
            TimestampMs(start.saturating_add(width - 1)),
        ),
        inputs: inputs.iter().map(|file| file.name.to_owned()).collect(),
    }
}

fn rewrite(file: &Candidate<'_>) -> Plan {
    let start = file.entry.times.start;
    match file.entry.level {
        Level::Day => span_plan(Level::Day, start.0.div_euclid(DAY_MS), DAY_MS, &[file]),
        level => span_plan(level, span_of(start), SPAN_MS, &[file]),
    }
}

/// `files` are in order of the log.
fn of_day(day: i64, files: &[&Candidate<'_>], moment: Moment) -> Option<Plan> {
    let end = TimestampMs(
        day.saturating_add(1)
            .saturating_mul(DAY_MS)
            .saturating_sub(1),
    );
    let is_day = |file: &&&Candidate<'_>| file.entry.level == Level::Day;
    let daily: u64 = files
        .iter()
        .filter(is_day)
        .map(|file| file.entry.samples)
        .sum();
    let late: Vec<&Candidate<'_>> = files.iter().filter(|file| !is_day(file)).copied().collect();
    if late.is_empty() {
        let unsplit = moment.split && files.iter().any(|file| file.entry.class.is_empty());
        return unsplit.then(|| span_plan(Level::Day, day, DAY_MS, files));
    }
    if moment.settled(end) && files.len() <= INPUTS_MAX {
        let grown: u64 = late.iter().map(|file| file.entry.samples).sum();
        let quiet = late.iter().map(|file| file.seen).max();
        let quiet = quiet.is_some_and(|seen| moment.now.0.saturating_sub(seen.0) >= QUIET_MS);
        if daily == 0 || grown >= daily / GROWTH || quiet {
            return Some(span_plan(Level::Day, day, DAY_MS, files));
        }
    }
    let mut spans: BTreeMap<i64, Vec<&Candidate<'_>>> = BTreeMap::new();
    for file in late {
        let span = span_of(file.entry.times.start);
        spans.entry(span).or_default().push(file);
    }
    spans.into_iter().rev().find_map(|(span, files)| {
        let end = TimestampMs(
            span.saturating_add(1)
                .saturating_mul(SPAN_MS)
                .saturating_sub(1),
        );
        let first = if moment.settled(end) {
            settled_from(&files)
        } else {
            open_from(&files)
        };
        let inputs = files.get(first?..)?;
        (distinct(inputs) > 1).then(|| span_plan(Level::Span, span, SPAN_MS, inputs))
    })
}

/// Counts files, those of several classes from one merge as one: merging them would not make fewer.
fn distinct(files: &[&Candidate<'_>]) -> usize {
    let mut until: Vec<u64> = files.iter().map(|file| file.entry.until).collect();
    until.dedup();
    until.len()
}

/// Returns from which file on a span that is settled is merged: from the first, unless the rest is little beside it and few.
fn settled_from(files: &[&Candidate<'_>]) -> Option<usize> {
    let merged = files.iter().filter(|file| file.entry.level == Level::Span);
    let merged: u64 = merged.map(|file| file.entry.samples).sum();
    let fresh = files
        .iter()
        .filter(|file| file.entry.level == Level::Sealed);
    let fresh: u64 = fresh.map(|file| file.entry.samples).sum();
    if files.len() <= INPUTS_MAX && (merged == 0 || fresh >= merged / GROWTH) {
        return Some(0);
    }
    newest(files, LATE_FILES_MAX)
}

/// Returns from which file on a span that is still written is merged.
fn open_from(files: &[&Candidate<'_>]) -> Option<usize> {
    newest(files, OPEN_FILES_MAX)
}

/// Returns where the newest files begin that are to become one: at least `count`, and older ones as long as they are not much larger than
/// all newer ones together, so that each sample is merged a number of times that grows with the logarithm of their number only.
fn newest(files: &[&Candidate<'_>], count: usize) -> Option<usize> {
    if distinct(files) < count {
        return None;
    }
    let mut first = files.len();
    let mut samples = 0;
    while let Some(file) = first.checked_sub(1).and_then(|before| files.get(before)) {
        let taken = files.len() - first;
        if taken >= INPUTS_MAX {
            break;
        }
        let same = files.get(first).map(|next| next.entry.until) == Some(file.entry.until);
        if taken >= 2 && !same && file.entry.samples > samples * 2 {
            break;
        }
        samples += file.entry.samples;
        first -= 1;
    }
    (files.len() - first >= 2).then_some(first)
}
