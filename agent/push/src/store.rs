//! All groups, and what pushing to them means.
//!
//! Three maps make the cost of a push proportional to what is pushed, whatever is stored: groups by key; for each family its type and how
//! many groups have it; for each series the group and slot that have it. A push is planned against them and, when nothing
//! speaks against it, applied as a whole: a refused push changes nothing but its group's time of failure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use model::{Labels, MetricType, TimestampMs, Value};
use rows::{CohortId, SLOTS_MAX, Slot};

use crate::error::{Full, Inconsistent};
use crate::group::{About, Family, Group, GroupId, Layout, OWN_SERIES};
use crate::outlet::{Harvest, Outlet};
use crate::{GroupKey, PushError, Pushed};

mod planning;
mod restoring;

use planning::{FamilyPlan, Plan, Target};

/// How a push changes its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It becomes all that the group has (PUT).
    #[default]
    Replace,
    /// Its families replace those of the same names (POST).
    Merge,
    /// Like [`Mode::Merge`], but counters, and the counts and sums of histograms and summaries, are added to what is there, and other
    /// series of its families stay.
    Sum,
}

/// How long a group lives after a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// As long as groups live by default.
    #[default]
    Default,
    /// Until it is deleted.
    Endless,
    /// So long.
    After(Duration),
}

/// The present moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What pushes are dated with.
    pub wall: TimestampMs,
    /// What lives are measured by.
    pub monotonic: Monotonic,
}

/// A part of the groups, about as large as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub number: u32,
    /// How many there are.
    pub parts: u32,
}

/// What the store may hold, and how it judges.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// The most groups.
    pub groups_max: usize,
    /// About the most bytes that the groups take.
    pub bytes_max: usize,
    /// How long groups live after a push that does not say; `None`: until they are deleted.
    pub ttl: Option<Duration>,
    /// Whether a family must have the same type everywhere.
    pub check_types: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            groups_max: 10_000,
            bytes_max: 64 << 20,
            ttl: None,
            check_types: true,
        }
    }
}

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new, or its families or series are others.
    Shape,
    /// Its values or times are others.
    Values,
    /// It is gone.
    End,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Groups.
    pub groups: usize,
    /// Series that have a value, two of each group its own.
    pub series: usize,
    /// About the bytes that they take.
    pub bytes: usize,
    /// Groups that ended because nothing was pushed for too long.
    pub expired: u64,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Store {
    config: StoreConfig,
    next: u32,
    groups: HashMap<GroupId, Group>,
    by_key: HashMap<GroupKey, GroupId>,
    families: HashMap<Arc<str>, FamilyUse>,
    series: HashMap<Labels, Place>,
    ends: BTreeSet<(Monotonic, GroupId)>,
    live: usize,
    bytes: usize,
    expired: u64,
    outlet: Outlet,
    changes: Vec<(GroupId, Change)>,
}

/// A family's type, and how many groups have it.
#[derive(Clone, Debug)]
struct FamilyUse {
    /// With the first help text; others are tolerated.
    about: Arc<About>,
    groups: usize,
    /// The agent itself exposes it.
    is_own: bool,
}

/// Where a series has its slot. It may be gone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    group: GroupId,
    slot: Slot,
}

impl Store {
    pub(crate) fn new(config: StoreConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Lets nobody push families of this name with another type.
    pub(crate) fn reserve(&mut self, name: &str, kind: MetricType) {
        let about = About {
            name: Arc::from(name),
            help: Arc::from(""),
            kind,
        };
        let own = FamilyUse {
            about: Arc::new(about),
            groups: 0,
            is_own: true,
        };
        self.families.insert(Arc::from(name), own);
    }

    pub(crate) fn stats(&self) -> StoreStats {
        StoreStats {
            groups: self.groups.len(),
            series: self.live,
            bytes: self.bytes,
            expired: self.expired,
        }
    }

    /// Returns the groups, sorted by key.
    pub(crate) fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by(|a, b| a.key.cmp(&b.key));
        groups
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// Returns what has changed since it was last asked, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<(GroupId, Change)> {
        std::mem::take(&mut self.changes)
    }

    /// Wants rows from now on; cohorts count from `first`. The first rows are of what is there.
    pub(crate) fn open(&mut self, first: CohortId, now: Now) {
        self.outlet.open(first);
        for family in self.families.values().filter(|family| !family.is_own) {
            self.outlet.describe(&family.about);
        }
        self.describe_times();
        for group in self.groups.values_mut() {
            self.outlet.emit(group, now.wall, &[]);
        }
    }

    /// Makes a row of each group of a part that has made none since `before`.
    pub(crate) fn sample(&mut self, part: Part, before: TimestampMs, now: Now) {
        let is_in = |id: &GroupId| id.0 % part.parts.max(1) == part.number;
        for (_, group) in self.groups.iter_mut().filter(|(id, _)| is_in(id)) {
            let last = group.cohort.and_then(|cohort| cohort.last);
            if last.is_none_or(|last| last <= before || last > now.wall) {
                self.outlet.emit(group, now.wall, &[]);
            }
        }
    }

    /// Returns the number of rows that wait, and their slots.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.outlet.waiting()
    }

    pub(crate) fn harvest(&mut self) -> Harvest {
        self.outlet.take()
    }

    /// Changes a group as a push says.
    pub(crate) fn push(
        &mut self,
        key: &GroupKey,
        pushed: &Pushed,
        mode: Mode,
        ttl: Ttl,
        now: Now,
    ) -> Result<(), PushError> {
        let plan = self.plan(key, pushed, mode);
        match plan {
            Ok(plan) => {
                self.apply(key, plan, ttl, now);
                Ok(())
            }
            Err(PushError::Inconsistent(why)) => {
                self.fail(key, now)?;
                Err(why.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Notes that a push to a group was refused; the group is made when there is none.
    pub(crate) fn fail(&mut self, key: &GroupKey, now: Now) -> Result<(), PushError> {
        let id = match self.by_key.get(key) {
            Some(id) => *id,
            None => {
                self.check_room(Group::bytes_of_empty(key), 1)?;
                self.check_own_series(key)?;
                self.insert(key)
            }
        };
        let Some(group) = self.groups.get_mut(&id) else {
            return Ok(());
        };
        let is_new = group.pushed.is_none() && group.failed.is_none();
        group.failed = Some(now.wall);
        group.show_times();
        self.outlet.emit(group, now.wall, &[]);
        let change = if is_new {
            Change::Shape
        } else {
            Change::Values
        };
        self.changes.push((id, change));
        if is_new {
            self.live_until(id, Ttl::Default, now);
        }
        Ok(())
    }

    /// Ends a group; returns whether there was one.
    pub(crate) fn delete(&mut self, key: &GroupKey, now: Now) -> bool {
        let found = self.by_key.get(key).copied();
        if let Some(id) = found {
            self.remove(id, now);
        }
        found.is_some()
    }

    /// Ends all groups.
    pub(crate) fn wipe(&mut self, now: Now) {
        let mut all: Vec<GroupId> = self.groups.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            self.remove(id, now);
        }
    }

    /// Ends the groups whose time is over, and returns when the next one's is.
    pub(crate) fn expire(&mut self, now: Now) -> Option<Monotonic> {
        while let Some((ends, id)) = self.ends.first().copied() {
            if ends > now.monotonic {
                return Some(ends);
            }
            self.remove(id, now);
            self.expired += 1;
        }
        None
    }

    /// Marks everything as ended in the rows, and keeps it: for a process that stops and will not have it back.
    pub(crate) fn mark_all_ended(&mut self, now: Now) {
        for group in self.groups.values_mut() {
            let layout = std::mem::take(&mut group.layout);
            let ended = live_values(&layout);
            self.outlet.end(group, layout.clone(), now.wall, &ended);
            group.layout = layout;
        }
    }

    fn check_room(&self, bytes: usize, groups: usize) -> Result<(), Full> {
        let (present, limit) = (self.groups.len(), self.config.groups_max);
        if groups > 0 && present + groups > limit {
            return Err(Full::Groups { groups: present });
        }
        let (bytes, bytes_max) = (self.bytes.saturating_add(bytes), self.config.bytes_max);
        if bytes > bytes_max {
            return Err(Full::Bytes { bytes, bytes_max });
        }
        Ok(())
    }

    /// Another group may be this one but for empty labels: then both would be the same series, and this one cannot be.
    fn check_own_series(&self, key: &GroupKey) -> Result<(), Inconsistent> {
        let series = key.series(OWN_SERIES[0].0);
        match self.owner(&series) {
            Some(owner) if owner.key != *key => Err(Inconsistent::Owned {
                series: series.to_string(),
                owner: owner.key.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the group that has a series now.
    fn owner(&self, series: &Labels) -> Option<&Group> {
        let place = self.series.get(series)?;
        let group = self.groups.get(&place.group)?;
        group.layout.value(place.slot).map(|_| group)
    }

    fn insert(&mut self, key: &GroupKey) -> GroupId {
        let id = GroupId(self.next);
        self.next = self.next.wrapping_add(1);
        let group = Group::new(key.clone());
        self.enter(id, &group);
        self.groups.insert(id, group);
        self.by_key.insert(key.clone(), id);
        if self.groups.len() == 1 {
            self.describe_times();
        }
        id
    }

    fn describe_times(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        for (name, help) in OWN_SERIES {
            self.outlet.describe(&About {
                name: Arc::from(name),
                help: Arc::from(help),
                kind: MetricType::Gauge,
            });
        }
    }

    /// Puts what is in a group into the maps.
    fn enter(&mut self, group: GroupId, contents: &Group) {
        for (at, labels) in contents.layout.series.iter().enumerate() {
            let slot = Slot::try_from(at).unwrap_or(Slot::MAX);
            self.series.insert(labels.clone(), Place { group, slot });
        }
        self.live += contents.layout.live();
        self.bytes += contents.bytes;
    }

    /// Takes the series of a layout out of the map, but for those that another group has by now.
    fn leave(&mut self, group: GroupId, layout: &Layout) {
        for labels in &layout.series {
            if self.series.get(labels).is_some_and(|p| p.group == group) {
                self.series.remove(labels);
            }
        }
    }

    fn remove(&mut self, id: GroupId, now: Now) {
        let Some(mut group) = self.groups.remove(&id) else {
            return;
        };
        self.by_key.remove(&group.key);
        if let Some(ends) = group.ends {
            self.ends.remove(&(ends, id));
        }
        for family in &group.families {
            self.release(&family.about);
        }
        self.live -= group.layout.live();
        self.bytes -= group.bytes;
        let layout = std::mem::take(&mut group.layout);
        self.leave(id, &layout);
        let ended = live_values(&layout);
        self.outlet.end(&mut group, layout, now.wall, &ended);
        self.changes.push((id, Change::End));
    }

    fn apply(&mut self, key: &GroupKey, plan: Plan, ttl: Ttl, now: Now) {
        let (id, is_new) = match plan.group {
            Some(id) => (id, false),
            None => (self.insert(key), true),
        };
        let Some(mut group) = self.groups.remove(&id) else {
            return;
        };
        let bytes_before = group.bytes;
        let live_before = group.layout.live();
        let (is_reshaped, is_retyped) = (plan.is_reshaped, plan.is_retyped);
        let has_histograms = (plan.series.iter()).any(|(_, v)| matches!(v, Value::Histogram(_)));
        let ended = self.put(id, &mut group, plan, now);
        group.pushed = Some(now.wall);
        group.show_times();
        if is_reshaped || has_histograms {
            group.measure();
        }
        self.bytes = self.bytes + group.bytes - bytes_before;
        self.live = self.live + group.layout.live() - live_before;
        self.emit(id, &mut group, is_retyped, &ended, now);
        self.groups.insert(id, group);
        self.live_until(id, ttl, now);
        let change = if is_new || is_reshaped {
            Change::Shape
        } else {
            Change::Values
        };
        self.changes.push((id, change));
    }

    /// Puts a plan into its group; returns the series that it ends, with their last values.
    fn put(
        &mut self,
        id: GroupId,
        group: &mut Group,
        mut plan: Plan,
        now: Now,
    ) -> Vec<(Slot, Value)> {
        if !plan.is_reshaped {
            for (target, value) in plan.series {
                if let Target::Slot(slot) | Target::Kept(slot) = target {
                    group.layout.set(slot, value);
                }
            }
            for family in plan.families {
                if let Some(at) = family.present {
                    let present = &mut group.families[at];
                    (present.at, present.about) = (now.wall, family.about);
                }
            }
            return Vec::new();
        }
        // Everything that is replaced goes; what comes again is set below, and has then not ended.
        let end = |slot: &Slot| Some((*slot, group.layout.end(*slot)?));
        let mut ended: Vec<_> = plan.replaced.iter().filter_map(end).collect();
        let mut is_replaced = vec![plan.replaces_all; group.families.len()];
        for at in plan.families.iter().filter_map(|family| family.present) {
            is_replaced[at] = true;
        }
        let mut kept = Vec::new();
        let mut released = Vec::new();
        for (family, is_replaced) in group.families.iter().zip(is_replaced) {
            if is_replaced {
                released.push(Arc::clone(&family.about));
            } else {
                kept.push((family.clone(), group.slots(family).to_vec()));
            }
        }
        let mut series = std::mem::take(&mut plan.series).into_iter();
        for family in plan.families {
            let series = series.by_ref().take(family.series.len());
            kept.push(self.put_family(id, group, family, series, now));
        }
        for about in released {
            self.release(&about);
        }
        kept.sort_by(|(a, _), (b, _)| a.about.name.cmp(&b.about.name));
        group.set_families(kept);
        ended.retain(|(slot, _)| {
            let labels = &group.layout.series[usize::from(*slot)];
            let place = Place {
                group: id,
                slot: *slot,
            };
            group.layout.value(*slot).is_none() && self.series.get(labels) == Some(&place)
        });
        ended
    }

    fn put_family(
        &mut self,
        id: GroupId,
        group: &mut Group,
        plan: FamilyPlan,
        series: impl Iterator<Item = (Target, Value)>,
        now: Now,
    ) -> (Family, Vec<Slot>) {
        let mut slots = plan.stay;
        for (target, value) in series {
            let slot = match target {
                Target::Kept(slot) => slot,
                Target::Slot(slot) => {
                    slots.push(slot);
                    slot
                }
                Target::New(labels) => {
                    let slot = group.layout.add(labels.clone(), plan.about.kind);
                    self.series.insert(labels, Place { group: id, slot });
                    slots.push(slot);
                    slot
                }
            };
            group.layout.set(slot, value);
        }
        self.acquire(&plan.about);
        (Family::new(plan.about, now.wall), slots)
    }

    fn acquire(&mut self, about: &Arc<About>) {
        let family = self.families.entry(Arc::clone(&about.name));
        let family = family.or_insert_with(|| FamilyUse {
            about: Arc::clone(about),
            groups: 0,
            is_own: false,
        });
        if family.groups == 0 || family.about.kind != about.kind {
            family.about = Arc::clone(about);
            self.outlet.describe(about);
        }
        family.groups += 1;
    }

    fn release(&mut self, about: &About) {
        if let Some(family) = self.families.get_mut(&about.name) {
            family.groups = family.groups.saturating_sub(1);
            if family.groups == 0 && !family.is_own {
                self.families.remove(&about.name);
            }
        }
    }

    /// Makes the row of a push, and a new layout first when the old one cannot go on.
    fn emit(
        &mut self,
        id: GroupId,
        group: &mut Group,
        is_retyped: bool,
        ended: &[(Slot, Value)],
        now: Now,
    ) {
        let cannot_go_on = is_retyped || group.layout.len() > SLOTS_MAX || group.layout.is_worn();
        if !cannot_go_on {
            return self.outlet.emit(group, now.wall, ended);
        }
        let old = group.renew_layout();
        self.leave(id, &old);
        let slots = group.layout.series.iter().enumerate();
        for (at, labels) in slots {
            let slot = Slot::try_from(at).unwrap_or(Slot::MAX);
            self.series
                .insert(labels.clone(), Place { group: id, slot });
        }
        self.outlet.end(group, old, now.wall, ended);
        self.outlet.emit(group, now.wall, &[]);
        self.bytes -= group.bytes;
        group.measure();
        self.bytes += group.bytes;
    }

    fn live_until(&mut self, id: GroupId, ttl: Ttl, now: Now) {
        let ttl = match ttl {
            Ttl::Default => self.config.ttl,
            Ttl::Endless => None,
            Ttl::After(ttl) => Some(ttl),
        };
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if let Some(ends) = group.ends {
            self.ends.remove(&(ends, id));
        }
        group.ttl = ttl;
        group.ends = ttl.map(|ttl| now.monotonic + ttl);
        if let Some(ends) = group.ends {
            self.ends.insert((ends, id));
        }
    }
}

/// Returns the series that have a value, with it.
fn live_values(layout: &Layout) -> Vec<(Slot, Value)> {
    let values = (0..).zip(&layout.values);
    values
        .filter_map(|(slot, value)| Some((slot, value.clone()?)))
        .collect()
}

#[cfg(test)]
mod tests;
