//! A group: the series pushed under one key, as they stand.

use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use model::{Labels, MetricType, TimestampMs, Value};
use rows::{CohortId, RowCounter, Slot};

use crate::GroupKey;

/// The slot of the time of the last push that was taken.
pub(crate) const PUSHED_SLOT: Slot = 0;
/// The slot of the time of the last push that was refused.
pub(crate) const FAILED_SLOT: Slot = 1;

/// The series in [`PUSHED_SLOT`] and [`FAILED_SLOT`], and what they say of themselves.
pub(crate) const OWN_SERIES: [(&str, &str); 2] = [
    (
        "push_time_seconds",
        "Last Unix time when changing this group in the Pushgateway succeeded.",
    ),
    (
        "push_failure_time_seconds",
        "Last Unix time when changing this group in the Pushgateway failed.",
    ),
];

/// About what a slot costs beside the text of its labels: the set, its places in layouts, maps and the spool's definitions.
const SLOT_BYTES: usize = 192;
/// About what a family costs in a group.
const FAMILY_BYTES: usize = 64;
/// About what a group costs.
const GROUP_BYTES: usize = 512;
/// A layout so long is made anew when most of its series are gone.
const WORN_SLOTS_MIN: usize = 64;

/// The number of a group, used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u32);

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) key: GroupKey,
    /// Sorted by name.
    pub(crate) families: Vec<Family>,
    /// The slots of the families, one family's after the other's, each in the order of the last push.
    pub(crate) order: Vec<Slot>,
    pub(crate) layout: Layout,
    /// When a push was last taken, and when refused; `None`: never.
    pub(crate) pushed: Option<TimestampMs>,
    pub(crate) failed: Option<TimestampMs>,
    /// How long the group lives after a push; `None`: until it is deleted.
    pub(crate) ttl: Option<Duration>,
    pub(crate) ends: Option<Monotonic>,
    /// `None` until rows are wanted.
    pub(crate) cohort: Option<Cohort>,
    pub(crate) bytes: usize,
}

/// A family in a group. There are as many as series where there are gauges only, so it is small.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) about: Arc<About>,
    /// When it was pushed.
    pub(crate) at: TimestampMs,
    /// Where its slots begin in [`Group::order`], and how many there are.
    first: Slot,
    count: Slot,
}

/// What a family is; shared by the groups that have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) name: Arc<str>,
    pub(crate) help: Arc<str>,
    pub(crate) kind: MetricType,
}

impl Family {
    /// Returns a family that was pushed at this time, without slots.
    pub(crate) const fn new(about: Arc<About>, at: TimestampMs) -> Self {
        Self {
            about,
            at,
            first: 0,
            count: 0,
        }
    }

    /// Returns the number of its series.
    pub(crate) fn series(&self) -> usize {
        usize::from(self.count)
    }
}

/// The series of a group by slot, in columns. Only grows: series that are gone keep their slot until the layout is made anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) series: Vec<Labels>,
    pub(crate) kinds: Vec<MetricType>,
    /// `None`: the series is gone.
    pub(crate) values: Vec<Option<Value>>,
    live: usize,
}

/// The group's place among the agent's cohorts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cohort {
    pub(crate) id: CohortId,
    pub(crate) next_row: RowCounter,
    /// Slots that were defined.
    pub(crate) defined: usize,
    /// The time of the last row.
    pub(crate) last: Option<TimestampMs>,
    /// Where that row waits, if it does.
    pub(crate) waiting: Option<Waiting>,
}

/// A row in the outlet's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Which list: it is begun anew each time it is taken.
    pub(crate) list: u64,
    pub(crate) row: usize,
}

impl Group {
    /// Returns a group that nothing was pushed to.
    pub(crate) fn new(key: GroupKey) -> Self {
        let mut layout = Layout::default();
        for (name, _) in OWN_SERIES {
            layout.add(key.series(name), MetricType::Gauge);
        }
        let mut group = Self {
            bytes: Self::bytes_of_empty(&key),
            key,
            families: Vec::new(),
            order: Vec::new(),
            layout,
            pushed: None,
            failed: None,
            ttl: None,
            ends: None,
            cohort: None,
        };
        group.show_times();
        group
    }

    pub(crate) fn bytes_of_empty(key: &GroupKey) -> usize {
        GROUP_BYTES + OWN_SERIES.len() * SLOT_BYTES + (OWN_SERIES.len() + 2) * key.text_bytes()
    }

    /// Writes the times of pushes into their slots.
    pub(crate) fn show_times(&mut self) {
        let seconds = |at: Option<TimestampMs>| at.map_or(0.0, TimestampMs::as_seconds);
        self.layout
            .set(PUSHED_SLOT, Value::Float(seconds(self.pushed)));
        self.layout
            .set(FAILED_SLOT, Value::Float(seconds(self.failed)));
    }

    /// Returns whether the last push was taken.
    pub(crate) fn last_push_successful(&self) -> bool {
        self.pushed >= self.failed
    }

    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        let found = self
            .families
            .binary_search_by(|f| (*f.about.name).cmp(name));
        found.ok().map(|at| &self.families[at])
    }

    /// Returns a family's slots.
    pub(crate) fn slots(&self, family: &Family) -> &[Slot] {
        let first = usize::from(family.first);
        let slots = self.order.get(first..first + family.series());
        slots.unwrap_or_default()
    }

    /// Returns the series of a family and their values.
    pub(crate) fn series(&self, family: &Family) -> impl Iterator<Item = (&Labels, &Value)> {
        self.slots(family).iter().filter_map(|slot| {
            let labels = self.layout.series.get(usize::from(*slot))?;
            Some((labels, self.layout.value(*slot)?))
        })
    }

    /// Replaces the families by these, which are sorted by name, each with its slots.
    pub(crate) fn set_families(&mut self, families: Vec<(Family, Vec<Slot>)>) {
        self.families.clear();
        self.order.clear();
        for (mut family, slots) in families {
            // Groups are bounded far below what a slot counts to.
            family.first = Slot::try_from(self.order.len()).unwrap_or(Slot::MAX);
            family.count = Slot::try_from(slots.len()).unwrap_or(Slot::MAX);
            self.order.extend(slots);
            self.families.push(family);
        }
        self.families.shrink_to_fit();
        self.order.shrink_to_fit();
    }

    /// Gives the live series a layout of their own, and returns the old one.
    pub(crate) fn renew_layout(&mut self) -> Layout {
        let old = std::mem::take(&mut self.layout);
        let own = [PUSHED_SLOT, FAILED_SLOT];
        let mut moved = vec![Slot::MAX; old.len()];
        for slot in own.iter().chain(&self.order) {
            let at = usize::from(*slot);
            moved[at] = self.layout.add(old.series[at].clone(), old.kinds[at]);
            if let Some(value) = &old.values[at] {
                self.layout.set(moved[at], value.clone());
            }
        }
        for slot in &mut self.order {
            *slot = moved[usize::from(*slot)];
        }
        old
    }

    /// Counts anew what the group takes; for when families or series have changed.
    pub(crate) fn measure(&mut self) {
        let series = self.layout.series.iter().skip(OWN_SERIES.len());
        let series: usize = series.map(slot_bytes).sum();
        let values: usize = self.layout.values.iter().flatten().map(value_bytes).sum();
        let families: usize = self.families.iter().map(family_bytes).sum();
        self.bytes = Self::bytes_of_empty(&self.key) + series + values + families;
        self.layout.shrink();
    }
}

/// What a slot with this series takes.
pub(crate) fn slot_bytes(labels: &Labels) -> usize {
    // Once in the set, once in its definition.
    SLOT_BYTES + 2 * labels.text_bytes()
}

fn family_bytes(family: &Family) -> usize {
    FAMILY_BYTES + family.about.name.len() + family.about.help.len()
}

/// What a value takes beyond its slot.
pub(crate) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Float(_) => 0,
        Value::Histogram(histogram) => {
            let buckets = match &histogram.buckets {
                model::Buckets::Integer {
                    positive, negative, ..
                } => positive.len() + negative.len(),
                model::Buckets::Float {
                    positive, negative, ..
                } => positive.len() + negative.len(),
            };
            let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
            size_of::<model::Histogram>() + 8 * (buckets + spans)
        }
    }
}

impl Layout {
    /// Adds a series without a value, and returns its slot.
    ///
    /// # Panics
    /// When there are 65,535 already; a group's bound is far below.
    pub(crate) fn add(&mut self, labels: Labels, kind: MetricType) -> Slot {
        let slot = Slot::try_from(self.series.len()).expect("groups are bounded far below");
        self.series.push(labels);
        self.kinds.push(kind);
        self.values.push(None);
        slot
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns the number of series that have a value.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn value(&self, slot: Slot) -> Option<&Value> {
        self.values.get(usize::from(slot))?.as_ref()
    }

    pub(crate) fn set(&mut self, slot: Slot, value: Value) {
        let before = self.values[usize::from(slot)].replace(value);
        self.live += usize::from(before.is_none());
    }

    /// Takes a series' value away, and returns it.
    pub(crate) fn end(&mut self, slot: Slot) -> Option<Value> {
        let before = self.values[usize::from(slot)].take();
        self.live -= usize::from(before.is_some());
        before
    }

    /// Returns the first `slots` of the layout, none with a value.
    pub(crate) fn emptied(mut self, slots: usize) -> Self {
        self.series.truncate(slots);
        self.kinds.truncate(slots);
        self.values = vec![None; self.series.len()];
        self.live = 0;
        self
    }

    /// Lets go of room for more.
    fn shrink(&mut self) {
        self.series.shrink_to_fit();
        self.kinds.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// Returns whether most of it is gone.
    pub(crate) const fn is_worn(&self) -> bool {
        self.series.len() >= WORN_SLOTS_MIN && self.live * 2 < self.series.len()
    }
}
