//! Deletes: what an operator took away, until a merge has taken it out of the files too.
//!
//! A delete has a place in the log, its **position**, and hits only rows before it: what comes later is new. When it is committed, every
//! row before it is in a partition and none after it shares one with them, so a partition is hit whole or not at all
//! ([`PartitionEntry::is_hit_by`](crate::catalogue::PartitionEntry::is_hit_by)).

use std::sync::Arc;

use model::{MatchOp, Matcher, TimeRange, TimestampMs};
use roaring::RoaringBitmap;
use rows::Presence;
use storage::{Segment, SegmentValues};

use crate::bytes::{Malformed, Reader, put_text};
use crate::catalogue::Tier;
use crate::index::{self, SeriesId};
use crate::merge_runs::Arrived;
use crate::page::Scratch;
use crate::partition::{Partition, PartitionError};

/// Deletes that may wait to be carried out: each costs every query of the files that it hits.
pub(crate) const DELETES_MAX: usize = 1_024;
/// Matcher sets of one delete, and matchers of one set.
const SETS_MAX: usize = 256;
/// The longest name or value of a matcher, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What a delete takes: the samples within `range` of all series that satisfy every matcher of any set; no set: of all series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) range: TimeRange,
    pub(crate) matcher_sets: Vec<Vec<Matcher>>,
}

impl Delete {
    /// Returns the delete, if it is one that can be kept.
    pub(crate) fn new(
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Self, DeleteError> {
        if range.start > range.end {
            let (start, end) = (range.start, range.end);
            return Err(DeleteError::Invalid(format!(
                "the range ends at {end}, before its start at {start}"
            )));
        }
        let most = matcher_sets.iter().map(Vec::len).max().unwrap_or(0);
        if matcher_sets.len() > SETS_MAX || most > SETS_MAX {
            return Err(DeleteError::Invalid(format!(
                "{} selectors, the longest of {most} matchers, are more than the {SETS_MAX} of each allowed; delete in several steps",
                matcher_sets.len()
            )));
        }
        let texts = matcher_sets.iter().flatten();
        let longest = texts
            .map(|matcher| matcher.name().len().max(matcher.value().len()))
            .max();
        if let Some(longest) = longest.filter(|longest| *longest > TEXT_BYTES_MAX) {
            return Err(DeleteError::Invalid(format!(
                "a matcher of {longest} bytes is longer than the {TEXT_BYTES_MAX} allowed"
            )));
        }
        Ok(Self {
            range,
            matcher_sets: matcher_sets.to_vec(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.range.start.0.to_le_bytes());
        out.extend_from_slice(&self.range.end.0.to_le_bytes());
        put_count(&mut out, self.matcher_sets.len());
        for set in &self.matcher_sets {
            put_count(&mut out, set.len());
            for matcher in set {
                out.push(match matcher.op() {
                    MatchOp::Equal => 0,
                    MatchOp::NotEqual => 1,
                    MatchOp::Regex => 2,
                    MatchOp::NotRegex => 3,
                });
                put_text(&mut out, matcher.name());
                put_text(&mut out, matcher.value());
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let range = TimeRange::new(
            TimestampMs(from.i64("start of a delete")?),
            TimestampMs(from.i64("end of a delete")?),
        );
        let mut matcher_sets = Vec::new();
        for _ in 0..from.u16("matcher sets")? {
            let mut set = Vec::new();
            for _ in 0..from.u16("matchers")? {
                let op = match from.u8("operator of a matcher")? {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err(Malformed("operator of a matcher")),
                };
                let (name, value) = (from.text("name of a matcher")?, from.text("matcher")?);
                set.push(Matcher::new(name, op, value).map_err(|_| Malformed("matcher"))?);
            }
            matcher_sets.push(set);
        }
        Ok(Self {
            range,
            matcher_sets,
        })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("a delete is bounded when it is asked for");
    out.extend_from_slice(&count.to_le_bytes());
}

/// What the deletes that hit a partition hide in it.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    cuts: Vec<(TimeRange, RoaringBitmap)>,
    /// Series of which nothing is left.
    gone: RoaringBitmap,
}

impl Mask {
    /// Looks up which series of a partition these deletes hit, and of which they leave nothing.
    pub(crate) fn new(
        partition: &Partition,
        deletes: &[(u64, Arc<Delete>)],
        tier: Tier,
    ) -> Result<Self, PartitionError> {
        let mut mask = Self::default();
        for (_, delete) in deletes {
            let hit = index::select_any(partition.index(), &delete.matcher_sets)?;
            mask.cuts.push((delete.range, hit));
        }
        let mut scratch = Scratch::default();
        for series in mask.hit() {
            if !mask.leaves_any((partition, tier), series, &mut scratch)? {
                mask.gone.insert(series);
            }
        }
        Ok(mask)
    }

    fn hit(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        for (_, hit) in &self.cuts {
            all |= hit;
        }
        all
    }

    fn leaves_any(
        &self,
        (partition, tier): (&Partition, Tier),
        series: SeriesId,
        scratch: &mut Scratch,
    ) -> Result<bool, PartitionError> {
        let ranges = self.ranges(series);
        for (page, span) in partition.pages(series)? {
            let within = |range: &TimeRange| range.contains(span.start) && range.contains(span.end);
            // What a summary sums up lies before its time.
            if tier == Tier::Raw && ranges.iter().any(within) {
                continue;
            }
            let run = partition.decode(&page, scratch)?;
            if cut(run.segment, &ranges).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) const fn gone(&self) -> &RoaringBitmap {
        &self.gone
    }

    /// Returns whether anything of a series is hidden.
    pub(crate) fn hides(&self, series: SeriesId) -> bool {
        self.cuts.iter().any(|(_, hit)| hit.contains(series))
    }

    /// Returns the ranges of a series that are hidden.
    pub(crate) fn ranges(&self, series: SeriesId) -> Vec<TimeRange> {
        let hit = self.cuts.iter().filter(|(_, hit)| hit.contains(series));
        hit.map(|(range, _)| *range).collect()
    }

    /// Takes what is hidden out of what was read of a series.
    pub(crate) fn apply(&self, series: SeriesId, runs: Vec<Arrived>) -> Vec<Arrived> {
        let ranges = self.ranges(series);
        if ranges.is_empty() {
            return runs;
        }
        runs.into_iter()
            .filter_map(|run| {
                let segment = cut(run.segment, &ranges)?;
                Some(Arrived { segment, ..run })
            })
            .collect()
    }
}

/// Returns what these ranges leave of a segment, over the same time column; `None`: nothing.
pub(crate) fn cut(segment: Segment, ranges: &[TimeRange]) -> Option<Segment> {
    let mut presence: Option<Presence> = None;
    for range in ranges {
        for row in rows_within(&segment, *range) {
            let presence = presence.get_or_insert_with(|| match &segment.presence {
                Some(presence) => Presence::clone(presence),
                None => Presence::filled(segment.times.as_slice().len(), true),
            });
            presence.set(row, false);
        }
    }
    let Some(presence) = presence else {
        return Some(segment);
    };
    (presence.count() > 0).then(|| Segment {
        presence: Some(Arc::new(presence)),
        ..segment
    })
}

/// Returns the rows that have something of the range. A summary, which cannot be taken apart, has as soon as the range touches the time
/// from its first sample to its last (to the end of the bucket, if a stale mark lies behind that), whether one of its samples lies there
/// or not.
fn rows_within(segment: &Segment, range: TimeRange) -> Vec<usize> {
    let times = segment.times.as_slice();
    let from = times.partition_point(|at| *at < range.start);
    let SegmentValues::Rollup(rollups) = &segment.values else {
        return (from..times.partition_point(|at| *at <= range.end)).collect();
    };
    let last = range.end.0.saturating_add(rollups.length.as_ms());
    let to = times.partition_point(|at| at.0 < last);
    let touches = |row: &usize| {
        rollups.row(*row, times[*row]).is_some_and(|bucket| {
            let end = if bucket.ended {
                times[*row]
            } else {
                bucket.last.0
            };
            range.overlaps(TimeRange::new(bucket.first.0, end))
        })
    };
    (from..to).filter(touches).collect()
}

/// Why series cannot be deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The caller asked for something that cannot be kept.
    #[error("cannot delete: {0}")]
    Invalid(String),
    /// Nothing is deleted; it may succeed later.
    #[error(
        "cannot delete: {0}; nothing is deleted, check space and health of the disk and try again"
    )]
    Failed(String),
    /// The store is closing.
    #[error("cannot delete: the store is closing")]
    Closed,
}
