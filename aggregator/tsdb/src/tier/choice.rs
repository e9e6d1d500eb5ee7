//! Which files a query reads where there are tiers: a pure choice from what the catalogue says of them.
//!
//! Per shard and day:
//! - When the reader can do with summaries and every window is made of whole buckets, the coarsest tier that fits is read instead of the
//!   samples, if it is up to date and has fewer buckets than the samples would cost.
//! - Else samples are read, as long as all of them are there.
//! - Where samples are gone (all, or those of a retention class, or the oldest for want of space), the tier stands for them, whether
//!   windows fit it or not. What samples of the day there are is read beside it: those that it was made of stand in the place of their
//!   buckets, and what came later gives way to buckets ([`merge_runs`](crate::merge_runs)).
//!
//! Shards know nothing of each other, and summaries of a series that lies on two of them cannot be put together when their samples
//! alternate. Whoever finds such a series asks again, for a choice in which the samples of that day are read, as long as they are there.
//!
//! A tier is **up to date** when it was made of the very files of samples that there are, no deletes are to be carried out in them, and no
//! head has a row of that day. It is never read beside samples that it sums up, but for the third case.

use std::collections::{BTreeMap, BTreeSet};

use model::TimeRange;
use storage::{BucketLength, RollupUse, Select};

use super::plan::{State, day_of, day_of_time, day_range};
use crate::catalogue::{PartitionEntry, Tier};

/// What a bucket costs to read and evaluate, in samples: 23 ns beside 9 (thirty days of 1,024 series, by `compare`'s row `month`).
const BUCKET_COST: u64 = 3;

/// A file that a query may read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) entry: &'a PartitionEntry,
    /// Whether deletes hide some of it.
    pub(crate) hit: bool,
}

/// The files of one shard and day, by their places.
#[derive(Default)]
struct Day {
    samples: Vec<usize>,
    tiers: BTreeMap<Tier, usize>,
}

/// Returns for each of `files` whether a query reads it. `heads` are the shards' heads that have samples, and their times; `exact` are days
/// of which no tier is read in the place of samples. `buckets` tells how many there are in a file, if that can be told.
pub(crate) fn choose(
    files: &[Source<'_>],
    heads: &[(u16, TimeRange)],
    (select, exact): (&Select<'_>, &BTreeSet<i64>),
    buckets: impl Fn(usize) -> Option<u64>,
) -> Vec<bool> {
    let is_raw = |source: &Source<'_>| source.entry.tier == Tier::Raw;
    let mut read: Vec<bool> = files.iter().map(is_raw).collect();
    let Some(rollups) = select.hints.rollups else {
        return read;
    };
    let mut days: BTreeMap<(u16, i64), Day> = BTreeMap::new();
    // The bucket that ends with a day is of that day and of the next.
    let asked = day_of_time(select.range.start).saturating_sub(1)..=day_of_time(select.range.end);
    for (at, source) in files.iter().enumerate().filter(|(_, file)| !is_raw(file)) {
        if !asked.contains(&day_of(source.entry)) {
            continue;
        }
        let key = (source.entry.shard, day_of(source.entry));
        days.entry(key)
            .or_default()
            .tiers
            .insert(source.entry.tier, at);
    }
    for (at, source) in files.iter().enumerate().filter(|(_, file)| is_raw(file)) {
        if let Some(day) = days.get_mut(&(source.entry.shard, day_of(source.entry))) {
            day.samples.push(at);
        }
    }
    for ((shard, number), day) in &days {
        let range = day_range(*number);
        let in_head = heads
            .iter()
            .any(|(of, times)| of == shard && times.overlaps(range));
        let stands_in = !in_head && !exact.contains(number);
        choose_day(files, day, (rollups, stands_in), &buckets, &mut read);
    }
    read
}

fn choose_day(
    files: &[Source<'_>],
    day: &Day,
    (rollups, stands_in): (RollupUse, bool),
    buckets: &impl Fn(usize) -> Option<u64>,
    read: &mut [bool],
) {
    let entries = day.samples.iter().map(|at| files[*at].entry);
    let state = |tier: usize| State::of(files[tier].entry, entries.clone());
    // Where one has more than the samples that there are, one that was made of these is no use.
    let bereft = day.tiers.values().any(|tier| state(*tier) == State::Bereft);
    let tiers = day.tiers.iter();
    let mut tiers = tiers.filter(|(_, tier)| !bereft || state(**tier) == State::Bereft);
    // Coarsest first.
    let fits =
        |(tier, _): &(&Tier, &usize)| length_of(**tier).is_some_and(|length| rollups.fits(length));
    let fitting = tiers.clone().rev().find(fits);
    let Some((_, tier)) = fitting.or_else(|| tiers.next()) else {
        return;
    };
    if bereft {
        read[*tier] = true;
        return;
    }
    let samples: u64 = entries.clone().map(|entry| entry.samples).sum();
    let hit = files[*tier].hit || day.samples.iter().any(|at| files[*at].hit);
    let up_to_date = state(*tier) == State::Current && stands_in && !hit;
    let cheaper = || {
        let buckets = buckets(*tier);
        buckets.is_some_and(|buckets| buckets.saturating_mul(BUCKET_COST) <= samples)
    };
    if fitting.is_some() && up_to_date && cheaper() {
        read[*tier] = true;
        for at in &day.samples {
            read[*at] = false;
        }
    }
}

/// Returns how long the buckets of a tier are; `None` for samples.
pub(crate) const fn length_of(tier: Tier) -> Option<BucketLength> {
    match tier {
        Tier::Raw => None,
        Tier::Minutes5 => Some(BucketLength::FIVE_MINUTES),
        Tier::Hour => Some(BucketLength::ONE_HOUR),
    }
}
