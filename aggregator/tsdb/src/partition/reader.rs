//! Series of a partition, read one after the other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use model::{TimeRange, TimestampMs};
use storage::{RollupColumns, Segment, Times};

use super::block::BlockKind;
use super::directory::{LISTED_SERIES, PagePlace};
use super::{Partition, PartitionError, slice};
use crate::bytes::Malformed;
use crate::hashing::Spread;
use crate::index::SeriesId;
use crate::merge_runs::Arrived;
use crate::page::{Scratch, append_plain_floats};
use crate::plain::{Appended, PlainSeries};

/// Time columns that are remembered: those of the cohorts that a selection goes through.
const TIMES_MAX: usize = 4_096;

/// What neighbours in a partition have in common: looked up once, not series by series in the cache that all queries share.
#[derive(Debug, Default)]
pub(crate) struct PartitionReader {
    /// The list of pages read last, and its number.
    list: Option<(usize, Arc<Vec<Vec<PagePlace>>>)>,
    /// The block read last, and its number.
    block: Option<(u32, Arc<Vec<u8>>)>,
    /// By time column, first row and rows: the times, and those of them at either end.
    times: HashMap<u64, TimesOfPage, BuildHasherDefault<Spread>>,
    /// Those looked up last.
    last_times: Option<(u64, TimesOfPage)>,
}

type TimesOfPage = (Times, TimeRange);

impl PartitionReader {
    /// Appends the pages of a series that touch `range`, whole, if all of them are plain. What is damaged is [`Appended::Other`]: whoever
    /// reads it otherwise learns what is wrong.
    pub(crate) fn append(
        &mut self,
        partition: &Partition,
        series: SeriesId,
        range: TimeRange,
        scratch: &mut Scratch,
        out: &mut PlainSeries,
    ) -> Appended {
        self.try_append(partition, series, range, scratch, out)
            .unwrap_or(Appended::Other)
    }

    fn try_append(
        &mut self,
        partition: &Partition,
        series: SeriesId,
        range: TimeRange,
        scratch: &mut Scratch,
        out: &mut PlainSeries,
    ) -> Result<Appended, PartitionError> {
        let listed = self.list_of(partition, series)?;
        let pages = listed.get(series as usize % LISTED_SERIES);
        let mut appended = Appended::Nothing;
        for page in pages.into_iter().flatten() {
            let (times, span) = self.times_of(partition, page)?;
            if !span.overlaps(range) {
                continue;
            }
            if page.arrival.is_correction() {
                // It may be void.
                return Ok(Appended::Other);
            }
            let times = times.clone();
            let block = self.block_of(partition, page)?;
            let malformed =
                |what| PartitionError::malformed(partition.path(), page.block, Malformed(what));
            let bytes = slice(&block, page.offset, page.bytes)
                .ok_or_else(|| malformed("page past the end of its block"))?;
            let before = out.values().len();
            let plain = append_plain_floats(bytes, scratch, out.values())
                .map_err(|what| malformed(what.0))?;
            if !plain || out.values().len() - before != page.rows as usize {
                return Ok(Appended::Other);
            }
            out.took(&times);
            appended = Appended::Plain;
        }
        Ok(appended)
    }

    /// Returns the pages of a series that touch `range`, whole, in the order in which they were written; of summaries only the columns of values
    /// in `wanted`.
    pub(crate) fn read(
        &mut self,
        partition: &Partition,
        series: SeriesId,
        range: TimeRange,
        wanted: RollupColumns,
        scratch: &mut Scratch,
    ) -> Result<Vec<Arrived>, PartitionError> {
        let listed = self.list_of(partition, series)?;
        let pages = listed.get(series as usize % LISTED_SERIES);
        let mut runs = Vec::new();
        for page in pages.into_iter().flatten() {
            let (times, span) = self.times_of(partition, page)?;
            if !span.overlaps(range) {
                continue;
            }
            let times = times.clone();
            let block = self.block_of(partition, page)?;
            let segment = partition.values_in(&block, page, wanted, scratch)?;
            runs.push(Arrived {
                arrival: page.arrival,
                segment: Segment { times, ..segment },
            });
        }
        Ok(runs)
    }

    /// Returns the time of the last row of a series' pages.
    pub(crate) fn end_of(
        &mut self,
        partition: &Partition,
        series: SeriesId,
    ) -> Result<TimestampMs, PartitionError> {
        let listed = self.list_of(partition, series)?;
        let pages = listed.get(series as usize % LISTED_SERIES);
        let mut end = TimestampMs::MIN;
        for page in pages.into_iter().flatten() {
            end = end.max(self.times_of(partition, page)?.1.end);
        }
        Ok(end)
    }

    /// Returns the list that has the pages of a series.
    fn list_of(
        &mut self,
        partition: &Partition,
        series: SeriesId,
    ) -> Result<Arc<Vec<Vec<PagePlace>>>, PartitionError> {
        let number = series as usize / LISTED_SERIES;
        if let Some((held, list)) = &self.list
            && *held == number
        {
            return Ok(Arc::clone(list));
        }
        let list = partition.pages_of(series)?.list;
        self.list = Some((number, Arc::clone(&list)));
        Ok(list)
    }

    /// Returns the block that a page lies in.
    fn block_of(
        &mut self,
        partition: &Partition,
        page: &PagePlace,
    ) -> Result<Arc<Vec<u8>>, PartitionError> {
        if let Some((number, block)) = &self.block
            && *number == page.block
        {
            return Ok(Arc::clone(block));
        }
        let block = partition.blocks().read(BlockKind::Pages, page.block)?;
        self.block = Some((page.block, Arc::clone(&block)));
        Ok(block)
    }

    /// Returns the times of a page's rows, and those of them at either end.
    fn times_of(
        &mut self,
        partition: &Partition,
        page: &PagePlace,
    ) -> Result<&TimesOfPage, PartitionError> {
        let key = page.times_key();
        let found = match self.last_times.take().filter(|(held, _)| *held == key) {
            Some((_, found)) => found,
            None => self.look_up_times(partition, page)?.clone(),
        };
        Ok(&self.last_times.insert((key, found)).1)
    }

    fn look_up_times(
        &mut self,
        partition: &Partition,
        page: &PagePlace,
    ) -> Result<&TimesOfPage, PartitionError> {
        if self.times.len() >= TIMES_MAX {
            self.times.clear();
        }
        Ok(match self.times.entry(page.times_key()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert((partition.times_of(page)?, partition.span_of(page)?)),
        })
    }
}
