//! Which tier to make next: a pure choice from what the catalogue says of a shard's partitions.
//!
//! The tiers of a day are made when its samples are merged, one file per retention class, and made anew when these files have changed: late
//! rows were merged into them, or deletes carried out. They are left alone once samples of the day are gone, for then what is left is
//! not what the tier sums up; the catalogue notes that in the tier when it lets the samples go.

use std::collections::{BTreeMap, BTreeSet};

use model::{TimeRange, TimestampMs};

use crate::catalogue::{Level, PartitionEntry, Tier};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Returns the number of the day that a file is of.
pub(crate) const fn day_of(entry: &PartitionEntry) -> i64 {
    day_of_time(entry.times.start)
}

/// Returns the number of the day that a moment is of.
pub(crate) const fn day_of_time(at: TimestampMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// Returns the times of a day.
pub(crate) const fn day_range(day: i64) -> TimeRange {
    let start = day.saturating_mul(DAY_MS);
    TimeRange::new(
        TimestampMs(start),
        TimestampMs(start.saturating_add(DAY_MS - 1)),
    )
}

/// A tier to be made of the samples of a shard's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TierPlan {
    pub(crate) tier: Tier,
    pub(crate) span: TimeRange,
    /// The files of samples.
    pub(crate) inputs: Vec<String>,
    /// The tier of before, which goes.
    pub(crate) replaces: Option<String>,
    /// The times of the samples.
    pub(crate) times: TimeRange,
    pub(crate) made_of: MadeOf,
}

#[derive(Default)]
struct Day<'a> {
    samples: Vec<(&'a String, &'a PartitionEntry)>,
    tiers: Vec<(&'a String, &'a PartitionEntry)>,
}

impl<'a> Day<'a> {
    /// Returns the files by shard and day.
    fn each(
        files: impl Iterator<Item = (&'a String, &'a PartitionEntry)>,
    ) -> BTreeMap<(u16, i64), Self> {
        let mut days: BTreeMap<(u16, i64), Self> = BTreeMap::new();
        for (name, entry) in files {
            let day = days.entry((entry.shard, day_of(entry))).or_default();
            if entry.tier == Tier::Raw {
                day.samples.push((name, entry));
            } else {
                day.tiers.push((name, entry));
            }
        }
        days
    }

    fn state_of(&self, tier: &PartitionEntry) -> State {
        State::of(tier, self.samples.iter().map(|(_, entry)| *entry))
    }

    /// Returns the tiers that are to be made of the day's samples, if `kept` says that they are kept, each with the one of before, `stale`
    /// ones in any case. None is once any is bereft: it would be of what is left.
    fn wanted(
        &self,
        range: TimeRange,
        kept: impl Fn(Tier, TimeRange) -> bool,
        stale: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (Tier, Option<&'a String>)> {
        let states = self.tiers.iter().map(|(_, tier)| self.state_of(tier));
        let whole = !self.samples.is_empty() && !states.clone().any(|one| one == State::Bereft);
        let standing = self.tiers.iter().zip(states);
        let tiers = [Tier::Minutes5, Tier::Hour].into_iter();
        let kept = tiers.filter(move |tier| whole && kept(*tier, range));
        kept.filter_map(move |tier| {
            match standing.clone().find(|((_, entry), _)| entry.tier == tier) {
                Some(((before, _), State::Current)) if !stale(before) => None,
                Some(((before, _), _)) => Some((tier, Some(*before))),
                None => Some((tier, None)),
            }
        })
    }
}

/// Returns the days, by shard, of which samples are still to be summed up in a tier that `kept` says is kept: there is none, or it is to be
/// made anew.
pub(crate) fn untiered<'a>(
    files: impl Iterator<Item = (&'a String, &'a PartitionEntry)>,
    kept: impl Fn(Tier, TimeRange) -> bool,
) -> BTreeSet<(u16, i64)> {
    let days = Day::each(files).into_iter();
    let untiered = days.filter(|((_, number), day)| {
        let mut wanted = day.wanted(day_range(*number), &kept, |_| false);
        wanted.next().is_some()
    });
    untiered.map(|(key, _)| key).collect()
}

/// Returns the tier to make next of one shard's files; the newest day first, and of tiers that `kept` says are kept. Files of samples that
/// `barred` names cannot be read; tiers that `stale` names are made anew as if samples had changed.
pub(crate) fn plan_tiers<'a>(
    files: impl Iterator<Item = (&'a String, &'a PartitionEntry)>,
    kept: impl Fn(Tier, TimeRange) -> bool,
    barred: impl Fn(&str) -> bool,
    stale: impl Fn(&str) -> bool,
) -> Option<TierPlan> {
    Day::each(files)
        .iter()
        .rev()
        .find_map(|((_, number), day)| {
            let merged = |(_, entry): &(&String, &PartitionEntry)| entry.level == Level::Day;
            let readable = |(name, _): &(&String, &PartitionEntry)| !barred(name);
            if !day.samples.iter().all(|f| merged(f) && readable(f)) {
                return None;
            }
            let span = day_range(*number);
            let (tier, before) = day.wanted(span, &kept, &stale).next()?;
            let names = day.samples.iter().map(|(name, _)| (*name).clone());
            let times = day.samples.iter().map(|(_, entry)| entry.times);
            let both = |a: TimeRange, b: TimeRange| TimeRange {
                start: a.start.min(b.start),
                end: a.end.max(b.end),
            };
            Some(TierPlan {
                tier,
                span,
                inputs: names.collect(),
                replaces: before.cloned(),
                times: times.reduce(both).unwrap_or(span),
                made_of: MadeOf::these(day.samples.iter().map(|(_, entry)| *entry)),
            })
        })
}

/// What the catalogue says of the files of samples that a tier is made of: it is kept in the fields of the tier's own entry, of which
/// `samples` is how many samples are summed up, and `class` the names of all classes, with commas between, behind [`BEREFT`] once some of
/// these files are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeOf {
    pub(crate) until: u64,
    pub(crate) deleted: u64,
    pub(crate) samples: u64,
    pub(crate) classes: String,
}

impl MadeOf {
    fn these<'a>(entries: impl Iterator<Item = &'a PartitionEntry>) -> Self {
        let mut made_of = Self {
            until: 0,
            deleted: 0,
            samples: 0,
            classes: String::new(),
        };
        let mut classes = BTreeSet::new();
        for entry in entries {
            made_of.until = made_of.until.max(entry.until);
            made_of.deleted = made_of.deleted.max(entry.deleted);
            made_of.samples = made_of.samples.saturating_add(entry.samples);
            classes.insert(entry.class.as_str());
        }
        made_of.classes = classes
            .into_iter()
            .collect::<Vec<_>>()
            .join(CLASS_SEPARATOR);
        made_of
    }
}

/// No name of a class has these.
const CLASS_SEPARATOR: &str = ",";
pub(crate) const BEREFT: &str = "!";

/// How a tier stands to the files of samples that there are of its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It sums them up.
    Current,
    /// It is to be made anew of them.
    Outdated,
    /// Some or all of those that it was made of are gone.
    Bereft,
}

impl State {
    pub(crate) fn of<'a>(
        tier: &PartitionEntry,
        mut samples: impl Iterator<Item = &'a PartitionEntry> + Clone,
    ) -> Self {
        let is = MadeOf::these(samples.clone());
        if tier.class.starts_with(BEREFT) || samples.next().is_none() {
            return Self::Bereft;
        }
        // Whether they are split otherwise by now, or rewritten without a delete that took nothing of them, is nothing to a tier.
        if (tier.until, tier.samples) == (is.until, is.samples) {
            return Self::Current;
        }
        // Deletes make samples fewer; nothing else that leaves a day's files in place does.
        if is.samples < tier.samples && is.deleted <= tier.deleted {
            return Self::Bereft;
        }
        Self::Outdated
    }
}

/// Notes in the tiers among `entries` that a file of samples which they were made of is gone for good. What is left of the day then, and
/// what comes later, is not what they sum up, whatever becomes of it.
pub(crate) fn bereave<'a>(
    entries: impl Iterator<Item = &'a mut PartitionEntry>,
    gone: &PartitionEntry,
) {
    let of_its_day = |entry: &&mut PartitionEntry| {
        // A file that came later is in no tier yet; a day's file has in it what was there before.
        let summed_up = gone.level == Level::Day || gone.until <= entry.until;
        let tier = entry.tier != Tier::Raw && entry.shard == gone.shard;
        tier && day_of(entry) == day_of(gone) && summed_up && gone.tier == Tier::Raw
    };
    for tier in entries.filter(of_its_day) {
        if !tier.class.starts_with(BEREFT) {
            tier.class.insert_str(0, BEREFT);
        }
    }
}

/// Does the same in a catalogue in which nobody has noted it: the files of a class that a tier was made of are gone if there is none.
pub(crate) fn find_bereft(partitions: &mut BTreeMap<String, PartitionEntry>) {
    let key = |entry: &PartitionEntry| (entry.shard, day_of(entry));
    let raw = partitions.values().filter(|entry| entry.tier == Tier::Raw);
    let there: BTreeSet<_> = raw.map(|raw| (key(raw), raw.class.clone())).collect();
    let tiers = partitions.values_mut().filter(|e| e.tier != Tier::Raw);
    for tier in tiers.filter(|tier| !tier.class.starts_with(BEREFT)) {
        let mut classes = tier.class.split(CLASS_SEPARATOR);
        if classes.any(|class| !there.contains(&(key(tier), class.to_owned()))) {
            tier.class.insert_str(0, BEREFT);
        }
    }
}
