//! Samples that came one by one, in columns for a partition.

use std::collections::HashMap;
use std::ops::Range;

use model::{TimeRange, TimestampMs};
use storage::Times;

use super::BAND_ROWS;
use crate::head::{Columns, Gathering, Head, ReadCache};
use crate::index::SeriesId;
use crate::merge_runs::Arrival;
use crate::partition::{PartitionError, PartitionWriter, TimesId};
use crate::plain::PlainSeries;

/// Time columns that are remembered by their identity, and held meanwhile.
const HELD_MAX: usize = 512;
/// Time columns that are remembered by what is in them, some 4 KiB each.
const CONTENTS_MAX: usize = 4_096;

/// Samples of a series, as many as a band has rows.
pub(super) struct LooseColumns {
    /// Theirs are `rows` of these.
    times: Times,
    rows: Range<usize>,
    pub(super) arrival: Arrival,
    pub(super) columns: Columns,
}

/// Returns a series' samples within `range`; cache and buffer are of all series of that range.
pub(super) fn loose_columns(
    head: &Head,
    series: SeriesId,
    range: TimeRange,
    (cache, plain): (&mut ReadCache, &mut PlainSeries),
) -> Vec<LooseColumns> {
    let mut found = Vec::new();
    plain.begin();
    if let Some(arrival) = head.append_plain_loose(series, range, cache, plain)
        && let Ok(samples) = plain.finish()
    {
        if let Some((times, values)) = samples {
            found.extend(bands(times, range).map(|rows| LooseColumns {
                times: times.clone(),
                columns: Columns::plain(values[rows.clone()].to_vec()),
                rows,
                arrival,
            }));
        }
        return found;
    }
    for run in head.loose(series, range, cache) {
        for rows in bands(&run.segment.times, range) {
            let mut gathering = Gathering::new(rows.len());
            gathering.take(&run.segment, rows.start, rows.end, 0);
            found.extend(gathering.into_columns().map(|columns| LooseColumns {
                times: run.segment.times.clone(),
                rows,
                arrival: run.arrival,
                columns,
            }));
        }
    }
    found
}

/// Returns the rows whose times lie in the range, as many at once as a band has.
fn bands(times: &Times, range: TimeRange) -> impl Iterator<Item = Range<usize>> + use<> {
    let times = times.as_slice();
    let from = times.partition_point(|at| *at < range.start);
    let to = times.partition_point(|at| *at <= range.end);
    let band = move |start: usize| start..to.min(start + BAND_ROWS);
    (from..to).step_by(BAND_ROWS).map(band)
}

/// The time columns that the partition of a span has: series that came at the same times share one.
#[derive(Debug, Default)]
pub(super) struct LooseTimes {
    /// By identity and first row: most series share their column with others, which spares a look at its times.
    held: HashMap<(usize, usize), (Times, TimesId)>,
    contents: HashMap<Box<[TimestampMs]>, TimesId>,
}

impl LooseTimes {
    /// Returns the column of these samples' times, stored when it is new.
    pub(super) fn of(
        &mut self,
        writer: &mut PartitionWriter<'_>,
        samples: &LooseColumns,
    ) -> Result<TimesId, PartitionError> {
        let LooseColumns { times, rows, .. } = samples;
        let place = (times.identity(), rows.start);
        if let Some((_, id)) = self.held.get(&place) {
            return Ok(*id);
        }
        let id = self.of_contents(writer, &times.as_slice()[rows.clone()])?;
        if self.held.len() >= HELD_MAX {
            self.held.clear();
        }
        self.held.insert(place, (times.clone(), id));
        Ok(id)
    }

    fn of_contents(
        &mut self,
        writer: &mut PartitionWriter<'_>,
        times: &[TimestampMs],
    ) -> Result<TimesId, PartitionError> {
        if let Some(id) = self.contents.get(times) {
            return Ok(*id);
        }
        let id = writer.add_times(times)?;
        if self.contents.len() >= CONTENTS_MAX {
            self.contents.clear();
        }
        self.contents.insert(times.into(), id);
        Ok(id)
    }
}
