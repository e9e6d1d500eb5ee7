//! Groups that write series of the same names write them at instants of their own.
//!
//! Of two samples of a series at one instant the store keeps one; and which samples were a group's own is told by their instant, when it is
//! evaluated again ([`super::again`]). So where groups of a configuration have rules of the same name, and some of their results would be of
//! the same instant, the later one in the configuration is evaluated some milliseconds later. That is the same in every run of it.
//!
//! Not taken: a label that says whose a series is, for people know the series as they are; and to evaluate such groups together, for then a
//! group that fails would hold up the others. Results at the instants of samples that others store under the same names, whom no rule
//! knows, are not kept apart: there what rules say stands.

use std::collections::{BTreeSet, HashMap};

use model::TimestampMs;

use super::Group;

/// Moves groups that would meet others before them. Takes time in the number of pairs that write alike.
pub(crate) fn keep_apart(groups: &mut [Group]) {
    for (index, alike) in alike_before(groups).into_iter().enumerate() {
        // Each of the others is in the way of one step at most, unless their times meet within fewer milliseconds than there are steps; then the
        // group stays where it is.
        let steps = 0..=i64::try_from(alike.len()).unwrap_or(i64::MAX);
        let meets = |step: &i64| {
            let mut others = alike.iter().map(|other| &groups[*other]);
            others.any(|other| groups[index].meets(*step, other))
        };
        let step = steps.into_iter().find(|step| !meets(step));
        groups[index].phase += step.unwrap_or(0);
    }
}

/// Returns of each group those before it that have a rule of the same kind and name.
fn alike_before(groups: &[Group]) -> Vec<BTreeSet<usize>> {
    let mut writers: HashMap<(bool, &str), Vec<usize>> = HashMap::new();
    let mut alike = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let mut before = BTreeSet::new();
        for rule in &group.rules {
            let name = (rule.spec.alert().is_some(), rule.spec.name.as_str());
            let writers = writers.entry(name).or_default();
            before.extend(writers.iter().filter(|other| **other != index));
            writers.push(index);
        }
        alike.push(before);
    }
    alike
}

impl Group {
    /// Whether any result, were the group evaluated `step` milliseconds later, would be of the same instant as one of `other`.
    fn meets(&self, step: i64, other: &Self) -> bool {
        let instant = |group: &Self| group.looks_at(TimestampMs(group.phase)).0;
        let between = instant(self) + step - instant(other);
        between % greatest_common_divisor(self.interval_ms(), other.interval_ms()) == 0
    }
}

/// Returns the greatest number that divides both, which are greater than zero.
const fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use promql::ParserOptions;

    use super::*;
    use crate::file::{FileOptions, RuleFile};
    use crate::world::Settings;

    fn groups(texts: &[String]) -> Vec<Group> {
        let text = format!("groups: [{}]", texts.join(", "));
        let file = RuleFile::parse(Path::new("r.yml"), &text, FileOptions::default()).unwrap();
        let group = |spec| {
            Group::new(
                file.path.clone(),
                spec,
                &Settings::default(),
                ParserOptions::default(),
            )
        };
        file.groups.into_iter().map(group).collect()
    }

    /// Returns the instants of a group's results within some seconds.
    fn instants(group: &Group) -> BTreeSet<i64> {
        let from = TimestampMs(1_700_000_000_000);
        let due =
            std::iter::successors(Some(group.due_after(from)), |at| Some(group.due_after(*at)));
        let due =
            due.take_while(|at| *at <= from.saturating_add(std::time::Duration::from_secs(9)));
        due.map(|at| group.looks_at(at).0).collect()
    }

    #[test]
    fn who_writes_alike_never_writes_at_the_same_instant() {
        // Intervals so short that some of so many groups would meet.
        let rules = "rules: [{record: y, expr: x, labels: {l: v}}, {alert: A, expr: x}]";
        let text = |number: u32| {
            let (interval, offset) = ([40, 60, 80][number as usize % 3], number % 7);
            format!(
                "{{name: g{number}, interval: {interval}ms, query_offset: {offset}ms, {rules}}}"
            )
        };
        let texts: Vec<String> = (0..12).map(text).collect();
        let mut all = groups(&texts);
        let meet = |all: &[Group]| {
            let sum: usize = all.iter().map(|group| instants(group).len()).sum();
            let union: BTreeSet<i64> = all.iter().flat_map(instants).collect();
            sum - union.len()
        };
        assert!(meet(&all) > 0);
        keep_apart(&mut all);
        assert_eq!(meet(&all), 0);
    }

    #[test]
    fn who_writes_else_or_cannot_but_meet_stays() {
        for names in [["y", "z"], ["y", "y"]] {
            let text = |group: usize| {
                let rules = format!("rules: [{{record: {}, expr: x}}]", names[group]);
                format!("{{name: g{group}, interval: 1ms, {rules}}}")
            };
            let mut all = groups(&[text(0), text(1)]);
            keep_apart(&mut all);
            assert!(all.iter().all(|group| group.phase == 0), "{names:?}");
        }
    }
}
