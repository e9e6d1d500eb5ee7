//! Tiers are made when nothing is left to merge: from the files of a day that is merged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CACHE_BYTES, Merger, SPARE_BYTES, StepError};
use crate::cache::Cache;
use crate::deletes::Mask;
use crate::merge::{Input, MergeError};
use crate::partition::Partition;
use crate::partitions::PartitionHandle;
use crate::tier::{TierPlan, make_tier, plan_tiers};

impl Merger {
    /// Makes one tier of a shard, if any is due.
    pub(super) fn tier_step(
        &mut self,
        shard: u16,
        partitions: &[Arc<PartitionHandle>],
    ) -> Result<bool, StepError> {
        let now = model::TimestampMs::from(self.clock.wall());
        let files = partitions
            .iter()
            .map(|handle| (&handle.name, &handle.entry));
        let planned = plan_tiers(
            files,
            |tier, day| self.retention.keeps_tier(tier, day, now),
            |name| self.barred.contains(name),
        );
        let Some(plan) = planned else {
            return Ok(false);
        };
        let named = |name: &String| partitions.iter().find(|handle| handle.name == *name);
        let inputs: Vec<_> = plan.inputs.iter().filter_map(named).cloned().collect();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (start, until) = (plan.span.start.0, plan.made_of.until);
        let suffix = plan.tier.name_suffix();
        let name = format!("{shard:05}-{start}-{until:016}-{serial}{suffix}.redb");
        let made = match self.make(shard, &name, &plan, &inputs) {
            Err(StepError::Merge(MergeError::Input { input, source })) if source.is_damage() => {
                self.bar(&inputs, &input, &source);
                return Ok(true);
            }
            made => made?,
        };
        let Some(entry) = made else {
            // A file of samples has some; one without is none of ours to sum up.
            self.barred.extend(plan.inputs);
            return Ok(true);
        };
        let old: Vec<_> = plan.replaces.iter().filter_map(named).cloned().collect();
        if self.replace(&old, vec![(name, entry)])? {
            self.counters.tiers_made.add(1);
        }
        Ok(true)
    }

    fn make(
        &self,
        shard: u16,
        name: &str,
        plan: &TierPlan,
        handles: &[Arc<PartitionHandle>],
    ) -> Result<Option<crate::catalogue::PartitionEntry>, StepError> {
        // A tier is smaller than its samples.
        let needed: u64 = handles.iter().map(|handle| handle.entry.bytes).sum();
        let needed = needed.saturating_add(SPARE_BYTES);
        if let Ok(space) = self.files.space(self.partitions.folder())
            && space.free_bytes < needed
        {
            let free = space.free_bytes;
            return Err(StepError::Space { needed, free });
        }
        let cache = Arc::new(Cache::new(CACHE_BYTES));
        let mut inputs = Vec::with_capacity(handles.len());
        for handle in handles {
            let path = handle.path();
            let failed = |source| MergeError::Input {
                input: path.clone(),
                source,
            };
            let partition = Partition::open(&*self.files, &path, &cache).map_err(failed)?;
            let mask = Mask::new(&partition, handle.deletes(), handle.entry.tier);
            inputs.push(Input {
                partition: Arc::new(partition),
                mask: mask.map_err(failed)?,
            });
        }
        let folder = self.partitions.folder();
        let made = make_tier(
            &*self.files,
            (folder, name),
            (shard, plan),
            &inputs,
            &self.closing,
        );
        Ok(made?)
    }
}
