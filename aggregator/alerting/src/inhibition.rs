//! Inhibition: alerts that keep others quiet.
//!
//! For every rule the alerts that match its source are indexed by the values of its `equal` labels, so that asking about an alert
//! costs a look-up per rule, however many alerts there are.

use std::collections::{BTreeMap, BTreeSet};

use model::Labels;

use crate::routing::matches_all;
use crate::{Fingerprint, InhibitRule};

#[derive(Clone, Debug, Default)]
pub(crate) struct Inhibitor {
    rules: Vec<Indexed>,
}

#[derive(Clone, Debug)]
struct Indexed {
    rule: InhibitRule,
    /// By the values of `equal`: alerts that match the source, and whether they match the target as well.
    sources: BTreeMap<Vec<String>, BTreeMap<Fingerprint, bool>>,
}

impl Inhibitor {
    pub(crate) fn new(rules: &[InhibitRule]) -> Self {
        let indexed = rules.iter().map(|rule| Indexed {
            rule: rule.clone(),
            sources: BTreeMap::new(),
        });
        Self {
            rules: indexed.collect(),
        }
    }

    /// Takes note of an alert; whether it fires is asked when it counts.
    pub(crate) fn add(&mut self, fingerprint: Fingerprint, labels: &Labels) {
        for Indexed { rule, sources } in &mut self.rules {
            if matches_all(&rule.source_matchers, labels) {
                let is_target = matches_all(&rule.target_matchers, labels);
                let equal = sources.entry(equal(rule, labels)).or_default();
                equal.insert(fingerprint, is_target);
            }
        }
    }

    pub(crate) fn remove(&mut self, fingerprint: Fingerprint, labels: &Labels) {
        for Indexed { rule, sources } in &mut self.rules {
            let key = equal(rule, labels);
            if let Some(equal) = sources.get_mut(&key) {
                equal.remove(&fingerprint);
                if equal.is_empty() {
                    sources.remove(&key);
                }
            }
        }
    }

    /// Returns the alerts that keep one with these labels quiet: one for each rule that does. An alert that matches both sides of a
    /// rule is not inhibited by another that does too, itself included.
    pub(crate) fn inhibiting(
        &self,
        labels: &Labels,
        is_firing: impl Fn(Fingerprint) -> bool,
    ) -> BTreeSet<Fingerprint> {
        let by_rule = self.rules.iter().filter_map(|Indexed { rule, sources }| {
            if !matches_all(&rule.target_matchers, labels) {
                return None;
            }
            let is_source = matches_all(&rule.source_matchers, labels);
            let candidates = sources.get(&equal(rule, labels))?.iter();
            let mut inhibiting = candidates
                .filter(|(source, is_target)| !(is_source && **is_target) && is_firing(**source));
            inhibiting.next().map(|(source, _)| *source)
        });
        by_rule.collect()
    }
}

fn equal(rule: &InhibitRule, labels: &Labels) -> Vec<String> {
    let values = rule.equal.iter().map(|name| labels.value_or_empty(name));
    values.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use model::Matcher;

    use super::*;

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('='))).unwrap()
    }

    fn inhibitor(equal: &[&str]) -> Inhibitor {
        Inhibitor::new(&[InhibitRule {
            source_matchers: vec![Matcher::equal("severity", "page")],
            target_matchers: vec![Matcher::equal("team", "db")],
            equal: equal.iter().map(|name| (*name).to_owned()).collect(),
            ..InhibitRule::default()
        }])
    }

    #[test]
    fn equal_labels_count_and_missing_ones_are_empty() {
        let mut inhibitor = inhibitor(&["cluster"]);
        let source = labels("severity=page cluster=a");
        let fingerprint = Fingerprint::of(&source);
        inhibitor.add(fingerprint, &source);
        let quiet = |inhibitor: &Inhibitor, text: &str| {
            !inhibitor.inhibiting(&labels(text), |_| true).is_empty()
        };
        assert!(quiet(&inhibitor, "team=db cluster=a"));
        assert!(!quiet(&inhibitor, "team=db cluster=b"));
        assert!(!quiet(&inhibitor, "team=db"));
        assert!(!quiet(&inhibitor, "cluster=a"));
        let nowhere = labels("severity=page");
        inhibitor.add(Fingerprint::of(&nowhere), &nowhere);
        assert!(quiet(&inhibitor, "team=db"));
        assert!(
            inhibitor
                .inhibiting(&labels("team=db cluster=a"), |_| false)
                .is_empty()
        );
        inhibitor.remove(fingerprint, &source);
        assert!(!quiet(&inhibitor, "team=db cluster=a"));
    }

    #[test]
    fn who_matches_both_sides_is_not_inhibited_by_its_like() {
        let mut inhibitor = inhibitor(&[]);
        let both = labels("severity=page team=db n=1");
        inhibitor.add(Fingerprint::of(&both), &both);
        let like = labels("severity=page team=db n=2");
        assert!(inhibitor.inhibiting(&both, |_| true).is_empty());
        assert!(inhibitor.inhibiting(&like, |_| true).is_empty());
        assert!(
            !inhibitor
                .inhibiting(&labels("team=db"), |_| true)
                .is_empty()
        );
        let plain = labels("severity=page");
        inhibitor.add(Fingerprint::of(&plain), &plain);
        assert_eq!(
            inhibitor.inhibiting(&like, |_| true),
            BTreeSet::from([Fingerprint::of(&plain)])
        );
    }
}
