//! Reading all of a file: to see whether it is whole, and to take what is readable out of one that is not.

use std::collections::HashMap;
use std::path::Path;

use files::FileSystem;
use model::{Labels, TimestampMs};

use super::block::BlockKind;
use super::directory::PagePlace;
use super::error::PartitionError;
use super::writer::{PartitionWriter, TimesId};
use super::{Partition, PartitionSummary, slice};
use crate::bytes::Malformed;
use crate::index::SeriesId;
use crate::page::{Scratch, decode_page};

/// What a file holds that could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) series: u64,
    pub(crate) samples: u64,
}

impl Partition {
    /// Reads every block, label set, page, exemplar and metadata; `damaged` is told of what cannot be read, and of what can be in spite of
    /// damage.
    pub(crate) fn verify(&self, damaged: &mut dyn FnMut(PartitionError)) -> Verified {
        let mut bad_blocks = std::collections::BTreeSet::new();
        for number in 0..self.header.blocks {
            if let Err(error) = self.blocks().check(number) {
                bad_blocks.insert(number);
                damaged(error);
            }
        }
        self.blocks().check_headers();
        let mut verified = Verified::default();
        // What lies in a bad block was told of once; what is whole may still say what it should not.
        let mut tell = |error: PartitionError| {
            if error
                .block()
                .is_none_or(|block| !bad_blocks.contains(&block))
            {
                damaged(error);
            }
        };
        let mut scratch = Scratch::default();
        for series in 0..self.index.len() {
            let labels = self.labels(series);
            // Without labels its samples are nobody's.
            let known = matches!(labels, Ok(Some(_)));
            verified.series += u64::from(known);
            if let Err(error) = labels {
                tell(error);
            }
            let pages = match self.pages_of(series) {
                Ok(pages) => pages,
                Err(error) => {
                    tell(error);
                    continue;
                }
            };
            for page in pages.iter() {
                match self.read_page(page, &mut scratch) {
                    Ok((_, samples)) if known => verified.samples += samples,
                    Ok(_) => {}
                    Err(error) => tell(error),
                }
            }
            if let Err(error) = self.exemplars(series, model::TimeRange::ALL) {
                tell(error);
            }
        }
        if let Err(error) = self.metadata() {
            tell(error);
        }
        self.blocks()
            .take_mended()
            .into_iter()
            .for_each(&mut *damaged);
        let summary = self.header.summary;
        if bad_blocks.is_empty() && verified.samples != summary.samples {
            damaged(PartitionError::damaged(
                self.path(),
                super::error::Place::Header,
                format!(
                    "it speaks of {} samples, the pages hold {}",
                    summary.samples, verified.samples
                ),
            ));
        }
        verified
    }

    /// Writes a new file with what is readable of this one; `None` when that is nothing. `lost` is told of each thing that is not.
    pub(crate) fn salvage(
        &self,
        files: &dyn FileSystem,
        path: &Path,
        lost: &mut dyn FnMut(PartitionError),
    ) -> Result<Option<PartitionSummary>, PartitionError> {
        let mut writer = PartitionWriter::create(files, path, self.header.key)?.compressed();
        let mut columns: HashMap<u32, TimesId> = HashMap::new();
        let mut scratch = Scratch::default();
        let mut series_kept = 0;
        for series in 0..self.index.len() {
            let labels = match self.labels(series) {
                Ok(Some(labels)) => labels,
                Ok(None) => continue,
                Err(error) => {
                    lost(error);
                    continue;
                }
            };
            series_kept += u64::from(self.salvage_series(
                (series, &labels),
                &mut writer,
                &mut columns,
                &mut scratch,
                lost,
            )?);
        }
        match self.metadata() {
            Ok(all) => {
                for (metric, metadata) in all {
                    writer.add_metadata(&metric, &metadata)?;
                }
            }
            Err(error) => lost(error),
        }
        let summary = writer.finish()?;
        Ok((series_kept > 0).then_some(summary))
    }

    /// Copies the readable pages and exemplars of a series; returns whether there were any.
    fn salvage_series(
        &self,
        (series, labels): (SeriesId, &Labels),
        writer: &mut PartitionWriter<'_>,
        columns: &mut HashMap<u32, TimesId>,
        scratch: &mut Scratch,
        lost: &mut dyn FnMut(PartitionError),
    ) -> Result<bool, PartitionError> {
        let mut started = false;
        let mut start = |writer: &mut PartitionWriter<'_>| {
            if std::mem::replace(&mut started, true) {
                Ok(())
            } else {
                writer.start_series(labels)
            }
        };
        match self.pages_of(series) {
            Ok(pages) => {
                for page in pages.iter() {
                    let (bytes, _) = match self.read_page(page, scratch) {
                        Ok(read) => read,
                        Err(error) => {
                            lost(error);
                            continue;
                        }
                    };
                    let times = match columns.get(&page.times) {
                        Some(times) => *times,
                        None => {
                            let times = writer.add_times(&self.whole_column(page)?)?;
                            columns.insert(page.times, times);
                            times
                        }
                    };
                    start(writer)?;
                    writer.add_page(times, page.first_row as usize, page.arrival, &bytes)?;
                }
            }
            Err(error) => lost(error),
        }
        match self.exemplars(series, model::TimeRange::ALL) {
            Ok(exemplars) => {
                for exemplar in exemplars {
                    start(writer)?;
                    writer.add_exemplar(&exemplar)?;
                }
            }
            Err(error) => lost(error),
        }
        Ok(started)
    }

    /// Returns the greatest position that a readable page arrived at; 0 without pages.
    pub(crate) fn last_arrival(&self) -> u64 {
        let pages = (0..self.index.len()).filter_map(|series| self.pages_of(series).ok());
        let last = pages.filter_map(|pages| pages.iter().map(|page| page.arrival.position()).max());
        last.max().unwrap_or(0)
    }

    /// Returns a page as it is stored, and how many samples it has; its times are read too.
    fn read_page(
        &self,
        page: &PagePlace,
        scratch: &mut Scratch,
    ) -> Result<(Vec<u8>, u64), PartitionError> {
        let malformed = |what| PartitionError::malformed(self.path(), page.block, Malformed(what));
        let column = self.times.get(page.times as usize);
        if column.is_none_or(|column| page.first_row + page.rows > column.rows) {
            return Err(malformed("page is longer than its time column"));
        }
        let times = self.times_of(page)?;
        let block = self.blocks().read(BlockKind::Pages, page.block)?;
        let bytes = slice(&block, page.offset, page.bytes)
            .ok_or_else(|| malformed("page past the end of its block"))?;
        let decoded = decode_page(bytes, scratch).map_err(|what| malformed(what.0))?;
        if decoded.rows() != times.as_slice().len() {
            return Err(malformed("page has other rows than its directory says"));
        }
        let segment = decoded.into_segment(times);
        let rows = segment.times.as_slice().len();
        let present = (0..rows).filter(|row| segment.is_present(*row)).count();
        Ok((bytes.to_vec(), present as u64))
    }

    /// Returns the whole time column of a page.
    fn whole_column(&self, page: &PagePlace) -> Result<Vec<TimestampMs>, PartitionError> {
        let rows = self
            .times
            .get(page.times as usize)
            .map_or(0, |column| column.rows);
        let whole = PagePlace {
            first_row: 0,
            rows,
            ..*page
        };
        Ok(self.times_of(&whole)?.as_slice().to_vec())
    }
}
