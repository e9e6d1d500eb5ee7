//! Making a tier: the merged files of a day are read side by side, series by series, and summed up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use files::FileSystem;
use model::{Labels, TimeRange};

use super::choice::length_of;
use super::{TierPlan, TierWriter};
use crate::catalogue::{Level, PartitionEntry};
use crate::index::SeriesId;
use crate::merge_runs::merge_runs;
use crate::partition::{Partition, PartitionError, PartitionKey};

/// Series between two looks at whether the store is closing.
const CHECK_EVERY: u64 = 256;

/// Why a tier came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TierError {
    /// A file of samples is damaged: a tier of the rest would hide that.
    #[error("cannot sum up {}: {source}", input.display())]
    Input {
        input: PathBuf,
        #[source]
        source: PartitionError,
    },
    #[error("cannot write a downsampling tier: {0}")]
    Output(#[source] PartitionError),
    #[error("the store is closing")]
    Closing,
}

/// Writes the planned tier of these files into a new file of this name, synced; `None`, and no file, when they have no samples.
pub(crate) fn make_tier(
    files: &dyn FileSystem,
    (folder, name): (&Path, &str),
    (shard, plan): (u16, &TierPlan),
    inputs: &[Arc<Partition>],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, TierError> {
    let path = folder.join(name);
    let written = write(files, &path, (shard, plan), inputs, closing);
    if !matches!(written, Ok(Some(_))) {
        // What cannot be removed now is removed at the next start: nothing names it.
        files.remove(&path).unwrap_or_default();
    }
    written
}

fn write(
    files: &dyn FileSystem,
    path: &Path,
    (shard, plan): (u16, &TierPlan),
    inputs: &[Arc<Partition>],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, TierError> {
    let Some(length) = length_of(plan.tier) else {
        return Ok(None);
    };
    let span = plan.span;
    let key = PartitionKey { shard, span };
    let mut writer = TierWriter::create(files, path, key, length).map_err(TierError::Output)?;
    let mut walk = Walk::new(inputs)?;
    let mut count = 0u64;
    while let Some((labels, places)) = walk.next()? {
        count += 1;
        if count.is_multiple_of(CHECK_EVERY) && closing.load(Ordering::Relaxed) {
            return Err(TierError::Closing);
        }
        let mut runs = Vec::new();
        for (input, series) in places {
            let input = &inputs[input];
            let read = input.read(series, TimeRange::ALL);
            runs.extend(read.map_err(failed(input))?);
        }
        let added = writer.add_series(&labels, &merge_runs(runs));
        added.map_err(TierError::Output)?;
    }
    let summary = writer.finish().map_err(TierError::Output)?;
    Ok((summary.series > 0).then(|| PartitionEntry {
        shard,
        times: summary.times,
        bytes: summary.bytes,
        samples: plan.made_of.samples,
        until: plan.made_of.until,
        level: Level::Day,
        tier: plan.tier,
        class: plan.made_of.classes.clone(),
        deleted: plan.made_of.deleted,
    }))
}

fn failed(input: &Partition) -> impl Fn(PartitionError) -> TierError {
    |source| TierError::Input {
        input: input.path().to_owned(),
        source,
    }
}

/// Where a series is: input and number in it.
type SeriesPlace = (usize, SeriesId);

/// Walks over the series of all inputs in order of their labels.
struct Walk<'a> {
    inputs: &'a [Arc<Partition>],
    next: BinaryHeap<Reverse<(Labels, usize, SeriesId)>>,
}

impl<'a> Walk<'a> {
    fn new(inputs: &'a [Arc<Partition>]) -> Result<Self, TierError> {
        let mut walk = Self {
            inputs,
            next: BinaryHeap::new(),
        };
        for input in 0..inputs.len() {
            walk.push(input, 0)?;
        }
        Ok(walk)
    }

    fn push(&mut self, input: usize, series: SeriesId) -> Result<(), TierError> {
        let of = &self.inputs[input];
        if let Some(labels) = of.labels(series).map_err(failed(of))? {
            self.next.push(Reverse((labels, input, series)));
        }
        Ok(())
    }

    /// Returns the next labels, with input and number of each series that has them.
    fn next(&mut self) -> Result<Option<(Labels, Vec<SeriesPlace>)>, TierError> {
        let Some(Reverse((labels, input, series))) = self.next.pop() else {
            return Ok(None);
        };
        self.push(input, series + 1)?;
        let mut places = vec![(input, series)];
        while let Some(Reverse((same, ..))) = self.next.peek()
            && *same == labels
            && let Some(Reverse((_, input, series))) = self.next.pop()
        {
            places.push((input, series));
            self.push(input, series + 1)?;
        }
        Ok(Some((labels, places)))
    }
}
