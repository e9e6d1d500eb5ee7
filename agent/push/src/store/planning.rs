//! What a push would do, found out before anything is done.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use exposition::Part;
use model::{Labels, METRIC_NAME, MetricType, Value};
use rows::Slot;

use super::{Mode, Store};
use crate::error::Inconsistent;
use crate::group::{About, Family, Group, GroupId, OWN_SERIES, slot_bytes, value_bytes};
use crate::pushed::{FamilyView, SERIES_MAX, SampleView};
use crate::{GroupKey, PushError, Pushed};

/// The longest series, names and values together: it must fit into a frame on its way.
const SERIES_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of a group's native histograms; a fourth of what a batch of rows may hold.
const HISTOGRAM_BYTES_MAX: usize = 1 << 20;

/// What a push does.
#[derive(Debug)]
pub(super) struct Plan {
    /// `None`: the group is to be made.
    pub(super) group: Option<GroupId>,
    /// Whether families or series come or go; otherwise only values are set.
    pub(super) is_reshaped: bool,
    /// Whether all that the group has is replaced.
    pub(super) replaces_all: bool,
    /// Whether a series has another type than its slot.
    pub(super) is_retyped: bool,
    pub(super) families: Vec<FamilyPlan>,
    /// The families' series, one family's after the other's.
    pub(super) series: Vec<(Target, Value)>,
    /// The slots of the families that are replaced.
    pub(super) replaced: Vec<Slot>,
}

/// What a push does to a family.
#[derive(Debug)]
pub(super) struct FamilyPlan {
    pub(super) about: Arc<About>,
    /// Where the group has it, if it does.
    pub(super) present: Option<usize>,
    /// The slots of the series that stay beside those that are pushed.
    pub(super) stay: Vec<Slot>,
    /// Where its series stand in the plan's list.
    pub(super) series: Range<usize>,
}

/// Where a series goes.
#[derive(Debug)]
pub(super) enum Target {
    /// Into a slot that the layout has.
    Slot(Slot),
    /// The same, of a series that the family has and keeps.
    Kept(Slot),
    /// Into a new slot.
    New(Labels),
}

impl Store {
    /// Returns what a push does, or why it cannot be.
    pub(super) fn plan(
        &self,
        key: &GroupKey,
        pushed: &Pushed,
        mode: Mode,
    ) -> Result<Plan, PushError> {
        if pushed.has_timestamps() {
            return Err(Inconsistent::Timestamp.into());
        }
        let id = self.by_key.get(key).copied();
        if id.is_none() {
            self.check_own_series(key)?;
        }
        let group = id.and_then(|id| self.groups.get(&id));
        let is_pushed = |family: &FamilyView<'_>| OWN_SERIES.iter().all(|(n, _)| *n != family.name);
        let families: Vec<_> = pushed.families().filter(is_pushed).collect();
        let mut planner = Planner::new(self, key, id, group, mode, &families);
        for (family, present) in families.iter().zip(planner.present.clone()) {
            planner.family(family, present)?;
        }
        planner.finish(families.len())
    }
}

struct Planner<'a> {
    store: &'a Store,
    key: &'a GroupKey,
    id: Option<GroupId>,
    group: Option<&'a Group>,
    mode: Mode,
    /// Where the group has the pushed families.
    present: Vec<Option<usize>>,
    /// By slot: which of the group's families has it, from 1; made when it is asked for.
    family_of: OnceCell<Vec<usize>>,
    /// By slot: whether this push brings it.
    seen: Vec<bool>,
    new: HashSet<Labels>,
    bytes: usize,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(
        store: &'a Store,
        key: &'a GroupKey,
        id: Option<GroupId>,
        group: Option<&'a Group>,
        mode: Mode,
        families: &[FamilyView<'_>],
    ) -> Self {
        let bytes = match group {
            Some(_) => 0,
            None => Group::bytes_of_empty(key),
        };
        let present = find(group, families);
        let replaced = match (group, mode) {
            (Some(group), Mode::Replace) => group.order.clone(),
            (Some(group), Mode::Merge) => {
                let named = present.iter().flatten().map(|at| &group.families[*at]);
                named
                    .flat_map(|family| group.slots(family))
                    .copied()
                    .collect()
            }
            _ => Vec::new(),
        };
        Self {
            store,
            key,
            id,
            group,
            mode,
            present,
            family_of: OnceCell::new(),
            seen: vec![false; group.map_or(0, |group| group.layout.len())],
            new: HashSet::new(),
            bytes,
            plan: Plan {
                group: id,
                is_reshaped: group.is_none(),
                replaces_all: mode == Mode::Replace,
                is_retyped: false,
                families: Vec::with_capacity(families.len()),
                series: Vec::new(),
                replaced,
            },
        }
    }

    fn family(&mut self, pushed: &FamilyView<'_>, present: Option<usize>) -> Result<(), PushError> {
        let known = self.store.families.get(pushed.name);
        self.check_type(pushed, present)?;
        let start = self.plan.series.len();
        let before = self.group.zip(present);
        let before = before.map(|(group, at)| (&group.families[at], group));
        let slots = before.map_or(&[][..], |(family, group)| group.slots(family));
        let mut scratch = Vec::new();
        let mut is_same = before.is_some_and(|(family, _)| family.about.kind == pushed.kind)
            && (self.mode == Mode::Sum || slots.len() == pushed.samples().len());
        for (at, sample) in pushed.samples().enumerate() {
            let predicted = slots.get(at).copied();
            let target = self.resolve(&sample, pushed, present, predicted, &mut scratch)?;
            is_same &= match target {
                Target::Slot(slot) => Some(slot) == predicted,
                Target::Kept(_) => true,
                Target::New(_) => false,
            };
            let value = self.value(&sample, pushed, &target)?;
            self.bytes += value_bytes(&value);
            self.plan.series.push((target, value));
        }
        if self.mode == Mode::Sum {
            self.check_bounds(pushed, present)?;
        }
        self.plan.is_reshaped |= !is_same;
        let is_it = |about: &&Arc<About>| *about.help == *pushed.help && about.kind == pushed.kind;
        let own = before.map(|(family, _)| &family.about).filter(is_it);
        let about = match own.or_else(|| known.map(|known| &known.about).filter(is_it)) {
            Some(about) => Arc::clone(about),
            None => Arc::new(About {
                name: known.map_or_else(
                    || Arc::from(pushed.name),
                    |known| Arc::clone(&known.about.name),
                ),
                help: Arc::from(pushed.help),
                kind: pushed.kind,
            }),
        };
        if before.is_none() {
            self.bytes += about.name.len() + about.help.len() + size_of::<Family>();
        }
        self.plan.families.push(FamilyPlan {
            about,
            present,
            stay: match self.mode {
                Mode::Sum => slots.to_vec(),
                Mode::Replace | Mode::Merge => Vec::new(),
            },
            series: start..self.plan.series.len(),
        });
        Ok(())
    }

    /// A family has one type everywhere; the group that alone has it may give it another, but not add to what has another.
    fn check_type(
        &self,
        pushed: &FamilyView<'_>,
        present: Option<usize>,
    ) -> Result<(), Inconsistent> {
        let clash = |present, owner: String| Inconsistent::Type {
            family: pushed.name.to_owned(),
            pushed: pushed.kind,
            present,
            owner,
        };
        let own = self.group.zip(present);
        let own = own.map(|(group, at)| group.families[at].about.kind);
        if let (Mode::Sum, Some(own)) = (self.mode, own.filter(|own| *own != pushed.kind)) {
            return Err(clash(own, format!("group {}", self.key)));
        }
        let Some(known) = self.store.families.get(pushed.name) else {
            return Ok(());
        };
        let is_alone = known.groups == usize::from(present.is_some());
        if known.about.kind == pushed.kind {
            return Ok(());
        }
        if known.is_own {
            return Err(clash(known.about.kind, "this agent".to_owned()));
        }
        if is_alone || !self.store.config.check_types {
            return Ok(());
        }
        let has = |group: &&Group| group.key != *self.key && group.family(pushed.name).is_some();
        let owner = self.store.groups.values().find(has);
        let owner = owner.map_or(self.key, |group| &group.key);
        Err(clash(known.about.kind, format!("group {owner}")))
    }

    /// Returns where a sample goes. One that comes at the same place as in the last push costs one comparison, any other a look-up.
    fn resolve<'p>(
        &mut self,
        sample: &SampleView<'p>,
        family: &FamilyView<'_>,
        present: Option<usize>,
        predicted: Option<Slot>,
        scratch: &mut Vec<(&'p str, &'p str)>,
    ) -> Result<Target, PushError>
    where
        'a: 'p,
    {
        scratch.clear();
        scratch.push((METRIC_NAME, sample.name()));
        let key = self.key;
        let own = sample.labels();
        scratch.extend(own.filter(|(name, value)| !value.is_empty() && key.get(name).is_none()));
        scratch.extend(key.iter().filter(|(_, value)| !value.is_empty()));
        scratch.sort_unstable_by_key(|(name, _)| *name);
        if let (Some(slot), Some(group)) = (predicted, self.group) {
            let at = usize::from(slot);
            let is_it = group.layout.kinds[at] == family.kind
                && group.layout.series[at].iter().eq(scratch.iter().copied());
            if is_it {
                return self.see(slot, sample);
            }
        }
        let labels = Labels::from_pairs(scratch.iter().copied()).map_err(|error| {
            let what = format!("has a series without a label set: {error}");
            refused(family, what)
        })?;
        if labels.text_bytes() > SERIES_BYTES_MAX {
            let what = format!(
                "has a series with {} bytes of labels, and at most {SERIES_BYTES_MAX} are taken; shorten them",
                labels.text_bytes()
            );
            return Err(refused(family, what));
        }
        let Some(place) = self.store.series.get(&labels) else {
            return self.see_new(labels, sample);
        };
        if Some(place.group) != self.id {
            return match self.store.owner(&labels) {
                Some(owner) => Err(owned(&labels, owner).into()),
                None => self.see_new(labels, sample),
            };
        }
        let Some(group) = self.group else {
            return self.see_new(labels, sample);
        };
        let is_live = group.layout.value(place.slot).is_some();
        if is_live && !self.gives_way(group, place.slot, present) {
            return Err(owned(&labels, group).into());
        }
        if group.layout.kinds[usize::from(place.slot)] == family.kind {
            return self.see(place.slot, sample);
        }
        self.plan.is_retyped = true;
        self.see_new(labels, sample)
    }

    fn see(&mut self, slot: Slot, sample: &SampleView<'_>) -> Result<Target, PushError> {
        if std::mem::replace(&mut self.seen[usize::from(slot)], true) {
            return Err(Inconsistent::Repeated(sample.to_string()).into());
        }
        let is_live = self.live_value(slot).is_some();
        Ok(if self.mode == Mode::Sum && is_live {
            Target::Kept(slot)
        } else {
            Target::Slot(slot)
        })
    }

    fn see_new(&mut self, labels: Labels, sample: &SampleView<'_>) -> Result<Target, PushError> {
        if !self.new.insert(labels.clone()) {
            return Err(Inconsistent::Repeated(sample.to_string()).into());
        }
        self.bytes += slot_bytes(&labels);
        Ok(Target::New(labels))
    }

    fn live_value(&self, slot: Slot) -> Option<&'a Value> {
        self.group?.layout.value(slot)
    }

    /// Whether what a live slot holds may be replaced by a sample of the family at `present`: not when it is another family's that
    /// stays as it is.
    fn gives_way(&self, group: &Group, slot: Slot, present: Option<usize>) -> bool {
        let family_of = self.family_of.get_or_init(|| {
            let mut family_of = vec![0; group.layout.len()];
            for (number, family) in (1..).zip(&group.families) {
                for slot in group.slots(family) {
                    family_of[usize::from(*slot)] = number;
                }
            }
            family_of
        });
        let Some(family) = family_of[usize::from(slot)].checked_sub(1) else {
            return false;
        };
        match self.mode {
            Mode::Replace => true,
            Mode::Merge => self.present.contains(&Some(family)),
            Mode::Sum => present == Some(family),
        }
    }

    fn value(
        &self,
        sample: &SampleView<'_>,
        family: &FamilyView<'_>,
        target: &Target,
    ) -> Result<Value, PushError> {
        let value = sample.value();
        let adds = match (family.kind, sample.part()) {
            (MetricType::Counter, _) => true,
            (MetricType::Histogram | MetricType::Summary, part) => {
                !matches!(part, Part::Quantile(_))
            }
            _ => false,
        };
        if self.mode != Mode::Sum || !adds {
            return Ok(value);
        }
        let refuse = |why| Inconsistent::Sum {
            series: sample.to_string(),
            why,
        };
        let Value::Float(increment) = value else {
            return Err(refuse("it is a native histogram").into());
        };
        if !increment.is_finite() || (increment < 0.0 && sample.part() != Part::Sum) {
            return Err(refuse("increments are finite and not negative").into());
        }
        let Target::Kept(slot) = target else {
            return Ok(Value::Float(increment));
        };
        match self.live_value(*slot) {
            Some(Value::Float(present)) => Ok(Value::Float(present + increment)),
            _ => Err(refuse("there is a native histogram").into()),
        }
    }

    /// Histograms add up only when they have the same buckets.
    fn check_bounds(
        &self,
        pushed: &FamilyView<'_>,
        present: Option<usize>,
    ) -> Result<(), PushError> {
        let (Some(group), Some(present), MetricType::Histogram) =
            (self.group, present, pushed.kind)
        else {
            return Ok(());
        };
        let family = &group.families[present];
        let name_of_buckets = format!("{}_bucket", pushed.name);
        let mut stored: HashMap<Labels, usize> = HashMap::new();
        for (labels, _) in group.series(family) {
            if labels.metric_name() == Some(&name_of_buckets) {
                let metric = labels.filtered(|name| name != "le" && name != METRIC_NAME);
                *stored.entry(metric).or_default() += 1;
            }
        }
        // Pushed metrics are whole: as many buckets that are there already as there are in all means that they are the same.
        let mut kept: HashMap<Labels, (usize, usize)> = HashMap::new();
        let series = &self.plan.series[self.plan.series.len() - pushed.samples().len()..];
        for (target, _) in series {
            let (labels, is_kept) = match target {
                Target::Kept(slot) | Target::Slot(slot) => {
                    let is_kept = matches!(target, Target::Kept(_));
                    (&group.layout.series[usize::from(*slot)], is_kept)
                }
                Target::New(labels) => (labels, false),
            };
            if labels.metric_name() == Some(&name_of_buckets) {
                let metric = labels.filtered(|name| name != "le" && name != METRIC_NAME);
                let (all, known) = kept.entry(metric).or_default();
                *all += 1;
                *known += usize::from(is_kept);
            }
        }
        for (metric, (all, known)) in kept {
            let before = stored.get(&metric).copied().unwrap_or(0);
            if before > 0 && (all, known) != (before, before) {
                return Err(Inconsistent::Sum {
                    series: format!("{} {metric}", pushed.name),
                    why: "its buckets are not those that are there",
                }
                .into());
            }
        }
        Ok(())
    }

    fn finish(mut self, families: usize) -> Result<Plan, PushError> {
        self.plan.is_reshaped |= self.plan.is_retyped;
        if let (Some(group), Mode::Replace) = (self.group, self.mode) {
            self.plan.is_reshaped |= group.families.len() != families;
        }
        let before = self.group.map_or(0, |group| group.order.len());
        let kept = self.plan.series.iter();
        let kept = kept.filter(|(target, _)| matches!(target, Target::Kept(_)));
        let stay = before - self.plan.replaced.len() - kept.count();
        if stay + self.plan.series.len() > SERIES_MAX {
            return Err(PushError::TooManySeries {
                samples_max: SERIES_MAX,
            });
        }
        self.check_histograms()?;
        let is_new = self.group.is_none();
        self.store.check_room(self.bytes, usize::from(is_new))?;
        Ok(self.plan)
    }
}

impl Planner<'_> {
    /// A group's row must fit into a batch.
    fn check_histograms(&self) -> Result<(), PushError> {
        let pushed = self.plan.series.iter().map(|(_, value)| value_bytes(value));
        let pushed: usize = pushed.sum();
        let Some(group) = self.group.filter(|_| pushed > 0) else {
            return refuse_above(pushed);
        };
        let of = |slots: &[Slot]| -> usize {
            let values = slots.iter().filter_map(|slot| group.layout.value(*slot));
            values.map(value_bytes).sum()
        };
        refuse_above(pushed + of(&group.order) - of(&self.plan.replaced))
    }
}

fn refuse_above(bytes: usize) -> Result<(), PushError> {
    if bytes > HISTOGRAM_BYTES_MAX {
        return Err(PushError::HistogramsTooLarge {
            bytes,
            bytes_max: HISTOGRAM_BYTES_MAX,
        });
    }
    Ok(())
}

/// Returns where the group has each family: most often they come in the same order.
fn find(group: Option<&Group>, families: &[FamilyView<'_>]) -> Vec<Option<usize>> {
    let Some(group) = group else {
        return vec![None; families.len()];
    };
    let mut next = 0;
    let mut place = |family: &FamilyView<'_>| {
        let is_next = group
            .families
            .get(next)
            .is_some_and(|f| *f.about.name == *family.name);
        let found = if is_next {
            Some(next)
        } else {
            let by_name = |f: &Family| (*f.about.name).cmp(family.name);
            group.families.binary_search_by(by_name).ok()
        };
        next = found.map_or(next, |at| at + 1);
        found
    };
    families.iter().map(&mut place).collect()
}

fn refused(family: &FamilyView<'_>, what: String) -> PushError {
    PushError::Family {
        name: family.name.to_owned(),
        what,
    }
}

fn owned(series: &Labels, owner: &Group) -> Inconsistent {
    Inconsistent::Owned {
        series: series.to_string(),
        owner: owner.key.clone(),
    }
}
