//! Making a tier: the merged files of a day are read side by side, series by series, and summed up.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use files::FileSystem;
use model::{Labels, TimeRange};
use storage::Segment;

use super::choice::length_of;
use super::plan::{day_of, day_range};
use super::{TierPlan, TierWriter};
use crate::catalogue::{Level, PartitionEntry, Tier};
use crate::merge::{Input, MergeError, Walk, failed};
use crate::merge_runs::merge_runs;
use crate::partition::{PartitionError, PartitionKey, PartitionSummary};

/// Series between two looks at whether the store is closing.
const CHECK_EVERY: u64 = 256;

/// Writes the planned tier of these files into a new file of this name, synced; `None`, and no file, when they have no samples.
pub(crate) fn make_tier(
    files: &dyn FileSystem,
    place: (&Path, &str),
    (shard, plan): (u16, &TierPlan),
    inputs: &[Input],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, MergeError> {
    let span = plan.span;
    let key = PartitionKey { shard, span };
    let add = |writer: &mut TierWriter<'_>, labels: &Labels, segments: &[Segment]| {
        writer.add_series(labels, segments)
    };
    let written = write(files, place, (key, plan.tier), inputs, closing, add)?;
    Ok(written.map(|summary| PartitionEntry {
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

/// Writes what deletes leave of a tier, which is the input, into a new file of this name, synced; `None`, and no file, when that is
/// nothing.
pub(crate) fn rewrite_tier(
    files: &dyn FileSystem,
    place: (&Path, &str),
    entry: &PartitionEntry,
    inputs: &[Input],
    closing: &AtomicBool,
) -> Result<Option<PartitionEntry>, MergeError> {
    let key = PartitionKey {
        shard: entry.shard,
        span: day_range(day_of(entry)),
    };
    let add = |writer: &mut TierWriter<'_>, labels: &Labels, segments: &[Segment]| {
        writer.copy_series(labels, segments)
    };
    let written = write(files, place, (key, entry.tier), inputs, closing, add)?;
    Ok(written.map(|summary| PartitionEntry {
        bytes: summary.bytes,
        ..entry.clone()
    }))
}

/// Gives what deletes leave of each series to `add`.
fn write(
    files: &dyn FileSystem,
    (folder, name): (&Path, &str),
    (key, tier): (PartitionKey, Tier),
    inputs: &[Input],
    closing: &AtomicBool,
    add: impl Fn(&mut TierWriter<'_>, &Labels, &[Segment]) -> Result<(), PartitionError>,
) -> Result<Option<PartitionSummary>, MergeError> {
    let Some(length) = length_of(tier) else {
        return Ok(None);
    };
    let path = folder.join(name);
    let writer = TierWriter::create(files, &path, key, length).map_err(MergeError::Output)?;
    let written = write_all(writer, inputs, closing, add);
    if !matches!(written, Ok(Some(_))) {
        // What cannot be removed now is removed at the next start: nothing names it.
        files.remove(&path).unwrap_or_default();
    }
    written
}

fn write_all(
    mut writer: TierWriter<'_>,
    inputs: &[Input],
    closing: &AtomicBool,
    add: impl Fn(&mut TierWriter<'_>, &Labels, &[Segment]) -> Result<(), PartitionError>,
) -> Result<Option<PartitionSummary>, MergeError> {
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
        add(&mut writer, &labels, &merge_runs(runs)).map_err(MergeError::Output)?;
    }
    let summary = writer.finish().map_err(MergeError::Output)?;
    Ok((summary.series > 0).then_some(summary))
}
