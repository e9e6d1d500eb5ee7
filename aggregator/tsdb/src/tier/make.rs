//! Making a tier: the merged files of a day are read side by side, series by series, and summed up.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use files::FileSystem;
use model::TimeRange;

use super::choice::length_of;
use super::{TierPlan, TierWriter};
use crate::catalogue::{Level, PartitionEntry};
use crate::merge::{Input, MergeError, Walk, failed};
use crate::merge_runs::merge_runs;
use crate::partition::PartitionKey;

/// Series between two looks at whether the store is closing.
const CHECK_EVERY: u64 = 256;

/// Writes the planned tier of these files into a new file of this name, synced; `None`, and no file, when they have no samples.
pub(crate) fn make_tier(
    files: &dyn FileSystem,
    (folder, name): (&Path, &str),
    (shard, plan): (u16, &TierPlan),
    inputs: &[Input],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, MergeError> {
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
    inputs: &[Input],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, MergeError> {
    let Some(length) = length_of(plan.tier) else {
        return Ok(None);
    };
    let span = plan.span;
    let key = PartitionKey { shard, span };
    let mut writer = TierWriter::create(files, path, key, length).map_err(MergeError::Output)?;
    let mut walk = Walk::new(inputs)?;
    let mut count = 0u64;
    while let Some((labels, places)) = walk.next()? {
        count += 1;
        if count.is_multiple_of(CHECK_EVERY) && closing.load(Ordering::Relaxed) {
            return Err(MergeError::Closing);
        }
        let mut runs = Vec::new();
        for (input, series) in places {
            let input = &inputs[input];
            let read = input.partition.read(series, TimeRange::ALL);
            let read = read.map_err(failed(input))?;
            runs.extend(input.mask.apply(series, read));
        }
        let added = writer.add_series(&labels, &merge_runs(runs));
        added.map_err(MergeError::Output)?;
    }
    let summary = writer.finish().map_err(MergeError::Output)?;
    Ok((summary.series > 0).then(|| PartitionEntry {
        shard,
        times: plan.times,
        bytes: summary.bytes,
        samples: plan.made_of.samples,
        until: plan.made_of.until,
        level: Level::Day,
        tier: plan.tier,
        class: plan.made_of.classes.clone(),
        deleted: plan.made_of.deleted,
    }))
}
