//! A store that looks at everything, every time.

use std::collections::{BTreeMap, BTreeSet};

use exposition::Part;
use model::MetricType;

use super::super::Mode;
use crate::pushed::{FamilyView, SampleView};
use crate::{GroupKey, Pushed};

type Pairs<'a> = &'a [(&'a str, &'a str)];
type Family = (MetricType, BTreeMap<String, (f64, bool)>);

#[derive(Default)]
struct Group {
    families: BTreeMap<String, Family>,
    pushed: Option<i64>,
    failed: Option<i64>,
    ends: Option<i64>,
}

pub(super) struct Twin {
    check_types: bool,
    groups: BTreeMap<String, (GroupKey, Group)>,
}

impl Twin {
    pub(super) fn new(check_types: bool) -> Self {
        Self {
            check_types,
            groups: BTreeMap::new(),
        }
    }

    pub(super) fn expire(&mut self, ms: i64) {
        self.groups
            .retain(|_, (_, group)| group.ends.is_none_or(|ends| ends > ms));
    }

    pub(super) fn delete(&mut self, pairs: Pairs<'_>) -> bool {
        let key = GroupKey::new(pairs.iter().copied());
        self.groups.remove(&key.to_string()).is_some()
    }

    pub(super) fn wipe(&mut self) {
        self.groups.clear();
    }

    /// Returns whether the push is taken.
    pub(super) fn push(
        &mut self,
        pairs: Pairs<'_>,
        pushed: &Pushed,
        mode: Mode,
        ttl: Option<u64>,
        ms: i64,
    ) -> bool {
        let key = GroupKey::new(pairs.iter().copied());
        let name = key.to_string();
        let own = key.series("push_time_seconds").to_string();
        if self.owner_of(&own).is_some_and(|(owner, _)| owner != name) {
            return false;
        }
        let next = self.next(&key, pushed, mode);
        let (_, group) = self
            .groups
            .entry(name)
            .or_insert_with(|| (key, Group::default()));
        match next {
            Some(families) => {
                group.families = families;
                group.pushed = Some(ms);
                group.ends = ttl.map(|ttl| ms + i64::try_from(ttl).unwrap());
                true
            }
            None => {
                group.failed = Some(ms);
                false
            }
        }
    }

    /// The families that the group has after the push; `None`: it cannot be.
    fn next(
        &self,
        key: &GroupKey,
        pushed: &Pushed,
        mode: Mode,
    ) -> Option<BTreeMap<String, Family>> {
        let name = key.to_string();
        let empty = BTreeMap::new();
        let before = self
            .groups
            .get(&name)
            .map_or(&empty, |(_, group)| &group.families);
        let mut after = match mode {
            Mode::Replace => BTreeMap::new(),
            Mode::Merge | Mode::Sum => before.clone(),
        };
        for family in pushed.families() {
            let others = self.groups.iter().filter(|(other, _)| **other != name);
            let mut others = others.filter_map(|(_, (_, group))| group.families.get(family.name));
            let own = before.get(family.name).filter(|_| mode == Mode::Sum);
            let is_others = self.check_types && others.any(|other| other.0 != family.kind);
            if is_others || own.is_some_and(|own| own.0 != family.kind) {
                return None;
            }
            let series = series_of(key, &family, own, mode)?;
            after.insert(family.name.to_owned(), (family.kind, series));
        }
        let mut all = BTreeSet::new();
        for series in after.values().flat_map(|family| family.1.keys()) {
            let is_others = self
                .owner_of(series)
                .is_some_and(|(owner, _)| owner != name);
            if is_others || !all.insert(series) {
                return None;
            }
        }
        Some(after)
    }

    fn owner_of(&self, series: &str) -> Option<(String, f64)> {
        for (name, (key, group)) in &self.groups {
            for (own, at) in times(key, group) {
                if own == series {
                    return Some((name.clone(), at));
                }
            }
            let mut families = group.families.values();
            if let Some(value) = families.find_map(|family| family.1.get(series)) {
                return Some((name.clone(), value.0));
            }
        }
        None
    }

    pub(super) fn live(&self) -> BTreeMap<String, u64> {
        let mut live = BTreeMap::new();
        for (key, group) in self.groups.values() {
            for (series, at) in times(key, group) {
                live.insert(series, at.to_bits());
            }
            for (series, (value, _)) in group.families.values().flat_map(|family| &family.1) {
                live.insert(series.clone(), value.to_bits());
            }
        }
        live
    }
}

fn times(key: &GroupKey, group: &Group) -> [(String, f64); 2] {
    #[expect(clippy::cast_precision_loss, reason = "times of this century")]
    let seconds = |at: Option<i64>| at.map_or(0.0, |ms| (1_700_000_000_000 + ms) as f64 / 1e3);
    [
        (
            key.series("push_time_seconds").to_string(),
            seconds(group.pushed),
        ),
        (
            key.series("push_failure_time_seconds").to_string(),
            seconds(group.failed),
        ),
    ]
}

fn series_of(
    key: &GroupKey,
    family: &FamilyView<'_>,
    before: Option<&Family>,
    mode: Mode,
) -> Option<BTreeMap<String, (f64, bool)>> {
    let mut pushed = BTreeMap::new();
    for sample in family.samples() {
        let (series, value) = effective(key, &sample);
        let adds =
            mode == Mode::Sum && matches!(family.kind, MetricType::Counter | MetricType::Histogram);
        let known = before
            .and_then(|family| family.1.get(&series))
            .filter(|_| adds);
        let sum = known.map_or(0.0, |known| known.0) + value;
        let is_bucket = matches!(sample.part(), Part::Bucket(_));
        if pushed.insert(series, (sum, is_bucket)).is_some() {
            return None;
        }
    }
    let Some(before) = before else {
        return Some(pushed);
    };
    // Each histogram here has the label y or not: those with equal label sets must have equal buckets.
    if family.kind == MetricType::Histogram {
        for y in ["", "y=\"1\""] {
            let buckets = |family: &BTreeMap<String, (f64, bool)>| -> BTreeSet<String> {
                let of_this = family.iter().filter(|(series, (_, is_bucket))| {
                    *is_bucket && series.contains("y=") != y.is_empty()
                });
                of_this.map(|(series, _)| series.clone()).collect()
            };
            let (old, new) = (buckets(&before.1), buckets(&pushed));
            if !old.is_empty() && !new.is_empty() && old != new {
                return None;
            }
        }
    }
    let mut all = before.1.clone();
    all.extend(pushed);
    Some(all)
}

fn effective(key: &GroupKey, sample: &SampleView<'_>) -> (String, f64) {
    let mut labels: BTreeMap<&str, &str> = sample.labels().collect();
    labels.extend(key.iter());
    labels.insert(model::METRIC_NAME, sample.name());
    let labels = model::Labels::from_pairs(labels).unwrap();
    let model::Value::Float(value) = sample.value() else {
        panic!("{sample} is no float");
    };
    (labels.to_string(), value)
}
