//! Making one series of runs that overlap: pages of several cohorts, late runs, head and partitions.
//!
//! Runs that overlap no other pass through untouched and keep the time column that they share with their cohort. Where runs overlap,
//! they become one segment with a column of its own: at equal timestamps the sample that came first in the log stands, and an absence
//! is no sample, so it hides nothing.
//!
//! # Corrections
//! Whoever was wrong about the past, as a rule is that was evaluated while an agent could not be reached, says it again on the lane for
//! corrections. A corrected sample stands before everything that came otherwise, whenever that came; of several the last does; a void
//! one stands too, and then there is no sample. All of it is a matter of [`Arrival`]: places in the log of corrections count backwards,
//! below all others. So they need no look at what they correct, in no head and no file, and the rest of the store knows nothing of them.
//!
//! Rejected: a delete of series and span, followed by the new samples. A delete is known by its place between whole partitions, so each
//! would seal every head, and hides from every query of the files that it hits until these are merged; their number is bounded for that
//! reason, and corrections would use it up in a bad night. Rejected as well: rewriting what is corrected; pages do not change.
//!
//! What it costs: a correction is a sample more until the next merge, which drops what it hides, so of any number of corrections of a
//! sample each file has one at most. Voids stay as long as their file: whatever they hide may lie in another one.
//!
//! Summaries of a downsampling tier are merged apart. Parts of one bucket that follow one another (in the files of two days) stay in their
//! runs, one behind the other; what overlaps more than that (of two shards) is joined bucket by bucket. A bucket
//! and samples next to it, even at its very end, go together, for whoever read them read each sample once; only where a sample
//! lies between the first and the last of a bucket was the same time read twice. There the lesser arrival stands, as everywhere: a summary
//! arrived with the last of what it sums up, so a sample that arrived no later is one of these, and the bucket gives way to it and the
//! others, as to a correction; one that came later, when those were gone, gives way itself, for it would stand there for all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use model::{Histogram, TimestampMs, Value};
use rows::Presence;
use storage::{Rollup, Rollups, Segment, SegmentValues, Times};

/// A segment and its place in the log: where two runs have a sample at the same time, the smaller arrival stands.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// That of the segment's first row.
    pub(crate) arrival: Arrival,
    /// What arrived.
    pub(crate) segment: Segment,
}

/// A place in the log, as far as it decides which of two samples at one time stands: the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(i64);

impl Arrival {
    /// After all others.
    pub(crate) const LAST: Self = Self(i64::MAX);

    /// Returns that of samples with this position.
    pub(crate) const fn at(position: u64) -> Self {
        Self(position.cast_signed())
    }

    /// Returns that of corrections with this position.
    pub(crate) const fn of_correction(position: u64) -> Self {
        Self(-position.cast_signed())
    }

    pub(crate) const fn is_correction(self) -> bool {
        self.0 < 0
    }

    /// Returns the log position.
    pub(crate) const fn position(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// Returns it as files have it.
    pub(crate) const fn to_stored(self) -> i64 {
        self.0
    }

    pub(crate) const fn from_stored(stored: i64) -> Self {
        Self(stored)
    }
}

/// Returns the runs as segments in order of time, timestamps strictly rising over all of them. Of runs with equal arrival the one that
/// stands first in `runs` counts as the earlier.
pub(crate) fn merge_runs(mut runs: Vec<Arrived>) -> Vec<Segment> {
    runs.retain(|run| !run.segment.times.as_slice().is_empty());
    let is_rollup = |run: &Arrived| matches!(run.segment.values, SegmentValues::Rollup(_));
    if !runs.iter().any(is_rollup) {
        return merge_samples(runs);
    }
    let summaries = join_summaries(take_summaries(&mut runs)).into_iter();
    let standing: Vec<Summaries> = summaries.map(|part| part.beside(&runs)).collect();
    let samples = runs.into_iter().filter_map(|run| give_way(run, &standing));
    let samples = merge_samples(samples.collect());
    let summaries = standing.into_iter().map(|part| part.segment);
    let mut out: Vec<Segment> = summaries.chain(samples).collect();
    out.sort_by_key(|segment| span_of(segment).0);
    out
}

fn merge_samples(mut runs: Vec<Arrived>) -> Vec<Segment> {
    // Nearly always they follow one another.
    let follow = |pair: &[Arrived]| span_of(&pair[0].segment).1 < span_of(&pair[1].segment).0;
    if runs.windows(2).all(follow) {
        return runs.into_iter().filter_map(standing).collect();
    }
    // With their ranks, which sorting by time must not lose.
    runs.sort_by_key(|run| run.arrival);
    let mut runs: Vec<(usize, Arrived)> = runs.into_iter().enumerate().collect();
    runs.sort_by_key(|(_, run)| span_of(&run.segment).0);
    let mut out = Vec::with_capacity(runs.len());
    let mut cluster: Vec<(usize, Arrived)> = Vec::new();
    let mut cluster_end = TimestampMs::MIN;
    for run in runs {
        let (start, end) = span_of(&run.1.segment);
        if !cluster.is_empty() && start > cluster_end {
            out.extend(merge_cluster(std::mem::take(&mut cluster)));
            cluster_end = end;
        }
        cluster_end = cluster_end.max(end);
        cluster.push(run);
    }
    out.extend(merge_cluster(cluster));
    out
}

fn span_of(segment: &Segment) -> (TimestampMs, TimestampMs) {
    let times = segment.times.as_slice();
    let end = |at: Option<&TimestampMs>| at.copied().unwrap_or(TimestampMs::MIN);
    (end(times.first()), end(times.last()))
}

/// Returns the one segment that overlapping runs, each with its rank of arrival, make.
fn merge_cluster(mut ranked: Vec<(usize, Arrived)>) -> Option<Segment> {
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut runs: Vec<Arrived> = ranked.into_iter().map(|(_, run)| run).collect();
    if runs.len() <= 1 {
        return runs.pop().and_then(standing);
    }
    let mut picks = pick(&runs);
    picks.retain(|pick| !runs[pick.run].is_void(pick.row));
    if picks.is_empty() {
        return None;
    }
    let times: Vec<TimestampMs> = picks.iter().map(|pick| pick.at).collect();
    let started = runs.iter().any(|run| run.segment.start_times.is_some());
    let start_times = started.then(|| {
        picks
            .iter()
            .map(|pick| {
                let starts = runs[pick.run].segment.start_times.as_ref();
                starts
                    .and_then(|starts| starts.get(pick.row))
                    .copied()
                    .unwrap_or_default()
            })
            .collect()
    });
    Some(Segment {
        times: Times::new(times),
        presence: None,
        values: picked_values(&runs, &picks),
        start_times,
    })
}

impl Arrived {
    fn is_void(&self, row: usize) -> bool {
        let value = |row| self.segment.value(row);
        self.arrival.is_correction()
            && matches!(value(row), Some(Value::Float(value)) if model::is_void(value))
    }
}

/// Returns what of a run that no other overlaps stands: all but voids.
fn standing(run: Arrived) -> Option<Segment> {
    if !run.arrival.is_correction() {
        return Some(run.segment);
    }
    keep_rows(&run.segment, |row| !run.is_void(row))
}

/// Returns the segment, over the same time column, with those of its rows that `keep` names; `None`: none.
fn keep_rows(segment: &Segment, keep: impl Fn(usize) -> bool) -> Option<Segment> {
    let rows = segment.times.as_slice().len();
    let mut presence = Presence::filled(rows, false);
    for row in (0..rows).filter(|row| segment.is_present(*row) && keep(*row)) {
        presence.set(row, true);
    }
    (presence.count() > 0).then(|| Segment {
        presence: (presence.count() < rows).then(|| Arc::new(presence)),
        ..segment.clone()
    })
}

/// Merges runs into what files have of them: samples without those that are corrected, and corrections, voids among them, with the
/// least of their arrivals.
pub(crate) fn merge_for_file(runs: Vec<Arrived>) -> (Vec<Segment>, Vec<Arrived>) {
    let (corrections, samples): (Vec<Arrived>, Vec<Arrived>) =
        (runs.into_iter()).partition(|run| run.arrival.is_correction());
    let samples = merge_samples(samples);
    let Some(least) = corrections.iter().map(|run| run.arrival).min() else {
        return (samples, Vec::new());
    };
    // To each other they are samples: the one that came last is the first in order of arrival.
    let alike = corrections.into_iter().map(|run| Arrived {
        arrival: Arrival(run.arrival.0.wrapping_sub(i64::MIN)),
        ..run
    });
    let corrections = merge_samples(alike.collect());
    let corrected: BTreeSet<TimestampMs> = (corrections.iter())
        .flat_map(|segment| {
            let times = segment.times.as_slice().iter().enumerate();
            times.filter_map(|(row, at)| segment.is_present(row).then_some(*at))
        })
        .collect();
    let samples = samples.into_iter().filter_map(|segment| {
        let times = segment.times.clone();
        keep_rows(&segment, |row| !corrected.contains(&times.as_slice()[row]))
    });
    let arrived = |segment| Arrived {
        arrival: least,
        segment,
    };
    (
        samples.collect(),
        corrections.into_iter().map(arrived).collect(),
    )
}

/// A sample that stands.
struct Pick {
    at: TimestampMs,
    run: usize,
    row: usize,
}

/// Returns the samples that stand, in order of time; `runs` are in order of arrival.
fn pick(runs: &[Arrived]) -> Vec<Pick> {
    let next = |run: usize, from: usize| {
        let segment: &Segment = &runs[run].segment;
        let times = segment.times.as_slice();
        let row = (from..times.len()).find(|row| segment.is_present(*row))?;
        Some(Reverse((times[row], run, row)))
    };
    let mut heads: BinaryHeap<_> = (0..runs.len()).filter_map(|run| next(run, 0)).collect();
    let mut picks: Vec<Pick> = Vec::new();
    while let Some(Reverse((at, run, row))) = heads.pop() {
        if picks.last().is_none_or(|last| last.at < at) {
            picks.push(Pick { at, run, row });
        }
        heads.extend(next(run, row + 1));
    }
    picks
}

fn picked_values(runs: &[Arrived], picks: &[Pick]) -> SegmentValues {
    let values = |pick: &Pick| &runs[pick.run].segment.values;
    let floats: Option<Vec<f64>> = picks
        .iter()
        .map(|pick| match values(pick) {
            SegmentValues::Floats(values) => values.get(pick.row).copied(),
            _ => None,
        })
        .collect();
    if let Some(floats) = floats {
        return SegmentValues::Floats(floats.into());
    }
    let histograms: Option<Vec<Arc<Histogram>>> = picks
        .iter()
        .map(|pick| match values(pick) {
            SegmentValues::Histograms(values) => values.get(pick.row).map(Arc::clone),
            _ => None,
        })
        .collect();
    if let Some(histograms) = histograms {
        return SegmentValues::Histograms(histograms.into());
    }
    let mixed = picks.iter().map(|pick| {
        runs[pick.run]
            .segment
            .value(pick.row)
            .unwrap_or(Value::Float(model::STALE_NAN))
    });
    SegmentValues::Mixed(mixed.collect())
}

/// A run of summaries.
#[derive(Clone, Debug)]
struct Summaries {
    arrival: Arrival,
    segment: Segment,
    rollups: Rollups,
}

fn take_summaries(runs: &mut Vec<Arrived>) -> Vec<Summaries> {
    let mut summaries = Vec::new();
    runs.retain(|run| {
        let SegmentValues::Rollup(rollups) = &run.segment.values else {
            return true;
        };
        summaries.push(Summaries {
            arrival: run.arrival,
            segment: run.segment.clone(),
            rollups: rollups.clone(),
        });
        false
    });
    summaries
}

/// Returns the summaries in order of time. Those that have buckets in common are made one, but for those that follow one another, as the
/// files of two days do: of a bucket that both have a part of, each keeps its own. Buckets of different lengths stay apart.
fn join_summaries(mut runs: Vec<Summaries>) -> Vec<Summaries> {
    runs.sort_by_key(|run| (run.rollups.length, span_of(&run.segment)));
    let mut out = Vec::with_capacity(runs.len());
    let mut cluster: Vec<Summaries> = Vec::new();
    for run in runs {
        let overlaps = match cluster.as_slice() {
            [] => false,
            [last] => last.rollups.length == run.rollups.length && !follows(last, &run),
            cluster => cluster.iter().any(|other| {
                other.rollups.length == run.rollups.length
                    && span_of(&other.segment).1 >= span_of(&run.segment).0
            }),
        };
        if !overlaps {
            out.extend(join_cluster(std::mem::take(&mut cluster)));
        }
        cluster.push(run);
    }
    out.extend(join_cluster(cluster));
    out
}

/// Returns whether all samples of a run are later than those of the one before; its buckets begin where that one's end, if not later.
fn follows(before: &Summaries, run: &Summaries) -> bool {
    let ((_, last), (first, _)) = (span_of(&before.segment), span_of(&run.segment));
    if last < first {
        return true;
    }
    let row = before.segment.times.as_slice().len() - 1;
    let parts = before.bucket(row).zip(run.bucket(0));
    last == first && parts.is_none_or(|(end, start)| end.last.0 < start.first.0)
}

fn join_cluster(mut runs: Vec<Summaries>) -> Option<Summaries> {
    if runs.len() <= 1 {
        return runs.pop();
    }
    let Summaries { rollups, .. } = runs.first()?;
    let (length, columns) = (rollups.length, rollups.columns());
    let until = runs.iter().map(|run| run.rollups.until).max()?;
    let arrival = runs.iter().map(|run| run.arrival).max()?;
    let mut buckets: BTreeMap<TimestampMs, Rollup> = BTreeMap::new();
    for run in &runs {
        for (row, end) in run.segment.times.as_slice().iter().enumerate() {
            if let Some(bucket) = run.bucket(row) {
                let held = buckets.entry(*end);
                held.and_modify(|held| *held = held.joined(bucket))
                    .or_insert(bucket);
            }
        }
    }
    let rows: Vec<(TimestampMs, Rollup)> = buckets.into_iter().collect();
    let ends: Vec<TimestampMs> = rows.iter().map(|(end, _)| *end).collect();
    let rollups = Rollups::from_rows(length, until, &rows, columns);
    let segment = Segment {
        times: Times::new(ends),
        presence: None,
        values: SegmentValues::Rollup(rollups.clone()),
        start_times: None,
    };
    Some(Summaries {
        arrival,
        segment,
        rollups,
    })
}

impl Summaries {
    /// Returns the bucket of a row, if there is one.
    fn bucket(&self, row: usize) -> Option<Rollup> {
        let end = self.segment.times.as_slice().get(row)?;
        let bucket = self.rollups.row(row, *end);
        bucket.filter(|_| self.segment.is_present(row))
    }

    /// Returns whether any of these samples may lie in its buckets.
    fn is_near(&self, samples: &Segment) -> bool {
        let ((first, last), (start, end)) = (span_of(&self.segment), span_of(samples));
        start <= last && end.0 > first.0.saturating_sub(self.rollups.length.as_ms())
    }

    /// Returns whether a moment lies between the first and the last sample of a bucket.
    fn covers(&self, at: TimestampMs) -> bool {
        let end = self.rollups.length.end_of(at);
        let row = self.segment.times.as_slice().binary_search(&end).ok();
        let bucket = row.and_then(|row| self.bucket(row));
        bucket.is_some_and(|bucket| bucket.first.0 <= at && at <= bucket.last.0)
    }

    /// Returns the summaries without the buckets of which a sample is among these runs.
    fn beside(mut self, runs: &[Arrived]) -> Self {
        let no_later = runs.iter().filter(|run| run.arrival <= self.arrival);
        let near: Vec<&Segment> = no_later
            .map(|run| &run.segment)
            .filter(|samples| self.is_near(samples))
            .collect();
        if near.is_empty() {
            return self;
        }
        let rows = self.segment.times.as_slice().len();
        let mut presence = Presence::filled(rows, false);
        for row in 0..rows {
            let stands = self.bucket(row).is_some_and(|bucket| {
                let (first, last) = (bucket.first.0, bucket.last.0);
                !near.iter().any(|samples| any_between(samples, first, last))
            });
            presence.set(row, stands);
        }
        self.segment.presence = Some(Arc::new(presence));
        self
    }
}

/// Returns the run without what lies in buckets that stand and came before it; `None`: nothing is left.
fn give_way(run: Arrived, standing: &[Summaries]) -> Option<Arrived> {
    let earlier = standing.iter();
    let earlier = earlier.filter(|part| part.arrival < run.arrival && part.is_near(&run.segment));
    let earlier: Vec<&Summaries> = earlier.collect();
    if earlier.is_empty() {
        return Some(run);
    }
    let times = run.segment.times.as_slice();
    let is_beside = |row: usize| !earlier.iter().any(|part| part.covers(times[row]));
    let segment = keep_rows(&run.segment, is_beside)?;
    Some(Arrived { segment, ..run })
}

fn any_between(segment: &Segment, first: TimestampMs, last: TimestampMs) -> bool {
    let times = segment.times.as_slice();
    let from = times.partition_point(|at| *at < first);
    let to = times.partition_point(|at| *at <= last);
    (from..to).any(|row| segment.is_present(row))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::{BucketLength, RollupBuilder, RollupColumns};

    use super::*;

    fn run(arrival: i64, samples: &[(i64, Option<f64>)]) -> Arrived {
        let times: Vec<TimestampMs> = samples.iter().map(|(at, _)| TimestampMs(*at)).collect();
        let mut presence = Presence::filled(samples.len(), true);
        for (row, (_, value)) in samples.iter().enumerate() {
            presence.set(row, value.is_some());
        }
        let values: Vec<f64> = samples
            .iter()
            .map(|(_, value)| value.unwrap_or(0.0))
            .collect();
        let mut segment = Segment::floats(Times::new(times), values);
        segment.presence = Some(Arc::new(presence));
        Arrived {
            arrival: Arrival(arrival),
            segment,
        }
    }

    fn samples(segments: &[Segment]) -> Vec<(i64, f64)> {
        segments
            .iter()
            .flat_map(|segment| {
                segment
                    .times
                    .as_slice()
                    .iter()
                    .enumerate()
                    .filter_map(|(row, at)| match segment.value(row)? {
                        Value::Float(value) => Some((at.0, value)),
                        Value::Histogram(_) => None,
                    })
            })
            .collect()
    }

    #[test]
    fn runs_that_do_not_overlap_keep_their_columns() {
        let (late, early) = (
            run(9, &[(30, Some(3.0)), (40, None)]),
            run(5, &[(10, Some(1.0))]),
        );
        let columns = [early.segment.times.clone(), late.segment.times.clone()];
        let merged = merge_runs(vec![late, early]);
        assert!(
            merged
                .iter()
                .zip(&columns)
                .all(|(segment, column)| segment.times.same_column(column))
        );
        assert_eq!(samples(&merged), [(10, 1.0), (30, 3.0)]);
    }

    #[test]
    fn floats_and_histograms_of_one_series_mix() {
        let histogram = Arc::new(Histogram::stale());
        let times = Times::new(vec![TimestampMs(15), TimestampMs(20)]);
        let values = SegmentValues::Histograms(vec![Arc::clone(&histogram), histogram].into());
        let other = Segment {
            times,
            presence: None,
            values,
            start_times: Some(vec![TimestampMs(7); 2].into()),
        };
        let merged = merge_runs(vec![
            run(1, &[(10, Some(1.0)), (20, Some(2.0))]),
            Arrived {
                arrival: Arrival(2),
                segment: other,
            },
        ]);
        assert_eq!(merged.len(), 1);
        assert!(matches!(merged[0].value(1), Some(Value::Histogram(_))));
        assert!(matches!(merged[0].value(2), Some(Value::Float(2.0))));
        assert_eq!(
            merged[0].start_times.as_deref(),
            Some([0, 7, 0].map(TimestampMs).as_slice())
        );
    }

    const LENGTH: BucketLength = BucketLength::FIVE_MINUTES;

    fn summarised(samples: &[(i64, f64)]) -> Arrived {
        let mut builder = RollupBuilder::new(LENGTH);
        let mut rows: Vec<_> = samples
            .iter()
            .filter_map(|(at, value)| builder.push(TimestampMs(*at), *value))
            .collect();
        rows.extend(builder.finish());
        let ends: Vec<TimestampMs> = rows.iter().map(|(end, _)| *end).collect();
        let until = TimestampMs(ends.last().map_or(0, |end| end.0));
        let rollups = Rollups::from_rows(LENGTH, until, &rows, RollupColumns::ALL);
        Arrived {
            arrival: Arrival(9),
            segment: Segment {
                times: Times::new(ends),
                presence: None,
                values: SegmentValues::Rollup(rollups),
                start_times: None,
            },
        }
    }

    /// Returns end, count and last value of each bucket.
    fn buckets(segments: &[Segment]) -> Vec<(i64, u32, f64)> {
        let of = |segment: &Segment| match &segment.values {
            SegmentValues::Rollup(rollups) => {
                let ends = segment.times.as_slice().iter().enumerate();
                ends.filter(|(row, _)| segment.is_present(*row))
                    .filter_map(|(row, end)| Some((end.0, rollups.row(row, *end)?)))
                    .map(|(end, rollup)| (end, rollup.count, rollup.last.1))
                    .collect()
            }
            _ => Vec::new(),
        };
        segments.iter().flat_map(of).collect()
    }

    #[test]
    fn parts_of_a_bucket_follow_one_another_or_are_joined() {
        let (a, b) = (
            summarised(&[(1, 1.0), (250_000, 2.0)]),
            summarised(&[(300_000, 3.0), (300_001, 4.0)]),
        );
        let merged = merge_runs(vec![b.clone(), a.clone()]);
        assert_eq!(merged.len(), 2);
        assert_eq!(
            buckets(&merged),
            [(300_000, 2, 2.0), (300_000, 1, 3.0), (600_000, 1, 4.0)]
        );
        let before = summarised(&[(-5, 0.0), (200_000, 1.5)]);
        let merged = merge_runs(vec![a, before, b]);
        assert_eq!(
            buckets(&merged),
            [(0, 1, 0.0), (300_000, 3, 3.0), (600_000, 1, 4.0)]
        );
    }

    #[test]
    fn a_sample_at_the_end_of_a_bucket_goes_with_it_and_one_inside_replaces_it() {
        let tier = summarised(&[(1, 1.0), (250_000, 2.0), (310_000, 5.0), (320_000, 6.0)]);
        let raw = run(
            7,
            &[(300_000, Some(3.0)), (315_000, None), (330_000, Some(7.0))],
        );
        let merged = merge_runs(vec![raw, tier.clone()]);
        assert_eq!(buckets(&merged), [(300_000, 2, 2.0), (600_000, 2, 6.0)]);
        assert_eq!(samples(&merged), [(300_000, 3.0), (330_000, 7.0)]);
        let raw = run(7, &[(310_000, Some(5.0)), (320_000, Some(6.0))]);
        let merged = merge_runs(vec![raw, tier]);
        assert_eq!(buckets(&merged), [(300_000, 2, 2.0)]);
        assert_eq!(samples(&merged), [(310_000, 5.0), (320_000, 6.0)]);
    }

    #[test]
    fn what_came_later_than_a_summary_gives_way_to_it_and_stands_beside_it() {
        let tier = summarised(&[(1, 1.0), (250_000, 2.0), (310_000, 5.0), (320_000, 6.0)]);
        let late = run(
            12,
            &[
                (1, Some(9.0)),
                (100_000, Some(9.0)),
                (290_000, Some(3.0)),
                (315_000, Some(9.0)),
                (700_000, Some(4.0)),
            ],
        );
        let merged = merge_runs(vec![late.clone(), tier.clone()]);
        assert_eq!(buckets(&merged), [(300_000, 2, 2.0), (600_000, 2, 6.0)]);
        assert_eq!(samples(&merged), [(290_000, 3.0), (700_000, 4.0)]);
        // A correction stands before all.
        let correction = run(-13, &[(310_000, Some(8.0))]);
        let merged = merge_runs(vec![late.clone(), tier.clone(), correction]);
        assert_eq!(buckets(&merged), [(300_000, 2, 2.0)]);
        assert_eq!(
            samples(&merged),
            [
                (290_000, 3.0),
                (310_000, 8.0),
                (315_000, 9.0),
                (700_000, 4.0)
            ]
        );
        // Where the samples are still there they stand, and so does what came later.
        let rest = run(5, &[(310_000, Some(5.0)), (320_000, Some(6.0))]);
        let merged = merge_runs(vec![late, rest, tier]);
        assert_eq!(buckets(&merged), [(300_000, 2, 2.0)]);
        let expected = [
            (290_000, 3.0),
            (310_000, 5.0),
            (315_000, 9.0),
            (320_000, 6.0),
            (700_000, 4.0),
        ];
        assert_eq!(samples(&merged), expected);
    }

    proptest! {
        #[test]
        fn files_have_what_is_corrected_once(runs in prop::collection::vec((prop_oneof![1i64..9, -8i64..0], prop::collection::btree_map(0i64..40, prop::option::weighted(0.8, 0u8..9), 1..12)), 0..7), split in 0u64..9) {
            let void = |arrival: i64, value: f64| if arrival < 0 && value == 0.0 { model::VOID_NAN } else { value };
            let input: Vec<Arrived> = runs
                .iter()
                .map(|(arrival, samples)| run(*arrival, &samples.iter().map(|(at, value)| (*at, value.map(|value| void(*arrival, f64::from(value))))).collect::<Vec<_>>()))
                .collect();
            let expected = samples(&merge_runs(input.clone()));
            // Some of the runs are merged into a file first, all of which came before the others.
            let (early, late): (Vec<Arrived>, Vec<Arrived>) = input.into_iter().partition(|run| run.arrival.position() <= split);
            let least = early.iter().map(|run| run.arrival).filter(|arrival| !arrival.is_correction()).min();
            let (plain, corrections) = merge_for_file(early);
            let mut times: Vec<i64> = samples(&plain).iter().map(|(at, _)| *at).collect();
            times.extend(corrections.iter().flat_map(|run| samples(std::slice::from_ref(&run.segment))).map(|(at, _)| at));
            times.sort_unstable();
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each time once");
            let arrived = |segment| Arrived { arrival: least.unwrap_or(Arrival::LAST), segment };
            let all = plain.into_iter().map(arrived).chain(corrections).chain(late);
            prop_assert_eq!(samples(&merge_runs(all.collect())), expected);
        }

        #[test]
        fn the_first_in_the_log_stands(runs in prop::collection::vec((-3i64..4, prop::collection::btree_map(0i64..60, prop::option::of(0u8..200), 0..12)), 0..7)) {
            let mut expected: BTreeMap<i64, (i64, usize, f64)> = BTreeMap::new();
            for (place, (arrival, samples)) in runs.iter().enumerate() {
                for (at, value) in samples {
                    if let Some(value) = value {
                        let candidate = (*arrival, place, f64::from(*value));
                        let stands = expected.entry(*at).or_insert(candidate);
                        if (candidate.0, candidate.1) < (stands.0, stands.1) {
                            *stands = candidate;
                        }
                    }
                }
            }
            let input = runs
                .iter()
                .map(|(arrival, samples)| run(*arrival, &samples.iter().map(|(at, value)| (*at, value.map(f64::from))).collect::<Vec<_>>()))
                .collect();
            let merged = merge_runs(input);
            let times: Vec<TimestampMs> = merged.iter().flat_map(|segment| segment.times.as_slice()).copied().collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(samples(&merged), expected.into_iter().map(|(at, (_, _, value))| (at, value)).collect::<Vec<_>>());
        }
    }
}
