//! Tiers are made when nothing is left to merge: from the files of a day that is merged.

use std::sync::Arc;

use super::{Merger, StepError};
use crate::catalogue::{PartitionEntry, Tier};
use crate::partitions::PartitionHandle;
use crate::tier::{State, TierPlan, day_of, day_range, make_tier, plan_tiers, rewrite_tier};

impl Merger {
    /// Makes one tier of a shard, if any is due; with `clean` anew also where a delete hits one that is up to date: the summaries that it
    /// touches stay when none of their samples is gone.
    pub(super) fn tier_step(
        &mut self,
        shard: u16,
        partitions: &[Arc<PartitionHandle>],
        clean: bool,
    ) -> Result<bool, StepError> {
        let now = model::TimestampMs::from(self.clock.wall());
        let files = partitions
            .iter()
            .map(|handle| (&handle.name, &handle.entry));
        let named = |name: &str| partitions.iter().find(|handle| handle.name == name);
        // Those that deletes hit are rewritten first.
        let is_hit = |name: &str| named(name).is_some_and(|handle| handle.is_hit());
        let planned = plan_tiers(
            files,
            |tier, day| self.retention.keeps_tier(tier, day, now),
            |name| self.barred.contains_key(name) || self.blank.contains(name) || is_hit(name),
            |name| clean && is_hit(name),
        );
        let Some(plan) = planned else {
            return Ok(false);
        };
        let inputs = plan.inputs.iter().filter_map(|name| named(name));
        let inputs: Vec<_> = inputs.cloned().collect();
        let made = match self.make(shard, &plan, &inputs) {
            Ok(made) => made,
            Err(error) => return self.give_up(&inputs, error),
        };
        let Some(made) = made else {
            // Corrections that say that there was nothing, say.
            self.blank.extend(plan.inputs);
            return Ok(true);
        };
        let (name, mut entry) = made;
        let old = plan.replaces.iter().filter_map(|name| named(name));
        let old: Vec<_> = old.cloned().collect();
        // None is left to carry out in what it was made of.
        let deletes = old.iter().filter_map(|old| old.deletes().last());
        let last = deletes.map(|(position, _)| *position).max();
        entry.deleted = entry.deleted.max(last.unwrap_or(0));
        if self.replace(&old, vec![(name, entry)])? {
            self.counters.tiers_made.add(1);
        }
        Ok(true)
    }

    fn make(
        &self,
        shard: u16,
        plan: &TierPlan,
        handles: &[Arc<PartitionHandle>],
    ) -> Result<Option<(String, PartitionEntry)>, StepError> {
        // A tier is smaller than its samples.
        self.check_space(handles)?;
        let suffix = plan.tier.name_suffix();
        let name = self.new_name(shard, plan.span, plan.made_of.until, suffix);
        let inputs = self.open(handles)?;
        let place = (self.partitions.folder(), name.as_str());
        let made = make_tier(&*self.files, place, (shard, plan), &inputs, &self.closing)?;
        Ok(made.map(|entry| (name, entry)))
    }

    /// Carries out the deletes that hit a tier which is not made anew; one of a shard, if there is any. What is left of one of which samples
    /// are gone is written; any other goes as a whole, for what it sums up is there.
    pub(super) fn clean_tier_step(
        &mut self,
        shard: u16,
        partitions: &[Arc<PartitionHandle>],
    ) -> Result<bool, StepError> {
        let samples_of = |tier: &PartitionHandle| {
            let day = day_of(&tier.entry);
            let raw = partitions.iter().filter(|raw| raw.entry.tier == Tier::Raw);
            raw.filter(move |raw| day_of(&raw.entry) == day)
        };
        let is_due = |handle: &&Arc<PartitionHandle>| {
            handle.entry.tier != Tier::Raw
                && handle.is_hit()
                && !self.barred.contains_key(&handle.name)
                // In samples they are carried out first, and these can be read.
                && !samples_of(handle)
                    .any(|raw| raw.is_hit() || self.barred.contains_key(&raw.name))
        };
        let Some(tier) = partitions.iter().find(is_due).cloned() else {
            return Ok(false);
        };
        let entries = samples_of(&tier).map(|raw| &raw.entry);
        let bereft = State::of(&tier.entry, entries) == State::Bereft;
        let old = [tier];
        let new = if bereft {
            self.rewrite(shard, &old)
        } else {
            Ok(None)
        };
        match new {
            Ok(new) => {
                self.replace(&old, new.into_iter().collect())?;
                Ok(true)
            }
            Err(error) => self.give_up(&old, error),
        }
    }

    /// Writes what deletes leave of a tier; `None`: nothing.
    fn rewrite(
        &self,
        shard: u16,
        tier: &[Arc<PartitionHandle>; 1],
    ) -> Result<Option<(String, PartitionEntry)>, StepError> {
        self.check_space(tier)?;
        let [handle] = tier;
        let (entry, suffix) = (&handle.entry, handle.entry.tier.name_suffix());
        let name = self.new_name(shard, day_range(day_of(entry)), entry.until, suffix);
        let inputs = self.open(tier)?;
        let place = (self.partitions.folder(), name.as_str());
        let rewritten = rewrite_tier(&*self.files, place, entry, &inputs, &self.closing)?;
        let last = handle.deletes().last().map(|(position, _)| *position);
        let deleted = entry.deleted.max(last.unwrap_or(0));
        Ok(rewritten.map(|entry| (name, PartitionEntry { deleted, ..entry })))
    }
}
